//! The keys that sign what others verify, and when which of them does.
//!
//! All nodes share them, so a store keeps them, and a private key only sealed. Of each algorithm one key signs. The next one is
//! published for a while before it does, so that whoever fetched the keys lately has it by then; the ones before stay
//! published until everything that they signed has expired. Which is which follows from the time alone: no node has to
//! do anything at the moment at which one key takes over from another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::{Lifetime, Timestamp};

/// How long a key is published after it has signed for the last time: the longest life of anything it signed (12 h), and an
/// hour, since a node may sign with it a little longer while it cannot see the store.
pub const KEPT_PUBLISHED: Lifetime = Lifetime::from_seconds(43_200 + 3_600);

/// How many keys of one algorithm are published at most: every reader of the key set reads all of them. Rotating every hour
/// comes to fifteen.
pub const MOST_KEYS: usize = 20;

/// All signing keys, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SigningKeys {
    /// Counts the replacements; 0 until there was one.
    pub version: u64,
    /// The keys.
    pub keys: Vec<SigningKey>,
}

/// A signing key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// `kid` (RFC 7517 section 4.5).
    pub id: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it begins to sign; until then it is only published. A record without it is of the time when there was one key,
    /// which signed at once.
    #[serde(default = "always")]
    pub signs_from: Timestamp,
    /// The private key in PKCS #8, sealed under the master key.
    pub sealed: String,
    /// A certificate of the public key in DER, signed with the key itself, for those who ask for `x5c`; empty for keys
    /// that are not RSA.
    #[serde(default)]
    pub certificate: Vec<u8>,
}

const fn always() -> Timestamp {
    Timestamp::from_seconds(0)
}

/// A signature algorithm (RFC 7518 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what every STS understands.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256: short and fast.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// `EdDSA` with Ed25519 (RFC 8037 section 3.1).
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlgorithm {
    /// All of them, in the order in which their keys are published: some services read only the first key, and know RSA
    /// only.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// Its name in `alg` (RFC 7515 section 4.1.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a key is for at a moment. In the order in which keys of an algorithm are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyState {
    /// It signs.
    Active,
    /// It is published, and going to sign.
    Next,
    /// It signs no more, and is published until this moment, when all that it signed has expired.
    Retired(Timestamp),
}

/// How keys take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long a key signs; for ever if [`None`].
    pub rotate_after: Option<Lifetime>,
    /// How long a key is published before it signs.
    pub publish_ahead: Lifetime,
}

impl Default for Rotation {
    /// 30 days; and an hour, which is longer than anything caches a key set.
    fn default() -> Self {
        Self {
            rotate_after: Some(Lifetime::from_seconds(30 * 86_400)),
            publish_ahead: Lifetime::from_seconds(3600),
        }
    }
}

impl Rotation {
    /// How long others may keep the published keys: five minutes, and half of [`publish_ahead`](Self::publish_ahead) at
    /// most. Whoever keeps them no longer than that has a key before it signs.
    #[must_use]
    pub fn max_age(&self) -> Lifetime {
        Lifetime::from_seconds((self.publish_ahead.seconds() / 2).min(300))
    }

    /// How often a node looks at the store: a quarter of [`publish_ahead`](Self::publish_ahead), so that every node publishes
    /// a key while others still have time to fetch it; and every ten seconds at least, for that is how long a node may go
    /// on with a key that was replaced because it leaked.
    #[must_use]
    pub fn look_every(&self) -> Lifetime {
        Lifetime::from_seconds((self.publish_ahead.seconds() / 4).clamp(1, 10))
    }
}

impl SigningKeys {
    /// The key that signs with `algorithm` at this moment. If all are still to come, as when a clock was put back, it is the
    /// first to come.
    #[must_use]
    pub fn active(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&SigningKey> {
        let begun = self.of(algorithm).filter(|key| key.signs_from <= now);
        begun.max_by_key(|key| key.signs_from).or_else(|| self.of(algorithm).min_by_key(|key| key.signs_from))
    }

    /// The key that is going to sign with `algorithm`, if it was made already.
    #[must_use]
    pub fn next(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&SigningKey> {
        self.of(algorithm).find(|key| self.state(key, now) == KeyState::Next)
    }

    fn of(&self, algorithm: SigningAlgorithm) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |key| key.algorithm == algorithm)
    }

