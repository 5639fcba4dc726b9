//! The brokers against an STS on a socket of this machine, which answers as real ones were seen to, or not at all.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

mod answers;
mod assume_role;
mod backend;
mod failures;
mod fixtures;
mod guarded;
mod logs;
mod options;
mod refusals;
mod web_identity;
