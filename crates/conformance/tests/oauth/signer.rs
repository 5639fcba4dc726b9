//! Somebody with a key of their own, who signs what a test wants signed.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use doorward_testkit::{Application, Kit};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// Holds a P-256 key.
pub(crate) struct Signer {
    key: EncodingKey,
    /// The public half.
    pub(crate) jwk: Value,
}

/// What a DPoP proof is about, beside the key.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) jti: &'a str,
    pub(crate) access_token: Option<&'a str>,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let der = pair.to_pkcs8v1().expect("a key in PKCS #8");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": part(x), "y": part(y)});
        Self { key: EncodingKey::from_ec_der(der.as_ref()), jwk }
    }

    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, Algorithm::ES256);
        format!("{signed}.{}", signature.expect("a signature"))
    }

    pub(crate) fn thumbprint(&self) -> String {
        let jwk: Jwk = serde_json::from_value(self.jwk.clone()).expect("a key");
        jwk.thumbprint(ThumbprintHash::SHA256).expect("a thumbprint")
    }

    /// A DPoP proof (RFC 9449 section 4.2).
    pub(crate) fn proof(&self, kit: &Kit, about: About<'_>) -> String {
        let mut claims = json!({
            "jti": about.jti, "htm": about.method, "htu": format!("{}{}", kit.base(), about.path),
            "iat": kit.now().seconds(), "nonce": about.nonce,
        });
        if let Some(token) = about.access_token {
            claims["ath"] = json!(BASE64URL_NOPAD.encode(digest(&SHA256, token.as_bytes()).as_ref()));
        }
        self.sign(&json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk}), &claims)
    }

    /// A JWT by which `client` says who it is (RFC 7523 section 2.2).
    pub(crate) fn assertion(&self, kit: &Kit, client: Application, jti: &str) -> String {
        let now = kit.now().seconds();
        let claims = json!({
            "iss": client.id, "sub": client.id, "aud": kit.base(), "iat": now, "exp": now + 60, "jti": jti,
        });
        self.sign(&json!({"alg": "ES256", "typ": "JWT"}), &claims)
    }
}
