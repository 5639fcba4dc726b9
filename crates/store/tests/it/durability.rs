//! What was answered is there again: after a close, a drop, and the death of the process.

use std::time::Duration;

use doorward_core::device::DeviceState;
use doorward_core::federated::FederatedPerson;
use doorward_core::session::{Session, SessionState};
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{CommitError, Store};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use doorward_store::{EmbeddedStore, OpenError};
use tempfile::TempDir;

use crate::Embedded;

/// Something of everything.
async fn fill(embedded: &Embedded) {
    let store = &embedded.store();
    commit(store, [replace_directory(0, &["alice"]), put_person(0, "alice"), put_person(1, "alice")]).await;
    commit(store, [replace_keys(0, &[1, 2])]).await;
    commit(store, [start(1), start(2), start(3), open_request(1), open_request(2)]).await;
    commit(store, [rotate(1, 0), rotate(1, 1)]).await;
    commit(store, [end(2), move_request(1, DeviceState::Pending, approved())]).await;
    let of_application = Change::StartSession(session_with_terms(4));
    commit(store, [of_application, put_consents(0, "alice", &["shop"]), use_once(1)]).await;
    commit(store, [rotate(4, 0)]).await;
    // By themselves, so that they do not wait for the disk.
    commit(store, [open_request(3)]).await;
    commit(store, [use_once(2)]).await;
}

async fn check(store: &dyn Store) {
    let session = async |n| store.session(session_id(n)).await.unwrap().unwrap();
    assert_eq!(session(1).await.generation, 2);
    assert_eq!(session(1).await.rotated_at, later(61));
    assert_ne!(session(2).await.state, SessionState::Live);
    assert_eq!(session(3).await, doorward_store::contract::fixtures::session(3));
    let request = async |n| store.device_request(request_id(n)).await.unwrap().unwrap();
    assert_eq!(request(1).await.state, approved());
    assert_eq!(request(2).await, device_request(2));
    assert_eq!(request(3).await, device_request(3));
    assert_eq!(store.device_request_by_code(user_code(3)).await.unwrap(), Some(device_request(3)));
    assert_eq!(store.device_requests_kept(address(1)).await.unwrap().from_address, 3);
    let directory = store.directory().await.unwrap();
    assert_eq!((directory.version(), directory.file()), (1, &directory_of(&["alice"])));
    assert_eq!(store.federated_person(&person("alice")).await, Ok((2, Some(federated_person("alice")))));
    let keys = vec![signing_key(1), signing_key(2)];
    assert_eq!(store.signing_keys().await, Ok(SigningKeys { version: 1, keys }));
    assert_eq!(store.consents(&person("alice")).await, Ok((1, consents(&["shop"]))));
    for n in [1, 2] {
        assert_eq!(store.used(once_id(n)).await, Ok(true), "{n}");
        assert_eq!(store.commit(vec![use_once(n)]).await, Err(CommitError::Conflict), "{n}");
    }
    let of_application = Session { generation: 1, rotated_at: later(60), ..session_with_terms(4) };
    assert_eq!(session(4).await, of_application);
    let listed = store.sessions_of(&person("alice"), NOW, 10).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(listed.contains(&of_application));
}

#[tokio::test]
async fn everything_is_there_again_after_a_close() {
    let embedded = Embedded::new();
    fill(&embedded).await;
    let embedded = embedded.reopened().await;
    check(&*embedded.store).await;
    let store = &embedded.store();
    conflicts(store, [rotate(1, 0)]).await;
    conflicts(store, [start(2)]).await;
    conflicts(store, [open_request(3)]).await;
    commit(store, [rotate(1, 2), start(5)]).await;
    let embedded = embedded.reopened().await;
    assert_eq!(stored(&embedded.store(), 1).await.generation, 3);
    assert_eq!(stored(&embedded.store(), 5).await, session(5));
}

