//! GetRoleCredentials.

use doorward_core::credentials::RoleRequest;
use doorward_core::refusal::PortalRefusal;
use doorward_wire::portal::get_role_credentials::{Input, encode};
use http::HeaderMap;
use tracing::{info, warn};

use super::portal::authenticate;
use super::{Caller, Failure};
use crate::app::App;

pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    query: &str,
) -> Result<Vec<u8>, Failure<PortalRefusal>> {
    let bearer = authenticate(app, caller, headers).await?;
    let input = Input::decode(query)?;
    let person = bearer.access.person;
    let assigned = input.role_name.as_ref().and_then(|role| bearer.principal.role(&input.account_id, role));
    let Some(assigned) = assigned else {
        info!(target: "audit", event = "role_not_assigned", %person, account = %input.account_id, address = %caller.address);
        return Err(PortalRefusal::NoAccess.into());
    };
    let request = RoleRequest { person, account: input.account_id, set: assigned.clone(), now: caller.now };
    let (person, account, role) = (&request.person, &request.account, &request.set.name);
    match app.broker.role_credentials(&request).await {
        Ok(credentials) => {
            info!(target: "audit", event = "role_credentials", %person, %account, %role, address = %caller.address);
            Ok(encode(&credentials))
        }
        Err(error) if error.denied => {
            warn!(target: "audit", event = "role_denied", broker = app.broker.kind(), %person, %account, %role, address = %caller.address, %error);
            Err(PortalRefusal::NoAccess.into())
        }
        Err(error) => Err(Failure::Outage(format!("{} for {role} in {account}: {error}", app.broker.kind()))),
    }
}
