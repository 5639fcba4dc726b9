//! Issuers whose assertions say who a person is (RFC 7523 section 2.1): other identity providers, whose users come to an
//! application there, and clusters and build services that sign for what runs in them.
//!
//! What an issuer is asked for is its keys. Everything in an assertion is checked (RFC 7523 section 3), and then names a
//! person of this server; whether that person may have anything is not decided here, nor that an assertion is used once.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::grant::jwt_bearer::Named;
use doorward_core::ids::{IssuerName, PersonId};
use doorward_core::time::{Lifetime, Timestamp};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::provider::claims::{self, Claims, LONGEST_SUBJECT};
use crate::provider::discovery::{Discovery, Metadata};
use crate::provider::error::{OidcError, Step, quoted};
use crate::provider::http::{Http, is_acceptable};

/// The longest `jti`, in bytes.
const LONGEST_ID: usize = 256;
/// The longest e-mail address, in bytes (RFC 5321 section 4.5.3.1).
const LONGEST_EMAIL: usize = 254;

/// What an operator says of an issuer.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// Its name in the configuration.
    pub name: IssuerName,
    /// Its issuer identifier, to the letter.
    pub issuer: String,
    /// The claim that says who the person is: a name, or a JSON pointer (RFC 6901) when it begins with a slash.
    pub subject_claim: String,
    /// What of a person here that is.
    pub attribute: Attribute,
    /// The signature algorithms that are taken, by their names in RFC 7518.
    pub algorithms: Vec<String>,
    /// By how much its clock may differ.
    pub clock_skew: Lifetime,
    /// How old an assertion may be, and how far ahead its end.
    pub longest_age: Lifetime,
    /// The certificates of the authorities that may vouch for its servers, in PEM; those of the system when absent.
    pub certificate_authorities: Option<Vec<u8>>,
}

/// What of a person an issuer's claim is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The user name.
    #[default]
    UserName,
    /// The e-mail address in the directory.
    Email,
}

/// An issuer.
pub struct TrustedIssuer {
    settings: IssuerSettings,
    algorithms: Vec<Algorithm>,
    discovery: Arc<Discovery<Document>>,
}

/// What an assertion says that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// Who the person is.
    pub person: Named,
    /// When the issuer said so; at the latest now.
    pub issued_at: Timestamp,
    /// From when on nobody takes it any more.
    pub expires_at: Timestamp,
    /// What tells it from all others of its issuer: its `jti`, or without one a hash of what was signed.
    pub identifier: String,
}

/// The discovery document, as far as it is of use.
#[derive(Debug, Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: Url,
}

impl Metadata for Document {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn jwks_uri(&self) -> &Url {
        &self.jwks_uri
    }

    fn addresses(&self) -> Vec<(&'static str, &Url)> {
        Vec::new()
    }
}

impl fmt::Debug for TrustedIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedIssuer")
            .field("name", &self.settings.name)
            .field("issuer", &self.settings.issuer)
            .finish_non_exhaustive()
    }
}

/// The algorithm of this name, if it is one that is ever taken: none that a public key could be the secret of.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whom an assertion says it is from. Nothing of it is proved.
#[must_use]
pub fn issuer_of(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct From {
        iss: String,
    }
    jsonwebtoken::dangerous::insecure_decode_claims::<From>(assertion).ok().map(|from| from.iss)
}

impl TrustedIssuer {
    /// An issuer as an operator describes it. Nothing is asked yet.
    ///
    /// # Errors
    /// The key of the configuration, and what is wrong with it.
    pub fn new(settings: IssuerSettings) -> Result<Self, String> {
        let issuer = Url::parse(&settings.issuer).map_err(|error| format!("issuer: {error}"))?;
        if !is_acceptable(&issuer) {
            return Err("issuer must begin with https://".to_owned());
        }
        if issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty() {
            return Err("issuer must have no query, fragment or user name".to_owned());
        }
        if settings.subject_claim.is_empty() {
            return Err("subject_claim must not be empty".to_owned());
        }
        let taken = |name: &String| {
            let why =
                "algorithms must be of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA";
            algorithm(name).ok_or_else(|| why.to_owned())
        };
        let algorithms: Vec<Algorithm> = settings.algorithms.iter().map(taken).collect::<Result<_, _>>()?;
        if algorithms.is_empty() {
            return Err("algorithms must not be empty".to_owned());
        }
        let http = Http::new(settings.certificate_authorities.as_deref())
            .map_err(|why| format!("ca_file: {why}"))?;
        let discovery = Arc::new(Discovery::new(settings.issuer.clone(), http));
        Ok(Self { settings, algorithms, discovery })
    }

    /// What the operator says of it.
    #[must_use]
    pub const fn settings(&self) -> &IssuerSettings {
        &self.settings
    }

    /// Reads what the issuer says of itself.
    ///
    /// # Errors
    /// [`OidcError`] when it cannot be read.
    pub async fn warm(&self, now: Timestamp) -> Result<(), OidcError> {
        self.discovery.known(now).await.map(drop)
    }

