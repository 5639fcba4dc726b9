//! The contract, by backend.

use std::sync::{Arc, Mutex};

use doorward_core::store::Store;
use doorward_store::{MemoryStore, PostgresOptions, PostgresStore, contract};

use crate::Embedded;
use crate::postgres::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    contract::suite(async || Arc::new(MemoryStore::default()) as Arc<dyn Store>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn embedded() {
    // Directories live as long as the test.
    let opened = Mutex::new(Vec::new());
    contract::suite(async || {
        let embedded = Embedded::new();
        let store = embedded.store();
        opened.lock().unwrap().push(embedded);
        store
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    let server = Server::start().await;
    contract::suite(async || {
        let database = server.database().await;
        let options = PostgresOptions::from_url(&server.url(&database)).unwrap();
        Arc::new(PostgresStore::new(&options).unwrap()) as Arc<dyn Store>
    })
    .await;
}
