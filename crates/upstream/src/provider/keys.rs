//! A provider's signing keys (RFC 7517), and the signatures that are checked with them.
//!
//! Which algorithm is used is decided by the key and not by the token: each key has a few, all asymmetric, and a token
//! that names another is refused. So neither `none` nor a public key used as an HMAC secret ever gets as far as a check.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::claims::Claims;
use super::error::quoted;

/// More keys than this are not looked at.
const MOST_KEYS: usize = 100;
/// The shortest and longest RSA modulus, in bytes (RFC 7518 section 3.3, and what the library takes).
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 64 * 1024;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// A key set as it is served.
#[derive(Deserialize)]
pub(crate) struct KeySet {
    keys: Vec<Value>,
}

/// The keys of a set that can check a signature.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<Key>,
    /// How many keys of the set are of no use here.
    pub(crate) skipped: usize,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithms)
    }
}

/// Why a token's signature does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// No key of the set has the token's key id. It may have been added since the set was fetched.
    UnknownKey(String),
    /// It is wrong, whichever keys there are.
    Wrong(String),
}

impl From<KeySet> for Keys {
    /// Keeps what can be used: a set may hold keys for encryption, and of kinds that came after this server.
    fn from(set: KeySet) -> Self {
        let total = set.keys.len();
        let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(usable).collect();
        Self { skipped: total - keys.len(), keys }
    }
}

fn usable(jwk: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let of_use = jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let verifies =
        jwk.common.key_operations.as_ref().is_none_or(|them| them.contains(&KeyOperations::Verify));
    if !of_use || !verifies {
        return None;
    }
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_or(0, |bytes| bytes.len());
    let algorithms: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if RSA_BYTES.contains(&bytes(&rsa.n)) => RSA,
        AlgorithmParameters::EllipticCurve(ec) => match (&ec.curve, bytes(&ec.x), bytes(&ec.y)) {
            (EllipticCurve::P256, 32, 32) => &[Algorithm::ES256],
            (EllipticCurve::P384, 48, 48) => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && bytes(&pair.x) == 32 =>
        {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let named = jwk.common.key_algorithm;
    let algorithms: Vec<Algorithm> = algorithms
        .iter()
        .copied()
        .filter(|one| named.is_none_or(|named| named == KeyAlgorithm::from(*one)))
        .collect();
    if algorithms.is_empty() {
        return None;
    }
    let public = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithms, public })
}

impl Keys {
    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The claims of a token, whose signature holds. Nothing else is known of it: not whom it is from, nor for whom, nor
    /// whether it is still good.
    pub(crate) fn verify(&self, token: &str) -> Result<(Algorithm, Claims), BadSignature> {
        let wrong = |reason: String| Err(BadSignature::Wrong(reason));
        if token.len() > LONGEST_TOKEN {
            return wrong(format!("it is longer than {LONGEST_TOKEN} bytes"));
        }
        let header = match decode_header(token) {
            Ok(header) => header,
            Err(error) => {
                return wrong(format!(
                    "its header cannot be read, or names an algorithm that nobody should use: {error}"
                ));
            }
        };
        if header.crit.is_some() {
            return wrong(
                "its header has crit, and nothing that it may mean is known here (RFC 7515 section 4.1.11)"
                    .into(),
            );
        }
        if header.typ.as_ref().is_some_and(|kind| !kind.eq_ignore_ascii_case("JWT")) {
            return wrong(format!(
                "its type is {}, and not JWT: it is meant for something else",
                quoted(&header.typ.unwrap_or_default())
            ));
        }
        let fits = |key: &&Key| key.algorithms.contains(&header.alg);
        let key = if let Some(id) = &header.kid {
            let named: Vec<&Key> = self.keys.iter().filter(|key| key.id.as_ref() == Some(id)).collect();
            if named.is_empty() {
                return Err(BadSignature::UnknownKey(quoted(id)));
            }
            named.into_iter().find(fits)
        } else {
            // With more than one, a token must name its key (OpenID Connect Core section 10.1).
            let mut fitting = self.keys.iter().filter(fits);
            let first = fitting.next();
            if fitting.next().is_some() {
                return wrong("it names no key, and several could have signed it".into());
            }
            first
        };
        let Some(key) = key else {
            return wrong(format!("it is signed with {:?}, which is not what its key is for", header.alg));
        };
        // Our own clock and our own words: the claims are checked by whoever wants them.
        let mut validation = Validation::new(header.alg);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        match decode::<Claims>(token, &key.public, &validation) {
            Ok(token) => Ok((token.header.alg, token.claims)),
            Err(error) => wrong(format!("its signature does not hold: {error}")),
        }
    }
}
