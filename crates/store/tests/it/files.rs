//! Who may open which directory.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use doorward_core::directory::Departures;
use doorward_core::session::Session;
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::{EmbeddedStore, OpenError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{Embedded, FIRST_VERSION, SECOND_VERSION, THIRD_VERSION};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(dir: &Path) -> OpenError {
    EmbeddedStore::open(dir).err().expect("the directory is refused")
}

#[tokio::test]
async fn nobody_else_can_read_the_files() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("var/doorward");
    let store = EmbeddedStore::open(&dir).unwrap();
    let store: std::sync::Arc<dyn doorward_core::store::Store> = std::sync::Arc::new(store);
    commit(&store, [start(1)]).await;
    assert_eq!(mode(&dir), 0o700);
    for file in ["doorward.db", "doorward.db-wal", "doorward.db-shm", "lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_directory_belongs_to_one_store_at_a_time() {
    let embedded = Embedded::new();
    let refused = refusal(embedded.dir.path());
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    let path = embedded.dir.path().display().to_string();
    assert!(refused.to_string().contains(&path), "{refused}");
    embedded.store.close().await.unwrap();
    EmbeddedStore::open(embedded.dir.path()).unwrap();
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_left_alone() {
    let embedded = Embedded::new();
    embedded.store.close().await.unwrap();
    embedded
        .sqlite()
        .execute_batch("UPDATE meta SET schema_version = 7; PRAGMA journal_mode = DELETE")
        .unwrap();
    let before = std::fs::read(embedded.database()).unwrap();
    let refused = refusal(embedded.dir.path());
    assert!(matches!(refused, OpenError::UnknownSchema { found: 7, .. }), "{refused}");
    assert!(refused.to_string().contains(&embedded.database().display().to_string()), "{refused}");
    assert_eq!(std::fs::read(embedded.database()).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_a_version_before_is_brought_forward() {
    for older in [THIRD_VERSION, SECOND_VERSION, FIRST_VERSION] {
        let embedded = Embedded::new();
        let directory = replace_directory(0, &["alice"]);
        commit(&embedded.store(), [start(1), start(2), open_request(1), directory]).await;
        let embedded = embedded.edited(&format!("{older} UPDATE head SET generation = 4")).await;
        assert_eq!(stored_directory(&embedded.store()).await.departed(), &Departures::new());
        assert_eq!(stored_request(&embedded.store(), 1).await, device_request(1));
        let file = Box::new(directory_of(&["bob"]));
        let departed: Departures = [(person("alice"), NOW)].into();
        let change = Change::ReplaceDirectory { from: 1, file, departed: departed.clone() };
        commit(&embedded.store(), [rotate(1, 4), change, put_person(0, "bob"), replace_keys(0, &[1])]).await;
        let of_application = Change::StartSession(session_with_terms(3));
        commit(&embedded.store(), [of_application, put_consents(0, "bob", &["shop"]), use_once(1)]).await;
        let embedded = embedded.reopened().await;
        let store = &embedded.store();
        let expected = Session { generation: 4, ..session(2) };
        assert_eq!((stored(store, 2).await, stored(store, 3).await), (expected, session_with_terms(3)));
        assert_eq!(stored_consents(store, "bob").await, (1, consents(&["shop"])));
        assert!(is_used(store, 1).await);
        assert_eq!(stored(store, 1).await.generation, 5);
        assert_eq!(stored_directory(store).await.departed(), &departed);
        assert_eq!(stored_federated(store, "bob").await, (1, Some(federated_person("bob"))));
        assert_eq!(stored_keys(store).await.keys, [signing_key(1)]);
    }
}

#[test]
fn a_database_of_something_else_is_refused() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("doorward.db");
    Connection::open(&database).unwrap().execute_batch("CREATE TABLE photos (id)").unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Foreign { .. }));
    std::fs::write(
        &database,
        "this is no database, but long enough to be taken for one at first sight".repeat(9),
    )
    .unwrap();
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Database { .. }), "{refused}");
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = refusal(&file);
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused}");
    assert!(refused.to_string().contains("file"), "{refused}");
}

/// What a session costs on disk, all told.
#[tokio::test]
async fn a_session_takes_at_most_250_bytes() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    let total = 40_000;
    for batch in 0..total / 1000 {
        commit(store, (batch * 1000..(batch + 1) * 1000).map(start)).await;
    }
    embedded.store.close().await.unwrap();
    let per_session = std::fs::metadata(embedded.database()).unwrap().len() / total;
    println!("{per_session} bytes for each session");
    assert!(per_session <= 250, "{per_session}");
}
