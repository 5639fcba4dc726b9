//! What may be used once only.

use std::sync::Arc;

use doorward_core::ids::OnceId;
use doorward_core::session::Session;
use doorward_core::store::Store;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use tokio::task::JoinSet;

use super::fixtures::{
    address, commit, conflicts, end, is_used, later, once_id, open_request, session, session_id, start,
    stored, use_once,
};
use super::races::one_wins;

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_second_use_is_refused(&open().await).await;
    of_many_uses_at_once_one_wins(&open().await).await;
    of_many_who_use_and_start_one_does_both(&open().await).await;
    a_use_and_a_session_are_all_or_nothing(&open().await).await;
    a_use_is_kept_until_it_is_of_no_use(&open().await).await;
    a_sweep_counts_what_was_used(&open().await).await;
    whoever_was_answered_reads_that_it_was_used(&open().await).await;
}

async fn a_second_use_is_refused(store: &Arc<dyn Store>) {
    assert!(!is_used(store, 1).await);
    commit(store, [use_once(1)]).await;
    assert!(is_used(store, 1).await);
    conflicts(store, [use_once(1)]).await;
    // Whatever else it says, and though it may have been forgotten by then.
    for seconds in [1, 59, 61, 100_000] {
        conflicts(store, [Change::Use { id: once_id(1), until: later(seconds), durable: false }]).await;
    }
    assert!(!is_used(store, 2).await);
    commit(store, [use_once(2), use_once(3)]).await;
    conflicts(store, [use_once(4), use_once(4)]).await;
    conflicts(store, [use_once(4), use_once(3)]).await;
    assert!(!is_used(store, 4).await);
    // All bits of the id count.
    for id in [[0; 16], [0xff; 16]] {
        for at in 0..16 {
            let mut other = id;
            other[at] ^= 1;
            let until = later(60);
            commit(store, [Change::Use { id: OnceId::from_bytes(other), until, durable: false }]).await;
        }
        assert_eq!(store.used(OnceId::from_bytes(id)).await, Ok(false));
    }
}

async fn of_many_uses_at_once_one_wins(store: &Arc<dyn Store>) {
    for n in 0..20 {
        one_wins(store, |_| vec![use_once(n)]).await;
        assert!(is_used(store, n).await);
    }
}

/// An assertion that is presented by many at once makes one session.
async fn of_many_who_use_and_start_one_does_both(store: &Arc<dyn Store>) {
    for round in 0..5 {
        let first = round * 1000;
        one_wins(store, |n| vec![use_once(round), start(first + n as u64)]).await;
        let mut started = 0;
        for n in first..first + 64 {
            started += usize::from(store.session(session_id(n)).await.unwrap().is_some());
        }
        assert_eq!(started, 1);
    }
}

async fn a_use_and_a_session_are_all_or_nothing(store: &Arc<dyn Store>) {
    commit(store, [use_once(1), start(1)]).await;
    // The use fails: no session.
    for changes in [[use_once(1), start(2)], [start(2), use_once(1)]] {
        conflicts(store, changes).await;
        assert_eq!(store.session(session_id(2)).await, Ok(None));
    }
    // The session fails: nothing was used.
    for changes in [[use_once(2), start(1)], [start(1), use_once(2)]] {
        conflicts(store, changes).await;
        assert!(!is_used(store, 2).await);
    }
    commit(store, [use_once(2), start(2)]).await;
    assert_eq!((is_used(store, 2).await, stored(store, 2).await), (true, session(2)));
}

async fn a_use_is_kept_until_it_is_of_no_use(store: &Arc<dyn Store>) {
    commit(store, [use_once(1)]).await;
    commit(store, [Change::Use { id: once_id(2), until: later(61), durable: false }]).await;
    let just_before = Timestamp::from_millis(later(60).millis() - 1);
    assert_eq!(store.sweep(just_before, 100).await, Ok(0));
    conflicts(store, [use_once(1)]).await;
    assert_eq!(store.sweep(later(60), 100).await, Ok(1));
    assert_eq!((is_used(store, 1).await, is_used(store, 2).await), (false, true));
    conflicts(store, [use_once(2)]).await;
    // What was forgotten can be used, and is kept for as long as that says.
    commit(store, [Change::Use { id: once_id(1), until: later(90), durable: false }]).await;
    assert_eq!(store.sweep(later(61), 100).await, Ok(1));
    assert_eq!((is_used(store, 1).await, is_used(store, 2).await), (true, false));
    // Also what nobody needs any more counts until it is swept.
    conflicts(store, [Change::Use { id: once_id(1), until: later(1000), durable: false }]).await;
}

async fn a_sweep_counts_what_was_used(store: &Arc<dyn Store>) {
    let total = 700;
    commit(store, (0..total).map(use_once)).await;
    commit(store, [Change::Use { id: once_id(total), until: later(90_000), durable: false }]).await;
    let short = |n| Change::StartSession(Session { expires_at: later(50), ..session(n) });
    commit(store, (0..10).map(short)).await;
    commit(store, (0..10).map(open_request)).await;
    let now = later(10_000);
    assert_eq!(store.sweep(now, 0).await, Ok(0));
    assert_eq!(store.sweep(now, 1).await, Ok(1));
    assert_eq!(store.sweep(now, 29).await, Ok(29));
    assert_eq!(store.sweep(now, 600).await, Ok(600));
    let mut left = 0;
    for n in 0..total {
        left += usize::from(is_used(store, n).await);
        left += usize::from(n < 10 && store.session(session_id(n)).await.unwrap().is_some());
    }
    left += store.device_requests_kept(address(1)).await.unwrap().total;
    assert_eq!(left, 90);
    assert_eq!(store.sweep(now, 600).await, Ok(90));
    assert_eq!(store.sweep(now, 600).await, Ok(0));
    assert!(is_used(store, total).await);
}

async fn whoever_was_answered_reads_that_it_was_used(store: &Arc<dyn Store>) {
    commit(store, [start(0)]).await;
    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0..10 {
                let id = 100 * n + round;
                // Read before: that it was not used must not be remembered.
                assert!(!is_used(&store, id).await);
                // Some wait for the disk, and some with others.
                if round % 3 == 0 {
                    commit(&store, [use_once(id), start(id + 10_000)]).await;
                } else {
                    commit(&store, [use_once(id)]).await;
                }
                assert!(is_used(&store, id).await);
                conflicts(&store, [end(0), use_once(id)]).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(stored(store, 0).await, session(0));
}
