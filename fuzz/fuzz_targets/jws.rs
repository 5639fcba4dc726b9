//! JSON Web Signatures of strangers: client assertions and whatever else comes as one. A key is read from what a header
//! brings along, and a signature holds only if that key made it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The one module, since the whole server would take the fuzzer a quarter of an hour to build.
#[path = "."]
mod oauth {
    #[path = "../../crates/server/src/oauth/jws.rs"]
    pub(super) mod jws;
}

use oauth::jws::{self, Key};

fuzz_target!(|data: &str| {
    let token = data.trim();
    let (header, claims) = (jws::header(token), jws::unverified(token));
    if let Some(claims) = &claims {
        for name in ["exp", "nbf", "iat"] {
            jws::time(claims, name);
        }
        jws::text(claims, "jti");
    }
    let Some(jwk) = header.as_ref().and_then(|header| header.get("jwk")) else { return };
    let Some(key) = Key::of(jwk) else { return };
    for private in ["d", "p", "q", "k"] {
        assert!(jwk.get(private).is_none(), "a private key was taken");
    }
    if let Some(verified) = key.verify(token) {
        assert_eq!(Some(verified), claims);
        let alg = header.as_ref().and_then(|header| header.get("alg")).and_then(Value::as_str);
        assert!(["ES256", "RS256", "PS256", "EdDSA"].contains(&alg.expect("an algorithm")));
    }
});
