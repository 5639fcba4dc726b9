//! The handlers of the two APIs: read the request, run the operation, encode its outcome.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use axum::response::Response;
use doorward_core::refusal::Refusal;
use doorward_wire::fault::{OidcFault, PortalFault, Unservable};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::answer::{self, RequestId};
use crate::app::App;
use crate::op::{self, Caller};

/// The longest body that is read, in bytes. The longest real one, with ten long redirect URIs, has some ten thousand.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Shared = State<Arc<App>>;

/// Reads a body up to its limit.
pub(crate) async fn read(body: Body) -> Result<Bytes, Unservable> {
    if body.size_hint().lower() > LONGEST_BODY as u64 {
        return Err(Unservable::TooLarge);
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect());
    match whole.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unservable::TooLarge),
        Ok(Err(_)) | Err(_) => Err(Unservable::Incomplete),
    }
}

/// Whether a body may be read as JSON. A missing type is taken for the right one; SDKs always send it, and people
/// with a plain HTTP client should not have to.
fn is_json(headers: &HeaderMap) -> bool {
    if headers.contains_key(CONTENT_ENCODING) {
        return false;
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return true };
    let Ok(value) = value.to_str() else { return false };
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let utf8 = parts.all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
    });
    (media_type.is_empty() || media_type.eq_ignore_ascii_case("application/json")) && utf8
}

async fn oidc_body(request: Request<Body>) -> Result<(HeaderMap, Bytes), Response> {
    let (parts, body) = request.into_parts();
    let refuse = |what| answer::oidc_fault(&OidcFault::Unservable(what));
    if !is_json(&parts.headers) {
        return Err(refuse(Unservable::UnsupportedMediaType));
    }
    Ok((parts.headers, read(body).await.map_err(refuse)?))
}

pub(crate) async fn register_client(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    match oidc_body(request).await {
        Ok((_, body)) => answer::oidc(op::register_client::run(&app, &caller, &body), id),
        Err(refused) => refused,
    }
}

pub(crate) async fn start_device_authorization(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    match oidc_body(request).await {
        Ok((headers, body)) => {
            let user_agent = op::user_agent(&headers);
            answer::oidc(op::start_device_authorization::run(&app, &caller, user_agent, &body).await, id)
        }
        Err(refused) => refused,
    }
}

pub(crate) async fn create_token(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    request: Request<Body>,
) -> Response {
    // CreateTokenWithIAM has the same path, and is told apart by the query alone.
    if is_signed_operation(request.uri()) {
        let why = "CreateTokenWithIAM is not offered by this server";
        return answer::oidc_fault(&OidcFault::Refused(Refusal::InvalidRequest(why.into())));
    }
    match oidc_body(request).await {
        Ok((_, body)) => answer::oidc(op::create_token::run(&app, &caller, &body).await, id),
        Err(refused) => refused,
    }
}

fn is_signed_operation(uri: &Uri) -> bool {
    uri.query()
        .is_some_and(|query| form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "aws_iam"))
}

pub(crate) async fn get_role_credentials(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = uri.query().unwrap_or_default();
    answer::portal(op::get_role_credentials::run(&app, &caller, &headers, query).await, id)
}

pub(crate) async fn list_accounts(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = uri.query().unwrap_or_default();
    answer::portal(op::list_accounts::run(&app, &caller, &headers, query).await, id)
}

pub(crate) async fn list_account_roles(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let query = uri.query().unwrap_or_default();
    answer::portal(op::list_account_roles::run(&app, &caller, &headers, query).await, id)
}

pub(crate) async fn logout(
    State(app): Shared,
    Extension(caller): Extension<Caller>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    answer::portal(op::logout::run(&app, &caller, &headers).await, id)
}

/// `GET /healthz`: whether the server can answer, its store included.
pub(crate) async fn health(State(app): Shared, Extension(id): Extension<RequestId>) -> Response {
    match app.store.directory().await {
        Ok(_) => answer::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec()),
        Err(outage) => {
            answer::log_outage(id, &outage.to_string());
            answer::json(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"store unavailable"}"#.to_vec())
        }
    }
}

/// What a handler that panicked answers. The panic itself is in the log already, by the hook of the process.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    answer::oidc_fault(&OidcFault::Internal)
}

pub(crate) async fn wrong_oidc_method() -> Response {
    answer::oidc_fault(&OidcFault::Unservable(Unservable::MethodNotAllowed))
}

pub(crate) async fn wrong_portal_method() -> Response {
    answer::portal_fault(&PortalFault::Unservable(Unservable::MethodNotAllowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_in_utf_8_and_not_compressed() {
        let json = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            is_json(&headers)
        };
        for good in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\"", ""]
        {
            assert!(json("content-type", good), "{good}");
        }
        for bad in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=latin1",
            "application/jsonx",
        ] {
            assert!(!json("content-type", bad), "{bad}");
        }
        assert!(!json("content-encoding", "gzip"));
        assert!(is_json(&HeaderMap::new()));
    }

    #[test]
    fn t72_the_signed_operation_is_told_apart_by_the_query() {
        assert!(is_signed_operation(&Uri::from_static("/token?aws_iam=t")));
        assert!(is_signed_operation(&Uri::from_static("/token?x=1&aws_iam")));
        assert!(!is_signed_operation(&Uri::from_static("/token")));
        assert!(!is_signed_operation(&Uri::from_static("/token?aws=iam")));
    }
}
