//! Answers of the server, whole.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

/// An answer of the server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the server speaks UTF-8")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is not JSON: {error}: {}", self.status, self.text()))
    }

    /// A member of the body that must be a string.
    #[must_use]
    pub fn member(&self, name: &str) -> String {
        let body = self.json();
        let member = body[name].as_str();
        member.unwrap_or_else(|| panic!("{name} is no string in {} {body}", self.status)).to_owned()
    }

    /// A header; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// The exception by which SDKs choose an error's class.
    #[must_use]
    pub fn exception(&self) -> &str {
        self.header("x-amzn-errortype")
    }

    /// Where the browser is sent.
    #[must_use]
    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// A parameter of the query of the address that the browser is sent to.
    #[must_use]
    pub fn location_parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.location().split_once('?')?;
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into())
    }

    /// This answer, which must be 200.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "an assertion, which may be all that a test wants")]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Asserts a complete error of sso-oidc.
    #[track_caller]
    pub fn assert_oidc_error(&self, status: u16, exception: &str, error: &str) {
        self.assert_error(status, exception);
        let body = self.json();
        assert_eq!(body["error"], error, "{body}");
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    }

    /// Asserts a complete error of the portal, and answers its message.
    #[track_caller]
    pub fn assert_portal_error(&self, status: u16, exception: &str) -> String {
        self.assert_error(status, exception);
        let body = self.json();
        assert_eq!(body["__type"], format!("com.amazonaws.switchboard.portal#{exception}"), "{body}");
        assert!(!self.member("message").is_empty(), "{body}");
        self.member("message")
    }

    #[track_caller]
    fn assert_error(&self, status: u16, exception: &str) {
        let got = (self.status.as_u16(), self.exception());
        assert_eq!(got, (status, exception), "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/json");
    }
}
