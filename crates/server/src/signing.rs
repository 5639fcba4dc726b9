//! The key that signs web identity tokens. It is made when a server that needs one first starts, since that takes a while
//! and many servers never do, and all nodes share it through the store.

use std::sync::Arc;

use async_trait::async_trait;
use doorward_core::credentials::{BrokerError, BrokerStep, Entropy, SharedEntropy};
use doorward_core::signing_key::{SigningAlgorithm, SigningKey, SigningKeys};
use doorward_core::store::{CommitError, Outage, Store};
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use doorward_keys::signing::{BadSigningKey, Jwk, SigningPair};
use doorward_keys::{KeyRing, Sealer};
use doorward_upstream::credentials::web_identity::{Claims, IdentityTokens};
use tokio::sync::OnceCell;
use tracing::info;
use zeroize::Zeroizing;

use crate::ambient::{Clock, draw};

/// What signing keys are wrapped for.
const PURPOSE: &str = "signing key";

/// Signs web identity tokens.
pub struct Signing {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    entropy: SharedEntropy,
    sealer: Sealer,
    x5c: bool,
    signer: OnceCell<Arc<Signer>>,
}

/// The key, opened.
pub struct Signer {
    /// What signs.
    pub pair: SigningPair,
    /// The public half, as it is published.
    pub jwk: Jwk,
}

impl Signing {
    /// A signer whose key is in `store`, wrapped under `keys`, and published with its certificate if `x5c` says so.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<Clock>,
        entropy: SharedEntropy,
        keys: &KeyRing,
        x5c: bool,
    ) -> Self {
        Self { store, clock, entropy, sealer: keys.sealer(PURPOSE), x5c, signer: OnceCell::new() }
    }

    /// The key; made now if there never was one.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or its key cannot be unwrapped.
    pub async fn signer(&self) -> Result<Arc<Signer>, Outage> {
        self.signer.get_or_try_init(|| self.load()).await.cloned()
    }

    /// The public half of the key, if this server needs one: it signs from its start on. None is made for those who ask,
    /// since anybody may.
    #[must_use]
    pub fn published(&self) -> Option<&Jwk> {
        self.signer.get().map(|signer| &signer.jwk)
    }

    /// A JWT. There is no key for any yet.
    ///
    /// # Errors
    /// [`Outage`], always.
    #[expect(clippy::unused_async, reason = "the keys will be in the store")]
    pub async fn sign_jwt(
        &self,
        _: SigningAlgorithm,
        _: &str,
        _: &impl serde::Serialize,
    ) -> Result<String, Outage> {
        Err(Outage("there is no key to sign with".to_owned()))
    }

    /// The claims of a JWT that this server signed. There is none yet.
    ///
    /// # Errors
    /// None.
    #[expect(clippy::unused_async, reason = "the keys will be in the store")]
    pub async fn verify_jwt(&self, _: &str, _: &str) -> Result<Option<serde_json::Value>, Outage> {
        Ok(None)
    }

    async fn load(&self) -> Result<Arc<Signer>, Outage> {
        loop {
            let SigningKeys { version, keys } = self.wrap_anew().await?;
            if let Some(key) = keys.last() {
                return Signer::open(key, &self.sealer, self.x5c).map(Arc::new);
            }
            let key = make(&self.sealer, &*self.entropy, self.clock.now()).await?;
            self.replace(version, vec![key], "made a key for web identity tokens").await?;
        }
    }

    /// Wraps the keys that there are under the current master key, since the one before is going to be taken away.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or a key cannot be unwrapped.
    pub async fn wrap_anew(&self) -> Result<SigningKeys, Outage> {
        loop {
            let kept = self.store.signing_keys().await?;
            if kept.keys.iter().all(|key| self.sealer.is_current(&key.sealed)) {
                return Ok(kept);
            }
            let keys = self.wrapped_anew(kept.keys)?;
            self.replace(kept.version, keys, "wrapped the signing keys under the current master key").await?;
        }
    }

    async fn replace(&self, from: u64, keys: Vec<SigningKey>, done: &str) -> Result<(), Outage> {
        match self.store.commit(vec![Change::ReplaceSigningKeys { from, keys }]).await {
            Ok(()) => info!("{done}"),
            // Another node did it at the same time, which is as good.
            Err(CommitError::Conflict) => {}
            Err(CommitError::Outage(outage)) => return Err(outage),
        }
        Ok(())
    }

    fn wrapped_anew(&self, keys: Vec<SigningKey>) -> Result<Vec<SigningKey>, Outage> {
        let wrap = |key: SigningKey| {
            let private = unwrap(&key, &self.sealer)?;
            Ok(SigningKey { sealed: self.sealer.seal(&private, draw(&*self.entropy)), ..key })
        };
        keys.into_iter().map(wrap).collect()
    }
}

/// The change that puts a new key in the place of all of `kept`, wrapped under `keys`; and the new key's id. A key that
/// leaked, or whose master key is lost, can then be used by nobody once the servers have started again.
///
/// # Errors
/// [`Outage`] when the cryptography library fails.
pub async fn replacement(
    kept: &SigningKeys,
    keys: &KeyRing,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<(String, Change), Outage> {
    let key = make(&keys.sealer(PURPOSE), entropy, now).await?;
    Ok((key.id.clone(), Change::ReplaceSigningKeys { from: kept.version, keys: vec![key] }))
}

async fn make(sealer: &Sealer, entropy: &dyn Entropy, now: Timestamp) -> Result<SigningKey, Outage> {
    let generated = tokio::task::spawn_blocking(SigningPair::generate).await;
    let private = generated.map_err(|error| Outage(error.to_string()))?.map_err(|error| bad(&error))?;
    let pair = SigningPair::from_pkcs8(&private).map_err(|error| bad(&error))?;
    // A serial number is positive (RFC 5280 section 4.1.2.2).
    let mut serial: [u8; 16] = draw(entropy);
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SigningKey {
        id: pair.jwk().kid.clone(),
        algorithm: SigningAlgorithm::Rs256,
        made_at: now,
        sealed: sealer.seal(&private, draw(entropy)),
        certificate: pair.certificate(serial).map_err(|error| bad(&error))?,
    })
}

