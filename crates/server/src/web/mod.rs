//! The pages in which a person signs in, approves, and finds what they may use.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use doorward_core::directory::Directory;
use doorward_core::scope::{ACCOUNT_ACCESS, LEGACY_PORTAL, Scopes};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_wire::fault::Unservable;

use crate::app::App;
use crate::http::answer::{self, RequestId};
use crate::http::received::Received;
use crate::http::trouble;
use crate::op::Caller;
use form::Form;
use page::{Moment, Outcome, OutcomeKind, ScopeLine, content_security_policy};
use visit::{Browser, Visit};

pub(crate) mod applications;
pub(crate) mod authorize;
pub(crate) mod device;
mod ending;
pub(crate) mod form;
mod hint;
pub(crate) mod logout;
pub(crate) mod page;
pub(crate) mod par;
pub(crate) mod sign_in;
pub(crate) mod source;
pub(crate) mod start;
pub(crate) mod visit;

/// What a page's handler answers: a response, or a page that says what went wrong.
type Answered = Result<Response, Stop>;

/// Why a handler stops short of its page.
pub(crate) enum Stop {
    /// Ours; the text is for the log.
    Outage(String),
    /// The request cannot be served.
    Unservable(Unservable),
    /// Somebody else is to mend it, and this page says how.
    Page(StatusCode, Notice),
    /// Ours, or of somebody we depend on; the text is for the log, and the page says how far it came.
    Failed(String, Notice),
    /// The page is elsewhere, for now: this address.
    Elsewhere(String),
    /// The answer is ready.
    Sent(Box<Response>),
}

impl From<Outage> for Stop {
    fn from(outage: Outage) -> Self {
        Self::Outage(outage.to_string())
    }
}

/// The words of an outcome page.
pub(crate) struct Notice {
    kind: OutcomeKind,
    title: &'static str,
    text: Cow<'static, str>,
    action: Option<(&'static str, &'static str)>,
}

impl Notice {
    pub(crate) fn failed(title: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: OutcomeKind::Failed, title, text: text.into(), action: None }
    }

    /// The same with a way on: address and words.
    fn leading_to(mut self, href: &'static str, label: &'static str) -> Self {
        self.action = Some((href, label));
        self
    }

    fn out_of_date() -> Self {
        Self::failed(
            "This page is out of date",
            "It was open for too long, or you have signed in or out meanwhile. Nothing was changed: go back, reload \
             the page, and try again.",
        )
    }
}

/// A visit to a page: the request, and whose browser sent it.
pub(crate) struct Page {
    pub(crate) app: Arc<App>,
    pub(crate) id: RequestId,
    pub(crate) caller: Caller,
    pub(crate) parts: Parts,
    pub(crate) visit: Visit,
}

impl Page {
    /// Its query string, without the question mark.
    pub(crate) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// The first parameter of this name.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Who is signed in, or the way to the sign-in page and back.
    pub(crate) fn signed_in(&self) -> Result<&Browser, Stop> {
        let uri = &self.parts.uri;
        let here = match self.parts.method {
            Method::GET | Method::HEAD => uri.path_and_query().map_or("/start", PathAndQuery::as_str),
            // What was posted cannot be posted again by coming back.
            _ if uri.path().starts_with("/device") => "/device",
            _ => "/start",
        };
        self.visit.signed_in(here)
    }

    /// The posted form, if it is one that this browser was shown by this server.
    pub(crate) async fn form(&self, body: Body) -> Result<Form, Stop> {
        let form = Form::read(&self.parts.headers, body).await?;
        self.visit.check(&self.app, &self.parts.headers, &form)?;
        Ok(form)
    }
}

/// Runs a page's handler, and shows what went wrong as a page of its own.
async fn serve(received: Received, handler: impl AsyncFnOnce(&Page, Body) -> Answered) -> Response {
    let Received { app, id, caller, parts, body } = received;
    let visit = match Visit::load(&app, &caller, &parts.headers).await {
        Ok(visit) => visit,
        Err(outage) => {
            answer::log_outage(id, &outage.to_string());
            return unavailable(&app, &Visit::nobody(), id);
        }
    };
    let page = Page { app, id, caller, parts, visit };
    match handler(&page, body).await {
        Ok(response) => response,
        Err(Stop::Elsewhere(target)) => see_other(&target),
        Err(Stop::Sent(response)) => *response,
        Err(Stop::Unservable(what)) => unservable(&page.app, what),
        Err(Stop::Page(status, notice)) => outcome(&page.app, &page.visit, status, notice, None),
        Err(Stop::Outage(what)) => {
            answer::log_outage(id, &what);
            unavailable(&page.app, &page.visit, id)
        }
        Err(Stop::Failed(what, notice)) => {
            answer::log_outage(id, &what);
            outcome(&page.app, &page.visit, StatusCode::INTERNAL_SERVER_ERROR, notice, Some(id))
        }
    }
}

