//! A browser's visit: who is signed in there, and whether a form it posts is one that we gave it.
//!
//! A signed-in browser holds a session cookie; one that is not yet signed in gets a cookie that only ties the sign-in
//! form to it. Every form carries a value derived from the cookie of the browser it was shown to.

use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use doorward_core::assignment::{Principal, Standing};
use doorward_core::ids::SessionId;
use doorward_core::session::{Holder, Session};
use doorward_core::store::Outage;
use doorward_core::time::Lifetime;

use super::form::Form;
use super::page::Chrome;
use super::{Notice, Stop, set_cookie};
use tracing::warn;

use crate::app::App;
use crate::op::Caller;

/// A browser's visit.
pub(crate) struct Visit {
    /// Who is signed in.
    browser: Option<Browser>,
    /// Why it is not known whether somebody is, if it is not: their identity source should say, and cannot be asked. They may
    /// still sign in, through it or otherwise.
    unclear: Option<Outage>,
    /// What ties forms to this browser: the session's cookie, or the visitor's. Empty if it has neither.
    cookie: String,
    /// The visitor's cookie; empty if there is none. It stays when somebody signs in.
    visitor: String,
    /// Whether the visitor's cookie is new, and must be set.
    is_new: bool,
}

/// A person signed in with a browser.
pub(crate) struct Browser {
    /// The browser's session.
    pub(crate) session: Session,
    /// The person, who passed the gate.
    pub(crate) principal: Principal,
}

impl Visit {
    /// Somebody of whom nothing is known, and who gets no cookie.
    pub(crate) const fn nobody() -> Self {
        Self { browser: None, unclear: None, cookie: String::new(), visitor: String::new(), is_new: false }
    }

    /// Who visits.
    pub(crate) async fn load(app: &App, caller: &Caller, headers: &HeaderMap) -> Result<Self, Outage> {
        let (session_cookie, visitor_cookie) = (cookie_name(app, "session"), cookie_name(app, "visitor"));
        let visitor = cookie(headers, &visitor_cookie).filter(|cookie| cookie.len() == 32).map(str::to_owned);
        let mut unclear = None;
        if let Some(cookie) = cookie(headers, &session_cookie)
            && let Some(id) = app.tokens.browser_session(cookie)
            && let Some(session) = browser_session(app, caller, id).await?
        {
            match app.identity.recheck(&session.person, caller).await {
                Ok(()) => {
                    if let Some(browser) = Browser::load(app, caller, session).await? {
                        let (cookie, visitor) = (cookie.to_owned(), visitor.unwrap_or_default());
                        return Ok(Self { browser: Some(browser), unclear, cookie, visitor, is_new: false });
                    }
                }
                Err(outage) => unclear = Some(outage),
            }
        }
        let is_new = visitor.is_none();
        let visitor = visitor.unwrap_or_else(|| SessionId::from_bytes(app.tokens.draw()).to_string());
        Ok(Self { browser: None, unclear, cookie: visitor.clone(), visitor, is_new })
    }

    /// What ties a sign-in to this browser: the visitor's cookie, or the session's where that alone is left.
    pub(crate) fn visitor(&self) -> &str {
        if self.visitor.is_empty() { &self.cookie } else { &self.visitor }
    }

    /// Who is signed in.
    pub(crate) const fn browser(&self) -> Option<&Browser> {
        self.browser.as_ref()
    }

    /// Who is signed in, or the way to the sign-in page and back to `here`.
    pub(crate) fn signed_in(&self, here: &str) -> Result<&Browser, Stop> {
        self.is_clear()?;
        self.browser().ok_or_else(|| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", here).finish();
            Stop::Elsewhere(format!("/sign-in?{query}"))
        })
    }

    /// Stops unless it is known whether somebody is signed in.
    pub(crate) fn is_clear(&self) -> Result<(), Stop> {
        self.unclear.clone().map_or(Ok(()), |outage| Err(outage.into()))
    }

    /// Checks that a posted form is one that this browser was shown by this server.
    pub(crate) fn check(&self, app: &App, headers: &HeaderMap, form: &Form) -> Result<(), Stop> {
        let origin = headers.get(ORIGIN).filter(|origin| origin.as_bytes() != app.site.base().as_bytes());
        if let Some(origin) = origin {
            // Either a page elsewhere posted this, or the operator told us another address than browsers use.
            warn!(
                ?origin,
                public_url = app.site.base(),
                "refused a form that was posted from another origin"
            );
        }
        let foreign_site =
            headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
        let ours = !self.cookie.is_empty() && app.tokens.form_value_holds(form.get("csrf"), &self.cookie);
        if origin.is_some() || foreign_site || !ours {
            return Err(Stop::Page(StatusCode::FORBIDDEN, Notice::out_of_date()));
        }
        Ok(())
    }

    /// What this visit's pages have around their content.
    pub(crate) fn chrome(&self, app: &App) -> Chrome {
        Chrome {
            person: self.browser().map(|browser| browser.principal.shown_name().to_owned()),
            csrf: if self.cookie.is_empty() { String::new() } else { app.tokens.form_value(&self.cookie) },
            development: app.development.is_some(),
        }
    }

    /// Gives a new visitor the cookie that the forms on the page are tied to.
    pub(crate) fn remember(&self, app: &App, response: &mut Response) {
        if self.is_new {
            set_cookie(response, &make_cookie(app, "visitor", &self.cookie, Lifetime::from_seconds(86_400)));
        }
    }
}

/// The live session with this id, if it is a browser's.
async fn browser_session(app: &App, caller: &Caller, id: SessionId) -> Result<Option<Session>, Outage> {
    let session = app.store.session(id).await?;
    Ok(session.filter(|session| session.holder == Holder::Browser && session.is_live(caller.now)))
}

/// What applications know a browser's session by (`sid` of OpenID Connect Back-Channel Logout 1.0): its id, or that of the
/// first session in a row in which the same person signed in anew.
pub(crate) fn sid_of(session: &Session) -> SessionId {
    session.terms.as_ref().and_then(|terms| terms.browser).unwrap_or(session.id)
}

impl Browser {
    async fn load(app: &App, caller: &Caller, session: Session) -> Result<Option<Self>, Outage> {
        let standing = Standing::load(&*app.store, app.identity.trust(), Some(&session.person)).await?;
        let principal = standing.principal(&session.person, session.authenticated_at, caller.now);
        Ok(principal.map(|principal| Self { session, principal }))
    }
}

/// The cookie that signs a browser in.
pub(crate) fn session_cookie(app: &App, session: SessionId) -> String {
    make_cookie(app, "session", &app.tokens.browser_cookie(session), app.policy.lifetimes.session)
}

/// The cookie that signs a browser out.
pub(crate) fn no_session_cookie(app: &App) -> String {
    make_cookie(app, "session", "", Lifetime::from_seconds(0))
}

/// `__Host-` keeps other hosts of the domain from setting it, and browsers take it with TLS only. Without TLS the port
/// is in the name, for cookies do not tell ports apart and somebody may run two servers on one machine.
fn cookie_name(app: &App, what: &str) -> String {
    if app.site.is_secure() {
        format!("__Host-doorward-{what}")
    } else {
        format!("doorward-{what}-{}", app.site.port().unwrap_or(80))
    }
}

/// `Lax`, since tools open `/authorize` from outside, and the person should then still be signed in.
fn make_cookie(app: &App, what: &str, value: &str, lifetime: Lifetime) -> String {
    let secure = if app.site.is_secure() { "; Secure" } else { "" };
    let name = cookie_name(app, what);
    format!("{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", lifetime.seconds())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
