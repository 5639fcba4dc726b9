//! What a refresh costs with few and with many sessions in the store, and on PostgreSQL.
//!
//! The sessions are written by the store itself: signing ten million in would take half an hour. Their refresh tokens are
//! made with the server's key. So nothing here is measured but refreshes.
//!
//! Clients refresh when their access tokens are about to expire, and so in the order in which their sessions began, hour
//! after hour. That is one half of the load; the other refreshes sessions in no order at all, the worst that could be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use doorward::ambient::{Clock, OsEntropy};
use doorward::keyfile;
use doorward::tokens::Tokens;
use doorward_core::ids::{ClientId, PersonId, SessionId};
use doorward_core::scope::Scopes;
use doorward_core::session::{Holder, SessionState};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_core::verdict::Change;
use doorward_store::{Location, Opened, PostgresOptions};
use doorward_testkit_postgres::Server as Postgres;

use crate::lab;
use crate::load::{Scenario, Session, Target, Worker, drive};
use crate::process::{Server, bytes_under, pin_self, pinned};
use crate::report::{median, real};
use crate::run::deal;
use crate::subject::{self as bare, Setup, Station};

/// At most so many of the stored sessions are refreshed in each order.
const REFRESHED: u64 = 500_000;
/// How many sessions are written in one transaction.
const BATCH: usize = 5_000;
const PEOPLE: u64 = 1_000;

/// How `doorward-bench stored` is started.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many sessions are in the embedded store; a server for each figure.
    #[arg(long, value_delimiter = ',', default_value = "10000,1000000")]
    sessions: Vec<u64>,
    /// Also a server on a PostgreSQL of its own, with as many sessions as the first of the others. It syncs, and shares
    /// the core of this program.
    #[arg(long)]
    postgres: bool,
    /// Rounds; each loads every server.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that a server is loaded in a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections, each with one request under way.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The server's binary; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    doorward: Option<PathBuf>,
    /// Where the data lies meanwhile; by default the folder above this program's.
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,
    /// The core for the servers.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core for this program.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

/// A server with its sessions, and what was measured.
struct Subject {
    name: String,
    station: Station,
    /// Those of each connection, beginning with the one that was refreshed the longest ago.
    shares: Vec<Vec<Session>>,
    bytes_each: Option<f64>,
    micros: Vec<f64>,
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    longest: f64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0 && options.connections > 0, "--rounds and --connections must be above zero");
    pin_self(options.load_core)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(measure(options))
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let binary = options.doorward.clone().unwrap_or_else(|| program.with_file_name("doorward"));
    let above = match &options.scratch {
        Some(directory) => directory.clone(),
        None => program.ancestors().nth(2).context("this program lies in no folder")?.to_owned(),
    };
    let scratch = tempfile::Builder::new().prefix("doorward-bench-").tempdir_in(above)?;
    let setup = Setup {
        scratch: scratch.path(),
        binary: &binary,
        server_core: Some(options.server_core),
        sessions: 4096,
    };
    let bare = bare::Subject::bare(&setup, None).await?;
    let mut subjects = vec![Subject::bare(bare, options.connections)];
    for &count in &options.sessions {
        let folder = scratch.path().join(count.to_string());
        subjects.extend(Subject::start(options, &binary, &folder, None, count).await?);
    }
    let mut _lives_as_long_as_the_run = None;
    if options.postgres {
        let server = Postgres::with(None, &["fsync=on", "shared_buffers=256MB"], |_| {}).await;
        let url = server.url(&server.database().await);
        _lives_as_long_as_the_run = Some(server);
        let count = *options.sessions.first().context("--sessions names no number")?;
        let folder = scratch.path().join("postgres");
        subjects.extend(Subject::start(options, &binary, &folder, Some(&url), count).await?);
    }
    let span = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        for subject in &mut subjects {
            subject.measure(span).await?;
        }
        subjects.reverse();
    }
    if options.rounds % 2 == 1 {
        subjects.reverse();
    }
    println!(
        "{} rounds of {:.1} s each, {} connections; medians\n\n\
         | store | us of CPU for each refresh | bare server / this | this / fewest sessions | refreshes/s | p50 ms | p99 ms \
         | max ms | resident MiB | bytes for each session |\n| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
        options.rounds, options.seconds, options.connections
    );
    let micros =
        |at: usize| subjects.get(at).map(|subject: &Subject| subject.micros.clone()).unwrap_or_default();
    let (bare, fewest) = (micros(0), micros(1));
    for subject in &subjects {
        let ratio = |above: &[f64], below: &[f64]| {
            median(above.iter().zip(below).map(|(above, below)| above / below).collect()).unwrap_or(f64::NAN)
        };
        let middle = |values: &[f64]| median(values.to_vec()).unwrap_or(f64::NAN);
        println!(
            "| {} | {:.1} | {:.2} | {:.2} | {:.1} k | {:.2} | {:.2} | {:.1} | {:.1} | {} |",
            subject.name,
            middle(&subject.micros),
            ratio(&bare, &subject.micros),
            ratio(&subject.micros, &fewest),
            middle(&subject.rates) / 1e3,
            middle(&subject.p50),
            middle(&subject.p99),
            subject.longest,
            real(subject.station.server.resident_bytes()?) / 1_048_576.0,
            subject.bytes_each.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes:.0}")),
        );
    }
    Ok(())
}

