//! How values look in the columns of a database, for every backend that has columns. A row that this server would
//! not have written is told to the operator by table and id; it is never skipped, and never a panic.

use std::fmt::Display;

use doorward_core::device::DeviceState;
use doorward_core::ids::{ClientId, PersonId};
use doorward_core::scope::Scopes;
use doorward_core::session::{EndReason, Holder, SessionState};
use doorward_core::time::Timestamp;

/// A row that does not hold what it must.
#[derive(Debug, thiserror::Error)]
#[error("table {table}, row {row}: {why}")]
pub(crate) struct BadRow {
    pub(crate) table: &'static str,
    pub(crate) row: String,
    pub(crate) why: String,
}

/// A column that does not hold what it must.
#[derive(Debug, thiserror::Error)]
#[error("column {column}: {why}")]
pub(crate) struct BadColumn {
    column: &'static str,
    why: String,
}

impl BadColumn {
    pub(crate) fn new(column: &'static str, why: impl Display) -> Self {
        Self { column, why: why.to_string() }
    }
}

/// The columns `client` and `client_name`.
pub(crate) fn holder(client: Option<[u8; 16]>, name: Option<String>) -> Result<Holder, BadColumn> {
    match (client, name) {
        (None, None) => Ok(Holder::Browser),
        (Some(id), Some(name)) => Ok(Holder::Client { id: ClientId::from_bytes(id), name: name.into() }),
        (None, Some(_)) | (Some(_), None) => Err(BadColumn::new("client", "it and client_name go together")),
    }
}

/// The columns `ended_at` and `end_reason`.
pub(crate) fn session_state(at: Option<i64>, why: Option<&str>) -> Result<SessionState, BadColumn> {
    match (at, why) {
        (None, None) => Ok(SessionState::Live),
        (Some(at), Some(why)) => Ok(SessionState::Ended {
            at: Timestamp::from_millis(at),
            why: end_reason(why)
                .ok_or_else(|| BadColumn::new("end_reason", format!("there is no {why:?}")))?,
        }),
        (None, Some(_)) | (Some(_), None) => Err(BadColumn::new("ended_at", "it and end_reason go together")),
    }
}

/// A state of a session as the columns `ended_at` and `end_reason`; [`session_state`] reads it back.
pub(crate) const fn session_state_columns(state: SessionState) -> (Option<i64>, Option<&'static str>) {
    match state {
        SessionState::Live => (None, None),
        SessionState::Ended { at, why } => (Some(at.millis()), Some(end_reason_column(why))),
    }
}

/// The columns `state`, `approved_by` and `authenticated_at`.
pub(crate) fn device_state(
    state: &str,
    by: Option<String>,
    at: Option<i64>,
) -> Result<DeviceState, BadColumn> {
    match state {
        "pending" => Ok(DeviceState::Pending),
        "approved" => Ok(DeviceState::Approved {
            by: person("approved_by", by.ok_or_else(|| BadColumn::new("approved_by", "it is missing"))?)?,
            authenticated_at: at
                .map(Timestamp::from_millis)
                .ok_or_else(|| BadColumn::new("authenticated_at", "it is missing"))?,
        }),
        "denied" => Ok(DeviceState::Denied),
        "spent" => Ok(DeviceState::Spent),
        _ => Err(BadColumn::new("state", format!("there is no {state:?}"))),
    }
}

/// A state of a device request as the columns `state`, `approved_by` and `authenticated_at`; [`device_state`] reads
/// it back.
pub(crate) fn device_state_columns(state: &DeviceState) -> (&'static str, Option<&str>, Option<i64>) {
    match state {
        DeviceState::Pending => ("pending", None, None),
        DeviceState::Approved { by, authenticated_at } => {
            ("approved", Some(by.as_str()), Some(authenticated_at.millis()))
        }
        DeviceState::Denied => ("denied", None, None),
        DeviceState::Spent => ("spent", None, None),
    }
}

/// A column with a user name.
pub(crate) fn person(column: &'static str, text: String) -> Result<PersonId, BadColumn> {
    PersonId::parse(text).map_err(|error| BadColumn::new(column, error))
}

/// The column `scopes`, as [`Scopes`] displays them.
pub(crate) fn scopes(text: &str) -> Result<Scopes, BadColumn> {
    Scopes::parse([text]).map_err(|_| BadColumn::new("scopes", format!("{text:?} is no list of scopes")))
}

/// The column `end_reason`; [`end_reason`] reads it back.
pub(crate) const fn end_reason_column(why: EndReason) -> &'static str {
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
