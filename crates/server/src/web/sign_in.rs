//! Signing in with a password, and out.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::assignment::Standing;
use doorward_core::ids::{PersonId, SessionId};
use doorward_core::scope::Scopes;
use doorward_core::secret::Password;
use doorward_core::session::{Holder, Session, SessionState, Terms};
use doorward_core::store::CommitError;
use doorward_core::verdict::{Change, Event};
use doorward_upstream::identity::local::CannotCheck;
use doorward_upstream::identity::oidc::Source;
use tracing::{info, warn};

use super::authorize::under_way::{PATH as RESUME, UnderWay, is_signed_in_for};
use super::page::{OutcomeKind, SignIn, SourceButton, shown_name};
use super::visit::{Browser, Visit, no_session_cookie, session_cookie, sid_of};
use super::{Notice, Page, Stop, ending, html, outcome, see_other, serve, set_cookie};
use crate::app::App;
use crate::audit;
use crate::guesses::Guess;
use crate::http::received::Received;
use crate::op::Caller;

/// One sentence for every reason: the page does not tell who exists.
const WRONG: &str = "That user name and password do not go together.";
const TOO_OFTEN: &str = "Too many attempts. Wait a minute, then try again.";
const BUSY: &str = "Too many people are signing in at this moment. Try again in a few seconds.";

/// `GET /sign-in?next=`.
pub(crate) async fn show(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, visit, .. } = page;
        let next = local(&page.parameter("next").unwrap_or_default());
        if is_signed_in_for(app, visit, &next) {
            return Ok(see_other(&next));
        }
        let expected = UnderWay::of(app, &next).and_then(|it| it.request.user_name().map(str::to_owned));
        Ok(form(app, visit, next, expected.unwrap_or_default(), None))
    })
    .await
}

/// `POST /sign-in`.
pub(crate) async fn sign_in(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, visit, .. } = page;
        let posted = page.form(body).await?;
        let next = local(posted.get("next"));
        let typed = posted.get("user_name").trim();
        let refuse = |problem| Ok(form(app, visit, next.clone(), typed.to_owned(), Some(problem)));

        // A name that nobody can have is refused as late as any other, and counts as much.
        let person = PersonId::parse(typed).ok();
        let guess = Guess::Password(person.as_ref(), caller.address);
        if !app.guesses.allow(&*app.store, guess, caller.now).await? {
            info!(target: "audit", event = "sign_in_throttled", address = %caller.address);
            return refuse(TOO_OFTEN);
        }
        let standing = Standing::load(&*app.store, app.identity.trust(), None).await?;
        let usable = |person: &&PersonId| standing.is_usable(person, caller.now, caller.now);
        let known = person.as_ref().filter(usable).and_then(|person| standing.directory().person(person));
        let hash = known.and_then(|person| person.password_hash.as_deref());
        let password = Password::new(posted.get("password"));
        let right = match app.passwords.verify(hash, &password).await {
            Ok(right) => right,
            Err(CannotCheck::Busy) => {
                warn!(address = %caller.address, "too many people sign in at once: one was asked to wait");
                return refuse(BUSY);
            }
            Err(error @ CannotCheck::Failed) => return Err(Stop::Outage(error.to_string())),
        };
        let Some(person) = known.filter(|_| right) else {
            // What was typed as a name may be a password.
            info!(target: "audit", event = "sign_in_refused", person = known.map(|person| person.user_name.as_str()), address = %caller.address);
            return refuse(WRONG);
        };

        let session = begin(page, &person.user_name).await?;
        ending::replaced(page, &person.user_name).await?;
        let mut response = see_other(&next);
        set_cookie(&mut response, &session_cookie(app, session));
        Ok(response)
    })
    .await
}

/// A new session for a person's browser; never one that the browser brought along. Where the same person was signed in
/// before, applications know it by the same `sid`. `proof` says how the person proved who they are.
pub(super) fn browser_session(
    app: &App,
    caller: &Caller,
    person: &PersonId,
    proof: Terms,
    before: Option<&Browser>,
) -> Session {
    let same = before.filter(|before| before.session.person == *person);
    let terms = Terms { browser: same.map(|before| sid_of(&before.session)), ..proof };
    Session {
        id: SessionId::drawn(caller.now, app.tokens.draw()),
        person: person.clone(),
        holder: Holder::Browser,
        scopes: Scopes::default(),
        created_at: caller.now,
        authenticated_at: caller.now,
        expires_at: caller.now.plus(app.policy.lifetimes.session),
        generation: 0,
        rotated_at: caller.now,
        state: SessionState::Live,
        terms: Some(Arc::new(terms)),
    }
}

