//! Signatures that others verify: RS256 (RFC 7518 section 3.3), because every STS understands it.

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, KeyPair as _, RsaKeyPair};
use aws_lc_rs::{digest, rand};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use rcgen::{CertificateParams, DistinguishedName, DnType, PKCS_RSA_SHA256};
use serde::Serialize;
use zeroize::Zeroizing;

/// A key that signs, and what others need to verify it.
pub struct SigningPair {
    pair: RsaKeyPair,
    jwk: Jwk,
    public_key: Vec<u8>,
}

/// A public key as others fetch it (RFC 7517 section 4, RFC 7518 section 6.3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// The thumbprint of the key (RFC 7638): two servers that hold the same key call it the same.
    pub kid: String,
    kty: &'static str,
    r#use: &'static str,
    alg: &'static str,
    n: String,
    e: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
}

/// The key cannot be made or read; the text never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0}")]
pub struct BadSigningKey(&'static str);

impl SigningPair {
    /// A new RSA key of 2048 bits, in PKCS #8. This takes a tenth of a second, or many: call it where that may block.
    ///
    /// # Errors
    /// [`BadSigningKey`] when the cryptography library fails.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, BadSigningKey> {
        let failed = |_| BadSigningKey("could not be made");
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        Ok(Zeroizing::new(pair.as_der().map_err(failed)?.as_ref().to_vec()))
    }

    /// The pair with this private key.
    ///
    /// # Errors
    /// [`BadSigningKey`] when this is no RSA key in PKCS #8.
    pub fn from_pkcs8(private: &[u8]) -> Result<Self, BadSigningKey> {
        let pair = RsaKeyPair::from_pkcs8(private).map_err(|_| BadSigningKey("is no RSA key in PKCS #8"))?;
        let public = pair.public_key();
        let number = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let n = number(public.modulus().big_endian_without_leading_zero());
        let e = number(public.exponent().big_endian_without_leading_zero());
        let jwk = Jwk { kid: thumbprint(&e, &n), kty: "RSA", r#use: "sig", alg: "RS256", n, e, x5c: vec![] };
        let public_key = public.as_ref().to_vec();
        Ok(Self { pair, jwk, public_key })
    }

    /// A certificate of this key in DER, signed with the key itself and good for ever: some services read keys from
    /// certificates alone (`x5c`, RFC 7517 section 4.7), and none of them looks at its dates.
    ///
    /// # Errors
    /// [`BadSigningKey`] when it cannot be made.
    pub fn certificate(&self, serial: [u8; 16]) -> Result<Vec<u8>, BadSigningKey> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "doorward");
        parameters.serial_number = Some(serial.to_vec().into());
        let certificate =
            parameters.self_signed(self).map_err(|_| BadSigningKey("cannot have a certificate"))?;
        Ok(certificate.der().to_vec())
    }

    /// The public key, as others fetch it.
    #[must_use]
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public key with its certificate, in DER, for services that read no other (`x5c`).
    #[must_use]
    pub fn certified_jwk(&self, certificate: &[u8]) -> Jwk {
        Jwk { x5c: vec![BASE64.encode(certificate)], ..self.jwk.clone() }
    }

    /// A JSON Web Signature of `claims`, compact (RFC 7515 section 7.1).
    ///
    /// # Errors
    /// [`BadSigningKey`] when the cryptography library fails.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, BadSigningKey> {
        #[derive(Serialize)]
        struct Header<'a> {
            alg: &'static str,
            typ: &'static str,
            kid: &'a str,
        }
        let part = |json: serde_json::Result<Vec<u8>>| match json {
            Ok(json) => Ok(BASE64URL_NOPAD.encode(&json)),
            Err(_) => Err(BadSigningKey("cannot sign what is not JSON")),
        };
        let header = Header { alg: "RS256", typ: "JWT", kid: &self.jwk.kid };
        let header = part(serde_json::to_vec(&header))?;
        let signed = format!("{header}.{}", part(serde_json::to_vec(claims))?);
        let signature = BASE64URL_NOPAD.encode(&self.raw(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    fn raw(&self, message: &[u8]) -> Result<Vec<u8>, BadSigningKey> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // The random source is not used: PKCS #1 v1.5 has none.
        self.pair
            .sign(&signature::RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message, &mut signature)
            .map_err(|_| BadSigningKey("could not sign"))?;
        Ok(signature)
    }
}

/// The thumbprint of a public key: its required members in the order of their names, without spaces, hashed (RFC 7638
/// section 3).
fn thumbprint(e: &str, n: &str) -> String {
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, members.as_bytes()).as_ref())
}

impl rcgen::PublicKeyData for SigningPair {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for SigningPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.raw(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for SigningPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningPair({})", self.jwk.kid)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::{Value, json};

    use super::*;

    fn pair() -> SigningPair {
        SigningPair::from_pkcs8(&SigningPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn another_library_verifies_what_was_signed_with_the_published_key() {
        let pair = pair();
        let jwk = serde_json::to_value(pair.jwk()).unwrap();
        let token = pair.sign(&json!({"sub": "ada", "aud": "sts", "exp": 4_000_000_000_u32})).unwrap();
        let header = jsonwebtoken::decode_header(&token).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, jwk["kid"].as_str()));
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&["sts"]);
        let verify = |token: &str| {
            let key =
                DecodingKey::from_rsa_components(jwk["n"].as_str().unwrap(), jwk["e"].as_str().unwrap());
            jsonwebtoken::decode::<Value>(token, &key.unwrap(), &validation).map(|data| data.claims)
        };
        assert_eq!(verify(&token).unwrap()["sub"], "ada");
        let (rest, _) = token.rsplit_once('.').unwrap();
        assert!(verify(&format!("{rest}.{}", BASE64URL_NOPAD.encode(&[1; 256]))).is_err());
    }

    #[test]
    fn the_certificate_is_of_the_published_key_and_signed_with_it() {
        let pair = pair();
        assert!(serde_json::to_value(pair.jwk()).unwrap().get("x5c").is_none());
        let made = pair.certificate([7; 16]).unwrap();
        let jwk = serde_json::to_value(pair.certified_jwk(&made)).unwrap();
        let certificate = BASE64.decode(jwk["x5c"][0].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(certificate, made);
        let modulus = BASE64URL_NOPAD.decode(jwk["n"].as_str().unwrap().as_bytes()).unwrap();
        assert!(certificate.windows(modulus.len()).any(|window| window == modulus));
        // The body to be signed, and the signature at the end (RFC 5280 section 4.1).
        let length = usize::from(certificate[6]) * 256 + usize::from(certificate[7]);
        let body = &certificate[4..8 + length];
        assert_eq!(&certificate[certificate.len() - 256..], pair.raw(body).unwrap());
    }

    #[test]
    fn the_thumbprint_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK\
                 RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaS\
                 qzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHa\
                 Q-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        assert_eq!(thumbprint("AQAB", n), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(SigningPair::from_pkcs8(b"").is_err());
        assert!(SigningPair::from_pkcs8(&[0x30; 1200]).is_err());
    }
}
