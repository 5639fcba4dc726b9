//! Device requests in memory. A client polls every few seconds until somebody approves, which makes this the most
//! read table of all: the backends of one process answer from here.
//!
//! The table checks no state. It knows which ids and user codes are taken; guards belong to the backends.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use doorward_core::device::{DeviceRequest, DeviceState};
use doorward_core::ids::DeviceRequestId;
use doorward_core::secret::UserCodeHash;
use doorward_core::store::KeptRequests;
use doorward_core::time::Timestamp;

/// All device requests that are kept.
#[derive(Default)]
pub(crate) struct DeviceTable {
    requests: HashMap<DeviceRequestId, DeviceRequest>,
    by_code: HashMap<UserCodeHash, DeviceRequestId>,
    by_address: HashMap<IpAddr, usize>,
    by_forget_time: BTreeSet<(Timestamp, DeviceRequestId)>,
}

impl DeviceTable {
    /// The request with this id.
    pub(crate) fn get(&self, id: DeviceRequestId) -> Option<&DeviceRequest> {
        self.requests.get(&id)
    }

    /// The request with this user code.
    pub(crate) fn by_code(&self, code: UserCodeHash) -> Option<&DeviceRequest> {
        self.by_code.get(&code).and_then(|id| self.requests.get(id))
    }

    /// How many are kept.
    pub(crate) fn kept(&self, address: IpAddr) -> KeptRequests {
        KeptRequests {
            from_address: self.by_address.get(&address).copied().unwrap_or(0),
            total: self.requests.len(),
        }
    }

    /// Adds a request, unless its id or its user code is taken. Answers whether it was added.
    pub(crate) fn insert(&mut self, request: DeviceRequest) -> bool {
        if self.requests.contains_key(&request.id) || self.by_code.contains_key(&request.user_code) {
            return false;
        }
        self.by_code.insert(request.user_code, request.id);
        *self.by_address.entry(request.requester.address).or_default() += 1;
        self.by_forget_time.insert((request.forget_at(), request.id));
        self.requests.insert(request.id, request);
        true
    }

    /// Puts a request into another state and answers the one it was in.
    pub(crate) fn set_state(&mut self, id: DeviceRequestId, to: DeviceState) -> Option<DeviceState> {
        self.requests.get_mut(&id).map(|request| std::mem::replace(&mut request.state, to))
    }

    /// At most `limit` requests that may be forgotten at `now`, the oldest first.
    pub(crate) fn forgettable(&self, now: Timestamp, limit: usize) -> Vec<DeviceRequestId> {
        let due = self.by_forget_time.iter().take_while(|(forget_at, _)| *forget_at <= now);
        due.take(limit).map(|(_, id)| *id).collect()
    }

    /// Forgets a request.
    pub(crate) fn remove(&mut self, id: DeviceRequestId) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.by_code.remove(&request.user_code);
        self.by_forget_time.remove(&(request.forget_at(), id));
        if let Entry::Occupied(mut count) = self.by_address.entry(request.requester.address) {
            *count.get_mut() -= 1;
            // An address that nobody uses any more must not keep its place.
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}
