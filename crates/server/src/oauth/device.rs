//! The device authorization endpoint (RFC 8628 section 3.1).

use axum::http::StatusCode;
use axum::response::Response;
use doorward_core::scope::Scopes;
use doorward_wire::oauth::device::Output;

use super::{client, serve};
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::start_device_authorization::start;

/// `POST /device_authorization`, form-encoded.
pub(crate) async fn authorize(received: Received) -> Response {
    serve(received, async |app, caller, headers, form| {
        app.limits.call(Call::Anonymous(caller.address))?;
        let client = client::authenticate(app, caller, headers, form).await?.client;
        let scopes = Scopes::parse(form.get("scope"))?;
        let started = start(app, caller, headers, &client, &scopes).await?;
        let device_code = app.tokens.device_code(started.id);
        let body = Output {
            device_code: device_code.reveal(),
            user_code: &started.user_code,
            verification_uri: &started.verification_uri,
            verification_uri_complete: &started.verification_uri_complete,
            expires_in: started.expires_in,
            interval: started.interval,
        };
        Ok(answer::json(StatusCode::OK, body.encode()))
    })
    .await
}
