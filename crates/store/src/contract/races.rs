//! Races, by hand and through the real grants.

use std::sync::Arc;

use doorward_core::device::DeviceState;
use doorward_core::federated::FederatedPerson;
use doorward_core::grant::{
    Settled, authorization_code, device_code, redeem, refresh_token, session_end, settle,
};
use doorward_core::ids::CodeId;
use doorward_core::refusal::Refusal;
use doorward_core::secret::CodeChallenge;
use doorward_core::session::{EndReason, SessionState};
use doorward_core::store::{CommitError, Store};
use doorward_core::time::{Lifetime, Lifetimes};
use doorward_core::verdict::{Change, Event, Issued};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::fixtures::{
    CLIENT, NO_SOURCES, NOW, approved, bytes, commit, conflicts, end, federated_person, known_client, later,
    move_request, open_request, person, put_person, replace_directory, replace_keys, request_id, rotate,
    scopes, session, session_id, start, stored, stored_directory, stored_federated, stored_keys,
    stored_request, token_request, user_code,
};

/// How many run at once.
pub(super) const RUNNERS: usize = 64;

type Redeemed = Settled<Result<Issued, Refusal>>;

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    of_many_rotations_one_wins(&open().await).await;
    of_many_starts_one_wins(&open().await).await;
    of_many_redemptions_of_a_request_one_wins(&open().await).await;
    of_many_replacements_of_the_directory_one_wins(&open().await).await;
    of_many_who_put_a_record_one_wins(&open().await).await;
    a_rotation_never_follows_an_end(open).await;
    a_refresh_token_redeemed_at_once_has_one_successor(&open().await).await;
    an_approved_request_is_redeemed_once(&open().await).await;
    a_request_is_decided_once(&open().await).await;
    a_code_redeemed_twice_ends_its_session(&open().await).await;
    a_code_redeemed_at_once_is_redeemed_once(&open().await).await;
    a_session_ends_once(&open().await).await;
}

/// Runs `runner` many times, all let go at the same moment.
pub(super) async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    store: &Arc<dyn Store>,
    runner: impl Fn(Arc<dyn Store>, usize) -> F,
) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(RUNNERS));
    let mut tasks = JoinSet::new();
    for n in 0..RUNNERS {
        let (barrier, run) = (barrier.clone(), runner(store.clone(), n));
        tasks.spawn(async move {
            barrier.wait().await;
            run.await
        });
    }
    tasks.join_all().await
}

/// Commits what `changes` makes, many times at once; exactly one must win and all others must be conflicts.
pub(super) async fn one_wins(store: &Arc<dyn Store>, changes: impl Fn(usize) -> Vec<Change>) {
    let outcomes = race(store, |store, n| {
        let changes = changes(n);
        async move { store.commit(changes).await }
    })
    .await;
    let wins = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let conflicts = outcomes.iter().filter(|outcome| **outcome == Err(CommitError::Conflict)).count();
    assert_eq!((wins, conflicts), (1, RUNNERS - 1));
}

async fn of_many_rotations_one_wins(store: &Arc<dyn Store>) {
    commit(store, [start(1)]).await;
    for generation in 0..20 {
        one_wins(store, |_| vec![rotate(1, generation)]).await;
        assert_eq!(stored(store, 1).await.generation, generation + 1);
    }
}

async fn of_many_starts_one_wins(store: &Arc<dyn Store>) {
    for n in 0..10 {
        one_wins(store, |_| vec![start(n)]).await;
        assert_eq!(stored(store, n).await, session(n));
    }
    assert_eq!(store.sessions_of(&person("alice"), NOW, 100).await.unwrap().len(), 10);
}

async fn of_many_redemptions_of_a_request_one_wins(store: &Arc<dyn Store>) {
    commit(store, [open_request(1), move_request(1, DeviceState::Pending, approved())]).await;
    // Sessions of different ids, so that only the request's own guard can tell.
    let redemption = |n: usize| vec![move_request(1, approved(), DeviceState::Spent), start(n as u64)];
    one_wins(store, redemption).await;
    assert_eq!(stored_request(store, 1).await.state, DeviceState::Spent);
    assert_eq!(store.sessions_of(&person("alice"), NOW, 100).await.unwrap().len(), 1);
}

