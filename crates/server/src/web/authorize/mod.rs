//! The authorization endpoint (RFC 6749 section 4.1, RFC 7636, OpenID Connect Core 1.0 section 3.1.2): `/authorize`.
//!
//! 1. Who asks, and where does the answer go? Until both are certain, nobody is redirected anywhere.
//! 2. What is asked? (`request.rs`) From here on errors go to the client, by redirect (`answer.rs`).
//! 3. Whoever is signed in, well enough (`under_way.rs`), sees the question, or need not (`asking.rs`). Nothing is stored
//!    while they think.
//! 4. The decision travels back to the client: a code, or `access_denied` (`deciding.rs`).

use axum::http::{Method, StatusCode};
use axum::response::Response;
use doorward_core::client::Registration;
use doorward_core::ids::ApplicationId;
use doorward_wire::fault::Unservable;
use doorward_wire::oauth::authorization::AuthorizationFault;
use doorward_wire::oauth::form::Form;
use tracing::info;

use super::{Answered, Notice, Page, Stop, see_other, serve};
use crate::app::App;
use crate::http::api;
use crate::http::received::Received;
use crate::limits::Call;

pub(crate) mod answer;
mod asking;
mod deciding;
pub(crate) mod request;
pub(crate) mod under_way;

pub(crate) use deciding::decide;

use answer::Destination;
use request::{Parameters, Request};
use under_way::UnderWay;

/// `GET /authorize`, and `POST` with the same parameters in a form.
pub(crate) async fn show(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, parts, .. } = page;
        // What only looks whether there is a page gets no code.
        if parts.method == Method::HEAD {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        if app.limits.call(Call::Anonymous(caller.address)).is_err() {
            let notice = Notice::failed(
                "Too many requests",
                "Wait a minute, then start the sign-in again from the tool.",
            );
            return Err(Stop::Page(StatusCode::TOO_MANY_REQUESTS, notice));
        }
        if parts.method != Method::POST {
            let (registration, request) = read(page, page.query().as_bytes()).await?;
            return asking::ask(page, &registration, request).await;
        }
        if !super::form::is_form(&parts.headers) {
            return Err(Stop::Unservable(Unservable::UnsupportedMediaType));
        }
        let text = api::read(body).await.map_err(Stop::Unservable)?;
        let (registration, request) = read(page, &text).await?;
        if request.application.is_none() {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        let expires_at = caller.now.plus(under_way::LIFETIME);
        let client_name = registration.name;
        let under_way = UnderWay { request, client_name, seen: false, since: None, not: None, expires_at };
        Ok(see_other(&under_way.address(app)))
    })
    .await
}

/// `GET /authorize/resume`: after the sign-in.
pub(crate) async fn resume(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, caller, parts, .. } = page;
        if parts.method == Method::HEAD {
            return Err(Stop::Unservable(Unservable::MethodNotAllowed));
        }
        let here = parts.uri.path_and_query().map_or("", |here| here.as_str());
        let under_way = UnderWay::of(app, here).filter(|it| caller.now < it.expires_at);
        let Some(under_way) = under_way else { return Err(unusable(TOO_OLD)) };
        let registration = registration_of(app, &under_way.request).await?;
        if under_way.seen {
            asking::ask_again(page, &registration, under_way).await
        } else {
            asking::ask(page, &registration, under_way.request).await
        }
    })
    .await
}

const TOO_OLD: &str = "It is too old, or its address did not arrive whole. Start again from the application.";

/// Nobody is sent anywhere with this.
fn unusable(text: &'static str) -> Stop {
    Stop::Page(StatusCode::BAD_REQUEST, Notice::failed("This request cannot be used", text))
}

/// The application of a request that was read before, as it is registered now.
async fn registration_of(app: &App, request: &Request) -> Result<Registration, Stop> {
    let directory = app.store.directory().await?;
    let application = request.application.as_ref().and_then(|id| directory.application(id));
    let registration = application.map(Registration::of);
    registration
        .filter(|registration| registration.may_redirect_to(request.destination().redirect_uri))
        .ok_or_else(|| unusable("The application that asked was changed meanwhile. Start again from there."))
}