    /// What one of these keys is for.
    #[must_use]
    pub fn state(&self, key: &SigningKey, now: Timestamp) -> KeyState {
        if self.active(key.algorithm, now).is_some_and(|active| active.id == key.id) {
            return KeyState::Active;
        }
        if key.signs_from > now {
            return KeyState::Next;
        }
        let successors = self.of(key.algorithm).filter(|other| other.signs_from > key.signs_from);
        // Another began after it, since it is not the active one.
        let ended = successors.map(|other| other.signs_from).min().unwrap_or(key.signs_from);
        KeyState::Retired(ended.plus(KEPT_PUBLISHED))
    }

    /// The keys that others verify with: all but those that retired long ago. The active RSA key is the first.
    #[must_use]
    pub fn published(&self, now: Timestamp) -> Vec<(&SigningKey, KeyState)> {
        let mut published: Vec<_> = self
            .keys
            .iter()
            .map(|key| (key, self.state(key, now)))
            .filter(|(_, it)| !it.is_over(now))
            .collect();
        published.sort_by_key(|(key, state)| (key.algorithm, *state));
        published
    }

    /// Whether others may verify with one of these keys.
    #[must_use]
    pub fn is_published(&self, key: &SigningKey, now: Timestamp) -> bool {
        !self.state(key, now).is_over(now)
    }

    /// The algorithms for which it is time to make the next key.
    #[must_use]
    pub fn due(&self, rotation: &Rotation, now: Timestamp) -> Vec<SigningAlgorithm> {
        let Some(after) = rotation.rotate_after else { return Vec::new() };
        let due = |algorithm: &SigningAlgorithm| {
            let Some(active) = self.active(*algorithm, now) else { return false };
            let ends = active.signs_from.max(active.made_at).plus(after);
            now >= ends.minus(rotation.publish_ahead)
                && self.next(*algorithm, now).is_none()
                && self.has_room(*algorithm, now)
        };
        SigningAlgorithm::ALL.into_iter().filter(due).collect()
    }

    /// Whether another key of this algorithm may be made: there are not too many yet ([`MOST_KEYS`]).
    #[must_use]
    pub fn has_room(&self, algorithm: SigningAlgorithm, now: Timestamp) -> bool {
        self.of(algorithm).filter(|key| self.is_published(key, now)).count() < MOST_KEYS
    }

    /// The keys that are of no more use.
    pub fn expired(&self, now: Timestamp) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().filter(move |key| !self.is_published(key, now))
    }
}

impl KeyState {
    fn is_over(self, now: Timestamp) -> bool {
        matches!(self, Self::Retired(until) if until <= now)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("made_at", &self.made_at)
            .field("signs_from", &self.signs_from)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, just_before, later};

    const ROTATION: Rotation = Rotation {
        rotate_after: Some(Lifetime::from_seconds(100_000)),
        publish_ahead: Lifetime::from_seconds(1000),
    };

    fn key(id: &str, algorithm: SigningAlgorithm, made_at: u32, signs_from: u32) -> SigningKey {
        SigningKey {
            id: id.to_owned(),
            algorithm,
            made_at: later(made_at),
            signs_from: later(signs_from),
            sealed: String::new(),
            certificate: Vec::new(),
        }
    }

    fn keys(keys: &[SigningKey]) -> SigningKeys {
        SigningKeys { version: 1, keys: keys.to_vec() }
    }

    fn published(keys: &SigningKeys, now: Timestamp) -> Vec<(&str, KeyState)> {
        keys.published(now).into_iter().map(|(key, state)| (key.id.as_str(), state)).collect()
    }

    // Holds: openid-connect-core-10.1.1-rotation
    #[test]
    fn a_key_is_published_then_signs_and_stays_until_all_it_signed_has_expired() {
        use KeyState::{Active, Next, Retired};
        let keys = keys(&[
            key("one", SigningAlgorithm::Es256, 0, 0),
            key("two", SigningAlgorithm::Es256, 500, 1500),
        ]);
        assert_eq!(published(&keys, later(500)), [("one", Active), ("two", Next)]);
        assert_eq!(published(&keys, just_before(later(1500))), [("one", Active), ("two", Next)]);
        let until = later(1500).plus(KEPT_PUBLISHED);
        assert_eq!(published(&keys, later(1500)), [("two", Active), ("one", Retired(until))]);
        assert_eq!(published(&keys, just_before(until)), [("two", Active), ("one", Retired(until))]);
        assert!(keys.expired(just_before(until)).next().is_none());
        assert_eq!(published(&keys, until), [("two", Active)]);
        assert_eq!(keys.expired(until).map(|key| key.id.as_str()).collect::<Vec<_>>(), ["one"]);
        assert!(43_200 < KEPT_PUBLISHED.seconds(), "the longest life of a token");
        assert_eq!(
            published(&keys, NOW.minus(KEPT_PUBLISHED)),
            [("one", Active), ("two", Next)],
            "a clock of long ago"
        );
    }

