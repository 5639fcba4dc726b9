//! The one map from refusals to AWS exceptions: status, `x-amzn-ErrorType`, body.
//!
//! SDKs pick the exception's class from the header; a body alone leaves them with "Unknown". Internal texts end
//! here: an outage is `server_error` to everybody outside.

use std::borrow::Cow;

use doorward_core::refusal::{PortalRefusal, Refusal};
use http::StatusCode;
use serde::Serialize;

/// What is wrong with a request before any operation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unservable {
    /// There is nothing at this path.
    NotFound,
    /// The path knows another method.
    MethodNotAllowed,
    /// The body is longer than is read.
    TooLarge,
    /// The body is not JSON in UTF-8, or is compressed.
    UnsupportedMediaType,
    /// The body did not arrive in time, or not whole.
    Incomplete,
    /// The answer took longer than a request may.
    TimedOut,
}

impl Unservable {
    /// Status and words.
    const fn shape(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "there is no such operation"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "this operation has another request method")
            }
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body must be application/json in UTF-8")
            }
            Self::Incomplete => (StatusCode::BAD_REQUEST, "the request body did not arrive whole"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "the request took too long"),
        }
    }
}

/// A fault of the service `sso-oidc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcFault {
    /// The caller's to mend.
    Refused(Refusal),
    /// The caller's to mend, found before the operation was known.
    Unservable(Unservable),
    /// `/authorize` was asked for something other than a code (RFC 6749 section 4.1.2.1). It travels by redirect
    /// alone, so it is no exception of the model.
    UnsupportedResponseType,
    /// Ours (InternalServerException). What happened is in the log, under the request's id.
    Internal,
}

/// A fault of CreateTokenWithIAM, which is signed, beside those of all operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IamFault {
    /// As any operation of the service says no.
    Oidc(OidcFault),
    /// The request is not signed (MissingAuthenticationTokenException).
    NotSigned,
    /// The signature cannot be checked (IncompleteSignatureException); the text says why.
    IncompleteSignature(String),
    /// Nobody has such an access key (UnrecognizedClientException).
    UnrecognizedClient,
    /// The signature does not hold (InvalidSignatureException); the text says why.
    InvalidSignature(String),
    /// The request was signed for another region (InvalidRequestRegionException).
    OtherRegion {
        /// Where the region of this server is.
        endpoint: String,
        /// The region of this server.
        region: String,
    },
}

/// A fault of the service `sso`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalFault {
    /// The caller's to mend.
    Refused(PortalRefusal),
    /// The caller's to mend, found before the operation was known.
    Unservable(Unservable),
    /// Ours.
    Internal,
}

/// A fault as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The HTTP status.
    pub status: StatusCode,
    /// The exception's name: the value of `x-amzn-ErrorType`.
    pub exception: &'static str,
    /// The JSON body.
    pub body: Vec<u8>,
}

