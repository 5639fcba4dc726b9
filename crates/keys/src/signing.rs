//! Signatures that others verify (RFC 7515): RS256, because every STS understands it; ES256, because it is short and fast;
//! and EdDSA, for those who ask for it.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaKeyPair, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, DistinguishedName, DnType, PKCS_RSA_SHA256};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

mod jwk;
mod jws;

pub use jwk::Jwk;
use jwk::Numbers;
pub use jws::{LONGEST_TOKEN, Unverified};

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1), and with it the kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, with 2048 bits.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// `EdDSA` with Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Its name in `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::EdDsa => &signature::ED25519,
        }
    }
}

/// A key that signs, and what others need to verify it.
pub struct SigningPair {
    private: Private,
    jwk: Jwk,
    public: PublicHalf,
}

enum Private {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The key cannot be made or read; the text never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0}")]
pub struct BadSigningKey(&'static str);

impl SigningPair {
    /// A new key for this algorithm, in PKCS #8. One for RSA takes a tenth of a second, or many: call it where that may
    /// block.
    ///
    /// # Errors
    /// [`BadSigningKey`] when the cryptography library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, BadSigningKey> {
        let failed = |_| BadSigningKey("could not be made");
        let random = SystemRandom::new();
        Ok(Zeroizing::new(match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                pair.as_der().map_err(failed)?.as_ref().to_vec()
            }
            Algorithm::Es256 => {
                let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::generate_pkcs8(curve, &random).map_err(failed)?.as_ref().to_vec()
            }
            Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec(),
        }))
    }

    /// The pair with this private key.
    ///
    /// # Errors
    /// [`BadSigningKey`] when this is no key for the algorithm in PKCS #8.
    pub fn from_pkcs8(algorithm: Algorithm, private: &[u8]) -> Result<Self, BadSigningKey> {
        const NO_KEY: BadSigningKey = BadSigningKey("is no key for its algorithm in PKCS #8");
        let no_key = |_| NO_KEY;
        let (private, numbers, public) = match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::from_pkcs8(private).map_err(no_key)?;
                let public = pair.public_key();
                let numbers = Numbers::rsa(
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                );
                let public = public.as_ref().to_vec();
                (Private::Rsa(pair), numbers, public)
            }
            Algorithm::Es256 => {
                let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_pkcs8(curve, private).map_err(no_key)?;
                let public = pair.public_key().as_ref().to_vec();
                (Private::P256(pair), Numbers::p256(&public).ok_or(NO_KEY)?, public)
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(private).map_err(no_key)?;
                let public = pair.public_key().as_ref().to_vec();
                (Private::Ed25519(pair), Numbers::ed25519(&public), public)
            }
        };
        let jwk = Jwk::new(algorithm, numbers);
        let public = PublicHalf::new(algorithm, jwk.kid.clone(), public).ok_or(NO_KEY)?;
        Ok(Self { private, jwk, public })
    }

    /// A certificate of this key in DER, signed with the key itself and good for ever: some services read keys from
    /// certificates alone (`x5c`, RFC 7517 section 4.7), and none of them looks at its dates.
    ///
    /// # Errors
    /// [`BadSigningKey`] when it cannot be made; those services know RSA only, and no other key has one.
    pub fn certificate(&self, serial: [u8; 16]) -> Result<Vec<u8>, BadSigningKey> {
        let failed = BadSigningKey("cannot have a certificate");
        let Private::Rsa(pair) = &self.private else { return Err(failed) };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "doorward");
        parameters.serial_number = Some(serial.to_vec().into());
        let certified = Certified { pair, public: &self.public.key };
        Ok(parameters.self_signed(&certified).map_err(|_| failed)?.der().to_vec())
    }

    /// The public key, as others fetch it.
    #[must_use]
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public key with its certificate, in DER, for services that read no other (`x5c`).
    #[must_use]
    pub fn certified_jwk(&self, certificate: &[u8]) -> Jwk {
        self.jwk.certified(certificate)
    }

    /// The public half, which verifies what this signed.
    #[must_use]
    pub const fn public(&self) -> &PublicHalf {
        &self.public
    }

    /// A JSON Web Signature of `claims`, compact (RFC 7515 section 7.1), with this `typ` in its header.
    ///
    /// # Errors
    /// [`BadSigningKey`] when the cryptography library fails.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, BadSigningKey> {
        let mut token = jws::signing_input(self.public.algorithm, typ, &self.jwk.kid, claims)?;
        let signature = self.raw(token.as_bytes())?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }

    fn raw(&self, message: &[u8]) -> Result<Vec<u8>, BadSigningKey> {
        let failed = |_| BadSigningKey("could not sign");
        match &self.private {
            Private::Rsa(pair) => rsa_signature(pair, message),
            // RFC 7518 section 3.4: both numbers at their full length, not DER.
            Private::P256(pair) => {
                Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec())
            }
            Private::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

fn rsa_signature(pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, BadSigningKey> {
    let mut signature = vec![0; pair.public_modulus_len()];
    // The random source is not used: PKCS #1 v1.5 has none.
    pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
        .map_err(|_| BadSigningKey("could not sign"))?;
    Ok(signature)
}

/// The public half of a key: verifies what the key signed, and nothing that it did not sign.
pub struct PublicHalf {
    algorithm: Algorithm,
    kid: String,
    key: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl PublicHalf {
    fn new(algorithm: Algorithm, kid: String, key: Vec<u8>) -> Option<Self> {
        let parsed = ParsedPublicKey::new(algorithm.verification(), &key).ok()?;
        Some(Self { algorithm, kid, key, parsed })
    }

    /// The claims of a token that this key signed with exactly this `typ` in its header; [`None`] for any other. What
    /// they say, as when the token expires, is the caller's to look at.
    ///
    /// The algorithm is the key's own: a token that names another is refused (RFC 8725 section 3.1).
    #[must_use]
    pub fn verify(&self, typ: &str, token: &Unverified<'_>) -> Option<Value> {
        if !token.says(self.algorithm, typ, &self.kid) {
            return None;
        }
        self.parsed.verify_sig(token.signed.as_bytes(), &token.signature).ok()?;
        serde_json::from_slice(&BASE64URL_NOPAD.decode(token.claims.as_bytes()).ok()?).ok()
    }
}

/// An RSA key, as the library that writes certificates wants it.
struct Certified<'a> {
    pair: &'a RsaKeyPair,
    public: &'a [u8],
}

impl rcgen::PublicKeyData for Certified<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for Certified<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        rsa_signature(self.pair, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for SigningPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningPair({}, {})", self.public.algorithm.as_str(), self.jwk.kid)
    }
}

impl fmt::Debug for PublicHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicHalf({}, {})", self.algorithm.as_str(), self.kid)
    }
}

#[cfg(test)]
mod tests;
