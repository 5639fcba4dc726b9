//! Grants: how an artefact becomes tokens.
//!
//! [`settle`] is the way of every decision: load what it depends on, decide, commit, and once more from the start
//! when something changed in between. [`redeem`] adds what every grant owes, so that a new grant cannot forget it:
//! the client registered for the grant, the artefact is that client's and has not expired, the person may still be
//! given tokens. What is left to a grant is its own rule, one file each.

use std::sync::Arc;

use crate::assignment::{Principal, Standing};
use crate::client::{GrantType, KnownClient};
use crate::consent::{Agreed, Kept};
use crate::federated::Sources;
use crate::ids::{ApplicationId, ClientId, PersonId, SessionId};
use crate::refusal::Refusal;
use crate::scope::{ACCOUNT_ACCESS, LEGACY_PORTAL, Scopes};
use crate::secret::KeyThumbprint;
use crate::session::{Holder, Session, SessionState, Terms};
use crate::store::{CommitError, Outage, Store};
use crate::time::{Lifetimes, Timestamp};
use crate::verdict::{Change, Event, Issued, Verdict};

#[cfg(test)]
mod application_tests;
pub mod authorization_code;
pub mod client_credentials;
pub mod device_code;
pub mod jwt_bearer;
pub mod refresh_token;
pub mod session_end;
pub mod token_exchange;

/// How often a decision is made again after a lost race. Each loss means that somebody else's write went through,
/// and after one of those the next decision is almost always to write nothing.
const MOST_ATTEMPTS: usize = 8;

/// A decision: what it depends on, and what follows from that.
pub trait Decision: Sync {
    /// What it depends on.
    type Snapshot: Send + Sync;
    /// What it answers.
    type Reply: Send;

    /// Reads what the decision depends on. Nobody but the store is called here.
    fn load(&self, store: &dyn Store) -> impl Future<Output = Result<Self::Snapshot, Outage>> + Send;

    /// Decides. May run more than once for one request.
    fn decide(&self, snapshot: &Self::Snapshot) -> Verdict<Self::Reply>;
}

/// A decision whose changes are committed.
#[derive(Debug)]
pub struct Settled<R> {
    /// What to answer.
    pub reply: R,
    /// What to record.
    pub event: Option<Event>,
}

/// Loads, decides and commits, and begins again when the commit was a conflict.
///
/// # Errors
/// [`Outage`] when the store fails, or when every attempt lost its race.
pub async fn settle<D: Decision>(store: &dyn Store, decision: &D) -> Result<Settled<D::Reply>, Outage> {
    for _ in 0..MOST_ATTEMPTS {
        let snapshot = decision.load(store).await?;
        let Verdict { reply, changes, event } = decision.decide(&snapshot);
        if changes.is_empty() {
            return Ok(Settled { reply, event });
        }
        match store.commit(changes).await {
            Ok(()) => return Ok(Settled { reply, event }),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Outage(outage)) => return Err(outage),
        }
    }
    Err(Outage(format!("a decision lost its race {MOST_ATTEMPTS} times")))
}

/// What CreateToken asks for, beside the artefact: the same for every grant.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// Who asks; its secret was checked.
    pub client: &'a KnownClient,
    /// `scope`; empty asks for everything granted.
    pub scopes: Scopes,
    /// The time of the request.
    pub now: Timestamp,
    /// How long things live.
    pub lifetimes: &'a Lifetimes,
    /// The identity sources whose word counts.
    pub sources: &'a Sources,
    /// `resource` (RFC 8707); empty asks for all that was granted.
    pub audiences: Vec<String>,
    /// The key that the caller proved to hold (RFC 9449); the tokens are bound to it.
    pub dpop_key: Option<KeyThumbprint>,
}

/// One grant.
pub trait Grant: Sync {
    /// What its artefact leads to.
    type Found: Found + Send + Sync;

    /// The grant type a client must have registered.
    const TYPE: GrantType;
    /// The refusal for an artefact that leads nowhere, or to another client.
    const UNKNOWN: Refusal;
    /// The refusal for an artefact that has expired.
    const EXPIRED: Refusal;
    /// Whether it goes on with a session, which ends when the person withdraws what they agreed to. If it begins one, what is
    /// kept of that must still cover it: what was withdrawn meanwhile was not agreed to.
    const GOES_ON: bool;

