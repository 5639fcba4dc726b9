//! The data directory: who may use it, and how its database is opened.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::rows::ReadError;
use super::schema;
use crate::open::OpenError;

/// Held, by the advisory lock of the system, as long as a process uses the directory; it goes with the process.
const LOCK_FILE: &str = "lock";
/// Shared in the same way by guests, and held by a copy that must be alone.
const GUESTS_FILE: &str = "guests";
const DATABASE_FILE: &str = "doorward.db";
/// How long a data directory that somebody has is waited for: a guest that makes the database has it for a moment.
const DIRECTORY_WAIT: Duration = Duration::from_millis(500);
const DIRECTORY_PAUSE: Duration = Duration::from_millis(20);
/// How long somebody else's transaction is waited for, which is over in a moment: ten seconds.
const TRANSACTION_TRIES: i32 = 10_000;
const TRANSACTION_PAUSE: Duration = Duration::from_millis(1);

/// Where the database of a data directory lies.
pub(super) fn database_in(dir: &Path) -> PathBuf {
    dir.join(DATABASE_FILE)
}

/// A data directory that is ours until this is dropped.
pub(super) struct DataDirectory {
    database: PathBuf,
    _lock: File,
    guests: Option<File>,
}

impl DataDirectory {
    /// Makes `dir` if there is none, takes it, and makes the file of the database if there is none.
    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let taken = Self::take(dir)?;
        // By its owner: made by the first guest, it would be closed to the server where that is somebody else.
        let guests = dir.join(GUESTS_FILE);
        open_private(&guests).map_err(refused(&guests))?;
        // Made here and not by SQLite, for the mode: the write-ahead log takes it over from the database.
        open_private(&taken.database).map_err(refused(&taken.database))?;
        Ok(taken)
    }

    /// Makes `dir` if there is none, and takes it, with no guest in it.
    pub(super) fn take_alone(dir: &Path) -> Result<Self, OpenError> {
        let mut taken = Self::take(dir)?;
        taken.guests = Some(lock(dir, GUESTS_FILE, File::try_lock, |path| OpenError::Guests { path })?);
        Ok(taken)
    }

    fn take(dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused(dir))?;
        let lock = lock(dir, LOCK_FILE, File::try_lock, |path| OpenError::InUse { path })?;
        Ok(Self { database: database_in(dir), _lock: lock, guests: None })
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
        sqlite_error(&self.database, error)
    }
}

/// Keeps every copy from the data directory that must be alone in it, until the file is closed.
pub(super) fn share_with_guests(dir: &Path) -> Result<File, OpenError> {
    lock(dir, GUESTS_FILE, File::try_lock_shared, |path| OpenError::Copying { path })
}

/// The same, where that needs no file to be made.
pub(super) fn share_with_guests_that_were(dir: &Path) -> Result<Option<File>, OpenError> {
    let path = dir.join(GUESTS_FILE);
    if path.try_exists().map_err(refused(&path))? { share_with_guests(dir).map(Some) } else { Ok(None) }
}

/// Takes the lock of the system on a file in `dir`. When somebody has it for too long they are what `taken` says.
fn lock(
    dir: &Path,
    name: &str,
    take: fn(&File) -> Result<(), TryLockError>,
    taken: fn(PathBuf) -> OpenError,
) -> Result<File, OpenError> {
    let path = dir.join(name);
    let file = open_private(&path).map_err(refused(&path))?;
    let began = Instant::now();
    loop {
        match take(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < DIRECTORY_WAIT => sleep(DIRECTORY_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(taken(dir.to_owned())),
            Err(TryLockError::Error(why)) => return Err(refused(&path)(why)),
        }
    }
}

/// Why SQLite does not use the database.
pub(super) fn sqlite_error(database: &Path, error: &rusqlite::Error) -> OpenError {
    OpenError::Database { path: database.to_owned(), why: error.to_string() }
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
    let mut connection = Connection::open_with_flags(database, flags)?;
    // Short and even pauses: beside a server that writes all the time, there is no longer one to be met.
    connection.busy_handler(Some(|tries| {
        sleep(TRANSACTION_PAUSE);
        tries < TRANSACTION_TRIES
    }))?;
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
