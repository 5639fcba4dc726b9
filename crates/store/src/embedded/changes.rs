//! The SQL of each change, and the guards.

use std::collections::HashMap;
use std::sync::Arc;

use doorward_core::device::{DeviceRequest, DeviceState};
use doorward_core::directory::{Departures, Directory, DirectoryFile};
use doorward_core::ids::{DeviceRequestId, OnceId, SessionId};
use doorward_core::session::{Holder, Session, SessionState};
use doorward_core::store::{CommitError, Outage};
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::published::{Effect, Published};
use super::rows::{self, ReadError, sql_limit};
use super::unfolded::{self, Head};
use crate::columns::{device_state_columns, end_reason_column, session_state_columns};
use crate::records::{Put, Record, RecordKey};
use crate::terms;

/// Why changes were not made.
pub(super) enum Stop {
    /// They are refused to their caller; the transaction goes on without them.
    Refused(CommitError),
    /// SQLite failed, and the transaction with it.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// The changes of many callers in one transaction.
///
/// The guard of a rotation is looked at here and not in SQL, because the newest rotation may be in the log: `known` has
/// what this transaction made of a session, and what is committed is known from memory or read.
pub(super) struct Group<'a> {
    connection: &'a Connection,
    published: &'a Published,
    known: HashMap<SessionId, Standing>,
    rotations: Vec<(SessionId, Head)>,
    /// What the caller at work has changed in `known`, and what was there before.
    undo: Vec<(SessionId, Option<Standing>)>,
}

impl<'a> Group<'a> {
    pub(super) fn new(connection: &'a Connection, published: &'a Published) -> Self {
        let (known, rotations, undo) = (HashMap::new(), Vec::new(), Vec::new());
        Self { connection, published, known, rotations, undo }
    }

    /// Makes all the changes of one caller, or none.
    pub(super) fn apply_all(&mut self, changes: &[Change]) -> Result<Vec<Effect>, Stop> {
        self.undo.clear();
        // A change checks its guard before it writes, so a change alone has nothing to take back.
        if changes.len() < 2 {
            return self.apply_each(changes);
        }
        execute(self.connection, "SAVEPOINT caller", [])?;
        let rotations = self.rotations.len();
        let result = self.apply_each(changes);
        match &result {
            Ok(_) => {}
            Err(Stop::Refused(_)) => {
                execute(self.connection, "ROLLBACK TO caller", [])?;
                self.rotations.truncate(rotations);
                for (id, before) in self.undo.drain(..).rev() {
                    match before {
                        Some(standing) => self.known.insert(id, standing),
                        None => self.known.remove(&id),
                    };
                }
            }
            // The transaction is lost, and the savepoint with it.
            Err(Stop::Failed(_)) => return result,
        }
        execute(self.connection, "RELEASE caller", [])?;
        result
    }

    /// Writes the rotations of all callers as one row of the log, with this number.
    pub(super) fn finish(self, row: i64) -> rusqlite::Result<()> {
        if self.rotations.is_empty() { Ok(()) } else { append_to_log(self.connection, row, &self.rotations) }
    }

    fn apply_each(&mut self, changes: &[Change]) -> Result<Vec<Effect>, Stop> {
        changes.iter().map(|change| self.apply(change)).collect()
    }

