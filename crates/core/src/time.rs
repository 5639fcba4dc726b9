//! Time as a value. Nothing in this crate reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the Unix epoch.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `lifetime` later.
    #[must_use]
    pub const fn plus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(lifetime.0 as i64 * 1000))
    }

    /// The moment `lifetime` earlier.
    #[must_use]
    pub const fn minus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_sub(lifetime.0 as i64 * 1000))
    }

    /// Whole seconds from `self` until `later`, rounded down; zero when `later` has passed.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u32 {
        u32::try_from(later.0.saturating_sub(self.0).max(0) / 1000).unwrap_or(u32::MAX)
    }
}

/// How long something lives, in whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lifetime(u32);

impl Lifetime {
    /// A lifetime of `seconds` seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// Seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// How long each artefact lives. Every value can be set by the operator.
#[derive(Clone, Debug)]
pub struct Lifetimes {
    /// Access token of a client that registered scopes (AWS: 3600 s).
    pub access_token: Lifetime,
    /// Access token and session of a client that registered none (AWS: 8 h, without a refresh token); never longer
    /// than `session`.
    pub legacy_access_token: Lifetime,
    /// A session: the longest a chain of refreshes lasts (AWS default: 8 h).
    pub session: Lifetime,
    /// A device authorization request, `expires_in` of RFC 8628 section 3.2 (AWS: 600 s).
    pub device_request: Lifetime,
    /// An authorization code (RFC 6749 section 4.1.2 advises at most 10 min).
    pub authorization_code: Lifetime,
    /// A client registration (AWS: 90 days).
    pub registration: Lifetime,
    /// How long the previous refresh token is answered again with its own successor.
    pub refresh_grace: Lifetime,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access_token: Lifetime::from_seconds(3600),
            legacy_access_token: Lifetime::from_seconds(28_800),
            session: Lifetime::from_seconds(28_800),
            device_request: Lifetime::from_seconds(600),
            authorization_code: Lifetime::from_seconds(300),
            registration: Lifetime::from_seconds(7_776_000),
            refresh_grace: Lifetime::from_seconds(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_until_is_zero_in_the_past_and_rounds_down() {
        let now = Timestamp::from_millis(10_500);
        assert_eq!(now.seconds_until(Timestamp::from_millis(12_499)), 1);
        assert_eq!(now.seconds_until(Timestamp::from_millis(9_000)), 0);
        assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    }

    #[test]
    fn moments_at_the_ends_of_time_saturate() {
        let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
        assert_eq!(first.seconds_until(last), u32::MAX);
        assert_eq!(last.seconds_until(first), 0);
        assert_eq!(last.plus(Lifetime::from_seconds(u32::MAX)), last);
        assert_eq!(first.minus(Lifetime::from_seconds(u32::MAX)), first);
        assert_eq!(Timestamp::from_seconds(i64::MAX), last);
    }
}
