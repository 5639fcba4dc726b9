//! What verifiers of this server's tokens fetch.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use doorward_wire::oauth::metadata;

use super::answer;
use super::received::Received;
use crate::oauth;

/// `GET /.well-known/openid-configuration`, and the same for OAuth clients.
pub(crate) async fn configuration(received: Received) -> Response {
    let Received { app, id, .. } = received;
    match app.store.directory().await {
        Ok(directory) => {
            let scopes = directory.file().scopes.iter().map(|described| described.name.as_str());
            public(metadata::configuration(app.site.base(), scopes))
        }
        Err(outage) => oauth::failed(outage.into(), id),
    }
}

/// `GET /.well-known/jwks.json`: the key that signs, if there are brokers for which to sign.
pub(crate) async fn key_set(received: Received) -> Response {
    public(metadata::key_set(received.app.signing.published().as_slice()))
}

/// An answer that is the same for everybody, and for a while.
fn public(body: Vec<u8>) -> Response {
    let mut response = answer::json(StatusCode::OK, body);
    oauth::open_to_scripts(&mut response);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
