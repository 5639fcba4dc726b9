//! The OAuth 2.0 and OpenID Connect door: form-encoded requests on the same engine that the AWS clients use.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_ENCODING, CONTENT_TYPE, PRAGMA,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use doorward_core::refusal::Refusal;
use doorward_wire::fault::{OidcFault, Unservable};
use doorward_wire::oauth::fault::Answer;
use doorward_wire::oauth::form::Form;

use crate::app::App;
use crate::http::answer::{self, RequestId};
use crate::http::api;
use crate::http::received::Received;
use crate::op::{Caller, Failure};

pub(crate) mod access;
pub(crate) mod claims;
pub(crate) mod client;
pub(crate) mod device;
pub(crate) mod dpop;
pub(crate) mod exchange;
#[cfg(test)]
mod fixtures;
pub(crate) mod introspect;
mod jws;
pub(crate) mod jwt_bearer;
pub(crate) mod once;
pub(crate) mod revoke;
pub(crate) mod token;
pub(crate) mod userinfo;

/// Whether a body is a form: the content type decides which dialect of a path is spoken.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    if headers.contains_key(CONTENT_ENCODING) {
        return false;
    }
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Answers a form-encoded request: reads it, runs the endpoint, encodes the outcome.
pub(crate) async fn serve(
    received: Received,
    run: impl AsyncFnOnce(&App, &Caller, &HeaderMap, &Form) -> Result<Response, Failure<Refusal>>,
) -> Response {
    let Received { app, id, caller, parts, body } = received;
    let outcome = read(&parts.headers, body).await;
    let mut response = match outcome {
        Err(fault) => refuse(&fault),
        Ok(form) => match run(&app, &caller, &parts.headers, &form).await {
            Ok(response) => response,
            Err(failure) => failed(failure, id),
        },
    };
    dpop::offer_nonce(&app, &caller, &parts.headers, response.headers_mut());
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    open_to_scripts(&mut response);
    response
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Form, OidcFault> {
    if !is_form(headers) {
        return Err(OidcFault::Unservable(Unservable::UnsupportedMediaType));
    }
    let body = api::read(body).await.map_err(OidcFault::Unservable)?;
    Form::parse(&body).map_err(OidcFault::Refused)
}

/// The answer to a request that came to nothing.
pub(crate) fn failed(failure: Failure<Refusal>, id: RequestId) -> Response {
    match failure {
        Failure::Refused(refusal) => refuse(&OidcFault::Refused(refusal)),
        Failure::Outage(what) => {
            answer::log_outage(id, &what);
            refuse(&OidcFault::Internal)
        }
    }
}

/// The answer that says what is wrong.
pub(crate) fn refuse(fault: &OidcFault) -> Response {
    let Answer { status, challenge, body } = Answer::of(fault);
    let mut response = answer::json(status, body);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// Lets scripts of any origin read an answer (<https://fetch.spec.whatwg.org/#http-cors-protocol>): applications run in
/// browsers, too. These endpoints take no cookie into account, so a script gets nothing that its page could not get.
pub(crate) fn open_to_scripts(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate"));
}

/// `OPTIONS`: what a script may send.
pub(crate) async fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    open_to_scripts(&mut response);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers
        .insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type, DPoP"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}
