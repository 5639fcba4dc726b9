//! What a copy is made of.

use std::fmt;

use doorward_core::device::DeviceRequest;
use doorward_core::directory::{Directory, DirectoryFile};
use doorward_core::ids::{DeviceRequestId, SessionId};
use doorward_core::session::Session;

use super::error::CopyError;

/// How many rows are in memory together.
pub(crate) const PAGE: usize = 4096;

/// Anything that a store keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Directory { version: u64, file: Box<DirectoryFile> },
    DeviceRequest(DeviceRequest),
    Session(Session),
}

/// Names a row. Their order is the order in which rows are copied and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Directory,
    DeviceRequest(DeviceRequestId),
    Session(SessionId),
}

/// The next page of rows: of this table, after this row of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Directory,
    DeviceRequests(Option<DeviceRequestId>),
    Sessions(Option<SessionId>),
}

impl Place {
    /// What comes after the rows of this place: the row after the last of them, or the next table when there are
    /// none; nothing after the last table.
    pub(crate) fn next(self, rows: &[Row]) -> Option<Self> {
        match (rows.last(), self) {
            (Some(Row::Session(session)), _) => Some(Self::Sessions(Some(session.id))),
            (Some(Row::DeviceRequest(request)), _) => Some(Self::DeviceRequests(Some(request.id))),
            (Some(Row::Directory { .. }), _) | (None, Self::Directory) => Some(Self::DeviceRequests(None)),
            (None, Self::DeviceRequests(_)) => Some(Self::Sessions(None)),
            (None, Self::Sessions(_)) => None,
        }
    }
}

impl Row {
    pub(crate) fn directory(directory: &Directory) -> Self {
        Self::Directory { version: directory.version(), file: Box::new(directory.file().clone()) }
    }

    pub(crate) const fn key(&self) -> Key {
        match self {
            Self::Directory { .. } => Key::Directory,
            Self::DeviceRequest(request) => Key::DeviceRequest(request.id),
            Self::Session(session) => Key::Session(session.id),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("the directory"),
            Self::DeviceRequest(id) => write!(f, "device request {id}"),
            Self::Session(id) => write!(f, "session {id}"),
        }
    }
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sessions: u64,
    pub(crate) device_requests: u64,
    pub(crate) directory_version: u64,
}

impl Counts {
    /// Refuses a place that holds anything.
    pub(crate) fn none_at(&self, place: &str) -> Result<(), CopyError> {
        let Self { sessions, device_requests, directory_version } = *self;
        let what = match (sessions, device_requests, directory_version) {
            (0, 0, 0) => return Ok(()),
            (0, 0, version) => format!("a directory (version {version})"),
            (0, requests, _) => format!("device requests ({requests})"),
            (sessions, ..) => format!("sessions ({sessions})"),
        };
        Err(CopyError::NotEmpty { place: place.to_owned(), what })
    }

    pub(crate) fn add(&mut self, row: &Row) {
        match row {
            Row::Directory { version, .. } => self.directory_version = *version,
            Row::DeviceRequest(_) => self.device_requests += 1,
            Row::Session(_) => self.sessions += 1,
        }
    }
}
