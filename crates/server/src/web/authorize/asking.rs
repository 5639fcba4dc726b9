//! Whether a person must be asked, to sign in or to agree; and the question.

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::application::{Application, ClientAuthentication};
use doorward_core::client::Registration;
use doorward_core::consent::{Agreed, Kept};
use doorward_core::directory::Directory;
use doorward_core::ids::CodeId;
use doorward_core::refusal::Refusal;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_wire::oauth::authorization::AuthorizationFault;

use super::deciding::{Approver, Asked, DECISION_LIFETIME, approve, not_admitted};
use super::request::{Expected, Request};
use super::under_way::{self, UnderWay, is_since};
use super::{Answered, sent};
use crate::tokens::About;
use crate::web::page::{Consent, Vouched};
use crate::web::visit::Browser;
use crate::web::{Page, Stop, html, scope_lines, see_other};

/// Whoever is signed in is asked, or signs in first.
pub(super) async fn ask(page: &Page, registration: &Registration, request: Request) -> Answered {
    let Page { app, caller, visit, .. } = page;
    if let Some(person) = app.auto_approver() {
        let code = code_of(page, &request);
        // It agrees to everything, which is kept as if it had been asked.
        let was_asked = registration.application.as_ref().is_some_and(|application| application.consent);
        let approver = Approver { person, authenticated_at: caller.now, browser: None, was_asked };
        return approve(page, code, &request, &approver).await;
    }
    if registration.application.is_none() {
        let browser = page.signed_in()?;
        let directory = browser.principal.directory();
        return Ok(question(page, browser, registration, request, directory));
    }
    visit.is_clear()?;
    let (since, browser) = (request.since(caller.now), visit.browser());
    // Neither who is signed in now will do, nor the same session later.
    let refused = browser.filter(|browser| {
        request.wants_login()
            || since.is_some_and(|since| !is_since(&browser.session, since))
            || !is_expected(&request, browser)
    });
    let (needs_sign_in, not) = match (browser, refused) {
        (Some(_), None) => (false, None),
        (Some(_), Some(refused)) => (true, Some(refused.session.id)),
        (None, _) => (true, None),
    };
    let expires_at = caller.now.plus(under_way::LIFETIME);
    let client_name = registration.name.clone();
    let under_way = UnderWay { request, client_name, seen: true, since, not, expires_at };
    if needs_sign_in {
        sign_in_first(page, &under_way)
    } else {
        ask_again(page, registration, under_way).await
    }
}

/// The same after a sign-in. It must have been one that will do; a person may also have come back without it.
pub(super) async fn ask_again(page: &Page, registration: &Registration, under_way: UnderWay) -> Answered {
    let Page { app, caller, visit, .. } = page;
    visit.is_clear()?;
    let browser = visit.browser().filter(|browser| under_way.is_met_by(&browser.session));
    let Some(browser) = browser else { return sign_in_first(page, &under_way) };
    let request = under_way.request;
    if !is_expected(&request, browser) && matches!(request.expected, Expected::Person(_)) {
        return sent(app, &request, &AuthorizationFault::LoginRequired);
    }
    let Some(application) = &registration.application else {
        return Err(Stop::Outage("a tool's request was sealed".to_owned()));
    };
    let principal = &browser.principal;
    if !application.admits(principal.id(), principal.groups()) {
        not_admitted(page, principal.id(), application);
        return sent(app, &request, &AuthorizationFault::Refused(Refusal::AccessDenied));
    }
    if !must_agree(page, application, &request, browser, caller.now).await? {
        let code = code_of(page, &request);
        return approve(page, code, &request, &Approver::of(browser, false)).await;
    }
    if request.prompt.none {
        return sent(app, &request, &AuthorizationFault::ConsentRequired);
    }
    Ok(question(page, browser, registration, request, principal.directory()))
}

fn sign_in_first(page: &Page, under_way: &UnderWay) -> Answered {
    if under_way.request.prompt.none {
        return sent(&page.app, &under_way.request, &AuthorizationFault::LoginRequired);
    }
    let next = under_way.address(&page.app);
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
    Ok(see_other(&format!("/sign-in?{query}")))
}

/// Whether this is the person whom the client expects. A hint that says nothing keeps from an answer without asking alone.
fn is_expected(request: &Request, browser: &Browser) -> bool {
    match &request.expected {
        Expected::Anybody => true,
        Expected::Person(person) => person == browser.principal.id(),
        Expected::Nobody => !request.prompt.none,
    }
}

