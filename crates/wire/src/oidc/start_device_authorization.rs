//! StartDeviceAuthorization: `POST /device_authorization`.

use doorward_core::refusal::Refusal;
use doorward_core::secret::ClientSecret;
use serde::{Deserialize, Serialize};

use crate::decode::{Body, Kind, body, required};
use crate::fault::json;

/// The request.
#[derive(Debug)]
pub struct Input {
    /// `clientId`.
    pub client_id: String,
    /// `clientSecret`.
    pub client_secret: ClientSecret,
    /// `startUrl`.
    pub start_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    client_id: Option<String>,
    client_secret: Option<String>,
    start_url: Option<String>,
}

impl Body for Members {
    const MEMBERS: &'static [(&'static str, Kind)] =
        &[("clientId", Kind::Text), ("clientSecret", Kind::Text), ("startUrl", Kind::Text)];
}

impl Input {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming the member that is missing or malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let members: Members = body(bytes)?;
        Ok(Self {
            client_id: required(members.client_id, "clientId")?,
            client_secret: ClientSecret::new(required(members.client_secret, "clientSecret")?),
            start_url: required(members.start_url, "startUrl")?,
        })
    }
}

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// `deviceCode`.
    pub device_code: &'a str,
    /// Seconds until the device code expires.
    pub expires_in: u32,
    /// Seconds to wait between polls.
    pub interval: u32,
    /// `userCode`, as `XXXX-XXXX`.
    pub user_code: &'a str,
    /// Where a person types the user code; some tools append `?user_code=` themselves.
    pub verification_uri: &'a str,
    /// The same with the code in it.
    pub verification_uri_complete: &'a str,
}

impl Output<'_> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}