    /// What an assertion says that is meant for one of `audiences`.
    ///
    /// # Errors
    /// [`OidcError`]: of the kind `Invalid` when the assertion is at fault, `Unreachable` or `Unusable` when the issuer is.
    pub async fn verify(
        &self,
        assertion: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Asserted, OidcError> {
        let known = self.discovery.known(now).await?;
        let (algorithm, claims) = self.discovery.verify(&known, assertion, Step::Assertion, now).await?;
        if !self.algorithms.contains(&algorithm) {
            return Err(refused(format!("{algorithm:?} is not among its algorithms")));
        }
        self.check(&claims, assertion, audiences, now).map_err(refused)
    }

    fn check(
        &self,
        claims: &Claims,
        assertion: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Asserted, String> {
        let ours = &self.settings.issuer;
        let issuer = claims::text(claims, "iss")?;
        if issuer != ours {
            return Err(format!("iss is {}, and not {}", quoted(issuer), quoted(ours)));
        }
        let audience = claims::audience(claims)?;
        if !audience.iter().any(|one| audiences.iter().any(|accepted| accepted == one)) {
            return Err(format!("it is for {}, and that is nobody here", quoted(&audience.join(" "))));
        }
        let subject = claims::text(claims, "sub")?;
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT {
            return Err(format!("sub must have 1 to {LONGEST_SUBJECT} bytes"));
        }
        let (issued_at, expires_at) = self.times(claims, now)?;
        Ok(Asserted {
            person: self.person(claims)?,
            issued_at,
            expires_at,
            identifier: identifier(claims, assertion)?,
        })
    }

    /// When it was issued, and from when on it is not taken.
    fn times(&self, claims: &Claims, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
        let IssuerSettings { clock_skew, longest_age, .. } = self.settings;
        let time = |name| claims::time(claims, name);
        let expires = time("exp")?.ok_or("it has no exp")?;
        let expires_at = expires.plus(clock_skew);
        if now >= expires_at {
            return Err(format!("it expired before now by {} s", expires.seconds_until(now)));
        }
        if expires > now.plus(longest_age).plus(clock_skew) {
            return Err(format!("exp is further ahead than longest_age: {} s", now.seconds_until(expires)));
        }
        if let Some(from) = time("nbf")?
            && from > now.plus(clock_skew)
        {
            return Err(format!("nbf is after now by {} s", now.seconds_until(from)));
        }
        // One that does not say when it was issued may be as old as any.
        let issued = time("iat")?.unwrap_or_else(|| expires.minus(longest_age));
        if issued > now.plus(clock_skew) {
            return Err(format!("iat is after now by {} s", now.seconds_until(issued)));
        }
        if issued < now.minus(longest_age).minus(clock_skew) {
            return Err(format!("it is older than longest_age: {} s", issued.seconds_until(now)));
        }
        Ok((issued.min(now), expires_at))
    }

    fn person(&self, claims: &Claims) -> Result<Named, String> {
        let name = &self.settings.subject_claim;
        let found = if name.starts_with('/') { pointed(claims, name) } else { claims.get(name) };
        let text =
            found.and_then(Value::as_str).ok_or_else(|| format!("subject_claim: it has no text {name}"))?;
        match self.settings.attribute {
            Attribute::UserName => PersonId::parse(text)
                .map(Named::UserName)
                .map_err(|bad| format!("subject_claim: {name} is {}: {bad}", quoted(text))),
            // Whoever can write any address into their own profile could be anybody.
            Attribute::Email if claims::email_verified(claims) == Some(false) => {
                Err("the e-mail address is not verified (email_verified)".to_owned())
            }
            Attribute::Email if text.is_empty() || text.len() > LONGEST_EMAIL => {
                Err(format!("subject_claim: {name} must have 1 to {LONGEST_EMAIL} bytes"))
            }
            Attribute::Email => Ok(Named::Email(text.to_owned())),
        }
    }
}

/// The value that a JSON pointer leads to (RFC 6901).
fn pointed<'a>(claims: &'a Claims, pointer: &str) -> Option<&'a Value> {
    let rest = pointer.strip_prefix('/')?;
    let (first, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

/// What tells an assertion from all others of its issuer. Without a `jti` that is what was signed, and not the signature:
/// of some algorithms anybody can make a second one that holds.
fn identifier(claims: &Claims, assertion: &str) -> Result<String, String> {
    match claims.get("jti") {
        Some(Value::String(id)) if (1..=LONGEST_ID).contains(&id.len()) => Ok(format!("jti {id}")),
        Some(_) => Err(format!("jti must be a text of 1 to {LONGEST_ID} bytes")),
        None => {
            let signed = assertion.rsplit_once('.').map_or(assertion, |(signed, _)| signed);
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes());
            Ok(format!("sha256 {}", BASE64URL_NOPAD.encode(hash.as_ref())))
        }
    }
}

fn refused(reason: String) -> OidcError {
    OidcError::invalid(Step::Assertion, reason)
}

#[cfg(test)]
mod tests;
