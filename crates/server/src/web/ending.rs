//! Ending what was signed in, and telling the applications (OpenID Connect Back-Channel Logout 1.0 section 2.7).

use std::sync::Arc;

use doorward_core::directory::Directory;
use doorward_core::grant::{session_end, settle};
use doorward_core::ids::{ClientId, PersonId, SessionId};
use doorward_core::session::{EndReason, Session};

use super::visit::{Browser, sid_of};
use super::{Page, Stop};
use crate::audit;
use crate::backchannel::{self, SignedOut};

/// More sessions than anybody has.
const MOST_SESSIONS: usize = 10_000;
/// With this an application stays signed in while the person is away (OpenID Connect Core 1.0 section 11).
const OFFLINE_ACCESS: &str = "offline_access";

/// Signs a browser out, and with it the applications that the person let in from there; those that may stay signed in
/// keep their tokens, and are told too.
///
/// The browser's own session ends last: whoever is told that it failed is still signed in, and can do it again.
pub(super) async fn sign_out(page: &Page, browser: &Browser) -> Result<(), Stop> {
    let session = &browser.session;
    let sid = sid_of(session);
    let mut telling = Telling::new(page).await?;
    let theirs = clients_sessions(page, browser).await?;
    for of_client in theirs.iter().filter(|session| is_from(session, sid)) {
        if !of_client.scopes.contains(OFFLINE_ACCESS) {
            end_one(page, of_client.id, &of_client.person).await?;
        }
        telling.tell(of_client);
    }
    end_one(page, session.id, &session.person).await.map(drop)
}

fn is_from(session: &Session, sid: SessionId) -> bool {
    session.terms.as_ref().and_then(|terms| terms.browser) == Some(sid)
}

/// Ends a session of the person's, if it is one, and tells its application.
pub(super) async fn end(page: &Page, browser: &Browser, id: SessionId) -> Result<(), Stop> {
    let mut telling = Telling::new(page).await?;
    let session = page.app.store.session(id).await?;
    if end_one(page, id, &browser.session.person).await?
        && let Some(session) = &session
    {
        telling.tell(session);
    }
    Ok(())
}

/// Ends all that an application was given by the person.
pub(super) async fn end_all_of(page: &Page, browser: &Browser, client: ClientId) -> Result<(), Stop> {
    let theirs = clients_sessions(page, browser).await?;
    let mut telling = Telling::new(page).await?;
    for session in theirs.iter().filter(|session| session.holder.client() == Some(client)) {
        end_one(page, session.id, &session.person).await?;
        telling.tell(session);
    }
    Ok(())
}

/// Ends the session that a browser had before `person` signed in there. Nobody can come back to it. If that was somebody else,
/// they are signed out.
pub(super) async fn replaced(page: &Page, person: &PersonId) -> Result<(), Stop> {
    let Some(before) = page.visit.browser() else { return Ok(()) };
    if before.session.person == *person {
        end_one(page, before.session.id, person).await.map(drop)
    } else {
        sign_out(page, before).await
    }
}

async fn clients_sessions(page: &Page, browser: &Browser) -> Result<Vec<Session>, Stop> {
    Ok(page.app.store.sessions_of(&browser.session.person, page.caller.now, MOST_SESSIONS).await?)
}

/// Ends a session, if it is live and `person`'s.
async fn end_one(page: &Page, session: SessionId, person: &PersonId) -> Result<bool, Stop> {
    let Page { app, caller, .. } = page;
    let end = session_end::End { session, person, why: EndReason::EndedByPerson, now: caller.now };
    let settled = settle(&*app.store, &end).await?;
    audit::record(settled.event.as_ref(), caller.address);
    Ok(settled.reply)
}

/// Tells applications, each once for a browser. What it must know is read before anything ends.
struct Telling<'a> {
    page: &'a Page,
    directory: Arc<Directory>,
    told: Vec<SignedOut>,
}

impl<'a> Telling<'a> {
    async fn new(page: &'a Page) -> Result<Self, Stop> {
        Ok(Self { page, directory: page.app.store.directory().await?, told: Vec::new() })
    }

    /// Tells the application whose session this is, if it is one's.
    fn tell(&mut self, session: &Session) {
        let application = session.holder.client().and_then(|client| self.directory.application_of(client));
        let sid = session.terms.as_ref().and_then(|terms| terms.browser);
        let (Some(application), Some(sid)) = (application, sid) else { return };
        let signed_out = SignedOut { application: application.clone(), person: session.person.clone(), sid };
        if !self.told.contains(&signed_out) {
            backchannel::tell(&self.page.app, signed_out.clone());
            self.told.push(signed_out);
        }
    }
}
