//! What every backend must do, as a test suite that any of them can be put through.
//!
//! [`suite`] opens a fresh store for each rule. A rule that does not hold panics with its place in these files.

use std::sync::Arc;

use doorward_core::store::Store;

mod allowances;
mod atomicity;
mod devices;
mod directories;
pub mod fixtures;
mod once;
mod races;
mod records;
mod sessions;
mod terms;

/// Runs every rule on stores of their own, which `open` makes: empty, and of the backend to be tested. Needs a
/// tokio runtime of several threads, or the races are none.
pub async fn suite(open: impl AsyncFn() -> Arc<dyn Store>) {
    devices::rules(&open).await;
    sessions::rules(&open).await;
    terms::rules(&open).await;
    directories::rules(&open).await;
    records::rules(&open).await;
    once::rules(&open).await;
    atomicity::rules(&open).await;
    races::rules(&open).await;
    allowances::rules(&open).await;
}
