//! StartDeviceAuthorization (RFC 8628 section 3.1).

use doorward_core::client::{GrantType, KnownClient};
use doorward_core::device::{DeviceRequest, Requester};
use doorward_core::grant::device_code::{Decide, Decided, Fresh, open};
use doorward_core::grant::settle;
use doorward_core::ids::DeviceRequestId;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::UserCode;
use doorward_core::store::CommitError;
use doorward_core::verdict::Change;
use doorward_wire::oidc::start_device_authorization::{Input, Output};

use http::HeaderMap;

use super::{Caller, Failure, user_agent};
use crate::app::{App, DeviceGrant};
use crate::audit;
use crate::limits::Call;

/// A user code has 34.5 bits; with a million of them taken, four in a row are taken once in 10^17.
const MOST_DRAWS: usize = 4;

pub(crate) async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<u8>, Failure<Refusal>> {
    app.limits.call(Call::Anonymous(caller.address))?;
    let input = Input::decode(body)?;
    let client = app.tokens.authenticate(&input.client_id, &input.client_secret, caller.now)?;
    client.may_use(GrantType::DeviceCode)?;
    if !app.site.knows_start_url(&input.start_url) {
        tracing::info!(address = %caller.address, "refused a start URL that is not this server's");
        return Err(Refusal::InvalidRequest("startUrl is not a start URL of this server".into()).into());
    }
    let started = start(app, caller, headers, &client, &Scopes::default()).await?;
    Ok(Output {
        device_code: app.tokens.device_code(started.id).reveal(),
        expires_in: started.expires_in,
        interval: started.interval,
        user_code: &started.user_code,
        verification_uri: &started.verification_uri,
        verification_uri_complete: &started.verification_uri_complete,
    }
    .encode())
}

/// A device request that was opened, as the client is told of it.
pub(crate) struct Started {
    pub(crate) id: DeviceRequestId,
    pub(crate) user_code: String,
    pub(crate) verification_uri: String,
    pub(crate) verification_uri_complete: String,
    /// In seconds.
    pub(crate) expires_in: u32,
    /// Seconds between polls.
    pub(crate) interval: u32,
}

/// Opens a device request of `client` for `scopes`, or all that it registered.
pub(crate) async fn start(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    client: &KnownClient,
    scopes: &Scopes,
) -> Result<Started, Failure<Refusal>> {
    client.may_use(GrantType::DeviceCode)?;
    if app.policy.device_grant == DeviceGrant::Off {
        return Err(Refusal::UnauthorizedClient.into());
    }
    app.limits.call(Call::DeviceStart(caller.address))?;
    let kept = app.store.device_requests_kept(caller.address).await?;
    let quota = app.policy.device_requests;
    if kept.from_address >= quota.from_address || kept.total >= quota.total {
        tracing::warn!(
            address = %caller.address, from_address = kept.from_address, total = kept.total,
            "too many device requests are open"
        );
        return Err(Refusal::SlowDown.into());
    }

    let requester = Requester { address: caller.address, user_agent: user_agent(headers) };
    for _ in 0..MOST_DRAWS {
        let (code, user_code) = app.tokens.draw_user_code();
        let fresh = Fresh { id: DeviceRequestId::drawn(caller.now, app.tokens.draw()), user_code };
        let lifetime = app.policy.lifetimes.device_request;
        let request = open(client, scopes, &fresh, requester.clone(), caller.now, lifetime)?;
        match app.store.commit(vec![Change::OpenDeviceRequest(request.clone())]).await {
            Ok(()) => {
                approve_without_asking(app, caller, &request).await?;
                return Ok(told(app, caller, &request, code));
            }
            Err(CommitError::Conflict) => {}
            Err(CommitError::Outage(outage)) => return Err(outage.into()),
        }
    }
    Err(Failure::Outage(format!("{MOST_DRAWS} user codes in a row were taken")))
}

/// Development only: the approver of `--auto-approve` decides at once, by the same decision as anybody.
async fn approve_without_asking(
    app: &App,
    caller: &Caller,
    request: &DeviceRequest,
) -> Result<(), Failure<Refusal>> {
    let Some(person) = app.auto_approver() else { return Ok(()) };
    let decision = Decide {
        user_code: request.user_code,
        shown: request.id,
        person,
        authenticated_at: caller.now,
        sources: app.identity.trust(),
        approve: true,
        now: caller.now,
    };
    let settled = settle(&*app.store, &decision).await?;
    audit::record(settled.event.as_ref(), caller.address);
    if settled.reply != Decided::Approved {
        tracing::warn!(%person, "--auto-approve: this person may not be given tokens");
    }
    Ok(())
}

fn told(app: &App, caller: &Caller, request: &DeviceRequest, code: UserCode) -> Started {
    let (user_code, verification_uri) = (code.reveal(), format!("{}/device", app.site.base()));
    Started {
        id: request.id,
        verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
        verification_uri,
        user_code,
        expires_in: caller.now.seconds_until(request.expires_at),
        // A client takes 0 for "as fast as it can", or for nothing at all.
        interval: app.policy.poll_interval.max(1),
    }
}
