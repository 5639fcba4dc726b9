//! RegisterClient. Nothing is stored: the client carries its registration itself, sealed.

use doorward_core::client::RegistrationRequest;
use doorward_core::ids::ClientId;
use doorward_core::refusal::Refusal;
use doorward_wire::oidc::register_client::{Input, Output};

use super::{Caller, Failure};
use crate::app::App;
use crate::limits::Call;

pub(crate) fn run(app: &App, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Failure<Refusal>> {
    app.limits.call(Call::Anonymous(caller.address))?;
    let input = Input::decode(body)?;
    if let Some(issuer_url) = &input.issuer_url
        && !app.site.knows_start_url(issuer_url)
    {
        // Harmless, since there is one set of people here, but it is how a wrong start URL shows first.
        tracing::debug!("a client registers for a start URL that is not this server's");
    }
    let request = RegistrationRequest {
        name: &input.client_name,
        kind: &input.client_type,
        scopes: &input.scopes,
        redirect_uris: &input.redirect_uris,
        grants: input.grant_types.as_deref(),
    };
    let id = ClientId::from_bytes(app.tokens.draw());
    let registration = app.policy.registration.register(&request, id, caller.now)?;
    let (client_id, client_secret) = app.tokens.client(&registration);
    let base = app.site.base();
    Ok(Output {
        authorization_endpoint: &format!("{base}/authorize"),
        client_id: &client_id,
        client_id_issued_at: registration.issued_at.seconds(),
        client_secret: client_secret.reveal(),
        client_secret_expires_at: registration.expires_at.seconds(),
        token_endpoint: &format!("{base}/token"),
    }
    .encode())
}
