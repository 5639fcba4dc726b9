//! A person's decision, and the code that it leads to.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::application::Application;
use doorward_core::assignment::Standing;
use doorward_core::consent::{Agreed, Give};
use doorward_core::grant::authorization_code::Code;
use doorward_core::grant::settle;
use doorward_core::ids::{CodeId, PersonId, SessionId};
use doorward_core::refusal::Refusal;
use doorward_core::session::{Session, Terms};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_wire::oauth::authorization::AuthorizationFault;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::asking::audiences;
use super::request::Request;
use super::{Answered, registration_of, sent};
use crate::audit;
use crate::http::received::Received;
use crate::tokens::About;
use crate::web::device::approves;
use crate::web::visit::{Browser, sid_of};
use crate::web::{Notice, Page, Stop, serve};

/// How long a person may think.
pub(super) const DECISION_LIFETIME: Lifetime = Lifetime::from_seconds(600);

/// What a person is being asked, carried by the form and bound to all that was asked and to the browser. The code's id is
/// drawn already: a form that is posted twice makes one session, not two.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) code: CodeId,
    pub(super) request: Request,
    pub(super) browser: SessionId,
    pub(super) expires_at: Timestamp,
}

/// Who approves.
pub(super) struct Approver<'a> {
    pub(super) person: &'a PersonId,
    pub(super) authenticated_at: Timestamp,
    /// The session of their browser; none for a development server's approver.
    pub(super) browser: Option<&'a Session>,
    /// Whether they saw the question just now.
    pub(super) was_asked: bool,
}

impl<'a> Approver<'a> {
    pub(super) fn of(browser: &'a Browser, was_asked: bool) -> Self {
        let session = &browser.session;
        Self {
            person: &session.person,
            authenticated_at: session.authenticated_at,
            browser: Some(session),
            was_asked,
        }
    }
}

/// `POST /authorize/decision`.
pub(crate) async fn decide(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        let out_of_date = || Stop::Page(StatusCode::FORBIDDEN, Notice::out_of_date());
        let asked: Asked = app.tokens.asked(About::Authorization, posted.get("request")).ok_or_else(out_of_date)?;
        if asked.browser != browser.session.id || caller.now >= asked.expires_at {
            return Err(out_of_date());
        }
        let request = &asked.request;
        if request.application.is_some() {
            registration_of(app, request).await?;
        }
        if approves(posted.get("decision"))? {
            approve(page, asked.code, request, &Approver::of(browser, true)).await
        } else {
            let (person, application) = (&browser.session.person, request.application.as_ref());
            let application = application.map(tracing::field::display);
            info!(target: "audit", event = "authorization_denied", %person, application, address = %caller.address);
            sent(app, request, &AuthorizationFault::Refused(Refusal::AccessDenied))
        }
    })
    .await
}

/// The code, for whoever may have one.
pub(super) async fn approve(
    page: &Page,
    code: CodeId,
    request: &Request,
    approver: &Approver<'_>,
) -> Answered {
    let Page { app, caller, .. } = page;
    let Approver { person, authenticated_at, browser, was_asked } = *approver;
    let denied = || sent(app, request, &AuthorizationFault::Refused(Refusal::AccessDenied));
    let standing = Standing::load(&*app.store, app.identity.trust(), Some(person)).await?;
    let Some(principal) = standing.principal(person, authenticated_at, caller.now) else { return denied() };
    let mut terms = None;
    if let Some(id) = &request.application {
        let application = standing.directory().application(id).filter(|application| {
            let admitted = application.admits(person, principal.groups());
            if !admitted {
                not_admitted(page, person, application);
            }
            admitted
        });
        let Some(application) = application else { return denied() };
        if was_asked && !give(page, application, request, approver).await? {
            return denied();
        }
        let proof = browser.and_then(|session| session.terms.as_deref());
        terms = Some(Arc::new(Terms {
            audiences: request.audiences.clone(),
            dpop_key: request.dpop_key,
            browser: browser.map(sid_of),
            amr: proof.map(|proof| proof.amr.clone()).unwrap_or_default(),
            acr: proof.and_then(|proof| proof.acr.clone()),
            issuer: None,
            proved_at: browser.map_or(Some(authenticated_at), Session::auth_time),
        }));
    }
    let code = app.tokens.authorization_code(&Code {
        id: code,
        client: request.client,
        redirect_uri: request.redirect_uri.clone(),
        challenge: request.challenge,
        scopes: request.scopes.clone(),
        person: person.clone(),
        authenticated_at,
        expires_at: caller.now.plus(app.policy.lifetimes.authorization_code),
        terms,
        nonce: request.nonce.clone(),
    });
    let application = request.application.as_ref().map(tracing::field::display);
    info!(target: "audit", event = "authorization_approved", %person, application, address = %caller.address);
    Ok(request.destination().send_code(app, code.reveal()))
}

/// Remembers what the person has just agreed to; whether they may.
async fn give(
    page: &Page,
    application: &Application,
    request: &Request,
    approver: &Approver<'_>,
) -> Result<bool, Stop> {
    let Page { app, caller, .. } = page;
    let audiences = audiences(application, request);
    let give = Give {
        person: approver.person,
        authenticated_at: approver.authenticated_at,
        sources: app.identity.trust(),
        application: &application.client_id,
        agreed: Agreed { scopes: &request.scopes, audiences: &audiences },
        now: caller.now,
    };
    let settled = settle(&*app.store, &give).await?;
    audit::record(settled.event.as_ref(), caller.address);
    Ok(settled.reply.is_ok())
}

/// Writes down that somebody wanted to use an application that is not for them.
pub(super) fn not_admitted(page: &Page, person: &PersonId, application: &Application) {
    let (application, address) = (&application.client_id, page.caller.address);
    info!(target: "audit", event = "application_not_admitted", %person, %application, %address);
}
