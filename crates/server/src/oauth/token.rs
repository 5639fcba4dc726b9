//! The token endpoint (RFC 6749 section 3.2): `POST /token`, form-encoded.

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use doorward_core::grant::{AccessOnly, TokenRequest, client_credentials};
use doorward_core::refusal::Refusal;
use doorward_core::secret::RefreshToken;
use doorward_core::verdict::Verdict;
use doorward_wire::oauth::form::Form;
use doorward_wire::oauth::token::{ACCESS_TOKEN_TYPE, Grant, Input, Output};

use super::claims::{AccessToken, Beside, IdToken};
use super::client::{self, Authenticated};
use super::exchange::exchange;
use super::jwt_bearer::redeem_assertion;
use super::{dpop, serve};
use crate::app::App;
use crate::audit;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::create_token::{Redeemed, redeem_artefact};
use crate::op::{Caller, Failure};

/// The path of the endpoint.
const PATH: &str = "/token";

/// `POST /token`.
pub(crate) async fn create(received: Received) -> Response {
    serve(received, async |app, caller, headers, form| {
        let body = run(app, caller, headers, form).await?;
        Ok(answer::json(StatusCode::OK, body))
    })
    .await
}

async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Vec<u8>, Failure<Refusal>> {
    let authenticated = client::authenticate(app, caller, headers, form).await?;
    let Input { grant, scopes, resources } = Input::decode(form)?;
    let url = format!("{}{PATH}", app.site.base());
    let dpop_key = dpop::proof(app, caller, headers, &Method::POST, &url, None).await?;
    let request = TokenRequest {
        client: &authenticated.client,
        scopes,
        now: caller.now,
        lifetimes: &app.policy.lifetimes,
        sources: app.identity.trust(),
        audiences: resources,
        dpop_key,
    };
    match &grant {
        Grant::Artefact(artefact) => {
            let redeemed = redeem_artefact(app, caller, &request, artefact).await?;
            answer_with(app, caller, &authenticated, &request, &redeemed).await
        }
        Grant::JwtBearer(assertion) => {
            let redeemed = redeem_assertion(app, caller, &request, assertion).await?;
            answer_with(app, caller, &authenticated, &request, &redeemed).await
        }
        Grant::TokenExchange { subject_token, actor_token } => {
            let exchanged = exchange(app, caller, &request, subject_token, actor_token.as_ref()).await?;
            alone(app, caller, &authenticated, &exchanged.token, Some(ACCESS_TOKEN_TYPE)).await
        }
        Grant::ClientCredentials => {
            app.limits.call(Call::Token(caller.address))?;
            let Verdict { reply, event, .. } = client_credentials::decide(&request);
            audit::record(event.as_ref(), caller.address);
            alone(app, caller, &authenticated, &reply?, None).await
        }
    }
}

/// An access token that comes alone, made and encoded.
async fn alone(
    app: &App,
    caller: &Caller,
    authenticated: &Authenticated,
    token: &AccessOnly,
    issued_token_type: Option<&str>,
) -> Result<Vec<u8>, Failure<Refusal>> {
    let made = AccessToken::alone(app, caller, authenticated, token);
    let access_token = made.make(app).await?;
    Ok(Output {
        access_token: access_token.reveal(),
        issued_token_type,
        token_type: made.kind(),
        expires_in: token.expires_in,
        refresh_token: None,
        id_token: None,
        scope: &token.scopes.to_string(),
    }
    .encode())
}

/// The tokens of a session, made and encoded.
pub(super) async fn answer_with(
    app: &App,
    caller: &Caller,
    authenticated: &Authenticated,
    request: &TokenRequest<'_>,
    redeemed: &Redeemed,
) -> Result<Vec<u8>, Failure<Refusal>> {
    let Redeemed { issued, nonce } = redeemed;
    let made = AccessToken::of(app, caller, authenticated, request, issued);
    let access_token = made.make(app).await?;
    let id_token = if issued.scopes.contains("openid") {
        Some(
            IdToken::make(
                app,
                caller,
                authenticated,
                issued,
                Beside { nonce: nonce.as_deref(), ..Beside::default() },
                &access_token,
            )
            .await?,
        )
    } else {
        None
    };
    let refresh_token =
        issued.refresh_generation.map(|generation| app.tokens.refresh_token(issued.session, generation));
    Ok(Output {
        access_token: access_token.reveal(),
        issued_token_type: None,
        token_type: made.kind(),
        expires_in: issued.expires_in,
        refresh_token: refresh_token.as_ref().map(RefreshToken::reveal),
        id_token: id_token.as_deref(),
        scope: &issued.scopes.to_string(),
    }
    .encode())
}
