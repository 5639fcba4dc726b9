//! Brokers of role credentials.

pub mod assume_role;
pub mod brokers;
pub mod built_in;
pub mod guarded;
mod session_name;
pub mod sts;
pub mod web_identity;
