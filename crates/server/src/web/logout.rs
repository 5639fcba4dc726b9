//! Signing out because an application wants it (OpenID Connect RP-Initiated Logout 1.0): `/oauth/logout`.
//!
//! 1. Who asks, and where does the browser go afterwards? Nowhere, unless both are certain.
//! 2. The person is asked, unless the application shows that it means the very session that is signed in here: any page
//!    can send a browser to this address.
//! 3. The browser is signed out, and with it the applications that were let in from it (`ending.rs`).

use axum::http::{Method, StatusCode};
use axum::response::Response;
use doorward_core::ids::{ApplicationId, PersonId, SessionId};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_wire::fault::Unservable;
use doorward_wire::oauth::form::Form;
use serde::{Deserialize, Serialize};

use super::authorize::answer::with_query;
use super::authorize::application_of;
use super::authorize::request::LONGEST_STATE;
use super::hint::Hint;
use super::page::{OutcomeKind, SignOut, shown_name};
use super::visit::{Browser, Visit, no_session_cookie, sid_of};
use super::{
    Answered, Notice, Page, Stop, ending, html, outcome, redirect, see_other, serve, set_cookie, sign_in,
};
use crate::app::App;
use crate::http::api;
use crate::http::received::Received;
use crate::limits::Call;
use crate::tokens::About;

/// How long a person may think.
const LIFETIME: Lifetime = Lifetime::from_seconds(600);

/// What an application wants.
#[derive(Serialize, Deserialize)]
struct Leaving {
    application: Option<ApplicationId>,
    /// Where the browser goes afterwards; found to be an address of the application's.
    to: Option<String>,
    state: Option<String>,
    /// Whom the application means, and in which browser.
    meant: Option<(PersonId, Option<SessionId>)>,
    /// The session of the browser that was asked.
    browser: Option<SessionId>,
    expires_at: Timestamp,
}

/// `GET /oauth/logout`, and `POST` with the same parameters in a form.
pub(crate) async fn show(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, parts, .. } = page;
        // What only looks whether there is a page must sign nobody out.
        if parts.method == Method::HEAD {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        if app.limits.call(Call::Anonymous(caller.address)).is_err() {
            let notice = Notice::failed("Too many requests", "Wait a minute, then sign out again.");
            return Err(Stop::Page(StatusCode::TOO_MANY_REQUESTS, notice));
        }
        if parts.method != Method::POST {
            let leaving = read(page, page.query().as_bytes()).await?;
            return go(page, leaving).await;
        }
        if !super::form::is_form(&parts.headers) {
            return Err(Stop::Unservable(Unservable::UnsupportedMediaType));
        }
        let text = api::read(body).await.map_err(Stop::Unservable)?;
        let leaving = read(page, &text).await?;
        // Browsers send no cookie along with a form of another site.
        Ok(see_other(&format!("/oauth/logout/resume?request={}", app.tokens.ask(About::Logout, &leaving))))
    })
    .await
}

/// `GET /oauth/logout/resume`: what was posted, with the browser's cookies.
pub(crate) async fn resume(received: Received) -> Response {
    serve(received, async |page, _| {
        if page.parts.method == Method::HEAD {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        let sealed = page.parameter("request").unwrap_or_default();
        let leaving: Option<Leaving> = page.app.tokens.asked(About::Logout, &sealed);
        let leaving = leaving.filter(|leaving| page.caller.now < leaving.expires_at);
        go(page, leaving.ok_or_else(|| unusable("It is too old, or did not arrive whole."))?).await
    })
    .await
}

fn unusable(text: &'static str) -> Stop {
    let notice = Notice::failed("This request cannot be used", text);
    Stop::Page(StatusCode::BAD_REQUEST, notice.leading_to("/start", "Go to your access"))
}

/// Step 1.
async fn read(page: &Page, text: &[u8]) -> Result<Leaving, Stop> {
    let app = &page.app;
    let form = Form::parse(text).map_err(|_| {
        unusable("The application that sent you here asked for it in a way that cannot be read.")
    })?;
    let hint = match form.get("id_token_hint") {
        None => None,
        // One that cannot be verified says nothing: its key may be gone, and whoever wants to leave is asked instead.
        Some(token) => Hint::read(app, token).await?,
    };
    let named = form.get("client_id");
    if let (Some(client_id), Some(hint)) = (named, &hint)
        && !hint.is_for(client_id)
    {
        return Err(unusable("The application that sent you here sent the ID token of another one."));
    }
    let client_id = named.or_else(|| match hint.as_ref()?.clients.as_slice() {
        [one] => Some(one),
        _ => None,
    });
    let registration = match client_id {
        Some(client_id) => application_of(app, client_id).await?,
        None => None,
    };
    let application = registration.and_then(|registration| registration.application);
    if named.is_some() && application.is_none() {
        return Err(unusable("The application that sent you here is not registered with this server."));
    }
    let to = form.get("post_logout_redirect_uri");
    if let Some(to) = to {
        // Byte for byte, and with a port as it was registered (section 3).
        let known =
            application.as_ref().is_some_and(|it| it.post_logout_redirect_uris.iter().any(|uri| uri == to));
        if !known {
            return Err(unusable(
                "The application wants you to go on to an address that it did not register. You were not sent there, and \
                 you are not signed out.",
            ));
        }
    }
    let state = form.get("state");
    if state.is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(unusable("The application that sent you here sent a state of more than 2048 bytes."));
    }
    Ok(Leaving {
        application: application.map(|application| application.client_id.clone()),
        to: to.map(str::to_owned),
        state: state.map(str::to_owned),
        meant: hint.map(|hint| (hint.person, hint.browser)),
        browser: None,
        expires_at: page.caller.now.plus(LIFETIME),
    })
}