    fn apply(&mut self, change: &Change) -> Result<Effect, Stop> {
        match *change {
            Change::OpenDeviceRequest(ref request) => {
                open_device_request(self.connection, request)?;
                Ok(Effect::DeviceOpened(request.clone()))
            }
            Change::MoveDeviceRequest { id, ref from, ref to } => {
                move_device_request(self.connection, id, from, to)
            }
            Change::StartSession(ref session) => {
                start_session(self.connection, session)?;
                self.learn(session.id, Standing::of(session));
                Ok(Effect::SessionStarted(session.clone()))
            }
            // Expiry is no part of this guard and the next: it never changes, so whoever decides has already seen it.
            Change::Rotate { id, from, to, at } => {
                if self.standing(id)? != Some(Standing::Live(from)) {
                    return Err(Stop::Refused(CommitError::Conflict));
                }
                self.learn(id, Standing::Live(to));
                let head = Head { generation: to, rotated_at: at };
                self.rotations.push((id, head));
                Ok(Effect::SessionRotated { id, head })
            }
            Change::EndSession { id, at, why } => {
                let sql = "UPDATE head SET ended_at = ?2, end_reason = ?3 WHERE id = ?1 AND ended_at IS NULL";
                guarded(self.connection, sql, params![id.as_bytes(), at.millis(), end_reason_column(why)])?;
                self.learn(id, Standing::Ended);
                Ok(Effect::SessionEnded { id, at, why })
            }
            Change::ReplaceDirectory { from, ref file, ref departed } => {
                let replacement = Replacement::new(from, file, departed);
                replacement.map_err(|outage| Stop::Refused(outage.into()))?.make(self.connection)
            }
            Change::PutFederatedPerson { from, ref person } => {
                put_record(self.connection, Put::federated_person(from, person))
            }
            Change::PutConsents { from, ref person, ref consents } => {
                put_record(self.connection, Put::consents(from, person, consents))
            }
            Change::Use { id, until, .. } => {
                use_once(self.connection, id, until)?;
                Ok(Effect::Used)
            }
            Change::ReplaceSigningKeys { from, ref keys } => {
                put_record(self.connection, Put::signing_keys(from, keys))
            }
        }
    }

    fn standing(&self, id: SessionId) -> Result<Option<Standing>, Stop> {
        if let Some(standing) = self.known.get(&id) {
            return Ok(Some(*standing));
        }
        if let Some(session) = self.published.session(id) {
            return Ok(Some(Standing::of(&session)));
        }
        let standing = match rows::standing(self.connection, id) {
            Ok(standing) => standing,
            Err(ReadError::Sqlite(error)) => return Err(Stop::Failed(error)),
            // Its own caller is told; the others go on.
            Err(damage) => {
                return Err(Stop::Refused(Outage(format!("the database is damaged: {damage}")).into()));
            }
        };
        Ok(match (standing, self.published.unfolded().get(id)) {
            (Some(Standing::Live(_)), Some(head)) => Some(Standing::Live(head.generation)),
            (standing, _) => standing,
        })
    }

    fn learn(&mut self, id: SessionId, standing: Standing) {
        let before = self.known.insert(id, standing);
        self.undo.push((id, before));
    }
}

/// What the guard of a rotation looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The session is live, with this generation.
    Live(u32),
    Ended,
}

impl Standing {
    fn of(session: &Session) -> Self {
        match session.state {
            SessionState::Live => Self::Live(session.generation),
            SessionState::Ended { .. } => Self::Ended,
        }
    }
}

/// Writes rotations into `head` that are in the log.
pub(super) fn fold(connection: &Connection, rotations: &[(SessionId, Head)]) -> rusqlite::Result<()> {
    let sql = "UPDATE head SET generation = ?2, rotated_at = ?3 WHERE id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for (id, head) in rotations {
        // One that was swept meanwhile has no row.
        statement.execute(params![id.as_bytes(), head.generation, head.rotated_at.millis()])?;
    }
    Ok(())
}

/// Appends a row to the log.
pub(super) fn append_to_log(
    connection: &Connection,
    row: i64,
    rotations: &[(SessionId, Head)],
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO rotation (seq, heads) VALUES (?1, ?2)";
    execute(connection, sql, params![row, unfolded::encode(rotations)]).map(drop)
}

/// The last row of the log; 0 when it is empty.
pub(super) fn end_of_log(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(seq), 0) FROM rotation", [], |row| row.get(0))
}

/// Takes at most so many rows off the log, the oldest first, none after `last`. Answers how many.
pub(super) fn shorten_log(connection: &Connection, last: i64, limit: usize) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM rotation WHERE seq IN \
               (SELECT seq FROM rotation WHERE seq <= ?1 ORDER BY seq LIMIT ?2)";
    execute(connection, sql, params![last, sql_limit(limit)])
}

