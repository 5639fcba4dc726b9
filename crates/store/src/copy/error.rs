//! Why a copy was not made.

use std::io;
use std::path::PathBuf;

use crate::open::OpenError;
use crate::postgres::PostgresError;

/// Why a copy was not made: what is wrong, where, and what to do. The target is then as it was before.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Source or target cannot be opened, or belongs to somebody else.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The source is not there.
    #[error("there is no database of doorward at {place}: nothing to copy")]
    Nothing {
        /// Where it was looked for.
        place: String,
    },
    /// State in memory is of one process.
    #[error("state in memory cannot be copied: name a data directory or a database")]
    Memory,
    /// Source and target are the same.
    #[error("source and target are both {place}: name two different places")]
    Same {
        /// Which place.
        place: String,
    },
    /// The schema of the source is not this doorward's.
    #[error(
        "the database {place} has schema version {found}, and this doorward copies version {known}: use the doorward \
         that its nodes run"
    )]
    Schema {
        /// Where the database is.
        place: String,
        /// Its version.
        found: i64,
        /// The version that is copied.
        known: i64,
    },
    /// The target of a backup is there.
    #[error("{path} exists, and a backup writes over nothing: name another file, or move that one away")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The target holds something.
    #[error(
        "{place} is not empty, it holds {what}: copy into a new place, or move away what is there; nothing was changed"
    )]
    NotEmpty {
        /// Where.
        place: String,
        /// What it holds.
        what: String,
    },
    /// A row is not what this server writes.
    #[error(
        "{place} is damaged: {problem}; delete or repair that row and copy again (nothing that was copied is kept)"
    )]
    Row {
        /// Where.
        place: String,
        /// The table, the row and what is wrong with it.
        problem: String,
    },
    /// The file of a database is damaged.
    #[error("the file {path} is damaged: {why}; use another backup, and look at the disk")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {why}; there must be room, and the folder must be writable by this user")]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A database does not do what is asked.
    #[error("cannot {doing} {place}: {why}; nothing that was copied is kept")]
    Database {
        /// What was to be done: "read" or "write".
        doing: &'static str,
        /// Which database.
        place: String,
        /// What it said.
        why: String,
    },
    /// The answer to the last statement is missing.
    #[error(
        "{place} was asked to keep what was copied, and the answer is missing ({why}): if it holds sessions now then \
         it holds all of them, verified; if it is empty, copy again"
    )]
    Unanswered {
        /// Which database.
        place: String,
        /// What broke.
        why: String,
    },
    /// What was written is not what was read.
    #[error(
        "the verification failed: {difference} in {place}, which is not kept; copy again, and suspect the memory and \
         the disk of this machine if that fails too"
    )]
    Differs {
        /// The target.
        place: String,
        /// The first row that differs, and how.
        difference: String,
    },
    /// Somebody writes to the source of a migration.
    #[error(
        "{place} changed while it was copied: {difference}; stop all nodes and migrate again (nothing that was copied \
         is kept)"
    )]
    Changed {
        /// The source.
        place: String,
        /// The first row that differs, and how.
        difference: String,
    },
}

impl From<PostgresError> for CopyError {
    fn from(error: PostgresError) -> Self {
        Self::Open(error.into())
    }
}
