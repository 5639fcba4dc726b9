//! The schema: made once, brought forward, and refused when it is not ours.

use doorward_core::store::{Allowance, Store};
use doorward_store::contract::fixtures::*;
use doorward_store::postgres::{PostgresError, Schema};
use doorward_store::{Location, OpenError, open};
use tokio::task::JoinSet;

use super::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_start_at_once_on_an_empty_database_all_start() {
    let server = Server::start().await;
    for _ in 0..5 {
        let database = server.database().await;
        let mut starting = JoinSet::new();
        for _ in 0..6 {
            let node = server.node(&database);
            starting.spawn(async move { node.ready().await });
        }
        for ready in starting.join_all().await {
            assert_eq!(ready, Ok(()));
        }
        assert_eq!(server.number(&database, "SELECT count(*) FROM doorward_schema").await, 2);
        assert_eq!(server.number(&database, "SELECT count(*) FROM directory").await, 1);
    }
}

#[tokio::test]
async fn a_look_at_the_schema_changes_nothing() {
    let server = Server::start().await;
    let database = server.database().await;
    let node = server.node(&database);
    assert_eq!(node.schema().await, Ok(Schema::None));
    assert_eq!(node.schema().await, Ok(Schema::None));
    node.ready().await.unwrap();
    assert_eq!(node.schema().await, Ok(Schema::Current));
}

/// What a newer server, an edited file or somebody else leaves in the database, and what a start makes of it.
#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    let server = Server::start().await;
    let refusal = async |edit: &str| {
        let database = server.database().await;
        server.node(&database).ready().await.unwrap();
        server.sql(&database, edit).await;
        let node = server.node(&database);
        let refused = node.ready().await.unwrap_err();
        assert_eq!(node.schema().await, Err(refused.clone()));
        let outage = node.session(session_id(1)).await.unwrap_err();
        assert_eq!(outage.0, refused.to_string());
        assert!(outage.0.contains(&database), "{outage}");
        refused
    };
    for edit in [
        "INSERT INTO doorward_schema VALUES (3, 3, 'x')",
        "INSERT INTO doorward_schema VALUES (3, 2, 'x'), (4, 2, 'x')",
    ] {
        let refused = refusal(edit).await;
        assert!(matches!(refused, PostgresError::UnknownSchema { known: 2, .. }), "{edit}: {refused}");
    }
    for edit in ["UPDATE doorward_schema SET checksum = 'x'", "DELETE FROM doorward_schema WHERE version = 1"]
    {
        let refused = refusal(edit).await;
        assert!(matches!(refused, PostgresError::ChangedSchema { version: 1, .. }), "{edit}: {refused}");
    }
}

/// While nodes are replaced, one of the old ones may restart.
#[tokio::test]
async fn the_schema_of_the_next_version_is_used_if_it_lets_us() {
    let server = Server::start().await;
    let database = server.database().await;
    let old: std::sync::Arc<dyn Store> = super::shared(server.node(&database));
    commit(&old, [start(1), open_request(1), replace_directory(0, &["alice"])]).await;
    server
        .sql(
            &database,
            "BEGIN; INSERT INTO doorward_schema VALUES (3, 2, 'x'); ALTER TABLE session ADD COLUMN more TEXT; \
             ALTER TABLE device_request ADD COLUMN more BIGINT NOT NULL DEFAULT 7; \
             ALTER TABLE directory ADD COLUMN more TEXT; \
             ALTER TABLE allowance ADD COLUMN more TEXT; COMMIT",
        )
        .await;
    let restarted = super::shared(server.node(&database));
    for (n, node) in [(2, &old), (3, &restarted)] {
        commit(node, [rotate(1, n - 2)]).await;
        commit(node, [start(u64::from(n)), open_request(u64::from(n))]).await;
        assert_eq!(stored(node, 1).await.generation, n - 1);
        assert_eq!(stored_request(node, 1).await, device_request(1));
        assert_eq!(node.take(&[allowance(1)], NOW).await, Ok(n == 2));
    }
}

