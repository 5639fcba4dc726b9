//! From rows to values.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use doorward_core::device::{DeviceRequest, Requester};
use doorward_core::ids::{ClientId, DeviceRequestId, OnceId, PersonId, SessionId};
use doorward_core::secret::UserCodeHash;
use doorward_core::session::Session;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, Row, params};

use super::changes::Standing;
use super::unfolded::{self, Unfolded};
use crate::columns::{self, BadColumn, BadRow};
use crate::devices::DeviceTable;
use crate::records::{Record, RecordKey};
use crate::terms;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    BadRow(#[from] BadRow),
    /// What SQLite found when it looked for damage.
    #[error("{0}")]
    Damaged(String),
}

impl ReadError {
    /// What the operator is told.
    pub(super) fn outage(&self, database: &Path) -> Outage {
        let so = match self {
            Self::Damaged(_) => "; restore it from a backup",
            Self::Sqlite(error) if is_damage(error) => "; restore it from a backup",
            _ => "",
        };
        Outage(format!("cannot read the database {}: {self}{so}", database.display()))
    }
}

/// Whether the file is not what SQLite wrote.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Reads all of the database, and looks whether it fits together.
pub(super) fn examine(connection: &Connection) -> Result<(), ReadError> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(ReadError::Damaged(found)) }
}

/// The columns of a session, from `session` as `s` and `head` as `h`.
macro_rules! select_session {
    ($id:literal, $from:literal) => {
        select_session!($id, "s.terms", $from)
    };
    ($id:literal, $terms:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $id,
            " AS id, s.person, s.client, s.client_name, s.scopes, s.created_at, s.authenticated_at, \
             s.expires_at, h.generation, h.rotated_at, h.ended_at, h.end_reason, ",
            $terms,
            " AS terms FROM ",
            $from
        )
    };
}

/// The session with this id. Its other half is joined from the left, so that one which is missing is a bad row.
pub(super) fn session(connection: &Connection, id: SessionId) -> Result<Option<Session>, ReadError> {
    let sql = select_session!("h.id", "head h LEFT JOIN session s ON s.seq = h.seq WHERE h.id = ?1");
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id.as_bytes()])?;
    Ok(rows.next()?.map(read_session).transpose()?)
}

/// Where the session stands, as far as `head` knows.
pub(super) fn standing(connection: &Connection, id: SessionId) -> Result<Option<Standing>, ReadError> {
    let mut statement =
        connection.prepare_cached("SELECT id, generation, ended_at FROM head WHERE id = ?1")?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let columns = Columns { row, table: "head" };
    Ok(Some(match columns.get::<Option<i64>>("ended_at")? {
        Some(_) => Standing::Ended,
        None => Standing::Live(columns.get("generation")?),
    }))
}

/// The record of this name.
pub(super) fn record(connection: &Connection, key: &RecordKey) -> Result<Option<Record>, ReadError> {
    let mut statement =
        connection.prepare_cached("SELECT version, content FROM record WHERE kind = ?1 AND key = ?2")?;
    let mut rows = statement.query(<[&str; 2]>::from(key.columns()))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(read_record(row, key)?))
}

/// How often the record of this name was put; 0 when there is none.
pub(super) fn record_version(connection: &Connection, key: &RecordKey) -> rusqlite::Result<i64> {
    let mut statement =
        connection.prepare_cached("SELECT version FROM record WHERE kind = ?1 AND key = ?2")?;
    let mut rows = statement.query(<[&str; 2]>::from(key.columns()))?;
    rows.next()?.map_or(Ok(0), |row| row.get(0))
}

/// The records that come after this one in the order of their names, at most `limit`.
pub(super) fn records_after(
    connection: &Connection,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<(RecordKey, Record)>, ReadError> {
    let sql = "SELECT kind, key, version, content FROM record WHERE (kind, key) > (?1, ?2) \
               ORDER BY kind, key LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let (kind, key) = after.map_or(("", ""), RecordKey::columns);
    let mut rows = statement.query(params![kind, key, sql_limit(limit)])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let key = RecordKey::parse(&row.get::<_, String>("kind")?, row.get("key")?)?;
        let record = read_record(row, &key)?;
        records.push((key, record));
    }
    Ok(records)
}

