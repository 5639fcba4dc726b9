//! Compact JSON Web Signatures (RFC 7515 section 7.1): written in one way, and read in no other.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::{Algorithm, BadSigningKey};

/// The longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 16 * 1024;

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    typ: &'a str,
    kid: &'a str,
}

/// A header as this server writes it. Any other member, `crit` above all (RFC 7515 section 4.1.11), and one that is there
/// twice, is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parsed {
    alg: String,
    typ: String,
    kid: String,
}

/// What is signed: header and claims.
pub(super) fn signing_input(
    algorithm: Algorithm,
    typ: &str,
    kid: &str,
    claims: &impl Serialize,
) -> Result<String, BadSigningKey> {
    let part = |json: serde_json::Result<Vec<u8>>| match json {
        Ok(json) => Ok(BASE64URL_NOPAD.encode(&json)),
        Err(_) => Err(BadSigningKey("cannot sign what is not JSON")),
    };
    let header = part(serde_json::to_vec(&Header { alg: algorithm.as_str(), typ, kid }))?;
    Ok(format!("{header}.{}", part(serde_json::to_vec(claims))?))
}

/// A token that has the right form; its signature was not looked at, so nothing of it is true yet.
pub struct Unverified<'a> {
    header: Parsed,
    pub(super) signed: &'a str,
    pub(super) claims: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart: exactly three parts, of [`LONGEST_TOKEN`] bytes at most, with a header such as this server
    /// writes. [`None`] for anything else.
    #[must_use]
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST_TOKEN {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        let header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self { header, signed, claims, signature: decode(signature)? })
    }

    /// Which key it says to be signed with.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.header.kid
    }

    /// Whether its header says to be of this type, and signed with this key by this algorithm.
    pub(super) fn says(&self, algorithm: Algorithm, typ: &str, kid: &str) -> bool {
        let Parsed { alg, typ: its, kid: key } = &self.header;
        (alg.as_str(), its.as_str(), key.as_str()) == (algorithm.as_str(), typ, kid)
    }
}
