//! The OAuth 2.0 and OpenID Connect door, as applications and their verifiers use it.

mod client_authentication;
mod common;
mod dpop;
mod introspection;
mod metadata;
mod revocation;
mod signer;
mod authorize;
mod consent;
mod logout;
mod par;
mod relying_party;
mod token;
mod userinfo;
mod verifier;