impl Subject {
    /// The reference.
    fn bare(mut server: bare::Subject, connections: usize) -> Self {
        let sessions = std::mem::take(&mut server.sessions);
        let station = server.station(Scenario::Refresh).clone();
        Self::new("bare server".into(), station, deal(sessions, connections), None)
    }

    fn new(name: String, station: Station, shares: Vec<Vec<Session>>, bytes_each: Option<f64>) -> Self {
        let (micros, rates, p50, p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { name, station, shares, bytes_each, micros, rates, p50, p99, longest: 0.0 }
    }

    /// Writes a configuration and `count` sessions, and starts a server on them.
    async fn start(
        options: &Options,
        binary: &Path,
        folder: &Path,
        postgres: Option<&str>,
        count: u64,
    ) -> anyhow::Result<[Self; 2]> {
        std::fs::create_dir(folder)?;
        let address = free_address()?;
        configure(folder, &address, postgres)?;
        let entropy = Arc::new(OsEntropy::default());
        let keys = keyfile::load_or_create(&folder.join("master.key"), &*entropy)?;
        let tokens = Tokens::new(&keys, entropy);
        let data = folder.join("data");
        let start = async || {
            let mut command = pinned(binary, Some(options.server_core));
            command.arg("serve").arg("--config").arg(folder.join("doorward.toml"));
            Server::start_at(command, &address, &folder.join("log")).await
        };
        let target = Arc::new(Target {
            authority: address.clone(),
            forwarded: true,
            start_url: format!("http://{address}/start"),
            register: "/client/register".into(),
            start_device: String::new(),
            poll: String::new(),
            refresh: "/token".into(),
            role_credentials: String::new(),
        });
        // The sessions are of a registered client, so the server runs once before they are made.
        let server = start().await?;
        let client = lab::register(&target).await?;
        drop(server);

        let registration = tokens.registration(&client.id).context("the server sealed with another key")?;
        let location = match postgres {
            Some(url) => Location::Postgres(Box::new(PostgresOptions::from_url(url)?)),
            None => Location::Embedded(data.clone()),
        };
        eprintln!("writing {count} sessions");
        let began = Clock::system().now();
        fill(&location, registration.id, began, count).await?;
        let bytes_each = match postgres {
            Some(_) => None,
            None => Some(real(bytes_under(&data)?) / real(count)),
        };
        let station = Station { server: std::rc::Rc::new(start().await?), target, data };
        let hold = |n: u64| Session {
            client: Arc::clone(&client),
            access_token: String::new(),
            refresh_token: tokens.refresh_token(session_id(began, n, count), 0).reveal().to_owned(),
        };
        let shares = |numbers: Vec<u64>| deal(numbers.into_iter().map(hold).collect(), options.connections);
        let name =
            format!("{}, {count} sessions", if postgres.is_some() { "PostgreSQL" } else { "embedded" });
        let in_order = (0..count / 2).take(REFRESHED.try_into()?).collect();
        let step = (count / 2 / REFRESHED).max(1);
        let mut in_none: Vec<u64> = (count / 2..count).step_by(step.try_into()?).collect();
        in_none.sort_unstable_by_key(|&n| mixed(n));
        Ok([
            Self::new(format!("{name}, as they began"), station.clone(), shares(in_order), bytes_each),
            Self::new(format!("{name}, in no order"), station, shares(in_none), bytes_each),
        ])
    }

    async fn measure(&mut self, span: Duration) -> anyhow::Result<()> {
        let mut workers = Vec::new();
        for sessions in std::mem::take(&mut self.shares) {
            workers.push(Worker::connect(&self.station.target, sessions, Vec::new()).await?);
        }
        let server = &self.station.server;
        let (workers, warm_up) = drive(workers, Scenario::Refresh, Duration::from_millis(300)).await?;
        let cpu = server.cpu_seconds()?;
        let (workers, tally) = drive(workers, Scenario::Refresh, span).await?;
        let cpu = server.cpu_seconds()? - cpu;
        if let Some(error) = warm_up.first_error.or(tally.first_error) {
            anyhow::bail!("{}: {error}", self.name);
        }
        self.shares = workers.into_iter().map(Worker::into_sessions).collect();
        let requests = real(tally.latencies.total());
        self.micros.push(cpu * 1e6 / requests);
        self.rates.push(requests / tally.elapsed.as_secs_f64());
        let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
        self.p50.push(millis(tally.latencies.at(500)));
        self.p99.push(millis(tally.latencies.at(990)));
        self.longest = self.longest.max(millis(tally.latencies.longest()));
        Ok(())
    }
}

/// Nobody listens there yet.
fn free_address() -> anyhow::Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// A server on loopback behind a proxy, which this program plays: a single address would soon ask too often.
fn configure(folder: &Path, address: &str, postgres: Option<&str>) -> anyhow::Result<()> {
    let people: Vec<_> = (0..PEOPLE).map(|n| format!("[[people]]\nuser_name = \"person-{n}\"\n")).collect();
    std::fs::write(folder.join("directory.toml"), people.concat())?;
    let store = match postgres {
        Some(url) => format!("[postgres]\nurl = {url:?}\n"),
        None => String::new(),
    };
    let data_dir = if postgres.is_some() { "" } else { "data_dir = \"data\"\n" };
    let config = format!(
        "listen = \"{address}\"\npublic_url = \"http://{address}\"\n{data_dir}master_key_file = \"master.key\"\n\
         directory = \"directory.toml\"\ninsecure_built_in_credentials = true\n\n\
         [proxy]\ntrusted = [\"127.0.0.1/32\"]\n\n{store}"
    );
    Ok(std::fs::write(folder.join("doorward.toml"), config)?)
}

async fn fill(location: &Location, client: ClientId, now: Timestamp, count: u64) -> anyhow::Result<()> {
    let opened = doorward_store::open(location)?;
    opened.ready().await?;
    let Opened { store, closer } = opened;
    let people =
        (0..PEOPLE).map(|n| PersonId::parse(format!("person-{n}"))).collect::<Result<Vec<_>, _>>()?;
    let scopes = Scopes::parse(["sso:account:access"]).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    for first in (0..count).step_by(BATCH) {
        let starts = (first..count.min(first + BATCH as u64)).map(|n| {
            let began = began(now, n, count);
            let person = &people[usize::try_from(n % PEOPLE).unwrap_or(0)];
            Change::StartSession(doorward_core::session::Session {
                id: session_id(now, n, count),
                person: person.clone(),
                holder: Holder::Client { id: client, name: "botocore-client-bench".into() },
                scopes: scopes.clone(),
                created_at: began,
                authenticated_at: began,
                expires_at: began.plus(Lifetime::from_seconds(28_800)),
                generation: 0,
                rotated_at: began,
                state: SessionState::Live,
                terms: None,
            })
        });
        store.commit(starts.collect()).await?;
    }
    closer.close().await?;
    Ok(())
}

/// When the `n`th of `count` sessions began: they are spread over the last hour.
fn began(now: Timestamp, n: u64, count: u64) -> Timestamp {
    let before = 3_600_000 * (count - n) / count;
    Timestamp::from_millis(now.millis() - i64::try_from(before).unwrap_or(0))
}

/// The `n`th session's id.
fn session_id(now: Timestamp, n: u64, count: u64) -> SessionId {
    let mut random = [0; 10];
    random[..8].copy_from_slice(&mixed(n).to_be_bytes());
    SessionId::drawn(began(now, n, count), random)
}

/// The finalizer of SplitMix64: numbers as if they were drawn, each once.
fn mixed(n: u64) -> u64 {
    let mut mixed = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
