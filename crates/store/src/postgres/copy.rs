//! Reading a database as it was at one moment, and filling an empty one; see [`crate::copy`].
//!
//! Either is one transaction in REPEATABLE READ on a connection of its own, and ends with it.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Row as SqlRow};
use uuid::Uuid;

use super::connect::Lease;
use super::database::Database;
use super::error::{Failure, PostgresError, described};
use super::migrations::{self, Schema};
use super::options::PostgresOptions;
use super::statement::Value;
use super::{changes, rows};
use crate::columns::BadRow;
use crate::copy::CopyError;
use crate::copy::row::{Counts, PAGE, Place, Row};
use crate::records::{Record, RecordKey};

/// How long a statement of a copy may take: one counts all sessions.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);
/// How long the other end may work between two statements. A copy whose machine is gone holds its locks as long.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// The columns in the order of the values of `changes::insert_record`.
const COPY_RECORDS: &str = "COPY record (kind, key, version, content) FROM STDIN (FORMAT binary)";
const RECORD_TYPES: [Type; 4] = [Type::TEXT, Type::BYTEA, Type::INT8, Type::TEXT];
/// The columns in the order of the values of `changes::start_session`.
const COPY_SESSIONS: &str = "COPY session (id, person, client, client_name, scopes, created_at, authenticated_at, \
                             expires_at, generation, rotated_at, ended_at, end_reason, terms) FROM STDIN (FORMAT binary)";
const SESSION_TYPES: [Type; 13] = [
    Type::UUID,
    Type::BYTEA,
    Type::UUID,
    Type::BYTEA,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::TEXT,
];
/// The columns in the order of the values of `changes::use_once`.
const COPY_USED: &str = "COPY used_once (id, until) FROM STDIN (FORMAT binary)";
const USED_TYPES: [Type; 2] = [Type::UUID, Type::INT8];
/// The columns in the order of the values of `changes::open_device_request`.
const COPY_DEVICE_REQUESTS: &str = "COPY device_request (id, user_code, client, client_name, scopes, address, \
                                    user_agent, created_at, expires_at, state, approved_by, authenticated_at) \
                                    FROM STDIN (FORMAT binary)";
const DEVICE_REQUEST_TYPES: [Type; 12] = [
    Type::UUID,
    Type::BYTEA,
    Type::UUID,
    Type::BYTEA,
    Type::TEXT,
    Type::INET,
    Type::BYTEA,
    Type::INT8,
    Type::INT8,
    Type::TEXT,
    Type::BYTEA,
    Type::INT8,
];

/// A database as it was when this was opened, or as the target's transaction sees it.
pub(crate) struct Snapshot(Arc<Transaction>);

impl Snapshot {
    /// The database that nodes may be using.
    pub(crate) async fn of(options: &PostgresOptions) -> Result<Self, CopyError> {
        let database = Database::new(options)?;
        let place = || database.place().to_owned();
        let known = migrations::VERSION;
        match migrations::look(&database).await? {
            Schema::Current => {}
            Schema::None => return Err(CopyError::Nothing { place: place() }),
            Schema::Behind(found) | Schema::Ahead(found) => {
                return Err(CopyError::Schema { place: place(), found, known });
            }
        }
        Ok(Self(Arc::new(Transaction::begin(database, "read", "READ ONLY").await?)))
    }

    pub(crate) fn name(&self) -> String {
        self.0.database.place().to_owned()
    }

    pub(crate) async fn count(&self) -> Result<Counts, CopyError> {
        let sql = "SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM device_request), \
                   (SELECT count(*) FROM record), (SELECT count(*) FROM used_once)";
        let counted = self.0.rows(sql, &[]).await?;
        let directory = self.0.rows(rows::DIRECTORY, &[]).await?;
        let count = |at| -> Result<u64, CopyError> {
            let count: i64 = self.0.one(&counted)?.try_get(at).map_err(|error| self.0.error(&error))?;
            Ok(count.unsigned_abs())
        };
        Ok(Counts {
            sessions: count(0)?,
            device_requests: count(1)?,
            records: count(2)?,
            used: count(3)?,
            directory_version: rows::read_version(self.0.one(&directory)?).map_err(|bad| self.0.bad(&bad))?,
        })
    }