/// Step 2.
async fn go(page: &Page, leaving: Leaving) -> Answered {
    page.visit.is_clear()?;
    match page.visit.browser() {
        None => Ok(left(&page.app, &leaving)),
        Some(browser) if leaving.means(browser) => sign_out(page, browser, &leaving).await,
        Some(browser) => question(page, browser, leaving).await,
    }
}

impl Leaving {
    /// Whether this is the very session that the application means.
    fn means(&self, browser: &Browser) -> bool {
        let session = &browser.session;
        self.meant
            .as_ref()
            .is_some_and(|(person, sid)| *person == session.person && *sid == Some(sid_of(session)))
    }
}

async fn question(page: &Page, browser: &Browser, leaving: Leaving) -> Answered {
    let Page { app, visit, .. } = page;
    let directory = app.store.directory().await?;
    let application = leaving.application.as_ref().and_then(|id| directory.application(id));
    let leaving = Leaving { browser: Some(browser.session.id), ..leaving };
    let template = SignOut {
        chrome: visit.chrome(app),
        request: app.tokens.ask(About::Logout, &leaving),
        client_name: application.map(|application| shown_name(&application.name)),
        person: browser.principal.shown_name().to_owned(),
    };
    Ok(html(app, StatusCode::OK, &template, leaving.to.as_deref()))
}

/// `POST /oauth/logout/decision`.
pub(crate) async fn decide(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, visit, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        let out_of_date = || Stop::Page(StatusCode::FORBIDDEN, Notice::out_of_date());
        let leaving: Leaving =
            app.tokens.asked(About::Logout, posted.get("request")).ok_or_else(out_of_date)?;
        if leaving.browser != Some(browser.session.id) || caller.now >= leaving.expires_at {
            return Err(out_of_date());
        }
        match posted.get("decision") {
            "sign_out" => sign_out(page, browser, &leaving).await,
            "stay" => {
                let notice = Notice {
                    kind: OutcomeKind::Denied,
                    title: "You are still signed in",
                    text: "Nothing was changed. You can close this page.".into(),
                    action: Some(("/start", "Your access")),
                };
                Ok(outcome(app, visit, StatusCode::OK, notice, None))
            }
            _ => Err(Stop::Page(StatusCode::BAD_REQUEST, Notice::out_of_date())),
        }
    })
    .await
}

/// Step 3.
async fn sign_out(page: &Page, browser: &Browser, leaving: &Leaving) -> Answered {
    ending::sign_out(page, browser).await?;
    let mut response = left(&page.app, leaving);
    set_cookie(&mut response, &no_session_cookie(&page.app));
    Ok(response)
}

/// Where somebody goes who is signed out.
fn left(app: &App, leaving: &Leaving) -> Response {
    let Some(to) = &leaving.to else {
        return outcome(app, &Visit::nobody(), StatusCode::OK, sign_in::signed_out(), None);
    };
    let target = leaving.state.as_ref().map(|state| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("state", state).finish();
        with_query(to, &query)
    });
    redirect(StatusCode::FOUND, target.as_ref().unwrap_or(to))
}
