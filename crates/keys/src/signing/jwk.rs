//! Public keys as others fetch them (RFC 7517).

use aws_lc_rs::digest;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Serialize;

use super::Algorithm;

/// A public key as others fetch it (RFC 7517 section 4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// The thumbprint of the key (RFC 7638): two servers that hold the same key call it the same.
    pub kid: String,
    r#use: &'static str,
    alg: &'static str,
    #[serde(flatten)]
    numbers: Numbers,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
}

/// What is particular to a kind of key; all in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
pub(super) enum Numbers {
    /// RFC 7518 section 6.3.1.
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    /// RFC 7518 section 6.2.1.
    #[serde(rename = "EC")]
    P256 { crv: &'static str, x: String, y: String },
    /// RFC 8037 section 2.
    #[serde(rename = "OKP")]
    Ed25519 { crv: &'static str, x: String },
}

impl Numbers {
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Self {
        Self::Rsa { n: BASE64URL_NOPAD.encode(n), e: BASE64URL_NOPAD.encode(e) }
    }

    /// Of a point that is not compressed (SEC 1 section 2.3.3): a byte, and both coordinates at their full length.
    pub(super) fn p256(point: &[u8]) -> Option<Self> {
        let [4, coordinates @ ..] = point else { return None };
        let (x, y) = coordinates.split_at_checked(32).filter(|(_, y)| y.len() == 32)?;
        Some(Self::P256 { crv: "P-256", x: BASE64URL_NOPAD.encode(x), y: BASE64URL_NOPAD.encode(y) })
    }

    pub(super) fn ed25519(key: &[u8]) -> Self {
        Self::Ed25519 { crv: "Ed25519", x: BASE64URL_NOPAD.encode(key) }
    }

    /// The required members in the order of their names, without spaces, hashed (RFC 7638 section 3, RFC 8037 section 2).
    pub(super) fn thumbprint(&self) -> String {
        let members = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::P256 { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Ed25519 { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        };
        BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, members.as_bytes()).as_ref())
    }
}

impl Jwk {
    pub(super) fn new(algorithm: Algorithm, numbers: Numbers) -> Self {
        Self { kid: numbers.thumbprint(), r#use: "sig", alg: algorithm.as_str(), numbers, x5c: vec![] }
    }

    /// The same with this certificate, in DER (`x5c`).
    pub(super) fn certified(&self, certificate: &[u8]) -> Self {
        Self { x5c: vec![BASE64.encode(certificate)], ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                 RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS\
                 qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHa\
                 Q-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let n = BASE64URL_NOPAD.decode(n.as_bytes()).unwrap();
        let key = Jwk::new(Algorithm::Rs256, Numbers::rsa(&n, &[1, 0, 1]));
        assert_eq!(key.kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn the_thumbprint_of_rfc_8037_appendix_a_3() {
        let x = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = Jwk::new(Algorithm::EdDsa, Numbers::ed25519(&x));
        assert_eq!(key.kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(
            serde_json::to_value(&key).unwrap(),
            serde_json::json!({
                "kid": key.kid, "use": "sig", "alg": "EdDSA", "kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            })
        );
    }

    /// The key of RFC 7515 appendix A.3, whose thumbprint that RFC does not have: the hash of what RFC 7638 says is hashed.
    #[test]
    fn the_thumbprint_of_an_elliptic_key() {
        let (x, y) =
            ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let half = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        let point = [&[4], half(x).as_slice(), &half(y)].concat();
        let key = Jwk::new(Algorithm::Es256, Numbers::p256(&point).unwrap());
        let hashed = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let hash = digest::digest(&digest::SHA256, hashed.as_bytes());
        assert_eq!(key.kid, BASE64URL_NOPAD.encode(hash.as_ref()));
        assert!(Numbers::p256(&point[..64]).is_none() && Numbers::p256(&point[1..]).is_none());
    }
}
