//! The server: what every request and answer owes, around the routing table. An id, one moment, an address, an end, and
//! a line in the log.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::Response;
use doorward_core::refusal::Refusal;
use doorward_wire::fault::{OidcFault, Unservable};
use futures_util::FutureExt as _;
use tower::Service as _;
use tracing::debug;

use super::answer::{self, RequestId};
use super::received::Arrival;
use super::routes::Routes;
use super::trouble::Audience;
use crate::app::App;
use crate::op::Caller;
use crate::web;

/// How long an answer may take. Whatever is slower is a fault of ours.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The portal's own spelling.
const PORTAL_REQUEST_ID: HeaderName = HeaderName::from_static("requestid");

/// The server, ready to answer.
#[derive(Clone)]
pub struct Server {
    app: Arc<App>,
    router: Router,
    paths: Arc<[&'static str]>,
}

impl Server {
    /// A server for `app`.
    #[must_use]
    pub fn new(app: &Arc<App>) -> Self {
        let Routes { router, paths } = Routes::of(app);
        Self { app: Arc::clone(app), router, paths }
    }

    /// Answers a request from `address`.
    pub async fn answer(&self, address: IpAddr, mut request: Request<Body>) -> Response {
        let app = &*self.app;
        let id = RequestId(uuid::Builder::from_random_bytes(app.tokens.draw()).into_uuid());
        let audience = Audience::of(request.uri(), request.headers());
        let log = tracing::enabled!(tracing::Level::DEBUG).then(|| self.log_line(&request));

        let host =
            if app.development.is_some() { host_of(&request, app.site.authority()) } else { Host::Own };
        let mut response = if let Host::Foreign = host {
            let why = "a development server answers to 127.0.0.1 and localhost alone, not to the host of this request";
            answer::oidc_fault(&OidcFault::Refused(Refusal::InvalidRequest(why.to_owned())))
        } else if let (Host::Alias, Audience::Person) = (host, audience) {
            // Its cookies and forms are of one origin.
            let path = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
            web::redirect(StatusCode::TEMPORARY_REDIRECT, &format!("{}{path}", app.site.base()))
        } else {
            request.extensions_mut().insert(Arrival { id, caller: Caller { address, now: app.clock.now() } });
            // A handler that panics takes nothing along: state is in the store, and what it holds is dropped.
            let handled = AssertUnwindSafe(self.router.clone().call(request)).catch_unwind();
            match tokio::time::timeout(REQUEST_TIMEOUT, handled).await {
                Ok(Ok(Ok(response))) => response,
                // The panic itself was logged by the process's own hook.
                Ok(Err(_)) => audience.internal(app, id),
                Err(_) => {
                    answer::log_outage(id, "a request took longer than 30 s");
                    audience.unservable(app, Unservable::TimedOut)
                }
            }
        };

        if let Some((method, route)) = log {
            debug!(request = %id, %method, route, status = response.status().as_u16(), %address, "answered");
        }
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = Bytes::copy_from_slice(id.0.as_hyphenated().encode_lower(&mut text).as_bytes());
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::from_maybe_shared(text) {
            headers.insert(AMZN_REQUEST_ID, value.clone());
            headers.insert(PORTAL_REQUEST_ID, value);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    /// Method and route; not the path, for an unknown one may hold anything.
    fn log_line(&self, request: &Request<Body>) -> (axum::http::Method, &'static str) {
        let path = request.uri().path();
        let route = self.paths.iter().copied().find(|known| *known == path).unwrap_or("other");
        (request.method().clone(), route)
    }
}

/// What a request to a development server names as its host. Such a server approves by itself and has public passwords; a
/// page elsewhere must not reach it through a name that resolves to this machine.
#[derive(Clone, Copy)]
enum Host {
    /// The server's own, or none.
    Own,
    /// Another name of this machine, or another port that leads here.
    Alias,
    /// Somebody else's.
    Foreign,
}

fn host_of(request: &Request<Body>, authority: &str) -> Host {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    match host {
        None => Host::Own,
        Some(host) if host == authority => Host::Own,
        Some(host) => match host.rsplit_once(':').map_or(host, |(name, _)| name) {
            "localhost" | "127.0.0.1" | "[::1]" => Host::Alias,
            _ => Host::Foreign,
        },
    }
}