    /// Reads what the artefact leads to.
    fn load(&self, store: &dyn Store) -> impl Future<Output = Result<Option<Self::Found>, Outage>> + Send;

    /// The grant's own rule, after everything that every grant owes.
    fn decide(&self, found: &Self::Found, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>>;
}

/// What every grant's artefact leads to has these.
pub trait Found {
    /// The client it was made for.
    fn client(&self) -> Option<ClientId>;
    /// Whose tokens it leads to, and when that person had proved who they are; none until somebody has.
    fn person(&self) -> Option<(&PersonId, Timestamp)>;
    /// When it expires.
    fn expires_at(&self) -> Timestamp;
}

/// Redeems an artefact: the checks every grant owes, then the grant's own rule.
///
/// # Errors
/// [`Outage`] when the store fails; a refusal is part of the answer.
pub async fn redeem<G: Grant>(
    store: &dyn Store,
    grant: &G,
    request: &TokenRequest<'_>,
) -> Result<Settled<Result<Issued, Refusal>>, Outage> {
    settle(store, &Redemption { grant, request }).await
}

struct Redemption<'a, G> {
    grant: &'a G,
    request: &'a TokenRequest<'a>,
}

impl<G: Grant> Decision for Redemption<'_, G> {
    type Snapshot = (Option<G::Found>, Standing, Kept);
    type Reply = Result<Issued, Refusal>;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        let found = self.grant.load(store).await?;
        let person = found.as_ref().and_then(|found| found.person()).map(|(person, _)| person);
        let standing = Standing::load(store, self.request.sources, person).await?;
        let kept = match person {
            Some(person) if !G::GOES_ON => Kept::load(store, person).await?,
            Some(_) | None => Kept::default(),
        };
        Ok((found, standing, kept))
    }

    fn decide(&self, (found, standing, kept): &Self::Snapshot) -> Verdict<Self::Reply> {
        let (found, principal) = match self.check(found.as_ref(), standing) {
            Ok(checked) => checked,
            Err(refusal) => return Verdict::answer(Err(refusal)),
        };
        let verdict = self.grant.decide(found, self.request);
        match (&verdict.reply, principal) {
            (Ok(issued), Some(principal)) if !G::GOES_ON => {
                // The first token may have less than the session that begins with it.
                let session = verdict.changes.iter().find_map(|change| match change {
                    Change::StartSession(session) => Some(session),
                    _ => None,
                });
                let scopes = session.map_or(&issued.scopes, |session| &session.scopes);
                let agreed = Agreed { scopes, audiences: &issued.audiences };
                match consented(self.request, &agreed, &principal, kept) {
                    Ok(()) => verdict,
                    Err(refusal) => Verdict::answer(Err(refusal)),
                }
            }
            _ => verdict,
        }
    }
}

impl<G: Grant> Redemption<'_, G> {
    fn check<'f>(
        &self,
        found: Option<&'f G::Found>,
        standing: &Standing,
    ) -> Result<(&'f G::Found, Option<Principal>), Refusal> {
        let TokenRequest { client, scopes, now, .. } = self.request;
        client.may_use(G::TYPE)?;
        let found = found.filter(|found| found.client() == Some(client.id())).ok_or(G::UNKNOWN)?;
        if *now >= found.expires_at() {
            return Err(G::EXPIRED);
        }
        let principal = match found.person() {
            Some(person) => Some(admitted(client, standing, person, *now).ok_or(G::UNKNOWN)?),
            None => None,
        };
        proves_a_key(self.request)?;
        // What was granted is checked by the grant; nothing beyond the registration is granted to begin with.
        client.registration().scopes.narrow(scopes)?;
        Ok((found, principal))
    }
}

/// The person, who had proved who they are at that moment, if they pass the gate and the client is for them.
fn admitted(
    client: &KnownClient,
    standing: &Standing,
    (person, authenticated_at): (&PersonId, Timestamp),
    now: Timestamp,
) -> Option<Principal> {
    let principal = standing.principal(person, authenticated_at, now)?;
    let admits =
        client.application().is_none_or(|application| application.admits(person, principal.groups()));
    admits.then_some(principal)
}

