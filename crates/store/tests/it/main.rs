//! Every backend against the contract; the embedded one against its files, and the one on PostgreSQL against a server.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

mod contract;
mod copy;
mod damage;
mod durability;
mod files;
mod guests;
mod open;
mod postgres;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;

use doorward_core::store::Store;
use doorward_store::EmbeddedStore;
use rusqlite::Connection;
use tempfile::TempDir;

/// Makes a database of schema version 3 of ours.
const THIRD_VERSION: &str =
    "DROP TABLE used_once; ALTER TABLE session DROP COLUMN terms; UPDATE meta SET schema_version = 3;";
/// Makes a database of schema version 2 of ours.
const SECOND_VERSION: &str = "DROP TABLE used_once; ALTER TABLE session DROP COLUMN terms; DROP TABLE record; \
                              ALTER TABLE directory DROP COLUMN departed; UPDATE meta SET schema_version = 2;";
/// Makes a database of schema version 1 of ours, which must have folded its rotations.
const FIRST_VERSION: &str = "DROP TABLE used_once; ALTER TABLE session DROP COLUMN terms; DROP TABLE record; \
                             ALTER TABLE directory DROP COLUMN departed; DROP TABLE rotation; \
                             UPDATE meta SET schema_version = 1;";

/// An embedded store in a directory of its own.
struct Embedded {
    dir: TempDir,
    store: Arc<EmbeddedStore>,
}

impl Embedded {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = Arc::new(EmbeddedStore::open(dir.path()).unwrap());
        Self { dir, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn database(&self) -> PathBuf {
        self.dir.path().join("doorward.db")
    }

    /// Closes the store, lets `edit` loose on the database, and opens it again.
    async fn edited(self, edit: &str) -> Self {
        self.store.close().await.unwrap();
        self.sqlite().execute_batch(edit).unwrap();
        let store = Arc::new(EmbeddedStore::open(self.dir.path()).unwrap());
        Self { dir: self.dir, store }
    }

    async fn reopened(self) -> Self {
        self.edited("").await
    }

    fn sqlite(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }
}