/// Forgets device requests; they are chosen by whoever has them in memory.
pub(super) fn sweep_requests(
    connection: &Connection,
    requests: &[DeviceRequestId],
) -> rusqlite::Result<Vec<Effect>> {
    let forget = |&id: &DeviceRequestId| {
        execute(connection, "DELETE FROM device_request WHERE id = ?1", [id.as_bytes()])?;
        Ok(Effect::DeviceForgotten(id))
    };
    requests.iter().map(forget).collect()
}

/// Forgets at most `limit` sessions that have expired.
pub(super) fn sweep_sessions(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Effect>> {
    let expired = expired_sessions(connection, now, limit)?;
    expired.into_iter().map(|session| forget_session(connection, session)).collect()
}

/// The rows in `session` of at most `limit` sessions that have expired, the oldest first.
pub(super) fn expired_sessions(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT seq FROM session WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![now.millis(), sql_limit(limit)], |row| row.get(0))?.collect()
}

/// Forgets a session, by its row in `session`.
pub(super) fn forget_session(connection: &Connection, seq: i64) -> rusqlite::Result<Effect> {
    let mut statement = connection.prepare_cached("DELETE FROM session WHERE seq = ?1 RETURNING id")?;
    let id: [u8; 16] = statement.query_row([seq], |row| row.get(0))?;
    execute(connection, "DELETE FROM head WHERE id = ?1", [id])?;
    Ok(Effect::SessionForgotten(SessionId::from_bytes(id)))
}

/// Forgets at most `limit` of what was used once and is of no use to anybody by now. Answers how many.
pub(super) fn sweep_used(connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM used_once WHERE id IN \
               (SELECT id FROM used_once WHERE until <= ?1 ORDER BY until LIMIT ?2)";
    execute(connection, sql, params![now.millis(), sql_limit(limit)])
}

/// Notes that something was used.
pub(super) fn use_once(connection: &Connection, id: OnceId, until: Timestamp) -> Result<(), Stop> {
    let sql = "INSERT INTO used_once (id, until) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    guarded(connection, sql, params![id.as_bytes(), until.millis()])
}

fn move_device_request(
    connection: &Connection,
    id: DeviceRequestId,
    from: &DeviceState,
    to: &DeviceState,
) -> Result<Effect, Stop> {
    let sql = "UPDATE device_request SET state = ?2, approved_by = ?3, authenticated_at = ?4 \
               WHERE id = ?1 AND state = ?5 AND approved_by IS ?6 AND authenticated_at IS ?7";
    let ((state, by, at), (from, from_by, from_at)) = (device_state_columns(to), device_state_columns(from));
    guarded(connection, sql, params![id.as_bytes(), state, by, at, from, from_by, from_at])?;
    Ok(Effect::DeviceMoved { id, to: to.clone() })
}

/// Adds a device request.
pub(super) fn open_device_request(connection: &Connection, request: &DeviceRequest) -> Result<(), Stop> {
    let (state, by, at) = device_state_columns(&request.state);
    let sql = "INSERT INTO device_request (id, user_code, client, client_name, scopes, address, user_agent, \
               created_at, expires_at, state, approved_by, authenticated_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) ON CONFLICT DO NOTHING";
    let values = params![
        request.id.as_bytes(),
        request.user_code.as_bytes(),
        request.client.as_bytes(),
        request.client_name,
        request.scopes.to_string(),
        request.requester.address.to_string(),
        request.requester.user_agent,
        request.created_at.millis(),
        request.expires_at.millis(),
        state,
        by,
        at,
    ];
    guarded(connection, sql, values)?;
    Ok(())
}

