//! The handlers of the two APIs: read the request, run the operation, encode its outcome.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use doorward_core::ids::SessionId;
use doorward_core::refusal::{PortalRefusal, Refusal};
use doorward_wire::fault::{OidcFault, Unservable};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::answer;
use super::received::Received;
use crate::app::App;
use crate::oauth;
use crate::op::{self, Caller, Failure};

/// The longest body that is read, in bytes. The longest real one, with ten long redirect URIs, has some ten thousand.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

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
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
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

/// Answers an operation of `sso-oidc`, whose input is its body.
async fn oidc(
    received: Received,
    run: impl AsyncFnOnce(&App, &Caller, &HeaderMap, &[u8]) -> Result<Vec<u8>, Failure<Refusal>>,
) -> Response {
    let Received { app, id, caller, parts, body } = received;
    let refuse = |what| answer::oidc_fault(&OidcFault::Unservable(what));
    if !is_json(&parts.headers) {
        return refuse(Unservable::UnsupportedMediaType);
    }
    match read(body).await {
        Ok(body) => answer::oidc(run(&app, &caller, &parts.headers, &body).await, id),
        Err(what) => refuse(what),
    }
}

/// Answers an operation of `sso`, whose input is its query.
async fn portal(
    received: Received,
    run: impl AsyncFnOnce(&App, &Caller, &HeaderMap, &str) -> Result<Vec<u8>, Failure<PortalRefusal>>,
) -> Response {
    let Received { app, id, caller, parts, .. } = received;
    answer::portal(run(&app, &caller, &parts.headers, parts.uri.query().unwrap_or_default()).await, id)
}

pub(crate) async fn register_client(received: Received) -> Response {
    oidc(received, async |app, caller, _, body| op::register_client::run(app, caller, body)).await
}

pub(crate) async fn start_device_authorization(received: Received) -> Response {
    if oauth::is_form(received.headers()) {
        return oauth::device::authorize(received).await;
    }
    oidc(received, op::start_device_authorization::run).await
}

pub(crate) async fn create_token(received: Received) -> Response {
    // CreateTokenWithIAM has the same path, and is told apart by the query alone.
    if is_signed_operation(received.query()) {
        return op::create_token_with_iam::serve(received).await;
    }
    if oauth::is_form(received.headers()) {
        return oauth::token::create(received).await;
    }
    oidc(received, async |app, caller, _, body| op::create_token::run(app, caller, body).await).await
}

fn is_signed_operation(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "aws_iam")
}

pub(crate) async fn get_role_credentials(received: Received) -> Response {
    portal(received, op::get_role_credentials::run).await
}

pub(crate) async fn list_accounts(received: Received) -> Response {
    portal(received, op::list_accounts::run).await
}

pub(crate) async fn list_account_roles(received: Received) -> Response {
    portal(received, op::list_account_roles::run).await
}

pub(crate) async fn logout(received: Received) -> Response {
    portal(received, async |app, caller, headers, _| op::logout::run(app, caller, headers).await).await
}

/// `GET /healthz`: whether the server can answer, and its store works.
pub(crate) async fn health(received: Received) -> Response {
    let Received { app, id, .. } = received;
    // A session that nobody has is in no cache: this asks the database, or whoever writes the file.
    match app.store.session(SessionId::from_bytes(app.tokens.draw())).await {
        Ok(_) => answer::json(StatusCode::OK, br#"{"status":"ok"}"#.to_vec()),
        Err(outage) => {
            answer::log_outage(id, &outage.to_string());
            answer::json(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"store unavailable"}"#.to_vec())
        }
    }
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
        assert!(is_signed_operation("aws_iam=t"));
        assert!(is_signed_operation("x=1&aws_iam"));
        assert!(!is_signed_operation(""));
        assert!(!is_signed_operation("aws=iam"));
    }
}
