//! Logout: ends the session behind the token, and with it every token that came from it. Role credentials that were
//! handed out live on until they expire.

use doorward_core::grant::session_end::End;
use doorward_core::grant::settle;
use doorward_core::refusal::PortalRefusal;
use doorward_core::session::EndReason;
use doorward_wire::portal::{access_token, logout};
use http::HeaderMap;

use super::{Caller, Failure};
use crate::app::App;
use crate::audit;

pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Vec<u8>, Failure<PortalRefusal>> {
    // A person who was disabled, or whose token may do little, can still sign out.
    let access = app.tokens.access(&access_token(headers)?).ok_or(PortalRefusal::Unauthorized)?;
    if caller.now >= access.expires_at {
        return Err(PortalRefusal::Unauthorized.into());
    }
    let end =
        End { session: access.session, person: &access.person, why: EndReason::Logout, now: caller.now };
    let settled = settle(&*app.store, &end).await?;
    audit::record(settled.event.as_ref(), caller.address);
    if settled.reply { Ok(logout::encode()) } else { Err(PortalRefusal::Unauthorized.into()) }
}
