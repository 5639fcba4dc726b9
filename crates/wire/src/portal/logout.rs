//! Logout: `POST /logout`. Its request has nothing but the token, and its answer nothing at all.

/// The body of the answer.
#[must_use]
pub fn encode() -> Vec<u8> {
    b"{}".to_vec()
}
