//! Signing keys that take turns while two nodes sign with them, and others verify what was signed.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use doorward::ambient::OsEntropy;
use doorward::signing::{KeyPolicy, replacements};
use doorward_core::signing_key::{KeyState, Rotation, SigningAlgorithm};
use doorward_core::store::Store as _;
use doorward_core::time::{Lifetime, Timestamp};
use doorward_core::verdict::Change;
use doorward_keys::KeyRing;
use doorward_testkit::{Kit, Verifier};
use jsonwebtoken::{Algorithm, decode_header};
use serde_json::json;

const TYP: &str = "at+jwt";
/// Seconds of the clock, after which each node looks at the store again.
const TICK: u32 = 10;
/// Seconds for which a token is used.
const TOKEN_LIFETIME: u32 = 43_200;
const ROTATE_AFTER: u32 = 14_400;
const ROTATIONS: u32 = 5;

const ROTATION: Rotation = Rotation {
    rotate_after: Some(Lifetime::from_seconds(ROTATE_AFTER)),
    publish_ahead: Lifetime::from_seconds(600),
};

struct Token {
    text: String,
    algorithm: SigningAlgorithm,
    made_at: Timestamp,
}

/// Two nodes on one store; and verifiers, each with the keys of another moment, from the one node or the other.
struct World {
    nodes: [Kit; 2],
    verifiers: [Verifier; 7],
    /// Tokens that are still used, the oldest first.
    tokens: VecDeque<Token>,
    requests: usize,
    signed_with: BTreeMap<SigningAlgorithm, BTreeSet<String>>,
}

impl World {
    async fn new() -> Self {
        let signing_keys = KeyPolicy { rotation: ROTATION, x5c: false };
        let one = Kit::with(|setup| setup.signing_keys = signing_keys).await;
        let other = one.beside(|setup| setup.signing_keys = signing_keys);
        for node in [&one, &other] {
            node.signing().start(&SigningAlgorithm::ALL).await.unwrap();
        }
        let (verifiers, tokens, signed_with) = Default::default();
        Self { nodes: [one, other], verifiers, tokens, requests: 0, signed_with }
    }

    /// Some time passes; one node looks at the store while both sign, and the other one when they have.
    async fn tick(&mut self) -> Result<(), String> {
        let [one, other] = &self.nodes;
        one.advance(TICK);
        let (n, now) = (self.requests, one.now());
        let algorithms = [n, n + 1].map(|n| SigningAlgorithm::ALL[n % 3]);
        let claims = json!({"n": n});
        let (looked, first, second) = tokio::join!(
            one.signing().look(),
            one.signing().sign_jwt(algorithms[0], TYP, &claims),
            other.signing().sign_jwt(algorithms[1], TYP, &claims),
        );
        looked.unwrap();
        other.signing().look().await.unwrap();
        for (text, algorithm) in [first, second].into_iter().zip(algorithms) {
            let text = text.map_err(|outage| outage.to_string())?;
            let kid = decode_header(&text).unwrap().kid.unwrap();
            self.signed_with.entry(algorithm).or_default().insert(kid);
            let token = Token { text, algorithm, made_at: now };
            self.verify(&token).await?;
            self.requests += 1;
            if self.requests.is_multiple_of(101) {
                self.tokens.push_back(token);
            }
        }
        self.tokens.pop_front_if(|oldest| oldest.made_at.plus(Lifetime::from_seconds(TOKEN_LIFETIME)) < now);
        Ok(())
    }

    /// Somebody else verifies a token, and so does a node.
    async fn verify(&mut self, token: &Token) -> Result<(), String> {
        let n = self.requests;
        let verifiers = self.verifiers.len();
        let node = &self.nodes[n / verifiers % 2];
        let algorithm = match token.algorithm {
            SigningAlgorithm::Rs256 => Algorithm::RS256,
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        let verified = self.verifiers[n % verifiers].verify(node, algorithm, TYP, &token.text).await?;
        let again = node.signing().verify_jwt(TYP, &token.text).await.map_err(|outage| outage.to_string())?;
        if again == Some(verified) { Ok(()) } else { Err("a node refuses it".to_owned()) }
    }

    /// Verifies everything that is still used.
    async fn verify_what_is_used(&mut self) -> Result<(), String> {
        let tokens = std::mem::take(&mut self.tokens);
        for token in &tokens {
            self.verify(token).await?;
        }
        self.tokens = tokens;
        Ok(())
    }
}

// Holds: openid-connect-core-10.1.1-rotation
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_pass_while_keys_take_turns_five_times() {
    let mut world = World::new().await;
    // The first keys sign from the beginning, so their successors come one by one.
    for tick in 0..ROTATE_AFTER * ROTATIONS / TICK + 60 {
        let made = world.tick().await;
        made.unwrap_or_else(|why| panic!("request {}: {why}", world.requests));
        if tick % 100 == 0 {
            world.verify_what_is_used().await.unwrap();
        }
    }
    assert!(world.requests > 10_000, "{}", world.requests);
    for (algorithm, keys) in &world.signed_with {
        assert_eq!(keys.len(), 1 + ROTATIONS as usize, "{algorithm}");
    }
    assert_eq!(world.signed_with.len(), 3);
    let oldest = world.tokens.front().unwrap().made_at;
    assert!(oldest.seconds_until(world.nodes[0].now()) > TOKEN_LIFETIME - 2 * 101 * TICK, "long used");
    // One signs, and three others may have signed what is still used.
    let kept = world.nodes[0].store().signing_keys().await.unwrap();
    assert!(kept.keys.len() <= 3 * 5, "{kept:?}");
}

/// If nobody noticed, the test above would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_signs_as_soon_as_it_is_published_is_noticed() {
    let mut world = World::new().await;
    let (store, now) = (world.nodes[0].store().signing_keys().await.unwrap(), world.nodes[0].now());
    assert!(store.keys.iter().all(|key| store.state(key, now) == KeyState::Active));
    for _ in 0..30 {
        world.tick().await.unwrap();
    }
    world.nodes[0].advance(ROTATE_AFTER - ROTATION.publish_ahead.seconds() - 31 * TICK);
    for _ in 0..20 {
        world.tick().await.unwrap();
    }
    let node = &world.nodes[0];
    let mut kept = node.store().signing_keys().await.unwrap();
    assert_eq!(kept.keys.len(), 6, "the next keys were made");
    // Not with what was published long enough: new keys, and at once.
    node.advance(TICK);
    let now = node.now();
    let (master, entropy) = (KeyRing::new(&[7; 32]), OsEntropy::default());
    let made = replacements(&kept, &master, &entropy, now).await.unwrap();
    kept.keys.retain(|key| key.signs_from <= now);
    kept.keys.extend(made);
    let change = Change::ReplaceSigningKeys { from: kept.version, keys: kept.keys };
    node.store().commit(vec![change]).await.unwrap();
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(world.tick().await.is_err_and(|why| why.contains("is unknown")));
    }
    assert!(refused > 0, "nobody noticed");
}