async fn of_many_replacements_of_the_directory_one_wins(store: &Arc<dyn Store>) {
    for version in 0..5 {
        one_wins(store, |n| vec![replace_directory(version, &[&format!("person-{n}")])]).await;
        assert_eq!(stored_directory(store).await.version(), version + 1);
    }
}

async fn of_many_who_put_a_record_one_wins(store: &Arc<dyn Store>) {
    for version in 0..10 {
        one_wins(store, |n| {
            let person = FederatedPerson { subject: n.to_string(), ..federated_person("alice") };
            vec![Change::PutFederatedPerson { from: version, person: Box::new(person) }]
        })
        .await;
        assert_eq!(stored_federated(store, "alice").await.0, version + 1);
        one_wins(store, |n| vec![replace_keys(version, &[u8::try_from(n).unwrap()])]).await;
        assert_eq!(stored_keys(store).await.version, version + 1);
    }
    // With other changes, that none of the losers leaves.
    one_wins(store, |n| vec![start(n as u64), put_person(10, "alice"), replace_keys(10, &[])]).await;
    assert_eq!(store.sessions_of(&person("alice"), NOW, 100).await.unwrap().len(), 1);
    assert_eq!((stored_federated(store, "alice").await.0, stored_keys(store).await.version), (11, 11));
}

/// Ending does not ask for a generation, so a rotation may come before the end, but never after.
async fn a_rotation_never_follows_an_end(open: &impl AsyncFn() -> Arc<dyn Store>) {
    let store = &open().await;
    for n in 0..50 {
        commit(store, [start(n)]).await;
        let outcomes = race(store, |store, runner| async move {
            let ends = runner % 2 == 0;
            (ends, store.commit(vec![if ends { end(n) } else { rotate(n, 0) }]).await.is_ok())
        })
        .await;
        let ends = outcomes.iter().filter(|outcome| **outcome == (true, true)).count();
        let rotations = outcomes.iter().filter(|outcome| **outcome == (false, true)).count();
        assert_eq!(ends, 1);
        assert!(rotations <= 1);
        let session = stored(store, n).await;
        assert_eq!(session.state, SessionState::Ended { at: later(120), why: EndReason::Logout });
        assert_eq!(session.generation as usize, rotations);
        conflicts(store, [rotate(n, session.generation)]).await;
    }
}

async fn a_refresh_token_redeemed_at_once_has_one_successor(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"]), start(1)]).await;
    for generation in 0..5 {
        let now = later(10 + generation);
        let redeemed: Vec<Redeemed> = race(store, |store, _| async move {
            let (client, lifetimes) = (known_client(), Lifetimes::default());
            let grant = refresh_token::Redeem { session: session_id(1), generation };
            redeem(&*store, &grant, &token_request(&client, &lifetimes, now)).await.unwrap()
        })
        .await;
        for Settled { reply, .. } in &redeemed {
            assert_eq!(reply.as_ref().unwrap().refresh_generation, Some(generation + 1));
        }
        // An event tells of a write.
        let writes: Vec<_> = redeemed.into_iter().filter_map(|settled| settled.event).collect();
        assert_eq!(writes, [Event::Refreshed { session: session_id(1), generation: generation + 1 }]);
        assert_eq!(stored(store, 1).await.generation, generation + 1);
    }
    // The first of them again, after all that: somebody holds a copy.
    let (client, lifetimes) = (known_client(), Lifetimes::default());
    let grant = refresh_token::Redeem { session: session_id(1), generation: 0 };
    let request = token_request(&client, &lifetimes, later(20));
    let replayed = redeem(&**store, &grant, &request).await.unwrap();
    assert_eq!(replayed.reply, Err(Refusal::InvalidRefreshToken));
    let why = EndReason::RefreshTokenReplayed;
    assert_eq!(stored(store, 1).await.state, SessionState::Ended { at: later(20), why });
}

