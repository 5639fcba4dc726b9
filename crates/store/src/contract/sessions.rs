//! Sessions: reads, guards, lists and the sweep.

use std::sync::Arc;

use doorward_core::scope::Scopes;
use doorward_core::session::{EndReason, Holder, Session, SessionState};
use doorward_core::store::Store;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;

use super::fixtures::{
    CLIENT, NOW, address, commit, conflicts, end, later, open_request, person, rotate, scopes, session,
    session_id, start, stored,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_session_comes_back_whole(&open().await).await;
    no_session_starts_twice(&open().await).await;
    a_session_rotates_only_from_its_generation(&open().await).await;
    a_session_that_fell_behind_catches_up(&open().await).await;
    an_ended_session_neither_rotates_nor_ends_again(&open().await).await;
    expiry_guards_nothing(&open().await).await;
    every_reason_to_end_comes_back(&open().await).await;
    the_list_has_the_persons_live_sessions_newest_first(&open().await).await;
    the_list_follows_every_change(&open().await).await;
    an_ended_session_stays_until_it_expires(&open().await).await;
    a_sweep_takes_no_more_than_its_limit(&open().await).await;
    a_sweep_of_both_kinds_keeps_its_limit(&open().await).await;
}

async fn a_session_comes_back_whole(store: &Arc<dyn Store>) {
    assert_eq!(store.session(session_id(1)).await, Ok(None));
    let browser = Session {
        holder: Holder::Browser,
        scopes: Scopes::default(),
        person: person("b+o_b=,.@-"),
        ..session(2)
    };
    let far = Session {
        holder: Holder::Client { id: CLIENT, name: "".into() },
        scopes: scopes("openid a:b sso-portal:*"),
        generation: u32::MAX,
        created_at: Timestamp::from_millis(-1),
        state: SessionState::Ended { at: later(5), why: EndReason::EndedByPerson },
        ..session(3)
    };
    for (n, session) in (1..).zip([session(1), browser, far]) {
        commit(store, [Change::StartSession(session.clone())]).await;
        assert_eq!(stored(store, n).await, session);
    }
}

async fn no_session_starts_twice(store: &Arc<dyn Store>) {
    commit(store, [start(1)]).await;
    let again = Session { person: person("mallory"), ..session(1) };
    conflicts(store, [Change::StartSession(again)]).await;
    conflicts(store, [start(1)]).await;
    assert_eq!(stored(store, 1).await, session(1));
    assert_eq!(store.sessions_of(&person("mallory"), NOW, 10).await, Ok(Vec::new()));
}

async fn a_session_rotates_only_from_its_generation(store: &Arc<dyn Store>) {
    conflicts(store, [rotate(1, 0)]).await;
    commit(store, [start(1), start(2)]).await;
    conflicts(store, [rotate(1, 1)]).await;
    commit(store, [rotate(1, 0)]).await;
    let expected = Session { generation: 1, rotated_at: later(60), ..session(1) };
    assert_eq!(stored(store, 1).await, expected);
    conflicts(store, [rotate(1, 0)]).await;
    conflicts(store, [rotate(1, 2)]).await;
    assert_eq!(stored(store, 1).await, expected);
    assert_eq!(stored(store, 2).await, session(2));
    commit(store, [rotate(1, 1), rotate(2, 0)]).await;
    assert_eq!(stored(store, 1).await.generation, 2);
    assert_eq!(stored(store, 2).await.generation, 1);
}

async fn a_session_that_fell_behind_catches_up(store: &Arc<dyn Store>) {
    commit(store, [start(1)]).await;
    let at = later(60);
    commit(store, [Change::Rotate { id: session_id(1), from: 0, to: u32::MAX, at }]).await;
    assert_eq!(stored(store, 1).await, Session { generation: u32::MAX, rotated_at: at, ..session(1) });
}

async fn an_ended_session_neither_rotates_nor_ends_again(store: &Arc<dyn Store>) {
    conflicts(store, [end(1)]).await;
    commit(store, [start(1), start(2)]).await;
    commit(store, [end(1)]).await;
    let state = SessionState::Ended { at: later(120), why: EndReason::Logout };
    let expected = Session { state, ..session(1) };
    assert_eq!(stored(store, 1).await, expected);
    conflicts(store, [rotate(1, 0)]).await;
    conflicts(
        store,
        [Change::EndSession { id: session_id(1), at: later(130), why: EndReason::CodeReplayed }],
    )
    .await;
    assert_eq!(stored(store, 1).await, expected);
    assert_eq!(stored(store, 2).await, session(2));
}

/// A code that is presented again long after ends its session, which may have expired and not be swept yet. Were
/// that a conflict, the decision would be made again and again.
async fn expiry_guards_nothing(store: &Arc<dyn Store>) {
    commit(store, [start(1), start(2)]).await;
    let at = later(100_000);
    commit(store, [Change::Rotate { id: session_id(1), from: 0, to: 1, at }]).await;
    commit(store, [Change::EndSession { id: session_id(2), at, why: EndReason::CodeReplayed }]).await;
    assert_eq!(stored(store, 1).await.generation, 1);
    assert_ne!(stored(store, 2).await.state, SessionState::Live);
}

