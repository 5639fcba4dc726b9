//! Sources of identity.

pub mod local;
pub mod oidc;
