//! A request of an application on its way through the sign-in page, and back.
//!
//! It travels sealed, in the address to come back to. With it goes what the sign-in must achieve: a request that wants
//! the person to prove anew who they are is not satisfied by a session that was there before, and is by the next one.

use std::sync::Arc;

use doorward_core::ids::SessionId;
use doorward_core::session::Session;
use doorward_core::time::{Lifetime, Timestamp};
use serde::{Deserialize, Serialize};

use super::request::Request;
use crate::app::App;
use crate::tokens::About;
use crate::web::visit::Visit;

/// Where it comes back to.
pub(crate) const PATH: &str = "/authorize/resume";
/// How long a person may take to sign in.
pub(super) const LIFETIME: Lifetime = Lifetime::from_seconds(3600);

/// A request on its way.
#[derive(Serialize, Deserialize)]
pub(crate) struct UnderWay {
    pub(crate) request: Request,
    /// What the application is called, for the sign-in page.
    pub(crate) client_name: Arc<str>,
    /// Whether it is known who is signed in in this browser. Not with a form that an application posted: browsers send no
    /// cookie along with that.
    pub(super) seen: bool,
    /// When the person must have proved who they are at the earliest.
    pub(crate) since: Option<Timestamp>,
    /// The session that will not do.
    pub(super) not: Option<SessionId>,
    pub(super) expires_at: Timestamp,
}

impl UnderWay {
    /// The address that it comes back to.
    pub(super) fn address(&self, app: &App) -> String {
        format!("{PATH}?request={}", app.tokens.ask(About::Resumption, self))
    }

    /// Reads it from such an address, or another one of ours.
    pub(crate) fn of(app: &App, address: &str) -> Option<Self> {
        let (path, query) = address.split_once('?')?;
        let (_, sealed) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "request")?;
        if path == PATH { app.tokens.asked(About::Resumption, &sealed) } else { None }
    }

    /// Whether whoever signed in with this session is signed in well enough.
    pub(super) fn is_met_by(&self, session: &Session) -> bool {
        self.not != Some(session.id) && self.since.is_none_or(|since| is_since(session, since))
    }
}

/// Whether the person is known to have proved who they are at `since` or later. A source may let somebody through on what
/// they proved there long ago, and need not say when that was.
pub(super) fn is_since(session: &Session, since: Timestamp) -> bool {
    session.auth_time().is_some_and(|at| at >= since)
}

/// Whether whoever visits need not sign in to go to `next`, an address of ours.
pub(crate) fn is_signed_in_for(app: &App, visit: &Visit, next: &str) -> bool {
    visit
        .browser()
        .is_some_and(|browser| UnderWay::of(app, next).is_none_or(|it| it.is_met_by(&browser.session)))
}