/// The rotations in the log, in its order, and how many there are.
pub(super) fn log(connection: &Connection) -> Result<(Unfolded, usize), ReadError> {
    let mut statement = connection.prepare("SELECT seq, heads FROM rotation ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut rotations = Vec::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let bad = |why| BadRow { table: "rotation", row: number.to_string(), why };
        let heads = row.get_ref(1)?.as_blob().map_err(|error| bad(error.to_string()))?;
        rotations.extend(unfolded::decode(heads).map_err(bad)?);
    }
    let length = rotations.len();
    Ok((Unfolded::of_log(rotations), length))
}

/// The live sessions that clients hold of `person`, newest first.
pub(super) fn sessions_of(
    connection: &Connection,
    person: &PersonId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Session>, ReadError> {
    let sql = select_session!(
        "s.id",
        "session s LEFT JOIN head h ON h.id = s.id \
         WHERE s.person = ?1 AND s.client IS NOT NULL AND s.expires_at > ?2 AND h.ended_at IS NULL \
         ORDER BY s.created_at DESC, s.id DESC LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![person.as_str(), now.millis(), sql_limit(limit)])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(read_session(row)?);
    }
    Ok(sessions)
}

/// All device requests.
pub(super) fn device_requests(connection: &Connection) -> Result<DeviceTable, ReadError> {
    let mut statement = connection.prepare("SELECT * FROM device_request")?;
    let mut rows = statement.query([])?;
    let mut table = DeviceTable::default();
    while let Some(row) = rows.next()? {
        table.insert(read_device_request(row)?);
    }
    Ok(table)
}

/// The sessions that come after this one in the order of their ids, at most `limit`, from a database of this version or one
/// before.
pub(super) fn sessions_after(
    connection: &Connection,
    schema: i64,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<Session>, ReadError> {
    macro_rules! select_after {
        ($terms:literal) => {
            select_session!(
                "h.id",
                $terms,
                "head h LEFT JOIN session s ON s.seq = h.seq WHERE h.id > ?1 ORDER BY h.id LIMIT ?2"
            )
        };
    }
    let sql = if schema < 4 { select_after!("NULL") } else { select_after!("s.terms") };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows =
        statement.query(params![after_id(after.as_ref().map(SessionId::as_bytes)), sql_limit(limit)])?;
    let mut sessions = Vec::new();
    while let Some(row) = rows.next()? {
        sessions.push(read_session(row)?);
    }
    Ok(sessions)
}

/// The device requests that come after this one in the order of their ids, at most `limit`.
pub(super) fn device_requests_after(
    connection: &Connection,
    after: Option<DeviceRequestId>,
    limit: usize,
) -> Result<Vec<DeviceRequest>, ReadError> {
    let sql = "SELECT * FROM device_request WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let after = after_id(after.as_ref().map(DeviceRequestId::as_bytes));
    let mut rows = statement.query(params![after, sql_limit(limit)])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        requests.push(read_device_request(row)?);
    }
    Ok(requests)
}

/// How many sessions and device requests there are. A session of which only the half in `session` is left is a bad
/// row; [`sessions_after`] finds those of the other half.
pub(super) fn count(connection: &Connection) -> Result<(u64, u64), ReadError> {
    let sql = "SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM head), \
               (SELECT count(*) FROM device_request)";
    let [sessions, heads, requests] = connection
        .query_row(sql, [], |row| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]))?
        .map(i64::unsigned_abs);
    if sessions > heads {
        let sql =
            "SELECT s.id FROM session s WHERE NOT EXISTS (SELECT 1 FROM head h WHERE h.id = s.id) LIMIT 1";
        let id: [u8; 16] = connection.query_row(sql, [], |row| row.get(0))?;
        let row = SessionId::from_bytes(id).to_string();
        return Err(BadRow { table: "session", row, why: "table head has no row for it".into() }.into());
    }
    Ok((sessions, requests))
}

/// Whether this was used.
pub(super) fn used(connection: &Connection, id: OnceId) -> Result<bool, ReadError> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM used_once WHERE id = ?1")?;
    Ok(statement.exists([id.as_bytes()])?)
}

