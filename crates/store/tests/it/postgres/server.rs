//! The server of these tests, and stores on it.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use doorward_store::{PostgresOptions, PostgresStore};
use doorward_testkit_postgres as testkit;

/// A PostgreSQL server of a test's own.
pub(crate) struct Server(testkit::Server);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(testkit::Server::start().await)
    }

    pub(crate) async fn with(port: Option<u16>, settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self(testkit::Server::with(port, settings, prepare).await)
    }

    /// A store on `database`, with times so short that a test can wait for them.
    pub(crate) fn node(&self, database: &str) -> PostgresStore {
        PostgresStore::new(&self.options(database)).unwrap()
    }

    /// A standby that has what this server has answered.
    pub(crate) async fn synchronous_standby(&self, port: u16) -> Self {
        Self(self.0.synchronous_standby(port).await)
    }

    pub(crate) fn options(&self, database: &str) -> PostgresOptions {
        let mut options = PostgresOptions::from_url(&self.url(database)).unwrap();
        options.connect_timeout = Duration::from_secs(2);
        options.statement_timeout = Duration::from_secs(2);
        options
    }
}

impl Deref for Server {
    type Target = testkit::Server;

    fn deref(&self) -> &testkit::Server {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut testkit::Server {
        &mut self.0
    }
}
