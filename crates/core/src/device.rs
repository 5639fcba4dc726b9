//! Device authorization requests (RFC 8628).

use std::net::IpAddr;
use std::sync::Arc;

use crate::ids::{ClientId, DeviceRequestId, PersonId};
use crate::scope::Scopes;
use crate::secret::UserCodeHash;
use crate::time::{Lifetime, Timestamp};

/// How long an expired request stays known, so that a late poll hears `expired_token` and not `invalid_grant`: the
/// AWS CLI polls without a limit of its own and needs that answer to end.
pub const KNOWN_AFTER_EXPIRY: Lifetime = Lifetime::from_seconds(600);

/// A device authorization request: short-lived, and bound to its client from the start (RFC 8628 section 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// Its id; the device code is this id under a key of the server.
    pub id: DeviceRequestId,
    /// What the person types, hashed.
    pub user_code: UserCodeHash,
    /// Who asked.
    pub client: ClientId,
    /// `clientName`, for the person who approves.
    pub client_name: Arc<str>,
    /// What was asked for; frozen here, so that what is approved is what is issued.
    pub scopes: Scopes,
    /// Where the request came from, for the person who approves.
    pub requester: Requester,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: DeviceState,
}

/// Where a device request came from, as this server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The address of the peer, or the one a trusted proxy reported.
    pub address: IpAddr,
    /// The `User-Agent`, cut to 200 characters.
    pub user_agent: Option<String>,
}

/// What became of a device request. Each state holds what only it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// Nobody has decided.
    Pending,
    /// A person approved.
    Approved {
        /// Who.
        by: PersonId,
        /// When that person had proved who they are.
        authenticated_at: Timestamp,
    },
    /// A person denied.
    Denied,
    /// Its tokens were issued.
    Spent,
}

impl DeviceRequest {
    /// When the request may be forgotten.
    #[must_use]
    pub const fn forget_at(&self) -> Timestamp {
        self.expires_at.plus(KNOWN_AFTER_EXPIRY)
    }
}