/// Adds a session.
pub(super) fn start_session(connection: &Connection, session: &Session) -> Result<(), Stop> {
    let (ended_at, end_reason) = session_state_columns(session.state);
    let sql = "INSERT INTO head (id, seq, generation, rotated_at, ended_at, end_reason) \
               SELECT ?1, coalesce(max(seq), 0) + 1, ?2, ?3, ?4, ?5 FROM session WHERE true \
               ON CONFLICT DO NOTHING RETURNING seq";
    let mut statement = connection.prepare_cached(sql)?;
    let head =
        params![session.id.as_bytes(), session.generation, session.rotated_at.millis(), ended_at, end_reason];
    let seq: Option<i64> = statement.query_row(head, |row| row.get(0)).optional()?;
    let seq = seq.ok_or(Stop::Refused(CommitError::Conflict))?;
    let sql = "INSERT INTO session (seq, id, person, client, client_name, scopes, created_at, \
               authenticated_at, expires_at, terms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let (client, client_name) = match &session.holder {
        Holder::Browser => (None, None),
        Holder::Client { id, name } => (Some(*id.as_bytes()), Some(name)),
    };
    let values = params![
        seq,
        session.id.as_bytes(),
        session.person.as_str(),
        client,
        client_name,
        session.scopes.to_string(),
        session.created_at.millis(),
        session.authenticated_at.millis(),
        session.expires_at.millis(),
        session.terms.as_deref().map(terms::column),
    ];
    execute(connection, sql, values)?;
    Ok(())
}

/// A directory that is to replace the one at hand.
pub(super) struct Replacement {
    from: i64,
    content: String,
    departed: String,
    directory: Arc<Directory>,
}

impl Replacement {
    /// Checks it. Guard: the version must be `from`.
    pub(super) fn new(from: u64, file: &DirectoryFile, departed: &Departures) -> Result<Self, Outage> {
        let refuse =
            |why: &dyn std::fmt::Display| Outage(format!("the directory to be written is wrong: {why}"));
        Ok(Self {
            from: i64::try_from(from).map_err(|error| refuse(&error))?,
            content: serde_json::to_string(file).map_err(|error| refuse(&error))?,
            departed: serde_json::to_string(departed).map_err(|error| refuse(&error))?,
            directory: Arc::new(
                Directory::new(file.clone(), departed.clone(), from + 1)
                    .map_err(|problems| refuse(&problems))?,
            ),
        })
    }

    pub(super) fn make(&self, connection: &Connection) -> Result<Effect, Stop> {
        let sql =
            "UPDATE directory SET version = version + 1, content = ?2, departed = ?3 WHERE version = ?1";
        guarded(connection, sql, params![self.from, self.content, self.departed])?;
        Ok(Effect::DirectoryReplaced(self.directory.clone()))
    }
}

/// Puts a record, if its guard holds.
pub(super) fn put_record(connection: &Connection, put: Result<Put, Outage>) -> Result<Effect, Stop> {
    let Put { key, from, content } = put.map_err(|outage| Stop::Refused(outage.into()))?;
    if from == 0 {
        insert_record(connection, &key, 1, &content)?;
    } else {
        let sql = "UPDATE record SET version = version + 1, content = ?4 \
                   WHERE kind = ?1 AND key = ?2 AND version = ?3";
        let (kind, name) = key.columns();
        guarded(connection, sql, params![kind, name, from, content])?;
    }
    Ok(Effect::RecordPut(key, Record { version: from.unsigned_abs() + 1, content }))
}

/// Adds a record.
pub(super) fn insert_record(
    connection: &Connection,
    key: &RecordKey,
    version: i64,
    content: &str,
) -> Result<(), Stop> {
    let sql =
        "INSERT INTO record (kind, key, version, content) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
    let (kind, name) = key.columns();
    guarded(connection, sql, params![kind, name, version, content])
}

/// Runs a statement whose guard decides whether it touches its row.
fn guarded(connection: &Connection, sql: &str, values: impl Params) -> Result<(), Stop> {
    match execute(connection, sql, values)? {
        0 => Err(Stop::Refused(CommitError::Conflict)),
        _ => Ok(()),
    }
}

fn execute(connection: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}