/// The process dies without a word: what it leaves are its files as they are while the store is open.
#[tokio::test]
async fn everything_is_there_again_after_the_process_died() {
    let embedded = Embedded::new();
    fill(&embedded).await;
    let copy = TempDir::new().unwrap();
    for file in ["doorward.db", "doorward.db-wal"] {
        std::fs::copy(embedded.dir.path().join(file), copy.path().join(file)).unwrap();
    }
    check(&EmbeddedStore::open(copy.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_again_after_a_drop() {
    let Embedded { dir, store } = {
        let embedded = Embedded::new();
        fill(&embedded).await;
        embedded
    };
    drop(store);
    // The writer ends by itself, soon.
    let reopened = loop {
        match EmbeddedStore::open(dir.path()) {
            Ok(store) => break store,
            Err(OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(other) => panic!("{other}"),
        }
    };
    check(&reopened).await;
}

#[tokio::test]
async fn what_was_swept_stays_away() {
    let embedded = Embedded::new();
    fill(&embedded).await;
    assert_eq!(embedded.store.sweep(later(40_000), 1000).await, Ok(9));
    let embedded = embedded.reopened().await;
    assert_eq!(embedded.store.session(session_id(1)).await, Ok(None));
    assert_eq!(embedded.store.device_request(request_id(1)).await, Ok(None));
    let rows = |table: &str| -> i64 {
        embedded.sqlite().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(["session", "head", "device_request", "used_once"].map(rows), [0; 4]);
}

/// The commits wait in the queue when the close comes behind them.
#[tokio::test]
async fn a_close_finishes_what_was_queued() {
    let embedded = Embedded::new();
    let store = embedded.store();
    let commits = (0..600).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(vec![start(n)]).await })
    });
    let commits: Vec<_> = commits.collect();
    tokio::task::yield_now().await;
    embedded.store.close().await.unwrap();
    let mut answered = Vec::new();
    for (n, commit) in (0..).zip(commits) {
        match commit.await.unwrap() {
            Ok(()) => answered.push(n),
            Err(error) => assert!(matches!(error, CommitError::Outage(_)), "{error}"),
        }
    }
    assert!(!answered.is_empty());
    let reopened = EmbeddedStore::open(embedded.dir.path()).unwrap();
    for n in answered {
        assert_eq!(reopened.session(session_id(n)).await, Ok(Some(session(n))));
    }
}

#[tokio::test]
async fn a_closed_store_answers_with_an_outage() {
    let embedded = Embedded::new();
    fill(&embedded).await;
    embedded.store.close().await.unwrap();
    let outage = embedded.store.commit(vec![start(9)]).await.unwrap_err();
    assert!(outage.to_string().contains("restart the server"), "{outage}");
    assert!(embedded.store.session(session_id(9)).await.is_err());
    assert!(embedded.store.sessions_of(&person("alice"), NOW, 9).await.is_err());
    assert!(embedded.store.used(once_id(9)).await.is_err());
    assert!(embedded.store.sweep(NOW, 9).await.is_err());
    assert!(embedded.store.close().await.is_err());
}

/// More bytes of records than the cache holds: each is read back from the disk, in its last version.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_cache_dropped_is_read_from_the_disk() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    let put = |n: u32, from: u64| {
        let name = format!("person-{n}");
        let person = FederatedPerson { subject: format!("{from:04000}"), ..federated_person(&name) };
        Change::PutFederatedPerson { from, person: Box::new(person) }
    };
    let total = 12_000;
    for batch in 0..total / 1000 {
        commit(store, (batch * 1000..(batch + 1) * 1000).map(|n| put(n, 0))).await;
    }
    commit(store, (0..total).step_by(7).map(|n| put(n, 1))).await;
    let edit = "UPDATE record SET version = version + 10";
    embedded.sqlite().execute_batch(edit).unwrap();
    let (mut from_memory, mut from_disk) = (0, 0);
    for n in 0..total {
        let (version, person) = stored_federated(store, &format!("person-{n}")).await;
        let put = 1 + u64::from(n % 7 == 0);
        assert_eq!(person.unwrap().subject, format!("{:04000}", put - 1), "{n}");
        // What is in memory is not read again.
        from_memory += u64::from(version == put);
        from_disk += u64::from(version == put + 10);
    }
    assert_eq!(from_memory + from_disk, u64::from(total));
    assert!(from_memory > 1000 && from_disk > 1000, "{from_memory} {from_disk}");
}

/// More sessions than the cache holds: each is read back from the disk, with its last rotation.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cache_dropped_is_read_from_the_disk() {
    let embedded = Embedded::new();
    let store = &embedded.store();
    let total = 70_000;
    for batch in 0..total / 1000 {
        commit(store, (batch * 1000..(batch + 1) * 1000).map(start)).await;
    }
    commit(store, (0..total).step_by(7).map(|n| rotate(n, 0))).await;
    for n in 0..total {
        assert_eq!(stored(store, n).await.generation, u32::from(n % 7 == 0), "{n}");
    }
}
