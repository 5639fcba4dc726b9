//! A database that is away, hangs, is slow, or dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use doorward_core::session::SessionState;
use doorward_core::store::{Allowance, CommitError, Store};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::{PostgresOptions, PostgresStore};
use doorward_testkit_postgres::free_port;
use tokio::task::JoinSet;

use super::server::Server;
use super::{nodes, shared};

/// The time of a call in these tests, and some for a busy machine.
const CALL: Duration = Duration::from_millis(4000 + 1500);

/// Every kind of call, each of which must be an outage in time.
async fn everything_is_an_outage(node: &Arc<dyn Store>) {
    let begun = Instant::now();
    let alice = person("alice");
    let allowance = [Allowance { key: 1, every: 1000, burst: std::num::NonZeroU32::MIN }];
    let (one, two, three, four, five, six) = tokio::join!(
        node.session(session_id(1)),
        node.sessions_of(&alice, NOW, 9),
        node.device_request_by_code(user_code(1)),
        node.device_requests_kept(address(1)),
        node.sweep(later(90_000), 9),
        node.take(&allowance, NOW),
    );
    assert!(one.is_err() && two.is_err() && three.is_err() && four.is_err() && five.is_err() && six.is_err());
    let changes: [Vec<Change>; 4] = [
        vec![rotate(1, 0)],
        vec![end(1)],
        vec![start(7), open_request(7)],
        vec![replace_directory(0, &["alice"])],
    ];
    let commits = changes.map(|changes| node.commit(changes));
    for outcome in futures_util::future::join_all(commits).await {
        let Err(CommitError::Outage(outage)) = outcome else { panic!("{outcome:?}") };
        assert!(outage.0.contains("test_0"), "{outage}");
    }
    assert!(begun.elapsed() < CALL * 2, "{:?}", begun.elapsed());
}

/// The store as it was, and able to work.
async fn everything_works(node: &Arc<dyn Store>, generation: u32) {
    assert_eq!(stored(node, 1).await.generation, generation);
    commit(node, [rotate(1, generation)]).await;
    assert_eq!(stored(node, 1).await.generation, generation + 1);
    commit(node, [start(1000 + u64::from(generation)), open_request(1000 + u64::from(generation))]).await;
    node.directory().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_was_away_is_used_again_when_it_is_back() {
    let mut server = Server::start().await;
    let (_, nodes) = nodes(&server, 2).await;
    commit(&nodes[0], [start(1)]).await;
    stored(&nodes[1], 1).await;
    for generation in [0, 2] {
        server.stop();
        for node in &nodes {
            everything_is_an_outage(node).await;
        }
        server.start_again().await;
        // At once, on whichever connections: the dead ones must cost nobody a request.
        everything_works(&nodes[0], generation).await;
        everything_works(&nodes[1], generation + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_the_server_ended_cost_nobody_a_request() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1)]).await;
    for generation in 0..5 {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'doorward'";
        assert!(server.number(&database, end).await > 0);
        everything_works(&nodes[0], generation).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_hangs_is_an_outage_in_time() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1)]).await;
    everything_works(&nodes[0], 0).await;
    server.freeze();
    everything_is_an_outage(&nodes[0]).await;
    server.thaw();
    // What was sent to it may be done now: the rotation whose guard held, and the end. Nobody was told it was not.
    let begun = Instant::now();
    while nodes[0].session(session_id(1)).await.is_err() {
        assert!(begun.elapsed() < CALL);
    }
    commit(&nodes[0], [start(2), rotate(2, 0)]).await;
    commit(&nodes[0], [rotate(2, 1)]).await;
}

/// Its disk hangs, say: it still accepts connections, and says nothing on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_primary_that_hangs_does_not_keep_us_from_the_next() {
    let ports = [free_port(), free_port()];
    let primary = Server::with(Some(ports[0]), &[], |_| {}).await;
    let database = primary.database().await;
    let standby = primary.synchronous_standby(ports[1]).await;
    let [one, two] = ports;
    let url = format!(
        "postgres://postgres@127.0.0.1:{one},127.0.0.1:{two}/{database}?target_session_attrs=read-write"
    );
    let mut options = PostgresOptions::from_url(&url).unwrap();
    options.connect_timeout = Duration::from_secs(2);
    options.statement_timeout = Duration::from_secs(2);
    let node = shared(PostgresStore::new(&options).unwrap());
    commit(&node, [start(1)]).await;
    // Several connections, which all hang now.
    futures_util::future::join_all((0..8).map(|_| stored(&node, 1))).await;
    primary.freeze();
    standby.promote();
    assert!(node.session(session_id(1)).await.is_err());
    // Whoever comes next does not wait for the others of them.
    everything_works(&node, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_database_is_an_outage_in_time() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1), start(2)]).await;
    let client = server.client(&database).await;
    client.batch_execute("BEGIN; LOCK TABLE session IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let begun = Instant::now();
    let (read, rotated, started) = tokio::join!(
        nodes[0].session(session_id(1)),
        nodes[0].commit(vec![rotate(1, 0)]),
        nodes[0].commit(vec![start(3), open_request(3)]),
    );
    assert!(read.is_err());
    for outcome in [rotated, started] {
        assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
    }
    assert!(begun.elapsed() < CALL, "{:?}", begun.elapsed());
    client.batch_execute("COMMIT").await.unwrap();
    // The server had said that it gave up, so nothing comes after.
    everything_works(&nodes[0], 0).await;
    commit(&nodes[0], [start(3), open_request(3)]).await;
}

