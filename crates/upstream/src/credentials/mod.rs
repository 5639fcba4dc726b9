//! Brokers of role credentials.

pub mod built_in;
