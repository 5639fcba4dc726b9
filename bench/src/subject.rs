//! The two servers as the benchmark sees them: running processes, their routes, and prepared clients.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;
use tokio::process::Command;

use crate::lab;
use crate::load::{Client, Device, Scenario, Session, Target};
use crate::process::{Server, pinned};
use crate::report::Side;

/// Device codes that each connection polls in turn.
const DEVICES_EACH: usize = 4;
/// Device codes live ten minutes; older ones than this are replaced before the next span.
const DEVICES_FRESH: Duration = Duration::from_mins(5);

/// A server under test with everything that the scenarios need of it.
pub(crate) struct Subject {
    pub(crate) side: Side,
    /// Registration and pending polls: nobody approves here.
    open: Station,
    /// Refresh, on a server that approved the sessions by itself.
    signed_in: Station,
    portal: Station,
    client: Arc<Client>,
    pub(crate) sessions: Vec<Session>,
    devices: Vec<Device>,
    devices_since: Instant,
}

/// Where a scenario is sent, whose CPU time that costs, and where its state lies.
#[derive(Clone)]
pub(crate) struct Station {
    pub(crate) server: Rc<Server>,
    pub(crate) target: Arc<Target>,
    pub(crate) data: PathBuf,
}

impl Subject {
    /// Starts Doorward twice, once with and once without automatic approval, and signs the sessions in.
    pub(crate) async fn doorward(setup: &Setup<'_>) -> anyhow::Result<Self> {
        let (open, ready) = setup.doorward("open", None).await?;
        let person = &ready.people.first().context("the ready line names no people")?.username;
        let (signed_in, ready) = setup.doorward("signed-in", Some(person)).await?;

        let client = lab::register(&signed_in.target).await?;
        let sessions = lab::sessions(&signed_in.target, &client, setup.sessions).await?;
        let first = sessions.first().context("at least one session is needed")?;
        let (authority, prefix) = split(&ready.portal_endpoint)?;
        let mut portal = Target { authority, ..Target::clone(&signed_in.target) };
        portal.role_credentials = lab::role_credentials_path(&portal, prefix, first).await?;
        let portal = Station { target: Arc::new(portal), ..signed_in.clone() };
        Ok(Self {
            side: Side::Doorward,
            client: lab::register(&open.target).await?,
            open,
            signed_in,
            portal,
            sessions,
            devices: Vec::new(),
            devices_since: Instant::now(),
        })
    }

    /// Starts the bare server; it answers as many bytes, and is sent the same requests, as `twin`.
    pub(crate) async fn bare(setup: &Setup<'_>, twin: Option<&Self>) -> anyhow::Result<Self> {
        let data = setup.scratch.join("bare");
        std::fs::create_dir(&data)?;
        let mut command = pinned(&std::env::current_exe()?, setup.server_core);
        command.arg("bare").arg("--journal").arg(data.join("journal"));
        if let Some(twin) = twin {
            let first = twin.sessions.first().context("at least one session is needed")?;
            let (register, credentials) =
                lab::answer_sizes(&twin.signed_in.target, &twin.portal.target, first).await?;
            command.arg("--register-bytes").arg(register.to_string());
            command.arg("--credentials-bytes").arg(credentials.to_string());
        }
        let (server, ready) = Server::start::<BareReady>(command, &setup.scratch.join("bare.log")).await?;
        let target = Target {
            authority: split(&ready.endpoint)?.0,
            forwarded: false,
            start_url: "https://bare.example/start".into(),
            register: "/register".into(),
            start_device: String::new(),
            poll: "/fixed".into(),
            refresh: "/token".into(),
            role_credentials: "/credentials".into(),
        };
        let station = Station { server: Rc::new(server), target: Arc::new(target), data };
        let (client, sessions) = match twin {
            Some(twin) => (Arc::clone(&twin.client), twin.sessions.clone()),
            None => placeholders(setup.sessions),
        };
        Ok(Self {
            side: Side::Bare,
            open: station.clone(),
            signed_in: station.clone(),
            portal: station,
            client,
            sessions,
            devices: Vec::new(),
            devices_since: Instant::now(),
        })
    }

