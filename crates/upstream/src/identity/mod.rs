//! Sources of identity.

pub mod local;