/// What was used once and comes after this in the order of the ids, at most `limit`.
pub(super) fn used_after(
    connection: &Connection,
    after: Option<OnceId>,
    limit: usize,
) -> Result<Vec<(OnceId, Timestamp)>, ReadError> {
    let sql = "SELECT id, until FROM used_once WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows =
        statement.query(params![after_id(after.as_ref().map(OnceId::as_bytes)), sql_limit(limit)])?;
    let mut used = Vec::new();
    while let Some(row) = rows.next()? {
        let columns = Columns { row, table: "used_once" };
        used.push((OnceId::from_bytes(columns.get("id")?), columns.time("until")?));
    }
    Ok(used)
}

/// How much of what was used once is kept.
pub(super) fn count_used(connection: &Connection) -> Result<u64, ReadError> {
    let count: i64 = connection.query_row("SELECT count(*) FROM used_once", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// How many records there are.
pub(super) fn count_records(connection: &Connection) -> Result<u64, ReadError> {
    let count: i64 = connection.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// What every id comes after is the empty blob.
fn after_id(id: Option<&[u8; 16]>) -> &[u8] {
    id.map_or(&[], |id| id)
}

/// A limit as SQLite takes it.
pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn read_record(row: &Row<'_>, key: &RecordKey) -> Result<Record, BadRow> {
    let version = row.get("version").map_err(|error| key.bad(&error))?;
    let content = row.get("content").map_err(|error| key.bad(&error))?;
    Record::of_columns(key, version, content)
}

fn read_session(row: &Row<'_>) -> Result<Session, BadRow> {
    let columns = Columns { row, table: "session" };
    let holder = columns::holder(columns.get("client")?, columns.get("client_name")?);
    let end_reason = columns.get::<Option<String>>("end_reason")?;
    let state = columns::session_state(columns.get("ended_at")?, end_reason.as_deref());
    let terms = columns.get::<Option<String>>("terms")?.map(|text| terms::read(&text)).transpose();
    Ok(Session {
        id: SessionId::from_bytes(columns.get("id")?),
        person: columns.person()?,
        holder: columns.read(holder)?,
        scopes: columns.read(columns::scopes(&columns.get::<String>("scopes")?))?,
        created_at: columns.time("created_at")?,
        authenticated_at: columns.time("authenticated_at")?,
        expires_at: columns.time("expires_at")?,
        generation: columns.get("generation")?,
        rotated_at: columns.time("rotated_at")?,
        state: columns.read(state)?,
        terms: columns.read(terms)?.map(Arc::new),
    })
}

fn read_device_request(row: &Row<'_>) -> Result<DeviceRequest, BadRow> {
    let columns = Columns { row, table: "device_request" };
    let (by, at) = (columns.get("approved_by")?, columns.get("authenticated_at")?);
    let state = columns::device_state(&columns.get::<String>("state")?, by, at);
    let address = columns.get::<String>("address")?.parse::<IpAddr>();
    Ok(DeviceRequest {
        id: DeviceRequestId::from_bytes(columns.get("id")?),
        user_code: UserCodeHash::from_bytes(columns.get("user_code")?),
        client: ClientId::from_bytes(columns.get("client")?),
        client_name: columns.get("client_name")?,
        scopes: columns.read(columns::scopes(&columns.get::<String>("scopes")?))?,
        requester: Requester {
            address: columns.read(address.map_err(|error| BadColumn::new("address", error)))?,
            user_agent: columns.get("user_agent")?,
        },
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        state: columns.read(state)?,
    })
}

/// Reads the columns of one row, and knows how to complain about it. The row has its id in `id`.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    table: &'static str,
}

impl Columns<'_, '_> {
    fn get<T: FromSql>(&self, column: &'static str) -> Result<T, BadRow> {
        self.read(self.row.get(column).map_err(|error| BadColumn::new(column, error)))
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, BadRow> {
        self.get(column).map(Timestamp::from_millis)
    }

    fn person(&self) -> Result<PersonId, BadRow> {
        self.read(columns::person("person", self.get("person")?))
    }

    /// What was read from a column, or the complaint about this row.
    fn read<T>(&self, value: Result<T, BadColumn>) -> Result<T, BadRow> {
        value.map_err(|bad| {
            let row = match self.row.get::<_, [u8; 16]>("id") {
                // As ids are written elsewhere, in the audit log for one.
                Ok(id) => SessionId::from_bytes(id).to_string(),
                Err(_) => "with an id that is not 16 bytes".to_owned(),
            };
            BadRow { table: self.table, row, why: bad.to_string() }
        })
    }
}
