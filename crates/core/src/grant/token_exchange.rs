//! Token exchange (RFC 8693): an application that was given somebody's access token gets another one, to act for them at the
//! next resource.
//!
//! What comes out never exceeds what went in: no more scopes, no longer, for nobody else, and for the resources alone that
//! the application's policy names. It dies with the session of the first. Nothing is written.

use std::sync::Arc;

use crate::application::Application;
use crate::assignment::Standing;
use crate::client::GrantType;
use crate::consent::{Agreed, Kept};
use crate::grant::{AccessOnly, Decision, Subject, TokenRequest, admitted, consented, proves_a_key};
use crate::ids::{ApplicationId, SessionId};
use crate::refusal::Refusal;
use crate::scope::{ACCOUNT_ACCESS, LEGACY_PORTAL, Scopes};
use crate::session::Session;
use crate::store::{Outage, Store};
use crate::time::Timestamp;
use crate::verdict::{Event, Verdict};

/// How many may have acted one for the other.
pub const MOST_ACTORS: usize = 5;

/// An access token of this server, good at this moment, that is to be exchanged (`subject_token`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// To which application it was given; none if to a tool that registered itself.
    pub application: Option<ApplicationId>,
    /// Which application it is about, if it is about one and not about a person: another than that it was given to, when it
    /// came of an exchange itself.
    pub subject: Option<ApplicationId>,
    /// The session that it dies with; none if it is about an application.
    pub session: Option<SessionId>,
    /// What it may do.
    pub scopes: Scopes,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Who acts by it, the last one first.
    pub actors: Vec<String>,
}

/// An exchange.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What is exchanged.
    pub source: &'a Source,
    /// Whether the application has shown by a token of its own that it is the one that acts (`actor_token`).
    pub names_actor: bool,
    /// Who asks, and what for; its audiences are those of `resource` and `audience`.
    pub request: &'a TokenRequest<'a>,
}

/// What an exchange depends on.
#[derive(Debug)]
pub struct Snapshot {
    session: Option<Session>,
    standing: Standing,
    kept: Kept,
}

impl Decision for Exchange<'_> {
    type Snapshot = Snapshot;
    type Reply = Result<AccessOnly, Refusal>;

    async fn load(&self, store: &dyn Store) -> Result<Snapshot, Outage> {
        let session = match self.source.session {
            Some(id) => store.session(id).await?,
            None => None,
        };
        let person = session.as_ref().map(|session| &session.person);
        let standing = Standing::load(store, self.request.sources, person).await?;
        let kept = match person {
            Some(person) => Kept::load(store, person).await?,
            None => Kept::default(),
        };
        Ok(Snapshot { session, standing, kept })
    }

    fn decide(&self, snapshot: &Snapshot) -> Verdict<Self::Reply> {
        match self.exchange(snapshot) {
            Ok((token, event)) => Verdict { reply: Ok(token), changes: Vec::new(), event: Some(event) },
            Err(refusal) => Verdict::answer(Err(refusal)),
        }
    }
}

/// The subject token is of no use here (RFC 8693 section 2.2.2).
fn unacceptable() -> Refusal {
    Refusal::InvalidRequest("subject_token is not one that this application may exchange".into())
}

/// Whether the application that holds a session stands by it, if it is one.
fn goes_on(session: &Session, standing: &Standing) -> bool {
    let holder = session.holder.client().and_then(|holder| standing.directory().application_of(holder));
    holder.is_none_or(|holder| holder.stands_by(session.terms.as_deref()))
}

