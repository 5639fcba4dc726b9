//! The OAuth 2.0 and OpenID Connect door, as applications and their verifiers use it.

mod metadata;
mod token;
mod verifier;
