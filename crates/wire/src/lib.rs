//! What travels: the JSON shapes of the services `sso-oidc` and `sso` (API version 2019-06-10), and their faults.
//!
//! This crate alone knows an AWS error name, a status or a member's spelling. It refuses to know stores, clocks,
//! keys and sockets.

pub mod decode;
pub mod fault;
pub mod model;
pub mod oauth;
pub mod oidc;
pub mod portal;
