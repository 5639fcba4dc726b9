//! What a proof must say (RFC 9449 section 4.3), but whether it is the first time: pure, so that a fuzzer can have it alone.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::refusal::Refusal;
use doorward_core::secret::KeyThumbprint;
use doorward_core::time::{Lifetime, Timestamp};
use http::Method;
use url::Url;

use crate::oauth::jws::{self, Key, LONGEST_JTI, text, time};

/// What a proof may be signed with, for metadata and challenges.
pub(crate) const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];
/// The longest proof that is looked at, in bytes. With an RSA key of 4096 bits, one has some two thousand.
const LONGEST_PROOF: usize = 8 * 1024;
/// How long a nonce is given out, in seconds. It is good for as long again.
pub(crate) const WINDOW: i64 = 300;
/// How far a client's clock may be off: that of a machine that has never heard of summer time is off by an hour. The nonce is
/// what says when a proof was made.
const CLOCK: Lifetime = Lifetime::from_seconds(3900);

pub(crate) const fn window(now: Timestamp) -> i64 {
    now.seconds().div_euclid(WINDOW)
}

/// What a proof is checked against.
pub(crate) struct Request<'a> {
    pub(crate) now: Timestamp,
    pub(crate) method: &'a Method,
    pub(crate) url: &'a str,
    pub(crate) access_token: Option<&'a str>,
    /// The window in which a nonce was given out, if it was.
    pub(crate) window_of: &'a (dyn Fn(&str) -> Option<i64> + Sync),
}

/// What is left to be seen of a proof that says what it must.
pub(crate) struct Checked {
    pub(crate) key: KeyThumbprint,
    pub(crate) jti: String,
    /// From then on its nonce is of no use.
    pub(crate) until: Timestamp,
}

impl Request<'_> {
    /// Everything of RFC 9449 section 4.3 but whether it is the first time.
    pub(crate) fn check(&self, proof: &str) -> Result<Checked, Refusal> {
        if proof.len() > LONGEST_PROOF {
            return Err(invalid(format!("the DPoP proof is longer than {LONGEST_PROOF} bytes")));
        }
        let header = jws::header(proof).ok_or_else(|| invalid("the DPoP proof's header cannot be read"))?;
        if text(&header, "typ") != Some("dpop+jwt") {
            return Err(invalid("typ must be dpop+jwt"));
        }
        if header.contains_key("crit") {
            return Err(invalid("crit is there, and nothing that it may mean is known here"));
        }
        if !text(&header, "alg").is_some_and(|alg| ALGORITHMS.contains(&alg)) {
            return Err(invalid(format!("alg must be one of {}", ALGORITHMS.join(", "))));
        }
        let key = header.get("jwk").and_then(Key::of).ok_or_else(|| {
            invalid("jwk must be a public key: EC on P-256, RSA of 2048 to 4096 bits, or OKP on Ed25519")
        })?;
        let claims = key.verify(proof);
        let claims = claims.ok_or_else(|| invalid("the signature is not one of jwk with alg"))?;

        if text(&claims, "htm") != Some(self.method.as_str()) {
            return Err(invalid("htm must be the method of the request"));
        }
        if !text(&claims, "htu").is_some_and(|htu| is_same_resource(htu, self.url)) {
            return Err(invalid(format!("htu must be {}", self.url)));
        }
        let issued = time(&claims, "iat").ok_or_else(|| invalid("iat must be a time"))?;
        if issued < self.now.minus(CLOCK) || issued > self.now.plus(CLOCK) {
            return Err(invalid("iat is too far from now: does the clock run right?"));
        }
        let jti = text(&claims, "jti").filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()));
        let jti = jti.ok_or_else(|| invalid(format!("jti must have 1 to {LONGEST_JTI} bytes")))?;
        if let Some(access_token) = self.access_token {
            let hash = BASE64URL_NOPAD.encode(digest(&SHA256, access_token.as_bytes()).as_ref());
            if text(&claims, "ath") != Some(&hash) {
                return Err(invalid("ath must be the hash of the access token"));
            }
        }
        let given = text(&claims, "nonce").and_then(|nonce| (self.window_of)(nonce));
        let current = window(self.now);
        // A node whose clock is ahead may be giving out the next one already.
        let given = given.filter(|given| (current - 1..=current + 1).contains(given));
        let given = given.ok_or(Refusal::UseDpopNonce)?;
        let until = Timestamp::from_seconds((given + 2).saturating_mul(WINDOW));
        Ok(Checked { key: key.thumbprint(), jti: jti.to_owned(), until })
    }
}

/// Whether two addresses are of one resource: normalised, and without query and fragment (RFC 9449 section 4.3).
fn is_same_resource(htu: &str, url: &str) -> bool {
    let bare = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    bare(htu).is_some_and(|htu| bare(url) == Some(htu))
}

pub(crate) fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::InvalidDpopProof(why.into())
}
