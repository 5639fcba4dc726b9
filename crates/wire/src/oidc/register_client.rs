//! RegisterClient: `POST /client/register`.

use doorward_core::refusal::Refusal;
use serde::{Deserialize, Serialize};

use crate::decode::{Body, Kind, body, required};
use crate::fault::json;

/// The request.
#[derive(Debug)]
pub struct Input {
    /// `clientName`.
    pub client_name: String,
    /// `clientType`.
    pub client_type: String,
    /// `scopes`; absent is empty.
    pub scopes: Vec<String>,
    /// `redirectUris`; absent is empty.
    pub redirect_uris: Vec<String>,
    /// `grantTypes`.
    pub grant_types: Option<Vec<String>>,
    /// `issuerUrl`: the start URL, as every client sends it.
    pub issuer_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    client_name: Option<String>,
    client_type: Option<String>,
    scopes: Option<Vec<String>>,
    redirect_uris: Option<Vec<String>>,
    grant_types: Option<Vec<String>>,
    issuer_url: Option<String>,
    // Read for its type alone: there is one set of applications, and it is not asked for here.
    #[serde(rename = "entitledApplicationArn")]
    _entitled_application_arn: Option<String>,
}

impl Body for Members {
    const MEMBERS: &'static [(&'static str, Kind)] = &[
        ("clientName", Kind::Text),
        ("clientType", Kind::Text),
        ("scopes", Kind::TextList),
        ("redirectUris", Kind::TextList),
        ("grantTypes", Kind::TextList),
        ("issuerUrl", Kind::Text),
        ("entitledApplicationArn", Kind::Text),
    ];
}

impl Input {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming the member that is missing or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let members: Members = body(bytes)?;
        Ok(Self {
            client_name: required(members.client_name, "clientName")?,
            client_type: required(members.client_type, "clientType")?,
            scopes: members.scopes.unwrap_or_default(),
            redirect_uris: members.redirect_uris.unwrap_or_default(),
            grant_types: members.grant_types,
            issuer_url: members.issuer_url.filter(|url| !url.is_empty()),
        })
    }
}

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// The absolute address of `/authorize`. AWS sends null; tools that build its address themselves would go to
    /// AWS with it.
    pub authorization_endpoint: &'a str,
    /// `clientId`.
    pub client_id: &'a str,
    /// Epoch seconds.
    pub client_id_issued_at: i64,
    /// `clientSecret`.
    pub client_secret: &'a str,
    /// Epoch seconds.
    pub client_secret_expires_at: i64,
    /// The absolute address of CreateToken.
    pub token_endpoint: &'a str,
}

impl Output<'_> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}
