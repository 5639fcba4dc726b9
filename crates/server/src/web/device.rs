//! The device page (RFC 8628 section 3.3): type the code, see who asks, decide.

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::application::ClientAuthentication;
use doorward_core::device::{DeviceRequest, DeviceState};
use doorward_core::grant::device_code::{Decide, Decided};
use doorward_core::grant::settle;
use doorward_core::ids::{DeviceRequestId, SessionId};
use doorward_core::secret::{UserCode, UserCodeHash};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::page::{Consent, DeviceCode, OutcomeKind, Vouched};
use super::visit::{Browser, Visit};
use super::{Notice, Page, Stop, html, moment, outcome, scope_lines, serve};
use crate::app::{App, DeviceGrant};
use crate::audit;
use crate::guesses::Guess;
use crate::http::received::Received;
use crate::op::Caller;
use crate::tokens::About;

const UNKNOWN: &str = "No tool is waiting with that code. Codes expire after a few minutes: compare it with the one \
                       your tool shows, or start the tool again.";
const TOO_OFTEN: &str = "Too many wrong codes. Wait a minute, then try again.";
const ELSEWHERE: &str = "The tool with that code runs at another network address than this browser, and this server does \
                         not allow that. If you did not start the tool yourself, somebody wants to sign in as you.";
/// The longest text that is given back into the field.
const LONGEST_TYPED: usize = 64;

/// What a person is being asked, carried by the form. It belongs to the browser that it was shown to.
#[derive(Serialize, Deserialize)]
struct Asked {
    request: DeviceRequestId,
    user_code: [u8; 16],
    browser: SessionId,
}

/// `GET /device?user_code=`.
pub(crate) async fn show(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, visit, .. } = page;
        page.signed_in()?;
        // Only what is a code is put into the field: the address may hold anything.
        let code =
            page.parameter("user_code").and_then(|text| UserCode::parse(&text)).map(|code| code.reveal());
        Ok(form(app, visit, code.unwrap_or_default(), None))
    })
    .await
}

fn form(app: &App, visit: &Visit, user_code: String, problem: Option<&str>) -> Response {
    let template = DeviceCode { chrome: visit.chrome(app), user_code, problem: problem.map(str::to_owned) };
    html(app, StatusCode::OK, &template, None)
}

/// `POST /device`.
pub(crate) async fn look_up(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, visit, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        let typed: String = posted.get("user_code").trim().chars().take(LONGEST_TYPED).collect();

        let guess = Guess::UserCode(browser.session.id, caller.address);
        if !app.guesses.allow(&*app.store, guess, caller.now).await? {
            info!(target: "audit", event = "user_code_throttled", person = %browser.session.person, address = %caller.address);
            return Ok(form(app, visit, typed, Some(TOO_OFTEN)));
        }
        let code = UserCode::parse(&typed);
        let found = match code {
            Some(code) => find(app, caller, code).await?.map(|request| (code, request)),
            None => None,
        };
        let Some((code, request)) = found else {
            info!(target: "audit", event = "user_code_refused", person = %browser.session.person, address = %caller.address);
            return Ok(form(app, visit, typed, Some(UNKNOWN)));
        };
        if app.policy.device_grant == DeviceGrant::SameAddress
            && request.requester.address.to_canonical() != caller.address.to_canonical()
        {
            info!(
                target: "audit", event = "device_from_elsewhere", request = %request.id,
                person = %browser.session.person, address = %caller.address, requester = %request.requester.address
            );
            return Ok(form(app, visit, typed, Some(ELSEWHERE)));
        }
        Ok(consent(app, visit, browser, &request, code))
    })
    .await
}

/// The undecided request with this code.
async fn find(app: &App, caller: &Caller, code: UserCode) -> Result<Option<DeviceRequest>, Stop> {
    for hash in app.tokens.user_code_hashes(code) {
        if let Some(request) = app.store.device_request_by_code(hash).await? {
            let open = request.state == DeviceState::Pending && caller.now < request.expires_at;
            return Ok(open.then_some(request));
        }
    }
    Ok(None)
}

