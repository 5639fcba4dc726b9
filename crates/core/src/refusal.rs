//! Every way to say no to a caller, without HTTP.
//!
//! A refusal is the caller's to mend. What is ours to mend is a [`crate::store::Outage`], and there is no
//! conversion between the two: a failing store must never look like an answer of the protocol.

/// Why a request of the OIDC service is refused. The wire crate maps each to its AWS exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed; the text names the member and the rule.
    InvalidRequest(String),
    /// Unknown client, wrong secret, or expired registration.
    InvalidClient,
    /// The code, device code or grant is unknown, used, expired, or somebody else's.
    InvalidGrant,
    /// The refresh token is unknown, used up, revoked, past its session, or somebody else's. Apart from
    /// [`Refusal::InvalidGrant`] because clients compare the text of its description.
    InvalidRefreshToken,
    /// The person has not agreed that the application may have this, and there is nobody here to ask.
    ConsentRequired,
    /// The client did not register for this grant.
    UnauthorizedClient,
    /// No such grant type.
    UnsupportedGrantType,
    /// A scope that is malformed, not allowed, or was not granted.
    InvalidScope,
    /// Nobody has approved the device request yet.
    AuthorizationPending,
    /// Too many requests.
    SlowDown,
    /// The person denied the request.
    AccessDenied,
    /// The device code has expired.
    ExpiredToken,
    /// A member of a registration has a value this server does not support; the text names it.
    InvalidClientMetadata(String),
    /// A redirect URI that may not be registered; the text says which and why.
    InvalidRedirectUri(String),
    /// A resource (RFC 8707) or audience (RFC 8693) that the client may have no token for, or that was not granted.
    InvalidTarget,
    /// The DPoP proof is missing, malformed, or proves another key (RFC 9449); the text says what is wrong.
    InvalidDpopProof(String),
    /// The DPoP proof must hold a nonce that this server gave (RFC 9449 section 8).
    UseDpopNonce,
}

/// Why a request of the portal is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalRefusal {
    /// A parameter is missing or malformed; the text names it and the rule.
    InvalidRequest(String),
    /// The access token is missing, unknown, expired, of an ended session, or without account access.
    Unauthorized,
    /// The token is good, but its person has no such role. Apart from [`PortalRefusal::Unauthorized`] because
    /// clients throw their token away on that one.
    NoAccess,
    /// Too many requests.
    TooManyRequests,
}
