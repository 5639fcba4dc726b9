//! What the authorization endpoint answers by redirect when it gives no code (RFC 6749 section 4.1.2.1, OpenID Connect Core 1.0
//! section 3.1.2.6, RFC 8707 section 2, RFC 9126 section 2.3).

use std::borrow::Cow;

use doorward_core::refusal::Refusal;
use serde::Serialize;

use crate::fault::{OidcFault, json};

/// The answer to a request that was pushed (RFC 9126 section 2.2).
#[derive(Debug, Serialize)]
pub struct Pushed<'a> {
    /// What the browser brings instead of the request.
    pub request_uri: &'a str,
    /// How long it may take, in seconds.
    pub expires_in: u32,
}

impl Pushed<'_> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}

/// Why there is no code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizationFault {
    /// The client's to mend, or the person's decision.
    Refused(Refusal),
    /// Something other than a code was asked for.
    UnsupportedResponseType,
    /// The person must sign in, and the client said that they must not be asked.
    LoginRequired,
    /// The person must agree, and the client said that they must not be asked.
    ConsentRequired,
    /// `request` was sent: requests are not taken as JWTs.
    RequestNotSupported,
    /// `request_uri` is not one that this server gave.
    RequestUriNotSupported,
    /// `registration` was sent: clients are registered by an administrator.
    RegistrationNotSupported,
    /// `request_uri` has expired.
    InvalidRequestUri,
}

impl From<Refusal> for AuthorizationFault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl AuthorizationFault {
    /// The request is malformed; the text names the parameter and the rule.
    #[must_use]
    pub fn invalid(why: &str) -> Self {
        Self::Refused(Refusal::InvalidRequest(why.to_owned()))
    }

    /// The body, where it does not travel by redirect (RFC 9126 section 2.3).
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: &'a str,
        }
        json(&Body { error: self.error(), error_description: &self.description() })
    }

    /// The value of `error`.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => OidcFault::Refused(refusal.clone()).error(),
            Self::UnsupportedResponseType => OidcFault::UnsupportedResponseType.error(),
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidRequestUri => "invalid_request_uri",
        }
    }

    /// The value of `error_description`.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => {
                Cow::Owned(OidcFault::Refused(refusal.clone()).description().into_owned())
            }
            Self::UnsupportedResponseType => {
                Cow::Owned(OidcFault::UnsupportedResponseType.description().into_owned())
            }
            Self::LoginRequired => "The person has to sign in".into(),
            Self::ConsentRequired => "The person has to agree".into(),
            Self::RequestNotSupported => "request is not supported: send the parameters themselves".into(),
            Self::RequestUriNotSupported => "request_uri must be one that this server gave (RFC 9126)".into(),
            Self::RegistrationNotSupported => "registration is not supported".into(),
            Self::InvalidRequestUri => "request_uri has expired: push the request again".into(),
        }
    }
}
