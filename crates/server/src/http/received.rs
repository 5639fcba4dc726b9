//! A request as handlers get it: whole, with what the server has found out about it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use doorward_wire::fault::OidcFault;

use super::answer::{self, RequestId};
use crate::app::App;
use crate::op::Caller;

/// What the server has found out about a request before any handler sees it.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) id: RequestId,
    pub(super) caller: Caller,
}

/// A request.
pub(crate) struct Received {
    /// The server.
    pub(crate) app: Arc<App>,
    /// Its name.
    pub(crate) id: RequestId,
    /// Who sent it, and when.
    pub(crate) caller: Caller,
    /// Its head.
    pub(crate) parts: Parts,
    /// Its body, unread.
    pub(crate) body: Body,
}

impl Received {
    /// Its headers.
    pub(crate) const fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Its query string, without the question mark.
    pub(crate) fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }
}

impl FromRequest<Arc<App>> for Received {
    type Rejection = Response;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        match parts.extensions.remove::<Arrival>() {
            Some(Arrival { id, caller }) => Ok(Self { app: Arc::clone(app), id, caller, parts, body }),
            // A request that did not come through the server: a mistake of ours.
            None => Err(answer::oidc_fault(&OidcFault::Internal)),
        }
    }
}
