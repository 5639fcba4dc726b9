//! The contract, by backend.

use std::sync::{Arc, Mutex};

use doorward_core::store::Store;
use doorward_store::{MemoryStore, contract};

use crate::Embedded;

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
