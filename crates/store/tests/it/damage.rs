//! Rows that nobody here wrote, and a disk that fails.

use std::sync::Arc;

use doorward_core::device::DeviceState;
use doorward_core::session::Session;
use doorward_core::store::{CommitError, Store};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::{EmbeddedStore, OpenError};

use crate::Embedded;

async fn with_sessions() -> Embedded {
    let embedded = Embedded::new();
    commit(&embedded.store(), [start(1), start(2), open_request(1)]).await;
    commit(&embedded.store(), [move_request(1, DeviceState::Pending, approved())]).await;
    embedded
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_an_outage_that_names_it() {
    let edits = [
        ("UPDATE session SET person = 'no such name!' WHERE seq = 1", "the user name must be"),
        ("UPDATE session SET scopes = '\"' WHERE seq = 1", "scopes"),
        ("UPDATE session SET client = NULL WHERE seq = 1", "client"),
        ("UPDATE session SET client = x'00' WHERE seq = 1", "client"),
        ("UPDATE session SET terms = '{\"aud\": 1}' WHERE seq = 1", "column terms: invalid type"),
        ("UPDATE session SET terms = '{\"colour\": 1}' WHERE seq = 1", "column terms: unknown field"),
        ("UPDATE session SET terms = '' WHERE seq = 1", "column terms"),
        ("UPDATE session SET terms = CAST(x'ff' AS TEXT) WHERE seq = 1", "column terms"),
        ("UPDATE head SET generation = -1 WHERE seq = 1", "generation"),
        ("UPDATE head SET ended_at = 1, end_reason = 'boredom' WHERE seq = 1", "boredom"),
        ("UPDATE head SET end_reason = 'logout' WHERE seq = 1", "end_reason"),
        ("DELETE FROM session WHERE seq = 1", "person"),
    ];
    for (edit, complaint) in edits {
        let embedded = with_sessions().await.edited(edit).await;
        let outage = embedded.store.session(session_id(1)).await.unwrap_err().0;
        let row = format!("table session, row {}", session_id(1));
        let database = embedded.database().display().to_string();
        for part in [&row, &database, complaint] {
            assert!(outage.contains(part), "{edit}: {outage}");
        }
        // Nobody else is concerned.
        assert_eq!(embedded.store.session(session_id(2)).await, Ok(Some(session(2))), "{edit}");
        commit(&embedded.store(), [rotate(2, 0), start(3)]).await;
    }
}

#[tokio::test]
async fn a_list_with_a_session_that_cannot_be_read_is_an_outage() {
    let embedded = with_sessions().await.edited("DELETE FROM head WHERE seq = 2").await;
    let outage = embedded.store.sessions_of(&person("alice"), NOW, 10).await.unwrap_err().0;
    assert!(outage.contains(&session_id(2).to_string()), "{outage}");
}

#[tokio::test]
async fn consents_that_cannot_be_read_are_an_outage_that_names_whose() {
    let embedded = with_sessions().await;
    commit(&embedded.store(), [put_consents(0, "alice", &["shop"]), put_consents(0, "bob", &["shop"])]).await;
    let edit = "UPDATE record SET content = '{\"shop\": {}}' WHERE kind = 'consents' AND key = 'alice'";
    let embedded = embedded.edited(edit).await;
    let outage = embedded.store.consents(&person("alice")).await.unwrap_err().0;
    let database = embedded.database().display().to_string();
    for part in ["table record, row consents alice", "missing field", &database] {
        assert!(outage.contains(part), "{outage}");
    }
    assert_eq!(stored_consents(&embedded.store(), "bob").await, (1, consents(&["shop"])));
}

#[tokio::test]
async fn a_start_with_a_row_that_cannot_be_read_is_refused() {
    let edits = [
        ("UPDATE device_request SET state = 'lost'", "table device_request", "lost"),
        ("UPDATE device_request SET address = 'here'", "table device_request", "address"),
        ("UPDATE device_request SET approved_by = NULL", "table device_request", "approved_by"),
        (
            "UPDATE device_request SET client_name = CAST(x'ff' AS TEXT)",
            "table device_request",
            "client_name",
        ),
        ("UPDATE directory SET content = '{'", "table directory, row version 0", "EOF"),
        ("UPDATE directory SET content = '{\"colour\": 1}'", "table directory", "colour"),
        (
            "UPDATE directory SET content = '{\"groups\": [{\"name\": \"ops\", \"members\": [\"bob\"]}]}'",
            "table directory",
            "no person bob",
        ),
        ("UPDATE directory SET version = -1", "table directory", "range"),
        ("INSERT INTO rotation VALUES (3, x'00')", "table rotation, row 3", "1 bytes"),
    ];
    for (edit, table, complaint) in edits {
        let embedded = with_sessions().await;
        embedded.store.close().await.unwrap();
        embedded.sqlite().execute_batch(edit).unwrap();
        let refused = EmbeddedStore::open(embedded.dir.path()).err().expect("the row is refused");
        assert!(matches!(refused, OpenError::Row { .. }), "{edit}: {refused}");
        let text = refused.to_string();
        assert!(text.contains(table) && text.contains(complaint), "{edit}: {text}");
    }
}

/// A constraint that SQLite checks only at COMMIT makes one that fails, as a disk would.
#[tokio::test]
async fn after_a_failed_commit_nothing_more_is_written() {
    let sabotage = "CREATE TABLE void (id INTEGER PRIMARY KEY);
        CREATE TABLE missing (id REFERENCES void DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER sabotage AFTER INSERT ON session WHEN new.person = 'mallory'
        BEGIN INSERT INTO missing VALUES (1); END";
    let embedded = with_sessions().await.edited(sabotage).await;
    let store: Arc<dyn Store> = embedded.store();
    commit(&store, [start(3), rotate(3, 0)]).await;
    let mut bad = session(4);
    bad.person = person("mallory");
    let failed = store.commit(vec![Change::StartSession(bad)]).await;
    let Err(CommitError::Outage(outage)) = failed else { panic!("{failed:?}") };
    assert!(outage.0.contains("restart the server"), "{outage}");
    for changes in [vec![rotate(3, 1)], vec![start(5)], vec![open_request(5)], vec![use_once(5)]] {
        assert_eq!(store.commit(changes).await, Err(CommitError::Outage(outage.clone())));
    }
    assert_eq!(store.session(session_id(5)).await, Err(outage.clone()));
    assert_eq!(store.sweep(NOW, 5).await, Err(outage.clone()));
    // What memory holds was committed before, and can be seen still.
    assert_eq!(stored(&store, 3).await.generation, 1);
    assert_eq!(store.device_request(request_id(5)).await, Ok(None));
    assert_eq!(embedded.store.close().await, Err(outage));
    let reopened = EmbeddedStore::open(embedded.dir.path()).unwrap();
    let expected = Session { generation: 1, rotated_at: later(60), ..session(3) };
    assert_eq!(reopened.session(session_id(4)).await, Ok(None));
    assert_eq!(reopened.session(session_id(3)).await, Ok(Some(expected)));
}