async fn an_approved_request_is_redeemed_once(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"])]).await;
    for n in 0..5 {
        commit(store, [open_request(n), move_request(n, DeviceState::Pending, approved())]).await;
        let redeemed = race(store, |store, _| async move {
            let (client, lifetimes) = (known_client(), Lifetimes::default());
            let grant = device_code::Redeem { id: request_id(n) };
            redeem(&*store, &grant, &token_request(&client, &lifetimes, later(10))).await.unwrap()
        })
        .await;
        one_success(&redeemed, &Refusal::InvalidGrant);
        assert_eq!(stored_request(store, n).await.state, DeviceState::Spent);
        assert_eq!(stored(store, n).await.state, SessionState::Live);
    }
}

async fn a_request_is_decided_once(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"]), open_request(1)]).await;
    let decided = race(store, |store, runner| async move {
        let decision = device_code::Decide {
            user_code: user_code(1),
            shown: request_id(1),
            person: &person("alice"),
            authenticated_at: later(3),
            sources: &NO_SOURCES,
            approve: runner % 2 == 0,
            now: later(10),
        };
        settle(&*store, &decision).await.unwrap().reply
    })
    .await;
    let mut answers: Vec<_> =
        decided.into_iter().filter(|answer| *answer != device_code::Decided::Unknown).collect();
    let answer = answers.pop().expect("somebody decided");
    assert_eq!(answers, []);
    let expected = match answer {
        device_code::Decided::Approved => approved(),
        _ => DeviceState::Denied,
    };
    assert_eq!(stored_request(store, 1).await.state, expected);
}

fn code(n: u64) -> authorization_code::Code {
    authorization_code::Code {
        id: CodeId::from_bytes(bytes(n)),
        client: CLIENT,
        redirect_uri: "http://127.0.0.1/oauth/callback".into(),
        challenge: CodeChallenge::from_bytes([7; 32]),
        scopes: scopes("sso:account:access"),
        person: person("alice"),
        authenticated_at: later(3),
        expires_at: NOW.plus(Lifetime::from_seconds(300)),
        terms: None,
        nonce: None,
    }
}

async fn redeem_code(store: &Arc<dyn Store>, n: u64, seconds: u32) -> Redeemed {
    let (client, lifetimes, code) = (known_client(), Lifetimes::default(), code(n));
    let proof = CodeChallenge::from_bytes([7; 32]);
    let grant = authorization_code::Redeem { code: &code, redirect_uri: &code.redirect_uri, proof };
    redeem(&**store, &grant, &token_request(&client, &lifetimes, later(seconds))).await.unwrap()
}

async fn a_code_redeemed_twice_ends_its_session(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"])]).await;
    let first = redeem_code(store, 1, 10).await;
    assert!(first.reply.is_ok());
    assert_eq!(stored(store, 1).await.state, SessionState::Live);
    let ended = SessionState::Ended { at: later(20), why: EndReason::CodeReplayed };
    for seconds in [20, 30] {
        assert_eq!(redeem_code(store, 1, seconds).await.reply, Err(Refusal::InvalidGrant));
        assert_eq!(stored(store, 1).await.state, ended);
    }
}

async fn a_code_redeemed_at_once_is_redeemed_once(store: &Arc<dyn Store>) {
    commit(store, [replace_directory(0, &["alice"])]).await;
    let redeemed = race(store, |store, _| async move { redeem_code(&store, 1, 10).await }).await;
    one_success(&redeemed, &Refusal::InvalidGrant);
    let ended = SessionState::Ended { at: later(10), why: EndReason::CodeReplayed };
    assert_eq!(stored(store, 1).await.state, ended);
}

async fn a_session_ends_once(store: &Arc<dyn Store>) {
    commit(store, [start(1)]).await;
    let ended = race(store, |store, _| async move {
        let (session, why) = (session_id(1), EndReason::EndedByPerson);
        let end = session_end::End { session, person: &person("alice"), why, now: later(10) };
        settle(&*store, &end).await.unwrap().reply
    })
    .await;
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1);
}

fn one_success(redeemed: &[Redeemed], otherwise: &Refusal) {
    let (won, lost): (Vec<_>, Vec<_>) = redeemed.iter().partition(|settled| settled.reply.is_ok());
    assert_eq!(won.len(), 1);
    for settled in lost {
        assert_eq!(settled.reply.as_ref().err(), Some(otherwise));
    }
}
