//! Who calls with the credentials of an AWS identity: by a signature that this server checks itself, or by the word of an
//! STS.

pub mod caller_identity;
pub mod sigv4;
