//! The contract of the store.
//!
//! Typed reads and one write. [`Store::commit`] is atomic and each of its changes carries its guard; when a guard
//! fails nothing is written and the caller, who reads and decides again, sees [`CommitError::Conflict`]. A commit
//! that was answered survives the death of the process, and one with a durable change ([`Change::is_durable`]) that
//! of the machine. A read that begins after a commit was answered sees it.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::device::DeviceRequest;
use crate::directory::Directory;
use crate::ids::{DeviceRequestId, PersonId, SessionId};
use crate::secret::UserCodeHash;
use crate::session::Session;
use crate::time::Timestamp;
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

    /// Writes all of `changes`, or nothing.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when a guard failed; [`CommitError::Outage`] when the store cannot tell whether it
    /// wrote.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;

    /// Forgets at most `limit` rows that are of no more use at `now`: device requests past
    /// [`DeviceRequest::forget_at`], and sessions past their expiry. Answers how many went.
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