/// Nodes of version 1 go on working beside those of version 2: what they know of stays what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn version_two_only_adds_to_version_one() {
    let server = Server::start().await;
    let (database, nodes) = super::nodes(&server, 3).await;
    commit(&nodes[0], [start(1), open_request(1), replace_directory(0, &["alice"])]).await;
    let known_to_one = "SELECT hashtext(string_agg(concat(table_name, column_name, data_type, is_nullable, \
                        column_default), ';' ORDER BY 1))::BIGINT FROM information_schema.columns \
                        WHERE table_schema = 'public' AND table_name <> 'allowance'";
    let after = server.number(&database, known_to_one).await;
    server.sql(&database, "DROP TABLE allowance; DELETE FROM doorward_schema WHERE version = 2").await;
    assert_eq!(server.number(&database, known_to_one).await, after);
    let oldest_server = "SELECT oldest_server FROM doorward_schema WHERE version = 2";

    assert_eq!(server.node(&database).schema().await, Ok(Schema::Behind(1)));
    let mut starting = JoinSet::new();
    for _ in 0..4 {
        let node = server.node(&database);
        starting.spawn(async move { node.ready().await });
    }
    for ready in starting.join_all().await {
        assert_eq!(ready, Ok(()));
    }
    assert_eq!(server.number(&database, oldest_server).await, 1);
    assert_eq!(server.number(&database, known_to_one).await, after);
    let node = super::shared(server.node(&database));
    assert_eq!(stored(&node, 1).await, session(1));
    assert_eq!(stored_request(&node, 1).await, device_request(1));
    assert_eq!(stored_directory(&node).await.version(), 1);
    assert_eq!(node.take(&[allowance(1)], NOW).await, Ok(true));
}

/// One, and one more an hour later.
fn allowance(key: u32) -> Allowance {
    Allowance { key, every: 3_600_000, burst: std::num::NonZeroU32::MIN }
}

/// An index over what a refresh writes would make each of them write to every index.
#[tokio::test]
async fn no_index_has_what_a_change_of_state_writes() {
    let server = Server::start().await;
    let database = server.database().await;
    server.node(&database).ready().await.unwrap();
    let indexed = "SELECT count(*) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) \
                   WHERE indrelid IN ('session'::regclass, 'device_request'::regclass) AND attname IN \
                   ('generation', 'rotated_at', 'ended_at', 'end_reason', 'state', 'approved_by', 'authenticated_at')";
    assert_eq!(server.number(&database, indexed).await, 0);
    // Nor a partial index, whose condition counts as well.
    let partial =
        "SELECT count(*) FROM pg_index WHERE indrelid = 'session'::regclass AND indpred IS NOT NULL";
    assert_eq!(server.number(&database, partial).await, 0);
}

#[tokio::test]
async fn a_database_with_tables_of_somebody_else_is_left_alone() {
    let server = Server::start().await;
    let database = server.database().await;
    server.sql(&database, "CREATE TABLE session (theirs TEXT)").await;
    let refused = server.node(&database).ready().await.unwrap_err();
    assert!(matches!(refused, PostgresError::Migration { version: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("already exists"), "{refused}");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename IN ('device_request', 'directory')";
    assert_eq!(server.number(&database, tables).await, 0);
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_named_and_tried_again() {
    let mut server = Server::start().await;
    let database = server.database().await;
    let mut options = Box::new(server.options(&database));
    let opened = open(&Location::Postgres(options.clone())).unwrap();
    server.stop();
    let refused = opened.ready().await.unwrap_err();
    assert!(matches!(refused, OpenError::Postgres(PostgresError::Unusable(_))), "{refused}");
    assert!(refused.to_string().contains(&database), "{refused}");
    server.start_again().await;
    opened.ready().await.unwrap();
    commit(&opened.store, [start(1)]).await;
    opened.closer.close().await.unwrap();
    assert!(opened.store.session(session_id(1)).await.is_err());
    options.connections = 1;
    let opened = open(&Location::Postgres(options)).unwrap();
    assert_eq!(stored(&opened.store, 1).await, session(1));
}
