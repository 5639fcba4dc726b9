//! Proof of possession (DPoP, RFC 9449): a JWT with every request, by which a client shows that it holds the key its
//! tokens are bound to.
//!
//! A proof is fresh because it holds a nonce that this server gave a few minutes ago, whatever the client's clock says; and
//! it is taken once, on whichever node. Nonces are the same for everybody, and nothing is kept of them.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::refusal::Refusal;
use doorward_core::secret::KeyThumbprint;
use doorward_core::time::{Lifetime, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use super::jws::{self, Key, text, time};
use super::once::{LONGEST_JTI, Purpose, once_id, use_once};
use crate::app::App;
use crate::limits::Call;
use crate::op::{Caller, Failure};

#[cfg(test)]
mod tests;

/// The header that a proof comes in.
const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header that a nonce goes out in.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// What a proof may be signed with, for metadata and challenges.
pub(crate) const ALGORITHMS: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];
/// The longest proof that is looked at, in bytes. With an RSA key of 4096 bits, one has some two thousand.
const LONGEST_PROOF: usize = 8 * 1024;
/// How long a nonce is given out, in seconds. It is good for as long again.
const WINDOW: i64 = 300;
/// How far a client's clock may be off: that of a machine that has never heard of summer time is off by an hour. The nonce is
/// what says when a proof was made.
const CLOCK: Lifetime = Lifetime::from_seconds(3900);

/// The key that a request proves to hold; none if it does not try. `url` is where it was sent, as the public knows it, and
/// `access_token` the one that it came with.
///
/// # Errors
/// [`Refusal::InvalidDpopProof`], saying what is wrong; [`Refusal::UseDpopNonce`] when nothing is but the nonce;
/// [`Refusal::SlowDown`] for whoever sends too many. [`Failure::Outage`] when the store fails.
pub(crate) async fn proof(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    method: &Method,
    url: &str,
    access_token: Option<&str>,
) -> Result<Option<KeyThumbprint>, Failure<Refusal>> {
    let mut proofs = headers.get_all(DPOP).iter();
    let Some(proof) = proofs.next() else { return Ok(None) };
    app.limits.call(Call::Proof(caller.address))?;
    if proofs.next().is_some() {
        return Err(invalid("there is more than one DPoP header").into());
    }
    let proof = proof.to_str().map_err(|_| invalid("the DPoP header is no JWT"))?;
    let request = Request { app, now: caller.now, method, url, access_token };
    let Checked { key, jti, until } = request.check(proof)?;
    // Used up last: what is refused for any other reason may be mended and sent again.
    if use_once(app, once_id(Purpose::DpopProof, key.as_bytes(), &jti), until).await? {
        Ok(Some(key))
    } else {
        Err(invalid("jti was used before: every request needs a proof of its own").into())
    }
}

/// The nonce that is given out now.
pub(crate) fn nonce(app: &App, now: Timestamp) -> String {
    app.tokens.dpop_nonce(window(now))
}

/// Gives the next nonce with the answer to a request that had a proof (RFC 9449 section 8.2), good or bad. `asked` are the
/// headers of the request, `answer` those of the answer.
pub(crate) fn offer_nonce(app: &App, caller: &Caller, asked: &HeaderMap, answer: &mut HeaderMap) {
    if asked.contains_key(DPOP) {
        give_nonce(app, caller, answer);
    }
}

/// Gives the next nonce to whoever will need it.
pub(crate) fn give_nonce(app: &App, caller: &Caller, answer: &mut HeaderMap) {
    // It is base64url.
    let nonce = HeaderValue::try_from(nonce(app, caller.now)).expect("visible ASCII");
    answer.insert(DPOP_NONCE, nonce);
}

const fn window(now: Timestamp) -> i64 {
    now.seconds().div_euclid(WINDOW)
}

/// What a proof is checked against.
struct Request<'a> {
    app: &'a App,
    now: Timestamp,
    method: &'a Method,
    url: &'a str,
    access_token: Option<&'a str>,
}

/// What is left to be seen of a proof that says what it must.
struct Checked {
    key: KeyThumbprint,
    jti: String,
    /// From then on its nonce is of no use.
    until: Timestamp,
}

impl Request<'_> {
    /// Everything of RFC 9449 section 4.3 but whether it is the first time.
    fn check(&self, proof: &str) -> Result<Checked, Refusal> {
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
        let given = text(&claims, "nonce").and_then(|nonce| self.app.tokens.dpop_nonce_window(nonce));
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

fn invalid(why: impl Into<String>) -> Refusal {
    Refusal::InvalidDpopProof(why.into())
}
