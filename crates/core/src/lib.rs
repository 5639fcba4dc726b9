//! The rules of Doorward, as values and functions.
//!
//! This crate decides who may have which token. It owns the grants, the sessions, the directory of people and
//! accounts, and the contract of the store. It refuses to know HTTP, SQL, the clock, the random number generator
//! and cryptography: times, ids and already verified artefacts come in as values, and what comes out says what to
//! answer and what to write.
//!
//! Nothing here awaits anything but a [`store::Store`] read or commit.

pub mod application;
pub mod assignment;
pub mod client;
pub mod consent;
pub mod credentials;
pub mod device;
pub mod directory;
pub mod federated;
#[cfg(test)]
mod fixtures;
pub mod grant;
pub mod ids;
pub mod redirect;
pub mod refusal;
pub mod scope;
pub mod secret;
pub mod session;
pub mod signing_key;
pub mod store;
pub mod template;
pub mod time;
pub mod verdict;
