//! Token exchange (RFC 8693), of access tokens that this server gave out.

use doorward_core::client::GrantType;
use doorward_core::grant::token_exchange::{Exchange, Source};
use doorward_core::grant::{AccessOnly, TokenRequest, settle};
use doorward_core::ids::ApplicationId;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::AccessToken;

use super::access::{self, Good};
use crate::app::App;
use crate::audit;
use crate::limits::Call;
use crate::op::{Caller, Failure};

/// What came of an exchange.
pub(crate) struct Exchanged {
    /// The new token.
    pub(crate) token: AccessOnly,
    /// What the first one could do.
    pub(crate) had: Scopes,
}

/// Exchanges a token.
///
/// # Errors
/// [`Refusal::InvalidRequest`] for tokens that are not good, or not to be exchanged (RFC 8693 section 2.2.2), and what the
/// exchange itself refuses; an outage when the store or the person's identity source is at fault.
pub(crate) async fn exchange(
    app: &App,
    caller: &Caller,
    request: &TokenRequest<'_>,
    subject_token: &AccessToken,
    actor_token: Option<&AccessToken>,
) -> Result<Exchanged, Failure<Refusal>> {
    app.limits.call(Call::Token(caller.address))?;
    request.client.may_use(GrantType::TokenExchange)?;
    let subject = good(app, caller, "subject_token", subject_token).await?;
    if let Some(token) = actor_token {
        let actor = good(app, caller, "actor_token", token).await?;
        // Of whom else it is, that one has not authenticated here.
        if actor.principal.is_some() || actor.client != request.client.id() {
            let why = "actor_token must be the application's own, of the grant client_credentials";
            return Err(Refusal::InvalidRequest(why.into()).into());
        }
    }
    let source = Source {
        application: subject.client_id.as_deref().and_then(|id| ApplicationId::parse(id).ok()),
        subject: match subject.principal {
            None => ApplicationId::parse(&*subject.subject).ok(),
            Some(_) => None,
        },
        session: subject.session,
        scopes: subject.scopes,
        expires_at: subject.expires_at,
        actors: subject.claims.and_then(|claims| claims.act).map(|act| act.names()).unwrap_or_default(),
    };
    let exchange = Exchange { source: &source, names_actor: actor_token.is_some(), request };
    let settled = settle(&*app.store, &exchange).await?;
    audit::record(settled.event.as_ref(), caller.address);
    Ok(Exchanged { token: settled.reply?, had: source.scopes })
}

async fn good(app: &App, caller: &Caller, name: &str, token: &AccessToken) -> Result<Good, Failure<Refusal>> {
    let good = access::good(app, caller, token.reveal()).await?;
    Ok(good.ok_or_else(|| {
        Refusal::InvalidRequest(format!("{name} is not an access token of this server, or not good any more"))
    })?)
}