/// Whether the client need not prove a key, or does.
///
/// # Errors
/// [`Refusal::InvalidDpopProof`] if not.
fn proves_a_key(request: &TokenRequest<'_>) -> Result<(), Refusal> {
    let must = request.client.application().is_some_and(|application| application.dpop_bound_access_tokens);
    if must && request.dpop_key.is_none() {
        let why = "this application's tokens are bound to a key: send a DPoP proof";
        return Err(Refusal::InvalidDpopProof(why.into()));
    }
    Ok(())
}

/// Whether a person who is not there to be asked agreed to this before, or need not be asked. Nothing is kept of tools: their
/// people are asked each time.
///
/// # Errors
/// [`Refusal::ConsentRequired`] if not.
fn consented(
    request: &TokenRequest<'_>,
    agreed: &Agreed<'_>,
    principal: &Principal,
    kept: &Kept,
) -> Result<(), Refusal> {
    let covered = request.client.application().is_none_or(|application| {
        !application.consent || kept.covers(&application.client_id, agreed, principal, request.now)
    });
    if covered { Ok(()) } else { Err(Refusal::ConsentRequired) }
}

/// An access token that no session begins or goes on with: it comes alone, and nothing is written for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessOnly {
    /// Whom it is about.
    pub subject: Subject,
    /// What it may do.
    pub scopes: Scopes,
    /// The resources that it is for; at least one, unless it is an application's own.
    pub audiences: Vec<String>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// `expires_in`, in seconds.
    pub expires_in: u32,
    /// The key that it is bound to (RFC 9449 section 6).
    pub dpop_key: Option<KeyThumbprint>,
    /// Who acts for the subject, and for whom each of them acts (RFC 8693 section 4.1): the last one first.
    pub actors: Vec<String>,
}

impl AccessOnly {
    /// The same as what was issued of a session, if it is about a person.
    #[must_use]
    pub fn issued(&self) -> Option<Issued> {
        let Subject::Person { person, session, authenticated_at, terms } = &self.subject else { return None };
        Some(Issued {
            session: *session,
            person: person.clone(),
            scopes: self.scopes.clone(),
            access_expires_at: self.expires_at,
            expires_in: self.expires_in,
            refresh_generation: None,
            authenticated_at: *authenticated_at,
            audiences: self.audiences.clone(),
            dpop_key: self.dpop_key,
            terms: terms.clone(),
        })
    }
}

/// Whom an access token is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A person, as long as a session is live.
    Person {
        /// Who.
        person: PersonId,
        /// The session, which the token dies with.
        session: SessionId,
        /// When the person had proved who they are.
        authenticated_at: Timestamp,
        /// The terms of the session.
        terms: Option<Arc<Terms>>,
    },
    /// An application that acts for itself: its `client_id`.
    Application(ApplicationId),
}

/// The scopes that are about a person, or open the portal. An application that acts for itself gets none of them.
const OF_PEOPLE: [&str; 8] = [
    "openid",
    "profile",
    "email",
    "groups",
    "offline_access",
    "sts:identity_context",
    ACCOUNT_ACCESS,
    LEGACY_PORTAL,
];

/// What a person approved, on the way to becoming a session.
#[derive(Debug)]
pub struct Approval<'a> {
    /// The id the session will have.
    pub session: SessionId,
    /// Who approved.
    pub person: &'a PersonId,
    /// The scopes that were approved.
    pub granted: &'a Scopes,
    /// When the person had proved who they are.
    pub authenticated_at: Timestamp,
    /// What was agreed on beside the scopes, if the client is an application.
    pub terms: Option<Arc<Terms>>,
}

