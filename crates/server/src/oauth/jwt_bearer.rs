//! The JWT bearer grant (RFC 7523 section 2.1): the assertion is checked against its issuer, and then redeemed like anything
//! that this server gave out itself.

use doorward_core::client::GrantType;
use doorward_core::grant::jwt_bearer::{Assertion, Redeem};
use doorward_core::grant::{TokenRequest, redeem};
use doorward_core::ids::{PersonId, SessionId};
use doorward_core::refusal::Refusal;
use doorward_core::secret;
use tracing::info;

use super::once::{Purpose, once_id, remembered_until};
use crate::app::App;
use crate::audit;
use crate::limits::Call;
use crate::op::create_token::Redeemed;
use crate::op::{Caller, Failure};

/// Redeems an assertion.
///
/// # Errors
/// A refusal of the grant; an outage when the store, the issuer, or the person's identity source is at fault.
pub(crate) async fn redeem_assertion(
    app: &App,
    caller: &Caller,
    request: &TokenRequest<'_>,
    assertion: &secret::Assertion,
) -> Result<Redeemed, Failure<Refusal>> {
    app.limits.call(Call::Token(caller.address))?;
    request.client.may_use(GrantType::JwtBearer)?;
    let application = request.client.application().ok_or(Refusal::UnauthorizedClient)?;
    let (issuer, asserted) = app.issuers.verify(application, assertion.reveal(), caller.now).await?;
    let assertion = Assertion {
        client: request.client.id(),
        issuer: issuer.settings().name.clone(),
        person: asserted.person,
        issued_at: asserted.issued_at,
        expires_at: asserted.expires_at,
        id: once_id(Purpose::Assertion, issuer.settings().issuer.as_bytes(), &asserted.identifier),
        remembered_until: remembered_until(asserted.expires_at),
    };
    let person = assertion.person.person(&*app.store.directory().await?);
    if let Some(person) = &person {
        app.identity.recheck(person, caller).await?;
    }
    let session = SessionId::drawn(caller.now, app.tokens.draw());
    let settled = redeem(&*app.store, &Redeem { assertion: &assertion, session }, request).await?;
    audit::record(settled.event.as_ref(), caller.address);
    if let Err(refusal) = &settled.reply {
        // Whom the caller is told nothing of: it was used before, or there is no such person, who may use the application and
        // had the name when the issuer spoke.
        let (client_id, name) = (&application.client_id, &issuer.settings().name);
        let person = person.as_ref().map(PersonId::as_str);
        info!(%client_id, issuer = %name, person, ?refusal, "an assertion that holds is refused");
    }
    Ok(Redeemed { issued: settled.reply?, nonce: None })
}
