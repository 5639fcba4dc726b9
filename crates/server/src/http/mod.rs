//! HTTP: the routing table, what every request and answer owes, and the sockets.

pub(crate) mod answer;
pub(crate) mod api;
pub mod listen;
pub(crate) mod metadata;
pub mod proxy;
pub(crate) mod received;
pub(crate) mod routes;
pub mod server;
pub mod tls;
pub(crate) mod trouble;
