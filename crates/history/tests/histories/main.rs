//! Histories: 64 clients of real servers that are killed in the middle, and a checker of everything they were answered.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

mod chance;
mod checker;
mod client;
mod cluster;
mod history;
mod run;
mod wire;
mod workload;

use std::time::Duration;

use doorward_testkit_postgres::{Server, free_port};
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::history::{Call, Part, milliseconds};
use crate::run::{CLIENTS, Load, Run};

const OPERATIONS: usize = 40_000;
const NODES: usize = 3;
/// The least that can be configured, so that a run outlasts it several times.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_postgres() {
    let mut database = Server::start().await;
    let name = database.database().await;
    let mut cluster = Cluster::on_postgres(NODES, CLIENTS, GRACE, &database.url(&name)).await;
    let mut run = Run::start("nodes on PostgreSQL", &cluster, Load::Everything).await;
    for (number, answered) in (2000..OPERATIONS).step_by(2000).enumerate() {
        run.until(answered).await;
        let node = run.chance.below(NODES);
        match number {
            // Its own way to stop at once, and the way of a machine that runs out of memory.
            2 => restart(&mut database, &run, Server::stop).await,
            8 => restart(&mut database, &run, Server::kill).await,
            // A node that dies while there is no database comes back when there is one.
            14 => {
                let from = run.now();
                cluster.kill(node).await;
                restart(&mut database, &run, Server::kill).await;
                cluster.spawn(node);
                cluster.ready(node).await;
                run.recovered(Part::Node(node), from);
            }
            _ => run.restart(&mut cluster, node).await,
        }
    }
    run.until(OPERATIONS).await;
    let history = run.finish(&cluster).await;
    assert!(history.ops.iter().filter(|op| op.is_answered()).count() >= OPERATIONS);
}

async fn restart(database: &mut Server, run: &Run, strike: impl FnOnce(&mut Server)) {
    let from = run.now();
    strike(database);
    sleep(Duration::from_millis(500)).await;
    database.start_again().await;
    run.recovered(Part::Database, from);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_on_the_embedded_store() {
    let mut cluster = Cluster::embedded(CLIENTS, GRACE).await;
    let mut run = Run::start("one node on the embedded store", &cluster, Load::Everything).await;
    for answered in (2000..OPERATIONS).step_by(2000) {
        run.until(answered).await;
        run.restart(&mut cluster, 0).await;
    }
    run.until(OPERATIONS).await;
    let history = run.finish(&cluster).await;
    assert!(history.ops.iter().filter(|op| op.is_answered()).count() >= OPERATIONS);
}

/// The procedure of docs/operations/several-nodes.md, with a primary whose processes are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover() {
    fail_over("failover", Server::kill).await;
}

/// The same with a primary that hangs, as it does when its disk does: it accepts connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_from_a_primary_that_hangs() {
    fail_over("failover from a primary that hangs", |primary| primary.freeze()).await;
}

async fn fail_over(name: &'static str, strike: impl FnOnce(&mut Server)) {
    let [one, two] = [free_port(), free_port()];
    let mut primary = Server::with(Some(one), &[], |_| {}).await;
    let database = primary.database().await;
    let standby = primary.synchronous_standby(two).await;
    let url = format!(
        "postgres://postgres@127.0.0.1:{one},127.0.0.1:{two}/{database}?target_session_attrs=read-write"
    );
    // The default: whoever gets no answer tries again for as long as the failover takes.
    let cluster = Cluster::on_postgres(NODES, CLIENTS, Duration::from_mins(1), &url).await;
    let run = Run::start(name, &cluster, Load::Storm).await;
    run.until(run.answered() + 3000).await;
    let from = run.now();
    strike(&mut primary);
    standby.promote();
    run.recovered(Part::Database, from);
    println!("{name}: promoted after {:.1} ms", milliseconds(run.now() - from));
    run.until(run.answered() + 3000).await;
    let history = run.finish(&cluster).await;
    let begins = |call| matches!(call, Call::SignIn | Call::Poll { .. } | Call::Redeem { .. });
    let again = history.ops.iter().filter(|op| op.begun > from && begins(op.call));
    assert_eq!(again.count(), 0, "somebody had to sign in again");
}