impl Signer {
    /// Opens a key that was wrapped by `sealer`.
    fn open(key: &SigningKey, sealer: &Sealer, x5c: bool) -> Result<Self, Outage> {
        let private = unwrap(key, sealer)?;
        let pair = SigningPair::from_pkcs8(&private).map_err(|error| bad(&error))?;
        let jwk = if x5c { pair.certified_jwk(&key.certificate) } else { pair.jwk().clone() };
        Ok(Self { pair, jwk })
    }

    /// The key that servers sign with, if there is one yet.
    ///
    /// # Errors
    /// [`Outage`] when it cannot be unwrapped.
    pub fn of(kept: &SigningKeys, keys: &KeyRing) -> Result<Option<Self>, Outage> {
        let open = |key| Self::open(key, &keys.sealer(PURPOSE), false);
        kept.keys.last().map(open).transpose()
    }
}

#[async_trait]
impl IdentityTokens for Signer {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        self.pair.sign(claims).map_err(|error| cannot_sign(error.to_string()))
    }
}

#[async_trait]
impl IdentityTokens for Signing {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        let signer = self.signer().await.map_err(|outage| cannot_sign(outage.to_string()))?;
        signer.sign(claims).await
    }
}

/// There is no token.
pub(crate) fn cannot_sign(detail: String) -> BrokerError {
    BrokerError { denied: false, step: BrokerStep::Token, detail }
}

/// The private key in PKCS #8.
fn unwrap(key: &SigningKey, sealer: &Sealer) -> Result<Zeroizing<Vec<u8>>, Outage> {
    sealer.open(&key.sealed).map(Zeroizing::new).ok_or_else(|| {
        Outage(format!(
            "signing key {} was wrapped under another master key: put that key back into the key file; or, if it is lost, \
             make another signing key with `doorward key replace`",
            key.id
        ))
    })
}

fn bad(error: &BadSigningKey) -> Outage {
    Outage(error.to_string())
}

#[cfg(test)]
mod tests {
    use doorward_store::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::ambient::OsEntropy;

    fn node(store: &Arc<dyn Store>, master: u8) -> Signing {
        node_with(store, &KeyRing::new(&[master; 32]))
    }

    fn node_with(store: &Arc<dyn Store>, keys: &KeyRing) -> Signing {
        let clock = Arc::new(Clock::fixed(Timestamp::from_seconds(1_800_000_000)));
        Signing::new(store.clone(), clock, Arc::new(OsEntropy::default()), keys, true)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_nodes_sign_with_the_one_key_that_was_made_first() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let nodes: Vec<Arc<Signing>> = (0..4).map(|_| Arc::new(node(&store, 1))).collect();
        let signing =
            nodes.iter().cloned().map(|node| tokio::spawn(async move { node.signer().await.unwrap() }));
        let mut signers = Vec::new();
        for task in signing.collect::<Vec<_>>() {
            signers.push(task.await.unwrap());
        }
        let kept = store.signing_keys().await.unwrap();
        assert_eq!((kept.version, kept.keys.len()), (1, 1));
        let claims = json!({"sub": "ada"});
        for signer in &signers {
            assert_eq!(signer.jwk, signers[0].jwk, "the certificate too is the same");
            assert_eq!(signer.pair.sign(&claims).unwrap(), signers[0].pair.sign(&claims).unwrap());
        }
        assert_eq!(signers[0].jwk.kid, kept.keys[0].id);
    }

    #[tokio::test]
    async fn a_master_key_can_be_taken_away_after_a_start_with_its_successor() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let first = node(&store, 1).signer().await.unwrap();
        let both = KeyRing::parse(&format!("{}\n{}\n", "02".repeat(32), "01".repeat(32))).unwrap();
        assert_eq!(node_with(&store, &both).signer().await.unwrap().jwk, first.jwk);
        assert_eq!(node(&store, 2).signer().await.unwrap().jwk, first.jwk);
        assert_eq!(store.signing_keys().await.unwrap().version, 2, "it is wrapped anew once");
    }

    /// A server without a broker that needs the key may get one after the old master key is gone.
    #[tokio::test]
    async fn a_start_wraps_a_key_anew_that_it_does_not_need_and_makes_none() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let both = KeyRing::parse(&format!("{}\n{}\n", "02".repeat(32), "01".repeat(32))).unwrap();
        node_with(&store, &both).wrap_anew().await.unwrap();
        assert_eq!(store.signing_keys().await.unwrap(), SigningKeys::default());
        let first = node(&store, 1).signer().await.unwrap();
        node_with(&store, &both).wrap_anew().await.unwrap();
        assert_eq!(node(&store, 2).signer().await.unwrap().jwk, first.jwk);
    }

    #[tokio::test]
    async fn a_key_under_another_master_key_is_an_outage_and_is_kept() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let first = node(&store, 1).signer().await.unwrap();
        let Err(outage) = node(&store, 2).signer().await else { panic!("another key opened it") };
        assert!(outage.0.contains("another master key"), "{outage}");
        assert_eq!(node(&store, 1).signer().await.unwrap().jwk, first.jwk);
    }
}
