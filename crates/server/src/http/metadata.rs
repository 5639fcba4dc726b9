//! What verifiers of this server's tokens fetch.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use doorward_core::time::Lifetime;
use doorward_wire::oauth::metadata;

use super::answer;
use super::received::Received;

/// How long the discovery document may be kept.
const CONFIGURATION_AGE: Lifetime = Lifetime::from_seconds(300);

/// `GET /.well-known/openid-configuration`.
pub(crate) async fn configuration(received: Received) -> Response {
    public(metadata::configuration(received.app.site.base()), CONFIGURATION_AGE)
}

/// `GET /.well-known/jwks.json`: the keys that sign, signed, and are going to sign.
pub(crate) async fn key_set(received: Received) -> Response {
    let signing = &received.app.signing;
    public(metadata::key_set(signing.published().as_slice()), signing.max_age())
}

/// An answer that is the same for everybody, and for so long.
fn public(body: Vec<u8>, age: Lifetime) -> Response {
    let mut response = answer::json(StatusCode::OK, body);
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={}", age.seconds())) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}
