//! The SQL of each read, and from rows to values.

use std::net::IpAddr;
use std::sync::Arc;

use doorward_core::device::{DeviceRequest, KNOWN_AFTER_EXPIRY, Requester};
use doorward_core::directory::{Departures, Directory, DirectoryFile};
use doorward_core::ids::{ClientId, DeviceRequestId, OnceId, PersonId, SessionId};
use doorward_core::secret::UserCodeHash;
use doorward_core::session::Session;
use doorward_core::store::{KeptRequests, Outage, WHOLE_BEFORE_FORGOTTEN};
use doorward_core::time::{Lifetime, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::database::Database;
use super::statement::{Statement, value};
use crate::columns::{self, BadColumn, BadRow};
use crate::records::{Record, RecordKey};
use crate::terms;

macro_rules! select_session {
    ($rest:literal) => {
        concat!(
            "SELECT id, person, client, client_name, scopes, created_at, authenticated_at, expires_at, generation, \
             rotated_at, ended_at, end_reason, terms FROM session ",
            $rest
        )
    };
}

macro_rules! select_device_request {
    ($rest:literal) => {
        concat!(
            "SELECT id, user_code, client, client_name, scopes, address, user_agent, created_at, expires_at, state, \
             approved_by, authenticated_at FROM device_request ",
            $rest
        )
    };
}

/// Reads the directory.
pub(super) const DIRECTORY: &str = "SELECT version, content, departed FROM directory WHERE id = 1";
/// Reads a page of the records in the order of their names, after a name.
pub(super) const RECORDS_AFTER: &str = "SELECT kind, key, version, content FROM record WHERE (kind, key) > ($1, $2) \
                                        ORDER BY kind, key LIMIT $3";
/// Reads a page of the sessions in the order of their ids, from an id on.
pub(super) const SESSIONS_FROM: &str = select_session!("WHERE id >= $1 ORDER BY id LIMIT $2");
/// Reads a page of the device requests in the order of their ids, from an id on.
pub(super) const DEVICE_REQUESTS_FROM: &str = select_device_request!("WHERE id >= $1 ORDER BY id LIMIT $2");

/// Reads a page of what was used once in the order of the ids, from an id on.
pub(super) const USED_FROM: &str = "SELECT id, until FROM used_once WHERE id >= $1 ORDER BY id LIMIT $2";

/// The session with this id.
pub(super) async fn session(database: &Database, id: SessionId) -> Result<Option<Session>, Outage> {
    let sql = select_session!("WHERE id = $1");
    let rows =
        database.rows(&Statement { sql, values: vec![value(Uuid::from_bytes(*id.as_bytes()))] }).await?;
    read(database, rows.first(), read_session)
}

/// The live sessions that clients hold of `person`, newest first.
pub(super) async fn sessions_of(
    database: &Database,
    person: &PersonId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Session>, Outage> {
    let sql = select_session!(
        "WHERE person = $1 AND client IS NOT NULL AND expires_at > $2 AND ended_at IS NULL \
         ORDER BY created_at DESC, id DESC LIMIT $3"
    );
    let person = value(person.as_str().as_bytes().to_vec());
    let values = vec![person, value(now.millis()), value(sql_limit(limit))];
    let rows = database.rows(&Statement { sql, values }).await?;
    rows.iter().map(read_session).collect::<Result<_, _>>().map_err(|bad| unreadable(database, &bad))
}

/// The device request with this id.
pub(super) async fn device_request(
    database: &Database,
    id: DeviceRequestId,
) -> Result<Option<DeviceRequest>, Outage> {
    let sql = select_device_request!("WHERE id = $1");
    let rows =
        database.rows(&Statement { sql, values: vec![value(Uuid::from_bytes(*id.as_bytes()))] }).await?;
    read(database, rows.first(), read_device_request)
}

/// The device request with this user code.
pub(super) async fn device_request_by_code(
    database: &Database,
    code: UserCodeHash,
) -> Result<Option<DeviceRequest>, Outage> {
    let sql = select_device_request!("WHERE user_code = $1");
    let rows = database.rows(&Statement { sql, values: vec![value(code.as_bytes().to_vec())] }).await?;
    read(database, rows.first(), read_device_request)
}

/// How many device requests are kept.
pub(super) async fn device_requests_kept(
    database: &Database,
    address: IpAddr,
) -> Result<KeptRequests, Outage> {
    // Each count by an index of its own.
    let sql = "SELECT (SELECT count(*) FROM device_request WHERE address = $1), \
               (SELECT count(*) FROM device_request)";
    let rows = database.rows(&Statement { sql, values: vec![value(address)] }).await?;
    let count = |row: Option<&Row>, at: usize| {
        let count = row.and_then(|row| row.try_get::<_, i64>(at).ok());
        count.and_then(|count| usize::try_from(count).ok())
    };
    match (count(rows.first(), 0), count(rows.first(), 1)) {
        (Some(from_address), Some(total)) => Ok(KeptRequests { from_address, total }),
        _ => Err(Outage(format!("the database {} cannot count its device requests", database.place()))),
    }
}

/// The version of the directory.
pub(super) async fn directory_version(database: &Database) -> Result<u64, Outage> {
    let sql = "SELECT version FROM directory WHERE id = 1";
    let rows = database.rows(&Statement { sql, values: Vec::new() }).await?;
    directory_row(database, &rows).and_then(|row| read_version(row).map_err(|bad| unreadable(database, &bad)))
}

/// The directory.
pub(super) async fn directory(database: &Database) -> Result<Directory, Outage> {
    let rows = database.rows(&Statement { sql: DIRECTORY, values: Vec::new() }).await?;
    directory_row(database, &rows)
        .and_then(|row| read_directory(row).map_err(|bad| unreadable(database, &bad)))
}

/// The directory, from all of its columns.
pub(super) fn read_directory(row: &Row) -> Result<Directory, BadRow> {
    let version = read_version(row)?;
    let bad = |why: String| BadRow { table: "directory", row: format!("version {version}"), why };
    let content = row.try_get("content").map_err(|error| bad(error.to_string()))?;
    let file: DirectoryFile = serde_json::from_str(content).map_err(|error| bad(error.to_string()))?;
    let departed = row.try_get("departed").map_err(|error| bad(error.to_string()))?;
    let departed: Departures = serde_json::from_str(departed).map_err(|error| bad(error.to_string()))?;
    Directory::stored(file, departed, version).map_err(|problems| bad(problems.to_string()))
}

/// The record of this name; one of version 0 when there is none.
pub(super) async fn record<T>(
    database: &Database,
    key: &RecordKey,
    read: impl FnOnce(&Record) -> Result<T, BadRow>,
) -> Result<T, Outage> {
    let sql = "SELECT version, content FROM record WHERE kind = $1 AND key = $2";
    let (kind, name) = key.columns();
    let values = vec![value(kind), value(name.as_bytes().to_vec())];
    let rows = database.rows(&Statement { sql, values }).await?;
    let record = rows.first().map_or_else(|| Ok(Record::default()), |row| read_content(row, key));
    record.and_then(|record| read(&record)).map_err(|bad| unreadable(database, &bad))
}

/// A record, from all of its columns.
pub(super) fn read_record(row: &Row) -> Result<(RecordKey, Record), BadRow> {
    let bad = |why: String| BadRow { table: "record", row: "whose name cannot be read".into(), why };
    let kind = row.try_get("kind").map_err(|error| bad(error.to_string()))?;
    let name: Vec<u8> = row.try_get("key").map_err(|error| bad(error.to_string()))?;
    let key = RecordKey::parse(kind, String::from_utf8(name).map_err(|error| bad(error.to_string()))?)?;
    let record = read_content(row, &key)?;
    Ok((key, record))
}

fn read_content(row: &Row, key: &RecordKey) -> Result<Record, BadRow> {
    let version = row.try_get("version").map_err(|error| key.bad(&error))?;
    let content = row.try_get("content").map_err(|error| key.bad(&error))?;
    Record::of_columns(key, version, content)
}

/// Whether this was used.
pub(super) async fn used(database: &Database, id: OnceId) -> Result<bool, Outage> {
    let sql = "SELECT 1 FROM used_once WHERE id = $1";
    let values = vec![value(Uuid::from_bytes(*id.as_bytes()))];
    Ok(!database.rows(&Statement { sql, values }).await?.is_empty())
}

/// What was used once and until when that is kept, from all of its columns.
pub(super) fn read_used(row: &Row) -> Result<(OnceId, Timestamp), BadRow> {
    let columns = Columns { row, table: "used_once" };
    Ok((OnceId::from_bytes(columns.get::<Uuid>("id")?.into_bytes()), columns.time("until")?))
}

/// What is swept: how, and how long after its time.
pub(super) struct Swept {
    sql: &'static str,
    kept: Lifetime,
}

/// Everything that is swept.
pub(super) const SWEPT: &[Swept] = &[
    Swept {
        sql: "DELETE FROM device_request WHERE id IN (SELECT id FROM device_request WHERE expires_at <= $1 \
              ORDER BY expires_at LIMIT $2) RETURNING id",
        kept: KNOWN_AFTER_EXPIRY,
    },
    Swept {
        sql: "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE expires_at <= $1 \
              ORDER BY expires_at LIMIT $2) RETURNING id",
        kept: Lifetime::from_seconds(0),
    },
    // The time once more: what was forgotten meanwhile may have been used again, for longer.
    Swept {
        sql: "DELETE FROM used_once WHERE id IN (SELECT id FROM used_once WHERE until <= $1 \
              ORDER BY until LIMIT $2) AND until <= $1 RETURNING id",
        kept: Lifetime::from_seconds(0),
    },
    // And here: it changes, and one that was taken from meanwhile must stay.
    Swept {
        sql: "DELETE FROM allowance WHERE key IN (SELECT key FROM allowance WHERE whole_at <= $1 \
              ORDER BY whole_at LIMIT $2) AND whole_at <= $1 RETURNING key",
        kept: WHOLE_BEFORE_FORGOTTEN,
    },
];

/// Forgets at most `limit` rows that are of no more use at `now`. Where nodes sweep at once, some of what one chose is
/// gone when it comes to it; then it counts less.
pub(super) async fn sweep(
    database: &Database,
    swept: &Swept,
    now: Timestamp,
    limit: usize,
) -> Result<usize, Outage> {
    let values = vec![value(now.minus(swept.kept).millis()), value(sql_limit(limit))];
    Ok(database.rows(&Statement { sql: swept.sql, values }).await?.len())
}

/// A limit as SQL takes it.
fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn read<T>(
    database: &Database,
    row: Option<&Row>,
    read: fn(&Row) -> Result<T, BadRow>,
) -> Result<Option<T>, Outage> {
    row.map(read).transpose().map_err(|bad| unreadable(database, &bad))
}

fn unreadable(database: &Database, bad: &BadRow) -> Outage {
    Outage(format!("cannot read the database {}: {bad}", database.place()))
}

fn directory_row<'r>(database: &Database, rows: &'r [Row]) -> Result<&'r Row, Outage> {
    let missing = || {
        Outage(format!(
            "cannot read the database {}: table directory has no row; restore it from a backup",
            database.place()
        ))
    };
    rows.first().ok_or_else(missing)
}

