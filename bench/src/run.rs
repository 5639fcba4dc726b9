//! The benchmark from start to end: both servers up, the scenarios in turns, the table, everything stopped.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::lab;
use crate::load::{Scenario, Worker, drive};
use crate::process::{Server, bytes_under, own_cpu_seconds, pin_self};
use crate::report::{Footprint, Report, Sample, Side, median, summarise};
use crate::subject::{DoorwardReady, Setup, Subject, doorward_command};

/// How `doorward-bench run` is started.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The server's binary; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    doorward: Option<PathBuf>,
    /// Load only the bare server: what this machine gives.
    #[arg(long)]
    bare_only: bool,
    /// Only these scenarios.
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Rounds; each loads both servers with every scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that a scenario loads a server in a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections, each with one request under way.
    #[arg(long, value_delimiter = ',', default_value = "64,256")]
    connections: Vec<usize>,
    /// Signed-in sessions that the connections share out among themselves.
    #[arg(long, default_value_t = 4096)]
    sessions: usize,
    /// How often the start is timed.
    #[arg(long, default_value_t = 10)]
    starts: usize,
    /// The core for the servers.
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// The core for this program.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Pin nothing.
    #[arg(long)]
    no_pin: bool,
    /// Where the servers' data lies during the run; a real disk, or the durable figures mean nothing.
    /// By default the folder above this program's.
    #[arg(long, value_name = "DIRECTORY")]
    scratch: Option<PathBuf>,
    /// Write every sample and the medians to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Only see that everything works: a fraction of a second each, unpinned; the figures mean nothing.
    #[arg(long)]
    smoke: bool,
}

/// The options as they hold for this run.
struct Plan {
    scenarios: Vec<Scenario>,
    rounds: usize,
    span: Duration,
    warm_up: Duration,
    connections: Vec<usize>,
    sessions: usize,
    starts: usize,
    cores: Option<(usize, usize)>,
}

impl Options {
    fn plan(&self) -> anyhow::Result<Plan> {
        let scenarios = if self.only.is_empty() { Scenario::value_variants() } else { &self.only };
        let mut plan = Plan {
            scenarios: scenarios.to_vec(),
            rounds: self.rounds,
            span: Duration::try_from_secs_f64(self.seconds).context("--seconds")?,
            warm_up: Duration::from_millis(300),
            connections: self.connections.clone(),
            sessions: self.sessions,
            starts: self.starts,
            cores: (!self.no_pin).then_some((self.server_core, self.load_core)),
        };
        if self.smoke {
            plan.rounds = 1;
            plan.span = Duration::from_millis(150);
            plan.warm_up = Duration::from_millis(20);
            plan.connections = vec![8];
            plan.sessions = 32;
            plan.starts = 2;
            plan.cores = None;
        }
        ensure!(plan.rounds > 0 && !plan.span.is_zero(), "--rounds and --seconds must be above zero");
        let most = plan.connections.iter().max().copied().unwrap_or(0);
        ensure!(!plan.connections.contains(&0), "--connections must be above zero");
        ensure!(plan.sessions >= most, "each of {most} connections needs a session of its own: --sessions");
        Ok(plan)
    }

    fn binary(&self) -> anyhow::Result<PathBuf> {
        let binary = match &self.doorward {
            Some(file) => file.clone(),
            None => std::env::current_exe()?.with_file_name("doorward"),
        };
        ensure!(
            binary.is_file(),
            "there is no {}: `cargo build --release` makes it, --doorward names another",
            binary.display()
        );
        Ok(binary)
    }

    /// The folder that the run's own folder is made in.
    fn above_scratch(&self) -> anyhow::Result<PathBuf> {
        if let Some(directory) = &self.scratch {
            return Ok(directory.clone());
        }
        let program = std::env::current_exe()?;
        Ok(program.ancestors().nth(2).context("this program lies in no folder")?.to_owned())
    }
}

