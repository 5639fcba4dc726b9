//! Grants: how an artefact becomes tokens.
//!
//! [`settle`] is the way of every decision: load what it depends on, decide, commit, and once more from the start
//! when something changed in between. [`redeem`] adds what every grant owes, so that a new grant cannot forget it:
//! the client registered for the grant, the artefact is that client's and has not expired, the person may still be
//! given tokens. What is left to a grant is its own rule, one file each.

use std::sync::Arc;

use crate::assignment::person_usable;
use crate::client::{GrantType, KnownClient};
use crate::directory::Directory;
use crate::ids::{ClientId, PersonId, SessionId};
use crate::refusal::Refusal;
use crate::scope::Scopes;
use crate::session::{Holder, Session, SessionState};
use crate::store::{CommitError, Outage, Store};
use crate::time::{Lifetimes, Timestamp};
use crate::verdict::{Event, Issued, Verdict};

pub mod authorization_code;
pub mod device_code;
pub mod refresh_token;
pub mod session_end;

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

    /// Reads what the artefact leads to.
    fn load(&self, store: &dyn Store) -> impl Future<Output = Result<Option<Self::Found>, Outage>> + Send;

    /// The grant's own rule, after everything that every grant owes.
    fn decide(&self, found: &Self::Found, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>>;
}

/// What every grant's artefact leads to has these.
pub trait Found {
    /// The client it was made for.
    fn client(&self) -> Option<ClientId>;
    /// Whose tokens it leads to, once that is known.
    fn person(&self) -> Option<&PersonId>;
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
    type Snapshot = (Option<G::Found>, Arc<Directory>);
    type Reply = Result<Issued, Refusal>;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        Ok((self.grant.load(store).await?, store.directory().await?))
    }

    fn decide(&self, (found, directory): &Self::Snapshot) -> Verdict<Self::Reply> {
        match self.check(found.as_ref(), directory) {
            Ok(found) => self.grant.decide(found, self.request),
            Err(refusal) => Verdict::answer(Err(refusal)),
        }
    }
}

impl<G: Grant> Redemption<'_, G> {
    fn check<'f>(&self, found: Option<&'f G::Found>, directory: &Directory) -> Result<&'f G::Found, Refusal> {
        let TokenRequest { client, scopes, now, .. } = self.request;
        client.may_use(G::TYPE)?;
        client.registration().scopes.narrow(scopes)?;
        let found = found.filter(|found| found.client() == Some(client.id())).ok_or(G::UNKNOWN)?;
        if *now >= found.expires_at() {
            return Err(G::EXPIRED);
        }
        if found.person().is_some_and(|person| person_usable(directory, person).is_none()) {
            return Err(G::UNKNOWN);
        }
        Ok(found)
    }
}

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
}

impl Approval<'_> {
    /// The session that begins with this approval, and its first tokens.
    ///
    /// # Errors
    /// [`Refusal::InvalidScope`] when more is asked for than was approved.
    pub(crate) fn start(&self, request: &TokenRequest<'_>) -> Result<(Session, Issued), Refusal> {
        let scopes = self.granted.narrow(&request.scopes)?;
        let lifetimes = request.lifetimes;
        let lifetime =
            if self.granted.is_empty() { lifetimes.legacy_access_token } else { lifetimes.session };
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
        };
        let issued = issue(&session, 0, scopes, request);
        Ok((session, issued))
    }
}

/// The tokens of `session` at `generation`. A legacy session, one without scopes, gets no refresh token.
pub(crate) fn issue(
    session: &Session,
    generation: u32,
    scopes: Scopes,
    request: &TokenRequest<'_>,
) -> Issued {
    let legacy = session.scopes.is_empty();
    let lifetime =
        if legacy { request.lifetimes.legacy_access_token } else { request.lifetimes.access_token };
    let access_expires_at = request.now.plus(lifetime).min(session.expires_at);
    Issued {
        session: session.id,
        person: session.person.clone(),
        scopes,
        access_expires_at,
        expires_in: request.now.seconds_until(access_expires_at),
        refresh_generation: (!legacy).then_some(generation),
    }
}