pub(super) fn read_version(row: &Row) -> Result<u64, BadRow> {
    let bad = |why: String| BadRow { table: "directory", row: "1".into(), why };
    let version: i64 = row.try_get("version").map_err(|error| bad(error.to_string()))?;
    u64::try_from(version).map_err(|error| bad(format!("column version: {error}")))
}

/// A session, from all of its columns.
pub(super) fn read_session(row: &Row) -> Result<Session, BadRow> {
    let columns = Columns { row, table: "session" };
    let client = columns.get::<Option<Uuid>>("client")?.map(Uuid::into_bytes);
    let end_reason = columns.get("end_reason")?;
    let terms = columns.get::<Option<&str>>("terms")?.map(terms::read).transpose();
    Ok(Session {
        id: SessionId::from_bytes(columns.get::<Uuid>("id")?.into_bytes()),
        person: columns.read(columns::person("person", columns.text("person")?))?,
        holder: columns.read(columns::holder(client, columns.optional_text("client_name")?))?,
        scopes: columns.read(columns::scopes(columns.get("scopes")?))?,
        created_at: columns.time("created_at")?,
        authenticated_at: columns.time("authenticated_at")?,
        expires_at: columns.time("expires_at")?,
        generation: columns.read(
            u32::try_from(columns.get::<i64>("generation")?)
                .map_err(|error| BadColumn::new("generation", error)),
        )?,
        rotated_at: columns.time("rotated_at")?,
        state: columns.read(columns::session_state(columns.get("ended_at")?, end_reason))?,
        terms: columns.read(terms)?.map(Arc::new),
    })
}