impl Approval<'_> {
    /// The session that begins with this approval, and its first tokens.
    ///
    /// # Errors
    /// [`Refusal::InvalidScope`] and [`Refusal::InvalidTarget`] when more is asked for than was approved.
    pub(crate) fn start(&self, request: &TokenRequest<'_>) -> Result<(Session, Issued), Refusal> {
        let scopes = self.granted.narrow(&request.scopes)?;
        let lifetimes = request.lifetimes;
        // Registering no scopes must not be a way around an operator's short sessions.
        let lifetime = if self.granted.is_empty() {
            lifetimes.legacy_access_token.min(lifetimes.session)
        } else {
            request.client.session_lifetime(lifetimes)
        };
        let terms = self.terms.as_ref().map(|terms| match (terms.dpop_key, request.dpop_key) {
            // The refresh tokens of a public client are bound to the key that it proves first (RFC 9449 section 5).
            (None, Some(key)) if request.client.is_public() => {
                Arc::new(Terms { dpop_key: Some(key), ..Terms::clone(terms) })
            }
            _ => Arc::clone(terms),
        });
        let session = Session {
            id: self.session,
            person: self.person.clone(),
            holder: Holder::Client {
                id: request.client.id(),
                name: request.client.registration().name.clone(),
            },
            scopes: self.granted.clone(),
            created_at: request.now,
            authenticated_at: self.authenticated_at,
            expires_at: request.now.plus(lifetime),
            generation: 0,
            rotated_at: request.now,
            state: SessionState::Live,
            terms,
        };
        let issued = issue(&session, 0, scopes, request)?;
        Ok((session, issued))
    }
}

/// The tokens of `session` at `generation`. A legacy session, one without scopes, gets no refresh token, nor does an
/// application that may not refresh.
///
/// # Errors
/// [`Refusal::InvalidScope`] when an administrator took all those scopes from the application; [`Refusal::InvalidTarget`]
/// when more resources are asked for than were granted.
pub(crate) fn issue(
    session: &Session,
    generation: u32,
    scopes: Scopes,
    request: &TokenRequest<'_>,
) -> Result<Issued, Refusal> {
    let legacy = session.scopes.is_empty();
    let (scopes, audiences) = match request.client.application() {
        None => (scopes, Vec::new()),
        Some(application) => {
            let scopes = scopes.intersection(&application.scopes);
            if scopes.is_empty() {
                return Err(Refusal::InvalidScope);
            }
            let granted = session.terms.as_ref().map_or(&[][..], |terms| &terms.audiences);
            (scopes, application.audiences(granted, &request.audiences)?)
        }
    };
    let lifetime = if legacy {
        request.lifetimes.legacy_access_token
    } else {
        request.client.access_token_lifetime(request.lifetimes)
    };
    let access_expires_at = request.now.plus(lifetime).min(session.expires_at);
    let refreshes =
        request.client.application().is_none() || request.client.may_use(GrantType::RefreshToken).is_ok();
    Ok(Issued {
        session: session.id,
        person: session.person.clone(),
        scopes,
        access_expires_at,
        expires_in: request.now.seconds_until(access_expires_at),
        refresh_generation: (refreshes && !legacy).then_some(generation),
        authenticated_at: session.authenticated_at,
        audiences,
        dpop_key: request.dpop_key,
        terms: session.terms.clone(),
    })
}

