//! The reference backend: one mutex around plain maps. What the contract means is easiest read here.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorward_core::consent::Consents;
use doorward_core::device::{DeviceRequest, DeviceState};
use doorward_core::directory::Directory;
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::{DeviceRequestId, OnceId, PersonId, SessionId};
use doorward_core::secret::UserCodeHash;
use doorward_core::session::{Holder, Session, SessionState};
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{Allowance, CommitError, KeptRequests, Outage, Store};
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;

use crate::allowances::AllowanceTable;
use crate::devices::DeviceTable;

/// Keeps everything in this process.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

impl MemoryStore {
    /// The state. A panic while it was held cannot have come from halfway through a change: nothing between the
    /// writes of one change can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        Ok(self.state().devices.get(id).cloned())
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        Ok(self.state().devices.by_code(code).cloned())
    }

    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage> {
        Ok(self.state().devices.kept(address))
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        Ok(self.state().sessions.get(&id).cloned())
    }

    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage> {
        let state = self.state();
        let theirs = state
            .sessions
            .values()
            .filter(|session| session.person == *person && session.holder != Holder::Browser);
        let mut live: Vec<Session> = theirs.filter(|session| session.is_live(now)).cloned().collect();
        live.sort_by_key(|session| std::cmp::Reverse((session.created_at, session.id)));
        live.truncate(limit);
        Ok(live)
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        Ok(self.state().directory.clone())
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        Ok(self.state().federated(id))
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        Ok(self.state().signing_keys.clone())
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        Ok(self.state().consents.get(person).cloned().unwrap_or_default())
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        Ok(self.state().used.contains_key(&id))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut state = self.state();
        let mut done = Vec::with_capacity(changes.len());
        for change in changes {
            match state.apply(change) {
                Ok(undo) => done.push(undo),
                Err(error) => {
                    done.into_iter().rev().for_each(|undo| state.undo(undo));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage> {
        Ok(self.state().allowances.take(allowances, now))
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        let mut state = self.state();
        let requests = state.devices.forgettable(now, limit);
        for id in &requests {
            state.devices.remove(*id);
        }
        let expired = state.by_expiry.iter().take_while(|(expires_at, _)| *expires_at <= now);
        let sessions: Vec<SessionId> =
            expired.take(limit - requests.len()).map(|(_, session)| *session).collect();
        for id in &sessions {
            state.remove_session(*id);
        }
        let mut gone = requests.len() + sessions.len();
        let used: Vec<OnceId> = state
            .used
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(id, _)| *id)
            .take(limit - gone)
            .collect();
        for id in &used {
            state.used.remove(id);
        }
        gone += used.len();
        Ok(gone + state.allowances.sweep(now, limit - gone))
    }
}

#[derive(Default)]
struct State {
    devices: DeviceTable,
    sessions: HashMap<SessionId, Session>,
    by_expiry: BTreeSet<(Timestamp, SessionId)>,
    directory: Arc<Directory>,
    /// Each with its version.
    federated: HashMap<PersonId, (u64, FederatedPerson)>,
    signing_keys: SigningKeys,
    /// Each with its version.
    consents: HashMap<PersonId, (u64, Consents)>,
    /// Each with when it may be forgotten.
    used: HashMap<OnceId, Timestamp>,
    allowances: AllowanceTable,
}

/// How to take one change back.
enum Undo {
    ForgetRequest(DeviceRequestId),
    SetState(DeviceRequestId, DeviceState),
    RemoveSession(SessionId),
    PutHead { id: SessionId, generation: u32, rotated_at: Timestamp },
    Revive(SessionId),
    PutDirectory(Arc<Directory>),
    PutFederated { id: PersonId, before: Option<(u64, FederatedPerson)> },
    PutSigningKeys(SigningKeys),
    PutConsents { person: PersonId, before: Option<(u64, Consents)> },
    Unuse(OnceId),
}

impl State {
    fn apply(&mut self, change: Change) -> Result<Undo, CommitError> {
        match change {
            Change::OpenDeviceRequest(request) => {
                let id = request.id;
                self.devices.insert(request).then_some(Undo::ForgetRequest(id)).ok_or(CommitError::Conflict)
            }
            Change::MoveDeviceRequest { id, from, to } => {
                self.devices.get(id).filter(|request| request.state == from).ok_or(CommitError::Conflict)?;
                self.devices.set_state(id, to);
                Ok(Undo::SetState(id, from))
            }
            Change::StartSession(session) => {
                let id = session.id;
                if self.sessions.contains_key(&id) {
                    return Err(CommitError::Conflict);
                }
                self.by_expiry.insert((session.expires_at, id));
                self.sessions.insert(id, session);
                Ok(Undo::RemoveSession(id))
            }
            Change::Rotate { id, from, to, at } => {
                let session = self.live(id).filter(|session| session.generation == from);
                let session = session.ok_or(CommitError::Conflict)?;
                let undo = Undo::PutHead { id, generation: from, rotated_at: session.rotated_at };
                session.generation = to;
                session.rotated_at = at;
                Ok(undo)
            }
            Change::EndSession { id, at, why } => {
                self.live(id).ok_or(CommitError::Conflict)?.state = SessionState::Ended { at, why };
                Ok(Undo::Revive(id))
            }
            Change::ReplaceDirectory { from, file, departed } => {
                if self.directory.version() != from {
                    return Err(CommitError::Conflict);
                }
                let directory = Directory::new(*file, departed, from + 1).map_err(|problems| {
                    Outage(format!("the directory to be written is wrong: {problems}"))
                })?;
                Ok(Undo::PutDirectory(std::mem::replace(&mut self.directory, Arc::new(directory))))
            }
            Change::PutFederatedPerson { from, person } => {
                let id = person.id.clone();
                if self.federated(&id).0 != from {
                    return Err(CommitError::Conflict);
                }
                let before = self.federated.insert(id.clone(), (from + 1, *person));
                Ok(Undo::PutFederated { id, before })
            }
            Change::PutConsents { from, person, consents } => {
                if self.consents.get(&person).map_or(0, |(version, _)| *version) != from {
                    return Err(CommitError::Conflict);
                }
                let before = self.consents.insert(person.clone(), (from + 1, *consents));
                Ok(Undo::PutConsents { person, before })
            }
            Change::Use { id, until, .. } => {
                if self.used.contains_key(&id) {
                    return Err(CommitError::Conflict);
                }
                self.used.insert(id, until);
                Ok(Undo::Unuse(id))
            }
            Change::ReplaceSigningKeys { from, keys } => {
                if self.signing_keys.version != from {
                    return Err(CommitError::Conflict);
                }
                let keys = SigningKeys { version: from + 1, keys };
                Ok(Undo::PutSigningKeys(std::mem::replace(&mut self.signing_keys, keys)))
            }
        }
    }

    /// The session, unless it was ended. Its expiry is no part of any guard: it never changes, so whoever decides
    /// has already seen it.
    fn live(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.state == SessionState::Live)
    }

    fn federated(&self, id: &PersonId) -> (u64, Option<FederatedPerson>) {
        self.federated.get(id).map_or((0, None), |(version, person)| (*version, Some(person.clone())))
    }

    fn remove_session(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.remove(&id) {
            self.by_expiry.remove(&(session.expires_at, id));
        }
    }

    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::ForgetRequest(id) => self.devices.remove(id),
            Undo::SetState(id, state) => {
                self.devices.set_state(id, state);
            }
            Undo::RemoveSession(id) => self.remove_session(id),
            Undo::PutHead { id, generation, rotated_at } => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.generation = generation;
                    session.rotated_at = rotated_at;
                }
            }
            Undo::Revive(id) => {
                if let Some(session) = self.sessions.get_mut(&id) {
                    session.state = SessionState::Live;
                }
            }
            Undo::PutDirectory(directory) => self.directory = directory,
            Undo::PutFederated { id, before: Some(before) } => {
                self.federated.insert(id, before);
            }
            Undo::PutFederated { id, before: None } => {
                self.federated.remove(&id);
            }
            Undo::PutSigningKeys(keys) => self.signing_keys = keys,
            Undo::PutConsents { person, before: Some(before) } => {
                self.consents.insert(person, before);
            }
            Undo::PutConsents { person, before: None } => {
                self.consents.remove(&person);
            }
            Undo::Unuse(id) => {
                self.used.remove(&id);
            }
        }
    }
}
