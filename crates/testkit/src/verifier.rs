//! Somebody who verifies what the server signed, as a resource server with a cache of its keys does.

use axum::body::Body;
use doorward_core::time::{Lifetime, Timestamp};
use http::Request;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use crate::Kit;

/// A verifier of a library of its own. It keeps the keys for as long as `Cache-Control` says, and not a moment less: a key
/// that it does not know is a failure, though most verifiers would fetch the keys again.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: Option<JwkSet>,
    good_until: Option<Timestamp>,
}

impl Verifier {
    /// The claims of a token that has this `typ` and was signed with this algorithm. The keys come from `node` if those
    /// that were fetched last are too old, by its clock. Whom the token is for and whether it expired is not looked at.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn verify(
        &mut self,
        node: &Kit,
        algorithm: Algorithm,
        typ: &str,
        token: &str,
    ) -> Result<Value, String> {
        if self.good_until.is_none_or(|until| until <= node.now()) {
            self.fetch(node).await;
        }
        let header = decode_header(token).map_err(|error| error.to_string())?;
        if header.typ.as_deref() != Some(typ) {
            return Err(format!("its type is {:?}", header.typ));
        }
        let kid = header.kid.ok_or("it names no key")?;
        let known = self.keys.as_ref().and_then(|keys| keys.find(&kid));
        let jwk = known.ok_or_else(|| format!("the key {kid} is unknown"))?;
        let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode(token, &key, &validation).map(|data| data.claims).map_err(|error| error.to_string())
    }

    async fn fetch(&mut self, node: &Kit) {
        let request = Request::get("/.well-known/jwks.json").body(Body::empty());
        let answer = node.send(request.expect("a request")).await.ok();
        let caching = answer.header("cache-control");
        let age = caching.strip_prefix("public, max-age=").and_then(|age| age.parse().ok());
        let age = Lifetime::from_seconds(age.unwrap_or_else(|| panic!("how long to keep keys: {caching}")));
        self.keys = Some(serde_json::from_slice(&answer.body).expect("a key set"));
        self.good_until = Some(node.now().plus(age));
    }
}