/// A device request, from all of its columns.
pub(super) fn read_device_request(row: &Row) -> Result<DeviceRequest, BadRow> {
    let columns = Columns { row, table: "device_request" };
    let (by, at) = (columns.optional_text("approved_by")?, columns.get("authenticated_at")?);
    let user_code = <[u8; 16]>::try_from(columns.get::<&[u8]>("user_code")?);
    Ok(DeviceRequest {
        id: DeviceRequestId::from_bytes(columns.get::<Uuid>("id")?.into_bytes()),
        user_code: UserCodeHash::from_bytes(
            columns.read(user_code.map_err(|error| BadColumn::new("user_code", error)))?,
        ),
        client: ClientId::from_bytes(columns.get::<Uuid>("client")?.into_bytes()),
        client_name: columns.text("client_name")?.into(),
        scopes: columns.read(columns::scopes(columns.get("scopes")?))?,
        requester: Requester {
            address: columns.get("address")?,
            user_agent: columns.optional_text("user_agent")?,
        },
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        state: columns.read(columns::device_state(columns.get("state")?, by, at))?,
    })
}

/// Reads the columns of one row, and knows how to complain about it. The row has its id in `id`.
struct Columns<'r> {
    row: &'r Row,
    table: &'static str,
}

impl<'r> Columns<'r> {
    fn get<T: FromSql<'r>>(&self, column: &'static str) -> Result<T, BadRow> {
        self.read(self.row.try_get(column).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            BadColumn::new(column, cause.unwrap_or_else(|| error.to_string()))
        }))
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, BadRow> {
        self.get(column).map(Timestamp::from_millis)
    }

    fn text(&self, column: &'static str) -> Result<String, BadRow> {
        self.optional_text(column)?
            .map_or_else(|| self.read(Err(BadColumn::new(column, "it is missing"))), Ok)
    }

    fn optional_text(&self, column: &'static str) -> Result<Option<String>, BadRow> {
        let text = self.get::<Option<Vec<u8>>>(column)?.map(String::from_utf8).transpose();
        self.read(text.map_err(|error| BadColumn::new(column, error)))
    }

    /// What was read from a column, or the complaint about this row.
    fn read<T>(&self, value: Result<T, BadColumn>) -> Result<T, BadRow> {
        value.map_err(|bad| {
            let row = match self.row.try_get::<_, Uuid>("id") {
                // As ids are written elsewhere, in the audit log for one.
                Ok(id) => SessionId::from_bytes(id.into_bytes()).to_string(),
                Err(error) => format!("whose id cannot be read ({error})"),
            };
            BadRow { table: self.table, row, why: bad.to_string() }
        })
    }
}
