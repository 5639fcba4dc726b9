//! The security ledger: what went wrong in other servers of this kind, one test for each lesson, named by its line.
//! What is about stored state runs on every store.
//!
//! Lines are tested elsewhere too, where what they are about is. `docs/conformance.md` lists every line with all of its tests, and
//! those that cannot apply with the reason.

mod apart;
mod browsers;
mod clients;
mod development;
mod limits;
mod sessions;
mod sockets;