/// Runs the benchmark; an error, a signal or a wrong answer ends it with every server stopped.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let plan = options.plan()?;
    if let Some((_, load_core)) = plan.cores {
        // Before the runtime starts, so that whatever thread it makes is pinned too.
        pin_self(load_core)?;
    }
    let report = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            report = benchmark(options, &plan) => report,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; the servers are stopped"),
            _ = terminated.recv() => bail!("terminated; the servers are stopped"),
        }
    })?;
    print!("{}", report.markdown());
    if let Some(file) = &options.json {
        let json = serde_json::to_vec_pretty(&report)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match report.samples.iter().find_map(|sample| sample.first_error.as_ref()) {
        Some(error) => bail!("not every request was answered as it must be; the first: {error}"),
        None => Ok(()),
    }
}

async fn benchmark(options: &Options, plan: &Plan) -> anyhow::Result<Report> {
    let above = options.above_scratch()?;
    let scratch = tempfile::Builder::new()
        .prefix("doorward-bench-")
        .tempdir_in(&above)
        .with_context(|| format!("cannot make a folder in {}", above.display()))?;
    let binary = if options.bare_only { PathBuf::new() } else { options.binary()? };
    let setup = Setup {
        scratch: scratch.path(),
        binary: &binary,
        server_core: plan.cores.map(|(server_core, _)| server_core),
        sessions: plan.sessions,
    };

    let mut conditions = conditions(plan, scratch.path())?;
    if options.smoke {
        conditions.push("a smoke run: the figures mean nothing".into());
    }
    if cfg!(debug_assertions) {
        conditions.push("a debug build: the figures mean nothing".into());
    }
    let mut footprint = None;
    let mut subjects = Vec::new();
    if !options.bare_only {
        eprintln!("timing {} starts", 2 * plan.starts);
        footprint = Some(measure_footprint(&setup, plan).await?);
        eprintln!("signing {} sessions in", plan.sessions);
        subjects.push(Subject::doorward(&setup).await?);
    }
    subjects.push(Subject::bare(&setup, subjects.first()).await?);

    let mut samples = Vec::new();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        for &connections in &plan.connections {
            for &scenario in &plan.scenarios {
                for subject in &mut subjects {
                    samples.push(Sample { round, ..measure(subject, scenario, connections, plan).await? });
                }
                // Whoever went first goes second the next time.
                subjects.reverse();
            }
        }
    }
    if let (Some(footprint), Some(doorward)) =
        (&mut footprint, subjects.iter().find(|subject| subject.side == Side::Doorward))
    {
        footprint.loaded_bytes = doorward.station(Scenario::Refresh).server.resident_bytes()?;
        footprint.loaded_sessions = doorward.sessions.len();
    }
    let summary = summarise(&samples);
    Ok(Report { conditions, samples, footprint, summary })
}

async fn measure(
    subject: &mut Subject,
    scenario: Scenario,
    connections: usize,
    plan: &Plan,
) -> anyhow::Result<Sample> {
    let devices = match scenario {
        Scenario::PendingPoll => subject.devices(connections).await?,
        _ => Vec::new(),
    };
    let sessions = match scenario {
        Scenario::Refresh | Scenario::RoleCredentials => std::mem::take(&mut subject.sessions),
        Scenario::Register | Scenario::PendingPoll => Vec::new(),
    };
    let station = subject.station(scenario).clone();
    let shares = deal(sessions, connections).into_iter().zip(deal(devices, connections));
    let mut workers = Vec::with_capacity(connections);
    for (sessions, devices) in shares {
        workers.push(Worker::connect(&station.target, sessions, devices).await?);
    }

    let (workers, warm_up) = drive(workers, scenario, plan.warm_up).await?;
    let (cpu, own_cpu) = (station.server.cpu_seconds()?, own_cpu_seconds()?);
    let stored = bytes_under(&station.data)?;
    let (workers, tally) = drive(workers, scenario, plan.span).await?;
    let cpu_seconds = station.server.cpu_seconds()? - cpu;
    let own_cpu = own_cpu_seconds()? - own_cpu;
    let stored_bytes = i64::try_from(bytes_under(&station.data)?)? - i64::try_from(stored)?;

    let kept = workers.into_iter().flat_map(|worker| worker.sessions);
    subject.sessions.extend(kept);
    let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
    let seconds = tally.elapsed.as_secs_f64();
    Ok(Sample {
        round: 0,
        side: subject.side,
        scenario,
        connections,
        requests: tally.latencies.total(),
        errors: warm_up.errors + tally.errors,
        first_error: warm_up.first_error.or(tally.first_error),
        seconds,
        cpu_seconds,
        load_busy: own_cpu / seconds,
        p50_ms: millis(tally.latencies.at(500)),
        p99_ms: millis(tally.latencies.at(990)),
        longest_ms: millis(tally.latencies.longest()),
        stored_bytes,
    })
}

