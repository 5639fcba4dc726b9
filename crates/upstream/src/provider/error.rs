//! Why a provider's word was not taken.

use std::fmt;

/// Where it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the browser brought back.
    Callback,
    /// The discovery document.
    Discovery,
    /// The signing keys.
    Keys,
    /// The token endpoint.
    TokenEndpoint,
    /// The ID token.
    IdToken,
    /// An assertion (RFC 7523).
    Assertion,
    /// The userinfo endpoint.
    UserInfo,
    /// What the claims say of the person.
    Claims,
}

impl Step {
    /// The name in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Discovery => "discovery",
            Self::Keys => "keys",
            Self::TokenEndpoint => "token_endpoint",
            Self::IdToken => "id_token",
            Self::Assertion => "assertion",
            Self::UserInfo => "userinfo",
            Self::Claims => "claims",
        }
    }
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The source does not, or not any more, stand by this person.
    Denied,
    /// What came does not pass a check, so that nothing is known.
    Invalid,
    /// The source answers, but cannot be used as it and this server are configured: an operator must mend that.
    Unusable,
    /// The source does not answer, or says that it cannot (5xx and 429).
    Unreachable,
}

/// Why a provider's word was not taken. The text is for the operator, and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct OidcError {
    /// What it means.
    pub kind: Kind,
    /// Where it stopped.
    pub step: Step,
    /// What exactly was wrong.
    pub reason: String,
}

impl fmt::Display for OidcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step.as_str(), self.reason)
    }
}

impl OidcError {
    pub(crate) fn denied(step: Step, reason: impl Into<String>) -> Self {
        Self { kind: Kind::Denied, step, reason: reason.into() }
    }

    pub(crate) fn invalid(step: Step, reason: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, step, reason: reason.into() }
    }

    pub(crate) fn unusable(step: Step, reason: impl Into<String>) -> Self {
        Self { kind: Kind::Unusable, step, reason: reason.into() }
    }
}

/// What a stranger wrote, as a log may show it: quoted, and not without end.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 200;
    let cut: String = text.chars().take(LONGEST).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    format!("{cut:?}{more}")
}
