//! `[signing_keys]`: how the keys that sign what others verify take turns.

use doorward_core::signing_key::Rotation;
use doorward_core::time::Lifetime;
use serde::Deserialize;

/// `[signing_keys]`, in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeysConfig {
    /// How long a key signs before the next one does; 0 for ever, and 30 days when absent.
    rotate_after: Option<u32>,
    /// How long a key is published before it signs; an hour when absent.
    publish_ahead: Option<u32>,
}

impl SigningKeysConfig {
    /// How keys take turns.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn rotation(&self) -> Result<Rotation, String> {
        let mut rotation = Rotation::default();
        if let Some(seconds) = self.publish_ahead {
            // Whoever fetched the keys keeps them for up to half of it, and nodes need a quarter to see each other's keys.
            if !(10..=604_800).contains(&seconds) {
                return Err("publish_ahead must be 10 to 604800 seconds".to_owned());
            }
            rotation.publish_ahead = Lifetime::from_seconds(seconds);
        }
        if let Some(seconds) = self.rotate_after {
            // More often, and the keys that are still published would be more than their readers can bear.
            if seconds != 0 && !(3600..=31_536_000).contains(&seconds) {
                return Err("rotate_after must be 3600 to 31536000 seconds; or 0, and keys sign until they are rotated \
                            by hand"
                    .to_owned());
            }
            rotation.rotate_after = (seconds != 0).then(|| Lifetime::from_seconds(seconds));
        }
        let ahead = rotation.publish_ahead.seconds();
        if rotation.rotate_after.is_some_and(|after| after.seconds() < 2 * ahead) {
            return Err("rotate_after must be twice publish_ahead at least, or a key would retire before its successor is \
                        known"
                .to_owned());
        }
        Ok(rotation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn rotation(text: &str) -> Result<Rotation, String> {
        parse::<SigningKeysConfig>(text).unwrap().rotation()
    }

    #[test]
    fn keys_take_turns_every_thirty_days_unless_the_operator_says_otherwise() {
        let default = rotation("").unwrap();
        assert_eq!(default.rotate_after, Some(Lifetime::from_seconds(2_592_000)));
        assert_eq!((default.publish_ahead.seconds(), default.max_age().seconds()), (3600, 300));
        assert_eq!(rotation("rotate_after = 0").unwrap().rotate_after, None);
        let quick = rotation("rotate_after = 3600\npublish_ahead = 10").unwrap();
        assert_eq!((quick.max_age().seconds(), quick.look_every().seconds()), (5, 2));
    }

    #[test]
    fn a_rotation_that_verifiers_could_not_follow_is_refused() {
        for (text, key) in [
            ("publish_ahead = 9", "publish_ahead must"),
            ("publish_ahead = 0", "publish_ahead must"),
            ("publish_ahead = 604801", "publish_ahead must"),
            ("rotate_after = 3599", "rotate_after must be 3600"),
            ("rotate_after = 31536001", "rotate_after must be 3600"),
            ("rotate_after = 3600", "rotate_after must be twice"),
            ("publish_ahead = 604800\nrotate_after = 604801", "rotate_after must be twice"),
        ] {
            let why = rotation(text).unwrap_err();
            assert!(why.starts_with(key), "{text}: {why}");
        }
    }
}
