//! The keys of the store, opened.

use std::sync::Arc;

use doorward_core::signing_key::{KeyState, SigningAlgorithm, SigningKey, SigningKeys};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_keys::signing::{Jwk, SigningPair};
use doorward_keys::{KeyRing, Sealer};

use super::make::{self, bad, unwrap};

/// A key, opened.
#[derive(Debug)]
pub struct Signer {
    /// What signs.
    pub pair: SigningPair,
    /// The public half, as it is published.
    pub jwk: Jwk,
}

impl Signer {
    /// Opens a key that was wrapped by `sealer`.
    fn open(key: &SigningKey, sealer: &Sealer, x5c: bool) -> Result<Self, Outage> {
        let private = unwrap(key, sealer)?;
        let pair =
            SigningPair::from_pkcs8(make::algorithm(key.algorithm), &private).map_err(|error| bad(&error))?;
        let certified = x5c && !key.certificate.is_empty();
        let jwk = if certified { pair.certified_jwk(&key.certificate) } else { pair.jwk().clone() };
        Ok(Self { pair, jwk })
    }

    /// The key that servers sign with by this algorithm, if there is one yet.
    ///
    /// # Errors
    /// [`Outage`] when it cannot be unwrapped.
    pub fn of(
        kept: &SigningKeys,
        algorithm: SigningAlgorithm,
        keys: &KeyRing,
        now: Timestamp,
    ) -> Result<Option<Self>, Outage> {
        let open = |key| Self::open(key, &make::sealer(keys), false);
        kept.active(algorithm, now).map(open).transpose()
    }
}

/// Whether all of these keys can be opened.
///
/// # Errors
/// [`Outage`], of the first that cannot.
pub fn check(kept: &SigningKeys, keys: &KeyRing) -> Result<(), Outage> {
    let sealer = make::sealer(keys);
    kept.keys.iter().try_for_each(|key| Signer::open(key, &sealer, false).map(drop))
}

/// All keys of one version of the record.
#[derive(Debug, Default)]
pub(super) struct Ring {
    kept: SigningKeys,
    /// Of each key, in the same order.
    signers: Vec<Arc<Signer>>,
}

impl Ring {
    /// Opens `kept`; what was open before is taken as it is.
    pub(super) fn open(kept: SigningKeys, before: &Self, sealer: &Sealer, x5c: bool) -> Result<Self, Outage> {
        let open = |key: &SigningKey| match before.find(&key.id) {
            Some(signer) => Ok(Arc::clone(signer)),
            None => Signer::open(key, sealer, x5c).map(Arc::new),
        };
        let signers = kept.keys.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { kept, signers })
    }

    pub(super) fn version(&self) -> u64 {
        self.kept.version
    }

    pub(super) fn active(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&Arc<Signer>> {
        self.find(&self.kept.active(algorithm, now)?.id)
    }

    /// The key of this id, if others may verify with it.
    pub(super) fn published(&self, kid: &str, now: Timestamp) -> Option<&Arc<Signer>> {
        let key = self.kept.keys.iter().find(|key| key.id == kid)?;
        self.kept.is_published(key, now).then(|| self.find(kid))?
    }

    /// All keys that others may verify with, the active RSA key first.
    pub(super) fn all_published(&self, now: Timestamp) -> impl Iterator<Item = (&Arc<Signer>, KeyState)> {
        let published = self.kept.published(now).into_iter();
        published.filter_map(|(key, state)| Some((self.find(&key.id)?, state)))
    }

    fn find(&self, kid: &str) -> Option<&Arc<Signer>> {
        self.signers.iter().find(|signer| signer.jwk.kid == kid)
    }
}
