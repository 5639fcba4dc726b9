//! The four requests that are measured: what is sent, and what must come back.
//!
//! Every answer is checked in full; whatever a client would refuse counts as an error, not as a request.

use std::borrow::Cow;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::Worker;

/// The grant type of device polls, as clients send it.
pub(crate) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// A shorter life makes the AWS CLI refresh on every run.
const SHORTEST_LIFE: u64 = 900;

/// What is asked of a server again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// RegisterClient.
    Register,
    /// CreateToken with a device code that nobody has approved.
    PendingPoll,
    /// CreateToken with a refresh token: rotation, durable before the answer.
    Refresh,
    /// GetRoleCredentials from the built-in source.
    RoleCredentials,
}

impl Scenario {
    /// The name in the tables.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Register => "registration",
            Self::PendingPoll => "pending poll",
            Self::Refresh => "refresh, durable",
            Self::RoleCredentials => "role credentials",
        }
    }

    /// Sends one request and checks the answer; a rotated token is kept for the next turn.
    pub(crate) async fn step(self, worker: &mut Worker) -> anyhow::Result<()> {
        match self {
            Self::Register => register(worker).await,
            Self::PendingPoll => poll(worker).await,
            Self::Refresh => refresh(worker).await,
            Self::RoleCredentials => role_credentials(worker).await,
        }
    }
}

/// A server under load: where it is and how its routes are called.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) authority: String,
    /// Whether requests say that they come from many addresses, as a proxy would.
    pub(crate) forwarded: bool,
    pub(crate) start_url: String,
    pub(crate) register: String,
    /// StartDeviceAuthorization; the bare server has none.
    pub(crate) start_device: String,
    pub(crate) poll: String,
    pub(crate) refresh: String,
    /// With the query.
    pub(crate) role_credentials: String,
}

/// A registered client, shared by the sessions and devices that use it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A signed-in session as a client's cache file holds it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
}

/// A device request that waits for its person.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) client: Arc<Client>,
    pub(crate) code: String,
}

/// RegisterClient as the AWS CLI sends it for the device flow.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegisterClient<'a> {
    client_name: &'a str,
    client_type: &'a str,
    scopes: [&'a str; 1],
    grant_types: [&'a str; 2],
    issuer_url: &'a str,
}

/// CreateToken with the members that the device and refresh grants need.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateToken<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a str,
    pub(crate) grant_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<&'a str>,
}

/// The answer to RegisterClient.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
pub(crate) struct Registration<'a> {
    #[serde(borrow)]
    client_id: Cow<'a, str>,
    #[serde(borrow)]
    client_secret: Cow<'a, str>,
    client_id_issued_at: u64,
    client_secret_expires_at: u64,
}

impl<'a> Registration<'a> {
    /// Registers over the worker's connection.
    pub(crate) async fn request(worker: &'a mut Worker) -> anyhow::Result<Self> {
        let target = &worker.target;
        let message = RegisterClient {
            client_name: "botocore-client-bench",
            client_type: "public",
            scopes: ["sso:account:access"],
            grant_types: [DEVICE_GRANT, "refresh_token"],
            issuer_url: &target.start_url,
        };
        let answer = worker.connection.post(&target.register, &message).await?;
        ensure!(answer.status == 200, "{}", answer.describe());
        let registration: Self = serde_json::from_slice(answer.body).with_context(|| answer.describe())?;
        ensure!(
            !registration.client_id.is_empty()
                && !registration.client_secret.is_empty()
                && registration.client_secret_expires_at > registration.client_id_issued_at,
            "{}",
            answer.describe()
        );
        Ok(registration)
    }

    /// Kept beyond the answer it came in.
    pub(crate) fn into_client(self) -> Client {
        Client { id: self.client_id.into_owned(), secret: self.client_secret.into_owned() }
    }
}

/// The answer to CreateToken.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Issued<'a> {
    #[serde(borrow)]
    pub(crate) access_token: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) refresh_token: Cow<'a, str>,
    #[serde(borrow)]
    token_type: Cow<'a, str>,
    expires_in: u64,
}

impl<'a> Issued<'a> {
    /// Parses a success and checks what every client relies on.
    pub(crate) fn check(answer: &super::connection::Answer<'a>) -> anyhow::Result<Self> {
        ensure!(answer.status == 200, "{}", answer.describe());
        let issued: Self = serde_json::from_slice(answer.body).with_context(|| answer.describe())?;
        ensure!(
            !issued.access_token.is_empty()
                && !issued.refresh_token.is_empty()
                && issued.token_type == "Bearer"
                && issued.expires_in > SHORTEST_LIFE,
            "{}",
            answer.describe()
        );
        Ok(issued)
    }
}

#[derive(Deserialize)]
struct Refused<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GotRoleCredentials<'a> {
    #[serde(borrow)]
    role_credentials: RoleCredentials<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials<'a> {
    #[serde(borrow)]
    access_key_id: Cow<'a, str>,
    #[serde(borrow)]
    secret_access_key: Cow<'a, str>,
    #[serde(borrow)]
    session_token: Cow<'a, str>,
    expiration: u64,
}

async fn register(worker: &mut Worker) -> anyhow::Result<()> {
    Registration::request(worker).await.map(drop)
}

async fn poll(worker: &mut Worker) -> anyhow::Result<()> {
    let turn = worker.turn(worker.devices.len())?;
    let Device { client, code } = &worker.devices[turn];
    let message = CreateToken {
        client_id: &client.id,
        client_secret: &client.secret,
        grant_type: DEVICE_GRANT,
        device_code: Some(code),
        refresh_token: None,
    };
    let answer = worker.connection.post(&worker.target.poll, &message).await?;
    ensure!(
        answer.status == 400 && answer.error_type.starts_with("AuthorizationPendingException"),
        "{}",
        answer.describe()
    );
    let refused: Refused<'_> = serde_json::from_slice(answer.body).with_context(|| answer.describe())?;
    ensure!(refused.error == "authorization_pending", "{}", answer.describe());
    Ok(())
}

async fn refresh(worker: &mut Worker) -> anyhow::Result<()> {
    let turn = worker.turn(worker.sessions.len())?;
    let session = &mut worker.sessions[turn];
    let message = CreateToken {
        client_id: &session.client.id,
        client_secret: &session.client.secret,
        grant_type: "refresh_token",
        device_code: None,
        refresh_token: Some(&session.refresh_token),
    };
    let answer = worker.connection.post(&worker.target.refresh, &message).await?;
    let issued = Issued::check(&answer)?;
    ensure!(issued.refresh_token != session.refresh_token, "the refresh token was not rotated");
    replace(&mut session.access_token, &issued.access_token);
    replace(&mut session.refresh_token, &issued.refresh_token);
    Ok(())
}

async fn role_credentials(worker: &mut Worker) -> anyhow::Result<()> {
    let turn = worker.turn(worker.sessions.len())?;
    let bearer = &worker.sessions[turn].access_token;
    let answer = worker.connection.get(&worker.target.role_credentials, bearer).await?;
    ensure!(answer.status == 200, "{}", answer.describe());
    let got: GotRoleCredentials<'_> =
        serde_json::from_slice(answer.body).with_context(|| answer.describe())?;
    let got = got.role_credentials;
    ensure!(
        !got.access_key_id.is_empty()
            && !got.secret_access_key.is_empty()
            && !got.session_token.is_empty()
            // Seconds instead of milliseconds is the classic mistake here.
            && got.expiration > 1_000_000_000_000,
        "{}",
        answer.describe()
    );
    Ok(())
}

fn replace(kept: &mut String, new: &str) {
    kept.clear();
    kept.push_str(new);
}
