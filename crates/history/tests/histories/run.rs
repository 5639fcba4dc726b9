//! A run: clients that work while parts are killed, a quiet end in which they ask for all they have, and the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::checker::{self, Terms};
use crate::client::Client;
use crate::cluster::Cluster;
use crate::history::{History, Journal, Moment, Part};
use crate::wire::Wire;
use crate::workload::Worker;

pub(crate) const CLIENTS: usize = 64;
/// A run is not waited for any longer.
const LONGEST: Duration = Duration::from_mins(6);
/// How long after a part works again a request may still fail because it did not. Silence is noticed after six seconds, and
/// a connection to another host is made within five more.
const BOUND: Duration = Duration::from_secs(15);

/// What the clients do until the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// All that clients and people do.
    Everything,
    /// Refreshes of sessions that were begun before.
    Storm,
}

/// Clients at work.
pub(crate) struct Run {
    name: &'static str,
    seed: u64,
    begun: Instant,
    journal: Arc<Journal>,
    stopping: Arc<AtomicBool>,
    working: JoinSet<Worker>,
    pub(crate) chance: Chance,
}

impl Run {
    pub(crate) async fn start(name: &'static str, cluster: &Cluster, load: Load) -> Self {
        let seed = seed();
        println!("{name}: seed {seed:#x}");
        let journal = Arc::new(Journal::new());
        let addresses = cluster.addresses();
        let worker = |number| {
            let client = Client::new(number, Wire::new(number, &addresses), Arc::clone(&journal));
            Worker::new(client, Chance::new(seed, number as u64 + 1), cluster.grace)
        };
        let mut workers: Vec<_> = (0..CLIENTS).map(worker).collect();
        if load == Load::Storm {
            let mut preparing = JoinSet::new();
            for mut worker in workers {
                preparing.spawn(async move {
                    worker.prepare().await;
                    worker
                });
            }
            workers = preparing.join_all().await;
        }
        let stopping = Arc::new(AtomicBool::new(false));
        let mut working = JoinSet::new();
        for mut worker in workers {
            let stopping = Arc::clone(&stopping);
            working.spawn(async move {
                while !stopping.load(Ordering::Relaxed) {
                    match load {
                        Load::Everything => worker.step().await,
                        Load::Storm => worker.storm().await,
                    }
                }
                worker
            });
        }
        Self { name, seed, begun: Instant::now(), journal, stopping, working, chance: Chance::new(seed, 0) }
    }

    pub(crate) fn now(&self) -> Moment {
        self.journal.now()
    }

    pub(crate) fn answered(&self) -> usize {
        self.journal.answered()
    }

    /// Waits until this many operations were answered.
    pub(crate) async fn until(&self, answered: usize) {
        while self.answered() < answered {
            assert!(self.begun.elapsed() < LONGEST, "only {} operations were answered", self.answered());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes down that a part was down since `from`, and works now.
    pub(crate) fn recovered(&self, part: Part, from: Moment) {
        self.journal.fault(part, from);
    }

    /// Kills a node, and starts it again after a while.
    pub(crate) async fn restart(&mut self, cluster: &mut Cluster, node: usize) {
        let from = self.now();
        cluster.kill(node).await;
        sleep(Duration::from_millis(self.chance.below(400) as u64)).await;
        cluster.spawn(node);
        cluster.ready(node).await;
        self.recovered(Part::Node(node), from);
    }

    /// Has the clients stop, and ask for everything that they have; then judges.
    pub(crate) async fn finish(self, cluster: &Cluster) -> History {
        self.stopping.store(true, Ordering::Relaxed);
        let workers = self.working.join_all().await;
        let (worked, settled) = (self.begun.elapsed(), self.journal.now());
        let mut concluding = JoinSet::new();
        for mut worker in workers {
            concluding.spawn(async move { worker.conclude().await });
        }
        let concluding_began = Instant::now();
        concluding.join_all().await;
        let history = self.journal.history(settled);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let terms = Terms {
            grace: micros(cluster.grace),
            slack: micros(Duration::from_secs(1)),
            bound: micros(BOUND),
        };
        let nodes = history.faults.iter().filter(|fault| fault.part != Part::Database).count();
        println!(
            "{}: seed {:#x}; {} operations of {CLIENTS} clients, {} answered, in {worked:.1?} and {:.1?} at the end",
            self.name,
            self.seed,
            history.ops.len(),
            self.journal.answered(),
            concluding_began.elapsed(),
        );
        println!(
            "killed: nodes {nodes} times, the database {} times; longest outage seen: {:.1?} by a node, {:.1?} by the \
             database\n{}",
            history.faults.len() - nodes,
            history.longest_outage(terms.bound, |part| part != Part::Database),
            history.longest_outage(terms.bound, |part| part == Part::Database),
            history.summary()
        );
        let violations = checker::check(&history, terms);
        assert!(violations.is_empty(), "{}", checker::describe(&history, &violations));
        // Nobody sees on the wire that a rotation was lost when the next one catches up; the server does.
        for what in ["store_was_behind", "panicked"] {
            let logged = cluster.logged(what);
            assert!(logged.is_empty(), "{what}: {}", logged.join("\n"));
        }
        history
    }
}

/// A number that hardly any other run has: when this process began, and its id.
fn seed() -> u64 {
    let file = std::fs::metadata("/proc/self").unwrap().modified().unwrap();
    let since = file.duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().wrapping_mul(1_000_003) ^ u64::from(since.subsec_nanos()) ^ u64::from(std::process::id())
}