impl Exchange<'_> {
    fn exchange(&self, snapshot: &Snapshot) -> Result<(AccessOnly, Event), Refusal> {
        let TokenRequest { client, now, lifetimes, dpop_key, .. } = self.request;
        client.may_use(GrantType::TokenExchange)?;
        // A client that proves nothing is whoever holds the token.
        let application = client.application().filter(|_| !client.is_public());
        let application = application.ok_or(Refusal::UnauthorizedClient)?;
        let policy = application.token_exchange.as_ref().ok_or(Refusal::UnauthorizedClient)?;
        proves_a_key(self.request)?;

        // An application that was removed since has no tokens.
        let from = self.source.application.as_ref().ok_or_else(unacceptable)?;
        let from = snapshot.standing.directory().application(from).ok_or_else(unacceptable)?;
        let is_from = |id: &ApplicationId| *id == from.client_id || Some(id) == from.arn.as_ref();
        if *now >= self.source.expires_at || !policy.subjects_of.iter().any(is_from) {
            return Err(unacceptable());
        }
        let scopes = self.scopes(application)?;
        let audiences = audiences(&policy.audiences, &self.request.audiences)?;
        let actors = self.actors(application)?;

        let lifetime = client.access_token_lifetime(lifetimes);
        let mut expires_at = now.plus(lifetime).min(self.source.expires_at);
        let subject = match (self.source.session, &snapshot.session) {
            (None, _) => {
                let subject = self.source.subject.as_ref().ok_or_else(unacceptable)?;
                let subject = snapshot.standing.directory().application(subject).ok_or_else(unacceptable)?;
                Subject::Application(subject.client_id.clone())
            }
            (Some(_), Some(session)) if session.is_live(*now) && goes_on(session, &snapshot.standing) => {
                let person = (&session.person, session.authenticated_at);
                let principal =
                    admitted(client, &snapshot.standing, person, *now).ok_or_else(unacceptable)?;
                // The resources are the administrator's policy, of which people are told nothing.
                let agreed = Agreed { scopes: &scopes, audiences: &[] };
                consented(self.request, &agreed, &principal, &snapshot.kept)?;
                expires_at = expires_at.min(session.expires_at);
                Subject::Person {
                    person: session.person.clone(),
                    session: session.id,
                    authenticated_at: session.authenticated_at,
                    terms: session.terms.clone(),
                }
            }
            (Some(_), Some(_) | None) => return Err(unacceptable()),
        };
        let event = Event::TokenExchanged {
            application: application.client_id.clone(),
            from: from.client_id.clone(),
            subject: match &subject {
                Subject::Person { person, .. } => person.clone().into(),
                Subject::Application(application) => application.clone().into(),
            },
            session: self.source.session,
            audiences: audiences.clone(),
        };
        let token = AccessOnly {
            subject,
            scopes,
            audiences,
            expires_at,
            expires_in: now.seconds_until(expires_at),
            dpop_key: *dpop_key,
            actors,
        };
        Ok((token, event))
    }

    /// Those that the first token and the application both have. The portal is not reached by an exchange: it would not
    /// see who acts.
    fn scopes(&self, application: &Arc<Application>) -> Result<Scopes, Refusal> {
        let common = self.source.scopes.intersection(&application.scopes);
        let common = common.filter(|scope| ![ACCOUNT_ACCESS, LEGACY_PORTAL].contains(&scope));
        let scopes = common.narrow(&self.request.scopes)?;
        if scopes.is_empty() { Err(Refusal::InvalidScope) } else { Ok(scopes) }
    }

    /// Who acts from now on. Without a word on that it is the application, unless nobody need know.
    fn actors(&self, application: &Arc<Application>) -> Result<Vec<String>, Refusal> {
        let before = &self.source.actors;
        let impersonates = !self.names_actor
            && application.token_exchange.as_ref().is_some_and(|policy| policy.impersonation);
        let client_id = application.client_id.as_str();
        // Whoever exchanges a token of its own once more has not become somebody else.
        if impersonates || before.first().is_some_and(|last| last == client_id) {
            return Ok(before.clone());
        }
        if before.len() >= MOST_ACTORS {
            let why = format!("subject_token has {MOST_ACTORS} actors, and more are not accepted");
            return Err(Refusal::InvalidRequest(why));
        }
        Ok(std::iter::once(client_id.to_owned()).chain(before.iter().cloned()).collect())
    }
}

/// The resources that are asked for, if the policy names them; all of the policy's if nothing is asked for.
fn audiences(allowed: &[String], requested: &[String]) -> Result<Vec<String>, Refusal> {
    let audiences = if requested.is_empty() { allowed } else { requested };
    if audiences.is_empty() || !audiences.iter().all(|audience| allowed.contains(audience)) {
        return Err(Refusal::InvalidTarget);
    }
    Ok(audiences.to_vec())
}

#[cfg(test)]
mod tests;
