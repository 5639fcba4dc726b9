//! The keys that sign what others verify. All nodes share them through the store. One is made when a broker, an application or
//! a client needs it, since many servers never need one; each node looks after all of them, and whichever sees first that the next key is due makes
//! it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::credentials::{BrokerError, BrokerStep, SharedEntropy};
use doorward_core::signing_key::{Rotation, SigningAlgorithm, SigningKey, SigningKeys};
use doorward_core::store::{CommitError, Outage, Store};
use doorward_core::time::Lifetime;
use doorward_core::verdict::Change;
use doorward_keys::signing::{Jwk, Unverified};
use doorward_keys::{KeyRing, Sealer};
use doorward_upstream::credentials::web_identity::{Claims, IdentityTokens};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tracing::{error, info};

use crate::ambient::{Clock, draw};
use crate::audit;

mod make;
mod ring;
#[cfg(test)]
mod tests;

use make::{bad, unwrap};
pub use make::{next_keys, replacements};
use ring::Ring;
pub use ring::{Signer, check};

/// `typ` of a web identity token (RFC 7519 section 5.1).
const WEB_IDENTITY: &str = "JWT";
/// How long nobody looks for an unknown key again: anybody can make up a token with one.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// What an operator decides about signing keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyPolicy {
    /// How keys take turns.
    pub rotation: Rotation,
    /// Whether RSA keys are published with a certificate.
    pub x5c: bool,
}

/// Signs what others verify, and verifies it.
pub struct Signing {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    entropy: SharedEntropy,
    sealer: Sealer,
    policy: KeyPolicy,
    ring: RwLock<Arc<Ring>>,
    /// When the store was last looked at, in the ticks of the clock. Whoever holds this looks or writes, one at a time.
    looked: Mutex<Option<Duration>>,
}

