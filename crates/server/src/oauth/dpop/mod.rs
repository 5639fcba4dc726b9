//! Proof of possession (DPoP, RFC 9449): a JWT with every request, by which a client shows that it holds the key its
//! tokens are bound to.
//!
//! A proof is fresh because it holds a nonce that this server gave a few minutes ago, whatever the client's clock says; and
//! it is taken once, on whichever node. Nonces are the same for everybody, and nothing is kept of them.

use doorward_core::refusal::Refusal;
use doorward_core::secret::KeyThumbprint;
use doorward_core::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::once::{Purpose, once_id, use_once};
use crate::app::App;
use crate::limits::Call;
use crate::op::{Caller, Failure};

mod proof;
#[cfg(test)]
mod tests;

pub(crate) use proof::ALGORITHMS;
use proof::{Checked, Request, invalid, window};

/// The header that a proof comes in.
const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header that a nonce goes out in.
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
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
    let window_of = |nonce: &str| app.tokens.dpop_nonce_window(nonce);
    let request = Request { now: caller.now, method, url, access_token, window_of: &window_of };
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
