//! GetRoleCredentials.

use doorward_core::refusal::PortalRefusal;
use doorward_wire::portal::get_role_credentials::{Input, encode};
use http::HeaderMap;
use tracing::field::display;
use tracing::info;

use super::portal::authenticate;
use super::role::Role;
use super::{Caller, Failure};
use crate::app::App;

pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    query: &str,
) -> Result<Vec<u8>, Failure<PortalRefusal>> {
    let bearer = authenticate(app, caller, headers).await?;
    let Input { account_id: account, role_name } = Input::decode(query)?;
    let assigned = role_name.as_ref().and_then(|role| Role::assigned(&bearer.principal, &account, role));
    let Some(role) = assigned else {
        let (person, role, address) = (bearer.principal.id(), role_name.map(display), caller.address);
        info!(target: "audit", event = "role_not_assigned", %person, %account, role, %address);
        return Err(PortalRefusal::NoAccess.into());
    };
    match role.credentials(app, caller).await {
        Ok(credentials) => Ok(encode(&credentials)),
        Err(error) if error.denied => Err(PortalRefusal::NoAccess.into()),
        Err(error) => Err(Failure::Outage(error.to_string())),
    }
}