    #[test]
    fn the_active_rsa_key_is_the_first_and_algorithms_take_turns_by_themselves() {
        let keys = keys(&[
            key("edwards", SigningAlgorithm::EdDsa, 0, 0),
            key("curve", SigningAlgorithm::Es256, 0, 0),
            key("old rsa", SigningAlgorithm::Rs256, 0, 0),
            key("rsa", SigningAlgorithm::Rs256, 10, 20),
            key("next rsa", SigningAlgorithm::Rs256, 30, 500),
        ]);
        let ids: Vec<_> = published(&keys, later(100)).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, ["rsa", "next rsa", "old rsa", "curve", "edwards"]);
        let active = |algorithm| keys.active(algorithm, later(100)).unwrap().id.as_str();
        assert_eq!(SigningAlgorithm::ALL.map(active), ["rsa", "curve", "edwards"]);
        assert_eq!(keys.next(SigningAlgorithm::Rs256, later(100)).unwrap().id, "next rsa");
        assert_eq!(keys.next(SigningAlgorithm::Es256, later(100)), None);
        assert_eq!(SigningKeys::default().active(SigningAlgorithm::Rs256, NOW), None);
    }

    #[test]
    fn the_next_key_is_made_as_long_ahead_as_it_is_to_be_published_and_once() {
        let one = key("one", SigningAlgorithm::Es256, 0, 0);
        let alone = keys(std::slice::from_ref(&one));
        let due = later(100_000 - 1000);
        assert!(alone.due(&ROTATION, just_before(due)).is_empty());
        assert_eq!(alone.due(&ROTATION, due), [SigningAlgorithm::Es256]);
        let for_ever = Rotation { rotate_after: None, ..ROTATION };
        assert!(alone.due(&for_ever, later(u32::MAX)).is_empty());
        let both = keys(&[one, key("two", SigningAlgorithm::Es256, 99_000, 100_000)]);
        assert!(both.due(&ROTATION, due).is_empty());
        assert!(both.due(&ROTATION, later(198_999)).is_empty());
        assert_eq!(both.due(&ROTATION, later(199_000)), [SigningAlgorithm::Es256]);
    }

    #[test]
    fn there_are_never_more_keys_than_readers_can_bear() {
        let many = (0..MOST_KEYS).map(|n| {
            let at = u32::try_from(n).unwrap();
            key(&format!("{n}"), SigningAlgorithm::Es256, at, at)
        });
        let full = keys(&many.collect::<Vec<_>>());
        assert!(
            !full.has_room(SigningAlgorithm::Es256, later(100))
                && full.has_room(SigningAlgorithm::Rs256, NOW)
        );
        let often = Rotation { rotate_after: Some(Lifetime::from_seconds(1000)), ..ROTATION };
        assert!(full.due(&often, later(2000)).is_empty());
        let when_the_first_is_over = later(1).plus(KEPT_PUBLISHED);
        assert_eq!(full.due(&often, when_the_first_is_over), [SigningAlgorithm::Es256]);
    }

    #[test]
    fn a_key_of_the_time_of_one_key_signs_at_once() {
        let old = SigningKey { signs_from: always(), ..key("a", SigningAlgorithm::Rs256, 0, 0) };
        let kept = keys(&[old]);
        assert_eq!(published(&kept, NOW), [("a", KeyState::Active)]);
        // Its time began when it was made.
        assert!(kept.due(&ROTATION, just_before(later(99_000))).is_empty());
        assert_eq!(kept.due(&ROTATION, later(99_000)), [SigningAlgorithm::Rs256]);
    }

    #[test]
    fn who_keeps_the_keys_as_long_as_they_may_has_a_key_before_it_signs() {
        for ahead in [10, 11, 40, 600, 3600, 604_800] {
            let rotation = Rotation { publish_ahead: Lifetime::from_seconds(ahead), ..Rotation::default() };
            let seen_at_the_latest = rotation.look_every().seconds() + rotation.max_age().seconds();
            assert!(seen_at_the_latest < ahead, "{ahead}");
            assert!(
                (1..=300).contains(&rotation.max_age().seconds()) && rotation.look_every().seconds() >= 1
            );
        }
    }
}
