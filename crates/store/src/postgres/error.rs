//! What goes wrong between us and the database, and what a failure tells about what was written.

use std::error::Error as _;

use deadpool_postgres::{PoolError, TimeoutType};
use doorward_core::store::Outage;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why a database is not used: what is wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// The certificates of the authorities cannot be read.
    #[error(
        "cannot read the certificates of authorities from {from}: {why}; give the database's authority as a PEM file"
    )]
    Authorities {
        /// The file, or the operating system.
        from: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no connection, or it does not do what is asked.
    #[error("{0}")]
    Unusable(String),
    /// The schema is newer than this server.
    #[error(
        "the database {place} has schema version {found}, and this doorward knows version {known}; start the \
         doorward that belongs to it, or restore a backup made by this one"
    )]
    UnknownSchema {
        /// Where the database is.
        place: String,
        /// Its version.
        found: i64,
        /// The version this server knows.
        known: i64,
    },
    /// A part of the schema was not made by what this server has under its number.
    #[error(
        "the schema of the database {place} was not made by this doorward: the checksum of version {version} is \
         another; use the doorward that made it, or give this one a database of its own"
    )]
    ChangedSchema {
        /// Where the database is.
        place: String,
        /// Which version.
        version: i64,
    },
    /// The schema cannot be made or brought forward.
    #[error(
        "cannot bring the database {place} to schema version {version}: {why}; nothing of that version was kept; \
         give doorward a database of its own, whose owner it is"
    )]
    Migration {
        /// Where the database is.
        place: String,
        /// To which version.
        version: i64,
        /// What the database said.
        why: String,
    },
}

impl From<PostgresError> for Outage {
    fn from(error: PostgresError) -> Self {
        Self(error.to_string())
    }
}

/// What became of what the statement was to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was written, and the same may succeed at once.
    Again,
    /// Nothing was written, because somebody else held a lock for too long.
    Locked,
    /// Nothing was written.
    Nothing,
    /// The connection went before the answer came. It may have been written, or be written yet.
    Lost,
    /// The answer did not come in time. It may have been written, or be written yet.
    Silent,
}

/// A statement or a transaction that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fate: Fate,
    /// Whether the connection is as good as before.
    pub(super) keeps_connection: bool,
    /// For the operator, without the place.
    pub(super) why: String,
}

impl Failure {
    /// What an error of a statement means, `commits` being whether its success would have written something for
    /// good. The rule rests on PostgreSQL's: an ERROR has aborted its transaction. FATAL ends the connection, and may
    /// come after a commit that waits for its replica.
    pub(super) fn of(error: &Error, commits: bool) -> Self {
        let Some(said) = error.as_db_error().filter(|said| is_answer(said)) else {
            let fate = if commits { Fate::Lost } else { Fate::Again };
            return Self { fate, keeps_connection: false, why: described(error) };
        };
        let code = said.code();
        let stale = is_stale_statement(said);
        let fate = if is_race(code) || stale {
            Fate::Again
        } else if *code == SqlState::LOCK_NOT_AVAILABLE {
            Fate::Locked
        } else {
            Fate::Nothing
        };
        // The second: after a failover the old primary takes no writes, and the new one is a connection away.
        let unfit = stale || *code == SqlState::READ_ONLY_SQL_TRANSACTION;
        Self { fate, keeps_connection: !unfit, why: format!("it refused a statement: {}", described(error)) }
    }

    /// What it means that no connection was to be had: nothing was sent.
    pub(super) fn no_connection(error: &PoolError, connections: usize) -> Self {
        let why = match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                format!("all {connections} connections are busy: it is slow, or they are too few")
            }
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                "connecting takes too long: is it reachable from here, and does it run?".into()
            }
            PoolError::Backend(error) => format!(
                "cannot connect: {}; does it run, and are user, password and sslmode right?",
                described(error)
            ),
            PoolError::Closed => "the store is closed".into(),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => error.to_string(),
        };
        Self { fate: Fate::Nothing, keeps_connection: false, why }
    }

    /// What it means that an answer did not come in time.
    pub(super) fn silence(limit: std::time::Duration) -> Self {
        let why = format!("no answer for {limit:?}; look at its load and its locks");
        Self { fate: Fate::Silent, keeps_connection: false, why }
    }

    /// Whether what failed may have been written all the same.
    pub(super) const fn leaves_doubt(&self) -> bool {
        matches!(self.fate, Fate::Lost | Fate::Silent)
    }

    /// Whether to try again, with whatever care the doubt asks for.
    pub(super) const fn is_worth_another(&self) -> bool {
        matches!(self.fate, Fate::Again | Fate::Lost)
    }

    /// For the operator.
    pub(super) fn outage(&self, place: &str) -> Outage {
        Outage(format!("the database {place}: {}", self.why))
    }
}

/// Whether the server said that the statement, and nothing more than it, failed.
fn is_answer(said: &DbError) -> bool {
    let is_error = match said.parsed_severity() {
        Some(severity) => severity == Severity::Error,
        None => said.severity() == "ERROR",
    };
    // CockroachDB says 40003 when it cannot tell whether it has committed.
    is_error
        && *said.code() != SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
        && !said.code().code().starts_with("08")
}

/// A lost race with another transaction: serialization failures, deadlocks, and what CockroachDB calls a restart,
/// which has the first of these codes today and had the last.
fn is_race(code: &SqlState) -> bool {
    *code == SqlState::T_R_SERIALIZATION_FAILURE
        || *code == SqlState::T_R_DEADLOCK_DETECTED
        || code.code() == "CR000"
}

/// A prepared statement that the server has forgotten, or whose tables have changed.
fn is_stale_statement(said: &DbError) -> bool {
    *said.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        || (*said.code() == SqlState::FEATURE_NOT_SUPPORTED && said.message().contains("cached plan"))
}

/// What the error and its causes say. What the server adds as detail may hold the values of a row, and is left out.
pub(super) fn described(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
