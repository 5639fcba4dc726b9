//! How the OAuth endpoints say no (RFC 6749 section 5.2). What is said is the same as to the AWS clients, in the same
//! words; what differs is around it: no exception's name, and a challenge with every 401.

use http::StatusCode;

use crate::fault::OidcFault;

/// The scheme that a client is asked to authenticate with (RFC 6749 section 5.2, RFC 7617).
pub const CHALLENGE: &str = "Basic realm=\"doorward\", charset=\"UTF-8\"";

/// A fault as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The value of `WWW-Authenticate`.
    pub challenge: Option<&'static str>,
    /// The JSON body.
    pub body: Vec<u8>,
}

impl Answer {
    /// `what` as it travels.
    #[must_use]
    pub fn of(what: &OidcFault) -> Self {
        let envelope = what.envelope();
        let challenge = (envelope.status == StatusCode::UNAUTHORIZED).then_some(CHALLENGE);
        Self { status: envelope.status, challenge, body: envelope.body }
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::refusal::Refusal;

    use super::*;

    // Holds: rfc6749-5.2-challenge, rfc6749-5.2-errors
    #[test]
    fn only_a_client_that_is_not_known_is_challenged() {
        let answer = |refusal| Answer::of(&OidcFault::Refused(refusal));
        let unknown = answer(Refusal::InvalidClient);
        assert_eq!((unknown.status.as_u16(), unknown.challenge), (401, Some(CHALLENGE)));
        let refused = answer(Refusal::InvalidGrant);
        assert_eq!((refused.status.as_u16(), refused.challenge), (400, None));
        let body: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(body["error"], "invalid_grant");
        assert_eq!(Answer::of(&OidcFault::Internal).status.as_u16(), 500);
    }
}
