//! The refresh token grant (RFC 6749 section 6), with rotation.
//!
//! A refresh token is a session's id and a generation, authenticated with a key of the server. What follows
//! depends on where that generation stands against the session's:
//!
//! | presented | answer |
//! | --- | --- |
//! | the current one | the next becomes current |
//! | the one before, within the grace window | the current one again; nothing is written |
//! | older, or the one before but late | refused, and the session ends: somebody holds a copy |
//! | newer, though authentic | the store is behind (restored, failed over): it catches up |
//!
//! The window exists because clients share one cached token between processes without a lock, and because an
//! answer can get lost; neither may sign anybody out.

use crate::client::GrantType;
use crate::grant::{Found, Grant, TokenRequest, issue};
use crate::ids::{ClientId, PersonId, SessionId};
use crate::refusal::Refusal;
use crate::session::{EndReason, Session, SessionState};
use crate::store::{Outage, Store};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Change, Event, Issued, Verdict};

/// A presented refresh token; its authenticity was checked.
#[derive(Clone, Copy, Debug)]
pub struct Redeem {
    /// Of which session.
    pub session: SessionId,
    /// Which generation.
    pub generation: u32,
}

/// Where a presented generation stands.
enum Standing {
    Current,
    Previous,
    Replayed,
    AheadOfStore,
}

impl Redeem {
    fn standing(self, session: &Session, now: Timestamp, grace: Lifetime) -> Standing {
        let within_grace = now < session.rotated_at.plus(grace);
        match self.generation.checked_sub(session.generation) {
            Some(0) => Standing::Current,
            Some(_) => Standing::AheadOfStore,
            None if self.generation + 1 == session.generation && within_grace => Standing::Previous,
            None => Standing::Replayed,
        }
    }
}

impl Grant for Redeem {
    type Found = Session;

    const TYPE: GrantType = GrantType::RefreshToken;
    const UNKNOWN: Refusal = Refusal::InvalidRefreshToken;
    const EXPIRED: Refusal = Refusal::InvalidRefreshToken;

    async fn load(&self, store: &dyn Store) -> Result<Option<Session>, Outage> {
        store.session(self.session).await
    }

    fn decide(&self, session: &Session, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>> {
        if session.state != SessionState::Live {
            return Verdict::answer(Err(Refusal::InvalidRefreshToken));
        }
        let scopes = match session.scopes.narrow(&request.scopes) {
            Ok(scopes) => scopes,
            Err(refusal) => return Verdict::answer(Err(refusal)),
        };
        let (id, at, stored) = (session.id, request.now, session.generation);
        let rotate = |next: u32, event: Event| {
            let issued = issue(session, next, scopes.clone(), request);
            Verdict::change(Ok(issued), Change::Rotate { id, from: stored, to: next, at }, event)
        };
        match self.standing(session, request.now, request.lifetimes.refresh_grace) {
            Standing::Current => match stored.checked_add(1) {
                Some(next) => rotate(next, Event::Refreshed { session: id, generation: next }),
                None => Verdict::answer(Err(Refusal::InvalidRefreshToken)),
            },
            Standing::Previous => Verdict::answer(Ok(issue(session, stored, scopes, request))),
            Standing::AheadOfStore => match self.generation.checked_add(1) {
                Some(next) => {
                    rotate(next, Event::StoreWasBehind { session: id, stored, presented: self.generation })
                }
                None => Verdict::answer(Err(Refusal::InvalidRefreshToken)),
            },
            Standing::Replayed => {
                let why = EndReason::RefreshTokenReplayed;
                Verdict::change(
                    Err(Refusal::InvalidRefreshToken),
                    Change::EndSession { id, at, why },
                    Event::SessionEnded { session: id, person: session.person.clone(), why },
                )
            }
        }
    }
}

impl Found for Session {
    fn client(&self) -> Option<ClientId> {
        self.holder.client()
    }

    fn person(&self) -> Option<&PersonId> {
        Some(&self.person)
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}
