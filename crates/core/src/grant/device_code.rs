//! The device code grant (RFC 8628).
//!
//! 1. A client asks for a device code and a user code: [`open`] (section 3.1, 3.2).
//! 2. A person types the user code, sees who asks, and decides: [`Decide`] (section 3.3).
//! 3. Meanwhile the client polls with the device code; the first poll after the approval redeems it: [`Redeem`]
//!    (section 3.4, 3.5).

use std::sync::Arc;

use crate::assignment::Standing;
use crate::client::{GrantType, KnownClient};
use crate::consent::{Agreed, Kept};
use crate::device::{DeviceRequest, DeviceState, Requester};
use crate::federated::Sources;
use crate::grant::{Approval, Decision, Found, Grant, TokenRequest};
use crate::ids::{ClientId, DeviceRequestId, PersonId};
use crate::refusal::Refusal;
use crate::scope::Scopes;
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

/// Step 1: the request of a client for `scopes`, or all it registered, open until it expires. They are frozen here.
///
/// # Errors
/// [`Refusal::UnauthorizedClient`] when the client did not register for this grant, [`Refusal::InvalidScope`] when it did
/// not register for the scopes.
pub fn open(
    client: &KnownClient,
    scopes: &Scopes,
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
        scopes: registration.scopes.narrow(scopes)?,
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
    /// The identity sources whose word counts.
    pub sources: &'a Sources,
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
    /// The application is not for this person.
    NotAdmitted,
}

