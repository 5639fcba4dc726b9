//! What verifiers of this server's tokens fetch.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use doorward_wire::oauth::metadata;

use super::answer;
use super::received::Received;

/// `GET /.well-known/openid-configuration`.
pub(crate) async fn configuration(received: Received) -> Response {
    public(metadata::configuration(received.app.site.base()))
}

/// `GET /.well-known/jwks.json`: the key that signs, if there are brokers for which to sign.
pub(crate) async fn key_set(received: Received) -> Response {
    public(metadata::key_set(received.app.signing.published().as_slice()))
}

/// An answer that is the same for everybody, and for a while.
fn public(body: Vec<u8>) -> Response {
    let mut response = answer::json(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
