//! A store that can be watched, and made to fail.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use doorward_core::consent::Consents;
use doorward_core::device::DeviceRequest;
use doorward_core::directory::Directory;
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::{DeviceRequestId, OnceId, PersonId, SessionId};
use doorward_core::secret::UserCodeHash;
use doorward_core::session::Session;
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{Allowance, CommitError, KeptRequests, Outage, Store};
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;

/// A store that counts what is written, and fails on demand.
pub struct WatchedStore {
    inner: Arc<dyn Store>,
    reads_fail: AtomicBool,
    /// How many more writes succeed.
    writes_left: AtomicUsize,
    interleaves: AtomicBool,
    hangs: AtomicBool,
    panics: AtomicBool,
    commits: AtomicUsize,
}

impl WatchedStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            reads_fail: AtomicBool::new(false),
            writes_left: AtomicUsize::new(usize::MAX),
            interleaves: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            commits: AtomicUsize::new(0),
        }
    }

    /// The store itself, for another node on it.
    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner)
    }

    /// Makes reads, writes, or both fail from now on.
    pub fn fail(&self, reads: bool, writes: bool) {
        self.reads_fail.store(reads, Ordering::Relaxed);
        self.writes_left.store(if writes { 0 } else { usize::MAX }, Ordering::Relaxed);
    }

    /// Makes writes fail after `more` of them.
    pub fn fail_writes_after(&self, more: usize) {
        self.writes_left.store(more, Ordering::Relaxed);
    }

    /// Lets everybody else run after each read, so that requests which run in parallel decide on what they read
    /// before any of them writes.
    pub fn interleave(&self) {
        self.interleaves.store(true, Ordering::Relaxed);
    }

    /// Lets no read end any more.
    pub fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    /// Makes every read panic, as a mistake of ours would.
    pub fn panic(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }

    /// How many commits were made.
    #[must_use]
    pub fn commits(&self) -> usize {
        self.commits.load(Ordering::Relaxed)
    }

    /// Passes on what a read found.
    async fn found<T>(&self, found: T) -> Result<T, Outage> {
        if self.reads_fail.load(Ordering::Relaxed) {
            return Err(Outage("a test wants reads to fail".to_owned()));
        }
        assert!(!self.panics.load(Ordering::Relaxed), "a test wants reads to panic");
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.interleaves.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    fn write(&self) -> Result<&dyn Store, Outage> {
        let one_less = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        if self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            return Err(Outage("a test wants writes to fail".to_owned()));
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Store for WatchedStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        self.found(self.inner.device_request(id).await?).await
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        self.found(self.inner.device_request_by_code(code).await?).await
    }

    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage> {
        self.found(self.inner.device_requests_kept(address).await?).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        self.found(self.inner.session(id).await?).await
    }

    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage> {
        self.found(self.inner.sessions_of(person, now, limit).await?).await
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.found(self.inner.directory().await?).await
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        self.found(self.inner.federated_person(id).await?).await
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        self.found(self.inner.consents(person).await?).await
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        self.found(self.inner.used(id).await?).await
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        self.found(self.inner.signing_keys().await?).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let outcome = self.write()?.commit(changes).await;
        if outcome.is_ok() {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage> {
        self.write()?.take(allowances, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        self.write()?.sweep(now, limit).await
    }
}
