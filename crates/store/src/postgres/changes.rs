//! The SQL of each change, guards included: a guarded statement touches one row, or none when its guard fails.

use doorward_core::device::DeviceRequest;
use doorward_core::directory::{Departures, Directory, DirectoryFile};
use doorward_core::ids::OnceId;
use doorward_core::session::{Holder, Session};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use uuid::Uuid;

use super::lanes::Rotation;
use super::statement::{Statement, Value, value};
use crate::columns::{device_state_columns, end_reason_column, session_state_columns};
use crate::records::{Put, RecordKey};
use crate::terms;

/// The statement that makes `change`.
///
/// # Errors
/// [`Outage`] for a directory that is wrong.
pub(super) fn statement(change: Change) -> Result<Statement, Outage> {
    Ok(match change {
        Change::OpenDeviceRequest(request) => open_device_request(request),
        Change::MoveDeviceRequest { id, from, to } => {
            let mut values = vec![value(Uuid::from_bytes(*id.as_bytes()))];
            for state in [&to, &from] {
                let (state, by, at) = device_state_columns(state);
                values.extend([value(state), bytes(by), value(at)]);
            }
            Statement {
                sql: "UPDATE device_request SET state = $2, approved_by = $3, authenticated_at = $4 \
                      WHERE id = $1 AND state = $5 AND approved_by IS NOT DISTINCT FROM $6 \
                      AND authenticated_at IS NOT DISTINCT FROM $7",
                values,
            }
        }
        Change::StartSession(session) => start_session(session),
        // Expiry is no part of this guard and the next: it never changes, so whoever decides has already seen it.
        Change::Rotate { id, from, to, at } => rotate(&Rotation { id, from, to, at }),
        Change::EndSession { id, at, why } => Statement {
            sql: "UPDATE session SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL",
            values: vec![
                value(Uuid::from_bytes(*id.as_bytes())),
                value(at.millis()),
                value(end_reason_column(why)),
            ],
        },
        Change::ReplaceDirectory { from, file, departed } => replace_directory(from, *file, departed)?,
        Change::PutFederatedPerson { from, person } => put_record(Put::federated_person(from, &person)?),
        Change::PutConsents { from, person, consents } => {
            put_record(Put::consents(from, &person, &consents)?)
        }
        Change::Use { id, until, .. } => use_once(id, until),
        Change::ReplaceSigningKeys { from, keys } => put_record(Put::signing_keys(from, &keys)?),
    })
}

/// The statement that makes one rotation.
pub(super) fn rotate(rotation: &Rotation) -> Statement {
    Statement {
        sql: "UPDATE session SET generation = $3, rotated_at = $4 \
              WHERE id = $1 AND generation = $2 AND ended_at IS NULL",
        values: vec![
            value(Uuid::from_bytes(*rotation.id.as_bytes())),
            value(i64::from(rotation.from)),
            value(i64::from(rotation.to)),
            value(rotation.at.millis()),
        ],
    }
}

/// The statement that makes many rotations, of a session each, and returns the ids of those whose guard held. A row
/// that another transaction has just changed is waited for, and its guard is then checked against what it became.
pub(super) fn rotate_each(rotations: &[Rotation]) -> Statement {
    let column = |of: fn(&Rotation) -> i64| value(rotations.iter().map(of).collect::<Vec<_>>());
    let ids: Vec<_> = rotations.iter().map(|rotation| Uuid::from_bytes(*rotation.id.as_bytes())).collect();
    Statement {
        sql: "UPDATE session SET generation = r.next, rotated_at = r.moment \
              FROM unnest($1::UUID[], $2::BIGINT[], $3::BIGINT[], $4::BIGINT[]) AS r (id, current, next, moment) \
              WHERE session.id = r.id AND session.generation = r.current AND session.ended_at IS NULL \
              RETURNING session.id",
        values: vec![
            value(ids),
            column(|rotation| i64::from(rotation.from)),
            column(|rotation| i64::from(rotation.to)),
            column(|rotation| rotation.at.millis()),
        ],
    }
}

