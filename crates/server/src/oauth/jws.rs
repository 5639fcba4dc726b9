//! JSON Web Signatures that others made (RFC 7515): with keys that an administrator wrote down, or that a proof brings
//! along.
//!
//! Which algorithm is used is decided by the key and not by the token: each key has one or two, all asymmetric, and a token
//! that names another is refused. So neither `none` nor a public key used as an HMAC secret ever gets as far as a check.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::secret::KeyThumbprint;
use doorward_core::time::Timestamp;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Map, Value};

/// Members of a header, or claims, by name.
pub(crate) type Members = Map<String, Value>;

/// The longest `jti` that is taken, in bytes.
pub(crate) const LONGEST_JTI: usize = 256;
/// The shortest and longest RSA modulus, in bytes: shorter ones are not safe (RFC 7518 section 3.3), and longer ones
/// make a signature expensive to check.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
/// The longest RSA exponent, in bytes. Everybody uses 65 537, which has three.
const LONGEST_EXPONENT: usize = 4;
/// The members of a key that only its owner may know (RFC 7518 sections 6.2.2, 6.3.2 and 6.4, RFC 8037 section 2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key, and what it checks.
pub(crate) struct Key {
    public: DecodingKey,
    algorithms: Vec<Algorithm>,
    thumbprint: KeyThumbprint,
}

impl Key {
    /// The key that `jwk` is (RFC 7517), if it can check signatures and nothing of it is private.
    pub(crate) fn of(jwk: &Value) -> Option<Self> {
        if PRIVATE_MEMBERS.iter().any(|name| jwk.get(name).is_some()) {
            return None;
        }
        let jwk: Jwk = serde_json::from_value(jwk.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
            return None;
        }
        let named = jwk.common.key_algorithm;
        let algorithms = algorithms(&jwk.algorithm)?.iter().copied();
        let algorithms: Vec<_> =
            algorithms.filter(|one| named.is_none_or(|named| named == KeyAlgorithm::from(*one))).collect();
        if algorithms.is_empty() {
            return None;
        }
        let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).ok()?;
        let thumbprint = BASE64URL_NOPAD.decode(thumbprint.as_bytes()).ok()?.try_into().ok()?;
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { public, algorithms, thumbprint: KeyThumbprint::from_bytes(thumbprint) })
    }

    /// Its thumbprint (RFC 7638).
    pub(crate) const fn thumbprint(&self) -> KeyThumbprint {
        self.thumbprint
    }

    /// The claims of a token that this key signed. Nothing else is known of it: not whom it is from, nor what for, nor
    /// whether it is still good.
    pub(crate) fn verify(&self, token: &str) -> Option<Members> {
        let mut validation = Validation::default();
        validation.algorithms.clone_from(&self.algorithms);
        // Our own clock and our own words: whoever asks looks at the claims.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        decode::<Members>(token, &self.public, &validation).ok().map(|token| token.claims)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithms)
    }
}

/// What a key of this kind and size checks. Its numbers are written in the one way there is, so that a key has one
/// thumbprint.
fn algorithms(key: &AlgorithmParameters) -> Option<&'static [Algorithm]> {
    let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap_or_default();
    match key {
        AlgorithmParameters::RSA(rsa) => {
            let (modulus, exponent) = (bytes(&rsa.n), bytes(&rsa.e));
            let minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
            let good = RSA_BYTES.contains(&modulus.len())
                && (1..=LONGEST_EXPONENT).contains(&exponent.len())
                && minimal(&modulus)
                && minimal(&exponent);
            good.then_some(&[Algorithm::RS256, Algorithm::PS256])
        }
        AlgorithmParameters::EllipticCurve(ec) => {
            let good =
                ec.curve == EllipticCurve::P256 && bytes(&ec.x).len() == 32 && bytes(&ec.y).len() == 32;
            good.then_some(&[Algorithm::ES256])
        }
        AlgorithmParameters::OctetKeyPair(pair) => {
            let good = pair.curve == EllipticCurve::Ed25519 && bytes(&pair.x).len() == 32;
            good.then_some(&[Algorithm::EdDSA])
        }
        // Symmetric keys, and kinds that came after this server.
        _ => None,
    }
}

