//! HTTP: the routing table, what every request and answer owes, and the sockets.

pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod envelope;
pub mod listen;
pub mod proxy;
pub(crate) mod received;
pub mod routes;
pub mod tls;
