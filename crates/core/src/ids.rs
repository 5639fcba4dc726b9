//! Names of things, each a type of its own so that two are never swapped.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Declares a 128-bit identifier that the server draws.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The identifier with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The identifier of something that begins at `now`: its milliseconds since the Unix epoch in 48 bits, then
            /// 80 random bits (as in RFC 9562 section 5.7, without the version). What begins together so lies together
            /// in a store's indexes, and is also used together: tokens that were issued in one minute are refreshed
            /// in one minute.
            #[must_use]
            pub fn drawn(now: Timestamp, random: [u8; 10]) -> Self {
                let [_, _, time @ ..] = now.millis().to_be_bytes();
                let mut bytes = [0; 16];
                bytes[..6].copy_from_slice(&time);
                bytes[6..].copy_from_slice(&random);
                Self(bytes)
            }

            /// The bytes, for storage and sealing.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        /// 32 lower-case hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let bad = || BadName { what: stringify!($name), rule: "32 hexadecimal digits" };
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
                    return Err(bad());
                }
                let mut bytes = [0; 16];
                for (at, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| bad())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

random_id! {
    /// A registered client. What travels as `clientId` is the sealed registration; this is its name inside.
    ClientId
}
random_id! {
    /// A session: the head of one chain of refresh tokens, or a person's browser.
    SessionId
}
random_id! {
    /// A device authorization request (RFC 8628).
    DeviceRequestId
}
random_id! {
    /// An authorization code (RFC 6749 section 4.1).
    CodeId
}
random_id! {
    /// What may be used once only: the hash of an identifier that somebody else drew (a `jti`), with whose it is.
    OnceId
}

impl ClientId {
    /// The id of an application: derived from its name (RFC 9562 section 5.5), and so the same on every node and after
    /// every change of the directory.
    #[must_use]
    pub fn of_application(id: &ApplicationId) -> Self {
        let name = format!("application {id}");
        Self(*uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, name.as_bytes()).as_bytes())
    }
}

impl From<DeviceRequestId> for SessionId {
    /// A redeemed device request becomes the session of the same id, so a second redemption collides.
    fn from(id: DeviceRequestId) -> Self {
        Self(id.0)
    }
}

impl From<CodeId> for SessionId {
    /// A redeemed authorization code becomes the session of the same id, so a second redemption collides.
    fn from(id: CodeId) -> Self {
        Self(id.0)
    }
}

/// A name that does not follow its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} must be {rule}")]
pub struct BadName {
    /// Which kind of name.
    pub what: &'static str,
    /// The rule, to follow "must be".
    pub rule: &'static str,
}

/// Declares a validated string name. It is shared when it is cloned, as every request does with some.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $name(Arc<str>);

        impl $name {
            #[doc = concat!("Parses the name: ", $rule, ".")]
            ///
            /// # Errors
            /// [`BadName`] naming the rule.
            pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, BadName> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(BadName { what: $what, rule: $rule }) }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = BadName;
            fn try_from(text: Arc<str>) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// The characters AWS allows in role, permission-set and session names: `[\w+=,.@-]`.
fn is_iam_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

/// The characters of user names: letters and digits of any script, and the signs of ASCII (identitystore model
/// `UserName`, without the signs that look like others or like none).
fn is_user_name_character(character: char) -> bool {
    character.is_ascii_graphic() || (!character.is_ascii() && character.is_alphanumeric())
}

name! {
    /// A person's user name, which is also the stable subject (`sub`) of what is issued to them.
    PersonId, "user name",
    "1 to 128 letters, digits and ASCII signs, without spaces",
    |text| (1..=128).contains(&text.chars().count()) && text.chars().all(is_user_name_character)
}
name! {
    /// An AWS account number.
    AccountId, "account number",
    "12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}
name! {
    /// A role as people see it in an account: the name of a permission set.
    RoleName, "role name",
    "1 to 64 characters of letters, digits, `_+=,.@-`",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(is_iam_character)
}
name! {
    /// A group of people. Identity sources name theirs as they like: `/ops/on call` is one.
    GroupName, "group name",
    "1 to 256 letters, digits and ASCII signs, with single spaces between them",
    |text| {
        (1..=256).contains(&text.chars().count())
            && text.split(' ').all(|word| !word.is_empty() && word.chars().all(is_user_name_character))
    }
}
name! {
    /// An application, as its `client_id` (RFC 6749 appendix A.1), or as the ARN by which CreateTokenWithIAM knows it.
    ApplicationId, "client id",
    "1 to 200 letters, digits and `-._~:/`",
    |text| {
        (1..=200).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte))
    }
}
name! {
    /// An issuer whose assertions are accepted (RFC 7523), as the configuration names it.
    IssuerName, "trusted issuer name",
    "1 to 64 lower-case letters, digits and `-`",
    is_label
}
name! {
    /// A credential broker, as the configuration names it.
    BrokerName, "broker name",
    "1 to 64 lower-case letters, digits and `-`",
    is_label
}
name! {
    /// An identity source, as the configuration names it.
    SourceName, "identity source name",
    "1 to 64 lower-case letters, digits and `-`",
    is_label
}

fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_nothing_else_does() {
        let id = SessionId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "00", "+0112233445566778899aabbccddeeff0", "ZZ112233445566778899aabbccddeeff"] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_in_the_order_in_which_they_were_drawn() {
        let drawn = |millis, random| SessionId::drawn(Timestamp::from_millis(millis), [random; 10]);
        let ids = [drawn(0, 9), drawn(255, 9), drawn(256, 0), drawn(1_800_000_000_123, 7), drawn(1 << 47, 0)];
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(ids[3].to_string(), "01a3185c507b07070707070707070707");
    }

    #[test]
    fn names_keep_their_rules() {
        assert!(AccountId::parse("111122223333").is_ok());
        assert!(AccountId::parse("11112222333").is_err());
        assert!(AccountId::parse("１11122223333").is_err());
        assert!(RoleName::parse("Read+Only@x").is_ok());
        assert!(RoleName::parse("").is_err());
        assert!(RoleName::parse("a b").is_err());
        for good in ["alice@example.com", "o'brien@example.com", "jürgen", "大山", "a/b"] {
            assert!(PersonId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "alice\n", "al ice", "ali\u{202e}ce", "ali\u{200b}ce", "a\u{a0}b", &"x".repeat(129)] {
            assert!(PersonId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(GroupName::parse("/ops/on call").is_ok());
        for bad in ["", " ops", "ops ", "on  call", "a\tb"] {
            assert!(GroupName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(BrokerName::parse("ceph-2").is_ok() && BrokerName::parse("Ceph").is_err());
    }
}
