//! Verifies this server's tokens as an application does: with its published keys, and somebody else's library.

use axum::body::Body;
use doorward_testkit::{Answer, Kit};
use http::Request;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

pub(crate) async fn get(kit: &Kit, path: &str) -> Answer {
    kit.send(Request::get(path).body(Body::empty()).expect("a request")).await.ok()
}

/// The published keys.
pub(crate) async fn key_set(kit: &Kit) -> JwkSet {
    serde_json::from_value(get(kit, "/.well-known/jwks.json").await.json()).expect("a key set")
}

/// Header and claims of a token, if its signature holds under a published key. Its times are the test's to look at: the
/// test's clock is not the machine's.
pub(crate) async fn verify(kit: &Kit, token: &str) -> Option<(jsonwebtoken::Header, Value)> {
    let header = jsonwebtoken::decode_header(token).ok()?;
    let keys = key_set(kit).await;
    let key = keys.find(header.kid.as_deref()?)?;
    assert!(matches!(header.alg, Algorithm::ES256 | Algorithm::RS256 | Algorithm::EdDSA), "{:?}", header.alg);
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded =
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).ok()?, &validation).ok()?;
    Some((header, decoded.claims))
}
