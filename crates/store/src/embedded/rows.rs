//! From rows to values. A row that this server would not have written is told to the operator by table and id; it
//! is never skipped, and never a panic.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::Path;

use doorward_core::device::{DeviceRequest, DeviceState, Requester};
use doorward_core::ids::{ClientId, DeviceRequestId, PersonId, SessionId};
use doorward_core::scope::Scopes;
use doorward_core::secret::UserCodeHash;
use doorward_core::session::{EndReason, Holder, Session, SessionState};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, params};

use crate::devices::DeviceTable;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    BadRow(#[from] BadRow),
}

impl ReadError {
    /// What the operator is told.
    pub(super) fn outage(&self, database: &Path) -> Outage {
        Outage(format!("cannot read the database {}: {self}", database.display()))
    }
}

/// A row that does not hold what it must.
#[derive(Debug, thiserror::Error)]
#[error("table {table}, row {row}: {why}")]
pub(super) struct BadRow {
    pub(super) table: &'static str,
    pub(super) row: String,
    pub(super) why: String,
}

/// The columns of a session, from `session` as `s` and `head` as `h`.
macro_rules! select_session {
    ($id:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $id,
            " AS id, s.person, s.client, s.client_name, s.scopes, s.created_at, s.authenticated_at, \
             s.expires_at, h.generation, h.rotated_at, h.ended_at, h.end_reason FROM ",
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

/// The live sessions of `person`, newest first.
pub(super) fn sessions_of(
    connection: &Connection,
    person: &PersonId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Session>, ReadError> {
    let sql = select_session!(
        "s.id",
        "session s LEFT JOIN head h ON h.id = s.id \
         WHERE s.person = ?1 AND s.expires_at > ?2 AND h.ended_at IS NULL \
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

/// A limit as SQLite takes it.
pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn read_session(row: &Row<'_>) -> Result<Session, BadRow> {
    let columns = Columns { row, table: "session" };
    let holder = match (columns.get("client")?, columns.get("client_name")?) {
        (None, None) => Holder::Browser,
        (Some(id), Some(name)) => Holder::Client { id: ClientId::from_bytes(id), name },
        (None, Some(_)) | (Some(_), None) => {
            return Err(columns.bad("client", "it and client_name go together"));
        }
    };
    let state = match (columns.get("ended_at")?, columns.get::<Option<String>>("end_reason")?) {
        (None, None) => SessionState::Live,
        (Some(at), Some(why)) => SessionState::Ended {
            at: Timestamp::from_millis(at),
            why: end_reason(&why).ok_or_else(|| columns.bad("end_reason", format!("there is no {why:?}")))?,
        },
        (None, Some(_)) | (Some(_), None) => {
            return Err(columns.bad("ended_at", "it and end_reason go together"));
        }
    };
    Ok(Session {
        id: SessionId::from_bytes(columns.get("id")?),
        person: columns.person("person")?,
        holder,
        scopes: columns.scopes()?,
        created_at: columns.time("created_at")?,
        authenticated_at: columns.time("authenticated_at")?,
        expires_at: columns.time("expires_at")?,
        generation: columns.get("generation")?,
        rotated_at: columns.time("rotated_at")?,
        state,
    })
}

fn read_device_request(row: &Row<'_>) -> Result<DeviceRequest, BadRow> {
    let columns = Columns { row, table: "device_request" };
    let state = columns.get::<String>("state")?;
    let state = match state.as_str() {
        "pending" => DeviceState::Pending,
        "approved" => DeviceState::Approved {
            by: columns.person("approved_by")?,
            authenticated_at: columns.time("authenticated_at")?,
        },
        "denied" => DeviceState::Denied,
        "spent" => DeviceState::Spent,
        _ => return Err(columns.bad("state", format!("there is no {state:?}"))),
    };
    let address = columns.get::<String>("address")?;
    Ok(DeviceRequest {
        id: DeviceRequestId::from_bytes(columns.get("id")?),
        user_code: UserCodeHash::from_bytes(columns.get("user_code")?),
        client: ClientId::from_bytes(columns.get("client")?),
        client_name: columns.get("client_name")?,
        scopes: columns.scopes()?,
        requester: Requester {
            address: address.parse::<IpAddr>().map_err(|error| columns.bad("address", error))?,
            user_agent: columns.get("user_agent")?,
        },
        created_at: columns.time("created_at")?,
        expires_at: columns.time("expires_at")?,
        state,
    })
}

/// The state of a device request as the columns `state`, `approved_by` and `authenticated_at`.
pub(super) fn device_state(state: &DeviceState) -> (&'static str, Option<&str>, Option<i64>) {
    match state {
        DeviceState::Pending => ("pending", None, None),
        DeviceState::Approved { by, authenticated_at } => {
            ("approved", Some(by.as_str()), Some(authenticated_at.millis()))
        }
        DeviceState::Denied => ("denied", None, None),
        DeviceState::Spent => ("spent", None, None),
    }
}

/// The column `end_reason`; [`end_reason`] reads it back.
pub(super) const fn end_reason_column(why: EndReason) -> &'static str {
    match why {
        EndReason::Logout => "logout",
        EndReason::EndedByPerson => "ended_by_person",
        EndReason::RefreshTokenReplayed => "refresh_token_replayed",
        EndReason::CodeReplayed => "code_replayed",
    }
}

fn end_reason(column: &str) -> Option<EndReason> {
    match column {
        "logout" => Some(EndReason::Logout),
        "ended_by_person" => Some(EndReason::EndedByPerson),
        "refresh_token_replayed" => Some(EndReason::RefreshTokenReplayed),
        "code_replayed" => Some(EndReason::CodeReplayed),
        _ => None,
    }
}

/// Reads the columns of one row, and knows how to complain about it. The row has its id in `id`.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    table: &'static str,
}

impl Columns<'_, '_> {
    fn get<T: FromSql>(&self, column: &'static str) -> Result<T, BadRow> {
        self.row.get(column).map_err(|error| self.bad(column, error))
    }

    fn time(&self, column: &'static str) -> Result<Timestamp, BadRow> {
        self.get(column).map(Timestamp::from_millis)
    }

    fn person(&self, column: &'static str) -> Result<PersonId, BadRow> {
        PersonId::parse(self.get::<String>(column)?).map_err(|error| self.bad(column, error))
    }

    fn scopes(&self) -> Result<Scopes, BadRow> {
        let text = self.get::<String>("scopes")?;
        Scopes::parse([text.as_str()])
            .map_err(|_| self.bad("scopes", format!("{text:?} is no list of scopes")))
    }

    fn bad(&self, column: &str, why: impl Display) -> BadRow {
        let row = match self.row.get::<_, [u8; 16]>("id") {
            // As ids are written elsewhere, in the audit log for one.
            Ok(id) => SessionId::from_bytes(id).to_string(),
            Err(_) => "with an id that is not 16 bytes".to_owned(),
        };
        BadRow { table: self.table, row, why: format!("column {column}: {why}") }
    }
}
