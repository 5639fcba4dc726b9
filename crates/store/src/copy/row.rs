//! What a copy is made of.

use std::fmt;

use doorward_core::device::DeviceRequest;
use doorward_core::directory::{Departures, Directory, DirectoryFile};
use doorward_core::ids::{DeviceRequestId, OnceId, SessionId};
use doorward_core::session::Session;
use doorward_core::time::Timestamp;

use super::error::CopyError;
use crate::columns::BadRow;
use crate::records::{Record, RecordKey};

/// How many rows are in memory together.
pub(crate) const PAGE: usize = 4096;

/// Anything that a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Directory {
        version: u64,
        file: Box<DirectoryFile>,
        departed: Departures,
    },
    Record(RecordKey, Record),
    DeviceRequest(DeviceRequest),
    /// What was used once, and when it may be forgotten.
    Used(OnceId, Timestamp),
    Session(Session),
}

/// Names a row. Their order is the order in which rows are copied and compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Directory,
    Record(RecordKey),
    DeviceRequest(DeviceRequestId),
    Used(OnceId),
    Session(SessionId),
}

/// The next page of rows: of this table, after this row of it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Directory,
    Records(Option<RecordKey>),
    DeviceRequests(Option<DeviceRequestId>),
    Used(Option<OnceId>),
    Sessions(Option<SessionId>),
}

impl Place {
    /// What comes after the rows of this place: the row after the last of them, or the next table when there are
    /// none; nothing after the last table.
    pub(crate) fn next(&self, rows: &[Row]) -> Option<Self> {
        match (rows.last(), self) {
            (Some(Row::Session(session)), _) => Some(Self::Sessions(Some(session.id))),
            (Some(Row::Used(id, _)), _) => Some(Self::Used(Some(*id))),
            (Some(Row::DeviceRequest(request)), _) => Some(Self::DeviceRequests(Some(request.id))),
            (Some(Row::Record(key, _)), _) => Some(Self::Records(Some(key.clone()))),
            (Some(Row::Directory { .. }), _) | (None, Self::Directory) => Some(Self::Records(None)),
            (None, Self::Records(_)) => Some(Self::DeviceRequests(None)),
            (None, Self::DeviceRequests(_)) => Some(Self::Used(None)),
            (None, Self::Used(_)) => Some(Self::Sessions(None)),
            (None, Self::Sessions(_)) => None,
        }
    }
}

impl Row {
    pub(crate) fn directory(directory: &Directory) -> Self {
        Self::Directory {
            version: directory.version(),
            file: Box::new(directory.file().clone()),
            departed: directory.departed().clone(),
        }
    }

    /// A record, which must be one that a server can read.
    pub(crate) fn record((key, record): (RecordKey, Record)) -> Result<Self, BadRow> {
        record.check(&key)?;
        Ok(Self::Record(key, record))
    }

    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Directory { .. } => Key::Directory,
            Self::Record(key, _) => Key::Record(key.clone()),
            Self::DeviceRequest(request) => Key::DeviceRequest(request.id),
            Self::Used(id, _) => Key::Used(*id),
            Self::Session(session) => Key::Session(session.id),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("the directory"),
            Self::Record(key) => {
                let (kind, key) = key.columns();
                write!(f, "record {kind} {key}")
            }
            Self::DeviceRequest(id) => write!(f, "device request {id}"),
            Self::Used(id) => write!(f, "what was used once, {id}"),
            Self::Session(id) => write!(f, "session {id}"),
        }
    }
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sessions: u64,
    pub(crate) device_requests: u64,
    pub(crate) records: u64,
    pub(crate) used: u64,
    pub(crate) directory_version: u64,
}

impl Counts {
    /// Refuses a place that holds anything.
    pub(crate) fn none_at(&self, place: &str) -> Result<(), CopyError> {
        let Self { sessions, device_requests, records, used, directory_version } = *self;
        let what = match (sessions, device_requests, directory_version, records) {
            (0, 0, 0, 0) if used == 0 => return Ok(()),
            (0, 0, 0, 0) => format!("what was used once ({used})"),
            (0, 0, 0, records) => format!("signing keys, consents or people of identity sources ({records})"),
            (0, 0, version, _) => format!("a directory (version {version})"),
            (0, requests, ..) => format!("device requests ({requests})"),
            (sessions, ..) => format!("sessions ({sessions})"),
        };
        Err(CopyError::NotEmpty { place: place.to_owned(), what })
    }

    pub(crate) fn add(&mut self, row: &Row) {
        match row {
            Row::Directory { version, .. } => self.directory_version = *version,
            Row::Record(..) => self.records += 1,
            Row::DeviceRequest(_) => self.device_requests += 1,
            Row::Used(..) => self.used += 1,
            Row::Session(_) => self.sessions += 1,
        }
    }
}
