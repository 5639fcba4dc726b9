//! The keys that sign what others verify: web identity tokens now.
//!
//! All nodes share them, so a store keeps them, and a private key only sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// All signing keys, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningKeys {
    /// Counts the replacements; 0 until there was one.
    pub version: u64,
    /// The keys.
    pub keys: Vec<SigningKey>,
}

/// A signing key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// `kid` (RFC 7517 section 4.5).
    pub id: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// When it was made.
    pub made_at: Timestamp,
    /// The private key in PKCS #8, sealed under the master key.
    pub sealed: String,
    /// A certificate of the public key in DER, signed with the key itself, for those who ask for `x5c`.
    pub certificate: Vec<u8>,
}

/// A signature algorithm (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every STS understands.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256: short and fast.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// `EdDSA` with Ed25519 (RFC 8037 section 3.1).
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("made_at", &self.made_at)
            .finish_non_exhaustive()
    }
}
