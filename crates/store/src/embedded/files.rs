//! The data directory: who may use it, and how its database is opened.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::rows::ReadError;
use super::schema;
use crate::open::OpenError;

/// Held, by the advisory lock of the system, as long as a process uses the directory; it goes with the process.
const LOCK_FILE: &str = "lock";
const DATABASE_FILE: &str = "doorward.db";

/// Where the database of a data directory lies.
pub(super) fn database_in(dir: &Path) -> PathBuf {
    dir.join(DATABASE_FILE)
}

/// A data directory that is ours until this is dropped.
pub(super) struct DataDirectory {
    database: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes `dir` if there is none, takes it, and makes the file of the database if there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let taken = Self::take(dir)?;
        // Made here and not by SQLite, for the mode: the write-ahead log takes it over from the database.
        open_private(&taken.database).map_err(refused(&taken.database))?;
        Ok(taken)
    }

    /// Makes `dir` if there is none, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused(dir))?;
        let lock_path = dir.join(LOCK_FILE);
        let lock = open_private(&lock_path).map_err(refused(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(why)) => return Err(refused(&lock_path)(why)),
        }
        Ok(Self { database: database_in(dir), _lock: lock })
    }

    /// The path of the database.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// The connection that writes, on a database that has our schema.
    pub(super) fn connect(&self) -> Result<Connection, OpenError> {
        let connection = connect_writer(&self.database).map_err(|error| self.sqlite(&error))?;
        schema::prepare(&connection).map_err(|refusal| refusal.at(&self.database))?;
        Ok(connection)
    }

    /// Why the state cannot be loaded.
    pub(super) fn cannot_load(&self, error: ReadError) -> OpenError {
        match error {
            ReadError::Sqlite(error) => self.sqlite(&error),
            ReadError::Damaged(why) => OpenError::Database { path: self.database.clone(), why },
            ReadError::BadRow(problem) => {
                OpenError::Row { path: self.database.clone(), problem: problem.to_string() }
            }
        }
    }

    /// Why SQLite does not use the database.
    pub(super) fn sqlite(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::Database { path: self.database.clone(), why: error.to_string() }
    }
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |why| OpenError::Directory { path, why }
}

/// A connection that writes.
pub(super) fn connect_writer(database: &Path) -> rusqlite::Result<Connection> {
    connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// A connection that only reads.
pub(super) fn connect_reader(database: &Path) -> rusqlite::Result<Connection> {
    connect(database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn connect(database: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(database, flags)?;
    // A database can come from a backup that somebody else had in their hands: what its schema says is not trusted,
    // and nothing may write to SQLite's own tables.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A statement keeps its plan. Otherwise some are planned anew whenever other values are bound, which costs more than
    // all the rest of a read.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // A mapped file turns a disk error into the death of the process.
    connection.pragma_update(None, "mmap_size", 0)?;
    Ok(connection)
}

fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
