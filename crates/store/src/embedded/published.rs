//! What readers see without the disk. Only the writer changes it: after a COMMIT, before it answers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use doorward_core::device::{DeviceRequest, DeviceState};
use doorward_core::directory::Directory;
use doorward_core::ids::{DeviceRequestId, SessionId};
use doorward_core::session::{EndReason, Session, SessionState};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::unfolded::{Head, Unfolded};
use crate::devices::DeviceTable;
use crate::records::{Record, RecordKey};

/// The most sessions in the cache: some 40 MB when it is full, nothing before.
const CACHED_SESSIONS: usize = 65_536;
/// The most bytes of records in the cache.
const CACHED_RECORDS: u64 = 32 << 20;
/// How many records that may be: names of people and of groups, and a sealed token.
const RECORDS_EXPECTED: usize = 16_384;

/// The state in memory.
///
/// A poisoned lock is taken all the same: nothing that is done under one can panic halfway.
pub(super) struct Published {
    devices: RwLock<DeviceTable>,
    /// Some of the sessions. That a session is absent is never kept.
    sessions: Cache<SessionId, Arc<Session>>,
    /// Some of the records. That there is none is kept too: it is asked again for as long as a person who has left has a
    /// session.
    records: Cache<RecordKey, Arc<Record>, Bytes>,
    unfolded: Mutex<Unfolded>,
    /// Or why nobody can tell what it is.
    directory: RwLock<Result<Arc<Directory>, Outage>>,
}

/// What a record takes in the cache.
#[derive(Clone)]
struct Bytes;

impl Weighter<RecordKey, Arc<Record>> for Bytes {
    fn weight(&self, _: &RecordKey, record: &Arc<Record>) -> u64 {
        // What is around the content, roughly.
        256 + record.content.len() as u64
    }
}

/// What a committed change does to the state in memory.
pub(super) enum Effect {
    DeviceOpened(DeviceRequest),
    DeviceMoved { id: DeviceRequestId, to: DeviceState },
    DeviceForgotten(DeviceRequestId),
    SessionStarted(Session),
    SessionRotated { id: SessionId, head: Head },
    SessionEnded { id: SessionId, at: Timestamp, why: EndReason },
    SessionForgotten(SessionId),
    DirectoryReplaced(Arc<Directory>),
    RecordPut(RecordKey, Record),
    Used,
}

impl Published {
    pub(super) fn new(devices: DeviceTable, unfolded: Unfolded, directory: Directory) -> Self {
        Self {
            devices: RwLock::new(devices),
            sessions: Cache::new(CACHED_SESSIONS),
            records: Cache::with_weighter(RECORDS_EXPECTED, CACHED_RECORDS, Bytes),
            unfolded: Mutex::new(unfolded),
            directory: RwLock::new(Ok(Arc::new(directory))),
        }
    }

    /// The device requests, all of them.
    pub(super) fn devices(&self) -> RwLockReadGuard<'_, DeviceTable> {
        self.devices.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, if it is in the cache.
    pub(super) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.sessions.get(&id)
    }

    /// The record, if it is in the cache; one of version 0 when there is none.
    pub(super) fn record(&self, key: &RecordKey) -> Option<Arc<Record>> {
        self.records.get(key)
    }

    /// The rotations that are not in `head`.
    pub(super) fn unfolded(&self) -> MutexGuard<'_, Unfolded> {
        self.unfolded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory.
    pub(super) fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a session into the cache that the writer has just read, with no transaction open.
    pub(super) fn keep(&self, session: Session) {
        self.sessions.insert(session.id, Arc::new(session));
    }

    /// Puts a record into the cache that the writer has just read, with no transaction open.
    pub(super) fn keep_record(&self, key: RecordKey, record: Arc<Record>) {
        self.records.insert(key, record);
    }

    /// Takes a record out of the cache that somebody else has written.
    pub(super) fn forget_record(&self, key: &RecordKey) {
        self.records.remove(key);
    }

    /// Shows what was committed.
    pub(super) fn publish(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::DeviceOpened(request) => {
                    self.change_devices(|devices| devices.insert(request));
                }
                Effect::DeviceMoved { id, to } => {
                    self.change_devices(|devices| devices.set_state(id, to));
                }
                Effect::DeviceForgotten(id) => self.change_devices(|devices| devices.remove(id)),
                Effect::SessionStarted(session) => self.keep(session),
                Effect::SessionRotated { id, head } => {
                    self.unfolded().insert(id, head);
                    self.change_session(id, |session| head.advance(session));
                }
                Effect::SessionEnded { id, at, why } => {
                    self.change_session(id, |session| session.state = SessionState::Ended { at, why });
                }
                Effect::SessionForgotten(id) => {
                    self.sessions.remove(&id);
                    self.unfolded().remove(id);
                }
                Effect::RecordPut(key, record) => self.keep_record(key, Arc::new(record)),
                // That is read from the disk.
                Effect::Used => {}
                Effect::DirectoryReplaced(directory) => self.show_directory(Ok(directory)),
            }
        }
    }

    /// Shows a directory, or that there is none to be shown.
    pub(super) fn show_directory(&self, directory: Result<Arc<Directory>, Outage>) {
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = directory;
    }

    fn change_devices<T>(&self, change: impl FnOnce(&mut DeviceTable) -> T) -> T {
        change(&mut self.devices.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes a session if it is in the cache. Nobody else writes to the cache, so nothing comes in between.
    fn change_session(&self, id: SessionId, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.peek(&id) {
            let mut session = Session::clone(&session);
            change(&mut session);
            self.sessions.insert(id, Arc::new(session));
        }
    }
}
