//! The schema, its version, and what is loaded from it at the start.
//!
//! A session is two rows. What never changes is appended to `session`, so its pages fill up; what a refresh changes
//! is in `head`, which is narrow, and `head` is at the same time the index by id, so `session` needs none. Together
//! with both indexes that is about 175 bytes for a session.
//!
//! What `head` says of generations is only whole with `rotation`, the log of rotations that it does not have yet.

use std::path::Path;

use doorward_core::directory::{Departures, Directory, DirectoryFile};
use rusqlite::{Connection, OptionalExtension};

use super::published::Published;
use super::rows::{self, ReadError};
use crate::columns::BadRow;
use crate::open::OpenError;

/// The version of the schema that this server reads and writes.
pub(super) const VERSION: i64 = 4;

/// Times are milliseconds since the Unix epoch; ids and hashes are 16 bytes.
const SCHEMA: &str = "
    CREATE TABLE meta (
        schema_version INTEGER NOT NULL
    ) STRICT;

    -- One row, from the start.
    CREATE TABLE directory (
        version INTEGER NOT NULL,
        content TEXT NOT NULL
    ) STRICT;

    CREATE TABLE device_request (
        id BLOB PRIMARY KEY,
        user_code BLOB NOT NULL UNIQUE,
        client BLOB NOT NULL,
        client_name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        address TEXT NOT NULL,
        user_agent TEXT,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        state TEXT NOT NULL,
        approved_by TEXT,
        authenticated_at INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE session (
        seq INTEGER PRIMARY KEY,
        id BLOB NOT NULL,
        person TEXT NOT NULL,
        client BLOB,
        client_name TEXT,
        scopes TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        authenticated_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX session_by_person ON session (person);
    CREATE INDEX session_by_expiry ON session (expires_at);

    CREATE TABLE head (
        id BLOB PRIMARY KEY,
        seq INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        rotated_at INTEGER NOT NULL,
        ended_at INTEGER,
        end_reason TEXT
    ) STRICT, WITHOUT ROWID;

    INSERT INTO directory VALUES (0, '{}');
";

/// What version 2 added. A row is the rotations of one transaction, in their order: for each the id, then generation and
/// time with the most significant byte first.
const ROTATIONS: &str = "
    CREATE TABLE rotation (
        seq INTEGER PRIMARY KEY,
        heads BLOB NOT NULL
    ) STRICT;
";

/// What version 3 added. Who was removed from the directory is JSON, name to milliseconds; the content of a record is JSON
/// too.
const RECORDS: &str = "
    ALTER TABLE directory ADD COLUMN departed TEXT NOT NULL DEFAULT '{}';

    CREATE TABLE record (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT;
";

/// What version 4 added. Terms are JSON too, and only sessions of applications have any. What was used once is a hash, and when
/// it may be forgotten.
const TERMS: &str = "
    ALTER TABLE session ADD COLUMN terms TEXT;

    CREATE TABLE used_once (
        id BLOB PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX used_once_by_time ON used_once (until);
";

/// Why a database is not used.
pub(super) enum Refusal {
    /// It is not ours.
    Foreign,
    /// It has this version, which is not ours.
    Unknown(i64),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl Refusal {
    /// What the operator is told.
    pub(super) fn at(&self, database: &Path) -> OpenError {
        let path = database.to_owned();
        match self {
            Self::Foreign => OpenError::Foreign { path },
            Self::Unknown(found) => OpenError::UnknownSchema { path, found: *found, known: VERSION },
            Self::Sqlite(error) => OpenError::Database { path, why: error.to_string() },
        }
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Makes the schema in an empty database, brings an older one forward, and refuses any other.
pub(super) fn prepare(connection: &Connection) -> Result<(), Refusal> {
    let version = version(connection)?;
    // Only now: a database that is refused is left as it is.
    write_ahead(connection)?;
    match version {
        None => create(connection)?,
        Some(1) => migrate(connection, &format!("{ROTATIONS} {RECORDS} {TERMS}"))?,
        Some(2) => migrate(connection, &format!("{RECORDS} {TERMS}"))?,
        Some(3) => migrate(connection, TERMS)?,
        Some(_) => {}
    }
    // What the log has from before may have been read from memory and not from the disk, if its last sync failed. So it
    // is written once more, and synced, before anything is built on it.
    checkpoint(connection)?;
    Ok(())
}

/// Moves what SQLite's log has into the database, as far as nobody needs it any more.
pub(super) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Which version of our schema the database has, this one or one before; none if it has no tables at all. Any other is
/// refused.
pub(super) fn version(connection: &Connection) -> Result<Option<i64>, Refusal> {
    let tables = "SELECT count(*), count(*) FILTER (WHERE name = 'meta') FROM sqlite_schema";
    let (tables, meta): (i64, i64) =
        connection.query_row(tables, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if tables == 0 {
        return Ok(None);
    }
    if meta == 0 {
        return Err(Refusal::Foreign);
    }
    match connection.query_row("SELECT schema_version FROM meta", [], |row| row.get(0)).optional()? {
        Some(version @ 1..=VERSION) => Ok(Some(version)),
        Some(found) => Err(Refusal::Unknown(found)),
        None => Err(Refusal::Foreign),
    }
}

/// Makes the schema in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    migrate(
        connection,
        &format!("{SCHEMA} {ROTATIONS} {RECORDS} {TERMS} INSERT INTO meta VALUES ({VERSION});"),
    )
}

fn migrate(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection
        .execute_batch(&format!("BEGIN IMMEDIATE; {sql} UPDATE meta SET schema_version = {VERSION}; COMMIT"))
}

/// Sets up a connection that writes.
pub(super) fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Whoever writes checkpoints by itself, because SQLite would swallow a failure.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // After a burst the log is cut back to 64 MiB.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // 64 MiB at most, as pages are used: with ten million sessions, all that lead to a leaf.
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// What is read from memory afterwards, and how many rotations are in the log.
pub(super) fn load(connection: &Connection) -> Result<(Published, usize), ReadError> {
    let (unfolded, logged) = rows::log(connection)?;
    Ok((
        Published::new(rows::device_requests(connection)?, unfolded, directory(connection, VERSION)?),
        logged,
    ))
}

/// The version of the directory.
pub(super) fn directory_version(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT version FROM directory")?;
    statement.query_row([], |row| row.get(0))
}

/// The directory, from a database of this version or one before.
pub(super) fn directory(connection: &Connection, schema: i64) -> Result<Directory, ReadError> {
    let departed = if schema < 3 { "'{}'" } else { "departed" };
    let sql = format!("SELECT version, content, {departed} FROM directory");
    let (version, content, departed): (i64, String, String) =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let bad = |why: String| BadRow { table: "directory", row: format!("version {version}"), why };
    let file: DirectoryFile = serde_json::from_str(&content).map_err(|error| bad(error.to_string()))?;
    let departed: Departures = serde_json::from_str(&departed).map_err(|error| bad(error.to_string()))?;
    let number = u64::try_from(version).map_err(|error| bad(error.to_string()))?;
    Ok(Directory::stored(file, departed, number).map_err(|problems| bad(problems.to_string()))?)
}
