//! The device authorization endpoint: `POST /device_authorization`, form-encoded (RFC 8628 section 3.1).

use serde::Serialize;

use crate::fault::json;

/// The answer (RFC 8628 section 3.2).
#[derive(Serialize)]
pub struct Output<'a> {
    /// `device_code`.
    pub device_code: &'a str,
    /// `user_code`, to be typed.
    pub user_code: &'a str,
    /// Where.
    pub verification_uri: &'a str,
    /// The same with the code in it.
    pub verification_uri_complete: &'a str,
    /// Seconds until the codes expire.
    pub expires_in: u32,
    /// Seconds between polls.
    pub interval: u32,
}

impl Output<'_> {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json(self)
    }
}
