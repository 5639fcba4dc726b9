//! Doorward's stores, and the contract they all pass.
//!
//! This crate keeps sessions, device requests, what was used once, the directory and a few records behind
//! `doorward_core::store::Store`, and writes guarded changes. It refuses to know why a change is made: it decides nothing but whether a guard holds.
//!
//! [`open_directory`] is for a process that replaces the directory beside a running server.
//!
//! [`copy`] makes backups, and moves everything from one backend to another.
//!
//! [`open`](open::open) is the one list of backends. A new backend is a new line there and one more run of
//! [`contract::suite`].

mod access;
mod allowances;
mod columns;
#[expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "the contract is a test suite in a library: it reports by panicking"
)]
pub mod contract;
pub mod copy;
mod devices;
pub mod embedded;
pub mod memory;
pub mod open;
pub mod postgres;
mod records;
mod terms;

pub use access::{DirectoryAccess, open_directory};
pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;
pub use open::{Closer, Location, OpenError, Opened, open};
pub use postgres::{PostgresOptions, PostgresStore};
