//! Applications: OAuth clients that an administrator registers, in the directory.
//!
//! An application is a client like a registered tool ([`crate::client::Registration::of`]), and has terms of its own
//! beside that: who may use it, whether they are asked, how it proves itself, and which grants reach how far.

use serde::{Deserialize, Serialize};

use crate::client::GrantType;
use crate::ids::{ApplicationId, GroupName, IssuerName, PersonId};
use crate::refusal::Refusal;
use crate::scope::Scopes;
use crate::session::Terms;
use crate::signing_key::SigningAlgorithm;
use crate::time::Lifetime;

/// An application.
#[expect(
    clippy::struct_excessive_bools,
    reason = "client metadata (RFC 7591 section 2) has independent flags"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// `client_id`.
    pub client_id: ApplicationId,
    /// Its name, shown to people. 1 to 256 characters.
    pub name: String,
    /// The ARN by which CreateTokenWithIAM knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<ApplicationId>,
    /// How it proves who it is (RFC 7591 section 2, `token_endpoint_auth_method`).
    #[serde(default)]
    pub authentication: ClientAuthentication,
    /// Hashes of its secrets, as `doorward application secret` prints them: two while one replaces the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_hashes: Vec<SecretHash>,
    /// The public keys that its assertions are signed with (RFC 7523 section 2.2). They are never fetched from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<PublicKey>,
    /// Where people are sent back to: `https` URIs, `http` ones on 127.0.0.1, or private-use schemes (RFC 8252 section 7).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// Where people may be sent after they signed out (OpenID Connect RP-Initiated Logout 1.0).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_logout_redirect_uris: Vec<String>,
    /// Where the application wants to be told that somebody signed out (OpenID Connect Back-Channel Logout 1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_uri: Option<String>,
    /// The grants it may use.
    pub grants: Vec<GrantType>,
    /// The scopes it may ask for; at least one.
    pub scopes: Scopes,
    /// The resource servers that its tokens may be for (RFC 8707): all of them unless it asks for fewer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// What it is called as a resource server: it may introspect the tokens that are for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The people who may use it, unless everybody may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonId>,
    /// The groups of people who may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Whether everybody may use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everybody: bool,
    /// Whether people are asked before it gets anything.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub consent: bool,
    /// How long its access tokens live, in seconds, instead of what the configuration says: 60 to 43 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<Lifetime>,
    /// How long its sessions last at most, in seconds, refreshes included: 300 to 7 776 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_lifetime: Option<Lifetime>,
    /// What its tokens are signed with.
    #[serde(default)]
    pub signing_algorithm: SigningAlgorithm,
    /// Whether it gets only tokens that are bound to a key (RFC 9449 section 5.2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dpop_bound_access_tokens: bool,
    /// Whether it must push its authorization requests (RFC 9126 section 6).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_pushed_authorization_requests: bool,
    /// What it may exchange (RFC 8693).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_exchange: Option<TokenExchangePolicy>,
    /// Whose assertions it may present (RFC 7523 section 2.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_issuers: Vec<AcceptedIssuer>,
    /// Who may call CreateTokenWithIAM for it: ARNs, in which `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub iam_principals: Vec<String>,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_yes(flag: &bool) -> bool {
    *flag
}

/// How a client proves who it is at the token endpoint (OpenID Connect Core 1.0 section 9, RFC 7591 section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// It does not: a public client, which PKCE and DPoP protect.
    None,
    /// Its secret in the `Authorization` header (RFC 6749 section 2.3.1).
    #[default]
    ClientSecretBasic,
    /// Its secret in the body.
    ClientSecretPost,
    /// A JWT that it signed (RFC 7523 section 2.2).
    PrivateKeyJwt,
}

/// The SHA-256 of a client secret, which is 256 random bits: a slow hash would protect it no better. `sha256:` and 64
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretHash([u8; 32]);

/// This is no hash of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret hash is `sha256:` and 64 hexadecimal digits: `doorward application secret` prints one")]
pub struct BadSecretHash;

impl SecretHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether a presented secret has this hash; in constant time.
    #[must_use]
    pub fn is(&self, presented: &[u8; 32]) -> subtle::Choice {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &presented[..])
    }
}

impl TryFrom<String> for SecretHash {
    type Error = BadSecretHash;

    fn try_from(text: String) -> Result<Self, BadSecretHash> {
        let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64 && digits.is_ascii());
        let digits = digits.filter(|digits| !digits.contains('+')).ok_or(BadSecretHash)?;
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).map_err(|_| BadSecretHash)?;
        }
        Ok(Self(bytes))
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        hash.0.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A public key (RFC 7517 section 4): the members that a verifier reads. Which of them belong together the directory's
/// reader finds out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    /// `RSA`, `EC` or `OKP`.
    pub kty: String,
    /// Which key it is, among several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// What it signs with, such as `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The curve of an `EC` or `OKP` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// A coordinate of an `EC` key, or an `OKP` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// The other coordinate of an `EC` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The modulus of an `RSA` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// The exponent of an `RSA` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