/// The page for a request that cannot be served.
pub(crate) fn unservable(app: &App, what: Unservable) -> Response {
    let (status, title, text) = match what {
        Unservable::NotFound => (
            StatusCode::NOT_FOUND,
            "There is no such page",
            "Check the address, or start from your access page.",
        ),
        Unservable::MethodNotAllowed => (
            StatusCode::METHOD_NOT_ALLOWED,
            "This address is not a page",
            "It only receives what a page of ours sends.",
        ),
        Unservable::TooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "That was too much", "The form held too much text.")
        }
        Unservable::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "That form cannot be read",
            "Reload the page it came from, and try again.",
        ),
        Unservable::Incomplete => (
            StatusCode::BAD_REQUEST,
            "That form did not arrive whole",
            "Reload the page it came from, and try again.",
        ),
        Unservable::TimedOut => (
            StatusCode::SERVICE_UNAVAILABLE,
            "That took too long",
            "The fault is ours. Look at your access page to see what was done, and try again.",
        ),
    };
    let notice = Notice::failed(title, text).leading_to("/start", "Go to your access");
    outcome(app, &Visit::nobody(), status, notice, None)
}

pub(crate) fn unavailable(app: &App, visit: &Visit, id: RequestId) -> Response {
    let notice = Notice::failed(
        "Something went wrong here",
        "The fault is ours. It may or may not have been done: look at your access page, then try again. If it stays like \
         this, tell the people who run this server the reference below.",
    );
    outcome(app, visit, StatusCode::INTERNAL_SERVER_ERROR, notice, Some(id))
}

fn outcome(
    app: &App,
    visit: &Visit,
    status: StatusCode,
    notice: Notice,
    reference: Option<RequestId>,
) -> Response {
    let Notice { kind, title, text, action } = notice;
    let template = Outcome {
        chrome: visit.chrome(app),
        kind,
        title: title.to_owned(),
        text: text.into_owned(),
        reference: reference.map(|id| id.to_string()),
        action: action.map(|(href, label)| (href.to_owned(), label.to_owned())),
    };
    html(app, status, &template, None)
}

/// A page of ours. `redirect_uri` is where a form on it may end, beyond this server.
fn html(app: &App, status: StatusCode, template: &impl Template, redirect_uri: Option<&str>) -> Response {
    // Writing into a string fails only if a value's own `Display` does, and every value is a string or a number.
    let text = template.render().expect("a page of plain strings");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // With `no-referrer` browsers would send `Origin: null` from our own forms, and we look at that header.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if app.site.is_secure() {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if let Ok(policy) = HeaderValue::try_from(content_security_policy(redirect_uri)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    // For browsers that do not know frame-ancestors (RFC 9700 section 4.16).
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response
}

/// Sends the browser on, to fetch another page.
fn see_other(target: &str) -> Response {
    redirect(StatusCode::SEE_OTHER, target)
}

pub(crate) fn redirect(status: StatusCode, target: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let target = HeaderValue::try_from(target).unwrap_or(HeaderValue::from_static("/start"));
    response.headers_mut().insert(LOCATION, target);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

fn moment(at: Timestamp) -> Moment {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(jiff::Timestamp::MAX);
    Moment {
        iso: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        text: at.strftime("%-d %B %Y, %H:%M UTC").to_string(),
    }
}

/// What a client asks for, in words: the administrator's, or ours. A tool that registered no scopes is an older one, and gets
/// account access.
fn scope_lines(scopes: &Scopes, directory: &Directory) -> Vec<ScopeLine> {
    let line = |scope: &str| {
        let ours = match scope {
            ACCOUNT_ACCESS | LEGACY_PORTAL => "see the accounts and roles assigned to you, and use them",
            "openid" => "know who you are",
            "profile" => "see your name",
            "email" => "see your e-mail address",
            "groups" => "see which groups you are in",
            "offline_access" => "stay signed in while you are away",
            _ => "use this permission of an application",
        };
        let meaning = directory.scope_description(scope).unwrap_or(ours);
        ScopeLine { scope: scope.to_owned(), meaning: meaning.to_owned() }
    };
    if scopes.is_empty() { vec![line(ACCOUNT_ACCESS)] } else { scopes.iter().map(line).collect() }
}

/// `GET /`: to the portal page.
pub(crate) async fn root() -> Response {
    see_other("/start")
}

/// `GET /assets/{name}`.
pub(crate) async fn asset(received: Received) -> Response {
    let name = received.parts.uri.path().strip_prefix("/assets/").unwrap_or_default();
    let Some(asset) = page::asset(name) else { return trouble::not_found(received).await };
    let mut response = Response::new(Body::from(asset.body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
