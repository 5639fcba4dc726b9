//! A commit is all or nothing, and what was answered is seen.

use std::sync::Arc;

use doorward_core::device::DeviceState;
use doorward_core::session::SessionState;
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{KeptRequests, Store};
use doorward_core::verdict::Change;
use tokio::task::JoinSet;

use super::fixtures::{
    NOW, address, approved, commit, conflicts, consents, device_request, directory_of, end, is_used, later,
    move_request, open_request, person, put_consents, put_person, replace_directory, replace_keys,
    request_id, rotate, session, session_id, signing_key, start, stored, stored_consents, stored_directory,
    stored_federated, stored_keys, stored_request, use_once, user_code,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_commit_of_nothing_succeeds(&open().await).await;
    one_failed_guard_leaves_nothing(&open().await).await;
    later_changes_of_a_commit_see_the_earlier(&open().await).await;
    one_conflict_does_not_touch_its_neighbours(&open().await).await;
    whoever_was_answered_reads_what_they_wrote(&open().await).await;
}

async fn a_commit_of_nothing_succeeds(store: &Arc<dyn Store>) {
    commit(store, []).await;
}

async fn one_failed_guard_leaves_nothing(store: &Arc<dyn Store>) {
    commit(store, [start(1), start(2), open_request(1), replace_directory(0, &["alice"])]).await;
    commit(store, [put_person(0, "alice"), replace_keys(0, &[1])]).await;
    commit(store, [put_consents(0, "alice", &["shop"]), use_once(1)]).await;
    let good = || {
        vec![
            open_request(2),
            move_request(1, DeviceState::Pending, approved()),
            start(3),
            rotate(1, 0),
            end(2),
            replace_directory(1, &["bob"]),
            put_person(0, "bob"),
            put_person(1, "alice"),
            replace_keys(1, &[2]),
            put_consents(0, "bob", &["shop"]),
            put_consents(1, "alice", &[]),
            use_once(2),
        ]
    };
    let bad = [
        open_request(1),
        move_request(9, DeviceState::Pending, approved()),
        start(1),
        rotate(1, 7),
        end(9),
        replace_directory(0, &["carol"]),
        put_person(0, "alice"),
        put_person(3, "alice"),
        put_person(1, "carol"),
        replace_keys(0, &[3]),
        replace_keys(3, &[3]),
        put_consents(0, "alice", &[]),
        put_consents(3, "alice", &[]),
        put_consents(1, "carol", &[]),
        use_once(1),
    ];
    for bad in bad {
        for place in 0..=good().len() {
            let mut changes = good();
            changes.insert(place, bad.clone());
            conflicts(store, changes).await;
            assert_eq!(store.device_request(request_id(2)).await, Ok(None));
            assert_eq!(store.device_request_by_code(user_code(2)).await, Ok(None));
            assert_eq!(
                store.device_requests_kept(address(1)).await,
                Ok(KeptRequests { from_address: 1, total: 1 })
            );
            assert_eq!(stored_request(store, 1).await, device_request(1));
            assert_eq!(store.session(session_id(3)).await, Ok(None));
            assert_eq!(stored(store, 1).await, session(1));
            assert_eq!(stored(store, 2).await, session(2));
            assert_eq!(store.sessions_of(&person("alice"), NOW, 10).await.unwrap().len(), 2);
            assert_eq!(stored_directory(store).await.file(), &directory_of(&["alice"]));
            assert_eq!(stored_federated(store, "alice").await.0, 1);
            assert_eq!(stored_federated(store, "bob").await, (0, None));
            assert_eq!(stored_keys(store).await, SigningKeys { version: 1, keys: vec![signing_key(1)] });
            assert_eq!(stored_consents(store, "alice").await, (1, consents(&["shop"])));
            assert_eq!(stored_consents(store, "bob").await, (0, consents(&[])));
            assert_eq!((is_used(store, 1).await, is_used(store, 2).await), (true, false));
        }
    }
    commit(store, good()).await;
    assert_eq!(stored_request(store, 1).await.state, approved());
    assert_eq!(stored(store, 1).await.generation, 1);
    assert_ne!(stored(store, 2).await.state, SessionState::Live);
    assert_eq!(stored(store, 3).await, session(3));
    assert_eq!(stored_directory(store).await.file(), &directory_of(&["bob"]));
    assert_eq!(stored_federated(store, "alice").await.0, 2);
    assert_eq!(stored_federated(store, "bob").await.0, 1);
    assert_eq!(stored_keys(store).await, SigningKeys { version: 2, keys: vec![signing_key(2)] });
    assert_eq!(stored_consents(store, "alice").await, (2, consents(&[])));
    assert_eq!(stored_consents(store, "bob").await, (1, consents(&["shop"])));
    assert!(is_used(store, 2).await);
}

async fn later_changes_of_a_commit_see_the_earlier(store: &Arc<dyn Store>) {
    commit(store, [start(1), rotate(1, 0), rotate(1, 1), end(1)]).await;
    let session = stored(store, 1).await;
    assert_eq!((session.generation, session.rotated_at), (2, later(61)));
    conflicts(store, [start(2), end(2), rotate(2, 0)]).await;
    assert_eq!(store.session(session_id(2)).await, Ok(None));
    conflicts(store, [start(2), start(2)]).await;
    assert_eq!(store.session(session_id(2)).await, Ok(None));
}

async fn one_conflict_does_not_touch_its_neighbours(store: &Arc<dyn Store>) {
    commit(store, [start(0)]).await;
    let mut tasks = JoinSet::new();
    for n in 1..=200 {
        let store = store.clone();
        tasks.spawn(async move {
            let changes = match n % 3 {
                0 => vec![start(n)],
                1 => vec![start(n), start(n + 1000)],
                // Of two changes the second fails.
                _ => vec![start(n), start(0)],
            };
            (n, store.commit(changes).await.is_ok())
        });
    }
    for (n, went_through) in tasks.join_all().await {
        assert_eq!(went_through, n % 3 != 2, "{n}");
        assert_eq!(store.session(session_id(n)).await.unwrap().is_some(), went_through, "{n}");
    }
}

async fn whoever_was_answered_reads_what_they_wrote(store: &Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            // Read before it is there: that it was absent must not be remembered.
            assert_eq!(store.session(session_id(n)).await, Ok(None));
            commit(&store, [start(n)]).await;
            assert_eq!(stored(&store, n).await, session(n));
            for generation in 0..10 {
                commit(&store, [rotate(n, generation)]).await;
                assert_eq!(stored(&store, n).await.generation, generation + 1);
            }
            commit(&store, [open_request(n)]).await;
            assert_eq!(stored_request(&store, n).await, device_request(n));
            commit(
                &store,
                [Change::MoveDeviceRequest {
                    id: request_id(n),
                    from: DeviceState::Pending,
                    to: DeviceState::Denied,
                }],
            )
            .await;
            assert_eq!(stored_request(&store, n).await.state, DeviceState::Denied);
            commit(&store, [end(n)]).await;
            assert_ne!(stored(&store, n).await.state, SessionState::Live);
        });
    }
    tasks.join_all().await;
}
