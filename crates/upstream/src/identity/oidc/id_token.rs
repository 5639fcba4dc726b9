//! What an ID token must say to be taken for one (OpenID Connect Core section 3.1.3.7). Its signature holds already.

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::time::Timestamp;
use jsonwebtoken::Algorithm;
use subtle::ConstantTimeEq as _;

use super::Drawn;
use super::settings::Settings;
use crate::provider::claims::{self, Claims, LONGEST_SUBJECT};
use crate::provider::error::{OidcError, Step, quoted};

/// What an ID token is checked against.
pub(super) struct Expected<'a> {
    pub(super) settings: &'a Settings,
    /// What was drawn for the sign-in; none for a token that came of a refresh.
    pub(super) drawn: Option<&'a Drawn<'a>>,
    /// The access token that came with it.
    pub(super) access_token: Option<&'a str>,
    pub(super) now: Timestamp,
}

impl Expected<'_> {
    /// The subject of a token with these claims, if it is what is expected.
    pub(super) fn check(&self, claims: &Claims, algorithm: Algorithm) -> Result<String, OidcError> {
        let settings = self.settings;
        let issuer = text(claims, "iss")?;
        if issuer != settings.issuer {
            return refuse(format!("iss is {}, and not {}", quoted(issuer), quoted(&settings.issuer)));
        }
        self.check_audience(claims)?;
        self.check_times(claims)?;
        if let Some(Drawn { nonce, since, .. }) = self.drawn {
            self.check_authentication(claims, *since)?;
            let given = text(claims, "nonce")?;
            if !bool::from(given.as_bytes().ct_eq(nonce.as_bytes())) {
                return refuse("nonce is not the one that was sent: the token belongs to another sign-in");
            }
        }
        if let (Some(hash), Some(access_token)) = (claims.get("at_hash"), self.access_token) {
            let expected = half_hash(algorithm, access_token);
            if hash.as_str() != Some(expected.as_str()) {
                return refuse("at_hash is not that of the access token that came with it");
            }
        }
        let subject = text(claims, "sub")?;
        if subject.is_empty() || subject.len() > LONGEST_SUBJECT {
            return refuse(format!("sub must have 1 to {LONGEST_SUBJECT} bytes"));
        }
        Ok(subject.to_owned())
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), OidcError> {
        let client_id = self.settings.client_id.as_str();
        let audience = claims::audience(claims).map_err(refused)?;
        for needed in [Some(client_id), self.settings.additional_audience.as_deref()].into_iter().flatten() {
            if !audience.contains(&needed) {
                return refuse(format!(
                    "it is for {}, and not for {}",
                    quoted(&audience.join(" ")),
                    quoted(needed)
                ));
            }
        }
        match claims.get("azp") {
            Some(party) if party.as_str() != Some(client_id) => {
                refuse(format!("azp is {}, and not {}", quoted(&party.to_string()), quoted(client_id)))
            }
            None if audience.len() > 1 => {
                refuse("it is for several, and no azp says that this client asked for it")
            }
            _ => Ok(()),
        }
    }

    /// The source was asked to let nobody through on an old sign-in (OpenID Connect Core section 3.1.2.1, `max_age`), and must
    /// say that it did not.
    fn check_authentication(&self, claims: &Claims, since: Option<Timestamp>) -> Result<(), OidcError> {
        let Some(since) = since else { return Ok(()) };
        let Some(at) = time(claims, "auth_time")? else {
            return refuse("it has no auth_time, though the person was to sign in anew (max_age)");
        };
        if at.plus(self.settings.clock_skew) < since {
            return refuse(format!(
                "auth_time is {} s before the time since when the person was to sign in anew (max_age)",
                at.seconds_until(since)
            ));
        }
        Ok(())
    }

    fn check_times(&self, claims: &Claims) -> Result<(), OidcError> {
        let skew = self.settings.clock_skew;
        let expires = time(claims, "exp")?.ok_or_else(|| refused("it has no exp"))?;
        let issued = time(claims, "iat")?.ok_or_else(|| refused("it has no iat"))?;
        let apart = |early: Timestamp, late: Timestamp| {
            format!(
                "{} s, and {} s are allowed: do the clocks agree?",
                early.seconds_until(late),
                skew.seconds()
            )
        };
        if self.now >= expires.plus(skew) {
            return refuse(format!("it expired before now by {}", apart(expires, self.now)));
        }
        for (what, from) in [("iat", Some(issued)), ("nbf", time(claims, "nbf")?)] {
            if let Some(from) = from
                && from > self.now.plus(skew)
            {
                return refuse(format!("{what} is after now by {}", apart(self.now, from)));
            }
        }
        Ok(())
    }
}

fn refused(reason: impl Into<String>) -> OidcError {
    OidcError::invalid(Step::IdToken, reason)
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, OidcError> {
    Err(refused(reason))
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, OidcError> {
    claims::text(claims, name).map_err(refused)
}

fn time(claims: &Claims, name: &str) -> Result<Option<Timestamp>, OidcError> {
    claims::time(claims, name).map_err(refused)
}

/// The left half of the hash that goes with a signature algorithm (OpenID Connect Core section 3.1.3.6).
fn half_hash(algorithm: Algorithm, access_token: &str) -> String {
    let hash = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 | Algorithm::HS256 => &SHA256,
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 | Algorithm::HS384 => &SHA384,
        // Ed25519 hashes with SHA-512 itself (RFC 8032 section 5.1).
        _ => &SHA512,
    };
    let hash = digest::digest(hash, access_token.as_bytes());
    BASE64URL_NOPAD.encode(&hash.as_ref()[..hash.as_ref().len() / 2])
}