/// Whether a request proves the key that something is bound to, if it is bound to one.
pub(crate) fn holds_key(bound: Option<KeyThumbprint>, request: &TokenRequest<'_>) -> bool {
    bound.is_none_or(|key| request.dpop_key == Some(key))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::client::{GrantTypes, Registration};
    use crate::device::DeviceState;
    use crate::directory::DirectoryFile;
    use crate::fixtures::{
        Asker, CHALLENGE, CODE, GRANTED, NOW, OTHER_CLIENT, REDIRECT_URI, REQUEST, Rows, SESSION, TestStore,
        USER_CODE, approved_by, block_on, code, device_request, directory, later, person, scopes, session,
    };
    use crate::session::EndReason;
    use crate::time::Lifetime;
    use crate::verdict::Change;

    /// Replies with how often it was decided, and wants to write each time.
    #[derive(Default)]
    struct Counted(Mutex<u32>);

    impl Decision for Counted {
        type Snapshot = ();
        type Reply = u32;

        async fn load(&self, store: &dyn Store) -> Result<(), Outage> {
            store.directory().await.map(drop)
        }

        fn decide(&self, (): &()) -> Verdict<u32> {
            let mut decided = self.0.lock().unwrap();
            *decided += 1;
            let start = Change::StartSession(session());
            let event = Event::Refreshed { session: SESSION, generation: *decided };
            Verdict::change(*decided, start, event)
        }
    }

    fn conflicts(count: usize) -> impl Iterator<Item = CommitError> {
        std::iter::repeat_n(CommitError::Conflict, count)
    }

    fn outage() -> Outage {
        Outage("the disk is full".into())
    }

    #[test]
    fn a_lost_race_is_decided_again_and_only_the_winner_is_told_of() {
        for lost in 0..MOST_ATTEMPTS {
            let store = TestStore::default().failing(conflicts(lost));
            let settled = block_on(settle(&store, &Counted::default())).unwrap();
            let attempts = u32::try_from(lost).unwrap() + 1;
            assert_eq!(settled.reply, attempts);
            assert_eq!(settled.event, Some(Event::Refreshed { session: SESSION, generation: attempts }));
            assert!(store.rows().sessions.contains_key(&SESSION));
        }
    }

    #[test]
    fn eight_lost_races_are_an_outage() {
        let (store, decision) = (TestStore::default().failing(conflicts(9)), Counted::default());
        block_on(settle(&store, &decision)).unwrap_err();
        assert_eq!((store.commits(), *decision.0.lock().unwrap()), (8, 8));
        assert!(store.rows().sessions.is_empty());
    }

    #[test]
    fn a_failed_commit_is_not_tried_again() {
        // The store could not tell whether it wrote: a second try might find its own first one and call it a race.
        let store = TestStore::default().failing([CommitError::Outage(outage())]);
        assert_eq!(block_on(settle(&store, &Counted::default())).unwrap_err(), outage());
        assert_eq!(store.commits(), 1);
        let after_a_race =
            TestStore::default().failing([CommitError::Conflict, CommitError::Outage(outage())]);
        assert_eq!(block_on(settle(&after_a_race, &Counted::default())).unwrap_err(), outage());
        assert_eq!(after_a_race.commits(), 2);
    }

    #[test]
    fn a_failed_read_decides_nothing() {
        let (store, decision) = (TestStore::default().down(), Counted::default());
        block_on(settle(&store, &decision)).unwrap_err();
        assert_eq!((store.commits(), *decision.0.lock().unwrap()), (0, 0));
    }

    #[test]
    fn what_changes_nothing_is_answered_without_a_commit() {
        let store = TestStore::new(Rows::with_people().with(session())).failing(conflicts(8));
        let replies = [
            redeem_in(&store, Artefact::Refresh(4), "", &Asker::default(), NOW).unwrap().reply.is_ok(),
            redeem_in(&store, Artefact::Device, "", &Asker::default(), NOW).unwrap().reply.is_ok(),
        ];
        assert_eq!((replies, store.commits()), ([true, false], 0));
    }

    /// What is redeemed, by each of the grants.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Artefact {
        Code,
        Device,
        Refresh(u32),
    }

    const ARTEFACTS: [Artefact; 3] = [Artefact::Code, Artefact::Device, Artefact::Refresh(5)];

    /// Every artefact, each of `name` and good until its own expiry.
    fn artefacts_of(name: &str) -> Rows {
        let theirs = Session { person: person(name), ..session() };
        Rows::with_people().with(theirs).with_request(device_request(approved_by(name)))
    }

    type Redeemed = Result<Settled<Result<Issued, Refusal>>, Outage>;

    fn redeem_in(
        store: &TestStore,
        artefact: Artefact,
        scope: &str,
        asker: &Asker,
        now: Timestamp,
    ) -> Redeemed {
        redeem_of("ann", store, artefact, &asker.asks(scope, now))
    }

    fn redeem_of(name: &str, store: &TestStore, artefact: Artefact, request: &TokenRequest<'_>) -> Redeemed {
        match artefact {
            Artefact::Code => {
                let code = authorization_code::Code { person: person(name), ..code() };
                let redeemed =
                    authorization_code::Redeem { code: &code, redirect_uri: REDIRECT_URI, proof: CHALLENGE };
                block_on(redeem(store, &redeemed, request))
            }
            Artefact::Device => block_on(redeem(store, &device_code::Redeem { id: REQUEST }, request)),
            Artefact::Refresh(generation) => {
                let redeemed = refresh_token::Redeem { session: SESSION, generation };
                block_on(redeem(store, &redeemed, request))
            }
        }
    }

    /// What makes an otherwise good request one to refuse.
    struct Flaw {
        name: &'static str,
        person: &'static str,
        registration: fn(&mut Registration),
        scope: &'static str,
        now: Timestamp,
        /// The refusals of a code, a device code and a refresh token.
        refusals: [Refusal; 3],
    }

    fn flaws() -> Vec<Flaw> {
        let good = || Flaw {
            name: "none",
            person: "ann",
            registration: |_| {},
            scope: "",
            now: NOW,
            refusals: [Refusal::InvalidGrant, Refusal::InvalidGrant, Refusal::InvalidRefreshToken],
        };
        let every = |refusal: Refusal| [refusal.clone(), refusal.clone(), refusal];
        vec![
            Flaw { name: "ledger 6, 8: disabled person", person: "bob", ..good() },
            Flaw { name: "ledger 6, 8: unknown person", person: "nobody", ..good() },
            Flaw { name: "ledger 10, 11: other client", registration: |r| r.id = OTHER_CLIENT, ..good() },
            Flaw {
                name: "expired artefact",
                now: later(28_800),
                refusals: [Refusal::InvalidGrant, Refusal::ExpiredToken, Refusal::InvalidRefreshToken],
                ..good()
            },
            Flaw {
                name: "ledger 17: client not registered for the grant",
                registration: |r| r.grants = std::iter::empty().collect::<GrantTypes>(),
                refusals: every(Refusal::UnauthorizedClient),
                ..good()
            },
            Flaw {
                name: "ledger 18: registered scope beyond the grant",
                scope: "openid email",
                refusals: every(Refusal::InvalidScope),
                ..good()
            },
            Flaw {
                name: "ledger 18: granted scope beyond the registration",
                registration: |r| r.scopes = scopes("email"),
                scope: GRANTED,
                refusals: every(Refusal::InvalidScope),
                ..good()
            },
        ]
    }

    // Holds: ledger-06
    #[test]
    fn every_grant_passes_the_gate() {
        for artefact in ARTEFACTS {
            let store = TestStore::new(artefacts_of("ann"));
            let redeemed = redeem_in(&store, artefact, "", &Asker::default(), NOW).unwrap();
            assert!(redeemed.reply.is_ok(), "without a flaw, {artefact:?} is good");
        }
        for flaw in flaws() {
            let asker = Asker::new(flaw.registration);
            for (artefact, refusal) in ARTEFACTS.into_iter().zip(flaw.refusals) {
                let store = TestStore::new(artefacts_of(flaw.person));
                let request = asker.asks(flaw.scope, flaw.now);
                let settled = redeem_of(flaw.person, &store, artefact, &request).unwrap();
                assert_eq!(settled.reply, Err(refusal), "{artefact:?}: {}", flaw.name);
                assert_eq!(settled.event, None, "{artefact:?}: {}", flaw.name);
                assert_eq!(store.commits(), 0, "{artefact:?}: {}", flaw.name);
            }
        }
    }

    #[test]
    fn every_artefact_expires_exactly_at_its_expiry() {
        let expiries = [later(300), later(600), later(28_800)];
        let refusals = [Refusal::InvalidGrant, Refusal::ExpiredToken, Refusal::InvalidRefreshToken];
        for ((artefact, expires_at), refusal) in ARTEFACTS.into_iter().zip(expiries).zip(refusals) {
            let at = |now| {
                let store = TestStore::new(artefacts_of("ann"));
                redeem_in(&store, artefact, "", &Asker::default(), now).unwrap().reply
            };
            assert!(at(crate::fixtures::just_before(expires_at)).is_ok(), "{artefact:?}");
            assert_eq!(at(expires_at), Err(refusal), "{artefact:?}");
        }
    }

    #[test]
    fn a_pending_request_expires_too() {
        let rows = Rows::with_people().with_request(device_request(DeviceState::Pending));
        let at = |now| {
            let store = TestStore::new(rows.clone());
            redeem_in(&store, Artefact::Device, "", &Asker::default(), now).unwrap().reply
        };
        assert_eq!(at(later(599)), Err(Refusal::AuthorizationPending));
        assert_eq!(at(later(600)), Err(Refusal::ExpiredToken));
    }

    #[test]
    fn an_artefact_that_leads_nowhere_is_unknown() {
        for (artefact, refusal) in
            [(Artefact::Device, Refusal::InvalidGrant), (Artefact::Refresh(5), Refusal::InvalidRefreshToken)]
        {
            let store = TestStore::new(Rows::with_people());
            let settled = redeem_in(&store, artefact, "", &Asker::default(), NOW).unwrap();
            assert_eq!(settled.reply, Err(refusal));
        }
    }

    #[test]
    fn a_browsers_session_has_no_refresh_token() {
        let rows = Rows::with_people().with(Session { holder: Holder::Browser, ..session() });
        let store = TestStore::new(rows);
        let settled = redeem_in(&store, Artefact::Refresh(5), "", &Asker::default(), NOW).unwrap();
        assert_eq!(settled.reply, Err(Refusal::InvalidRefreshToken));
    }

    #[test]
    fn ledger_28_an_outage_is_never_a_refusal() {
        for artefact in ARTEFACTS {
            // Even of what would be refused: whether it would be, nobody can tell.
            for name in ["ann", "bob"] {
                let store = TestStore::new(artefacts_of(name)).down();
                redeem_of(name, &store, artefact, &Asker::default().asks("", NOW)).unwrap_err();
            }
            let store = TestStore::new(artefacts_of("ann")).failing([CommitError::Outage(outage())]);
            let redeemed = redeem_in(&store, artefact, "", &Asker::default(), NOW);
            assert_eq!(redeemed.unwrap_err(), outage(), "{artefact:?}");
        }
    }

    #[test]
    fn ledger_01_the_loser_of_a_refresh_race_gets_the_winners_successor() {
        let store = TestStore::new(artefacts_of("ann")).with_rival(vec![Change::Rotate {
            id: SESSION,
            from: 5,
            to: 6,
            at: NOW,
        }]);
        let settled = redeem_in(&store, Artefact::Refresh(5), "", &Asker::default(), NOW).unwrap();
        assert_eq!(settled.reply.unwrap().refresh_generation, Some(6));
        assert_eq!((settled.event, store.commits()), (None, 1));
        assert_eq!(store.rows().sessions[&SESSION].generation, 6);
    }

    #[test]
    fn ledger_04_a_refresh_that_races_a_logout_gets_nothing() {
        let end = Change::EndSession { id: SESSION, at: NOW, why: EndReason::Logout };
        let store = TestStore::new(artefacts_of("ann")).with_rival(vec![end]);
        let settled = redeem_in(&store, Artefact::Refresh(5), "", &Asker::default(), NOW).unwrap();
        assert_eq!(settled.reply, Err(Refusal::InvalidRefreshToken));
        assert_eq!(store.rows().sessions[&SESSION].generation, 5);
    }

    // Holds: ledger-04
    #[test]
    fn a_logout_that_races_a_refresh_still_ends_the_session() {
        let rotate = Change::Rotate { id: SESSION, from: 5, to: 6, at: NOW };
        let store = TestStore::new(artefacts_of("ann")).with_rival(vec![rotate]);
        let ann = person("ann");
        let end = session_end::End { session: SESSION, person: &ann, why: EndReason::Logout, now: NOW };
        assert!(block_on(settle(&store, &end)).unwrap().reply);
        assert!(!store.rows().sessions[&SESSION].is_live(NOW));
    }

    #[test]
    fn the_loser_of_a_code_race_ends_the_session_of_the_winner() {
        let start = Change::StartSession(Session { id: CODE.into(), ..session() });
        let store = TestStore::new(Rows::with_people()).with_rival(vec![start]);
        let settled = redeem_in(&store, Artefact::Code, "", &Asker::default(), NOW).unwrap();
        assert_eq!(settled.reply, Err(Refusal::InvalidGrant));
        let why = EndReason::CodeReplayed;
        assert_eq!(store.rows().sessions[&CODE.into()].state, SessionState::Ended { at: NOW, why });
    }

    #[test]
    fn the_loser_of_a_device_race_gets_nothing_and_leaves_the_winner_its_session() {
        let spend =
            Change::MoveDeviceRequest { id: REQUEST, from: approved_by("ann"), to: DeviceState::Spent };
        let start = Change::StartSession(Session { id: REQUEST.into(), ..session() });
        let store = TestStore::new(artefacts_of("ann")).with_rival(vec![spend, start]);
        let settled = redeem_in(&store, Artefact::Device, "", &Asker::default(), NOW).unwrap();
        assert_eq!(settled.reply, Err(Refusal::InvalidGrant));
        assert!(store.rows().sessions[&REQUEST.into()].is_live(NOW));
    }

    #[test]
    fn of_two_people_who_decide_about_one_request_the_first_does() {
        let deny =
            Change::MoveDeviceRequest { id: REQUEST, from: DeviceState::Pending, to: DeviceState::Denied };
        let rows = Rows::with_people().with_request(device_request(DeviceState::Pending));
        let store = TestStore::new(rows).with_rival(vec![deny]);
        let ann = person("ann");
        let approve = device_code::Decide {
            user_code: USER_CODE,
            shown: REQUEST,
            person: &ann,
            authenticated_at: NOW,
            sources: &Sources::new(),
            approve: true,
            now: NOW,
        };
        let settled = block_on(settle(&store, &approve)).unwrap();
        assert_eq!((settled.reply, settled.event), (device_code::Decided::Unknown, None));
        assert_eq!(store.rows().requests[&REQUEST].state, DeviceState::Denied);
    }

    #[test]
    fn ledger_08_a_person_disabled_during_a_lost_race_gets_nothing() {
        for artefact in [Artefact::Device, Artefact::Refresh(5)] {
            // The rival empties the directory, and another write makes the commit a conflict.
            let nobody = directory().replaced_by(DirectoryFile::default(), NOW);
            let store =
                TestStore::new(artefacts_of("ann")).with_rival(vec![nobody]).failing([CommitError::Conflict]);
            let settled = redeem_in(&store, artefact, "", &Asker::default(), NOW).unwrap();
            assert!(settled.reply.is_err(), "{artefact:?}");
        }
    }

    /// The session and first tokens of an approval of `granted` scopes under `edit`ed lifetimes.
    fn start(granted: &str, edit: impl FnOnce(&mut Lifetimes)) -> (Session, Issued) {
        let mut asker = Asker::default();
        edit(&mut asker.lifetimes);
        let approval = Approval {
            session: SESSION,
            person: &person("ann"),
            granted: &scopes(granted),
            authenticated_at: NOW,
            terms: None,
        };
        approval.start(&asker.asks("", later(9))).unwrap()
    }

    #[test]
    fn a_legacy_session_lasts_eight_hours_and_gets_no_refresh_token() {
        let (session, issued) = start("", |_| {});
        assert_eq!(session.expires_at, later(9 + 28_800));
        assert_eq!(issued.access_expires_at, session.expires_at);
        assert_eq!((issued.expires_in, issued.refresh_generation), (28_800, None));
        // A longer session is for those who can refresh.
        let week = Lifetime::from_seconds(604_800);
        let (session, issued) = start("", |lifetimes| lifetimes.session = week);
        assert_eq!(session.expires_at, later(9 + 28_800));
        assert_eq!(issued.expires_in, 28_800);
    }

    #[test]
    fn a_client_without_scopes_does_not_outlast_the_sessions_of_the_others() {
        // An operator who wants people to sign in each hour means every client.
        let hour = Lifetime::from_seconds(3600);
        let (session, issued) = start("", |lifetimes| lifetimes.session = hour);
        assert_eq!(session.expires_at, later(9 + 3600));
        assert_eq!(issued.access_expires_at, session.expires_at);
    }

    #[test]
    fn the_first_access_token_does_not_outlive_a_session_shorter_than_it() {
        let (session, issued) = start(GRANTED, |lifetimes| lifetimes.session = Lifetime::from_seconds(900));
        assert_eq!(issued.access_expires_at, session.expires_at);
        assert_eq!((issued.expires_in, issued.refresh_generation), (900, Some(0)));
    }
}

#[cfg(test)]
mod properties;
