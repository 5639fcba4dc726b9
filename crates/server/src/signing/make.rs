//! New keys, and keys as they are kept: wrapped under the master key.

use doorward_core::credentials::Entropy;
use doorward_core::signing_key::{Rotation, SigningAlgorithm, SigningKey, SigningKeys};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_keys::signing::{Algorithm, BadSigningKey, SigningPair};
use doorward_keys::{KeyRing, Sealer};
use zeroize::Zeroizing;

use crate::ambient::draw;

/// What signing keys are wrapped for.
const PURPOSE: &str = "signing key";

/// What private keys are wrapped and unwrapped by.
pub(super) fn sealer(keys: &KeyRing) -> Sealer {
    keys.sealer(PURPOSE)
}

pub(super) const fn algorithm(of: SigningAlgorithm) -> Algorithm {
    match of {
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
    }
}

/// A new key, which signs from this moment on.
pub(super) async fn make(
    algorithm: SigningAlgorithm,
    sealer: &Sealer,
    entropy: &dyn Entropy,
    now: Timestamp,
    signs_from: Timestamp,
) -> Result<SigningKey, Outage> {
    let kind = self::algorithm(algorithm);
    // One for RSA takes a while.
    let generated = tokio::task::spawn_blocking(move || SigningPair::generate(kind)).await;
    let private = generated.map_err(|error| Outage(error.to_string()))?.map_err(|error| bad(&error))?;
    let pair = SigningPair::from_pkcs8(kind, &private).map_err(|error| bad(&error))?;
    let certificate = match algorithm {
        SigningAlgorithm::Rs256 => {
            // A serial number is positive (RFC 5280 section 4.1.2.2).
            let mut serial: [u8; 16] = draw(entropy);
            serial[0] = serial[0] & 0x7f | 0x40;
            pair.certificate(serial).map_err(|error| bad(&error))?
        }
        SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa => Vec::new(),
    };
    Ok(SigningKey {
        id: pair.jwk().kid.clone(),
        algorithm,
        made_at: now,
        signs_from,
        sealed: sealer.seal(&private, draw(entropy)),
        certificate,
    })
}

/// New keys in the place of all of `kept`, wrapped under `keys`: one for each algorithm, which signs at once. A key that
/// leaked, or whose master key is lost, is then used by nobody, and verified by nobody who has fetched the keys again.
///
/// # Errors
/// [`Outage`] when the cryptography library fails.
pub async fn replacements(
    kept: &SigningKeys,
    keys: &KeyRing,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Vec<SigningKey>, Outage> {
    let sealer = sealer(keys);
    let mut made = Vec::new();
    for algorithm in SigningAlgorithm::ALL {
        if kept.active(algorithm, now).is_some() {
            made.push(make(algorithm, &sealer, entropy, now, now).await?);
        }
    }
    Ok(made)
}

/// The next keys of these algorithms, wrapped under `keys`: published at once, and signing once they have been for as long
/// as `rotation` says.
///
/// # Errors
/// [`Outage`] when the cryptography library fails.
pub async fn next_keys(
    algorithms: &[SigningAlgorithm],
    rotation: &Rotation,
    keys: &KeyRing,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Vec<SigningKey>, Outage> {
    make_next(algorithms, rotation, &sealer(keys), entropy, now).await
}

pub(super) async fn make_next(
    algorithms: &[SigningAlgorithm],
    rotation: &Rotation,
    sealer: &Sealer,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Vec<SigningKey>, Outage> {
    let mut made = Vec::new();
    for algorithm in algorithms {
        made.push(make(*algorithm, sealer, entropy, now, now.plus(rotation.publish_ahead)).await?);
    }
    Ok(made)
}

/// The private key in PKCS #8.
pub(super) fn unwrap(key: &SigningKey, sealer: &Sealer) -> Result<Zeroizing<Vec<u8>>, Outage> {
    sealer.open(&key.sealed).map(Zeroizing::new).ok_or_else(|| {
        Outage(format!(
            "signing key {} was wrapped under another master key: put that key back into the key file; or, if it is lost, \
             make other signing keys with `doorward key replace`",
            key.id
        ))
    })
}

pub(super) fn bad(error: &BadSigningKey) -> Outage {
    Outage(error.to_string())
}
