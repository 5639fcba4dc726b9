//! AWS Signature Version 4: whatever the headers are, they are read or refused; and no signature holds that was not made
//! with the secret.

#![no_main]

use doorward_core::secret::SecretAccessKey;
use doorward_core::time::Timestamp;
use http::Request;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/upstream/src/iam/sigv4.rs"]
mod sigv4;

use sigv4::Claimed;

/// The query, the headers by lines, and the body.
fuzz_target!(|data: (&str, &str, &[u8])| {
    let (query, lines, body) = data;
    let Ok(mut request) = Request::post(format!("/token?{query}")).body(()) else { return };
    for line in lines.lines() {
        let Some((name, value)) = line.split_once(": ") else { continue };
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_str(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let (parts, ()) = request.into_parts();
    let Ok(claimed) = Claimed::read(&parts) else { return };
    assert!(!claimed.access_key_id.is_empty() && !claimed.region.is_empty());
    // The secret is nowhere in the corpus, so no signature can be right.
    let secret = SecretAccessKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    let now = Timestamp::from_seconds(1_440_938_160);
    assert!(claimed.verify(&parts, body, &secret, "sso-oauth", now).is_err(), "a forged signature held");
});
