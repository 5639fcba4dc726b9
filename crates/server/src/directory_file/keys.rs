//! Whether the public keys of applications are keys.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::application::PublicKey;
use doorward_core::directory::{DirectoryFile, DirectoryProblem, Place};

/// The shortest and longest RSA modulus, in bytes (RFC 7518 section 3.3).
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Keys with the members that belong to their type, as the directory's own check wants, that verify nothing.
pub(super) fn unusable_keys(directory: &DirectoryFile) -> Vec<DirectoryProblem> {
    let mut problems = Vec::new();
    for (entry, application) in directory.applications.iter().enumerate() {
        let at = Place::entry("applications", entry).member("keys");
        for (nth, key) in application.keys.iter().enumerate() {
            if let Err((member, why)) = check(key) {
                let what = format!("application {}: key {}: {member} {why}", application.client_id, nth + 1);
                problems.push(DirectoryProblem { at: at.element(nth).inner(member), what });
            }
        }
    }
    problems
}

/// The member that is wrong, and why, to follow its name.
fn check(key: &PublicKey) -> Result<(), (&'static str, &'static str)> {
    let PublicKey { kty, crv, x, y, n, e, .. } = key;
    let decoded = |member, text: &Option<String>| {
        // What is missing was told before.
        let bytes = BASE64URL_NOPAD.decode(text.as_deref().unwrap_or_default().as_bytes());
        bytes.map_err(|_| (member, "must be base64url without padding"))
    };
    let long = |member, text: &Option<String>, length| match decoded(member, text)? {
        bytes if bytes.len() == length => Ok(bytes),
        _ => Err((member, "has not the length that this curve's have")),
    };
    let point = |length| {
        Ok::<_, (&'static str, &'static str)>(
            [vec![4], long("x", x, length)?, long("y", y, length)?].concat(),
        )
    };
    let parsed = match (kty.as_str(), crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (decoded("n", n)?, decoded("e", e)?);
            if !RSA_BYTES.contains(&n.len()) || n[0] == 0 || (n.len() == 256 && n[0] < 0x80) {
                return Err(("n", "must have 2048 to 8192 bits, and no zeros before them"));
            }
            // The library does not look before it verifies; every modulus and every exponent is odd.
            if n.last().is_none_or(|last| last % 2 == 0) {
                return Err(("n", "is no RSA modulus"));
            }
            if !(1..=4).contains(&e.len())
                || e[0] == 0
                || e == [1]
                || e.last().is_none_or(|last| last % 2 == 0)
            {
                return Err(("e", "must be an odd number of 32 bits at most, from 3 on, such as AQAB"));
            }
            return Ok(());
        }
        ("EC", Some("P-256")) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(32)?),
        ("EC", Some("P-384")) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point(48)?),
        ("OKP", Some("Ed25519")) => ParsedPublicKey::new(&ED25519, long("x", x, 32)?),
        // That too.
        _ => return Ok(()),
    };
    parsed.map(drop).map_err(|_| ("x", "is no key on this curve"))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};

    use super::*;

    fn text(bytes: &[u8]) -> String {
        BASE64URL_NOPAD.encode(bytes)
    }

    fn curve(kty: &str, crv: &str, x: &[u8], y: Option<&[u8]>) -> PublicKey {
        PublicKey {
            kty: kty.to_owned(),
            crv: Some(crv.to_owned()),
            x: Some(text(x)),
            y: y.map(text),
            ..PublicKey::default()
        }
    }

    fn rsa(n: &[u8], e: &[u8]) -> PublicKey {
        PublicKey { kty: "RSA".to_owned(), n: Some(text(n)), e: Some(text(e)), ..PublicKey::default() }
    }

    #[test]
    fn points_are_on_their_curves() {
        let pairs = [
            ("P-256", 32, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            ("P-384", 48, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ];
        for (crv, length, algorithm) in pairs {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let (x, y) = pair.public_key().as_ref()[1..].split_at(length);
            assert_eq!(check(&curve("EC", crv, x, Some(y))), Ok(()));
            let mut beside = y.to_vec();
            beside[length - 1] ^= 1;
            assert_eq!(check(&curve("EC", crv, x, Some(&beside))), Err(("x", "is no key on this curve")));
            let wrong = "has not the length that this curve's have";
            assert_eq!(check(&curve("EC", crv, &x[1..], Some(y))), Err(("x", wrong)));
            assert_eq!(check(&curve("EC", crv, x, Some(&[y, &[0]].concat()))), Err(("y", wrong)));
        }
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = pair.public_key().as_ref();
        assert_eq!(check(&curve("OKP", "Ed25519", x, None)), Ok(()));
        let short = curve("OKP", "Ed25519", &x[1..], None);
        assert_eq!(check(&short).map_err(|(member, _)| member), Err("x"));
    }

    #[test]
    fn an_rsa_key_is_long_enough() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let (n, e) = (
            pair.public_key().modulus().big_endian_without_leading_zero().to_vec(),
            pair.public_key().exponent().big_endian_without_leading_zero().to_vec(),
        );
        assert_eq!(check(&rsa(&n, &e)), Ok(()));
        let mut short = n.clone();
        short[0] &= 0x7f;
        for bad in [&short, &n[1..].to_vec(), &[&[0], &n[..]].concat(), &vec![0xff; 1025], &Vec::new()] {
            let why = "must have 2048 to 8192 bits, and no zeros before them";
            assert_eq!(check(&rsa(bad, &e)), Err(("n", why)), "{}", bad.len());
        }
        assert_eq!(check(&rsa(&n, &[3])), Ok(()));
        for bad in [&[][..], &[0], &[1], &[2], &[0, 3], &[0xff; 5]] {
            assert_eq!(check(&rsa(&n, bad)).map_err(|(member, _)| member), Err("e"), "{bad:?}");
        }
        let mut even = n.clone();
        even[255] &= 0xfe;
        assert_eq!(check(&rsa(&even, &e)), Err(("n", "is no RSA modulus")));
    }

    #[test]
    fn members_are_base64url() {
        let padded = PublicKey { e: Some("AQAB=".to_owned()), ..rsa(&[0xff; 256], &[1, 0, 1]) };
        assert_eq!(check(&padded), Err(("e", "must be base64url without padding")));
        let standard = PublicKey { x: Some("+".repeat(43)), ..curve("OKP", "Ed25519", &[], None) };
        assert_eq!(check(&standard), Err(("x", "must be base64url without padding")));
    }
}
