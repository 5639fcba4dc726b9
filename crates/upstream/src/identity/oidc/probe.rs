//! What an operator wants to know of a source before anybody signs in.

use doorward_core::time::Timestamp;

use super::Source;
use super::token::NO_METHOD;
use crate::provider::error::{OidcError, Step};

/// Something about a source that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good(String),
    /// It works, but not as well as it could.
    Doubtful(String),
}

impl Source {
    /// Reads what the source says of itself and its keys, and compares its clock with `now`.
    ///
    /// # Errors
    /// [`OidcError`] when nobody can sign in through it.
    pub async fn probe(&self, now: impl Fn() -> Timestamp) -> Result<Vec<Finding>, OidcError> {
        let (document, date) = self.discovery.document().await?;
        if self.settings.client_secret.is_some() && !document.takes_basic() && !document.takes_post() {
            return Err(OidcError::unusable(Step::Discovery, NO_METHOD));
        }
        let asked_at = now();
        let keys = self.discovery.keys(&document).await?;
        let mut findings = vec![Finding::Good(format!(
            "{} has {} signing keys ({} others are of no use)",
            self.settings.issuer,
            keys.len(),
            keys.skipped
        ))];
        findings.extend(self.clock(date.as_deref(), asked_at));
        let lacks = |supported: &Option<Vec<String>>, what: &str| {
            supported.as_ref().is_some_and(|supported| !supported.iter().any(|one| one == what))
        };
        for scope in self.settings.scopes.iter().filter(|scope| lacks(&document.scopes_supported, scope)) {
            findings.push(Finding::Doubtful(format!(
                "the scope {scope} is not among those it offers: some sources refuse a request with such a scope"
            )));
        }
        if lacks(&document.code_challenge_methods_supported, "S256") {
            findings.push(Finding::Doubtful(
                "it does not offer PKCE with S256: codes are less well protected".to_owned(),
            ));
        }
        Ok(findings)
    }

    /// How far its clock is from ours.
    fn clock(&self, date: Option<&str>, now: Timestamp) -> Option<Finding> {
        let theirs = http_date(date?)?;
        let apart = theirs.seconds_until(now).max(now.seconds_until(theirs));
        let which = if theirs < now { "behind" } else { "ahead of" };
        let found = format!("its clock is {apart} s {which} ours");
        let allowed = self.settings.clock_skew.seconds();
        Some(if apart <= allowed {
            Finding::Good(found)
        } else {
            Finding::Doubtful(format!("{found}, and clock_skew allows {allowed} s: sign-in may fail"))
        })
    }
}

/// A moment in the form of RFC 9110 section 5.6.7, the one that servers must send.
fn http_date(text: &str) -> Option<Timestamp> {
    let when = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_millis(when.timestamp().as_millisecond()))
}
