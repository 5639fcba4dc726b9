//! The applications that a person let in, on the portal page.

use doorward_core::consent::{Kept, Withdraw};
use doorward_core::grant::settle;
use doorward_core::ids::{ApplicationId, ClientId};

use axum::response::Response;

use super::page::ApplicationLine;
use super::visit::Browser;
use super::{Page, Stop, ending, moment, scope_lines, see_other, serve};
use crate::audit;
use crate::http::received::Received;

/// What the person agreed to, by the applications' names. What is no application any more has nothing, and is not there.
pub(super) async fn lines(page: &Page, browser: &Browser) -> Result<Vec<ApplicationLine>, Stop> {
    let (principal, now) = (&browser.principal, page.caller.now);
    let directory = principal.directory();
    let kept = Kept::load(&*page.app.store, principal.id()).await?;
    let mut lines: Vec<ApplicationLine> = kept
        .of(principal, now)
        .filter_map(|(id, consent)| {
            let application = directory.application(id)?;
            Some(ApplicationLine {
                id: id.to_string(),
                name: application.name.as_str().into(),
                scopes: scope_lines(&consent.scopes, directory),
                audiences: consent.audiences.clone(),
                given: moment(consent.given_at),
            })
        })
        .collect();
    lines.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    Ok(lines)
}

/// `POST /start/applications/withdraw`.
pub(crate) async fn withdraw(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        if let Ok(application) = ApplicationId::parse(posted.get("application")) {
            let person = &browser.session.person;
            let settled = settle(&*app.store, &Withdraw { person, application: &application }).await?;
            audit::record(settled.event.as_ref(), caller.address);
            // Also when it was withdrawn before, and ending them failed.
            ending::end_all_of(page, browser, ClientId::of_application(&application)).await?;
        }
        Ok(see_other("/start"))
    })
    .await
}
