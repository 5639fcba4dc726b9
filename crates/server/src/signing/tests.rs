use doorward_core::time::Timestamp;
use doorward_store::MemoryStore;
use serde_json::json;

use super::*;
use crate::ambient::OsEntropy;

const RSA: SigningAlgorithm = SigningAlgorithm::Rs256;
const EC: SigningAlgorithm = SigningAlgorithm::Es256;

fn node(store: &Arc<dyn Store>, master: u8) -> Signing {
    node_with(store, &KeyRing::new(&[master; 32]))
}

fn node_with(store: &Arc<dyn Store>, keys: &KeyRing) -> Signing {
    let policy = KeyPolicy { x5c: true, ..KeyPolicy::default() };
    Signing::new(store.clone(), clock(), Arc::new(OsEntropy::default()), keys, policy)
}

fn clock() -> Arc<Clock> {
    Arc::new(Clock::fixed(Timestamp::from_seconds(1_800_000_000)))
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

/// Nodes with one clock.
fn nodes<const N: usize>(store: &Arc<dyn Store>) -> ([Signing; N], Arc<Clock>) {
    let clock = clock();
    let node = |_| {
        let (entropy, keys) = (Arc::new(OsEntropy::default()), KeyRing::new(&[1; 32]));
        Signing::new(store.clone(), clock.clone(), entropy, &keys, KeyPolicy::default())
    };
    (std::array::from_fn(node), clock)
}

const AHEAD: Lifetime = Lifetime::from_seconds(3600);
const ROTATE_AFTER: Lifetime = Lifetime::from_seconds(2_592_000);

fn kids(signing: &Signing) -> Vec<String> {
    signing.published().into_iter().map(|jwk| jwk.kid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_sign_with_the_one_key_that_was_made_first() {
    let store = memory();
    let nodes: Vec<Arc<Signing>> = (0..4).map(|_| Arc::new(node(&store, 1))).collect();
    let signing =
        nodes.iter().cloned().map(|node| tokio::spawn(async move { node.signer(RSA).await.unwrap() }));
    let mut signers = Vec::new();
    for task in signing.collect::<Vec<_>>() {
        signers.push(task.await.unwrap());
    }
    let kept = store.signing_keys().await.unwrap();
    assert_eq!((kept.version, kept.keys.len()), (1, 1));
    let claims = json!({"sub": "ada"});
    for signer in &signers {
        assert_eq!(signer.jwk, signers[0].jwk, "the certificate too is the same");
        let token = signer.pair.sign("JWT", &claims).unwrap();
        assert_eq!(token, signers[0].pair.sign("JWT", &claims).unwrap());
    }
    assert_eq!(signers[0].jwk.kid, kept.keys[0].id);
}

#[tokio::test]
async fn a_key_is_made_for_the_algorithm_that_is_asked_for_and_for_no_other() {
    let store = memory();
    let ([one, other], _) = nodes(&store);
    for (algorithm, keys) in [(EC, 1), (RSA, 2), (EC, 2), (SigningAlgorithm::EdDsa, 3)] {
        let token = one.sign_jwt(algorithm, "at+jwt", &json!({"sub": "ada"})).await.unwrap();
        let kept = store.signing_keys().await.unwrap();
        assert_eq!(kept.keys.len(), keys);
        assert!(kept.keys.iter().any(|key| key.algorithm == algorithm && token_kid(&token) == key.id));
        assert_eq!(one.verify_jwt("at+jwt", &token).await.unwrap(), Some(json!({"sub": "ada"})));
    }
    let published = serde_json::to_value(one.published()).unwrap();
    let kinds: Vec<&Value> = published.as_array().unwrap().iter().map(|key| &key["kty"]).collect();
    assert_eq!(kinds, ["RSA", "EC", "OKP"], "whoever reads the first key alone knows RSA");
    assert!(other.published().is_empty());
    other.look().await.unwrap();
    assert_eq!(kids(&other), kids(&one));
}

#[tokio::test]
async fn the_keys_of_applications_are_published_before_anybody_has_a_token() {
    let store = memory();
    let ([one, other], _) = nodes(&store);
    let with = async |algorithms: &[&str]| {
        let application = |algorithm: &&str| {
            json!({
                "client_id": algorithm, "name": algorithm, "authentication": "none", "everybody": true,
                "grants": ["urn:ietf:params:oauth:grant-type:device_code"], "scopes": ["openid"],
                "signing_algorithm": algorithm,
            })
        };
        let applications: Vec<Value> = algorithms.iter().map(application).collect();
        let file = serde_json::from_value(json!({"applications": applications})).unwrap();
        let change =
            store.directory().await.unwrap().replaced_by(file, Timestamp::from_seconds(1_800_000_000));
        store.commit(vec![change]).await.unwrap();
    };
    one.look().await.unwrap();
    assert!(one.published().is_empty(), "nobody needs one");
    with(&["ES256"]).await;
    one.make_for_applications().await.unwrap();
    let published = || serde_json::to_value(one.published()).unwrap();
    assert_eq!((&published()[0]["alg"], kids(&one).len()), (&json!("ES256"), 1));
    with(&["ES256", "RS256"]).await;
    other.look().await.unwrap();
    one.look().await.unwrap();
    assert_eq!((&published()[0]["alg"], kids(&one).len()), (&json!("RS256"), 2));
    assert_eq!(kids(&other), kids(&one));
}

fn token_kid(token: &str) -> String {
    Unverified::parse(token).unwrap().kid().to_owned()
}

// Holds: backchannel-logout-4.1-no-confusion, rfc9068-4-resource-typ, rfc9068-5-not-an-id-token
// Holds: rfc9701-8.1-no-confusion
#[tokio::test]
async fn a_token_is_verified_by_any_node_and_for_one_type_alone() {
    let store = memory();
    let ([one, other], clock) = nodes(&store);
    let token = one.sign_jwt(EC, "at+jwt", &json!({"sub": "ada"})).await.unwrap();
    // It has not seen the key yet, and looks for it.
    assert!(other.verify_jwt("at+jwt", &token).await.unwrap().is_some());
    for typ in ["JWT", "at+JWT", "", "logout+jwt"] {
        assert_eq!(one.verify_jwt(typ, &token).await.unwrap(), None, "{typ}");
    }
    // It has just looked: not for every token that somebody makes up.
    let newer = one.sign_jwt(RSA, "at+jwt", &json!({})).await.unwrap();
    assert_eq!(other.verify_jwt("at+jwt", &newer).await.unwrap(), None);
    clock.advance(Lifetime::from_seconds(3));
    assert!(other.verify_jwt("at+jwt", &newer).await.unwrap().is_some());
    let ([stranger], _) = nodes(&memory());
    let foreign = stranger.sign_jwt(EC, "at+jwt", &json!({"sub": "ada"})).await.unwrap();
    assert_eq!(one.verify_jwt("at+jwt", &foreign).await.unwrap(), None);
    assert_eq!(one.verify_jwt("at+jwt", "no token").await.unwrap(), None);
}

// Holds: openid-connect-core-10.1.1-rotation, rfc9068-4-keys-published
#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_last_one_long_after() {
    let store = memory();
    let ([one, other], clock) = nodes(&store);
    let first = one.sign_jwt(EC, "JWT", &json!({})).await.unwrap();
    other.look().await.unwrap();
    clock.advance(Lifetime::from_seconds(ROTATE_AFTER.seconds() - AHEAD.seconds() - 1));
    one.look().await.unwrap();
    assert_eq!(one.published().len(), 1, "it is not due");
    clock.advance(Lifetime::from_seconds(1));
    one.look().await.unwrap();
    let [active, next] = kids(&one).try_into().unwrap();
    assert_eq!(active, token_kid(&first));
    // However many nodes see that it is due, one makes it.
    other.look().await.unwrap();
    assert_eq!(kids(&other), [active.clone(), next.clone()]);
    clock.advance(Lifetime::from_seconds(AHEAD.seconds() - 1));
    let last = one.sign_jwt(EC, "JWT", &json!({})).await.unwrap();
    assert_eq!(token_kid(&last), active);
    clock.advance(Lifetime::from_seconds(1));
    // Nobody has to do anything now.
    for node in [&one, &other] {
        assert_eq!(token_kid(&node.sign_jwt(EC, "JWT", &json!({})).await.unwrap()), next);
        assert_eq!(kids(node), [next.clone(), active.clone()]);
        assert!(node.verify_jwt("JWT", &last).await.unwrap().is_some());
    }
    // What was signed last may be good for twelve hours.
    clock.advance(Lifetime::from_seconds(43_200));
    assert!(other.verify_jwt("JWT", &last).await.unwrap().is_some());
    clock.advance(Lifetime::from_seconds(3_600));
    assert_eq!(kids(&one), std::slice::from_ref(&next));
    assert_eq!(one.verify_jwt("JWT", &last).await.unwrap(), None);
    one.look().await.unwrap();
    let kept = store.signing_keys().await.unwrap();
    assert_eq!(
        kept.keys.iter().map(|key| &key.id).collect::<Vec<_>>(),
        [&next],
        "the private key is gone too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_see_at_once_that_a_key_is_due_make_one() {
    let store = memory();
    let (nodes, clock) = nodes::<4>(&store);
    nodes[0].start(&SigningAlgorithm::ALL).await.unwrap();
    clock.advance(ROTATE_AFTER);
    let nodes = nodes.map(Arc::new);
    let looks = nodes.clone().map(|node| tokio::spawn(async move { node.look().await }));
    for look in looks {
        look.await.unwrap().unwrap();
    }
    let kept = store.signing_keys().await.unwrap();
    assert_eq!((kept.version, kept.keys.len()), (4, 6));
    for node in &nodes {
        assert_eq!(kids(node), kids(&nodes[0]));
    }
}

#[tokio::test]
async fn replaced_keys_are_gone_at_the_next_look() {
    let store = memory();
    let ([one, other], clock) = nodes(&store);
    one.start(&[RSA, EC]).await.unwrap();
    other.start(&[]).await.unwrap();
    let token = one.sign_jwt(EC, "JWT", &json!({})).await.unwrap();
    let kept = store.signing_keys().await.unwrap();
    let (master, now) = (KeyRing::new(&[1; 32]), clock.now());
    let keys = replacements(&kept, &master, &OsEntropy::default(), now).await.unwrap();
    store.commit(vec![Change::ReplaceSigningKeys { from: kept.version, keys }]).await.unwrap();
    for node in [&one, &other] {
        node.look().await.unwrap();
        assert_eq!(node.verify_jwt("JWT", &token).await.unwrap(), None);
        assert_eq!(node.published().len(), 2);
        let newer = node.sign_jwt(EC, "JWT", &json!({})).await.unwrap();
        assert!(kids(node).contains(&token_kid(&newer)) && !kids(node).contains(&token_kid(&token)));
    }
}

#[tokio::test]
async fn a_master_key_can_be_taken_away_after_a_start_with_its_successor() {
    let store = memory();
    let first = node(&store, 1);
    first.start(&SigningAlgorithm::ALL).await.unwrap();
    let both = KeyRing::parse(&format!("{}\n{}\n", "02".repeat(32), "01".repeat(32))).unwrap();
    let between = node_with(&store, &both);
    between.start(&[]).await.unwrap();
    assert_eq!(between.published(), first.published());
    let last = node(&store, 2);
    last.start(&SigningAlgorithm::ALL).await.unwrap();
    assert_eq!(last.published(), first.published());
    assert_eq!(store.signing_keys().await.unwrap().version, 4, "all are wrapped anew once");
}

/// A server without a broker that needs the key may get one after the old master key is gone.
#[tokio::test]
async fn a_start_wraps_a_key_anew_that_it_does_not_need_and_makes_none() {
    let store = memory();
    let both = KeyRing::parse(&format!("{}\n{}\n", "02".repeat(32), "01".repeat(32))).unwrap();
    node_with(&store, &both).start(&[]).await.unwrap();
    assert_eq!(store.signing_keys().await.unwrap(), SigningKeys::default());
    let first = node(&store, 1).signer(RSA).await.unwrap();
    node_with(&store, &both).start(&[]).await.unwrap();
    assert_eq!(node(&store, 2).signer(RSA).await.unwrap().jwk, first.jwk);
}

#[tokio::test]
async fn a_key_under_another_master_key_is_an_outage_and_is_kept() {
    let store = memory();
    let first = node(&store, 1).signer(RSA).await.unwrap();
    let Err(outage) = node(&store, 2).signer(RSA).await else { panic!("another key opened it") };
    assert!(outage.0.contains("another master key"), "{outage}");
    assert_eq!(node(&store, 1).signer(RSA).await.unwrap().jwk, first.jwk);
}
