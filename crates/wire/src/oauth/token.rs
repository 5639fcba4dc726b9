//! The token endpoint: `POST /token`, form-encoded (RFC 6749 section 3.2).

use doorward_core::client::GrantType;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::{
    AccessToken, Assertion, AuthorizationCode, CodeVerifier, DeviceCode, RefreshToken,
};
use serde::Serialize;

use super::form::Form;
use crate::fault::json;
use crate::oidc::create_token::Grant as Artefact;

/// The request, without what authenticates the client.
#[derive(Debug)]
pub struct Input {
    /// `grant_type`, with what that grant requires.
    pub grant: Grant,
    /// `scope`; empty when absent.
    pub scopes: Scopes,
    /// `resource` (RFC 8707), and `audience` of an exchange (RFC 8693 section 2.1).
    pub resources: Vec<String>,
}

/// A grant type and what it requires.
#[derive(Debug)]
pub enum Grant {
    /// One that redeems what this server has given out before.
    Artefact(Artefact),
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`: an assertion about a person (RFC 7523 section 2.1).
    JwtBearer(Assertion),
    /// `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693 section 2.1).
    TokenExchange {
        /// `subject_token`, of the type access token.
        subject_token: AccessToken,
        /// `actor_token`, of the same type.
        actor_token: Option<AccessToken>,
    },
    /// `client_credentials` (RFC 6749 section 4.4).
    ClientCredentials,
}

/// At most so many resources in one request.
const MOST_RESOURCES: usize = 20;

impl Input {
    /// Reads the request.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming the parameter that is missing or malformed; [`Refusal::UnsupportedGrantType`];
    /// [`Refusal::InvalidScope`]; [`Refusal::InvalidTarget`] for a resource that is none.
    pub fn decode(form: &Form) -> Result<Self, Refusal> {
        let grant = match GrantType::parse(form.required("grant_type")?)? {
            GrantType::DeviceCode => {
                Grant::Artefact(Artefact::DeviceCode(DeviceCode::new(form.required("device_code")?)))
            }
            GrantType::AuthorizationCode => Grant::Artefact(Artefact::AuthorizationCode {
                code: AuthorizationCode::new(form.required("code")?),
                redirect_uri: form.required("redirect_uri")?.to_owned(),
                verifier: CodeVerifier::parse(form.required("code_verifier")?).ok_or_else(|| {
                    Refusal::InvalidRequest(
                        "code_verifier must be 43 to 128 letters, digits or -._~ (RFC 7636)".into(),
                    )
                })?,
            }),
            GrantType::RefreshToken => {
                Grant::Artefact(Artefact::RefreshToken(RefreshToken::new(form.required("refresh_token")?)))
            }
            GrantType::ClientCredentials => Grant::ClientCredentials,
            GrantType::JwtBearer => Grant::JwtBearer(Assertion::new(form.required("assertion")?)),
            GrantType::TokenExchange => exchange(form)?,
        };
        let mut resources = resources(form)?;
        if matches!(grant, Grant::TokenExchange { .. }) {
            resources.extend(form.all("audience").map(str::to_owned));
            if resources.len() > MOST_RESOURCES {
                return Err(Refusal::InvalidTarget);
            }
        }
        Ok(Self { grant, scopes: Scopes::parse(form.get("scope"))?, resources })
    }
}

/// The one type of token that is exchanged, and that comes of it (RFC 8693 section 3). Tokens of others are for the grant
/// `urn:ietf:params:oauth:grant-type:jwt-bearer`.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

fn exchange(form: &Form) -> Result<Grant, Refusal> {
    let subject_token = AccessToken::new(form.required("subject_token")?);
    form.required("subject_token_type")?;
    let actor_token = form.get("actor_token").map(AccessToken::new);
    match (&actor_token, form.get("actor_token_type")) {
        (Some(_), None) => {
            return Err(Refusal::InvalidRequest("actor_token_type is required with actor_token".into()));
        }
        (None, Some(_)) => {
            return Err(Refusal::InvalidRequest("actor_token is required with actor_token_type".into()));
        }
        _ => {}
    }
    for name in ["subject_token_type", "actor_token_type", "requested_token_type"] {
        access_token_type(name, form.get(name))?;
    }
    Ok(Grant::TokenExchange { subject_token, actor_token })
}

/// Whether a token type is that of access tokens of this server, if it is said.
///
/// # Errors
/// [`Refusal::InvalidRequest`] if it is another.
pub(crate) fn access_token_type(name: &str, given: Option<&str>) -> Result<(), Refusal> {
    if given.is_some_and(|kind| kind != ACCESS_TOKEN_TYPE) {
        let why =
            format!("{name} must be {ACCESS_TOKEN_TYPE}: only access tokens of this server are exchanged");
        return Err(Refusal::InvalidRequest(why));
    }
    Ok(())
}

