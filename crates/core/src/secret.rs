//! Values that must not be seen: redacted `Debug`, no `Display`, and one loud way out.

use std::fmt;

use subtle::ConstantTimeEq;

/// Declares a text secret with redacted `Debug` and constant-time equality.
macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(String);

        impl $name {
            /// Wraps the secret text.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The secret itself: for the wire, and nothing else.
            #[must_use]
            pub fn reveal(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
            }
        }

        impl Eq for $name {}
    };
}

secret_text! {
    /// `clientSecret` of RegisterClient.
    ClientSecret
}
secret_text! {
    /// `accessToken` of CreateToken.
    AccessToken
}
secret_text! {
    /// `refreshToken` of CreateToken.
    RefreshToken
}
secret_text! {
    /// `assertion` (RFC 7523): good for its subject until it was used.
    Assertion
}
secret_text! {
    /// The refresh token that an identity source gave, to be asked about a person with.
    SourceRefreshToken
}
secret_text! {
    /// `deviceCode` of StartDeviceAuthorization.
    DeviceCode
}
secret_text! {
    /// `code` of the authorization code grant.
    AuthorizationCode
}
secret_text! {
    /// `codeVerifier` of RFC 7636.
    CodeVerifier
}
secret_text! {
    /// What a person types to sign in.
    Password
}
secret_text! {
    /// The secret part of role credentials.
    SecretAccessKey
}
secret_text! {
    /// The session token of role credentials.
    SessionToken
}

/// The longest and shortest verifier of RFC 7636 section 4.1.
const VERIFIER_LENGTH: std::ops::RangeInclusive<usize> = 43..=128;

impl CodeVerifier {
    /// Parses a verifier: 43 to 128 unreserved characters (RFC 7636 section 4.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = VERIFIER_LENGTH.contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        valid.then(|| Self::new(text))
    }
}

/// An S256 code challenge: the SHA-256 of a verifier (RFC 7636 section 4.2), or what a client sent as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct CodeChallenge([u8; 32]);

impl CodeChallenge {
    /// The challenge with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether `proof`, computed from the presented verifier, is this challenge; in constant time.
    #[must_use]
    pub fn is_met_by(&self, proof: &Self) -> bool {
        self.0.ct_eq(&proof.0).into()
    }
}

/// The thumbprint of a public key (RFC 7638, SHA-256): `jkt` of RFC 9449.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct KeyThumbprint([u8; 32]);

impl KeyThumbprint {
    /// The thumbprint with these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, which are public.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The letters of a user code: the 20 consonants of RFC 8628 section 6.1, which spell no words.
const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many letters a user code has.
const USER_CODE_LENGTH: usize = 8;

/// What a person types on the device page: eight letters, shown as `XXXX-XXXX`, 34.5 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserCode([u8; USER_CODE_LENGTH]);

impl UserCode {
    /// The code for 64 random bits. 20^8 divides 2^64 so nearly that no code is favoured by more than 2^-29.
    #[must_use]
    pub fn from_entropy(mut bits: u64) -> Self {
        let mut letters = [0; USER_CODE_LENGTH];
        for letter in &mut letters {
            // The remainder is below 20, so it indexes the table and fits.
            *letter = USER_CODE_LETTERS[(bits % 20) as usize];
            bits /= 20;
        }
        Self(letters)
    }

    /// Reads what a person typed: case, dashes and white space do not matter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > 64 {
            return None;
        }
        let typed = text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase());
        let mut letters = [0; USER_CODE_LENGTH];
        let mut count = 0;
        for letter in typed {
            let letter = u8::try_from(letter).ok().filter(|letter| USER_CODE_LETTERS.contains(letter))?;
            *letters.get_mut(count)? = letter;
            count += 1;
        }
        (count == USER_CODE_LENGTH).then_some(Self(letters))
    }

    /// The code as people see it, `XXXX-XXXX`.
    #[must_use]
    pub fn reveal(&self) -> String {
        let letter = |at: usize| char::from(self.0[at]);
        (0..4).map(letter).chain(['-']).chain((4..8).map(letter)).collect()
    }

    /// The letters, to be hashed with the server's key before anything is looked up or stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; USER_CODE_LENGTH] {
        &self.0
    }
}

impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserCode(…)")
    }
}

/// A user code as the store knows it: hashed with a key of the server, because eight letters can be guessed
/// off-line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UserCodeHash([u8; 16]);

impl UserCodeHash {
    /// The hash with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for storage.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = UserCode::from_entropy(0x0123_4567_89ab_cdef);
        let shown = code.reveal();
        assert_eq!(shown.len(), 9);
        for typed in [
            shown.clone(),
            shown.to_lowercase(),
            shown.replace('-', ""),
            format!("  {} ", shown.replace('-', " ")),
        ] {
            assert_eq!(UserCode::parse(&typed), Some(code), "{typed}");
        }
        for bad in ["", "BCDF-GHJ", "BCDF-GHJKL", "AEIO-UAEI", "BCDF-GHJ1", "BCDF-GHJ\u{212a}"] {
            assert_eq!(UserCode::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", RefreshToken::new("hunter2")), "RefreshToken(…)");
        assert_eq!(format!("{:?}", UserCode::from_entropy(7)), "UserCode(…)");
    }

    // Holds: rfc7636-4.1-verifier-syntax
    #[test]
    fn a_verifier_has_43_to_128_unreserved_characters() {
        assert!(CodeVerifier::parse(&"a".repeat(43)).is_some());
        assert!(CodeVerifier::parse(&"a".repeat(128)).is_some());
        for bad in ["a".repeat(42), "a".repeat(129), format!("{}+", "a".repeat(50))] {
            assert!(CodeVerifier::parse(&bad).is_none());
        }
    }
}