    pub(crate) async fn page(&self, place: &Place) -> Result<Vec<Row>, CopyError> {
        match place {
            Place::Directory => {
                let rows = self.0.rows(rows::DIRECTORY, &[]).await?;
                let directory = rows::read_directory(self.0.one(&rows)?).map_err(|bad| self.0.bad(&bad))?;
                Ok(vec![Row::directory(&directory)])
            }
            Place::Records(after) => {
                let (kind, name) = after.as_ref().map_or(("", ""), RecordKey::columns);
                let name = name.as_bytes();
                let rows = self.0.rows(rows::RECORDS_AFTER, &[&kind, &name, &page_rows()]).await?;
                let records = rows.iter().map(|row| rows::read_record(row).and_then(Row::record));
                records.collect::<Result<_, _>>().map_err(|bad| self.0.bad(&bad))
            }
            Place::DeviceRequests(after) => {
                let after = after.map(|id| *id.as_bytes());
                let read = |row: &SqlRow| rows::read_device_request(row).map(Row::DeviceRequest);
                self.rows_after(rows::DEVICE_REQUESTS_FROM, after, read).await
            }
            Place::Used(after) => {
                let after = after.map(|id| *id.as_bytes());
                let read = |row: &SqlRow| rows::read_used(row).map(|(id, until)| Row::Used(id, until));
                self.rows_after(rows::USED_FROM, after, read).await
            }
            Place::Sessions(after) => {
                let after = after.map(|id| *id.as_bytes());
                let read = |row: &SqlRow| rows::read_session(row).map(Row::Session);
                self.rows_after(rows::SESSIONS_FROM, after, read).await
            }
        }
    }

    async fn rows_after(
        &self,
        sql: &'static str,
        after: Option<[u8; 16]>,
        read: impl Fn(&SqlRow) -> Result<Row, BadRow>,
    ) -> Result<Vec<Row>, CopyError> {
        let from = match after {
            None => Uuid::nil(),
            Some(after) => match u128::from_be_bytes(after).checked_add(1) {
                Some(next) => Uuid::from_u128(next),
                // There is no id after the last.
                None => return Ok(Vec::new()),
            },
        };
        let rows = self.0.rows(sql, &[&from, &page_rows()]).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|bad| self.0.bad(&bad))
    }
}

/// An empty database that is being filled, in one transaction.
pub(crate) struct Target(Arc<Transaction>);

impl Target {
    /// The database, which must be empty; its schema is made if there is none.
    pub(crate) async fn of(options: &PostgresOptions) -> Result<Self, CopyError> {
        let database = Database::new(options)?;
        migrations::bring_forward(&database).await?;
        let transaction = Transaction::begin(database, "write", "READ WRITE").await?;
        let target = Self(Arc::new(transaction));
        Snapshot(target.0.clone()).count().await?.none_at(target.0.database.place())?;
        Ok(target)
    }

