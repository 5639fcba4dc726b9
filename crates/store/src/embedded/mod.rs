//! The embedded backend: one SQLite database in a data directory, for one server.
//!
//! - One thread, the writer, owns the connection that writes. It takes what is queued, up to a group of 512, into
//!   one transaction and one sync, and answers after the COMMIT.
//! - Guards are in the SQL, but for that of a rotation: a guard that fails is a conflict for its own caller, and the
//!   rest of the group goes through.
//! - Rotations are appended to a log, one row for a whole group, and folded into the table of sessions' heads later, in
//!   the order of their ids: `unfolded.rs` says why, `fold.rs` how.
//! - Device requests and the directory are read from memory, sessions and records through bounded caches, and what was used
//!   once from the disk. Only the writer fills them, after the COMMIT and before it answers, so no reader sees what is not committed and every reader
//!   sees what was answered.
//! - Another process may replace the directory, and nothing else, while this one runs: `guest.rs`.
//! - Allowances are in memory alone, and whole again after a restart: whoever could restart the server over and over
//!   would not have to guess, and a write to the disk for each guess would be a lever for those who do.
//! - A failed sync is never tried again, because the kernel may have dropped the pages it could not write: the
//!   store stops writing until the server is restarted.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::allowances::AllowanceTable;
use crate::columns::BadRow;
use crate::open::OpenError;
use crate::records::{Record, RecordKey};
use answers::Deliveries;
use files::DataDirectory;
use guest::LOOK_EVERY;
use published::Published;
use readers::Readers;
use rows::ReadError;
use writer::{Job, Load, Writer};

mod answers;
mod changes;
pub(crate) mod copy;
mod files;
mod fold;
pub(crate) mod guest;
mod published;
mod readers;
mod rows;
mod schema;
mod unfolded;
mod writer;

/// How many jobs may wait for the writer; whoever comes then waits for a place.
const QUEUE: usize = 2048;
/// How many rows one transaction of a sweep forgets, so that nobody waits long behind it.
const SWEEP_BATCH: usize = 256;

/// Keeps everything in a SQLite database.
///
/// Dropping it stops the writer too, after what was queued; [`EmbeddedStore::close`] also tells when that is done.
pub struct EmbeddedStore {
    jobs: mpsc::Sender<Job>,
    published: Arc<Published>,
    readers: Arc<Readers>,
    deliveries: Deliveries,
    allowances: Mutex<AllowanceTable>,
}

impl EmbeddedStore {
    /// Opens the database in `dir`; makes directory and database when there are none.
    ///
    /// # Errors
    /// [`OpenError`], which tells an operator what is wrong, where, and what to do.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let directory = DataDirectory::open(dir)?;
        let connection = directory.connect()?;
        let (published, logged) = schema::load(&connection).map_err(|error| directory.cannot_load(error))?;
        let published = Arc::new(published);
        let readers = Arc::new(Readers::new(directory.database().to_owned()));
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (answers, deliveries) = Deliveries::channel();
        let writer = Writer::new(connection, directory, published.clone(), logged, answers)?;
        writer.start(queue)?;
        keep_looking(&jobs)?;
        Ok(Self { jobs, published, readers, deliveries, allowances: Mutex::default() })
    }

    /// Reads all of the database, and looks whether its pages and indexes fit together. A value that was changed into
    /// another possible value is not found: nothing but a file system with checksums would.
    ///
    /// # Errors
    /// [`Outage`] when they do not, or cannot be read.
    pub async fn examine(&self) -> Result<(), Outage> {
        self.readers.read(rows::examine).await
    }

    /// Writes what was queued, folds the write-ahead log into the database and lets go of the directory.
    ///
    /// # Errors
    /// [`Outage`] when the store had failed before, or fails now; what was answered is kept all the same.
    pub async fn close(&self) -> Result<(), Outage> {
        self.readers.close().await;
        self.ask(|answer| Job::Close { answer }).await?
    }

    /// The allowances. Nothing that is done to them can panic halfway.
    fn allowances(&self) -> MutexGuard<'_, AllowanceTable> {
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn record(&self, key: RecordKey) -> Result<Arc<Record>, Outage> {
        match self.published.record(&key) {
            Some(record) => Ok(record),
            None => self.ask(|answer| Job::Load(Load::Record(key, answer))).await?,
        }
    }

    fn unreadable(&self, bad: BadRow) -> Outage {
        ReadError::from(bad).outage(self.readers.database())
    }

    /// Hands a job to the writer and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Outage> {
        self.deliveries.start();
        let (answer, answered) = oneshot::channel();
        // Either end is missing only after the writer has gone: closed, or, which its log then tells, panicked.
        let gone = || Outage("the writer of the store has stopped; restart the server".into());
        self.jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())
    }
}

/// Wakes the writer now and then, as long as there is a store, so that it looks for what a guest has written.
fn keep_looking(jobs: &mpsc::Sender<Job>) -> Result<(), OpenError> {
    let jobs = jobs.downgrade();
    let wake = move || loop {
        std::thread::sleep(LOOK_EVERY);
        match jobs.upgrade().map(|jobs| jobs.try_send(Job::Look)) {
            // A writer with a full queue is awake.
            Some(Ok(()) | Err(TrySendError::Full(_))) => {}
            Some(Err(TrySendError::Closed(_))) | None => break,
        }
    };
    std::thread::Builder::new().name("store-watch".into()).spawn(wake).map_err(OpenError::Thread)?;
    Ok(())
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        Ok(self.published.devices().get(id).cloned())
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        Ok(self.published.devices().by_code(code).cloned())
    }

    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage> {
        Ok(self.published.devices().kept(address))
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        match self.published.session(id) {
            Some(session) => Ok(Some(Session::clone(&session))),
            None => self.ask(|answer| Job::Load(Load::Session(id, answer))).await?,
        }
    }

    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage> {
        loop {
            let person = person.clone();
            let folds = self.published.unfolded().folds();
            let read =
                self.readers.read(move |connection| rows::sessions_of(connection, &person, now, limit));
            let mut sessions = read.await?;
            let unfolded = self.published.unfolded();
            // Otherwise what was read may be older than what has been folded, and is no longer known here.
            if unfolded.folds() == folds {
                unfolded.advance(&mut sessions);
                return Ok(sessions);
            }
        }
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.published.directory()
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        let record = self.record(RecordKey::FederatedPerson(id.clone())).await?;
        record.federated_person(id).map_err(|bad| self.unreadable(bad))
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        let record = self.record(RecordKey::Consents(person.clone())).await?;
        record.consents(person).map_err(|bad| self.unreadable(bad))
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        self.readers.read(move |connection| rows::used(connection, id)).await
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        let record = self.record(RecordKey::SigningKeys).await?;
        record.signing_keys().map_err(|bad| self.unreadable(bad))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.ask(|answer| Job::Commit { changes, answer }).await?
    }

    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage> {
        Ok(self.allowances().take(allowances, now))
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        let mut gone = self.allowances().sweep(now, limit);
        while gone < limit {
            let batch = SWEEP_BATCH.min(limit - gone);
            let went = self.ask(|answer| Job::Sweep { now, limit: batch, answer }).await??;
            gone += went;
            if went < batch {
                break;
            }
        }
        Ok(gone)
    }
}
