//! Requests that reach no handler, or whose handler comes to no answer: each audience is told in its own way.

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use doorward_wire::fault::{OidcFault, PortalFault, Unservable};
use doorward_wire::model::{OPERATIONS, Service};

use super::answer::{self, RequestId};
use super::received::Received;
use crate::app::App;
use crate::web;

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A client of `sso-oidc`, or any other program.
    Oidc,
    /// A client of `sso`.
    Portal,
    /// A person with a browser.
    Person,
}

impl Audience {
    /// Who asks for `uri`. An operation's path has its own clients, whatever they accept.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let operation = OPERATIONS.iter().find(|operation| operation.path == uri.path());
        match operation.map(|operation| operation.service) {
            Some(Service::Sso) => Self::Portal,
            None if accepts_html(headers) => Self::Person,
            Some(Service::SsoOidc) | None => Self::Oidc,
        }
    }

    /// The request cannot be served.
    pub(crate) fn unservable(self, app: &App, what: Unservable) -> Response {
        match self {
            Self::Oidc => answer::oidc_fault(&OidcFault::Unservable(what)),
            Self::Portal => answer::portal_fault(&PortalFault::Unservable(what)),
            Self::Person => web::unservable(app, what),
        }
    }

    /// Something broke that is ours to mend; the log knows what.
    pub(crate) fn internal(self, app: &App, id: RequestId) -> Response {
        match self {
            Self::Oidc => answer::oidc_fault(&OidcFault::Internal),
            Self::Portal => answer::portal_fault(&PortalFault::Internal),
            Self::Person => web::unavailable(app, &web::visit::Visit::nobody(), id),
        }
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// Every path that no route has.
pub(crate) async fn not_found(received: Received) -> Response {
    unservable(&received, Unservable::NotFound)
}

/// Every method that a route does not have.
pub(crate) async fn wrong_method(received: Received) -> Response {
    unservable(&received, Unservable::MethodNotAllowed)
}

fn unservable(received: &Received, what: Unservable) -> Response {
    Audience::of(&received.parts.uri, received.headers()).unservable(&received.app, what)
}