impl Decision for Decide<'_> {
    type Snapshot = (Option<DeviceRequest>, Standing, Kept);
    type Reply = Decided;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        let request = store.device_request_by_code(self.user_code).await?;
        let standing = Standing::load(store, self.sources, Some(self.person)).await?;
        let is_of_application = |request: &DeviceRequest| {
            self.approve && standing.directory().application_of(request.client).is_some()
        };
        let kept = if request.as_ref().is_some_and(is_of_application) {
            Kept::load(store, self.person).await?
        } else {
            Kept::default()
        };
        Ok((request, standing, kept))
    }

    fn decide(&self, (request, standing, kept): &Self::Snapshot) -> Verdict<Decided> {
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
        let moved = |to| Change::MoveDeviceRequest { id, from: DeviceState::Pending, to };
        if !self.approve {
            let event = Event::DeviceDenied { request: id, person };
            return Verdict::change(Decided::Denied, moved(DeviceState::Denied), event);
        }
        let Some(principal) = standing.principal(self.person, self.authenticated_at, self.now) else {
            return Verdict::answer(Decided::PersonNotUsable);
        };
        let mut changes = Vec::new();
        if let Some(application) = standing.directory().application_of(request.client) {
            if !application.admits(self.person, principal.groups()) {
                return Verdict::answer(Decided::NotAdmitted);
            }
            // What was asked on this page need not be asked again in a browser.
            if application.consent {
                let agreed = Agreed { scopes: &request.scopes, audiences: &application.audiences };
                changes.push(kept.with(&application.client_id, &agreed, &principal, self.now));
            }
        }
        changes.insert(
            0,
            moved(DeviceState::Approved { by: person.clone(), authenticated_at: self.authenticated_at }),
        );
        let event = Some(Event::DeviceApproved { request: id, person });
        Verdict { reply: Decided::Approved, changes, event }
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
    const GOES_ON: bool = false;

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
        let approval = Approval {
            session: found.id.into(),
            person,
            granted: &found.scopes,
            authenticated_at,
            // Where somebody typed the code and how they had signed in there is not known to the device.
            terms: request.client.application().map(|_| Arc::default()),
        };
        match approval.start(request) {
            Err(refusal) => Verdict::answer(Err(refusal)),
            Ok((session, issued)) => Verdict {
                event: Some(Event::SessionStarted {
                    session: session.id,
                    person: person.clone(),
                    grant: Self::TYPE.as_str(),
                    client: request.client.registration().name.clone(),
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

    fn person(&self) -> Option<(&PersonId, Timestamp)> {
        match &self.state {
            DeviceState::Approved { by, authenticated_at } => Some((by, *authenticated_at)),
            DeviceState::Pending | DeviceState::Denied | DeviceState::Spent => None,
        }
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::Application;
    use crate::fixtures::{
        Asker, CLIENT, GRANTED, NOW, REGISTERED, REQUEST, USER_CODE, application, approved_by,
        device_request, just_before, later, person, requester, scopes, standing, standing_with,
    };
    use crate::session::{Holder, Session, SessionState};

    fn open_by(asker: &Asker) -> Result<DeviceRequest, Refusal> {
        let fresh = Fresh { id: REQUEST, user_code: USER_CODE };
        open(&asker.client, &Scopes::default(), &fresh, requester(), NOW, Lifetime::from_seconds(600))
    }

    #[test]
    fn ledger_11_a_request_is_bound_to_its_client_and_scopes_from_the_start() {
        let opened = open_by(&Asker::default()).unwrap();
        let expected = DeviceRequest { scopes: scopes(REGISTERED), ..device_request(DeviceState::Pending) };
        assert_eq!(opened, expected);
    }

    #[test]
    fn a_client_that_did_not_register_for_it_opens_nothing() {
        let asker = Asker::new(|registration| {
            registration.grants =
                [GrantType::AuthorizationCode, GrantType::RefreshToken].into_iter().collect();
        });
        assert_eq!(open_by(&asker), Err(Refusal::UnauthorizedClient));
    }

    /// What `name` decides about a pending request at `now`.
    fn decide(name: &str, approve: bool, now: Timestamp, request: Option<DeviceRequest>) -> Verdict<Decided> {
        let person = person(name);
        let decision = Decide {
            user_code: USER_CODE,
            shown: REQUEST,
            person: &person,
            authenticated_at: NOW,
            sources: &Sources::new(),
            approve,
            now,
        };
        decision.decide(&(request, standing(), Kept::default()))
    }

    /// The same of an application that is for `people`.
    fn decide_of_application(people: &str, consent: bool, kept: Kept) -> Verdict<Decided> {
        let application = Application { people: vec![person(people)], consent, ..application() };
        let request = DeviceRequest {
            client: ClientId::of_application(&application.client_id),
            scopes: scopes("openid email"),
            ..device_request(DeviceState::Pending)
        };
        let ann = person("ann");
        let decision = Decide {
            user_code: USER_CODE,
            shown: REQUEST,
            person: &ann,
            authenticated_at: NOW,
            sources: &Sources::new(),
            approve: true,
            now: later(30),
        };
        decision.decide(&(Some(request), standing_with(application), kept))
    }

    #[test]
    fn ledger_17_an_application_that_is_not_for_a_person_is_not_approved_by_them() {
        let verdict = decide_of_application("zed", true, Kept::default());
        assert_eq!(verdict, Verdict::answer(Decided::NotAdmitted));
    }

    #[test]
    fn an_approval_of_an_application_is_remembered_with_it() {
        let verdict = decide_of_application("ann", true, Kept::default());
        assert_eq!(verdict.reply, Decided::Approved);
        let [Change::MoveDeviceRequest { .. }, Change::PutConsents { from: 0, consents, .. }] =
            &*verdict.changes
        else {
            panic!("{verdict:?}");
        };
        let consent = &consents[&application().client_id];
        assert!(consent.covers(&scopes("email openid"), &application().audiences));
        assert_eq!(consent.given_at, later(30));
        // Nobody was asked for one whose people are not asked.
        assert_eq!(decide_of_application("ann", false, Kept::default()).changes.len(), 1);
    }

    #[test]
    fn an_approval_says_who_and_when_they_proved_it() {
        let verdict = decide("ann", true, later(30), Some(device_request(DeviceState::Pending)));
        let moved =
            Change::MoveDeviceRequest { id: REQUEST, from: DeviceState::Pending, to: approved_by("ann") };
        let event = Event::DeviceApproved { request: REQUEST, person: person("ann") };
        assert_eq!(verdict, Verdict::change(Decided::Approved, moved, event));
    }

    #[test]
    fn anybody_signed_in_may_deny_even_when_they_may_not_approve() {
        for name in ["ann", "bob", "nobody"] {
            let verdict = decide(name, false, NOW, Some(device_request(DeviceState::Pending)));
            let moved = Change::MoveDeviceRequest {
                id: REQUEST,
                from: DeviceState::Pending,
                to: DeviceState::Denied,
            };
            let event = Event::DeviceDenied { request: REQUEST, person: person(name) };
            assert_eq!(verdict, Verdict::change(Decided::Denied, moved, event));
        }
    }

    #[test]
    fn ledger_08_a_person_who_may_not_be_given_tokens_cannot_approve() {
        for name in ["bob", "nobody"] {
            let verdict = decide(name, true, NOW, Some(device_request(DeviceState::Pending)));
            assert_eq!(verdict, Verdict::answer(Decided::PersonNotUsable), "{name}");
        }
    }

    #[test]
    fn a_request_is_decided_once() {
        for state in [approved_by("ann"), approved_by("zed"), DeviceState::Denied, DeviceState::Spent] {
            for approve in [true, false] {
                let verdict = decide("ann", approve, NOW, Some(device_request(state.clone())));
                assert_eq!(verdict, Verdict::answer(Decided::Unknown), "{state:?}");
            }
        }
    }

    #[test]
    fn only_the_request_that_was_shown_is_decided() {
        let another = DeviceRequestId::from_bytes([99; 16]);
        let another = DeviceRequest { id: another, ..device_request(DeviceState::Pending) };
        for found in [Some(another), None] {
            for approve in [true, false] {
                let verdict = decide("ann", approve, NOW, found.clone());
                assert_eq!(verdict, Verdict::answer(Decided::Unknown), "{found:?}");
            }
        }
    }

    #[test]
    fn a_request_expires_exactly_at_its_expiry() {
        let at = |now| decide("ann", true, now, Some(device_request(DeviceState::Pending)));
        assert_eq!(at(just_before(later(600))).reply, Decided::Approved);
        assert_eq!(at(later(600)), Verdict::answer(Decided::Expired));
    }

    fn poll(state: DeviceState, scope: &str) -> Verdict<Result<Issued, Refusal>> {
        Redeem { id: REQUEST }.decide(&device_request(state), &Asker::default().asks(scope, later(40)))
    }

    #[test]
    fn a_poll_before_during_and_after_hears_what_rfc_8628_says() {
        for (state, refusal) in [
            (DeviceState::Pending, Refusal::AuthorizationPending),
            (DeviceState::Denied, Refusal::AccessDenied),
            (DeviceState::Spent, Refusal::InvalidGrant),
        ] {
            // A poll must cost no write, or polling would be a load on the disk.
            assert_eq!(poll(state, ""), Verdict::answer(Err(refusal)));
        }
    }

    #[test]
    fn the_first_poll_after_the_approval_spends_the_request_and_starts_its_session() {
        let verdict = poll(approved_by("ann"), "");
        let started = Session {
            id: REQUEST.into(),
            person: person("ann"),
            holder: Holder::Client { id: CLIENT, name: "cli".into() },
            scopes: scopes(GRANTED),
            created_at: later(40),
            authenticated_at: NOW,
            expires_at: later(40 + 28_800),
            generation: 0,
            rotated_at: later(40),
            state: SessionState::Live,
            terms: None,
        };
        let spend =
            Change::MoveDeviceRequest { id: REQUEST, from: approved_by("ann"), to: DeviceState::Spent };
        assert_eq!(verdict.changes, [spend, Change::StartSession(started)]);
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let event = Event::SessionStarted {
            session: REQUEST.into(),
            person: person("ann"),
            grant,
            client: "cli".into(),
        };
        assert_eq!(verdict.event, Some(event));
        let issued = verdict.reply.unwrap();
        assert_eq!((issued.expires_in, issued.refresh_generation), (3600, Some(0)));
        assert_eq!((issued.session, issued.person), (REQUEST.into(), person("ann")));
    }

    #[test]
    fn ledger_18_what_was_shown_for_approval_is_the_most_a_poll_yields() {
        // The client registered `email`, but this request was opened without it.
        assert_eq!(poll(approved_by("ann"), "email"), Verdict::answer(Err(Refusal::InvalidScope)));
        assert_eq!(poll(approved_by("ann"), "").reply.unwrap().scopes, scopes(GRANTED));
        assert_eq!(poll(approved_by("ann"), "openid").reply.unwrap().scopes, scopes("openid"));
    }

    #[test]
    fn a_request_leads_to_a_person_only_once_somebody_approved() {
        for state in [DeviceState::Pending, DeviceState::Denied, DeviceState::Spent] {
            assert_eq!(device_request(state).person(), None);
        }
        assert_eq!(device_request(approved_by("ann")).person(), Some((&person("ann"), NOW)));
        assert_eq!(device_request(DeviceState::Pending).client(), Some(CLIENT));
    }

    #[test]
    fn an_expired_request_stays_known_for_ten_minutes_more() {
        // The AWS CLI ends its polling on `expired_token` alone.
        assert_eq!(device_request(DeviceState::Pending).forget_at(), later(1200));
    }
}
