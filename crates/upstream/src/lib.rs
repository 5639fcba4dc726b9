//! Where people and role credentials come from: whatever is, or stands for, somebody else's server.
//!
//! One file a source. This crate refuses to know the wire and the store.

pub mod credentials;
pub mod iam;
pub mod identity;
mod provider;