/// The header of a token, whose signature nobody has checked.
pub(crate) fn header(token: &str) -> Option<Members> {
    part(token.split('.').next()?)
}

/// The claims of a token, whose signature nobody has checked.
pub(crate) fn unverified(token: &str) -> Option<Members> {
    part(token.split('.').nth(1)?)
}

fn part(text: &str) -> Option<Members> {
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()
}

/// A member that is text.
pub(crate) fn text<'a>(members: &'a Members, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str()
}

/// A claim that is a `NumericDate` (RFC 7519 section 2): seconds, perhaps with a fraction.
pub(crate) fn time(claims: &Members, name: &str) -> Option<Timestamp> {
    let value = claims.get(name)?;
    let seconds = value.as_i64().or_else(|| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, and time at its ends is refused"
        )]
        value.as_f64().map(|seconds| seconds as i64)
    })?;
    Some(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EC_X: &str = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
    const EC_Y: &str = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";

    fn thumbprint(jwk: &Value) -> String {
        BASE64URL_NOPAD.encode(Key::of(jwk).unwrap().thumbprint().as_bytes())
    }

    fn rsa() -> Value {
        json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                  RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS\
                  qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHa\
                  Q-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        })
    }

    #[test]
    fn the_thumbprints_of_rfc_7638_section_3_1_rfc_8037_appendix_a_3_and_rfc_9449_section_6_1() {
        assert_eq!(thumbprint(&rsa()), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&ed), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let ec = json!({
            "kty": "EC", "crv": "P-256", "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        });
        assert_eq!(thumbprint(&ec), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    }

    #[test]
    fn ledger_05_a_key_is_asymmetric_public_of_a_sane_size_and_written_one_way() {
        let ec = |x: &str, y: &str| json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
        assert!(Key::of(&ec(EC_X, EC_Y)).is_some());
        let with = |mut jwk: Value, name: &str, value: &str| {
            jwk[name] = json!(value);
            jwk
        };
        let zero_before = {
            let n = BASE64URL_NOPAD.decode(rsa()["n"].as_str().unwrap().as_bytes()).unwrap();
            BASE64URL_NOPAD.encode(&[&[0], &n[..]].concat())
        };
        let long = |bytes: usize| BASE64URL_NOPAD.encode(&vec![0x81; bytes]);
        for bad in [
            json!({"kty": "oct", "k": "AAAA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": long(31)}),
            json!({"kty": "EC", "crv": "P-521", "x": long(66), "y": long(66)}),
            json!("a text"),
            json!(null),
            with(ec(EC_X, EC_Y), "crv", "P-384"),
            ec(&EC_X[..40], EC_Y),
            ec(EC_X, &EC_Y[..40]),
            ec(EC_X, ""),
            ec(&format!("{EC_X}="), EC_Y),
            // The last letter has two bits that are not of the number: another text, the same bytes.
            ec(EC_X, &EC_Y.replace("IFyM", "IFyN")),
            with(ec(EC_X, EC_Y), "use", "enc"),
            with(ec(EC_X, EC_Y), "alg", "RS256"),
            with(ec(EC_X, EC_Y), "d", "AAAA"),
            with(rsa(), "alg", "HS256"),
            with(rsa(), "alg", "RS512"),
            with(rsa(), "n", &zero_before),
            with(rsa(), "n", &long(255)),
            with(rsa(), "n", &long(513)),
            with(rsa(), "e", "AAEAAQ"),
            with(rsa(), "e", &long(5)),
            with(rsa(), "e", ""),
        ] {
            assert!(Key::of(&bad).is_none(), "{bad}");
        }
        for name in PRIVATE_MEMBERS {
            assert!(Key::of(&with(rsa(), name, "AAAA")).is_none(), "{name}");
        }
    }

    #[test]
    fn a_numeric_date_may_have_a_fraction() {
        let claims = json!({"a": 7, "b": 7.9, "c": "7", "d": 1e300});
        let claims = claims.as_object().unwrap();
        assert_eq!(time(claims, "a"), Some(Timestamp::from_seconds(7)));
        assert_eq!(time(claims, "b"), Some(Timestamp::from_seconds(7)));
        assert_eq!((time(claims, "c"), time(claims, "e")), (None, None));
        assert_eq!(time(claims, "d"), Some(Timestamp::from_millis(i64::MAX)));
    }
}
