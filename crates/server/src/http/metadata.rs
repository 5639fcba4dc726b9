//! What verifiers of this server's tokens fetch.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use doorward_core::time::Lifetime;
use doorward_wire::oauth::metadata;

use super::answer;
use super::received::Received;
use crate::oauth;

/// How long the metadata may be kept.
const CONFIGURATION_AGE: Lifetime = Lifetime::from_seconds(300);

/// `GET /.well-known/openid-configuration`, and the same for OAuth clients.
pub(crate) async fn configuration(received: Received) -> Response {
    let Received { app, id, .. } = received;
    match app.store.directory().await {
        Ok(directory) => {
            let scopes = directory.file().scopes.iter().map(|described| described.name.as_str());
            public(metadata::configuration(app.site.base(), scopes), CONFIGURATION_AGE)
        }
        Err(outage) => oauth::failed(outage.into(), id),
    }
}

/// `GET /.well-known/jwks.json`: the keys that sign, signed, and are going to sign.
pub(crate) async fn key_set(received: Received) -> Response {
    let signing = &received.app.signing;
    public(metadata::key_set(signing.published().as_slice()), signing.max_age())
}

/// An answer that is the same for everybody, and for so long.
fn public(body: Vec<u8>, age: Lifetime) -> Response {
    let mut response = answer::json(StatusCode::OK, body);
    oauth::open_to_scripts(&mut response);
    if let Ok(value) = HeaderValue::try_from(format!("public, max-age={}", age.seconds())) {
        response.headers_mut().insert(CACHE_CONTROL, value);
    }
    response
}