impl OidcFault {
    /// Status, exception, `error` and `error_description`.
    fn shape(&self) -> (StatusCode, &'static str, &'static str, Cow<'_, str>) {
        const BAD_REQUEST: StatusCode = StatusCode::BAD_REQUEST;
        let refusal = match self {
            Self::Refused(refusal) => refusal,
            Self::Unservable(what) => {
                let (status, words) = what.shape();
                let (exception, error) = match what {
                    Unservable::TimedOut => ("InternalServerException", "server_error"),
                    Unservable::NotFound
                    | Unservable::MethodNotAllowed
                    | Unservable::TooLarge
                    | Unservable::UnsupportedMediaType
                    | Unservable::Incomplete => ("InvalidRequestException", "invalid_request"),
                };
                return (status, exception, error, words.into());
            }
            Self::UnsupportedResponseType => {
                let why = "response_type must be code";
                return (BAD_REQUEST, "InvalidRequestException", "unsupported_response_type", why.into());
            }
            Self::Internal => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                return (status, "InternalServerException", "server_error", "Internal server error".into());
            }
        };
        let (exception, error, description) = match refusal {
            Refusal::InvalidRequest(why) => ("InvalidRequestException", "invalid_request", why.as_str()),
            Refusal::InvalidClient => {
                let status = StatusCode::UNAUTHORIZED;
                return (
                    status,
                    "InvalidClientException",
                    "invalid_client",
                    "Invalid client provided".into(),
                );
            }
            Refusal::InvalidGrant => ("InvalidGrantException", "invalid_grant", "Invalid grant provided"),
            Refusal::ConsentRequired => (
                "InvalidGrantException",
                "invalid_grant",
                "consent_required: the person has not agreed that this application may have this",
            ),
            // AWS's language servers compare this text.
            Refusal::InvalidRefreshToken => {
                ("InvalidGrantException", "invalid_grant", "Invalid refresh token provided")
            }
            Refusal::UnauthorizedClient => (
                "UnauthorizedClientException",
                "unauthorized_client",
                "The client is not registered for this grant type",
            ),
            Refusal::UnsupportedGrantType => {
                ("UnsupportedGrantTypeException", "unsupported_grant_type", "Grant type is not supported")
            }
            Refusal::InvalidScope => ("InvalidScopeException", "invalid_scope", "Invalid scope provided"),
            Refusal::AuthorizationPending => {
                ("AuthorizationPendingException", "authorization_pending", "Authorization is still pending")
            }
            Refusal::SlowDown => ("SlowDownException", "slow_down", "Too many requests; slow down"),
            Refusal::AccessDenied => ("AccessDeniedException", "access_denied", "Access denied"),
            Refusal::ExpiredToken => {
                ("ExpiredTokenException", "expired_token", "The device code has expired")
            }
            Refusal::InvalidClientMetadata(why) => {
                ("InvalidClientMetadataException", "invalid_client_metadata", why.as_str())
            }
            Refusal::InvalidRedirectUri(why) => {
                ("InvalidRedirectUriException", "invalid_redirect_uri", why.as_str())
            }
            Refusal::InvalidTarget => (
                "InvalidRequestException",
                "invalid_target",
                "The client may have no token for this resource",
            ),
            Refusal::InvalidDpopProof(why) => ("InvalidRequestException", "invalid_dpop_proof", why.as_str()),
            Refusal::UseDpopNonce => (
                "InvalidRequestException",
                "use_dpop_nonce",
                "The DPoP proof must hold the nonce of this answer",
            ),
        };
        (BAD_REQUEST, exception, error, description.into())
    }

    /// The fault as it travels.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
            error_description: &'a str,
        }
        let (status, exception, error, description) = self.shape();
        let body = json(&Body { error, error_description: &description });
        Envelope { status, exception, body }
    }

    /// The value of `error` in an error redirect (RFC 6749 section 4.1.2.1) and in logs.
    #[must_use]
    pub fn error(&self) -> &'static str {
        self.shape().2
    }

    /// The value of `error_description`.
    #[must_use]
    pub fn description(&self) -> Cow<'_, str> {
        self.shape().3
    }
}

impl IamFault {
    /// The fault as it travels. What is said of signatures has the shape that AWS's front gives it.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        #[derive(Serialize)]
        struct Message<'a> {
            message: &'a str,
        }
        #[derive(Serialize)]
        struct Elsewhere<'a> {
            endpoint: &'a str,
            error: &'a str,
            error_description: &'a str,
            region: &'a str,
        }
        let (status, exception, message) = match self {
            Self::Oidc(fault) => return fault.envelope(),
            Self::OtherRegion { endpoint, region } => {
                let body = json(&Elsewhere {
                    endpoint,
                    error: "invalid_request",
                    error_description: "The request is signed for another region",
                    region,
                });
                let exception = "InvalidRequestRegionException";
                return Envelope { status: StatusCode::BAD_REQUEST, exception, body };
            }
            Self::NotSigned => {
                (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", "Missing Authentication Token")
            }
            Self::IncompleteSignature(why) => {
                (StatusCode::BAD_REQUEST, "IncompleteSignatureException", why.as_str())
            }
            Self::UnrecognizedClient => (
                StatusCode::FORBIDDEN,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Self::InvalidSignature(why) => (StatusCode::FORBIDDEN, "InvalidSignatureException", why.as_str()),
        };
        Envelope { status, exception, body: json(&Message { message }) }
    }
}

