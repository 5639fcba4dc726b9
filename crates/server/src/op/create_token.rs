//! CreateToken: authenticates the client, reads the grant's artefact, and has it redeemed.

use doorward_core::client::GrantType;
use doorward_core::grant::{TokenRequest, authorization_code, device_code, redeem, refresh_token};
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::RefreshToken;
use doorward_core::verdict::Issued;
use doorward_wire::oidc::create_token::{Grant, Input, Output};

use super::{Caller, Failure};
use crate::app::App;
use crate::audit;
use crate::limits::Call;
use crate::tokens::Tokens;

pub(crate) async fn run(app: &App, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Failure<Refusal>> {
    let input = Input::decode(body)?;
    let client = match app.tokens.authenticate(&input.client_id, &input.client_secret, caller.now) {
        Ok(client) => client,
        Err(refusal) => {
            app.limits.call(Call::Token(caller.address))?;
            return Err(refusal.into());
        }
    };
    let request = TokenRequest {
        client: &client,
        scopes: Scopes::parse(input.scope.iter().map(String::as_str))?,
        now: caller.now,
        lifetimes: &app.policy.lifetimes,
        sources: app.identity.trust(),
        audiences: Vec::new(),
        dpop_key: None,
    };
    let Redeemed { issued, .. } = redeem_artefact(app, caller, &request, &input.grant).await?;
    let refresh_token =
        issued.refresh_generation.map(|generation| app.tokens.refresh_token(issued.session, generation));
    Ok(Output {
        access_token: app.tokens.access_token(&issued).reveal(),
        expires_in: issued.expires_in,
        id_token: None,
        refresh_token: refresh_token.as_ref().map(RefreshToken::reveal),
        token_type: "Bearer",
    }
    .encode())
}

/// Tokens to be made, and what only the artefact knew.
pub(crate) struct Redeemed {
    pub(crate) issued: Issued,
    /// `nonce` of the authentication request.
    pub(crate) nonce: Option<String>,
}

/// Redeems what this server has given out, whichever way it came back.
pub(crate) async fn redeem_artefact(
    app: &App,
    caller: &Caller,
    request: &TokenRequest<'_>,
    artefact: &Grant,
) -> Result<Redeemed, Failure<Refusal>> {
    let (store, client, mut nonce) = (&*app.store, request.client, None);
    let settled = match artefact {
        Grant::DeviceCode(code) => {
            client.may_use(GrantType::DeviceCode)?;
            let Some(id) = app.tokens.device_request(code) else {
                app.limits.call(Call::Token(caller.address))?;
                return Err(Refusal::InvalidGrant.into());
            };
            app.limits.poll(id)?;
            redeem(store, &device_code::Redeem { id }, request).await?
        }
        Grant::AuthorizationCode { code, redirect_uri, verifier } => {
            app.limits.call(Call::Token(caller.address))?;
            client.may_use(GrantType::AuthorizationCode)?;
            let code = app.tokens.code(code).ok_or(Refusal::InvalidGrant)?;
            let proof = Tokens::proof(verifier);
            nonce.clone_from(&code.nonce);
            redeem(store, &authorization_code::Redeem { code: &code, redirect_uri, proof }, request).await?
        }
        Grant::RefreshToken(token) => {
            app.limits.call(Call::Token(caller.address))?;
            client.may_use(GrantType::RefreshToken)?;
            let (session, generation) = app.tokens.refresh(token).ok_or(Refusal::InvalidRefreshToken)?;
            app.identity.recheck_session(session, caller).await?;
            redeem(store, &refresh_token::Redeem { session, generation }, request).await?
        }
    };
    audit::record(settled.event.as_ref(), caller.address);
    Ok(Redeemed { issued: settled.reply?, nonce })
}