/// The statement that writes a device request. Its values are all columns, in the order of the table's copies too.
pub(super) fn open_device_request(request: DeviceRequest) -> Statement {
    let (state, by, at) = device_state_columns(&request.state);
    let (by, user_agent) = (bytes(by), request.requester.user_agent.map(String::into_bytes));
    Statement {
        sql: "INSERT INTO device_request (id, user_code, client, client_name, scopes, address, user_agent, \
              created_at, expires_at, state, approved_by, authenticated_at) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        values: vec![
            value(Uuid::from_bytes(*request.id.as_bytes())),
            value(request.user_code.as_bytes().to_vec()),
            value(Uuid::from_bytes(*request.client.as_bytes())),
            value(request.client_name.as_bytes().to_vec()),
            value(request.scopes.to_string()),
            value(request.requester.address),
            value(user_agent),
            value(request.created_at.millis()),
            value(request.expires_at.millis()),
            value(state),
            by,
            value(at),
        ],
    }
}

/// The statement that writes a session. Its values are all columns, in the order of the table's copies too.
pub(super) fn start_session(session: Session) -> Statement {
    let (ended_at, end_reason) = session_state_columns(session.state);
    let (client, client_name) = match session.holder {
        Holder::Browser => (None, None),
        Holder::Client { id, name } => {
            (Some(Uuid::from_bytes(*id.as_bytes())), Some(name.as_bytes().to_vec()))
        }
    };
    Statement {
        sql: "INSERT INTO session (id, person, client, client_name, scopes, created_at, authenticated_at, \
              expires_at, generation, rotated_at, ended_at, end_reason, terms) \
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING",
        values: vec![
            value(Uuid::from_bytes(*session.id.as_bytes())),
            bytes(Some(session.person.as_str())),
            value(client),
            value(client_name),
            value(session.scopes.to_string()),
            value(session.created_at.millis()),
            value(session.authenticated_at.millis()),
            value(session.expires_at.millis()),
            value(i64::from(session.generation)),
            value(session.rotated_at.millis()),
            value(ended_at),
            value(end_reason),
            value(session.terms.as_deref().map(terms::column)),
        ],
    }
}

/// The statement that notes that something was used. Its values are all columns, in the order of the table's copies too.
pub(super) fn use_once(id: OnceId, until: Timestamp) -> Statement {
    Statement {
        sql: "INSERT INTO used_once (id, until) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        values: vec![value(Uuid::from_bytes(*id.as_bytes())), value(until.millis())],
    }
}

fn replace_directory(from: u64, file: DirectoryFile, departed: Departures) -> Result<Statement, Outage> {
    let refuse = |why: &dyn std::fmt::Display| Outage(format!("the directory to be written is wrong: {why}"));
    let content = serde_json::to_string(&file).map_err(|error| refuse(&error))?;
    let left = serde_json::to_string(&departed).map_err(|error| refuse(&error))?;
    let version = i64::try_from(from).map_err(|error| refuse(&error))?;
    Directory::new(file, departed, from + 1).map_err(|problems| refuse(&problems))?;
    Ok(Statement {
        sql: "UPDATE directory SET version = version + 1, content = $2, departed = $3 \
              WHERE id = 1 AND version = $1",
        values: vec![value(version), value(content), value(left)],
    })
}

fn put_record(put: Put) -> Statement {
    let Put { key, from, content } = put;
    if from == 0 {
        return insert_record(&key, 1, content);
    }
    let (kind, name) = key.columns();
    Statement {
        sql: "UPDATE record SET version = version + 1, content = $4 \
              WHERE kind = $1 AND key = $2 AND version = $3",
        values: vec![value(kind), bytes(Some(name)), value(from), value(content)],
    }
}

/// The statement that writes a record. Its values are all columns, in the order of the table's copies too.
pub(super) fn insert_record(key: &RecordKey, version: i64, content: String) -> Statement {
    let (kind, name) = key.columns();
    Statement {
        sql: "INSERT INTO record (kind, key, version, content) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        values: vec![value(kind), bytes(Some(name)), value(version), value(content)],
    }
}

/// A text as the bytes of a BYTEA.
fn bytes(text: Option<&str>) -> Value {
    value(text.map(|text| text.as_bytes().to_vec()))
}
