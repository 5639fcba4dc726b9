//! What every portal operation owes: a good token of a live session of a usable person, with account access.

use doorward_core::assignment::{Principal, Standing};
use doorward_core::refusal::PortalRefusal;
use doorward_wire::portal::{Page, access_token};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{Caller, Failure};
use crate::app::App;
use crate::limits::Call;
use crate::oauth::access::is_for;
use crate::tokens::Access;

/// A caller of the portal whose token was checked, and the directory it was checked against.
pub(crate) struct Bearer {
    /// What the token says.
    pub(crate) access: Access,
    /// The person, who passed the gate.
    pub(crate) principal: Principal,
}

/// Checks the token of a request.
pub(crate) async fn authenticate(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<Bearer, Failure<PortalRefusal>> {
    let access = app.tokens.access(&access_token(headers)?).ok_or(PortalRefusal::Unauthorized)?;
    if caller.now >= access.expires_at {
        return Err(PortalRefusal::Unauthorized.into());
    }
    app.limits.call(Call::Portal(access.session))?;
    let session = app.store.session(access.session).await?.filter(|session| session.is_live(caller.now));
    let session = session.ok_or(PortalRefusal::Unauthorized)?;
    app.identity.recheck(&session.person, caller).await?;
    let standing = Standing::load(&*app.store, app.identity.trust(), Some(&session.person)).await?;
    let principal = standing
        .principal(&session.person, session.authenticated_at, caller.now)
        .filter(|_| access.scopes.allow_account_access())
        .filter(|principal| session.holder.client().is_some_and(|holder| is_for(&session, holder, principal)))
        .ok_or(PortalRefusal::Unauthorized)?;
    Ok(Bearer { access, principal })
}

/// What `next_token` says: which list goes on, for whom, and after which item.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Continuation {
    list: String,
    person: String,
    after: String,
}

/// The part of a list that `page` asks for, and the token for the rest. `key` orders the items, and the list is in
/// that order; an item that appears or goes between two pages moves no other.
pub(crate) fn paginate<'a, T>(
    app: &App,
    bearer: &Bearer,
    list: &str,
    page: &Page,
    items: &'a [T],
    key: impl Fn(&T) -> &str,
) -> Result<(&'a [T], Option<String>), Failure<PortalRefusal>> {
    let person = bearer.access.person.as_str();
    let rest = match &page.next_token {
        None => items,
        Some(token) => {
            let bad = || PortalRefusal::InvalidRequest("next_token is not one of this list".into());
            let at: Continuation = app.tokens.paged(token).ok_or_else(bad)?;
            if at.list != list || at.person != person {
                return Err(bad().into());
            }
            &items[items.partition_point(|item| key(item) <= at.after.as_str())..]
        }
    };
    let (part, more) = rest.split_at(page.max_result.min(rest.len()));
    let next = part.last().filter(|_| !more.is_empty()).map(|last| {
        let at =
            Continuation { list: list.to_owned(), person: person.to_owned(), after: key(last).to_owned() };
        app.tokens.page(&at)
    });
    Ok((part, next))
}
