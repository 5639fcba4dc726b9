//! STS, as far as a login needs it to prove that its credentials work: GetCallerIdentity, signed, for the built-in
//! credentials.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use doorward_core::secret::SessionToken;
use doorward_upstream::credentials::built_in::Caller;
use doorward_upstream::iam::sigv4::Claimed;

use crate::app::App;
use crate::http::api;
use crate::http::received::Received;

type Refused = (StatusCode, &'static str, &'static str);

/// `POST /`.
pub(crate) async fn get_caller_identity(received: Received) -> Response {
    let Received { app, id, parts, body, .. } = received;
    let outcome = match api::read(body).await {
        Ok(body) => identify(&app, &parts, &body),
        Err(_) => Err((StatusCode::BAD_REQUEST, "MalformedInput", "The request body could not be read")),
    };
    match outcome {
        // Accounts, roles and people have no character that XML would mind.
        Ok(Caller { account, role, person, .. }) => xml(
            StatusCode::OK,
            format!(
                "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <GetCallerIdentityResult>\
                 <Arn>arn:aws:sts::{account}:assumed-role/{role}/{person}</Arn>\
                 <UserId>AROADOORWARDBUILTIN0:{person}</UserId><Account>{account}</Account>\
                 </GetCallerIdentityResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>\
                 </GetCallerIdentityResponse>"
            ),
        ),
        Err((status, code, message)) => xml(
            status,
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
            ),
        ),
    }
}

fn identify(app: &App, parts: &Parts, body: &[u8]) -> Result<Caller, Refused> {
    let action = form_urlencoded::parse(body).find(|(name, _)| name == "Action").map(|(_, value)| value);
    if action.as_deref() != Some("GetCallerIdentity") {
        return Err((
            StatusCode::BAD_REQUEST,
            "InvalidAction",
            "This STS knows GetCallerIdentity and nothing else",
        ));
    }
    let denied = (
        StatusCode::FORBIDDEN,
        "InvalidClientTokenId",
        "The security token included in the request is invalid",
    );
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let signature = Claimed::read(parts).map_err(|_| {
        (
            StatusCode::FORBIDDEN,
            "MissingAuthenticationToken",
            "The request is not signed, or not as it must be",
        )
    })?;
    let built_in = &app.development.as_ref().ok_or(denied)?.built_in;
    let token = SessionToken::new(header("x-amz-security-token").ok_or(denied)?);
    let caller = built_in.caller(&token).ok_or(denied)?;
    if caller.access_key_id != signature.access_key_id {
        return Err(denied);
    }
    if app.clock.now() >= caller.expires_at {
        return Err((
            StatusCode::FORBIDDEN,
            "ExpiredToken",
            "The security token included in the request is expired",
        ));
    }
    // Clients sign by their own clock, however far ours was put forward.
    let now = app.clock.unshifted();
    let why = "The request signature we calculated does not match the signature you provided";
    signature
        .verify(parts, body, &caller.secret_access_key, "sts", now)
        .map_err(|_| (StatusCode::FORBIDDEN, "SignatureDoesNotMatch", why))?;
    Ok(caller)
}

fn xml(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
