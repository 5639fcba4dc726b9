//! ListAccounts.

use doorward_core::refusal::PortalRefusal;
use doorward_wire::portal::list_accounts::{decode, encode};
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
    let page = decode(query)?;
    let accounts = bearer.principal.accounts();
    let (part, next) = paginate(app, &bearer, "accounts", &page, &accounts, |account| account.id.as_str())?;
    Ok(encode(part, next.as_deref()))
}
