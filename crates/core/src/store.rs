//! The contract of the store.
//!
//! Typed reads, one write, and [`Store::take`] for how often something may be done. [`Store::commit`] is atomic and each
//! of its changes carries its guard; when a guard fails nothing is written and the caller, who reads and decides again,
//! sees [`CommitError::Conflict`]. A commit that was answered survives the death of the process, and one with a durable
//! change ([`Change::is_durable`]) that of the machine. A read that begins after a commit was answered sees it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use crate::consent::Consents;
use crate::device::DeviceRequest;
use crate::directory::Directory;
use crate::federated::FederatedPerson;
use crate::ids::{DeviceRequestId, OnceId, PersonId, SessionId};
use crate::secret::UserCodeHash;
use crate::session::Session;
use crate::signing_key::SigningKeys;
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Change;

/// A backend. Every one of them passes `doorward_store::contract`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The device request with this id.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage>;

    /// The device request with this user code.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage>;

    /// How many device requests are kept that were made from `address`, and from anywhere: those that have expired
    /// or were decided count until they are swept, because it is the room they take that must be bounded.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage>;

    /// The session with this id, ended ones included until they are swept.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage>;

    /// The live sessions that clients hold of `person` at `now`, newest first, at most `limit`; none of the person's own
    /// browsers.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage>;

    /// The directory; empty, at version 0, until one is applied.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn directory(&self) -> Result<Arc<Directory>, Outage>;

    /// What an identity source last said of the person with this user name, and the version of that: 0 when there is
    /// nothing.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage>;

    /// The signing keys.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn signing_keys(&self) -> Result<SigningKeys, Outage>;

    /// What a person has agreed to, and the version of that: 0 when there is nothing.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage>;

    /// Whether this was used ([`Change::Use`]), and is not forgotten yet.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    async fn used(&self, id: OnceId) -> Result<bool, Outage>;

    /// Writes all of `changes`, or nothing.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when a guard failed; [`CommitError::Outage`] when the store cannot tell whether it
    /// wrote.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;

    /// Takes one of each of `allowances`, or nothing when one of them is used up; answers whether it took them.
    ///
    /// Exact, whoever takes at the same moment, and on whichever node: nobody is given more than an allowance says,
    /// and what is refused is taken from no other allowance. What was taken may be forgotten with the process, where
    /// that is the only one.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell; they may have been taken.
    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage>;

    /// Forgets at most `limit` rows that are of no more use at `now`: device requests past
    /// [`DeviceRequest::forget_at`], sessions past their expiry, what was used and has expired, and allowances that have been whole for
    /// [`WHOLE_BEFORE_FORGOTTEN`]. Answers how many went.
    ///
    /// An ended session stays until it expires, for its id guards against a second redemption.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot write.
    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage>;
}

/// How many device requests a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRequests {
    /// From the address that was asked about.
    pub from_address: usize,
    /// From anywhere.
    pub total: usize,
}

/// How often something may be done: `burst` times at once, and then once `every` so many milliseconds.
///
/// What is kept of one is a single moment, its *theoretical arrival time* (GCRA, ITU-T I.371 annex A): the moment at
/// which all of it is there again. Each time one is taken, that is put off by `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whose it is and what for. Allowances with the same key have the same `every` and `burst`.
    pub key: u32,
    /// Milliseconds until one more is there.
    pub every: u32,
    /// How many are there at most.
    pub burst: NonZeroU32,
}

/// How long an allowance is kept after it is whole again: a node whose clock is ahead of the others' by less than this
/// forgets nothing that counts for them.
pub const WHOLE_BEFORE_FORGOTTEN: Lifetime = Lifetime::from_seconds(600);

impl Allowance {
    /// The latest moment at which it may be whole again if one is to be taken at `now`.
    #[must_use]
    pub fn latest_whole_at(&self, now: Timestamp) -> Timestamp {
        let spare = i64::from(self.burst.get() - 1) * i64::from(self.every);
        Timestamp::from_millis(now.millis().saturating_add(spare))
    }

    /// When it is whole again after one was taken at `now`, `whole_at` being when it would have been before.
    #[must_use]
    pub fn whole_after(&self, whole_at: Timestamp, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(whole_at.max(now).millis().saturating_add(i64::from(self.every)))
    }
}

/// The store failed: our fault, never the caller's. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct Outage(pub String);

/// Why a commit was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A guard failed: something changed since it was read. Nothing was written.
    #[error("something changed since it was read")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Outage(#[from] Outage),
}