/// Steps 1 and 2.
async fn read(page: &Page, text: &[u8]) -> Result<(Registration, Request), Stop> {
    let app = &*page.app;
    let parameters = Parameters::parse(text);
    let registration = certain_client(page, &parameters).await?;
    let application = registration.application.clone();
    if application.is_some()
        && let Some(uri) = parameters.once("request_uri").ok().flatten()
        && let Some(sealed) = uri.strip_prefix(super::par::REQUEST_URI_PREFIX)
    {
        let request = pushed(page, &registration, sealed)?;
        return Ok((registration, request));
    }
    let redirect_uri = certain_redirect_uri(page, &registration, &parameters)?;
    let state = parameters.state();
    let destination = Destination { redirect_uri, state: state.as_ref().ok().copied().flatten() };
    let fault = |fault: &AuthorizationFault| Stop::Sent(Box::new(destination.send_error(app, fault)));
    if let Err(refusal) = state {
        return Err(fault(&refusal.into()));
    }
    let request = match &application {
        None => Request::of_tool(&registration, &parameters, destination),
        Some(application) => {
            let form = Form::parse(text).map_err(|refusal| fault(&refusal.into()))?;
            if application.require_pushed_authorization_requests && form.get("request_uri").is_none() {
                return Err(fault(&AuthorizationFault::invalid(
                    "this application must push its authorization requests (RFC 9126)",
                )));
            }
            Request::of_application(app, application, &registration, &form, destination).await?
        }
    };
    Ok((registration, request.map_err(|why| fault(&why))?))
}

/// Step 1, its first half.
async fn certain_client(page: &Page, parameters: &Parameters<'_>) -> Result<Registration, Stop> {
    let unknown = || {
        let text = "The tool that sent you here is not registered with this server, or its registration has expired. Start \
                    the sign-in again from the tool.";
        Stop::Page(StatusCode::UNAUTHORIZED, Notice::failed("This request cannot be used", text))
    };
    let client_id = parameters.once("client_id").ok().flatten().ok_or_else(unknown)?;
    if let Some(registration) = application_of(&page.app, client_id).await? {
        return Ok(registration);
    }
    let registration = page.app.tokens.registration(client_id).ok_or_else(unknown)?;
    if page.caller.now >= registration.expires_at {
        return Err(unknown());
    }
    Ok(registration)
}

/// The application with this client id. Its ARN is no client id here.
pub(super) async fn application_of(app: &App, client_id: &str) -> Result<Option<Registration>, Stop> {
    let Ok(id) = ApplicationId::parse(client_id) else { return Ok(None) };
    let directory = app.store.directory().await?;
    let application = directory.application(&id).filter(|application| application.client_id == id);
    Ok(application.map(Registration::of))
}

/// Step 1, its second half.
fn certain_redirect_uri<'p>(
    page: &Page,
    registration: &Registration,
    parameters: &'p Parameters<'_>,
) -> Result<&'p str, Stop> {
    let redirect_uri = parameters.once("redirect_uri").ok().flatten();
    redirect_uri.filter(|uri| registration.may_redirect_to(uri)).ok_or_else(|| {
        info!(address = %page.caller.address, "refused a redirect_uri that the client did not register");
        unusable("The tool wants its answer at an address that it did not register. You were not sent there.")
    })
}

/// A request that was pushed (RFC 9126 section 4). Whatever else came along counts for nothing.
fn pushed(page: &Page, registration: &Registration, sealed: &str) -> Result<Request, Stop> {
    let pushed = super::par::Pushed::open(&page.app, sealed);
    let of_client = pushed.filter(|pushed| pushed.request.client == registration.id);
    let Some(pushed) = of_client else {
        return Err(unusable("The application sent you with something that this server did not give to it."));
    };
    let destination = pushed.request.destination();
    if !registration.may_redirect_to(destination.redirect_uri) {
        return Err(unusable("The application that asked was changed meanwhile. Start again from there."));
    }
    if page.caller.now >= pushed.expires_at {
        let fault = AuthorizationFault::InvalidRequestUri;
        return Err(Stop::Sent(Box::new(destination.send_error(&page.app, &fault))));
    }
    Ok(pushed.request)
}

/// The answer of a step that ends here, by redirect.
#[expect(clippy::unnecessary_wraps, reason = "a handler ends with it")]
fn sent(app: &App, request: &Request, fault: &AuthorizationFault) -> Answered {
    Ok(request.destination().send_error(app, fault))
}
