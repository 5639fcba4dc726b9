//! OAuth scopes (RFC 6749 section 3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// The scope with which a token may list accounts and fetch role credentials.
pub const ACCOUNT_ACCESS: &str = "sso:account:access";

/// The older spelling of account access, which tools still register (`granted`, for one).
pub const LEGACY_PORTAL: &str = "sso-portal:*";

/// The scopes whose meaning this server knows: no directory has to describe them.
pub const STANDARD: [&str; 9] = [
    "openid",
    "profile",
    "email",
    "groups",
    "offline_access",
    ACCOUNT_ACCESS,
    LEGACY_PORTAL,
    "aws",
    "sts:identity_context",
];

/// At most so many scopes in one registration or request.
const MOST_SCOPES: usize = 64;
/// At most so many characters in one scope.
const LONGEST_SCOPE: usize = 128;
/// At most so many characters in all of them: they travel inside client ids and access tokens.
const LONGEST_SCOPES: usize = 2048;

/// A set of scopes, in order and without duplicates. It is shared when it is cloned, as every request does.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(Arc<BTreeSet<String>>);

impl Scopes {
    /// Reads a list whose elements may themselves hold several scopes separated by spaces (some clients do that).
    ///
    /// # Errors
    /// [`Refusal::InvalidScope`] for a scope with characters outside RFC 6749's `scope-token`, a scope over 128
    /// characters, more than 64 of them, or more than 2048 characters in all.
    pub fn parse<'a>(elements: impl IntoIterator<Item = &'a str>) -> Result<Self, Refusal> {
        let (mut scopes, mut length) = (BTreeSet::new(), 0);
        for scope in
            elements.into_iter().flat_map(|element| element.split(' ')).filter(|scope| !scope.is_empty())
        {
            if !is_scope(scope) {
                return Err(Refusal::InvalidScope);
            }
            if scopes.insert(scope.to_owned()) {
                length += scope.len();
            }
            if scopes.len() > MOST_SCOPES || length > LONGEST_SCOPES {
                return Err(Refusal::InvalidScope);
            }
        }
        Ok(Self(Arc::new(scopes)))
    }

    /// These, whatever they are, as serde reads them.
    #[cfg(test)]
    pub(crate) fn unchecked<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Arc::new(scopes.into_iter().map(ToOwned::to_owned).collect()))
    }

    /// Whether they are what [`Self::parse`] accepts: scopes that an administrator wrote down are read without it.
    #[must_use]
    pub fn are_well_formed(&self) -> bool {
        self.iter().all(is_scope) && Self::parse(self.iter()).is_ok()
    }

    /// No scopes at all: a legacy registration, or a request that asks for everything granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `scope` is among them.
    #[must_use]
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// The scopes in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether every one of them is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// What a token gets of these granted scopes when `requested` are asked for: the requested ones, or all of
    /// them when nothing is asked for (CreateToken member `scope`; RFC 6749 sections 3.3 and 6).
    ///
    /// # Errors
    /// [`Refusal::InvalidScope`] when something is requested that was not granted.
    pub fn narrow(&self, requested: &Self) -> Result<Self, Refusal> {
        if requested.is_empty() {
            Ok(self.clone())
        } else if requested.is_subset(self) {
            Ok(requested.clone())
        } else {
            Err(Refusal::InvalidScope)
        }
    }

    /// All of them, and all of `other`.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if other.is_subset(self) {
            return self.clone();
        }
        Self(Arc::new(self.0.union(&other.0).cloned().collect()))
    }

    /// Those of them that `keep` says yes to.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(Arc::new(self.0.iter().filter(|scope| keep(scope)).cloned().collect()))
    }

    /// Those of them that are in `other`, too.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        if self.is_subset(other) {
            return self.clone();
        }
        Self(Arc::new(self.0.intersection(&other.0).cloned().collect()))
    }

    /// Whether a token with these scopes may use the portal. A token without any scopes comes from a legacy
    /// registration, whose only purpose is account access.
    #[must_use]
    pub fn allow_account_access(&self) -> bool {
        self.is_empty() || self.contains(ACCOUNT_ACCESS) || self.contains(LEGACY_PORTAL)
    }
}

/// The scopes separated by single spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

/// Whether `text` is one scope (RFC 6749 section 3.3, `scope-token`) that is not too long.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    (1..=LONGEST_SCOPE).contains(&text.len()) && text.bytes().all(is_scope_character)
}

/// `%x21 / %x23-5B / %x5D-7E` of RFC 6749 section 3.3.
fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse([text]).unwrap()
    }

    #[test]
    fn an_element_may_hold_several_scopes() {
        assert_eq!(Scopes::parse(["b a", "a"]).unwrap(), scopes("a b"));
        assert_eq!(scopes("sso:account:access  sso-portal:*").to_string(), "sso-portal:* sso:account:access");
    }

    #[test]
    fn characters_outside_the_rfc_are_refused() {
        for bad in ["a\"b", "a\\b", "ä", "a\tb", "\u{7f}"] {
            assert_eq!(Scopes::parse([bad]), Err(Refusal::InvalidScope), "{bad:?}");
        }
        let long = "x".repeat(129);
        assert_eq!(Scopes::parse([long.as_str()]), Err(Refusal::InvalidScope));
        let broad: Vec<String> = (0..20).map(|n| format!("{n:0>110}")).collect();
        assert_eq!(Scopes::parse(broad.iter().map(String::as_str)), Err(Refusal::InvalidScope));
        let many: Vec<String> = (0..65).map(|n| format!("s{n}")).collect();
        assert_eq!(Scopes::parse(many.iter().map(String::as_str)), Err(Refusal::InvalidScope));
    }

    #[test]
    fn narrowing_never_adds() {
        let granted = scopes("a b");
        assert_eq!(granted.narrow(&Scopes::default()), Ok(granted.clone()));
        assert_eq!(granted.narrow(&scopes("a")), Ok(scopes("a")));
        assert_eq!(granted.narrow(&scopes("a c")), Err(Refusal::InvalidScope));
    }
}
