//! Allowances: how often is often enough.

use std::num::NonZeroU32;
use std::sync::Arc;

use doorward_core::store::{Allowance, Store, WHOLE_BEFORE_FORGOTTEN};
use doorward_core::time::Timestamp;

use super::fixtures::{NOW, commit, device_request, later, open_request, session, start};
use super::races::{RUNNERS, race};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_burst_and_then_one_each_time(&open().await).await;
    what_was_not_taken_gathers_up_to_the_burst(&open().await).await;
    keys_are_independent(&open().await).await;
    what_is_refused_takes_nothing(&open().await).await;
    of_many_takers_as_many_win_as_there_are(&open().await).await;
    a_lost_race_takes_nothing_from_the_others(&open().await).await;
    takers_of_the_same_in_another_order_do_not_wait_in_a_circle(&open().await).await;
    a_clock_that_is_behind_gives_nothing_away(&open().await).await;
    a_sweep_forgets_what_has_been_whole_for_long_enough(&open().await).await;
    a_sweep_of_allowances_keeps_its_limit(&open().await).await;
}

/// `burst` of `key`, and one more each second.
fn allowance(key: u32, burst: u32) -> Allowance {
    Allowance { key, every: 1000, burst: NonZeroU32::new(burst).unwrap() }
}

async fn take(store: &Arc<dyn Store>, allowances: &[Allowance], now: Timestamp) -> bool {
    store.take(allowances, now).await.unwrap()
}

/// How many of `of` can be taken at `now`.
async fn takes(store: &Arc<dyn Store>, of: Allowance, now: Timestamp) -> u32 {
    let mut taken = 0;
    while take(store, &[of], now).await {
        taken += 1;
        assert!(taken <= of.burst.get(), "more than a burst at once");
    }
    taken
}

fn millis_later(millis: i64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + millis)
}

async fn a_burst_and_then_one_each_time(store: &Arc<dyn Store>) {
    assert_eq!(takes(store, allowance(1, 10), NOW).await, 10);
    for n in 0..20 {
        assert_eq!(takes(store, allowance(1, 10), millis_later(n * 1000 + 999)).await, 0, "{n}");
        assert_eq!(takes(store, allowance(1, 10), millis_later(n * 1000 + 1000)).await, 1, "{n}");
    }
    assert_eq!(takes(store, allowance(u32::MAX, 1), NOW).await, 1);
    assert_eq!(takes(store, allowance(u32::MAX, 1), later(1)).await, 1);
}

async fn what_was_not_taken_gathers_up_to_the_burst(store: &Arc<dyn Store>) {
    assert_eq!(takes(store, allowance(1, 10), NOW).await, 10);
    assert_eq!(takes(store, allowance(1, 10), later(4)).await, 4);
    assert_eq!(takes(store, allowance(1, 10), later(14)).await, 10);
    assert_eq!(takes(store, allowance(1, 10), later(10_000)).await, 10);
}

async fn keys_are_independent(store: &Arc<dyn Store>) {
    for key in 1..=3 {
        assert_eq!(takes(store, allowance(key, key + 1), NOW).await, key + 1);
    }
    assert!(take(store, &[], NOW).await, "there is nothing to be used up");
}

async fn what_is_refused_takes_nothing(store: &Arc<dyn Store>) {
    let (much, little) = (allowance(1, 20), allowance(2, 3));
    for taken in 0..10 {
        // In either order.
        let both = if taken % 2 == 0 { [much, little] } else { [little, much] };
        assert_eq!(take(store, &both, NOW).await, taken < 3, "{taken}");
    }
    assert_eq!(takes(store, much, NOW).await, 17);
    assert_eq!(takes(store, little, later(1)).await, 1);
}

async fn of_many_takers_as_many_win_as_there_are(store: &Arc<dyn Store>) {
    for key in 1..=4 {
        let taken =
            race(store, |store, _| async move { take(&store, &[allowance(key, 10)], NOW).await }).await;
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 10);
        // And of what comes back, as well.
        let taken =
            race(store, |store, _| async move { take(&store, &[allowance(key, 10)], later(5)).await }).await;
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 5);
    }
}

/// Or one network, by asking for its last guess many times at once, could use up what all have together.
async fn a_lost_race_takes_nothing_from_the_others(store: &Arc<dyn Store>) {
    for (scarce, shared) in [(1, 2), (4, 3)] {
        let (scarce, shared) = (allowance(scarce, 10), allowance(shared, 200));
        let taken = race(store, |store, _| async move { take(&store, &[shared, scarce], NOW).await }).await;
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 10);
        assert_eq!(takes(store, shared, NOW).await, 190);
    }
}

async fn takers_of_the_same_in_another_order_do_not_wait_in_a_circle(store: &Arc<dyn Store>) {
    let runners = u32::try_from(RUNNERS).unwrap();
    let taken = race(store, |store, n| async move {
        let mut all: Vec<_> = (1..=5).map(|key| allowance(key, runners)).collect();
        all.rotate_left(n % 5);
        take(&store, &all, NOW).await
    });
    assert!(taken.await.into_iter().all(|taken| taken));
    assert_eq!(takes(store, allowance(3, runners), NOW).await, 0);
}

/// A node that is two seconds behind finds two seconds' worth less, and the others lose nothing by it.
async fn a_clock_that_is_behind_gives_nothing_away(store: &Arc<dyn Store>) {
    let of = allowance(1, 10);
    assert_eq!(takes(store, of, later(10)).await, 10);
    assert_eq!(takes(store, of, later(8)).await, 0);
    assert_eq!(takes(store, of, later(11)).await, 1);
    assert_eq!(takes(store, of, later(10)).await, 0);
    assert_eq!(takes(store, of, later(12)).await, 1);
}

async fn a_sweep_forgets_what_has_been_whole_for_long_enough(store: &Arc<dyn Store>) {
    for key in 1..=3 {
        assert_eq!(takes(store, allowance(key, 5 * key), NOW).await, 5 * key);
    }
    // Whole again at 5, 10 and 15 seconds.
    let forgotten = |whole_at| later(whole_at).plus(WHOLE_BEFORE_FORGOTTEN);
    assert_eq!(store.sweep(Timestamp::from_millis(forgotten(5).millis() - 1), 100).await, Ok(0));
    assert_eq!(store.sweep(forgotten(5), 100).await, Ok(1));
    assert_eq!(store.sweep(forgotten(10), 100).await, Ok(1));
    // The last is there still: at the moment at which it was used up, nothing is left of it.
    assert!(!take(store, &[allowance(3, 15)], NOW).await);
    assert!(take(store, &[allowance(1, 5)], NOW).await, "what was forgotten is whole");
    assert_eq!(store.sweep(later(10_000), 100).await, Ok(2));
    assert_eq!(store.sweep(later(10_000), 100).await, Ok(0));
}

async fn a_sweep_of_allowances_keeps_its_limit(store: &Arc<dyn Store>) {
    for key in 0..300 {
        assert!(take(store, &[allowance(key, 1)], NOW).await);
    }
    commit(store, (0..10).flat_map(|n| [start(n), open_request(n)])).await;
    let now = session(0).expires_at.max(device_request(0).forget_at());
    assert_eq!(store.sweep(now, 0).await, Ok(0));
    assert_eq!(store.sweep(now, 290).await, Ok(290));
    assert_eq!(store.sweep(now, 290).await, Ok(30));
    assert_eq!(store.sweep(now, 290).await, Ok(0));
}
