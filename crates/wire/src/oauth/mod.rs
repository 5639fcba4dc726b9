//! OAuth 2.0 and OpenID Connect.

pub mod metadata;
