//! CreateTokenWithIAM: `POST /token?aws_iam=t`, signed.

use doorward_core::client::GrantType;
use doorward_core::refusal::Refusal;
use doorward_core::secret::{AccessToken, Assertion, AuthorizationCode, CodeVerifier, RefreshToken};
use serde::{Deserialize, Serialize};

use crate::decode::{Body, Kind, body, required};
use crate::fault::json;
use crate::oauth::token::{ACCESS_TOKEN_TYPE, access_token_type};
use crate::oidc::create_token::Grant as Artefact;

/// `issuedTokenType` when a refresh token comes with the access token.
pub const REFRESH_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:refresh_token";

/// The request.
#[derive(Debug)]
pub struct Input {
    /// `clientId`: the ARN of an application, or its client id.
    pub client_id: String,
    /// `grantType`, with what that grant requires.
    pub grant: Grant,
    /// `scope`; absent is none.
    pub scope: Option<Vec<String>>,
}

/// A grant type and what it requires. What belongs to other grants is not read.
#[derive(Debug)]
pub enum Grant {
    /// `authorization_code` or `refresh_token`.
    Artefact(Artefact),
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`: `assertion`.
    JwtBearer(Assertion),
    /// `urn:ietf:params:oauth:grant-type:token-exchange`: `subjectToken`.
    TokenExchange(AccessToken),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    client_id: Option<String>,
    grant_type: Option<String>,
    code: Option<String>,
    refresh_token: Option<String>,
    assertion: Option<String>,
    scope: Option<Vec<String>>,
    redirect_uri: Option<String>,
    subject_token: Option<String>,
    subject_token_type: Option<String>,
    requested_token_type: Option<String>,
    code_verifier: Option<String>,
}

impl Body for Members {
    const MEMBERS: &'static [(&'static str, Kind)] = &[
        ("clientId", Kind::Text),
        ("grantType", Kind::Text),
        ("code", Kind::Text),
        ("refreshToken", Kind::Text),
        ("assertion", Kind::Text),
        ("scope", Kind::TextList),
        ("redirectUri", Kind::Text),
        ("subjectToken", Kind::Text),
        ("subjectTokenType", Kind::Text),
        ("requestedTokenType", Kind::Text),
        ("codeVerifier", Kind::Text),
    ];
}

impl Input {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming the member that is missing or malformed; [`Refusal::UnsupportedGrantType`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let members: Members = body(bytes)?;
        let client_id = required(members.client_id, "clientId")?;
        let grant = match GrantType::parse(&required(members.grant_type, "grantType")?)? {
            GrantType::AuthorizationCode => {
                let verifier = required(members.code_verifier, "codeVerifier")?;
                Grant::Artefact(Artefact::AuthorizationCode {
                    code: AuthorizationCode::new(required(members.code, "code")?),
                    redirect_uri: required(members.redirect_uri, "redirectUri")?,
                    verifier: CodeVerifier::parse(&verifier).ok_or_else(|| {
                        Refusal::InvalidRequest(
                            "codeVerifier must be 43 to 128 letters, digits or -._~ (RFC 7636)".into(),
                        )
                    })?,
                })
            }
            GrantType::RefreshToken => Grant::Artefact(Artefact::RefreshToken(RefreshToken::new(required(
                members.refresh_token,
                "refreshToken",
            )?))),
            GrantType::JwtBearer => {
                Grant::JwtBearer(Assertion::new(required(members.assertion, "assertion")?))
            }
            GrantType::TokenExchange => {
                let subject_token = AccessToken::new(required(members.subject_token, "subjectToken")?);
                let kind = required(members.subject_token_type, "subjectTokenType")?;
                access_token_type("subjectTokenType", Some(&kind))?;
                access_token_type("requestedTokenType", members.requested_token_type.as_deref())?;
                Grant::TokenExchange(subject_token)
            }
            // The model knows no other.
            GrantType::DeviceCode | GrantType::ClientCredentials => {
                return Err(Refusal::UnsupportedGrantType);
            }
        };
        Ok(Self { client_id, grant, scope: members.scope })
    }
}

/// The answer. What is not there is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// `accessToken`.
    pub access_token: &'a str,
    /// `awsAdditionalDetails`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_additional_details: Option<AdditionalDetails<'a>>,
    /// Seconds until the access token expires.
    pub expires_in: u32,
    /// `idToken`; not with a refresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<&'a str>,
    /// `issuedTokenType`.
    pub issued_token_type: &'a str,
    /// `refreshToken`; not with an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<&'a str>,
    /// The scopes of the access token, and those of the answer.
    pub scope: Vec<&'a str>,
    /// `Bearer`.
    pub token_type: &'a str,
}

/// `awsAdditionalDetails`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AdditionalDetails<'a> {
    /// `identityContext`: who the person is, for `ProvidedContexts` of STS.
    pub identity_context: &'a str,
}

impl Output<'_> {
    /// What `issuedTokenType` says of an answer with or without a refresh token.
    #[must_use]
    pub const fn issued_token_type(refreshes: bool) -> &'static str {
        if refreshes { REFRESH_TOKEN_TYPE } else { ACCESS_TOKEN_TYPE }
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(grant_type: &str, more: &str) -> Result<Input, Refusal> {
        Input::decode(format!(r#"{{"clientId":"i","grantType":"{grant_type}"{more}}}"#).as_bytes())
    }

    #[test]
    fn each_grant_names_the_member_it_misses() {
        let missing = |grant_type, more| match decode(grant_type, more) {
            Err(Refusal::InvalidRequest(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing("refresh_token", ""), "refreshToken is required");
        assert_eq!(
            missing("authorization_code", r#","code":"c","redirectUri":"r""#),
            "codeVerifier is required"
        );
        assert_eq!(missing("urn:ietf:params:oauth:grant-type:jwt-bearer", ""), "assertion is required");
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        assert_eq!(missing(exchange, ""), "subjectToken is required");
        assert_eq!(missing(exchange, r#","subjectToken":"t""#), "subjectTokenType is required");
        let foreign = r#","subjectToken":"t","subjectTokenType":"urn:ietf:params:oauth:token-type:jwt""#;
        assert!(missing(exchange, foreign).starts_with("subjectTokenType must be"));
        let refresh = format!(
            r#","subjectToken":"t","subjectTokenType":"{ACCESS_TOKEN_TYPE}","requestedTokenType":"x""#
        );
        assert!(missing(exchange, &refresh).starts_with("requestedTokenType must be"));
    }

    #[test]
    fn only_the_grants_of_the_model_are_supported() {
        for grant in ["client_credentials", "urn:ietf:params:oauth:grant-type:device_code", "password"] {
            assert_eq!(decode(grant, "").unwrap_err(), Refusal::UnsupportedGrantType, "{grant}");
        }
        let input = decode("refresh_token", r#","refreshToken":"r","scope":[]"#).unwrap();
        assert_eq!(input.scope, Some(vec![]));
    }

    #[test]
    fn an_answer_leaves_out_what_is_not_there() {
        let output = Output {
            access_token: "a",
            aws_additional_details: None,
            expires_in: 60,
            id_token: None,
            issued_token_type: Output::issued_token_type(false),
            refresh_token: None,
            scope: vec!["openid"],
            token_type: "Bearer",
        };
        let expected = r#"{"accessToken":"a","expiresIn":60,"issuedTokenType":"urn:ietf:params:oauth:token-type:access_token","scope":["openid"],"tokenType":"Bearer"}"#;
        assert_eq!(String::from_utf8(output.encode()).unwrap(), expected);
    }
}
