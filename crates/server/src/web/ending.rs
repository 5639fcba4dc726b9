//! Ending what was signed in, and telling the applications (OpenID Connect Back-Channel Logout 1.0 section 2.7).

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
pub(super) async fn sign_out(page: &Page, browser: &Browser) -> Result<(), Stop> {
    let session = &browser.session;
    let sid = sid_of(session);
    end_one(page, session.id, &session.person).await?;
    let theirs = clients_sessions(page, browser).await?;
    let from_here = theirs.into_iter().filter(|session| is_from(session, sid));
    let (stay, go): (Vec<_>, Vec<_>) = from_here.partition(|session| session.scopes.contains(OFFLINE_ACCESS));
    for session in &go {
        end_one(page, session.id, &session.person).await?;
    }
    tell(page, stay.iter().chain(&go)).await
}

fn is_from(session: &Session, sid: SessionId) -> bool {
    session.terms.as_ref().and_then(|terms| terms.browser) == Some(sid)
}

/// Ends a session of the person's, if it is one, and tells its application.
pub(super) async fn end(page: &Page, browser: &Browser, id: SessionId) -> Result<(), Stop> {
    let session = page.app.store.session(id).await?;
    if end_one(page, id, &browser.session.person).await? {
        tell(page, session.iter()).await?;
    }
    Ok(())
}

/// Ends all that an application was given by the person.
pub(super) async fn end_all_of(page: &Page, browser: &Browser, client: ClientId) -> Result<(), Stop> {
    let theirs = clients_sessions(page, browser).await?;
    let theirs: Vec<_> =
        theirs.into_iter().filter(|session| session.holder.client() == Some(client)).collect();
    for session in &theirs {
        end_one(page, session.id, &session.person).await?;
    }
    tell(page, theirs.iter()).await
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

/// Tells the applications whose sessions these are, each once for a browser.
async fn tell(page: &Page, sessions: impl Iterator<Item = &Session>) -> Result<(), Stop> {
    let directory = page.app.store.directory().await?;
    let signed_out = sessions.filter_map(|session| {
        let application = directory.application_of(session.holder.client()?)?;
        let sid = session.terms.as_ref()?.browser?;
        Some(SignedOut { application: application.clone(), person: session.person.clone(), sid })
    });
    let mut told: Vec<SignedOut> = Vec::new();
    for signed_out in signed_out {
        if !told.contains(&signed_out) {
            backchannel::tell(&page.app, signed_out.clone());
            told.push(signed_out);
        }
    }
    Ok(())
}