    pub(crate) fn station(&self, scenario: Scenario) -> &Station {
        match scenario {
            Scenario::Register | Scenario::PendingPoll => &self.open,
            Scenario::Refresh => &self.signed_in,
            Scenario::RoleCredentials => &self.portal,
        }
    }

    /// Device codes for so many connections, none of them about to expire.
    pub(crate) async fn devices(&mut self, connections: usize) -> anyhow::Result<Vec<Device>> {
        let count = connections * DEVICES_EACH;
        if self.devices.len() < count || self.devices_since.elapsed() > DEVICES_FRESH {
            self.devices_since = Instant::now();
            self.devices = match self.side {
                Side::Doorward => lab::devices(&self.open.target, &self.client, count).await?,
                Side::Bare => {
                    let device = Device { client: Arc::clone(&self.client), code: "A".repeat(86) };
                    vec![device; count]
                }
            };
        }
        Ok(self.devices[..count].to_vec())
    }
}

/// Clients for the bare server alone: as long as real ones, and known to nobody.
fn placeholders(sessions: usize) -> (Arc<Client>, Vec<Session>) {
    let client = Arc::new(Client { id: "A".repeat(34), secret: "A".repeat(500) });
    let session = Session {
        client: Arc::clone(&client),
        access_token: "A".repeat(200),
        refresh_token: "A".repeat(100),
    };
    (client, vec![session; sessions])
}

/// What both servers are started with.
pub(crate) struct Setup<'a> {
    pub(crate) scratch: &'a Path,
    pub(crate) binary: &'a Path,
    pub(crate) server_core: Option<usize>,
    pub(crate) sessions: usize,
}

#[derive(Deserialize)]
struct BareReady {
    endpoint: String,
}

/// What Doorward's ready line says, as far as it is needed here.
#[derive(Deserialize)]
pub(crate) struct DoorwardReady {
    pub(crate) oidc_endpoint: String,
    portal_endpoint: String,
    start_url: String,
    people: Vec<Person>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(alias = "user_name", alias = "userName", alias = "user")]
    username: String,
}

impl Setup<'_> {
    /// A running Doorward with a data directory of that name.
    pub(crate) async fn doorward(
        &self,
        name: &str,
        approver: Option<&str>,
    ) -> anyhow::Result<(Station, DoorwardReady)> {
        let data = self.scratch.join(name);
        let command = doorward_command(pinned(self.binary, self.server_core), &data, approver);
        let log = self.scratch.join(format!("{name}.log"));
        let (server, ready) = Server::start::<DoorwardReady>(command, &log).await?;
        let target = Arc::new(ready.target()?);
        Ok((Station { server: Rc::new(server), target, data }, ready))
    }
}

/// `doorward dev` on a free port; polls may follow each other at any speed, or each would need its own code.
pub(crate) fn doorward_command(mut program: Command, data: &Path, approver: Option<&str>) -> Command {
    program.args(["dev", "--listen", "127.0.0.1:0", "--json", "--poll-interval", "0"]);
    program.arg("--data-dir").arg(data);
    if let Some(person) = approver {
        program.args(["--auto-approve", person]);
    }
    program
}

impl DoorwardReady {
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let (authority, prefix) = split(&self.oidc_endpoint)?;
        Ok(Target {
            authority,
            forwarded: false,
            start_url: self.start_url.clone(),
            register: format!("{prefix}/client/register"),
            start_device: format!("{prefix}/device_authorization"),
            poll: format!("{prefix}/token"),
            refresh: format!("{prefix}/token"),
            role_credentials: String::new(),
        })
    }
}

/// The `host:port` of an endpoint, and its path without a slash at the end.
fn split(endpoint: &str) -> anyhow::Result<(String, &str)> {
    let rest = endpoint.strip_prefix("http://").with_context(|| format!("not plain http: {endpoint}"))?;
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Ok((authority.to_owned(), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_splits_into_authority_and_path() {
        assert_eq!(split("http://127.0.0.1:80").unwrap(), ("127.0.0.1:80".into(), ""));
        assert_eq!(split("http://127.0.0.1:80/").unwrap(), ("127.0.0.1:80".into(), ""));
        assert_eq!(split("http://127.0.0.1:80/a/b/").unwrap(), ("127.0.0.1:80".into(), "/a/b"));
        assert!(split("https://127.0.0.1:80").is_err());
    }
}
