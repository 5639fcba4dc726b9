//! What may be used once only, on whichever node: the `jti` of somebody else's JWT. And which of this server's own were revoked,
//! which is the same.

use aws_lc_rs::digest::{Context, SHA256};
use doorward_core::ids::OnceId;
use doorward_core::store::{CommitError, Outage};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_core::verdict::Change;

pub(crate) use super::jws::LONGEST_JTI;
use crate::app::App;

/// How long a use is remembered beyond its end: a node whose clock is ahead of the others' by less than this forgets
/// nothing that one of them would still take.
const REMEMBERED_LONGER: Lifetime = Lifetime::from_seconds(600);

/// What a `jti` is that of. The same one for two purposes is two.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// A client's assertion about itself (RFC 7523 section 2.2).
    ClientAssertion,
    /// A DPoP proof (RFC 9449 section 4.2).
    DpopProof,
    /// An assertion about a person (RFC 7523 section 2.1).
    Assertion,
    /// A presigned GetCallerIdentity.
    CallerIdentity,
    /// An access token of this server, which is good until it was revoked (RFC 7009).
    Revocation,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAssertion => "client assertion",
            Self::DpopProof => "dpop proof",
            Self::Assertion => "assertion",
            Self::CallerIdentity => "caller identity",
            Self::Revocation => "revocation",
        }
    }
}

/// The name of a `jti` that belongs to `whose`, so that nobody uses up anybody else's.
pub(crate) fn once_id(purpose: Purpose, whose: &[u8], jti: &str) -> OnceId {
    let mut hash = Context::new(&SHA256);
    for part in [purpose.as_str().as_bytes(), whose, jti.as_bytes()] {
        // With its length before it, no part can be taken for the end of another.
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finish().as_ref()[..16]);
    OnceId::from_bytes(bytes)
}

/// How long it is remembered that something was used that is of no use to anybody from `until` on.
pub(crate) const fn remembered_until(until: Timestamp) -> Timestamp {
    until.plus(REMEMBERED_LONGER)
}

/// Uses it, and answers whether nobody had before. It is of no use to anybody from `until` on.
///
/// # Errors
/// [`Outage`] when the store cannot tell. It may be used up then.
pub(crate) async fn use_once(app: &App, id: OnceId, until: Timestamp) -> Result<bool, Outage> {
    commit(app, Change::Use { id, until: remembered_until(until), durable: false }).await
}

/// As [`use_once`], for good: what was revoked stays so, whatever happens to this machine.
///
/// # Errors
/// As there.
pub(crate) async fn revoke(app: &App, id: OnceId, until: Timestamp) -> Result<bool, Outage> {
    commit(app, Change::Use { id, until: remembered_until(until), durable: true }).await
}

async fn commit(app: &App, change: Change) -> Result<bool, Outage> {
    match app.store.commit(vec![change]).await {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(CommitError::Outage(outage)) => Err(outage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: ledger-29
    #[test]
    fn a_name_is_of_one_purpose_one_owner_and_one_jti() {
        let id = |purpose, whose: &str, jti: &str| once_id(purpose, whose.as_bytes(), jti);
        let one = id(Purpose::DpopProof, "ab", "c");
        assert_eq!(one, id(Purpose::DpopProof, "ab", "c"));
        for other in [
            id(Purpose::ClientAssertion, "ab", "c"),
            id(Purpose::DpopProof, "a", "bc"),
            id(Purpose::DpopProof, "abc", ""),
            id(Purpose::DpopProof, "ab", "d"),
        ] {
            assert_ne!(one, other);
        }
    }
}
