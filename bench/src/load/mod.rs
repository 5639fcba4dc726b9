//! The closed loop: N connections, each sending its next request when the answer to the last one is checked.

mod connection;
mod histogram;
mod scenario;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

pub(crate) use connection::Connection;
pub(crate) use histogram::Histogram;
pub(crate) use scenario::{
    Client, CreateToken, DEVICE_GRANT, Device, Issued, Registration, Scenario, Session, Target,
};

/// An answer that takes longer than this ends the benchmark.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection's share of a scenario: whose requests it sends.
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) target: Arc<Target>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) devices: Vec<Device>,
    next: usize,
}

impl Worker {
    /// A connected worker that has its sessions and device codes for itself.
    pub(crate) async fn connect(
        target: &Arc<Target>,
        sessions: Vec<Session>,
        devices: Vec<Device>,
    ) -> anyhow::Result<Self> {
        let connection = open(target).await?;
        Ok(Self { connection, target: Arc::clone(target), sessions, devices, next: 0 })
    }

    /// Its sessions, beginning with the one whose turn is next.
    pub(crate) fn into_sessions(mut self) -> Vec<Session> {
        let turn = self.next.checked_rem(self.sessions.len()).unwrap_or(0);
        self.sessions.rotate_left(turn);
        self.sessions
    }

    /// The place of the next request's session or code among `many`.
    fn turn(&mut self, many: usize) -> anyhow::Result<usize> {
        let turn = self.next.checked_rem(many).context("a connection without sessions or device codes")?;
        self.next = turn + 1;
        Ok(turn)
    }
}

async fn open(target: &Target) -> anyhow::Result<Connection> {
    let connection = Connection::open(&target.authority).await?;
    Ok(if target.forwarded { connection.forwarding() } else { connection })
}

/// What a span of load came to.
pub(crate) struct Tally {
    pub(crate) latencies: Histogram,
    pub(crate) elapsed: Duration,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// Drives all workers for `span`; every request that was begun is answered before this returns.
pub(crate) async fn drive(
    workers: Vec<Worker>,
    scenario: Scenario,
    span: Duration,
) -> anyhow::Result<(Vec<Worker>, Tally)> {
    let begun = Instant::now();
    let deadline = begun + span;
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn(drive_one(worker, scenario, deadline));
    }
    let mut workers = Vec::with_capacity(running.len());
    let mut tally =
        Tally { latencies: Histogram::new(), elapsed: Duration::ZERO, errors: 0, first_error: None };
    let all_joined = async {
        while let Some(joined) = running.join_next().await {
            let (worker, part) = joined?;
            workers.push(worker);
            tally.latencies.merge(&part.latencies);
            tally.errors += part.errors;
            tally.first_error = tally.first_error.take().or(part.first_error);
        }
        anyhow::Ok(())
    };
    if let Ok(joined) = tokio::time::timeout(span + PATIENCE, all_joined).await {
        joined?;
    } else {
        bail!("{scenario:?}: no answer within {} s", PATIENCE.as_secs());
    }
    tally.elapsed = begun.elapsed();
    Ok((workers, tally))
}

async fn drive_one(mut worker: Worker, scenario: Scenario, deadline: Instant) -> (Worker, Tally) {
    let mut tally =
        Tally { latencies: Histogram::new(), elapsed: Duration::ZERO, errors: 0, first_error: None };
    let mut sent = Instant::now();
    while sent < deadline {
        let outcome = scenario.step(&mut worker).await;
        let answered = Instant::now();
        match outcome {
            Ok(()) => tally.latencies.record(answered - sent),
            Err(error) => {
                tally.errors += 1;
                tally.first_error.get_or_insert_with(|| format!("{scenario:?}: {error:#}"));
                // After a broken exchange the connection is in an unknown state.
                match open(&worker.target).await {
                    Ok(connection) => worker.connection = connection,
                    Err(_) => break,
                }
            }
        }
        sent = answered;
    }
    (worker, tally)
}
