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
