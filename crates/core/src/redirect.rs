//! Redirect URIs: which may be registered, and when a presented one matches (RFC 8252 sections 7.3 and 8.3).

use serde::{Deserialize, Serialize};

/// The only loopback host accepted. AWS refuses `[::1]`, and RFC 8252 section 8.3 advises against `localhost`.
const LOOPBACK: &str = "http://127.0.0.1";
/// At most so many bytes in one URI.
pub(crate) const LONGEST_URI: usize = 512;

/// A redirect URI as registered or presented, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RedirectUri(String);

impl RedirectUri {
    /// Accepts a URI for registration: an `http` URI on `127.0.0.1`, with or without port and path, or one that
    /// the operator listed.
    ///
    /// # Errors
    /// The reason, for the caller's eyes.
    pub fn register(text: &str, listed: &[String]) -> Result<Self, &'static str> {
        if text.len() > LONGEST_URI {
            return Err("it is longer than 512 bytes");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it holds spaces or characters outside ASCII");
        }
        if text.contains('#') {
            return Err("it holds a fragment");
        }
        if listed.iter().any(|uri| uri == text) || Loopback::parse(text).is_some() {
            Ok(Self(text.to_owned()))
        } else {
            Err("only http://127.0.0.1 URIs and those the operator listed are accepted")
        }
    }

    /// A URI that an administrator listed for an application; the directory's check has looked at it.
    #[must_use]
    pub(crate) fn listed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether `presented` may be redirected to under this registration: equal byte for byte, but for the port of
    /// a loopback URI, which the client chooses each time.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        if presented.len() > LONGEST_URI {
            return false;
        }
        match (Loopback::parse(&self.0), Loopback::parse(presented)) {
            (Some(registered), Some(presented)) => registered.rest == presented.rest,
            _ => self.0 == presented,
        }
    }

    /// The URI as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `text` is an `http` URI on 127.0.0.1, at any port, without user name or fragment.
pub(crate) fn is_loopback(text: &str) -> bool {
    Loopback::parse(text).is_some()
}

/// A loopback URI in parts; only what follows the port takes part in matching.
struct Loopback<'a> {
    rest: &'a str,
}

impl<'a> Loopback<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let after_host = text.strip_prefix(LOOPBACK)?;
        let rest = match after_host.strip_prefix(':') {
            Some(after_colon) => {
                let digits = after_colon.bytes().take_while(u8::is_ascii_digit).count();
                let port = &after_colon[..digits];
                if port.starts_with('0') || port.parse::<u16>().is_err() {
                    return None;
                }
                &after_colon[digits..]
            }
            None => after_host,
        };
        let bounded = rest.is_empty() || rest.starts_with('/') || rest.starts_with('?');
        // A backslash is a path separator to browsers and a character to us; neither reading is safe.
        (bounded && !rest.contains(['\\', '#']) && rest.bytes().all(|b| b.is_ascii_graphic()))
            .then_some(Self { rest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(text: &str) -> Result<RedirectUri, &'static str> {
        RedirectUri::register(text, &["https://app.example/cb".to_owned()])
    }

    #[test]
    fn loopback_and_listed_uris_may_be_registered() {
        for good in [
            "http://127.0.0.1/oauth/callback",
            "http://127.0.0.1",
            "http://127.0.0.1:54321/oauth/callback",
            "https://app.example/cb",
        ] {
            assert!(register(good).is_ok(), "{good}");
        }
    }

    // Holds: rfc6749-3.1.2-no-fragment, rfc8252-8.3-localhost, rfc9700-2.6-no-plain-http-redirects
    #[test]
    fn nothing_else_may_be_registered() {
        for bad in [
            "http://evil.example/cb",
            "http://[::1]/cb",
            "http://localhost/cb",
            "https://127.0.0.1/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.1@evil.example/cb",
            "http://127.0.0.1:80@evil.example/cb",
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1/cb#x",
            "http://127.0.0.1/c b",
            "http://127.0.0.1\\@evil.example",
            "http://127.0.0.1/\\evil",
            "HTTP://127.0.0.1/cb",
            "https://app.example/cb/",
            "https://app.example/CB",
            "javascript:alert(1)",
            "127.0.0.1:8000/oauth/callback",
            "",
        ] {
            assert!(register(bad).is_err(), "{bad}");
        }
    }

    // Holds: rfc8252-7.3-any-port, rfc9700-2.1-exact-redirect-uri
    #[test]
    fn only_the_port_of_a_loopback_uri_is_free() {
        let registered = register("http://127.0.0.1/oauth/callback").unwrap();
        assert!(registered.matches("http://127.0.0.1:45343/oauth/callback"));
        assert!(registered.matches("http://127.0.0.1/oauth/callback"));
        for bad in [
            "http://127.0.0.1:45343/other",
            "http://127.0.0.1:45343/oauth/callback/",
            "http://127.0.0.1:45343/oauth/callback?x=1",
            "http://127.0.0.2:45343/oauth/callback",
            "http://127.0.0.1:45343@evil.example/oauth/callback",
            "http://127.0.0.1:45343/OAUTH/callback",
        ] {
            assert!(!registered.matches(bad), "{bad}");
        }
        let bare = register("http://127.0.0.1").unwrap();
        assert!(bare.matches("http://127.0.0.1:5555"));
        assert!(!bare.matches("http://127.0.0.1:5555/"));
        let listed = register("https://app.example/cb").unwrap();
        assert!(listed.matches("https://app.example/cb"));
        assert!(!listed.matches("https://app.example:444/cb"));
    }
}