/// Whether the person must be asked before the application gets anything.
async fn must_agree(
    page: &Page,
    application: &Application,
    request: &Request,
    browser: &Browser,
    now: Timestamp,
) -> Result<bool, Outage> {
    // Whatever else is so: that people need not agree to an application does not mean whoever claims to be it.
    if !is_the_application(application, request) {
        return Ok(true);
    }
    if !application.consent {
        return Ok(false);
    }
    if request.prompt.consent {
        return Ok(true);
    }
    let kept = Kept::load(&*page.app.store, browser.principal.id()).await?;
    let audiences = audiences(application, request);
    let asked = Agreed { scopes: &request.scopes, audiences: &audiences };
    Ok(!kept.covers(&application.client_id, &asked, &browser.principal, now))
}

/// Whether the answer can reach nobody but the application. Any program of the person's machine can wait on 127.0.0.1 or
/// behind a private-use scheme, and use the client id of a public client: it gets nothing without the person
/// (RFC 8252 section 8.6).
fn is_the_application(application: &Application, request: &Request) -> bool {
    application.authentication != ClientAuthentication::None
        || url::Url::parse(request.destination().redirect_uri).is_ok_and(|url| is_elsewhere(&url))
}

/// Whether it is an `https` address of another machine. A certificate for this one can be had, and trusted, by anybody on it.
fn is_elsewhere(url: &url::Url) -> bool {
    url.scheme() == "https"
        && match url.host() {
            Some(url::Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name != "localhost" && !name.ends_with(".localhost")
            }
            Some(url::Host::Ipv4(address)) => !address.is_loopback(),
            Some(url::Host::Ipv6(address)) => {
                !address.is_loopback() && !address.to_ipv4_mapped().is_some_and(|it| it.is_loopback())
            }
            None => false,
        }
}

/// What the access is for: all that the application may have, unless it asks for less.
pub(super) fn audiences(application: &Application, request: &Request) -> Vec<String> {
    // What was asked for was found among the application's when the request was read.
    application.audiences(&[], &request.audiences).unwrap_or_default()
}

fn code_of(page: &Page, request: &Request) -> CodeId {
    request.code.unwrap_or_else(|| CodeId::drawn(page.caller.now, page.app.tokens.draw()))
}

fn question(
    page: &Page,
    browser: &Browser,
    registration: &Registration,
    request: Request,
    directory: &Directory,
) -> Response {
    let Page { app, caller, visit, .. } = page;
    let returns_to = url::Url::parse(request.destination().redirect_uri).ok().map(|url| {
        // Behind a private-use scheme is a program, and what looks like a host there is none.
        match url.host_str().filter(|_| matches!(url.scheme(), "https" | "http")) {
            None => format!("{}:", url.scheme()),
            Some(host) => url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        }
    });
    let application = registration.application.as_deref();
    let asked = Asked {
        code: code_of(page, &request),
        request,
        browser: browser.session.id,
        expires_at: caller.now.plus(DECISION_LIFETIME),
    };
    let template = Consent {
        chrome: visit.chrome(app),
        action: "/authorize/decision".to_owned(),
        request: app.tokens.ask(About::Authorization, &asked),
        client_name: registration.name.clone(),
        vouched: match application {
            None => Vouched::ByNobody,
            Some(application) if is_the_application(application, &asked.request) => Vouched::ByAdministrator,
            Some(_) => Vouched::NameAlone,
        },
        user_code: None,
        scopes: scope_lines(&asked.request.scopes, directory),
        audiences: application.map(|it| audiences(it, &asked.request)).unwrap_or_default(),
        address: None,
        user_agent: None,
        asked: None,
        returns_to,
        person: browser.principal.shown_name().to_owned(),
    };
    html(app, StatusCode::OK, &template, Some(asked.request.destination().redirect_uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_machine_is_elsewhere() {
        for (uri, elsewhere) in [
            ("https://app.example/callback", true),
            ("https://192.0.2.1/callback", true),
            ("https://localhost.example/callback", true),
            ("https://localhost/callback", false),
            ("https://LOCALHOST.:8443/callback", false),
            ("https://app.localhost/callback", false),
            ("https://127.0.0.1/callback", false),
            ("https://127.1.2.3:8443/callback", false),
            ("https://[::1]/callback", false),
            ("https://[::ffff:127.0.0.1]/callback", false),
            ("http://127.0.0.1/callback", false),
            ("com.example.app:/callback", false),
        ] {
            assert_eq!(is_elsewhere(&url::Url::parse(uri).unwrap()), elsewhere, "{uri}");
        }
    }
}
