//! The OAuth 2.0 and OpenID Connect door: form-encoded requests, and what each of them owes before it is done.

#![cfg_attr(not(test), expect(dead_code, reason = "the endpoints that ask for it come next"))]

pub(crate) mod client;
pub(crate) mod dpop;
#[cfg(test)]
mod fixtures;
mod jws;
pub(crate) mod once;