/// `resource`, each an absolute URI without a fragment (RFC 8707 section 2). That they are the client's to ask for is
/// found out elsewhere.
///
/// # Errors
/// [`Refusal::InvalidTarget`].
pub fn resources(form: &Form) -> Result<Vec<String>, Refusal> {
    let resources: Vec<String> = form.all("resource").map(str::to_owned).collect();
    if resources.len() > MOST_RESOURCES || resources.iter().any(|uri| uri.contains('#')) {
        return Err(Refusal::InvalidTarget);
    }
    Ok(resources)
}

/// The answer (RFC 6749 section 5.1, OpenID Connect Core 1.0 section 3.1.3.3).
#[derive(Serialize)]
pub struct Output<'a> {
    /// `access_token`.
    pub access_token: &'a str,
    /// `issued_token_type` (RFC 8693 section 2.2.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_token_type: Option<&'a str>,
    /// `Bearer`, or `DPoP` (RFC 9449 section 5).
    pub token_type: &'a str,
    /// Seconds until the access token expires.
    pub expires_in: u32,
    /// `refresh_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<&'a str>,
    /// `id_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token: Option<&'a str>,
    /// The scopes of the access token.
    pub scope: &'a str,
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

    fn decode(text: &str) -> Result<Input, Refusal> {
        Input::decode(&Form::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn each_grant_names_the_parameter_it_misses() {
        let missing = |text: &str| match decode(text) {
            Err(Refusal::InvalidRequest(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(missing("scope=a"), "grant_type is required");
        let device = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        assert_eq!(missing(device), "device_code is required");
        assert_eq!(missing("grant_type=refresh_token&device_code=x"), "refresh_token is required");
        assert_eq!(missing("grant_type=authorization_code"), "code is required");
        assert_eq!(missing("grant_type=authorization_code&code=c"), "redirect_uri is required");
        assert_eq!(
            missing("grant_type=authorization_code&code=c&redirect_uri=r"),
            "code_verifier is required"
        );
        let assertion = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        assert_eq!(missing(assertion), "assertion is required");
    }

    // Holds: rfc8693-2.1-actor-token-type, rfc8693-2.1-requested-type, rfc8693-2.1-subject-token
    // Holds: rfc8693-2.2.2-invalid-request
    #[test]
    fn ledger_12_an_exchange_is_whole_or_refused() {
        let exchange = |more: &str| {
            decode(&format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange{more}"))
        };
        let why = |more: &str| match exchange(more) {
            Err(Refusal::InvalidRequest(why)) => why,
            other => panic!("{other:?}"),
        };
        let kind = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
        let good = format!("&subject_token=s&subject_token_type={kind}");
        assert_eq!(why(&format!("&subject_token_type={kind}")), "subject_token is required");
        assert_eq!(why("&subject_token=s"), "subject_token_type is required");
        assert_eq!(why(&format!("{good}&actor_token=a")), "actor_token_type is required with actor_token");
        assert_eq!(
            why(&format!("{good}&actor_token_type={kind}")),
            "actor_token is required with actor_token_type"
        );
        for name in ["requested_token_type", "actor_token=a&actor_token_type"] {
            let why = why(&format!("{good}&{name}=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Asaml2"));
            assert!(why.ends_with("only access tokens of this server are exchanged"), "{why}");
        }
        let foreign =
            why("&subject_token=s&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt");
        assert!(foreign.starts_with("subject_token_type must be"), "{foreign}");
        let input = exchange(&format!("{good}&resource=https://a&audience=https://b&audience=c")).unwrap();
        assert_eq!(input.resources, ["https://a", "https://b", "c"]);
        assert!(matches!(input.grant, Grant::TokenExchange { actor_token: None, .. }));
        let many = "&audience=x".repeat(21);
        assert_eq!(exchange(&format!("{good}{many}")).unwrap_err(), Refusal::InvalidTarget);
    }

    // Holds: rfc9700-2.4-no-password-grant
    #[test]
    fn ledger_14_the_grants_that_nobody_should_use_are_unsupported() {
        for grant_type in ["password", "implicit", "REFRESH_TOKEN"] {
            let refused = decode(&format!("grant_type={grant_type}&username=a&password=b")).unwrap_err();
            assert_eq!(refused, Refusal::UnsupportedGrantType);
        }
    }

    // Holds: rfc8707-2-absolute, rfc8707-2-several
    #[test]
    fn a_resource_has_no_fragment_and_there_are_not_too_many() {
        let with = |more: &str| decode(&format!("grant_type=refresh_token&refresh_token=x{more}"));
        assert_eq!(with("&resource=https://a&resource=https://b").unwrap().resources.len(), 2);
        assert_eq!(with("&resource=https://a%23b").unwrap_err(), Refusal::InvalidTarget);
        assert_eq!(with(&"&resource=https://a".repeat(21)).unwrap_err(), Refusal::InvalidTarget);
    }

    #[test]
    fn a_request_does_not_print_its_secrets() {
        let printed = format!("{:?}", decode("grant_type=refresh_token&refresh_token=hunter2").unwrap());
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
