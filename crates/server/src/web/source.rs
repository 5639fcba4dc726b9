//! Signing in through an identity source: there (`POST /sign-in/{source}`) and back (`GET /sign-in/{source}/callback`).
//!
//! Nothing is stored while the person is there. What must be known when they come back travels as `state`, sealed, and
//! belongs to the browser that it was given to: an address that somebody else was sent back to signs nobody else in. It is
//! good once, because the session that it leads to has its id from the start.
//!
//! Whatever is wrong, the person is told the same; the log says what it was.

use axum::http::{Method, StatusCode};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::federated::FederatedPerson;
use doorward_core::federated::sign_in::SignIn;
use doorward_core::grant::settle;
use doorward_core::ids::SessionId;
use doorward_core::session::{Session, Terms};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_upstream::identity::oidc::{Drawn, Kind, OidcError, SignedIn, Source};
use doorward_wire::fault::Unservable;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::authorize::under_way::{UnderWay as AuthorizationUnderWay, is_signed_in_for};
use super::page::GoThere;
use super::sign_in::{browser_session, local};
use super::visit::session_cookie;
use super::{Answered, Notice, Page, Stop, ending, html, outcome, see_other, serve, set_cookie};
use crate::audit;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::tokens::About;

/// How long a person may take there.
const THERE: Lifetime = Lifetime::from_seconds(600);
/// The longest page to come back to, in bytes. It is part of `state`, and sources take no address of any length.
const LONGEST_NEXT: usize = 2048;

/// A sign-in under way.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    source: String,
    /// The session it will be.
    session: SessionId,
    nonce: [u8; 16],
    verifier: [u8; 32],
    /// Derived from the cookie of the browser.
    browser: String,
    next: String,
    /// When the person must have proved who they are at the earliest, if it matters there.
    since: Option<Timestamp>,
    expires_at: Timestamp,
}

impl UnderWay {
    fn nonce(&self) -> String {
        BASE64URL_NOPAD.encode(&self.nonce)
    }

    fn verifier(&self) -> String {
        BASE64URL_NOPAD.encode(&self.verifier)
    }
}

/// `POST /sign-in/{source}`.
pub(crate) async fn begin(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, visit, .. } = page;
        let source = source_of(page)?;
        let posted = page.form(body).await?;
        let next = local(posted.get("next"));
        if is_signed_in_for(app, visit, &next) {
            return Ok(see_other(&next));
        }
        if app.limits.call(Call::Anonymous(caller.address)).is_err() {
            info!(target: "audit", event = "sign_in_throttled", address = %caller.address);
            return Err(too_often());
        }
        let under_way = UnderWay {
            source: source.settings().name.to_string(),
            session: SessionId::drawn(caller.now, app.tokens.draw()),
            nonce: app.tokens.draw(),
            verifier: app.tokens.draw(),
            browser: app.tokens.form_value(visit.visitor()),
            since: AuthorizationUnderWay::of(app, &next).and_then(|it| it.since),
            next: if next.len() > LONGEST_NEXT { local("") } else { next },
            expires_at: caller.now.plus(THERE),
        };
        let state = app.tokens.ask(About::SourceSignIn, &under_way);
        let (nonce, verifier) = (under_way.nonce(), under_way.verifier());
        let drawn = Drawn { state: &state, nonce: &nonce, verifier: &verifier, since: under_way.since };
        match source.begin(&drawn, caller.now).await {
            Ok(address) => {
                let label = source.settings().label.clone();
                Ok(html(app, StatusCode::OK, &GoThere { chrome: visit.chrome(app), label, address }, None))
            }
            Err(error) => Ok(refused(page, source, &error)),
        }
    })
    .await
}

/// `GET /sign-in/{source}/callback`.
pub(crate) async fn come_back(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, caller, visit, parts, .. } = page;
        // What only looks whether there is a page must not use the code up.
        if parts.method == Method::HEAD {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        let source = source_of(page)?;
        let name = &source.settings().name;
        if app.limits.call(Call::Anonymous(caller.address)).is_err() {
            info!(target: "audit", event = "sign_in_throttled", address = %caller.address);
            return Err(too_often());
        }
        let state = page.parameter("state").unwrap_or_default();
        let not_ours = |why: &str| not_signed_in(page, source, "callback", why);
        let Some(under_way) = app.tokens.asked::<UnderWay>(About::SourceSignIn, &state) else {
            return Ok(not_ours("state is not one of this server's"));
        };
        if under_way.source != name.as_str() {
            return Ok(not_ours("state is of a sign-in through another source"));
        }
        if !app.tokens.form_value_holds(&under_way.browser, visit.visitor()) {
            return Ok(not_ours("state is of another browser"));
        }
        if caller.now >= under_way.expires_at {
            return Ok(not_ours("it took longer than ten minutes"));
        }
        let (nonce, verifier) = (under_way.nonce(), under_way.verifier());
        let drawn = Drawn { state: &state, nonce: &nonce, verifier: &verifier, since: under_way.since };
        match source.finish(page.query(), &drawn, caller.now).await {
            Ok(somebody) => let_in(page, source, somebody, &under_way).await,
            Err(error) => Ok(refused(page, source, &error)),
        }
    })
    .await
}

