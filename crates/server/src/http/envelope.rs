//! What every request and answer owes: an id, one moment, an address, an end, and a line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::Response;
use doorward_core::refusal::Refusal;
use doorward_wire::fault::{OidcFault, Unservable};
use tracing::debug;

use super::answer::{self, RequestId};
use super::proxy::TrustedProxies;
use crate::app::App;
use crate::op::Caller;

/// How long an answer may take. Whatever is slower is a fault of ours.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const AMZN_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The portal's own spelling.
const PORTAL_REQUEST_ID: HeaderName = HeaderName::from_static("requestid");

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// Which peers are believed when they name their own clients.
    pub(crate) trusted: Arc<TrustedProxies>,
}

pub(crate) async fn envelope(
    State(app): State<Arc<App>>,
    mut request: Request<Body>,
    next: Next,
) -> Response {
    let id = RequestId(uuid::Builder::from_random_bytes(app.tokens.draw()).into_uuid());
    let address = match request.extensions().get::<Peer>() {
        Some(peer) => peer.trusted.client_of(peer.address.ip(), request.headers()),
        // In-process, without a socket.
        None => [127, 0, 0, 1].into(),
    };
    let caller = Caller { address, now: app.clock.now() };
    if app.development.is_some() && !is_own_host(&request, app.site.authority()) {
        let why =
            "a development server answers to 127.0.0.1 and localhost alone, not to the host of this request";
        return answer::oidc_fault(&OidcFault::Refused(Refusal::InvalidRequest(why.to_owned())));
    }
    request.extensions_mut().insert(id);
    request.extensions_mut().insert(caller);

    // The route and not the path: an unknown path may hold anything.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let answered = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        answer::log_outage(id, "a request took longer than 30 s");
        answer::oidc_fault(&OidcFault::Unservable(Unservable::TimedOut))
    });
    debug!(
        request = %id, %method, route = route.as_ref().map_or("none", MatchedPath::as_str),
        status = response.status().as_u16(), %address, "answered"
    );

    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    let text = id.0.as_hyphenated().encode_lower(&mut text);
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(AMZN_REQUEST_ID, value.clone());
        response.headers_mut().insert(PORTAL_REQUEST_ID, value);
    }
    response
        .headers_mut()
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    response
}

/// Whether a request names this server as its host. A development server approves by itself and has public
/// passwords; a page elsewhere must not reach it through a name that resolves to this machine.
fn is_own_host(request: &Request<Body>, authority: &str) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    let Some(host) = host else { return true };
    if host == authority {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}