/// `all`, dealt out like cards to so many hands.
pub(crate) fn deal<T>(all: Vec<T>, hands: usize) -> Vec<Vec<T>> {
    let mut dealt: Vec<Vec<T>> = (0..hands).map(|_| Vec::new()).collect();
    for (index, one) in all.into_iter().enumerate() {
        dealt[index % hands].push(one);
    }
    dealt
}

async fn measure_footprint(setup: &Setup<'_>, plan: &Plan) -> anyhow::Result<Footprint> {
    let binary_bytes = fs::metadata(setup.binary)?.len();
    let idle_bytes = {
        let (station, _) = setup.doorward("idle", None).await?;
        lab::register(&station.target).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        station.server.resident_bytes()?
    };
    let (mut first_start_ms, mut restart_ms) = (Vec::new(), Vec::new());
    for start in 0..plan.starts {
        let data = setup.scratch.join(format!("start-{start}"));
        first_start_ms.push(time_start(setup, &data).await?);
        restart_ms.push(time_start(setup, &data).await?);
    }
    Ok(Footprint {
        binary_bytes,
        idle_bytes,
        loaded_bytes: 0,
        loaded_sessions: 0,
        first_start_ms,
        restart_ms,
    })
}

/// Milliseconds from spawning to the answer to a first registration.
async fn time_start(setup: &Setup<'_>, data: &Path) -> anyhow::Result<f64> {
    // Without taskset, whose own start would count; it inherits this program's core, which only waits.
    let command = doorward_command(tokio::process::Command::new(setup.binary), data, None);
    let spawned = Instant::now();
    let (_server, ready) = Server::start::<DoorwardReady>(command, &data.with_extension("log")).await?;
    lab::register(&std::sync::Arc::new(ready.target()?)).await?;
    Ok(spawned.elapsed().as_secs_f64() * 1e3)
}

fn conditions(plan: &Plan, scratch: &Path) -> anyhow::Result<Vec<String>> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let pins = plan.cores.map_or_else(
        || "nothing is pinned".to_owned(),
        |(server, load)| format!("servers on core {server}, load on core {load}"),
    );
    let cores = std::fs::read_to_string("/proc/stat")?.lines().filter(|line| is_core(line)).count();
    Ok(vec![
        format!("{cores} x {processor}; {pins}"),
        format!(
            "{} rounds of {:.1} s for each server and scenario; {} sessions; medians",
            plan.rounds,
            plan.span.as_secs_f64(),
            plan.sessions
        ),
        format!(
            "data on {}; one record of 160 bytes and its fdatasync: {:.0} us",
            file_system(scratch),
            lone_sync(scratch)? * 1e6
        ),
    ])
}

fn is_core(line: &str) -> bool {
    line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn file_system(directory: &Path) -> String {
    let output = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(directory).output();
    let name = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "an unknown file system".into())
}

/// Seconds that a single durable append takes here: the floor under every durable answer's latency.
fn lone_sync(directory: &Path) -> anyhow::Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(directory.join("lone-sync"))?;
    let mut taken = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        file.write_all(&[0; 160])?;
        file.sync_data()?;
        taken.push(begun.elapsed().as_secs_f64());
    }
    Ok(median(taken).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealing_loses_nothing_and_is_even() {
        let dealt = deal((0..10).collect(), 4);
        assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 2, 2]);
        assert_eq!(dealt.into_iter().flatten().sum::<i32>(), 45);
    }

    #[test]
    fn the_sum_line_of_the_cores_is_no_core() {
        assert!(is_core("cpu0 1 2") && is_core("cpu12 1 2"));
        assert!(!is_core("cpu  1 2") && !is_core("ctxt 1"));
    }
}
