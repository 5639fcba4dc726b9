//! ListAccountRoles.

use doorward_core::refusal::PortalRefusal;
use doorward_wire::portal::list_account_roles::{Input, encode};
use http::HeaderMap;

use super::portal::{authenticate, paginate};
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
    let roles = bearer.principal.roles(&input.account_id);
    if roles.is_empty() {
        return Err(PortalRefusal::NoAccess.into());
    }
    let list = format!("roles {}", input.account_id);
    let (part, next) = paginate(app, &bearer, &list, &input.page, &roles, |role| role.name.as_str())?;
    Ok(encode(&input.account_id, part, next.as_deref()))
}
