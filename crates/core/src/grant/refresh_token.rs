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
//! answer can get lost: a client that tries again within it is given what it missed.

use crate::client::GrantType;
use crate::grant::{Found, Grant, TokenRequest, holds_key, issue};
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
    const GOES_ON: bool = true;

    async fn load(&self, store: &dyn Store) -> Result<Option<Session>, Outage> {
        store.session(self.session).await
    }

    fn decide(&self, session: &Session, request: &TokenRequest<'_>) -> Verdict<Result<Issued, Refusal>> {
        if session.state != SessionState::Live {
            return Verdict::answer(Err(Refusal::InvalidRefreshToken));
        }
        let (id, at, stored) = (session.id, request.now, session.generation);
        let is_previous = match self.standing(session, at, request.lifetimes.refresh_grace) {
            Standing::Current | Standing::AheadOfStore => false,
            Standing::Previous => true,
            // Before any look at the scopes: whoever holds a copy learns nothing by asking for too much.
            Standing::Replayed => {
                let why = EndReason::RefreshTokenReplayed;
                return Verdict::change(
                    Err(Refusal::InvalidRefreshToken),
                    Change::EndSession { id, at, why },
                    Event::SessionEnded { session: id, person: session.person.clone(), why },
                );
            }
        };
        if !holds_key(session.terms.as_ref().and_then(|terms| terms.dpop_key), request) {
            return Verdict::answer(Err(Refusal::InvalidRefreshToken));
        }
        let application = request.client.application();
        if !application.is_none_or(|application| application.stands_by(session.terms.as_deref())) {
            return Verdict::answer(Err(Refusal::InvalidRefreshToken));
        }
        let scopes = match session.scopes.narrow(&request.scopes) {
            Ok(scopes) => scopes,
            Err(refusal) => return Verdict::answer(Err(refusal)),
        };
        if is_previous {
            return Verdict::answer(issue(session, stored, scopes, request));
        }
        let presented = self.generation;
        let Some(next) = presented.checked_add(1) else {
            return Verdict::answer(Err(Refusal::InvalidRefreshToken));
        };
        let event = if presented == stored {
            Event::Refreshed { session: id, generation: next }
        } else {
            Event::StoreWasBehind { session: id, stored, presented }
        };
        match issue(session, next, scopes, request) {
            Ok(issued) => {
                Verdict::change(Ok(issued), Change::Rotate { id, from: stored, to: next, at }, event)
            }
            Err(refusal) => Verdict::answer(Err(refusal)),
        }
    }
}

impl Found for Session {
    fn client(&self) -> Option<ClientId> {
        self.holder.client()
    }

