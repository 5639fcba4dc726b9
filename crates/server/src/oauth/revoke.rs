//! `POST /revoke` (RFC 7009): a client gives back what it does not need any more.
//!
//! A refresh token ends its session, and with that every token that came from it, whichever generation it is. An access
//! token for applications is revoked alone: this server takes it no more, and says so to whoever asks; who verifies it by
//! themselves takes it until it expires. An access token for the portal ends its session, as the portal's Logout does.
//!
//! What is no token of the client's is answered as if it had been one (RFC 7009 section 2.2).

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use doorward_core::grant::session_end::End;
use doorward_core::grant::settle;
use doorward_core::ids::SessionId;
use doorward_core::refusal::Refusal;
use doorward_core::secret::{AccessToken, RefreshToken};
use doorward_core::session::EndReason;
use doorward_core::store::Outage;
use doorward_wire::oauth::form::Form;
use tracing::info;

use super::access::revocation;
use super::client::{self, Authenticated};
use super::{claims, once, serve};
use crate::app::App;
use crate::audit;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::{Caller, Failure};

/// `POST /revoke`.
pub(crate) async fn end(received: Received) -> Response {
    let mut response = serve(received, run).await;
    // Which tells the client to try again, since the token may still be good (RFC 7009 section 2.2.1).
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, Failure<Refusal>> {
    // Of public clients nothing is known, and each revocation is written down.
    app.limits.call(Call::Token(caller.address))?;
    let client = client::authenticate(app, caller, headers, form).await?;
    revoke(app, caller, &client, form.required("token")?).await?;
    Ok(answer::json(StatusCode::OK, b"{}".to_vec()))
}

/// Revokes a token if it is the client's. Of which kind it is it says itself, so that `token_type_hint` changes nothing.
async fn revoke(app: &App, caller: &Caller, client: &Authenticated, token: &str) -> Result<(), Outage> {
    if let Some((session, _)) = app.tokens.refresh(&RefreshToken::new(token)) {
        return end_session(app, caller, client, session).await;
    }
    if let Some(access) = app.tokens.access(&AccessToken::new(token)) {
        return end_session(app, caller, client, access.session).await;
    }
    let Some(claims) = claims::read(app, caller, token).await? else { return Ok(()) };
    if claims.client_id == client.client_id
        && once::revoke(app, revocation(&claims), claims.expires_at()).await?
    {
        let (client, subject, address) = (&claims.client_id, &claims.sub, caller.address);
        info!(target: "audit", event = "access_token_revoked", client, subject, session = claims.sid, %address);
    }
    Ok(())
}

async fn end_session(
    app: &App,
    caller: &Caller,
    client: &Authenticated,
    id: SessionId,
) -> Result<(), Outage> {
    let session = app.store.session(id).await?;
    let session = session.filter(|session| session.holder.client() == Some(client.client.id()));
    let Some(session) = session else { return Ok(()) };
    let end = End { session: id, person: &session.person, why: EndReason::Logout, now: caller.now };
    let settled = settle(&*app.store, &end).await?;
    audit::record(settled.event.as_ref(), caller.address);
    Ok(())
}