async fn begin(page: &Page, person: &PersonId) -> Result<SessionId, Stop> {
    let Page { app, caller, visit, .. } = page;
    let proof = Terms { amr: vec!["pwd".to_owned()], proved_at: Some(caller.now), ..Terms::default() };
    let session = browser_session(app, caller, person, proof, visit.browser());
    let id = session.id;
    match app.store.commit(vec![Change::StartSession(session)]).await {
        Ok(()) => {}
        Err(CommitError::Conflict) => return Err(Stop::Outage("a drawn session id was taken".to_owned())),
        Err(CommitError::Outage(outage)) => return Err(outage.into()),
    }
    audit::record(
        Some(&Event::SignedIn { session: id, person: person.clone(), source: None }),
        caller.address,
    );
    Ok(id)
}

/// `POST /sign-out`.
pub(crate) async fn sign_out(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, visit, .. } = page;
        visit.is_clear()?;
        let mut response = outcome(app, &Visit::nobody(), StatusCode::OK, signed_out(), None);
        // Without a session there is nothing to end, and no cookie to take away: a page elsewhere may have posted this.
        if let Some(browser) = visit.browser() {
            page.form(body).await?;
            ending::sign_out(page, browser).await?;
            set_cookie(&mut response, &no_session_cookie(app));
        }
        Ok(response)
    })
    .await
}

/// The words for somebody who signed out.
pub(super) fn signed_out() -> Notice {
    Notice {
        kind: OutcomeKind::Approved,
        title: "You are signed out",
        text: "Tools that you signed in stay signed in; you can end them on your access page.".into(),
        action: Some(("/sign-in", "Sign in again")),
    }
}

fn form(app: &App, visit: &Visit, next: String, user_name: String, problem: Option<&str>) -> Response {
    let under_way = UnderWay::of(app, &next);
    let template = SignIn {
        chrome: visit.chrome(app),
        purpose: purpose(app, &next, under_way.as_ref(), visit.browser().is_some()),
        next,
        user_name,
        problem: problem.map(str::to_owned),
        sources: app.identity.sources().map(source_button).collect(),
        hint: app.development.as_ref().map(|development| development.hints.clone()).unwrap_or_default(),
    };
    // Whoever agreed before is sent on to the application, at the end of what the form began.
    let redirect_uri = under_way.as_ref().map(|it| it.request.destination().redirect_uri);
    let mut response = html(app, StatusCode::OK, &template, redirect_uri);
    visit.remember(app, &mut response);
    response
}

fn source_button(source: &Source) -> SourceButton {
    let settings = source.settings();
    SourceButton { action: format!("/sign-in/{}", settings.name), label: settings.label.clone() }
}

/// Why sign-in is needed.
fn purpose(app: &App, next: &str, under_way: Option<&UnderWay>, is_again: bool) -> Option<String> {
    if let Some(under_way) = under_way {
        let name = shown_name(&under_way.client_name);
        return Some(format!("{}to continue to “{name}”", if is_again { "again " } else { "" }));
    }
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    match path {
        "/device" => Some("to connect a tool".to_owned()),
        "/authorize" => {
            let client = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "client_id")?.1;
            let registration = app.tokens.registration(&client)?;
            Some(format!("to continue to “{}”", shown_name(&registration.name)))
        }
        _ => None,
    }
}

/// `next` if it is a page of ours to come back to, else the portal page.
pub(super) fn local(next: &str) -> String {
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let ours =
        matches!(path, "/start" | "/start/" | "/start/credentials" | "/device" | "/authorize" | RESUME);
    if ours && next.bytes().all(|byte| byte.is_ascii_graphic()) {
        next.to_owned()
    } else {
        "/start".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Holds: rfc9700-4.1.3-client-no-open-redirector
    #[test]
    fn nobody_is_sent_anywhere_but_to_our_own_pages() {
        for ours in
            ["/start", "/authorize/resume?request=x", "/device?user_code=BCDF-GHJK", "/authorize?x=%0d%0a"]
        {
            assert_eq!(local(ours), ours);
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/start",
            "/start@evil.example",
            "/sign-out",
            "/start\r\nSet-Cookie: x=y",
            "/start/../../x",
            "javascript:alert(1)",
        ] {
            assert_eq!(local(bad), "/start", "{bad:?}");
        }
    }
}
