//! Public keys that an administrator writes down: which members belong together.
//!
//! Whether a modulus is long enough, or a point on its curve, is for whoever can decode them.

use super::{Found, Place};
use crate::application::PublicKey;

/// The algorithms that a key of this type, on this curve, may sign with (RFC 7518 section 3.1, RFC 8037 section 3.1).
const RSA: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// Everything that is wrong with the keys of an entry; `at` is its member `keys`.
pub(super) fn problems(found: &mut Found, at: Place, entry: &str, keys: &[PublicKey]) {
    for (nth, key) in keys.iter().enumerate() {
        let at = at.element(nth);
        if let Err((member, why)) = check(key) {
            found.add(at.inner(member), format!("{entry}: key {}: {member} {why}", nth + 1));
        }
        match &key.kid {
            None if keys.len() > 1 => {
                let why = "must have a kid, because there are several keys";
                found.add(at, format!("{entry}: key {} {why}", nth + 1));
            }
            Some(kid) if keys[..nth].iter().any(|other| other.kid.as_ref() == Some(kid)) => {
                found.add(at.inner("kid"), format!("{entry}: key {} has the kid of another", nth + 1));
            }
            _ => {}
        }
    }
}

/// The member that is wrong, and why, to follow its name.
fn check(key: &PublicKey) -> Result<(), (&'static str, &'static str)> {
    let PublicKey { kty, kid, alg, purpose, crv, x, y, n, e } = key;
    if kid.as_ref().is_some_and(|kid| {
        !(1..=256).contains(&kid.len()) || !kid.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }) {
        return Err(("kid", "must be 1 to 256 ASCII characters"));
    }
    let curve = crv.as_deref();
    let (needed, algorithms): (&[&str], &[&str]) = match kty.as_str() {
        "RSA" => (&["n", "e"], RSA),
        "EC" => match curve {
            Some("P-256") => (&["crv", "x", "y"], &["ES256"]),
            Some("P-384") => (&["crv", "x", "y"], &["ES384"]),
            _ => return Err(("crv", "must be P-256 or P-384")),
        },
        "OKP" => match curve {
            Some("Ed25519") => (&["crv", "x"], &["EdDSA"]),
            _ => return Err(("crv", "must be Ed25519")),
        },
        _ => return Err(("kty", "must be RSA, EC or OKP")),
    };
    for (member, value) in [("crv", crv), ("x", x), ("y", y), ("n", n), ("e", e)] {
        match value.as_deref() {
            None | Some("") if needed.contains(&member) => return Err((member, "is missing")),
            Some(_) if !needed.contains(&member) => {
                return Err((member, "does not belong to a key of this type"));
            }
            _ => {}
        }
    }
    if purpose.as_ref().is_some_and(|purpose| purpose != "sig") {
        return Err(("use", "must be sig"));
    }
    if alg.as_ref().is_some_and(|alg| !algorithms.contains(&alg.as_str())) {
        return Err(("alg", "is not one that a key of this type signs with"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kty: &str, crv: Option<&str>, members: &[&str]) -> PublicKey {
        let member = |name| members.contains(&name).then(|| "AQAB".to_owned());
        PublicKey {
            kty: kty.to_owned(),
            crv: crv.map(ToOwned::to_owned),
            x: member("x"),
            y: member("y"),
            n: member("n"),
            e: member("e"),
            ..PublicKey::default()
        }
    }

    #[test]
    fn each_type_of_key_has_its_members_and_no_others() {
        for good in [
            key("RSA", None, &["n", "e"]),
            key("EC", Some("P-256"), &["x", "y"]),
            key("EC", Some("P-384"), &["x", "y"]),
            key("OKP", Some("Ed25519"), &["x"]),
        ] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
        }
        for (bad, member) in [
            (key("oct", None, &[]), "kty"),
            (key("rsa", None, &["n", "e"]), "kty"),
            (key("RSA", None, &["n"]), "e"),
            (key("RSA", None, &["e"]), "n"),
            (key("RSA", None, &["n", "e", "x"]), "x"),
            (key("RSA", Some("P-256"), &["n", "e"]), "crv"),
            (key("EC", None, &["x", "y"]), "crv"),
            (key("EC", Some("P-521"), &["x", "y"]), "crv"),
            (key("EC", Some("secp256k1"), &["x", "y"]), "crv"),
            (key("EC", Some("P-256"), &["x"]), "y"),
            (key("EC", Some("P-256"), &["y"]), "x"),
            (key("EC", Some("P-256"), &["x", "y", "n"]), "n"),
            (key("OKP", Some("X25519"), &["x"]), "crv"),
            (key("OKP", Some("Ed25519"), &[]), "x"),
            (key("OKP", Some("Ed25519"), &["x", "y"]), "y"),
            (PublicKey { x: Some(String::new()), ..key("OKP", Some("Ed25519"), &[]) }, "x"),
        ] {
            assert_eq!(check(&bad).map_err(|(member, _)| member), Err(member), "{bad:?}");
        }
    }

    #[test]
    fn an_algorithm_and_a_use_must_fit_the_key() {
        let with = |key: PublicKey, alg: &str| check(&PublicKey { alg: Some(alg.to_owned()), ..key });
        for (key, fitting) in [
            (key("RSA", None, &["n", "e"]), RSA),
            (key("EC", Some("P-256"), &["x", "y"]), &["ES256"]),
            (key("EC", Some("P-384"), &["x", "y"]), &["ES384"]),
            (key("OKP", Some("Ed25519"), &["x"]), &["EdDSA"]),
        ] {
            for alg in [
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256",
                "none", "",
            ] {
                assert_eq!(with(key.clone(), alg).is_ok(), fitting.contains(&alg), "{key:?} {alg}");
            }
            let used = |purpose: &str| check(&PublicKey { purpose: Some(purpose.to_owned()), ..key.clone() });
            assert_eq!(used("sig"), Ok(()));
            assert_eq!(used("enc"), Err(("use", "must be sig")));
        }
    }
}
