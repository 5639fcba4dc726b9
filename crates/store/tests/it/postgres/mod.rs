//! The PostgreSQL backend: several nodes on one database, and a database that fails.

mod faults;
mod migrations;
mod nodes;
mod outages;
mod proxy;
pub(crate) mod server;
mod tls;

use std::sync::Arc;

use doorward_core::store::Store;
use doorward_store::PostgresStore;
use server::Server;

/// `count` nodes on a database of their own.
pub(crate) async fn nodes(server: &Server, count: usize) -> (String, Vec<Arc<dyn Store>>) {
    let database = server.database().await;
    let nodes = (0..count).map(|_| shared(server.node(&database))).collect();
    (database, nodes)
}

fn shared(store: PostgresStore) -> Arc<dyn Store> {
    Arc::new(store)
}
