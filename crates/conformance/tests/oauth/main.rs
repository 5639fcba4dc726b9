//! The OAuth 2.0 and OpenID Connect door, as applications and their verifiers use it.

mod authorize;
mod consent;
mod logout;
mod par;
mod token;
mod verifier;
