//! Several nodes on one database: any of them answers anything at any moment.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_core::device::DeviceState;
use doorward_core::federated::{Sources, Trust};
use doorward_core::grant::{TokenRequest, device_code, redeem, refresh_token, session_end, settle};
use doorward_core::refusal::Refusal;
use doorward_core::session::{EndReason, Session, SessionState};
use doorward_core::store::{Allowance, CommitError, KeptRequests, Store};
use doorward_core::time::{Lifetime, Lifetimes};
use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::*;
use tokio::task::JoinSet;

use super::proxy::Proxy;
use super::server::Server;
use super::{nodes, shared};
use doorward_store::{PostgresOptions, PostgresStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_node_goes_on_where_another_left_off() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    commit(&nodes[0], [replace_directory(0, &["alice"]), start(1)]).await;

    for generation in 0..30_u32 {
        let [writer, reader] = [0, 1].map(|next| &nodes[(generation as usize + next) % 3]);
        commit(writer, [rotate(1, generation)]).await;
        assert_eq!(stored(reader, 1).await.generation, generation + 1);
        conflicts(reader, [rotate(1, generation)]).await;
        let version = u64::from(generation);
        commit(writer, [put_person(version, "zoe"), replace_keys(version, &[1])]).await;
        assert_eq!(stored_federated(reader, "zoe").await.0, version + 1);
        assert_eq!(stored_keys(reader).await.version, version + 1);
        conflicts(reader, [put_person(version, "zoe")]).await;
    }

    let (client, lifetimes) = (known_client(), Lifetimes::default());
    commit(&nodes[0], [open_request(2)]).await;
    assert_eq!(
        nodes[1].device_requests_kept(address(1)).await,
        Ok(KeptRequests { from_address: 1, total: 1 })
    );
    assert_eq!(nodes[1].device_request_by_code(user_code(2)).await, Ok(Some(device_request(2))));
    commit(&nodes[1], [move_request(2, DeviceState::Pending, approved())]).await;
    // The node that redeems must not be older than a second about who alice is.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grant = device_code::Redeem { id: request_id(2) };
    let issued = redeem(&*nodes[2], &grant, &token_request(&client, &lifetimes, later(10))).await.unwrap();
    assert!(issued.reply.is_ok(), "{:?}", issued.reply);
    let again = redeem(&*nodes[0], &grant, &token_request(&client, &lifetimes, later(11))).await.unwrap();
    assert!(again.reply.is_err());

    let end = session_end::End {
        session: session_id(2),
        person: &person("alice"),
        why: EndReason::Logout,
        now: later(20),
    };
    assert!(settle(&*nodes[0], &end).await.unwrap().reply);
    for node in &nodes {
        assert_ne!(stored(node, 2).await.state, SessionState::Live);
        let grant = refresh_token::Redeem { session: session_id(2), generation: 0 };
        let refused = redeem(&**node, &grant, &token_request(&client, &lifetimes, later(21))).await.unwrap();
        assert_eq!(refused.reply, Err(Refusal::InvalidRefreshToken));
        assert_eq!(node.sessions_of(&person("alice"), NOW, 9).await.unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_on_all_nodes_one_wins() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    let sessions = 40;
    commit(&nodes[0], (0..sessions).map(start)).await;
    for generation in 0..5 {
        let mut running = JoinSet::new();
        // All sessions on all nodes, so that batches meet at many rows; each twice, so that some meet in a batch.
        for node in nodes.iter().chain(&nodes) {
            for n in 0..sessions {
                let node = node.clone();
                running.spawn(async move { (n, node.commit(vec![rotate(n, generation)]).await) });
            }
        }
        let mut wins = vec![0; usize::try_from(sessions).unwrap()];
        for (n, outcome) in running.join_all().await {
            match outcome {
                Ok(()) => wins[usize::try_from(n).unwrap()] += 1,
                Err(error) => assert_eq!(error, CommitError::Conflict),
            }
        }
        assert!(wins.iter().all(|wins| *wins == 1), "{wins:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approved_request_is_redeemed_once_whichever_nodes_are_asked() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    for n in 0..10 {
        commit(&nodes[0], [open_request(n), move_request(n, DeviceState::Pending, approved())]).await;
        let mut running = JoinSet::new();
        for runner in 0..24 {
            let node = nodes[runner % 3].clone();
            let changes = vec![move_request(n, approved(), DeviceState::Spent), start(n)];
            running.spawn(async move { node.commit(changes).await });
        }
        let outcomes = running.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(CommitError::Conflict))));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_reaches_the_other_nodes_within_two_seconds() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    for node in &nodes {
        assert_eq!(stored_directory(node).await.version(), 0);
    }
    for version in 0..4 {
        let writer = usize::try_from(version).unwrap() % 3;
        commit(&nodes[writer], [replace_directory(version, &[&format!("person-{version}")])]).await;
        let written = Instant::now();
        assert_eq!(stored_directory(&nodes[writer]).await.version(), version + 1, "the node that wrote it");
        for node in &nodes {
            while stored_directory(node).await.version() != version + 1 {
                assert!(written.elapsed() < Duration::from_secs(2));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// A read of the directory asks nobody while the last look is fresh; and what is not fresh is not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_directory_that_cannot_be_looked_at_is_good_for_a_second() {
    let mut server = Server::start().await;
    let (_, nodes) = nodes(&server, 1).await;
    commit(&nodes[0], [replace_directory(0, &["alice"])]).await;
    assert_eq!(stored_directory(&nodes[0]).await.version(), 1);
    let killed = Instant::now();
    server.kill();
    assert!(killed.elapsed() < Duration::from_millis(400), "this machine is too busy for this test");
    assert_eq!(nodes[0].directory().await.map(|directory| directory.version()), Ok(1));
    while nodes[0].directory().await.is_ok() {
        assert!(killed.elapsed() < Duration::from_millis(1500));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.start_again().await;
    assert_eq!(stored_directory(&nodes[0]).await.version(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refresh_makes_two_round_trips_and_one_more_for_a_person_of_an_identity_source() {
    let server = Server::start().await;
    let database = server.database().await;
    let proxy = Proxy::before(&server.socket());
    let url = server.url_through(proxy.dir(), &database);
    let node = shared(PostgresStore::new(&PostgresOptions::from_url(&url).unwrap()).unwrap());
    let zoe = Session { person: person("zoe"), ..session(2) };
    let changes = [start(1), Change::StartSession(zoe), put_person(0, "zoe")];
    commit(&node, [replace_directory(0, &["alice"])].into_iter().chain(changes)).await;
    let (client, lifetimes) = (known_client(), Lifetimes::default());
    let corp = Trust {
        just_in_time: true,
        recheck: Lifetime::from_seconds(900),
        holds: Lifetime::from_seconds(3600),
    };
    let sources: Sources = [(federated_person("zoe").source, corp)].into();
    let refresh = async |n, generation| {
        let grant = refresh_token::Redeem { session: session_id(n), generation };
        let request =
            TokenRequest { sources: &sources, ..token_request(&client, &lifetimes, later(10 + generation)) };
        assert!(redeem(&*node, &grant, &request).await.unwrap().reply.is_ok());
    };
    for (n, round_trips) in [(1, 2), (2, 3)] {
        // The first prepares the statements.
        refresh(n, 0).await;
        let mut fewest = usize::MAX;
        for generation in 1..20 {
            let before = proxy.requests();
            refresh(n, generation).await;
            // The directory may be looked at in between; not every time.
            fewest = fewest.min(proxy.requests() - before);
        }
        assert_eq!(fewest, round_trips);
    }
}

/// Two budgets for each, as a network's and a person's are: many takers on three nodes get what one node would give.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_on_one_node_is_gone_on_all() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    let allowance = |key, burst| Allowance { key, every: 1000, burst: NonZeroU32::new(burst).unwrap() };
    let (own, shared) = (allowance(1, 10), allowance(2, 45));
    let mut running = JoinSet::new();
    for runner in 0..90 {
        let node = nodes[runner % 3].clone();
        running.spawn(async move { node.take(&[own, shared], NOW).await.unwrap() });
    }
    assert_eq!(running.join_all().await.into_iter().filter(|taken| *taken).count(), 10);
    let mut taken = 0;
    for turn in 0..90 {
        taken += usize::from(nodes[turn % 3].take(&[shared], NOW).await.unwrap());
    }
    assert_eq!(taken, 35);
    assert_eq!(nodes[0].take(&[own], later(1)).await, Ok(true));
    assert_eq!(nodes[1].take(&[own], later(1)).await, Ok(false));
    // A node that starts knows what was taken before.
    let restarted = super::shared(server.node("test_0"));
    assert_eq!(restarted.take(&[own], later(1)).await, Ok(false));
}

/// Whoever goes on guessing must not keep every connection waiting for one row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_used_up_is_refused_without_a_lock() {
    let server = Server::start().await;
    let (database, nodes) = nodes(&server, 1).await;
    let of = Allowance { key: 1, every: 60_000, burst: NonZeroU32::MIN };
    assert_eq!(nodes[0].take(&[of], NOW).await, Ok(true));
    let client = server.client(&database).await;
    client.batch_execute("BEGIN; SELECT 1 FROM allowance FOR UPDATE").await.unwrap();
    for _ in 0..50 {
        assert_eq!(nodes[0].take(&[of], NOW).await, Ok(false));
    }
    // What is there to be taken has to wait, and not for long.
    assert!(nodes[0].take(&[of], later(60)).await.is_err());
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(nodes[0].take(&[of], later(60)).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_sweep_at_once_forget_everything_once() {
    let server = Server::start().await;
    let (_, nodes) = nodes(&server, 3).await;
    commit(&nodes[0], (0..600).flat_map(|n| [start(n), open_request(n)])).await;
    let now = session(0).expires_at;
    let mut gone = 0;
    for _ in 0..20 {
        let sweeps = nodes.iter().map(|node: &Arc<dyn Store>| {
            let node = node.clone();
            tokio::spawn(async move { node.sweep(now, 500).await.unwrap() })
        });
        for sweep in sweeps.collect::<Vec<_>>() {
            gone += sweep.await.unwrap();
        }
    }
    assert_eq!(gone, 1200);
}