impl PortalFault {
    /// Status, exception and `message`.
    fn shape(&self) -> (StatusCode, &'static str, &str) {
        match self {
            Self::Refused(PortalRefusal::InvalidRequest(why)) => {
                (StatusCode::BAD_REQUEST, "InvalidRequestException", why)
            }
            Self::Refused(PortalRefusal::Unauthorized) => {
                (StatusCode::UNAUTHORIZED, "UnauthorizedException", "Session token not found or invalid")
            }
            Self::Refused(PortalRefusal::NoAccess) => {
                (StatusCode::FORBIDDEN, "ForbiddenException", "No access")
            }
            Self::Refused(PortalRefusal::TooManyRequests) => {
                (StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Too many requests; slow down")
            }
            Self::Unservable(what) => {
                let (status, words) = what.shape();
                let exception = match what {
                    Unservable::NotFound => "ResourceNotFoundException",
                    Unservable::MethodNotAllowed => "MethodNotAllowedException",
                    Unservable::TooLarge | Unservable::UnsupportedMediaType | Unservable::Incomplete => {
                        "InvalidRequestException"
                    }
                    Unservable::TimedOut => "InternalServerException",
                };
                (status, exception, words)
            }
            Self::Internal => {
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException", "Internal server error")
            }
        }
    }

    /// The fault as it travels.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "__type")]
            kind: String,
            message: &'a str,
        }
        let (status, exception, message) = self.shape();
        let body = json(&Body { kind: format!("com.amazonaws.switchboard.portal#{exception}"), message });
        Envelope { status, exception, body }
    }
}

/// Serialises a shape of this crate.
pub(crate) fn json(shape: &impl Serialize) -> Vec<u8> {
    // The shapes of this crate have string keys and no serializer of their own, so nothing can fail.
    serde_json::to_vec(shape).expect("a shape that is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(envelope: &Envelope) -> &str {
        std::str::from_utf8(&envelope.body).unwrap()
    }

    #[test]
    fn pending_is_byte_for_byte_what_aws_sends() {
        let envelope = OidcFault::Refused(Refusal::AuthorizationPending).envelope();
        assert_eq!(envelope.status, 400);
        assert_eq!(envelope.exception, "AuthorizationPendingException");
        assert_eq!(
            text(&envelope),
            r#"{"error":"authorization_pending","error_description":"Authorization is still pending"}"#
        );
    }

    #[test]
    fn a_refused_refresh_has_the_text_that_clients_compare() {
        let envelope = OidcFault::Refused(Refusal::InvalidRefreshToken).envelope();
        assert_eq!(
            text(&envelope),
            r#"{"error":"invalid_grant","error_description":"Invalid refresh token provided"}"#
        );
    }

    #[test]
    fn only_an_invalid_client_is_401_in_sso_oidc() {
        assert_eq!(OidcFault::Refused(Refusal::InvalidClient).envelope().status, 401);
        assert_eq!(OidcFault::Refused(Refusal::SlowDown).envelope().status, 400);
        assert_eq!(OidcFault::Internal.envelope().status, 500);
    }

    #[test]
    fn no_access_is_not_unauthorized() {
        let envelope = PortalFault::Refused(PortalRefusal::NoAccess).envelope();
        assert_eq!(envelope.status, 403);
        assert_eq!(
            text(&envelope),
            r#"{"__type":"com.amazonaws.switchboard.portal#ForbiddenException","message":"No access"}"#
        );
        assert_eq!(PortalFault::Refused(PortalRefusal::Unauthorized).envelope().status, 401);
    }
}