fn consent(app: &App, visit: &Visit, browser: &Browser, request: &DeviceRequest, code: UserCode) -> Response {
    let asked =
        Asked { request: request.id, user_code: *request.user_code.as_bytes(), browser: browser.session.id };
    let directory = browser.principal.directory();
    let application = directory.application_of(request.client);
    let template = Consent {
        chrome: visit.chrome(app),
        action: "/device/decision".to_owned(),
        request: app.tokens.ask(About::Device, &asked),
        client_name: request.client_name.clone(),
        user_code: Some(code.reveal()),
        // A code can be had in the name of any public client.
        vouched: match application {
            None => Vouched::ByNobody,
            Some(application) if application.authentication == ClientAuthentication::None => {
                Vouched::NameAlone
            }
            Some(_) => Vouched::ByAdministrator,
        },
        scopes: scope_lines(&request.scopes, directory),
        audiences: application.map(|application| application.audiences.clone()).unwrap_or_default(),
        address: Some(request.requester.address.to_string()),
        user_agent: request.requester.user_agent.clone(),
        asked: Some(moment(request.created_at)),
        returns_to: None,
        person: browser.principal.shown_name().to_owned(),
    };
    html(app, StatusCode::OK, &template, None)
}

/// `POST /device/decision`.
pub(crate) async fn decide(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, visit, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        let out_of_date = || Stop::Page(StatusCode::FORBIDDEN, Notice::out_of_date());
        let asked: Asked = app.tokens.asked(About::Device, posted.get("request")).ok_or_else(out_of_date)?;
        if asked.browser != browser.session.id {
            return Err(out_of_date());
        }
        let decision = Decide {
            user_code: UserCodeHash::from_bytes(asked.user_code),
            shown: asked.request,
            person: &browser.session.person,
            authenticated_at: browser.session.authenticated_at,
            sources: app.identity.trust(),
            approve: approves(posted.get("decision"))?,
            now: caller.now,
        };
        let settled = settle(&*app.store, &decision).await?;
        audit::record(settled.event.as_ref(), caller.address);
        Ok(told(app, visit, settled.reply))
    })
    .await
}

/// Whether a decision approves. Anything that comes from no button of ours decides nothing.
pub(super) fn approves(decision: &str) -> Result<bool, Stop> {
    match decision {
        "approve" => Ok(true),
        "deny" => Ok(false),
        _ => Err(Stop::Page(StatusCode::BAD_REQUEST, Notice::out_of_date())),
    }
}

fn told(app: &App, visit: &Visit, decided: Decided) -> Response {
    let (status, kind, title, text) = match decided {
        Decided::Approved => (
            StatusCode::OK,
            OutcomeKind::Approved,
            "Approved",
            "Your tool is signed in. You can close this page and go back to it.",
        ),
        Decided::Denied => (
            StatusCode::OK,
            OutcomeKind::Denied,
            "Denied",
            "The tool was not signed in, and has been told so. You can close this page.",
        ),
        Decided::Expired => (
            StatusCode::OK,
            OutcomeKind::Expired,
            "That request has expired",
            "Nothing was approved. Start the tool again to get a new code.",
        ),
        Decided::Unknown => (
            StatusCode::OK,
            OutcomeKind::Failed,
            "That request is no longer open",
            "It was decided already, or taken back. Look at your access page to see which tools are signed in as you.",
        ),
        Decided::PersonNotUsable => (
            StatusCode::FORBIDDEN,
            OutcomeKind::Denied,
            "You cannot sign a tool in",
            "Your access has been switched off. Ask the people who run this server.",
        ),
        Decided::NotAdmitted => (
            StatusCode::FORBIDDEN,
            OutcomeKind::Denied,
            "This application is not for you",
            "It was not signed in. Ask the people who run this server if you think that you should have it.",
        ),
    };
    let action = (decided != Decided::PersonNotUsable).then_some(("/start", "Your access"));
    outcome(app, visit, status, Notice { kind, title, text: text.into(), action }, None)
}
