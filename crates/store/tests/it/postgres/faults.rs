//! Statements that fail in every way a database knows, and answers that get lost.

use std::sync::Arc;

use doorward_core::session::SessionState;
use doorward_core::store::{CommitError, Store};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::{PostgresOptions, PostgresStore};
use tokio::task::JoinSet;

use super::proxy::Proxy;
use super::server::Server;
use super::{nodes, shared};

/// Makes each of the first `times` writes to session and device_request do `fault`, whatever becomes of their
/// transaction: a sequence counts on when that is rolled back.
async fn inject(server: &Server, database: &str, times: u32, fault: &str) {
    let sql = format!(
        "DROP SEQUENCE IF EXISTS faults; CREATE SEQUENCE faults; \
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('faults') <= {times} THEN {fault}; END IF; RETURN NULL; END $$; \
         CREATE OR REPLACE TRIGGER fails AFTER INSERT OR UPDATE ON session EXECUTE FUNCTION fail(); \
         CREATE OR REPLACE TRIGGER fails AFTER INSERT OR UPDATE ON device_request EXECUTE FUNCTION fail()"
    );
    server.sql(database, &sql).await;
}

fn raise(code: &str) -> String {
    format!("RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'")
}

/// One of each kind: a rotation, a change alone, and a transaction.
fn kinds(n: u64) -> [Vec<Change>; 3] {
    [vec![rotate(n, 0)], vec![end(n + 1)], vec![start(n + 2), open_request(n + 2)]]
}

/// A server that answers before its disk does is told to wait for it, in the transactions of ours that lanes make and in
/// the others.
#[tokio::test]
async fn a_server_that_does_not_wait_for_its_disk_does_so_for_us() {
    let server = Server::with(None, &["synchronous_commit=off"], |_| {}).await;
    let database = server.database().await;
    let node: Arc<dyn Store> = Arc::new(server.node(&database));
    commit(&node, [start(1), start(2)]).await;
    let raise = "RAISE EXCEPTION 'synchronous_commit is %', current_setting('synchronous_commit')";
    let off = format!("IF current_setting('synchronous_commit') <> 'on' THEN {raise}; END IF");
    inject(&server, &database, 100, &off).await;
    for changes in kinds(1) {
        commit(&node, changes).await;
    }
    assert_eq!(server.number(&database, "SELECT last_value FROM faults").await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_race_is_run_again() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], (0..100).map(start)).await;
    for (n, code) in [(1, "40001"), (4, "40P01"), (7, "CR000"), (10, "26000")] {
        for changes in kinds(n).map(|changes| {
            let renumbered = changes.into_iter().map(|change| match change {
                Change::StartSession(session) => Change::StartSession(doorward_core::session::Session {
                    id: session_id(n + 1000),
                    ..session
                }),
                other => other,
            });
            renumbered.collect::<Vec<_>>()
        }) {
            inject(&server, &database, 3, &raise(code)).await;
            assert_eq!(nodes[0].commit(changes.clone()).await, Ok(()), "{code}: {changes:?}");
            assert_eq!(
                nodes[0].commit(changes.clone()).await,
                Err(CommitError::Conflict),
                "{code}: {changes:?}"
            );
        }
        assert_eq!(stored(&nodes[0], n).await.generation, 1);
        assert_ne!(stored(&nodes[0], n + 1).await.state, SessionState::Live);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn races_that_are_lost_for_ever_are_an_outage_and_nothing_is_written() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1), start(2)]).await;
    inject(&server, &database, 1000, &raise("40001")).await;
    for changes in kinds(1) {
        let outcome = nodes[0].commit(changes).await;
        let Err(CommitError::Outage(outage)) = outcome else { panic!("{outcome:?}") };
        assert!(outage.0.contains("40001"), "{outage}");
    }
    assert_eq!(stored(&nodes[0], 1).await, session(1));
    assert_eq!(stored(&nodes[0], 2).await, session(2));
    assert_eq!(nodes[0].session(session_id(3)).await, Ok(None));
    assert_eq!(nodes[0].device_request(request_id(3)).await, Ok(None));
}

/// What would fail again, and what may have been written, is not tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn other_failures_are_an_outage_at_once() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1), start(2)]).await;
    for code in ["53100", "42501", "XX000"] {
        for changes in kinds(1) {
            inject(&server, &database, 1000, &raise(code)).await;
            let outcome = nodes[0].commit(changes).await;
            assert!(matches!(outcome, Err(CommitError::Outage(_))), "{code}: {outcome:?}");
            assert_eq!(server.number(&database, "SELECT last_value FROM faults").await, 1, "{code}");
        }
    }
    assert_eq!(stored(&nodes[0], 1).await, session(1));
}

/// The server's word that it cannot tell is handled like a lost connection: a second run that succeeds is a success.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_dies_before_the_commit_costs_nothing() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [start(1), start(2)]).await;
    for fault in
        [raise("40003"), "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1)".into()]
    {
        let n = if fault.contains("40003") { 10 } else { 20 };
        commit(&nodes[0], [start(n), start(n + 1)]).await;
        for changes in kinds(n) {
            inject(&server, &database, 1, &fault).await;
            assert_eq!(nodes[0].commit(changes.clone()).await, Ok(()), "{fault}: {changes:?}");
            assert_eq!(
                nodes[0].commit(changes.clone()).await,
                Err(CommitError::Conflict),
                "{fault}: {changes:?}"
            );
        }
        inject(&server, &database, 0, "NULL").await;
    }
}