impl Signing {
    /// A signer whose keys are in `store`, wrapped under `keys`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<Clock>,
        entropy: SharedEntropy,
        keys: &KeyRing,
        policy: KeyPolicy,
    ) -> Self {
        let (ring, looked) = (RwLock::default(), Mutex::new(None));
        Self { store, clock, entropy, sealer: make::sealer(keys), policy, ring, looked }
    }

    /// Opens the keys that there are, wraps them under the current master key, since the one before is going to be taken
    /// away, and makes those of the algorithms in `needed` that there are not.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or a key cannot be unwrapped.
    pub async fn start(&self, needed: &[SigningAlgorithm]) -> Result<(), Outage> {
        let looked = self.looked.lock().await;
        loop {
            let kept = self.store.signing_keys().await?;
            if kept.keys.iter().all(|key| self.sealer.is_current(&key.sealed)) {
                self.adopt(kept)?;
                break;
            }
            let keys = kept.keys.iter().map(|key| self.wrapped_anew(key)).collect::<Result<_, _>>()?;
            if self.replace(kept.version, keys).await? {
                info!("wrapped the signing keys under the current master key");
            }
        }
        drop(looked);
        for algorithm in needed {
            self.signer(*algorithm).await?;
        }
        Ok(())
    }

    /// A JSON Web Token of `claims` (RFC 7519), compact, with this `typ` in its header. The key is made now if there never
    /// was one for this algorithm.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or its keys cannot be unwrapped.
    pub async fn sign_jwt(
        &self,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, Outage> {
        let signer = self.signer(algorithm).await?;
        signer.pair.sign(typ, claims).map_err(|error| bad(&error))
    }

    /// The claims of a JSON Web Token that this server signed, on whichever node, with a key that is still published, and
    /// with exactly this `typ` in its header; [`None`] for anything else. The caller looks at `exp` and all other claims.
    ///
    /// # Errors
    /// [`Outage`] when the key is unknown here and the store cannot say whether another node made it.
    pub async fn verify_jwt(&self, typ: &str, token: &str) -> Result<Option<Value>, Outage> {
        let Some(token) = Unverified::parse(token) else { return Ok(None) };
        let mut signer = self.find(token.kid());
        if signer.is_none() {
            self.look_for_unknown().await?;
            signer = self.find(token.kid());
        }
        Ok(signer.and_then(|signer| signer.pair.public().verify(typ, &token)))
    }

    /// The public keys that others verify with, the active RSA key first: Ceph before version 20 looks at no other. None
    /// is made for those who ask, since anybody may.
    #[must_use]
    pub fn published(&self) -> Vec<Jwk> {
        let ring = self.ring();
        ring.all_published(self.clock.now()).map(|(signer, _)| signer.jwk.clone()).collect()
    }

    /// How long others may keep what is [`published`](Self::published).
    #[must_use]
    pub fn max_age(&self) -> Lifetime {
        self.policy.rotation.max_age()
    }

    /// Looks at the store every so often, for another may have made or replaced keys, and makes the next ones when they
    /// are due. Never ends: whoever runs it drops it.
    pub async fn keep(&self) {
        let every = Duration::from_secs(self.policy.rotation.look_every().seconds().into());
        let mut failing = false;
        loop {
            tokio::time::sleep(every).await;
            match self.look().await {
                Ok(()) if failing => info!("the signing keys can be looked after again"),
                Err(outage) if !failing => error!("the signing keys cannot be looked after: {outage}"),
                _ => continue,
            }
            failing = !failing;
        }
    }

    /// Looks at the store once, and makes the next keys if they are due, and those that applications lack.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or a key cannot be unwrapped.
    pub async fn look(&self) -> Result<(), Outage> {
        let mut looked = self.looked.lock().await;
        let kept = self.load().await?;
        *looked = Some(self.clock.ticks());
        self.rotate(&kept).await?;
        drop(looked);
        self.make_for_applications().await
    }

    /// Makes the keys that the applications' tokens are to be signed with, where there are none: many who verify tokens
    /// fetch the keys when they start, before anybody has a token, and never again.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or a key cannot be unwrapped.
    pub async fn make_for_applications(&self) -> Result<(), Outage> {
        let directory = self.store.directory().await?;
        for application in &directory.file().applications {
            self.signer(application.signing_algorithm).await?;
        }
        Ok(())
    }

    /// The key that signs with this algorithm.
    async fn signer(&self, algorithm: SigningAlgorithm) -> Result<Arc<Signer>, Outage> {
        if let Some(signer) = self.active(algorithm) {
            return Ok(signer);
        }
        let _one_at_a_time = self.looked.lock().await;
        loop {
            let kept = self.load().await?;
            if let Some(signer) = self.active(algorithm) {
                return Ok(signer);
            }
            let now = self.clock.now();
            let key = make::make(algorithm, &self.sealer, &*self.entropy, now, now).await?;
            let keys = kept.keys.iter().cloned().chain([key.clone()]).collect();
            if self.replace(kept.version, keys).await? {
                audit::signing_key_made(&key, kept.version + 1);
            }
        }
    }

    /// Makes the keys that are due, and forgets those that are of no more use.
    async fn rotate(&self, kept: &SigningKeys) -> Result<(), Outage> {
        let now = self.clock.now();
        let rotation = &self.policy.rotation;
        let due = kept.due(rotation, now);
        let expired: Vec<&SigningKey> = kept.expired(now).collect();
        if due.is_empty() && expired.is_empty() {
            return Ok(());
        }
        let made = make::make_next(&due, rotation, &self.sealer, &*self.entropy, now).await?;
        let stays = kept.keys.iter().filter(|key| !expired.contains(key));
        let keys = stays.chain(&made).cloned().collect();
        if self.replace(kept.version, keys).await? {
            for key in &made {
                audit::signing_key_made(key, kept.version + 1);
            }
            for key in expired {
                audit::signing_key_removed(key, "expired", kept.version + 1);
            }
        }
        self.load().await.map(drop)
    }

    /// Looks at the store for a key that is not known here, unless somebody has just done so.
    async fn look_for_unknown(&self) -> Result<(), Outage> {
        let mut looked = self.looked.lock().await;
        let now = self.clock.ticks();
        if looked.is_some_and(|at| now.saturating_sub(at) < LOOK_AGAIN_AFTER) {
            return Ok(());
        }
        self.load().await?;
        *looked = Some(now);
        Ok(())
    }

    /// The keys of the store, which are opened if they are others than before.
    async fn load(&self) -> Result<SigningKeys, Outage> {
        let kept = self.store.signing_keys().await?;
        if kept.version != self.ring().version() {
            self.adopt(kept.clone())?;
        }
        Ok(kept)
    }

    fn adopt(&self, kept: SigningKeys) -> Result<(), Outage> {
        let opened = Ring::open(kept, &self.ring(), &self.sealer, self.policy.x5c)?;
        // Nobody panics while it is held, and it is whole at any time.
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened);
        Ok(())
    }

    /// Whether these are the keys now. If not, another node was faster, and what it did is as good.
    async fn replace(&self, from: u64, keys: Vec<SigningKey>) -> Result<bool, Outage> {
        match self.store.commit(vec![Change::ReplaceSigningKeys { from, keys }]).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(CommitError::Outage(outage)) => Err(outage),
        }
    }

    fn wrapped_anew(&self, key: &SigningKey) -> Result<SigningKey, Outage> {
        let private = unwrap(key, &self.sealer)?;
        Ok(SigningKey { sealed: self.sealer.seal(&private, draw(&*self.entropy)), ..key.clone() })
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn active(&self, algorithm: SigningAlgorithm) -> Option<Arc<Signer>> {
        self.ring().active(algorithm, self.clock.now()).cloned()
    }

    fn find(&self, kid: &str) -> Option<Arc<Signer>> {
        self.ring().published(kid, self.clock.now()).cloned()
    }
}

#[async_trait]
impl IdentityTokens for Signing {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        // What every STS understands.
        let signed = self.sign_jwt(SigningAlgorithm::Rs256, WEB_IDENTITY, claims).await;
        signed.map_err(|outage| cannot_sign(outage.to_string()))
    }
}

#[async_trait]
impl IdentityTokens for Signer {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        self.pair.sign(WEB_IDENTITY, claims).map_err(|error| cannot_sign(error.to_string()))
    }
}

/// There is no token.
pub(crate) fn cannot_sign(detail: String) -> BrokerError {
    BrokerError { denied: false, step: BrokerStep::Token, detail }
}
