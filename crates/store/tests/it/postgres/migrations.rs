//! The schema: made once, brought forward, and refused when it is not ours.

use doorward_core::directory::Departures;
use doorward_core::session::Session;
use doorward_core::store::{Allowance, Store};
use doorward_core::verdict::Change;
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
        assert_eq!(server.number(&database, "SELECT count(*) FROM doorward_schema").await, 4);
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
        "INSERT INTO doorward_schema VALUES (5, 5, 'x')",
        "INSERT INTO doorward_schema VALUES (5, 4, 'x'), (6, 4, 'x')",
    ] {
        let refused = refusal(edit).await;
        assert!(matches!(refused, PostgresError::UnknownSchema { known: 4, .. }), "{edit}: {refused}");
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
            "BEGIN; INSERT INTO doorward_schema VALUES (5, 4, 'x'); ALTER TABLE session ADD COLUMN more TEXT; \
             ALTER TABLE device_request ADD COLUMN more BIGINT NOT NULL DEFAULT 7; \
             ALTER TABLE directory ADD COLUMN more TEXT; \
             ALTER TABLE allowance ADD COLUMN more TEXT; \
             ALTER TABLE record ADD COLUMN more TEXT; \
             ALTER TABLE used_once ADD COLUMN more TEXT; COMMIT",
        )
        .await;
    let restarted = super::shared(server.node(&database));
    for (n, node) in [(2, &old), (3, &restarted)] {
        commit(node, [rotate(1, n - 2)]).await;
        commit(node, [start(u64::from(n)), open_request(u64::from(n))]).await;
        assert_eq!(stored(node, 1).await.generation, n - 1);
        assert_eq!(stored_request(node, 1).await, device_request(1));
        assert_eq!(node.take(&[allowance(1)], NOW).await, Ok(n == 2));
        commit(node, [put_person(u64::from(n) - 2, "alice"), replace_keys(u64::from(n) - 2, &[1])]).await;
        assert_eq!(stored_federated(node, "alice").await.0, u64::from(n) - 1);
        commit(node, [Change::StartSession(session_with_terms(u64::from(n) + 10)), use_once(n.into())]).await;
        assert_eq!(stored(node, u64::from(n) + 10).await, session_with_terms(u64::from(n) + 10));
        conflicts(node, [use_once(n.into())]).await;
    }
}

/// Nodes of the version before go on working beside those of the next: what they know of stays what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_only_adds_to_the_one_before() {
    let server = Server::start().await;
    let known_to_one = "SELECT hashtext(string_agg(concat(table_name, column_name, data_type, is_nullable, \
                        column_default), ';' ORDER BY table_name, column_name))::BIGINT \
                        FROM information_schema.columns WHERE table_schema = 'public' \
                        AND table_name NOT IN ('allowance', 'record', 'used_once') \
                        AND column_name NOT IN ('departed', 'terms')";
    let back_to_three = "DROP TABLE used_once; ALTER TABLE session DROP COLUMN terms; \
                         DELETE FROM doorward_schema WHERE version = 4;";
    let back_to_two = &format!(
        "{back_to_three} DROP TABLE record; ALTER TABLE directory DROP COLUMN departed; \
         DELETE FROM doorward_schema WHERE version = 3;"
    );
    let back_to_one =
        &format!("{back_to_two} DROP TABLE allowance; DELETE FROM doorward_schema WHERE version = 2");
    for (version, back) in [(1, &**back_to_one), (2, &**back_to_two), (3, back_to_three)] {
        let (database, nodes) = super::nodes(&server, 3).await;
        commit(&nodes[0], [start(1), open_request(1), replace_directory(0, &["alice"])]).await;
        let after = server.number(&database, known_to_one).await;
        server.sql(&database, back).await;
        assert_eq!(server.number(&database, known_to_one).await, after);

        assert_eq!(server.node(&database).schema().await, Ok(Schema::Behind(version)));
        let mut starting = JoinSet::new();
        for _ in 0..4 {
            let node = server.node(&database);
            starting.spawn(async move { node.ready().await });
        }
        for ready in starting.join_all().await {
            assert_eq!(ready, Ok(()));
        }
        let oldest_server = "SELECT sum(oldest_server)::BIGINT FROM doorward_schema";
        assert_eq!(server.number(&database, oldest_server).await, 1 + 1 + 2 + 3);
        assert_eq!(server.number(&database, known_to_one).await, after);
        let node = super::shared(server.node(&database));
        assert_eq!(stored(&node, 1).await, session(1));
        assert_eq!(stored_request(&node, 1).await, device_request(1));
        assert_eq!(stored_directory(&node).await.version(), 1);
        assert_eq!(node.take(&[allowance(1)], NOW).await, Ok(true));
        let departed: Departures = [(person("alice"), NOW)].into();
        let file = Box::new(directory_of(&["bob"]));
        let change = Change::ReplaceDirectory { from: 1, file, departed: departed.clone() };
        commit(&node, [change, put_person(0, "alice"), replace_keys(0, &[1])]).await;
        // As a node of version 2 replaces it.
        let replace =
            "UPDATE directory SET version = version + 1, content = '{}' WHERE id = 1 AND version = 2";
        server.sql(&database, replace).await;
        let other = super::shared(server.node(&database));
        let directory = stored_directory(&other).await;
        assert_eq!((directory.version(), directory.departed()), (3, &departed));
        assert_eq!(stored_federated(&other, "alice").await.0, 1);
        assert_eq!(stored_keys(&other).await.keys, [signing_key(1)]);
        let of_application = Change::StartSession(session_with_terms(2));
        commit(&node, [of_application, put_consents(0, "alice", &["shop"]), use_once(1)]).await;
        // As a node of version 3 moves it on, and starts one.
        let rotate = "UPDATE session SET generation = 1 WHERE terms IS NOT NULL";
        server.sql(&database, rotate).await;
        let start = "INSERT INTO session (id, person, scopes, created_at, authenticated_at, expires_at, generation, \
                     rotated_at) VALUES (gen_random_uuid(), 'bob', '', 0, 0, 0, 0, 0)";
        server.sql(&database, start).await;
        assert_eq!(stored(&other, 2).await, Session { generation: 1, ..session_with_terms(2) });
        let without = "SELECT count(*) FROM session WHERE terms IS NULL";
        assert_eq!(server.number(&database, without).await, 2);
        assert_eq!(stored_consents(&other, "alice").await, (1, consents(&["shop"])));
        conflicts(&other, [use_once(1)]).await;
    }
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
