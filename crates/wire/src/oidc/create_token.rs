//! CreateToken: `POST /token`.

use doorward_core::client::GrantType;
use doorward_core::refusal::Refusal;
use doorward_core::secret::{AuthorizationCode, ClientSecret, CodeVerifier, DeviceCode, RefreshToken};
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
    /// `grantType`, with what that grant requires.
    pub grant: Grant,
    /// `scope`; absent is empty.
    pub scope: Vec<String>,
}

/// A grant type and its artefact. What belongs to other grants is not read.
#[derive(Debug)]
pub enum Grant {
    /// `urn:ietf:params:oauth:grant-type:device_code`.
    DeviceCode(DeviceCode),
    /// `authorization_code`.
    AuthorizationCode {
        /// `code`.
        code: AuthorizationCode,
        /// `redirectUri`.
        redirect_uri: String,
        /// `codeVerifier`.
        verifier: CodeVerifier,
    },
    /// `refresh_token`.
    RefreshToken(RefreshToken),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    client_id: Option<String>,
    client_secret: Option<String>,
    grant_type: Option<String>,
    device_code: Option<String>,
    code: Option<String>,
    refresh_token: Option<String>,
    scope: Option<Vec<String>>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
}

impl Body for Members {
    const MEMBERS: &'static [(&'static str, Kind)] = &[
        ("clientId", Kind::Text),
        ("clientSecret", Kind::Text),
        ("grantType", Kind::Text),
        ("deviceCode", Kind::Text),
        ("code", Kind::Text),
        ("refreshToken", Kind::Text),
        ("scope", Kind::TextList),
        ("redirectUri", Kind::Text),
        ("codeVerifier", Kind::Text),
    ];
}

impl Input {
    /// Reads the request's body.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming the member that is missing or malformed;
    /// [`Refusal::UnsupportedGrantType`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let members: Members = body(bytes)?;
        let client_id = required(members.client_id, "clientId")?;
        let client_secret = ClientSecret::new(required(members.client_secret, "clientSecret")?);
        let grant = match GrantType::parse(&required(members.grant_type, "grantType")?)? {
            GrantType::DeviceCode => {
                Grant::DeviceCode(DeviceCode::new(required(members.device_code, "deviceCode")?))
            }
            GrantType::AuthorizationCode => {
                let code = AuthorizationCode::new(required(members.code, "code")?);
                let redirect_uri = required(members.redirect_uri, "redirectUri")?;
                let verifier = required(members.code_verifier, "codeVerifier")?;
                let verifier = CodeVerifier::parse(&verifier).ok_or_else(|| {
                    Refusal::InvalidRequest(
                        "codeVerifier must be 43 to 128 letters, digits or -._~ (RFC 7636)".into(),
                    )
                })?;
                Grant::AuthorizationCode { code, redirect_uri, verifier }
            }
            GrantType::RefreshToken => {
                Grant::RefreshToken(RefreshToken::new(required(members.refresh_token, "refreshToken")?))
            }
            GrantType::ClientCredentials | GrantType::TokenExchange | GrantType::JwtBearer => {
                return Err(Refusal::UnsupportedGrantType);
            }
        };
        Ok(Self { client_id, client_secret, grant, scope: members.scope.unwrap_or_default() })
    }
}

/// The answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Output<'a> {
    /// `accessToken`.
    pub access_token: &'a str,
    /// Seconds until the access token expires.
    pub expires_in: u32,
    /// Always null: the model says that CreateToken does not implement it.
    pub id_token: Option<&'a str>,
    /// `refreshToken`; null for a client that registered no scopes. SDKs forget their refresh token when an answer
    /// to a refresh lacks it.
    pub refresh_token: Option<&'a str>,
    /// `Bearer`.
    pub token_type: &'a str,
}

impl Output<'_> {
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
        let body = format!(r#"{{"clientId":"i","clientSecret":"s","grantType":"{grant_type}"{more}}}"#);
        Input::decode(body.as_bytes())
    }

    #[test]
    fn each_grant_names_the_member_it_misses() {
        let missing = |grant_type: &str, more: &str| match decode(grant_type, more) {
            Err(Refusal::InvalidRequest(why)) => why,
            other => panic!("{other:?}"),
        };
        let device = "urn:ietf:params:oauth:grant-type:device_code";
        assert_eq!(missing(device, ""), "deviceCode is required");
        assert_eq!(missing(device, r#","deviceCode":"""#), "deviceCode is required");
        assert_eq!(missing("refresh_token", r#","deviceCode":"d""#), "refreshToken is required");
        assert_eq!(missing("authorization_code", ""), "code is required");
        assert_eq!(missing("authorization_code", r#","code":"c""#), "redirectUri is required");
        assert_eq!(
            missing("authorization_code", r#","code":"c","redirectUri":"r""#),
            "codeVerifier is required"
        );
        assert_eq!(missing("", ""), "grantType is required");
    }

    #[test]
    fn an_unknown_grant_type_is_unsupported() {
        // The model's own example spells it with a hyphen, and is wrong.
        for grant_type in ["password", "urn:ietf:params:oauth:grant-type:device-code", "REFRESH_TOKEN"] {
            assert_eq!(decode(grant_type, "").unwrap_err(), Refusal::UnsupportedGrantType);
        }
    }

    #[test]
    fn a_request_does_not_print_its_secrets() {
        let input = decode("refresh_token", r#","refreshToken":"hunter2""#).unwrap();
        let printed = format!("{input:?}");
        assert!(!printed.contains("hunter2") && !printed.contains(r#""s""#), "{printed}");
    }
}
