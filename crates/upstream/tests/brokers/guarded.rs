//! A guarded broker: its circuit, its bounds, and what is shared and given again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest};
use doorward_core::ids::{BrokerName, PersonId};
use doorward_core::time::Lifetime;
use doorward_upstream::credentials::guarded::Guarded;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::answers;
use crate::backend::{Reply, Sts};
use crate::fixtures::{NOW, backend, decided, request, web_identity};

fn guarded(broker: impl CredentialBroker + 'static, cache: u32) -> Arc<Guarded> {
    let name = BrokerName::parse("ceph").unwrap();
    Arc::new(Guarded::new(name, Arc::new(broker), Lifetime::from_seconds(cache)))
}

fn of(person: &str) -> RoleRequest {
    request(|request| request.person = PersonId::parse(person).unwrap())
}

fn ask(broker: &Arc<Guarded>, person: &str) -> JoinHandle<Result<RoleCredentials, BrokerError>> {
    let (broker, request) = (broker.clone(), of(person));
    tokio::spawn(async move { broker.role_credentials(&request).await })
}

/// Asks for `count` people at once.
async fn crowd(broker: &Arc<Guarded>, count: usize) -> Vec<Result<RoleCredentials, BrokerError>> {
    let mut asking = JoinSet::new();
    for nth in 0..count {
        let (broker, request) = (broker.clone(), of(&format!("p{nth}")));
        asking.spawn(async move { broker.role_credentials(&request).await });
    }
    asking.join_all().await
}

#[tokio::test]
async fn who_want_the_same_at_once_share_a_call_and_others_do_not() {
    let sts = Sts::start([Reply::Late(Duration::from_millis(200), answers::AWS_WEB_IDENTITY.into())]).await;
    let broker = guarded(web_identity(backend(&sts)), 0);
    let same: Vec<_> = (0..50).map(|_| ask(&broker, "ada")).collect();
    let other = ask(&broker, "bob");
    for asked in same {
        assert_eq!(asked.await.unwrap().unwrap().access_key_id, "ASgeIAIOSFODNN7EXAMPLE");
    }
    other.await.unwrap().unwrap();
    assert_eq!(sts.asked().len(), 2);
    broker.role_credentials(&of("ada")).await.unwrap();
    assert_eq!(sts.asked().len(), 3, "nothing is kept");
}