    fn person(&self) -> Option<(&PersonId, Timestamp)> {
        Some((&self.person, self.authenticated_at))
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{
        Asker, CLIENT, GRANTED, NOW, SESSION, just_before, later, person, scopes, session,
    };
    use crate::scope::Scopes;
    use crate::session::Holder;

    type Outcome = Verdict<Result<Issued, Refusal>>;

    /// Presents `generation` to a session at generation 5 that was rotated at [`NOW`].
    fn present(generation: u32, now: Timestamp) -> Outcome {
        decide(&session(), generation, "", now)
    }

    fn decide(session: &Session, generation: u32, scope: &str, now: Timestamp) -> Outcome {
        Redeem { session: SESSION, generation }.decide(session, &Asker::default().asks(scope, now))
    }

    fn tokens(generation: u32, now: Timestamp) -> Issued {
        let access_expires_at = now.plus(Lifetime::from_seconds(3600));
        Issued {
            session: SESSION,
            person: person("ann"),
            scopes: scopes(GRANTED),
            access_expires_at,
            expires_in: 3600,
            refresh_generation: Some(generation),
            authenticated_at: NOW,
            audiences: Vec::new(),
            dpop_key: None,
            terms: None,
        }
    }

    fn refused() -> Outcome {
        Verdict::answer(Err(Refusal::InvalidRefreshToken))
    }

    fn refused_and_ended(at: Timestamp) -> Outcome {
        let why = EndReason::RefreshTokenReplayed;
        Verdict::change(
            Err(Refusal::InvalidRefreshToken),
            Change::EndSession { id: SESSION, at, why },
            Event::SessionEnded { session: SESSION, person: person("ann"), why },
        )
    }

    #[test]
    fn the_current_token_makes_the_next_one_current() {
        let now = later(2700);
        let rotate = Change::Rotate { id: SESSION, from: 5, to: 6, at: now };
        let event = Event::Refreshed { session: SESSION, generation: 6 };
        assert_eq!(present(5, now), Verdict::change(Ok(tokens(6, now)), rotate, event));
    }

    #[test]
    fn the_previous_token_within_the_window_writes_nothing() {
        for now in [NOW, later(1), just_before(later(60))] {
            assert_eq!(present(4, now), Verdict::answer(Ok(tokens(5, now))), "{now:?}");
        }
    }

    #[test]
    fn the_window_has_closed_at_its_last_second() {
        assert_eq!(present(4, later(60)), refused_and_ended(later(60)));
    }

    #[test]
    fn a_request_that_began_before_the_rotation_is_within_the_window() {
        // Its time was taken first, and then it lost the race.
        let now = just_before(NOW);
        assert_eq!(present(4, now), Verdict::answer(Ok(tokens(5, now))));
    }

    #[test]
    fn a_window_of_zero_seconds_forgives_nothing() {
        let mut asker = Asker::default();
        asker.lifetimes.refresh_grace = Lifetime::from_seconds(0);
        let verdict = Redeem { session: SESSION, generation: 4 }.decide(&session(), &asker.asks("", NOW));
        assert_eq!(verdict, refused_and_ended(NOW));
    }

    #[test]
    fn a_late_replay_ends_the_session_and_still_refuses() {
        for now in [later(60), later(61), later(3600), just_before(later(28_800))] {
            assert_eq!(present(4, now), refused_and_ended(now), "{now:?}");
        }
    }

    #[test]
    fn a_token_older_than_the_previous_one_is_a_replay_even_within_the_window() {
        for generation in 0..4 {
            assert_eq!(present(generation, NOW), refused_and_ended(NOW), "{generation}");
        }
    }

    #[test]
    fn ledger_03_rotations_in_one_millisecond_do_not_revive_an_old_token() {
        let twice_rotated = Session { generation: 2, rotated_at: NOW, ..session() };
        assert_eq!(decide(&twice_rotated, 0, "", NOW), refused_and_ended(NOW));
        assert_eq!(decide(&twice_rotated, 1, "", NOW).reply.unwrap().refresh_generation, Some(2));
    }

    #[test]
    fn the_first_token_of_a_session_has_no_previous_one() {
        let fresh = Session { generation: 0, ..session() };
        assert_eq!(decide(&fresh, 0, "", NOW).reply.unwrap().refresh_generation, Some(1));
    }

    #[test]
    fn an_authentic_token_newer_than_the_row_is_accepted_and_the_store_catches_up() {
        for presented in [6, 9, u32::MAX - 1] {
            let next = presented + 1;
            let rotate = Change::Rotate { id: SESSION, from: 5, to: next, at: NOW };
            let event = Event::StoreWasBehind { session: SESSION, stored: 5, presented };
            let expected = Verdict::change(Ok(tokens(next, NOW)), rotate, event);
            assert_eq!(present(presented, NOW), expected, "{presented}");
        }
    }

    #[test]
    fn the_last_generation_is_refused_and_nothing_wraps() {
        let worn_out = Session { generation: u32::MAX, ..session() };
        assert_eq!(decide(&worn_out, u32::MAX, "", NOW), refused());
        // The one before is still its predecessor, and the first one is not its successor.
        let again = decide(&worn_out, u32::MAX - 1, "", NOW);
        assert_eq!(again, Verdict::answer(Ok(tokens(u32::MAX, NOW))));
        assert_eq!(decide(&worn_out, 0, "", NOW), refused_and_ended(NOW));
        // The same when the store is behind.
        assert_eq!(present(u32::MAX, NOW), refused());
    }

    #[test]
    fn ledger_04_no_token_of_an_ended_session_is_good() {
        for why in [
            EndReason::Logout,
            EndReason::EndedByPerson,
            EndReason::RefreshTokenReplayed,
            EndReason::CodeReplayed,
        ] {
            let ended = Session { state: SessionState::Ended { at: NOW, why }, ..session() };
            for generation in [0, 4, 5, 6, u32::MAX] {
                assert_eq!(decide(&ended, generation, "", NOW), refused(), "{why:?} {generation}");
            }
        }
    }

    #[test]
    fn a_refresh_narrows_one_access_token_and_never_the_session() {
        for generation in [4, 5, 6] {
            let verdict = decide(&session(), generation, "openid", NOW);
            assert_eq!(verdict.reply.unwrap().scopes, scopes("openid"), "{generation}");
            for change in verdict.changes {
                assert!(matches!(change, Change::Rotate { .. }), "{change:?}");
            }
        }
    }

    #[test]
    fn ledger_18_a_refresh_yields_no_scope_that_was_not_granted() {
        // The client registered it, the person did not approve it.
        for generation in [4, 5, 6] {
            let verdict = decide(&session(), generation, "openid email", NOW);
            assert_eq!(verdict, Verdict::answer(Err(Refusal::InvalidScope)), "{generation}");
        }
    }

    #[test]
    fn an_access_token_never_outlives_its_session() {
        let expires_at = session().expires_at;
        for (now, expires_in) in [
            (later(28_800 - 3600), 3600),
            (later(28_800 - 3599), 3599),
            (later(28_800 - 1), 1),
            (just_before(expires_at), 0),
        ] {
            let issued = present(5, now).reply.unwrap();
            assert_eq!(issued.expires_in, expires_in);
            assert_eq!(issued.access_expires_at, expires_at.min(now.plus(Lifetime::from_seconds(3600))));
        }
    }

    #[test]
    fn a_session_without_scopes_gets_no_refresh_token_here_either() {
        let legacy = Session { scopes: Scopes::default(), ..session() };
        for generation in [4, 5, 6] {
            let issued = decide(&legacy, generation, "", NOW).reply.unwrap();
            assert_eq!(issued.refresh_generation, None, "{generation}");
        }
    }

    #[test]
    fn a_browsers_session_belongs_to_no_client() {
        assert_eq!(session().client(), Some(CLIENT));
        assert_eq!(Session { holder: Holder::Browser, ..session() }.client(), None);
        assert_eq!(Found::person(&session()), Some((&person("ann"), NOW)));
        assert_eq!(Found::expires_at(&session()), later(28_800));
    }
}