/// What an application may exchange (RFC 8693).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenExchangePolicy {
    /// The applications whose tokens it may exchange; its own only if it is among them.
    pub subjects_of: Vec<ApplicationId>,
    /// The resource servers that the new token may be for.
    pub audiences: Vec<String>,
    /// Whether it may exchange a token without saying who acts, so that nobody sees it did.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub impersonation: bool,
}

/// An issuer whose assertions an application may present (RFC 7523 section 2.1; sso-admin model `JwtBearerGrant`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedIssuer {
    /// Which of the configured issuers.
    pub issuer: IssuerName,
    /// The audiences of which an assertion must name one.
    pub audiences: Vec<String>,
}

/// What a person is told that a scope lets an application do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeDescription {
    /// The scope.
    pub name: String,
    /// What it means, to follow "It may": 1 to 200 characters.
    pub description: String,
}

impl Application {
    /// The resources that an access token is for: those asked for with it, which must be among those `granted`; all of
    /// them when nothing is asked for. What was granted without being asked for is what the application may have.
    ///
    /// # Errors
    /// [`Refusal::InvalidTarget`] when one is asked for that was not granted, or that the application may not have; and when
    /// it may have none any more of those granted.
    pub fn audiences(&self, granted: &[String], requested: &[String]) -> Result<Vec<String>, Refusal> {
        let allowed = |audience: &&String| self.audiences.contains(audience);
        let granted: Vec<&String> = if granted.is_empty() {
            self.audiences.iter().collect()
        } else {
            // What an administrator took away since is not granted any more.
            let left: Vec<&String> = granted.iter().filter(allowed).collect();
            // None at all would be a token for this server itself.
            if left.is_empty() {
                return Err(Refusal::InvalidTarget);
            }
            left
        };
        if requested.is_empty() {
            Ok(granted.into_iter().cloned().collect())
        } else if requested.iter().all(|audience| granted.contains(&audience)) {
            Ok(requested.to_vec())
        } else {
            Err(Refusal::InvalidTarget)
        }
    }

    /// Whether a session on these terms may go on: unless another issuer's word was all there was for it, and counts no more.
    #[must_use]
    pub fn stands_by(&self, terms: Option<&Terms>) -> bool {
        terms.and_then(|terms| terms.issuer.as_ref()).is_none_or(|issuer| self.trusts(issuer))
    }

    /// Whether it takes the word of this issuer.
    #[must_use]
    pub fn trusts(&self, issuer: &IssuerName) -> bool {
        self.trusted_issuers.iter().any(|accepted| accepted.issuer == *issuer)
    }

    /// Whether whoever has this ARN may call CreateTokenWithIAM for it.
    #[must_use]
    pub fn is_called_by(&self, arn: &str) -> bool {
        self.iam_principals.iter().any(|pattern| fits(arn, pattern))
    }

    /// Whether somebody with this name, in these groups, may use it.
    #[must_use]
    pub fn admits(&self, person: &PersonId, groups: &[GroupName]) -> bool {
        self.everybody
            || self.people.contains(person)
            || self.groups.iter().any(|group| groups.contains(group))
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any characters. Wherever the pieces between them can be found
/// one after the other, the first place will do.
fn fits(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(last) = pieces.next_back() else { return text == pattern };
    let Some(middle) = text.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    let found = pieces.try_fold(middle, |rest, piece| rest.find(piece).map(|at| &rest[at + piece.len()..]));
    found.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_does() {
        let arn = "arn:aws:iam::111122223333:role/Deploy";
        for good in [
            arn,
            "*",
            "arn:aws:iam::111122223333:*",
            "*:role/Deploy",
            "arn:*:role/*",
            "arn:aws*iam*33*role/D*y",
            "**",
        ] {
            assert!(fits(arn, good), "{good}");
        }
        for bad in [
            "",
            "arn:aws:iam::111122223333:role/deploy",
            "arn:aws:iam::111122223333:role/Deplo",
            "*role",
            "arn:aws:iam::111122223333:role/Deploy*y",
            "arn:*:user/*",
            "role/*",
            "arn:*iam*aws*",
        ] {
            assert!(!fits(arn, bad), "{bad}");
        }
        assert!(!fits("aba", "ab*ba") && fits("abba", "ab*ba") && fits("", ""));
    }

    #[test]
    fn a_secret_hash_is_read_and_written_back() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let hash = SecretHash::try_from(text.clone()).unwrap();
        assert_eq!(String::from(hash), text);
        assert!(bool::from(hash.is(&[15; 32])) && !bool::from(hash.is(&[16; 32])));
        for bad in ["", "sha256:", "md5:00", &"0f".repeat(32), &format!("sha256:+f{}", "0f".repeat(31))] {
            assert_eq!(SecretHash::try_from(bad.to_owned()), Err(BadSecretHash), "{bad}");
        }
    }
}