#[tokio::test]
async fn a_failure_is_shared_too_and_not_kept() {
    let denied = Reply::Text(403, answers::error("AccessDenied", ""));
    let sts = Sts::start([denied, Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let broker = guarded(web_identity(backend(&sts)), 300);
    let (first, second) = (ask(&broker, "ada"), ask(&broker, "ada"));
    for asked in [first, second] {
        assert_eq!(decided(&asked.await.unwrap().unwrap_err()), (BrokerStep::Trust, true));
    }
    assert_eq!(sts.asked().len(), 1);
    broker.role_credentials(&of("ada")).await.unwrap();
}

#[tokio::test]
async fn credentials_are_given_again_within_the_bound_to_the_same_person_for_the_same_role() {
    let sts = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let broker = guarded(web_identity(backend(&sts)), 300);
    let calls = async |edit: fn(&mut RoleRequest)| {
        let before = sts.asked().len();
        broker.role_credentials(&request(edit)).await.unwrap();
        sts.asked().len() - before
    };
    assert_eq!(calls(|_| {}).await, 1);
    assert_eq!(calls(|_| {}).await, 0);
    assert_eq!(calls(|request| request.now = NOW.plus(Lifetime::from_seconds(299))).await, 0);
    assert_eq!(calls(|request| request.set.session_policy = Some("{}".into())).await, 1);
    assert_eq!(calls(|request| request.person = PersonId::parse("bob").unwrap()).await, 1);
    assert_eq!(calls(|request| request.now = NOW.plus(Lifetime::from_seconds(300))).await, 1);
}

#[tokio::test]
async fn a_call_goes_on_when_who_began_it_gives_up() {
    let sts = Sts::start([Reply::Late(Duration::from_millis(300), answers::AWS_WEB_IDENTITY.into())]).await;
    let broker = guarded(web_identity(backend(&sts)), 300);
    let first = ask(&broker, "ada");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = ask(&broker, "ada");
    tokio::time::sleep(Duration::from_millis(50)).await;
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(sts.asked().len(), 1);
}

#[tokio::test]
async fn only_so_many_calls_are_under_way_at_once() {
    let sts = Sts::start([Reply::Late(Duration::from_millis(300), answers::AWS_WEB_IDENTITY.into())]).await;
    let broker = guarded(web_identity(backend(&sts)), 0);
    let answers = crowd(&broker, 150).await;
    assert!(answers.iter().all(Result::is_ok), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert_eq!(sts.most_at_once(), 64);
}

/// What a [`Scripted`] broker does.
#[derive(Clone, Copy)]
enum Act {
    Fail(BrokerStep, bool),
    Hang,
    Panic,
    Give,
}

/// A broker that does the same thing again and again, and counts.
struct Scripted {
    act: std::sync::Mutex<Act>,
    calls: AtomicUsize,
}

impl Scripted {
    fn new(act: Act) -> Arc<Self> {
        Arc::new(Self { act: std::sync::Mutex::new(act), calls: AtomicUsize::new(0) })
    }

    fn now(&self, act: Act) {
        *self.act.lock().unwrap() = act;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Shared(Arc<Scripted>);

#[async_trait]
impl CredentialBroker for Shared {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let act = *self.0.act.lock().unwrap();
        match act {
            Act::Fail(step, denied) => Err(BrokerError { denied, step, detail: "as scripted".into() }),
            Act::Hang => std::future::pending().await,
            Act::Panic => panic!("as scripted"),
            Act::Give => Ok(RoleCredentials {
                access_key_id: "ASIA".into(),
                secret_access_key: doorward_core::secret::SecretAccessKey::new("secret"),
                session_token: doorward_core::secret::SessionToken::new("token"),
                expires_at: request.now.plus(Lifetime::from_seconds(3600)),
            }),
        }
    }
}

const DOWN: Act = Act::Fail(BrokerStep::Network, false);

async fn error(broker: &Arc<Guarded>) -> BrokerError {
    broker.role_credentials(&of("ada")).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_is_left_alone_and_found_again() {
    let script = Scripted::new(DOWN);
    let broker = guarded(Shared(script.clone()), 0);
    for _ in 0..5 {
        assert_eq!(decided(&error(&broker).await), (BrokerStep::Network, false));
    }
    for _ in 0..100 {
        let error = error(&broker).await;
        assert_eq!(decided(&error), (BrokerStep::Circuit, false));
        assert_eq!(
            error.detail,
            "it is not asked for another 5 s; its last failure: failed: network: as scripted"
        );
        tokio::time::advance(Duration::from_millis(9)).await;
    }
    assert_eq!(script.calls(), 5);
    tokio::time::advance(Duration::from_secs(5)).await;
    script.now(Act::Give);
    broker.role_credentials(&of("ada")).await.unwrap();
    crowd(&broker, 10).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    assert_eq!(script.calls(), 16);
}

#[tokio::test(start_paused = true)]
async fn one_probe_at_a_time() {
    let script = Scripted::new(DOWN);
    let broker = guarded(Shared(script.clone()), 0);
    for _ in 0..5 {
        error(&broker).await;
    }
    tokio::time::advance(Duration::from_secs(5)).await;
    script.now(Act::Hang);
    let answers = crowd(&broker, 50).await;
    assert_eq!(script.calls(), 6);
    let steps = |step| answers.iter().filter(|answer| answer.as_ref().unwrap_err().step == step).count();
    assert_eq!((steps(BrokerStep::Circuit), steps(BrokerStep::Network)), (49, 1));
    assert!(
        error(&broker).await.detail.starts_with("it is not asked for another 10 s"),
        "it stays open for longer"
    );
}

#[tokio::test]
async fn denials_and_permission_sets_that_are_not_taken_leave_the_circuit_closed() {
    for (step, denied) in [
        (BrokerStep::Trust, true),
        (BrokerStep::Answer, true),
        (BrokerStep::Session, false),
        (BrokerStep::Role, false),
        (BrokerStep::Configuration, false),
        (BrokerStep::Issuer, false),
    ] {
        let script = Scripted::new(Act::Fail(step, denied));
        let broker = guarded(Shared(script.clone()), 0);
        for _ in 0..20 {
            assert_eq!(decided(&error(&broker).await), (step, denied));
        }
        // And they show that it is there.
        script.now(DOWN);
        for _ in 0..4 {
            error(&broker).await;
        }
        script.now(Act::Fail(step, denied));
        error(&broker).await;
        script.now(DOWN);
        for _ in 0..4 {
            assert_eq!(error(&broker).await.step, BrokerStep::Network);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_made_says_nothing_of_the_backend() {
    let script = Scripted::new(Act::Fail(BrokerStep::Token, false));
    let broker = guarded(Shared(script.clone()), 0);
    for _ in 0..20 {
        assert_eq!(decided(&error(&broker).await), (BrokerStep::Token, false));
    }
    for nth in 0..5 {
        script.now(Act::Fail(BrokerStep::Token, false));
        assert_eq!(error(&broker).await.step, BrokerStep::Token, "{nth}");
        script.now(DOWN);
        assert_eq!(error(&broker).await.step, BrokerStep::Network, "{nth}");
    }
    assert_eq!(error(&broker).await.step, BrokerStep::Circuit);
    tokio::time::advance(Duration::from_secs(5)).await;
    script.now(Act::Fail(BrokerStep::Token, false));
    assert_eq!(error(&broker).await.step, BrokerStep::Token);
    script.now(Act::Give);
    broker.role_credentials(&of("ada")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_hangs_or_panics_in_a_broker_is_a_failure_like_others() {
    let script = Scripted::new(Act::Hang);
    let broker = guarded(Shared(script.clone()), 0);
    let began = Instant::now();
    assert_eq!(decided(&error(&broker).await), (BrokerStep::Network, false));
    assert_eq!(began.elapsed().as_secs(), 24);
    script.now(Act::Panic);
    for _ in 0..4 {
        assert_eq!(decided(&error(&broker).await), (BrokerStep::Answer, false));
    }
    assert_eq!(error(&broker).await.step, BrokerStep::Circuit);
    // Its probe panics, and the next one is let through all the same.
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(error(&broker).await.step, BrokerStep::Answer);
    tokio::time::advance(Duration::from_secs(10)).await;
    script.now(Act::Give);
    broker.role_credentials(&of("ada")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hanging_backend_turns_a_crowd_away_and_holds_none_of_it_for_long() {
    let script = Scripted::new(Act::Hang);
    let broker = guarded(Shared(script.clone()), 0);
    let began = Instant::now();
    let answers = crowd(&broker, 5000).await;
    assert_eq!(began.elapsed().as_secs(), 24, "nobody waits longer than a call");
    let details = |detail: &str| {
        let with = |answer: &&Result<RoleCredentials, BrokerError>| {
            answer.as_ref().unwrap_err().detail.starts_with(detail)
        };
        answers.iter().filter(with).count()
    };
    assert_eq!(details("no answer within 24 s"), 64);
    assert_eq!(details("none of the calls under way has ended, 64 at once"), 1024 - 64);
    assert_eq!(details("too many wait for it, 64 at once"), 5000 - 1024);
    assert_eq!(script.calls(), 64);
}

#[tokio::test(start_paused = true)]
async fn one_person_cannot_keep_a_backend_from_the_others() {
    let script = Scripted::new(Act::Hang);
    let broker = guarded(Shared(script.clone()), 0);
    let mut hers = JoinSet::new();
    for seconds in 0..100 {
        let (broker, mut request) = (broker.clone(), of("ada"));
        request.set.session_duration = Lifetime::from_seconds(900 + seconds);
        hers.spawn(async move { broker.role_credentials(&request).await });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(script.calls(), 32);
    script.now(Act::Give);
    broker.role_credentials(&of("bob")).await.unwrap();
    let turned_away = |answer: &Result<RoleCredentials, BrokerError>| {
        answer.as_ref().unwrap_err().detail.starts_with("too many of this person's calls wait for it")
    };
    assert_eq!(hers.join_all().await.into_iter().filter(turned_away).count(), 100 - 32);
}

#[tokio::test]
async fn a_dead_backend_costs_another_nothing() {
    let dead = Sts::start([Reply::Hang]).await;
    let well = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let (dead, well) = (guarded(web_identity(backend(&dead)), 0), guarded(web_identity(backend(&well)), 0));
    let waiting: Vec<_> = (0..200).map(|nth| ask(&dead, &format!("p{nth}"))).collect();
    let began = std::time::Instant::now();
    crowd(&well, 100).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    let took = began.elapsed();
    assert!(waiting.iter().all(|asked| !asked.is_finished()));
    // Those who ask the dead one wait for its turn for five seconds, or for its answer even longer.
    assert!(took < Duration::from_secs(4), "{took:?}");
}
