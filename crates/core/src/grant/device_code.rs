//! The device code grant (RFC 8628).
//!
//! 1. A client asks for a device code and a user code: [`open`] (section 3.1, 3.2).
//! 2. A person types the user code, sees who asks, and decides: [`Decide`] (section 3.3).
//! 3. Meanwhile the client polls with the device code; the first poll after the approval redeems it: [`Redeem`]
//!    (section 3.4, 3.5).

use std::sync::Arc;

use crate::assignment::person_usable;
use crate::client::{GrantType, KnownClient};
use crate::device::{DeviceRequest, DeviceState, Requester};
use crate::directory::Directory;
use crate::grant::{Approval, Decision, Found, Grant, TokenRequest};
use crate::ids::{ClientId, DeviceRequestId, PersonId};
use crate::refusal::Refusal;
use crate::secret::UserCodeHash;
use crate::store::{Outage, Store};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Change, Event, Issued, Verdict};

/// What step 1 depends on, beside the client.
#[derive(Debug)]
pub struct Fresh {
    /// An id, drawn at random.
    pub id: DeviceRequestId,
    /// A user code, drawn at random, hashed.
    pub user_code: UserCodeHash,
}

/// Step 1: the request of a client, open until it expires. Its scopes are frozen here.
///
/// # Errors
/// [`Refusal::UnauthorizedClient`] when the client did not register for this grant.
pub fn open(
    client: &KnownClient,
    fresh: &Fresh,
    requester: Requester,
    now: Timestamp,
    lifetime: Lifetime,
) -> Result<DeviceRequest, Refusal> {
    client.may_use(GrantType::DeviceCode)?;
    let registration = client.registration();
    Ok(DeviceRequest {
        id: fresh.id,
        user_code: fresh.user_code,
        client: client.id(),
        client_name: registration.name.clone(),
        scopes: registration.scopes.clone(),
        requester,
        created_at: now,
        expires_at: now.plus(lifetime),
        state: DeviceState::Pending,
    })
}

/// Step 2: a person's decision about the request with a user code.
#[derive(Debug)]
pub struct Decide<'a> {
    /// What the person typed, hashed.
    pub user_code: UserCodeHash,
    /// The request the person was shown. If the code has since come to mean another one, nothing is decided.
    pub shown: DeviceRequestId,
    /// Who decides.
    pub person: &'a PersonId,
    /// When that person had proved who they are.
    pub authenticated_at: Timestamp,
    /// Whether the person approves.
    pub approve: bool,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What became of a person's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// The request is approved; the client's next poll gets tokens.
    Approved,
    /// The request is denied.
    Denied,
    /// There is no such request, or somebody has already decided.
    Unknown,
    /// It expired before the decision.
    Expired,
    /// This person may not be given tokens.
    PersonNotUsable,
}

impl Decision for Decide<'_> {
    type Snapshot = (Option<DeviceRequest>, Arc<Directory>);
    type Reply = Decided;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        Ok((store.device_request_by_code(self.user_code).await?, store.directory().await?))
    }

    fn decide(&self, (request, directory): &Self::Snapshot) -> Verdict<Decided> {
        let Some(request) = request.as_ref().filter(|request| request.id == self.shown) else {
            return Verdict::answer(Decided::Unknown);
        };
        if request.state != DeviceState::Pending {
            return Verdict::answer(Decided::Unknown);
        }
        if self.now >= request.expires_at {
            return Verdict::answer(Decided::Expired);
        }
        let (id, person) = (request.id, self.person.clone());
        let (reply, to, event) = if !self.approve {
            (Decided::Denied, DeviceState::Denied, Event::DeviceDenied { request: id, person })
        } else if person_usable(directory, self.person).is_none() {
            return Verdict::answer(Decided::PersonNotUsable);
        } else {
            let to = DeviceState::Approved { by: person.clone(), authenticated_at: self.authenticated_at };
            (Decided::Approved, to, Event::DeviceApproved { request: id, person })
        };
        Verdict::change(reply, Change::MoveDeviceRequest { id, from: DeviceState::Pending, to }, event)
    }
}

/// Step 3: a poll with a device code.
#[derive(Debug)]
pub struct Redeem {
    /// The request the device code names; its authenticity was checked.
    pub id: DeviceRequestId,
}

impl Grant for Redeem {
    type Found = DeviceRequest;

    const TYPE: GrantType = GrantType::DeviceCode;
    const UNKNOWN: Refusal = Refusal::InvalidGrant;
    const EXPIRED: Refusal = Refusal::ExpiredToken;

    async fn load(&self, store: &dyn Store) -> Result<Option<DeviceRequest>, Outage> {
        store.device_request(self.id).await
    }

    fn decide(&self, found: &DeviceRequest, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>> {
        let (person, authenticated_at) = match &found.state {
            DeviceState::Pending => return Verdict::answer(Err(Refusal::AuthorizationPending)),
            DeviceState::Denied => return Verdict::answer(Err(Refusal::AccessDenied)),
            DeviceState::Spent => return Verdict::answer(Err(Refusal::InvalidGrant)),
            DeviceState::Approved { by, authenticated_at } => (by, *authenticated_at),
        };
        let approval =
            Approval { session: found.id.into(), person, granted: &found.scopes, authenticated_at };
        match approval.start(request) {
            Err(refusal) => Verdict::answer(Err(refusal)),
            Ok((session, issued)) => Verdict {
                event: Some(Event::SessionStarted {
                    session: session.id,
                    person: person.clone(),
                    grant: Self::TYPE.as_str(),
                }),
                reply: Ok(issued),
                changes: vec![
                    Change::MoveDeviceRequest {
                        id: found.id,
                        from: found.state.clone(),
                        to: DeviceState::Spent,
                    },
                    Change::StartSession(session),
                ],
            },
        }
    }
}

impl Found for DeviceRequest {
    fn client(&self) -> Option<ClientId> {
        Some(self.client)
    }

    fn person(&self) -> Option<&PersonId> {
        match &self.state {
            DeviceState::Approved { by, .. } => Some(by),
            DeviceState::Pending | DeviceState::Denied | DeviceState::Spent => None,
        }
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
