//! The OAuth 2.0 and OpenID Connect door, as applications and their verifiers use it.

mod authorize;
mod binding;
mod client_authentication;
mod common;
mod consent;
mod dpop;
mod grants;
mod introspection;
mod logout;
mod metadata;
mod par;
mod relying_party;
mod revocation;
mod rotation;
mod sign_in;
mod signer;
mod telling;
mod token;
mod userinfo;
mod verifier;