    pub(crate) async fn write(&mut self, rows: Vec<Row>) -> Result<(), CopyError> {
        let (mut records, mut requests, mut used, mut sessions) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match row {
                Row::Directory { version, file, departed } => {
                    let refuse = |why: &dyn std::fmt::Display| self.0.failure(why);
                    let content = serde_json::to_string(&file).map_err(|error| refuse(&error))?;
                    let version = i64::try_from(version).map_err(|error| refuse(&error))?;
                    let departed = serde_json::to_string(&departed).map_err(|error| refuse(&error))?;
                    let sql = "UPDATE directory SET version = $1, content = $2, departed = $3 WHERE id = 1 \
                               RETURNING version";
                    self.0.rows(sql, &[&version, &content, &departed]).await?;
                }
                Row::Record(key, Record { version, content }) => {
                    let version = key.version_column(version);
                    let version = version.map_err(|outage| self.0.failure(&outage))?;
                    records.push(changes::insert_record(&key, version, content).values);
                }
                Row::DeviceRequest(request) => requests.push(changes::open_device_request(request).values),
                Row::Used(id, until) => used.push(changes::use_once(id, until).values),
                Row::Session(session) => sessions.push(changes::start_session(session).values),
            }
        }
        self.copy(COPY_RECORDS, &RECORD_TYPES, records).await?;
        self.copy(COPY_DEVICE_REQUESTS, &DEVICE_REQUEST_TYPES, requests).await?;
        self.copy(COPY_USED, &USED_TYPES, used).await?;
        self.copy(COPY_SESSIONS, &SESSION_TYPES, sessions).await
    }

    async fn copy(&self, sql: &str, types: &[Type], rows: Vec<Vec<Value>>) -> Result<(), CopyError> {
        if rows.is_empty() {
            return Ok(());
        }
        let copied = async {
            let sink = self.0.lease.copy_in(sql).await?;
            let mut writer = std::pin::pin!(BinaryCopyInWriter::new(sink, types));
            for row in &rows {
                writer.as_mut().write_raw(row).await?;
            }
            writer.finish().await
        };
        copied.await.map(drop).map_err(|error| self.0.error(&error))
    }

    /// Ends the writing.
    pub(crate) async fn written(&mut self) -> Result<Snapshot, CopyError> {
        // The first requests shall not be planned for empty tables.
        let tables = "ANALYZE session; ANALYZE device_request; ANALYZE record; ANALYZE used_once";
        let analyzed = self.0.lease.batch_execute(tables).await;
        analyzed.map_err(|error| self.0.error(&error))?;
        Ok(Snapshot(self.0.clone()))
    }

    /// Commits what was written.
    pub(crate) async fn keep(self) -> Result<(), CopyError> {
        let committed = self.0.lease.batch_execute("COMMIT").await;
        committed.map_err(|error| {
            if Failure::of(&error, true).leaves_doubt() {
                CopyError::Unanswered { place: self.0.database.place().to_owned(), why: described(&error) }
            } else {
                self.0.error(&error)
            }
        })
    }
}

/// How many rows are read together, as SQL takes it.
fn page_rows() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

/// A transaction, which is rolled back when this is dropped.
struct Transaction {
    database: Database,
    /// Never kept: it is closed, and the transaction with it.
    lease: Lease,
    /// "read" or "write".
    doing: &'static str,
}

impl Transaction {
    async fn begin(database: Database, doing: &'static str, access: &str) -> Result<Self, CopyError> {
        let lease = database.connection().await;
        let lease = lease.map_err(|failure| PostgresError::Unusable(failure.outage(database.place()).0))?;
        let transaction = Self { database, lease, doing };
        let (limit, idle) = (STATEMENT_TIMEOUT.as_millis(), IDLE_TIMEOUT.as_millis());
        for sql in [
            format!("SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {idle}"),
            format!("BEGIN ISOLATION LEVEL REPEATABLE READ {access}"),
        ] {
            transaction.lease.batch_execute(&sql).await.map_err(|error| transaction.error(&error))?;
        }
        Ok(transaction)
    }

    async fn rows(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<SqlRow>, CopyError> {
        let rows = async {
            let prepared = self.lease.prepare_cached(sql).await?;
            self.lease.query(&prepared, values).await
        };
        rows.await.map_err(|error| self.error(&error))
    }

    /// The only row, of a table that has one from the start.
    fn one<'r>(&self, rows: &'r [SqlRow]) -> Result<&'r SqlRow, CopyError> {
        rows.first().ok_or_else(|| self.failure(&"table directory has no row"))
    }

    fn bad(&self, bad: &BadRow) -> CopyError {
        CopyError::Row { place: format!("the database {}", self.database.place()), problem: bad.to_string() }
    }

    fn error(&self, error: &Error) -> CopyError {
        match error.code() {
            Some(code)
                if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_SERIALIZATION_FAILURE =>
            {
                self.failure(&"somebody else is writing to it; stop all nodes and copies that use it")
            }
            _ => self.failure(&described(error)),
        }
    }

    fn failure(&self, why: &dyn std::fmt::Display) -> CopyError {
        CopyError::Database {
            doing: self.doing,
            place: self.database.place().to_owned(),
            why: why.to_string(),
        }
    }
}
