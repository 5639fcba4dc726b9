//! Ending a session by will: a tool logs out, or a person ends it.

use crate::grant::Decision;
use crate::ids::{PersonId, SessionId};
use crate::session::{EndReason, Session};
use crate::store::{Outage, Store};
use crate::time::Timestamp;
use crate::verdict::{Change, Event, Verdict};

/// Ends a session of a person, if it is live and theirs.
#[derive(Debug)]
pub struct End<'a> {
    /// Which session.
    pub session: SessionId,
    /// Whose it must be.
    pub person: &'a PersonId,
    /// Why it ends.
    pub why: EndReason,
    /// When.
    pub now: Timestamp,
}

impl Decision for End<'_> {
    type Snapshot = Option<Session>;
    /// Whether there was such a session to end.
    type Reply = bool;

    async fn load(&self, store: &dyn Store) -> Result<Option<Session>, Outage> {
        store.session(self.session).await
    }

    fn decide(&self, session: &Option<Session>) -> Verdict<bool> {
        match session {
            Some(session) if session.person == *self.person && session.is_live(self.now) => {
                let (id, why) = (session.id, self.why);
                let event = Event::SessionEnded { session: id, person: session.person.clone(), why };
                Verdict::change(true, Change::EndSession { id, at: self.now, why }, event)
            }
            _ => Verdict::answer(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, SESSION, just_before, later, person, session};
    use crate::session::{Holder, SessionState};

    fn decide(name: &str, why: EndReason, now: Timestamp, of: impl Into<Option<Session>>) -> Verdict<bool> {
        End { session: SESSION, person: &person(name), why, now }.decide(&of.into())
    }

    #[test]
    fn a_person_ends_their_own_session_for_the_reason_given() {
        let browser = Session { holder: Holder::Browser, ..session() };
        for (why, session) in [(EndReason::Logout, session()), (EndReason::EndedByPerson, browser)] {
            let end = Change::EndSession { id: SESSION, at: later(7), why };
            let event = Event::SessionEnded { session: SESSION, person: person("ann"), why };
            assert_eq!(decide("ann", why, later(7), session), Verdict::change(true, end, event));
        }
    }

    #[test]
    fn nobody_ends_the_session_of_somebody_else() {
        for name in ["bob", "Ann", "an"] {
            let verdict = decide(name, EndReason::EndedByPerson, NOW, session());
            assert_eq!(verdict, Verdict::answer(false), "{name}");
        }
    }

    #[test]
    fn a_session_ends_once() {
        let ended = SessionState::Ended { at: NOW, why: EndReason::RefreshTokenReplayed };
        let ended = Session { state: ended, ..session() };
        assert_eq!(decide("ann", EndReason::Logout, NOW, ended), Verdict::answer(false));
        assert_eq!(decide("ann", EndReason::Logout, NOW, None), Verdict::answer(false));
    }

    #[test]
    fn a_session_past_its_expiry_has_ended_by_itself() {
        let expires_at = session().expires_at;
        let at = |now| decide("ann", EndReason::Logout, now, session());
        assert!(at(just_before(expires_at)).reply);
        assert_eq!(at(expires_at), Verdict::answer(false));
    }
}
