//! What everybody needs who takes the word of an OpenID provider: asking it, its keys, and its claims.

pub(crate) mod claims;
pub(crate) mod discovery;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod keys;