async fn every_reason_to_end_comes_back(store: &Arc<dyn Store>) {
    let reasons = [
        EndReason::Logout,
        EndReason::EndedByPerson,
        EndReason::RefreshTokenReplayed,
        EndReason::CodeReplayed,
    ];
    for (n, why) in (1..).zip(reasons) {
        let at = later(120);
        commit(store, [start(n), Change::EndSession { id: session_id(n), at, why }]).await;
        assert_eq!(stored(store, n).await.state, SessionState::Ended { at, why });
    }
}

async fn the_list_has_the_persons_live_sessions_newest_first(store: &Arc<dyn Store>) {
    let begun = |n: u64, seconds: u32| Session { created_at: later(seconds), ..session(n) };
    let (old, new, middle) = (begun(1, 10), begun(2, 30), begun(3, 20));
    let of_bob = Session { person: person("bob"), ..begun(4, 40) };
    let short = Session { expires_at: later(100), ..begun(5, 50) };
    let ended = begun(6, 60);
    let browser = Session { holder: Holder::Browser, ..begun(7, 70) };
    for session in [&old, &new, &middle, &of_bob, &short, &ended, &browser] {
        commit(store, [Change::StartSession(session.clone())]).await;
    }
    commit(store, [end(6)]).await;
    let list = async |name, now, limit| store.sessions_of(&person(name), now, limit).await.unwrap();
    let live = [&short, &new, &middle, &old].map(Clone::clone);
    let just_before = Timestamp::from_millis(later(100).millis() - 1);
    assert_eq!(list("alice", just_before, 10).await, live);
    assert_eq!(list("alice", later(100), 10).await, live[1..]);
    assert_eq!(list("alice", later(100), 2).await, live[1..3]);
    assert_eq!(list("alice", later(100), 0).await, []);
    assert_eq!(list("alice", session(1).expires_at, 10).await, []);
    assert_eq!(list("bob", NOW, usize::MAX).await, [of_bob]);
    assert_eq!(list("Alice", NOW, 10).await, []);
}

async fn the_list_follows_every_change(store: &Arc<dyn Store>) {
    let list = async || store.sessions_of(&person("alice"), NOW, 10).await.unwrap();
    assert_eq!(list().await, []);
    for n in 1..=20 {
        commit(store, [start(n)]).await;
        assert_eq!(list().await, [session(n)]);
        commit(store, [rotate(n, 0)]).await;
        assert_eq!(list().await, [Session { generation: 1, rotated_at: later(60), ..session(n) }]);
        commit(store, [end(n)]).await;
        assert_eq!(list().await, []);
    }
}

async fn an_ended_session_stays_until_it_expires(store: &Arc<dyn Store>) {
    commit(store, [start(1)]).await;
    commit(store, [end(1)]).await;
    let just_before = Timestamp::from_millis(session(1).expires_at.millis() - 1);
    assert_eq!(store.sweep(just_before, 100).await, Ok(0));
    assert_ne!(stored(store, 1).await.state, SessionState::Live);
    conflicts(store, [start(1)]).await;
    assert_eq!(store.sweep(session(1).expires_at, 100).await, Ok(1));
    assert_eq!(store.session(session_id(1)).await, Ok(None));
    assert_eq!(store.sweep(session(1).expires_at, 100).await, Ok(0));
    commit(store, [start(1)]).await;
    assert_eq!(stored(store, 1).await, session(1));
}

async fn a_sweep_takes_no_more_than_its_limit(store: &Arc<dyn Store>) {
    let total = 700;
    commit(store, (0..total).map(start)).await;
    let kept = async || {
        let mut kept = 0;
        for n in 0..total {
            kept += usize::from(store.session(session_id(n)).await.unwrap().is_some());
        }
        kept
    };
    let now = session(0).expires_at;
    assert_eq!(store.sweep(NOW, 1000).await, Ok(0));
    assert_eq!(store.sweep(now, 0).await, Ok(0));
    assert_eq!(store.sweep(now, 1).await, Ok(1));
    assert_eq!(kept().await, 699);
    assert_eq!(store.sweep(now, 600).await, Ok(600));
    assert_eq!(kept().await, 99);
    assert_eq!(store.sweep(now, 600).await, Ok(99));
    assert_eq!(kept().await, 0);
    assert_eq!(store.sweep(now, 600).await, Ok(0));
}

async fn a_sweep_of_both_kinds_keeps_its_limit(store: &Arc<dyn Store>) {
    commit(store, (0..10).flat_map(|n| [start(n), open_request(n)])).await;
    let mut later_one = session(10);
    later_one.expires_at = later(90_000);
    commit(store, [Change::StartSession(later_one.clone())]).await;
    let now = session(0).expires_at;
    assert_eq!(store.sweep(now, 15).await, Ok(15));
    assert_eq!(store.sweep(now, 15).await, Ok(5));
    assert_eq!(store.sweep(now, 15).await, Ok(0));
    assert_eq!(store.device_requests_kept(address(1)).await.unwrap().total, 0);
    assert_eq!(store.sessions_of(&person("alice"), now, 20).await, Ok(vec![later_one]));
}