/// The write is made and its answer lost. Neither success nor a conflict would be certain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_whose_answer_was_lost_is_an_outage() {
    let server = Server::start().await;
    let database = server.database().await;
    let proxy = Proxy::before(&server.socket());
    let url = server.url_through(proxy.dir(), &database);
    let node = shared(PostgresStore::new(&PostgresOptions::from_url(&url).unwrap()).unwrap());
    commit(&node, [start(1), start(2)]).await;
    // So that nothing is left to be prepared, and the message with the marker is the one that writes.
    commit(&node, [rotate(2, 0)]).await;
    commit(&node, [start(4), open_request(4)]).await;
    commit(&node, [end(4)]).await;
    commit(&node, [use_once(1)]).await;

    proxy.lose_the_answer_to(session_id(1).as_bytes());
    let outcome = node.commit(vec![rotate(1, 0)]).await;
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
    assert_eq!(stored(&node, 1).await.generation, 1);

    proxy.lose_the_answer_to(session_id(1).as_bytes());
    let outcome = node.commit(vec![end(1)]).await;
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
    assert_ne!(stored(&node, 1).await.state, SessionState::Live);

    // The answer to COMMIT, which is the only one that says so.
    proxy.lose_the_answer_to(b"COMMIT\0");
    let outcome = node.commit(vec![start(3), open_request(3)]).await;
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
    assert_eq!(stored(&node, 3).await, session(3));

    proxy.lose_the_answer_to(once_id(2).as_bytes());
    let outcome = node.commit(vec![use_once(2)]).await;
    assert!(proxy.has_lost());
    assert!(matches!(outcome, Err(CommitError::Outage(_))), "{outcome:?}");
    assert!(is_used(&node, 2).await);

    // A statement before it: nothing can have been written, so it is simply done again.
    proxy.lose_the_answer_to(session_id(5).as_bytes());
    commit(&node, [start(5), open_request(5)]).await;
    assert!(proxy.has_lost());

    // A read is read again.
    proxy.lose_the_answer_to(session_id(1).as_bytes());
    assert_eq!(stored(&node, 1).await.generation, 1);
    assert!(proxy.has_lost());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conflict_in_a_batch_is_its_own_callers() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 1).await;
    let sessions = 100;
    commit(&nodes[0], (0..sessions).map(start)).await;
    commit(&nodes[0], [rotate(3, 0)]).await;
    commit(&nodes[0], [end(50)]).await;
    let mut running = JoinSet::new();
    for n in 0..=sessions {
        let node: Arc<dyn Store> = nodes[0].clone();
        running.spawn(async move { (n, node.commit(vec![rotate(n, 0)]).await) });
    }
    for (n, outcome) in running.join_all().await {
        let expected = if [3, 50, sessions].contains(&n) { Err(CommitError::Conflict) } else { Ok(()) };
        assert_eq!(outcome, expected, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_cannot_be_read_is_an_outage_that_names_it() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    let row = format!("row {}", session_id(1));
    commit(&nodes[0], [start(1), start(2), open_request(1)]).await;
    for (edit, complaint) in [
        ("person = 'no such name!'", "the user name must be"),
        ("person = '\\xff'", "person"),
        ("scopes = '\"'", "scopes"),
        ("client = NULL", "client"),
        ("generation = -1", "generation"),
        ("ended_at = 1, end_reason = 'boredom'", "boredom"),
        ("end_reason = 'logout'", "end_reason"),
        ("terms = '{\"aud\": 1}'", "column terms: invalid type"),
        ("terms = '{\"colour\": 1}'", "column terms: unknown field"),
        ("terms = ''", "column terms"),
    ] {
        let id = session_id(1);
        server.sql(&database, "CREATE TABLE before AS SELECT * FROM session").await;
        server.sql(&database, &format!("UPDATE session SET {edit} WHERE id = '{id}'")).await;
        let outage = nodes[0].session(session_id(1)).await.unwrap_err().0;
        for part in ["table session", &row, &database, complaint] {
            assert!(outage.contains(part), "{edit}: {outage}");
        }
        assert_eq!(nodes[0].session(session_id(2)).await, Ok(Some(session(2))), "{edit}");
        let undo = "DELETE FROM session; INSERT INTO session SELECT * FROM before; DROP TABLE before";
        server.sql(&database, undo).await;
    }
    for (edit, complaint) in [
        ("state = 'lost'", "lost"),
        ("state = 'approved'", "approved_by"),
        ("user_code = '\\x00'", "user_code"),
    ] {
        server.sql(&database, &format!("UPDATE device_request SET {edit}")).await;
        let outage = nodes[0].device_request(request_id(1)).await.unwrap_err().0;
        for part in ["table device_request", &row, complaint] {
            assert!(outage.contains(part), "{edit}: {outage}");
        }
    }
    server.sql(&database, "UPDATE directory SET version = 1, content = '{\"persons\": []}'").await;
    let begun = std::time::Instant::now();
    let outage = loop {
        match nodes[0].directory().await {
            Ok(_) => assert!(begun.elapsed().as_secs() < 2),
            Err(outage) => break outage.0,
        }
    };
    assert!(outage.contains("table directory") && outage.contains("persons"), "{outage}");
}
