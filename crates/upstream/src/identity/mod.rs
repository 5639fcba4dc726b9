//! Sources of identity.

pub mod assertions;
pub mod local;
pub mod oidc;
