//! DPoP proofs (RFC 9449 section 4.3), properly signed over whatever the fuzzer wants to say, so that it gets beyond the
//! signature: what is accepted says exactly what it must.

#![no_main]

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::time::Timestamp;
use http::Method;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The modules alone, since the whole server would take the fuzzer a quarter of an hour to build.
#[path = "."]
mod oauth {
    #[path = "../../crates/server/src/oauth/jws.rs"]
    pub(super) mod jws;
    #[path = "../../crates/server/src/oauth/dpop/proof.rs"]
    pub(super) mod proof;
}

const NOW: i64 = 1_800_000_000;
const URL: &str = "https://sso.example.org/token";

/// A key of this run, and its public half as a JWK.
fn key() -> &'static (EcdsaKeyPair, String) {
    static KEY: OnceLock<(EcdsaKeyPair, String)> = OnceLock::new();
    KEY.get_or_init(|| {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{}","y":"{}"}}"#, part(x), part(y));
        (pair, jwk)
    })
}

fn check(proof: &str) -> bool {
    let window_of = |nonce: &str| nonce.strip_prefix("window ")?.parse().ok();
    let request = oauth::proof::Request {
        now: Timestamp::from_seconds(NOW),
        method: &Method::POST,
        url: URL,
        access_token: None,
        window_of: &window_of,
    };
    request.check(proof).is_ok()
}

/// The header's members beside `jwk`, the claims, and whether it is sent as it stands.
fuzz_target!(|data: (&str, &str, bool)| {
    let (members, claims, raw) = data;
    if raw {
        check(members);
        return;
    }
    let (pair, jwk) = key();
    // `KEY` stands for the key, so that the fuzzer can put it where it likes.
    let header = members.replace("KEY", jwk);
    let signed =
        format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    if !check(&format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))) {
        return;
    }
    let (header, claims): (Value, Value) =
        (serde_json::from_str(&header).expect("JSON"), serde_json::from_str(claims).expect("JSON"));
    assert_eq!((&header["typ"], &header["alg"]), (&"dpop+jwt".into(), &"ES256".into()));
    assert_eq!(claims["htm"], "POST");
    let nonce = claims["nonce"].as_str().and_then(|nonce| nonce.strip_prefix("window "));
    let window: i64 = nonce.and_then(|nonce| nonce.parse().ok()).expect("a nonce");
    assert!((NOW / 300 - 1..=NOW / 300 + 1).contains(&window), "an old nonce was taken");
    assert!(claims["jti"].as_str().is_some_and(|jti| !jti.is_empty()));
    let url = url::Url::parse(claims["htu"].as_str().expect("htu")).expect("a URL");
    assert_eq!((url.host_str(), url.path(), url.scheme()), (Some("sso.example.org"), "/token", "https"));
});
