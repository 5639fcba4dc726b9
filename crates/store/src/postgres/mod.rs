//! The PostgreSQL backend: one database for any number of nodes, none of which keeps state of its own.
//!
//! - Any node answers any request at any moment. Sessions, device requests and records are read from the database each time,
//!   one statement each; only the directory is kept in memory, for a second at most. So a refresh costs
//!   two round trips, its read and its guarded write, and what one node ended is ended on all.
//! - Guards are in the SQL. A change alone is one statement; several are one transaction in READ COMMITTED, rolled
//!   back when a guard fails. Rotations of many callers share statements, in `lanes.rs`.
//! - What is taken of an allowance is taken for all nodes: `allowances.rs`.
//! - What is tried again, and what a lost connection means to a write, is told in `database.rs`.
//! - Every wait has an end: for a connection, for a lock, for a statement, for the whole of a call. A database that is
//!   away is an outage for as long as it is, and no longer; nothing has to be restarted.
//! - The SQL is what PostgreSQL, CockroachDB, YugabyteDB and Aurora have in common: no notifications, advisory locks,
//!   extensions or sequences, and nothing that depends on the order in which rows are locked. A database that runs
//!   transactions at a stricter isolation than READ COMMITTED costs more retries, and nothing else.

use std::net::IpAddr;
use std::sync::Arc;

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
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::records::{Record, RecordKey};
use database::Database;
use directory::KeptDirectory;
use lanes::{Lanes, Rotation};

mod allowances;
mod changes;
mod connect;
pub(crate) mod copy;
mod database;
mod directory;
mod error;
mod lanes;
mod migrations;
mod options;
mod rows;
mod statement;
mod tls;

pub use error::PostgresError;
pub use migrations::Schema;
pub(crate) use migrations::VERSION;
pub use options::{BadUrl, PostgresOptions};

/// How many rows one statement of a sweep forgets, so that nobody waits long behind it.
const SWEEP_BATCH: usize = 256;

/// Keeps everything in a PostgreSQL database.
pub struct PostgresStore {
    database: Arc<Database>,
    /// Set once the schema is known to be ours; before, nothing else is asked of the database.
    running: OnceCell<Running>,
}

/// What runs on a database whose schema is ours.
struct Running {
    lanes: Lanes,
    directory: Arc<KeptDirectory>,
    watch: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl PostgresStore {
    /// A store that will connect when it is first used.
    ///
    /// # Errors
    /// [`PostgresError::Authorities`] when TLS is wanted and there is nobody to believe.
    pub fn new(options: &PostgresOptions) -> Result<Self, PostgresError> {
        Ok(Self { database: Arc::new(Database::new(options)?), running: OnceCell::new() })
    }

    /// Connects, and makes the schema or brings it forward. A store that was never told to is made ready by its first
    /// use; a server calls this first, to hear of what is wrong before it listens.
    ///
    /// # Errors
    /// [`PostgresError`], which tells an operator what is wrong, where, and what to do. Another call tries again.
    pub async fn ready(&self) -> Result<(), PostgresError> {
        self.running.get_or_try_init(|| self.start()).await.map(|_| ())
    }

    /// Connects and looks at the schema, and changes nothing.
    ///
    /// # Errors
    /// [`PostgresError`] when [`ready`](Self::ready) would fail too.
    pub async fn schema(&self) -> Result<Schema, PostgresError> {
        migrations::look(&self.database).await
    }

    /// Finishes what was queued and closes the connections. What is asked of the store later is an outage.
    pub async fn close(&self) {
        if let Some(running) = self.running.get() {
            running.watch.abort();
            running.lanes.close().await;
        }
        self.database.close();
    }

    async fn start(&self) -> Result<Running, PostgresError> {
        if let Schema::Ahead(version) = migrations::bring_forward(&self.database).await? {
            tracing::warn!(
                database = self.database.place(),
                version,
                known = migrations::VERSION,
                "the schema belongs to the next doorward, which lets this one work with it: finish the upgrade"
            );
        }
        let directory = Arc::new(KeptDirectory::new(self.database.clone()));
        let watch = tokio::spawn({
            let directory = directory.clone();
            async move { directory.watch().await }
        });
        Ok(Running { lanes: Lanes::start(&self.database), directory, watch: watch.abort_handle() })
    }

    async fn running(&self) -> Result<&Running, Outage> {
        if let Some(running) = self.running.get() {
            return Ok(running);
        }
        let ready = self.database.within_call(self.running.get_or_try_init(|| self.start())).await;
        Ok(ready.map_err(|failure| failure.outage(self.database.place()))??)
    }

    /// The database, with a schema that is ours.
    async fn database(&self) -> Result<&Database, Outage> {
        self.running().await.map(|_| &*self.database)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        rows::device_request(self.database().await?, id).await
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        rows::device_request_by_code(self.database().await?, code).await
    }

    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage> {
        rows::device_requests_kept(self.database().await?, address).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        rows::session(self.database().await?, id).await
    }

    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage> {
        rows::sessions_of(self.database().await?, person, now, limit).await
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.running().await?.directory.get().await
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        let key = RecordKey::FederatedPerson(id.clone());
        rows::record(self.database().await?, &key, |record| record.federated_person(id)).await
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        let key = RecordKey::Consents(person.clone());
        rows::record(self.database().await?, &key, |record| record.consents(person)).await
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        rows::used(self.database().await?, id).await
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        rows::record(self.database().await?, &RecordKey::SigningKeys, Record::signing_keys).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let running = self.running().await?;
        match *changes {
            [] => return Ok(()),
            [Change::Rotate { id, from, to, at }] => {
                return running.lanes.rotate(&self.database, Rotation { id, from, to, at }).await;
            }
            _ => {}
        }
        let directory = changes.iter().any(|change| matches!(change, Change::ReplaceDirectory { .. }));
        let statements = changes.into_iter().map(changes::statement).collect::<Result<Vec<_>, _>>()?;
        let outcome = self.database.change(&statements).await;
        if directory {
            running.directory.forget();
        }
        outcome
    }

    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage> {
        allowances::take(self.database().await?, allowances, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        let database = self.database().await?;
        let mut gone = 0;
        for swept in rows::SWEPT {
            while gone < limit {
                let batch = SWEEP_BATCH.min(limit - gone);
                let went = rows::sweep(database, swept, now, batch).await?;
                gone += went;
                if went < batch {
                    break;
                }
            }
        }
        Ok(gone)
    }
}
