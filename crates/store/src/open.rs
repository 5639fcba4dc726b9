//! The one list of backends, and what can be wrong when one is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use doorward_core::store::{Outage, Store};

use crate::embedded::EmbeddedStore;
use crate::memory::MemoryStore;
use crate::postgres::{PostgresError, PostgresOptions, PostgresStore};

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In this process, and gone with it.
    Memory,
    /// In a database in this directory, which belongs to one process at a time.
    Embedded(PathBuf),
    /// In a database that any number of nodes share.
    Postgres(Box<PostgresOptions>),
}

/// For people, and without any password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Embedded(dir) => dir.display().fmt(f),
            Self::Postgres(options) => f.write_str(&options.place()),
        }
    }
}

/// An open store, and the way to close it.
pub struct Opened {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Closes it once nothing uses it any more.
    pub closer: Closer,
}

impl Opened {
    /// Makes sure that the store can be used. One in another process is connected to, and its schema made or brought
    /// forward; without this call the first use does it, and what is wrong is an outage then.
    ///
    /// # Errors
    /// [`OpenError`], which tells an operator what is wrong, where, and what to do.
    pub async fn ready(&self) -> Result<(), OpenError> {
        match &self.closer.0 {
            Backend::Memory | Backend::Embedded(_) => Ok(()),
            Backend::Postgres(store) => Ok(store.ready().await?),
        }
    }
}

/// Opens the store at `location`. One in another process is not connected to yet; see [`Opened::ready`].
///
/// # Errors
/// [`OpenError`], which tells an operator what is wrong, where, and what to do.
pub fn open(location: &Location) -> Result<Opened, OpenError> {
    match location {
        Location::Memory => {
            Ok(Opened { store: Arc::new(MemoryStore::default()), closer: Closer(Backend::Memory) })
        }
        Location::Embedded(dir) => {
            let store = Arc::new(EmbeddedStore::open(dir)?);
            Ok(Opened { store: store.clone(), closer: Closer(Backend::Embedded(store)) })
        }
        Location::Postgres(options) => {
            let store = Arc::new(PostgresStore::new(options)?);
            Ok(Opened { store: store.clone(), closer: Closer(Backend::Postgres(store)) })
        }
    }
}

/// Closes a store at the end of the server.
pub struct Closer(Backend);

enum Backend {
    Memory,
    Embedded(Arc<EmbeddedStore>),
    Postgres(Arc<PostgresStore>),
}

impl Closer {
    /// Writes what was accepted, tidies the files and lets go of them. What is asked of the store later is an
    /// outage.
    ///
    /// # Errors
    /// [`Outage`] when the store had failed before, or fails now; what was answered is kept all the same.
    pub async fn close(self) -> Result<(), Outage> {
        match self.0 {
            Backend::Memory => Ok(()),
            Backend::Embedded(store) => store.close().await,
            Backend::Postgres(store) => {
                store.close().await;
                Ok(())
            }
        }
    }
}

/// Why a store was not opened: what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or a file in it cannot be made or opened.
    #[error("cannot use {path}: {why}; the data directory must be writable by the user that runs doorward")]
    Directory {
        /// Which directory or file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The system gives no thread to write with.
    #[error("cannot start the thread that writes the database: {0}; raise the limit of threads or of memory")]
    Thread(std::io::Error),
    /// Another process has it.
    #[error(
        "the data directory {path} is in use by another doorward; stop that one, or give this one a directory of \
         its own"
    )]
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// Somebody is at work on the directory of people.
    #[error(
        "another doorward is reading or replacing the directory of people in {path}; try again when it is done"
    )]
    Guests {
        /// Which data directory.
        path: PathBuf,
    },
    /// A copy is at work.
    #[error("the data directory {path} is being restored or migrated; try again when that is done")]
    Copying {
        /// Which data directory.
        path: PathBuf,
    },
    /// An earlier doorward wrote it, and a server has to bring it forward.
    #[error(
        "the database {place} has schema version {found}, and this doorward writes version {known}; start the server \
         of this doorward on it once, and try again"
    )]
    Behind {
        /// Where the database is.
        place: String,
        /// Its version.
        found: i64,
        /// The version that is written.
        known: i64,
    },
    /// State in memory belongs to its process.
    #[error("the directory of people is in the memory of a server: name a data directory or a database")]
    Memory,
    /// SQLite cannot use the file.
    #[error(
        "cannot use the database {path}: {why}; restore it from a backup, or start with an empty directory"
    )]
    Database {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// The file is a database of something else.
    #[error("{path} is not a database of doorward; give doorward a data directory of its own")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// A later doorward wrote it.
    #[error(
        "the database {path} has schema version {found}, and this doorward knows version {known}; start the \
         doorward that wrote it, or restore a backup made by this one"
    )]
    UnknownSchema {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version this server knows.
        known: i64,
    },
    /// A row that must be read at the start is not what this server writes.
    #[error("the database {path} is damaged: {problem}; delete or repair that row, or restore a backup")]
    Row {
        /// Which file.
        path: PathBuf,
        /// The table, the row and what is wrong with it.
        problem: String,
    },
    /// The database of several nodes cannot be used.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}
