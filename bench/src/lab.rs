//! Preparing the load: the real flow, from registration to tokens, for every session that will be driven.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::load::{
    Client, Connection, CreateToken, DEVICE_GRANT, Device, Issued, Registration, Session, Target, Worker,
};

/// Connections that prepare at the same time.
const HANDS: usize = 64;
/// Approving is the server's work; this is how often it is asked whether it is done.
const APPROVAL_POLLS: u32 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartDeviceAuthorization<'a> {
    client_id: &'a str,
    client_secret: &'a str,
    start_url: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceAuthorization {
    device_code: String,
}

/// Registers the one client that all sessions and devices of a server use.
pub(crate) async fn register(target: &Arc<Target>) -> anyhow::Result<Arc<Client>> {
    let mut worker = Worker::connect(target, Vec::new(), Vec::new()).await?;
    let registration = Registration::request(&mut worker).await.context("RegisterClient")?;
    Ok(Arc::new(registration.into_client()))
}

/// Opens `count` device requests that nobody approves.
pub(crate) async fn devices(
    target: &Arc<Target>,
    client: &Arc<Client>,
    count: usize,
) -> anyhow::Result<Vec<Device>> {
    let mut hands = JoinSet::new();
    for share in shares(count) {
        let (target, client) = (Arc::clone(target), Arc::clone(client));
        hands.spawn(async move {
            let mut connection = Connection::open(&target.authority).await?;
            let mut devices = Vec::with_capacity(share);
            for _ in 0..share {
                devices.push(start_device(&mut connection, &target, &client).await?);
            }
            anyhow::Ok(devices)
        });
    }
    gather(hands, count).await
}

/// Signs `count` sessions in by the device flow, on a server that approves by itself.
pub(crate) async fn sessions(
    target: &Arc<Target>,
    client: &Arc<Client>,
    count: usize,
) -> anyhow::Result<Vec<Session>> {
    let mut hands = JoinSet::new();
    for share in shares(count) {
        let (target, client) = (Arc::clone(target), Arc::clone(client));
        hands.spawn(async move {
            let mut connection = Connection::open(&target.authority).await?;
            let mut sessions = Vec::with_capacity(share);
            for _ in 0..share {
                let device = start_device(&mut connection, &target, &client).await?;
                sessions.push(redeem(&mut connection, &target, device).await?);
            }
            anyhow::Ok(sessions)
        });
    }
    gather(hands, count).await
}

/// The path and query of GetRoleCredentials for the first account and role that the session may use.
pub(crate) async fn role_credentials_path(
    target: &Target,
    prefix: &str,
    session: &Session,
) -> anyhow::Result<String> {
    let mut connection = Connection::open(&target.authority).await?;
    let accounts = format!("{prefix}/assignment/accounts?max_result=100");
    let account = first(&mut connection, &accounts, session, "accountList", "accountId").await?;
    let roles = format!("{prefix}/assignment/roles?max_result=100&account_id={account}");
    let role = first(&mut connection, &roles, session, "roleList", "roleName").await?;
    let role = utf8_percent_encode(&role, NON_ALPHANUMERIC);
    Ok(format!("{prefix}/federation/credentials?role_name={role}&account_id={account}"))
}

/// Bytes in the answers to RegisterClient and GetRoleCredentials, for the bare server to answer as much.
pub(crate) async fn answer_sizes(
    target: &Arc<Target>,
    portal: &Target,
    session: &Session,
) -> anyhow::Result<(usize, usize)> {
    let mut worker = Worker::connect(target, Vec::new(), Vec::new()).await?;
    Registration::request(&mut worker).await?;
    let registered = worker.connection.answered_bytes();
    let mut connection = Connection::open(&portal.authority).await?;
    let answer = connection.get(&portal.role_credentials, &session.access_token).await?;
    ensure!(answer.status == 200, "GetRoleCredentials: {}", answer.describe());
    Ok((registered, answer.body.len()))
}

async fn first(
    connection: &mut Connection,
    path: &str,
    session: &Session,
    list: &str,
    member: &str,
) -> anyhow::Result<String> {
    let answer = connection.get(path, &session.access_token).await?;
    ensure!(answer.status == 200, "{path}: {}", answer.describe());
    let listed: serde_json::Value = serde_json::from_slice(answer.body)?;
    let found = listed.get(list).and_then(|items| items.get(0)).and_then(|item| item.get(member));
    let found = found.and_then(|found| found.as_str());
    Ok(found.with_context(|| format!("{path} lists no {member}: {}", answer.describe()))?.to_owned())
}

async fn start_device(
    connection: &mut Connection,
    target: &Target,
    client: &Arc<Client>,
) -> anyhow::Result<Device> {
    let message = StartDeviceAuthorization {
        client_id: &client.id,
        client_secret: &client.secret,
        start_url: &target.start_url,
    };
    let answer = connection.post(&target.start_device, &message).await?;
    ensure!(answer.status == 200, "StartDeviceAuthorization: {}", answer.describe());
    let authorization: DeviceAuthorization =
        serde_json::from_slice(answer.body).with_context(|| answer.describe())?;
    Ok(Device { client: Arc::clone(client), code: authorization.device_code })
}

async fn redeem(connection: &mut Connection, target: &Target, device: Device) -> anyhow::Result<Session> {
    let message = CreateToken {
        client_id: &device.client.id,
        client_secret: &device.client.secret,
        grant_type: DEVICE_GRANT,
        device_code: Some(&device.code),
        refresh_token: None,
    };
    for _ in 0..APPROVAL_POLLS {
        let answer = connection.post(&target.poll, &message).await?;
        if answer.status == 400 && answer.error_type.starts_with("AuthorizationPendingException") {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        let issued = Issued::check(&answer).context("CreateToken with an approved device code")?;
        return Ok(Session {
            access_token: issued.access_token.into_owned(),
            refresh_token: issued.refresh_token.into_owned(),
            client: device.client,
        });
    }
    bail!("the server does not approve device requests by itself")
}

/// `count` split as evenly as possible; nobody gets nothing.
fn shares(count: usize) -> impl Iterator<Item = usize> {
    let hands = HANDS.min(count);
    (0..hands).map(move |hand| count / hands + usize::from(hand < count % hands))
}

async fn gather<T: 'static>(
    mut hands: JoinSet<anyhow::Result<Vec<T>>>,
    count: usize,
) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::with_capacity(count);
    while let Some(share) = hands.join_next().await {
        all.append(&mut share??);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_none_is_empty() {
        for count in [0, 1, 63, 64, 65, 1000] {
            let shares: Vec<usize> = shares(count).collect();
            assert_eq!(shares.iter().sum::<usize>(), count);
            assert!(shares.iter().all(|share| *share > 0), "{count}: {shares:?}");
        }
    }
}