/// Somebody holds one row of a batch: the others of the batch must not pay for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_is_locked_fails_alone() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    let sessions = 60;
    commit(&nodes[0], (0..sessions).map(start)).await;
    let client = server.client(&database).await;
    let lock = format!("BEGIN; SELECT 1 FROM session WHERE id = '{}' FOR UPDATE", session_id(7));
    client.batch_execute(&lock).await.unwrap();
    let mut running = JoinSet::new();
    for n in 0..sessions {
        let node = nodes[0].clone();
        running.spawn(async move { (n, node.commit(vec![rotate(n, 0)]).await) });
    }
    let begun = Instant::now();
    for (n, outcome) in running.join_all().await {
        assert_eq!(outcome.is_ok(), n != 7, "{n}: {outcome:?}");
        if n == 7 {
            assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
        }
    }
    assert!(begun.elapsed() < CALL, "{:?}", begun.elapsed());
    client.batch_execute("COMMIT").await.unwrap();
    commit(&nodes[0], [rotate(7, 0)]).await;
}

/// A request is dropped when its client hangs up. Its connection, in the middle of a transaction, must not be the next
/// one's: what that writes would be in the transaction of the one who left, and be lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_who_leaves_in_the_middle_leaves_nothing_behind() {
    let server = Server::start().await;
    let database = server.database().await;
    let mut options = server.options(&database);
    options.connections = 1;
    let node = shared(PostgresStore::new(&options).unwrap());
    commit(&node, [start(1), start(2)]).await;
    let client = server.client(&database).await;
    let lock = format!("BEGIN; SELECT 1 FROM session WHERE id = '{}' FOR UPDATE", session_id(1));
    client.batch_execute(&lock).await.unwrap();
    let leaving = tokio::time::timeout(Duration::from_millis(300), node.commit(vec![start(5), end(1)]));
    assert!(leaving.await.is_err(), "it waits for the row");
    commit(&node, [end(2)]).await;
    commit(&node, [start(6)]).await;
    client.batch_execute("COMMIT").await.unwrap();
    let other = shared(server.node(&database));
    assert_eq!(stored(&other, 6).await, session(6));
    assert_ne!(stored(&other, 2).await.state, SessionState::Live);
    assert_eq!(stored(&other, 1).await, session(1));
    assert_eq!(other.session(session_id(5)).await, Ok(None));
}

/// A storm of rotations, and the death of all of the database's processes in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_rotation_that_was_answered_is_lost_when_the_database_dies() {
    let mut server = Server::start().await;
    let (_, nodes) = nodes(&server, 2).await;
    let sessions = 64;
    commit(&nodes[0], (0..sessions).map(start)).await;
    // Every node has its connections before the storm.
    stored(&nodes[1], 1).await;
    for _ in 0..2 {
        let dead = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU32::new(0));
        let mut storm = JoinSet::new();
        for n in 0..sessions {
            let (dead, answered) = (dead.clone(), answered.clone());
            let node = nodes[usize::try_from(n).unwrap() % 2].clone();
            // Before the storm: whoever comes late would read from a database that is dead.
            let mut generation = stored(&node, n).await.generation;
            storm.spawn(async move {
                loop {
                    match node.commit(vec![rotate(n, generation)]).await {
                        Ok(()) => generation += 1,
                        Err(CommitError::Outage(_)) => {
                            assert!(dead.load(Ordering::SeqCst));
                            return (n, generation);
                        }
                        Err(CommitError::Conflict) => panic!("nobody else rotates {n}"),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 3000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dead.store(true, Ordering::SeqCst);
        server.kill();
        let last_answered = storm.join_all().await;
        server.start_again().await;
        for (n, generation) in last_answered {
            let stored = stored(&nodes[0], n).await.generation;
            // One more may have been made without an answer.
            assert!(
                (generation..=generation + 1).contains(&stored),
                "{n}: {generation} answered, {stored} stored"
            );
            commit(&nodes[1], [rotate(n, stored)]).await;
        }
    }
}
