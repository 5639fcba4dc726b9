//! A sweep with much to do, while requests go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use doorward_core::store::Store;
use doorward_store::contract::fixtures::*;
use tokio::task::JoinSet;

use crate::Embedded;
use crate::postgres::nodes;
use crate::postgres::server::Server;

const BACKLOG: usize = 200_000;
/// Who commits and reads meanwhile.
const CALLERS: u64 = 8;

/// Runs `sweeps` while callers start, rotate and read sessions that live. Answers how many rounds of theirs were over
/// before the sweeps were.
async fn rounds_during(stores: &[Arc<dyn Store>], sweeps: impl Future<Output = ()>) -> u64 {
    let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (over, rounds) = (over.clone(), rounds.clone());
        let store = stores[usize::try_from(caller).unwrap() % stores.len()].clone();
        callers.spawn(async move {
            for round in 0.. {
                let n = 1_000_000 + round * CALLERS + caller;
                commit(&store, [start(n)]).await;
                commit(&store, [rotate(n, 0)]).await;
                assert_eq!(stored(&store, n).await.generation, 1);
                if over.load(Ordering::SeqCst) {
                    return round + 1;
                }
                rounds.fetch_add(1, Ordering::SeqCst);
            }
            unreachable!("the rounds have no end")
        });
    }
    sweeps.await;
    over.store(true, Ordering::SeqCst);
    let done = rounds.load(Ordering::SeqCst);
    // What they wrote is there, and nobody had an outage.
    callers.join_all().await;
    done
}

/// One call for everything, which the server never makes: the store itself lets others in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_go_on_during_a_long_sweep_of_the_embedded_store() {
    let embedded = Embedded::new();
    let backlog = format!(
        "BEGIN; WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {BACKLOG}) \
         INSERT INTO session SELECT n, randomblob(16), 'alice', NULL, NULL, '', 0, 0, 1, NULL FROM n; \
         INSERT INTO head SELECT id, seq, 0, 0, NULL, NULL FROM session; COMMIT"
    );
    let embedded = embedded.edited(&backlog).await;
    let store = embedded.store();
    let sweep = async {
        assert_eq!(store.sweep(NOW, usize::MAX).await, Ok(BACKLOG));
    };
    let rounds = rounds_during(&[embedded.store()], sweep).await;
    // Some eight hundred batches, and after each of them the writer takes what was queued meanwhile.
    assert!(rounds >= 100, "{rounds}");
    assert_eq!(store.sweep(NOW, usize::MAX).await, Ok(0));
}

/// Nodes choose the same rows, and find them gone: that costs them a statement, and no outage.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commits_go_on_while_nodes_sweep_at_once() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 3).await;
    commit(&nodes[0], [start(1)]).await;
    let backlog = format!(
        "INSERT INTO session (id, person, scopes, created_at, authenticated_at, expires_at, generation, rotated_at) \
         SELECT gen_random_uuid(), 'alice', '', 0, 0, n % 1000, 0, 0 FROM generate_series(1, {BACKLOG}) n"
    );
    server.sql(&database, &backlog).await;
    let gone = AtomicU64::new(0);
    let sweeps = async {
        let drain = async |node: &Arc<dyn Store>| {
            // Another node may have been quicker with all of a batch.
            while server.number(&database, "SELECT count(*) FROM session WHERE expires_at < 1000").await > 0 {
                for _ in 0..50 {
                    let went = node.sweep(NOW, 200).await.unwrap();
                    gone.fetch_add(went.try_into().unwrap(), Ordering::SeqCst);
                }
            }
        };
        tokio::join!(drain(&nodes[0]), drain(&nodes[1]), drain(&nodes[2]));
    };
    let rounds = rounds_during(&nodes, sweeps).await;
    assert!(rounds >= 100, "{rounds}");
    assert_eq!(gone.load(Ordering::SeqCst), BACKLOG as u64);
    assert_eq!(stored(&nodes[0], 1).await, session(1));
}