/// Signs the browser in as the person whom the source named, if they may have the name.
async fn let_in(page: &Page, source: &Source, somebody: SignedIn, under_way: &UnderWay) -> Answered {
    let Page { app, caller, .. } = page;
    let SignedIn { subject, described, proof, refresh_token } = somebody;
    let settings = source.settings();
    let refresh_token = refresh_token.map(|token| app.identity.seal(&settings.name, &subject, &token));
    let person = FederatedPerson {
        id: described.user_name,
        source: settings.name.clone(),
        subject,
        display_name: described.display_name,
        email: described.email,
        groups: described.groups,
        since: caller.now,
        confirmed_at: caller.now,
        good_until: caller.now.plus(settings.trust),
        gone: false,
        refresh_token,
        asking_until: None,
    };
    // What the source vouched for when it had to counts, though its clock may differ. Where it says nothing, nothing is known.
    let proved_at = proof.at.max(under_way.since).map(|at| at.min(caller.now));
    let terms = Terms { amr: proof.methods, acr: proof.class, proved_at, ..Terms::default() };
    let session = browser_session(app, caller, &person.id, terms, page.visit.browser());
    let session = Session { id: under_way.session, ..session };
    let sign_in = SignIn { person, sources: app.identity.trust(), session };
    let settled = settle(&*app.store, &sign_in).await?;
    audit::record(settled.event.as_ref(), caller.address);
    if let Err(why) = settled.reply {
        let reason = format!("{}: {why}", sign_in.person.id);
        return Ok(not_signed_in(page, source, "person", &reason));
    }
    ending::replaced(page, &sign_in.person.id).await?;
    let mut response = see_other(&local(&under_way.next));
    set_cookie(&mut response, &session_cookie(app, under_way.session));
    Ok(response)
}

/// The source in the path.
fn source_of(page: &Page) -> Result<&Source, Stop> {
    let name = page.parts.uri.path().split('/').nth(2).unwrap_or_default();
    page.app.identity.source(name).ok_or(Stop::Unservable(Unservable::NotFound))
}

fn too_often() -> Stop {
    let notice = Notice::failed("Too many requests", "Wait a minute, then sign in again.");
    Stop::Page(StatusCode::TOO_MANY_REQUESTS, notice.leading_to("/sign-in", "Sign in"))
}

/// What the source or its answer is refused with.
fn refused(page: &Page, source: &Source, error: &OidcError) -> Response {
    match error.kind {
        Kind::Denied | Kind::Invalid => not_signed_in(page, source, error.step.as_str(), &error.reason),
        Kind::Unusable | Kind::Unreachable => {
            let name = &source.settings().name;
            answer::log_outage(
                page.id,
                &format!("nobody can sign in through the identity source {name}: {error}"),
            );
            let notice = Notice::failed(
                "You cannot sign in this way at the moment",
                "The fault is not yours. Try again in a few minutes; if it stays like this, tell the people who run this \
                 server the reference below.",
            );
            let notice = notice.leading_to("/sign-in", "Back to sign-in");
            outcome(&page.app, &page.visit, StatusCode::BAD_GATEWAY, notice, Some(page.id))
        }
    }
}

/// One page for every reason, and for the operator the reason.
fn not_signed_in(page: &Page, source: &Source, step: &str, reason: &str) -> Response {
    info!(
        target: "audit", event = "sign_in_refused", source = %source.settings().name, step, reason,
        request = %page.id, address = %page.caller.address
    );
    let notice = Notice::failed(
        "You are not signed in",
        "Either you stopped on the way, or this server could not be sure who you are, or you may not sign in here. If you \
         think that you may, tell the people who run this server the reference below.",
    );
    let notice = notice.leading_to("/sign-in", "Back to sign-in");
    outcome(&page.app, &page.visit, StatusCode::FORBIDDEN, notice, Some(page.id))
}
