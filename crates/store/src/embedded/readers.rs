//! Connections that only read, for questions that memory cannot answer. They never wait for the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::store::Outage;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::files::connect_reader;
use super::rows::ReadError;

/// How many read at a time. These are the pages that list a person's sessions, and whether something
/// was used, which is a moment's work: few do.
const READERS: u32 = 2;

/// A pool of connections, opened when first needed.
pub(super) struct Readers {
    database: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(database: PathBuf) -> Self {
        Self { database, idle: Mutex::new(Vec::new()), permits: Arc::new(Semaphore::new(READERS as usize)) }
    }

    /// The path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Reads on a thread that may block.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Outage> {
        let closed = |_| Outage("the store is closed".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
        let readers = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let result = readers.with_connection(work);
            drop(permit);
            result
        });
        let result = reading.await.map_err(|error| Outage(format!("a read was broken off: {error}")))?;
        result.map_err(|error| error.outage(&self.database))
    }

    /// Waits for those who read, and closes every connection.
    pub(super) async fn close(&self) {
        // An error means that it was closed before.
        let _all = self.permits.acquire_many(READERS).await;
        self.permits.close();
        self.idle().clear();
    }

    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect_reader(&self.database)?,
        };
        // After a failure the connection is not used again.
        let result = work(&connection)?;
        self.idle().push(connection);
        Ok(result)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
