//! Answers: from an operation's outcome to HTTP.

use std::fmt;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use doorward_core::refusal::{PortalRefusal, Refusal};
use doorward_wire::fault::{Envelope, IamFault, OidcFault, PortalFault};
use tracing::error;

use crate::op::Failure;

/// The exception of an error answer: what SDKs choose its class by.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The name of a request in answers and in the log: a version 4 UUID.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestId(pub(crate) uuid::Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A JSON answer. Nothing that an API of this server says may be kept by a cache.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    keep_from_caches(&mut response);
    response
}

/// Forbids caches to keep an answer.
pub(crate) fn keep_from_caches(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn fault(envelope: Envelope) -> Response {
    let mut response = json(envelope.status, envelope.body);
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(envelope.exception));
    response
}

/// A fault of `sso-oidc`.
pub(crate) fn oidc_fault(what: &OidcFault) -> Response {
    fault(what.envelope())
}

/// A fault of CreateTokenWithIAM.
pub(crate) fn iam_fault(what: &IamFault) -> Response {
    fault(what.envelope())
}

/// A fault of `sso`.
pub(crate) fn portal_fault(what: &PortalFault) -> Response {
    fault(what.envelope())
}

/// Writes an outage of ours into the log, where the request's id leads to it.
pub(crate) fn log_outage(request: RequestId, what: &str) {
    error!(%request, "{what}");
}

/// The answer of an operation of `sso-oidc`.
pub(crate) fn oidc(outcome: Result<Vec<u8>, Failure<Refusal>>, request: RequestId) -> Response {
    match outcome {
        Ok(body) => json(StatusCode::OK, body),
        Err(Failure::Refused(refusal)) => oidc_fault(&OidcFault::Refused(refusal)),
        Err(Failure::Outage(what)) => {
            log_outage(request, &what);
            oidc_fault(&OidcFault::Internal)
        }
    }
}

/// The answer of an operation of `sso`.
pub(crate) fn portal(outcome: Result<Vec<u8>, Failure<PortalRefusal>>, request: RequestId) -> Response {
    match outcome {
        Ok(body) => json(StatusCode::OK, body),
        Err(Failure::Refused(refusal)) => portal_fault(&PortalFault::Refused(refusal)),
        Err(Failure::Outage(what)) => {
            log_outage(request, &what);
            portal_fault(&PortalFault::Internal)
        }
    }
}
