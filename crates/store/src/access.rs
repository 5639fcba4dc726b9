//! The directory, what belongs to it, and the signing keys: for a process that reads or replaces them and is no server.

use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::directory::Directory;
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::PersonId;
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{CommitError, Outage, Store};
use doorward_core::verdict::Change;

use crate::embedded::guest::Guest;
use crate::open::{Location, OpenError};
use crate::postgres::{self, PostgresStore, Schema};

/// The directory in a place where servers may be running.
pub struct DirectoryAccess(Access);

enum Access {
    Embedded(Arc<Mutex<Guest>>),
    Postgres(Box<PostgresStore>),
}

/// Opens the place at `location` for reading and replacing the directory. Nothing is made yet where there is nothing.
///
/// While this is open, nobody can restore or migrate a data directory.
///
/// # Errors
/// [`OpenError`], which tells an operator what is wrong, where, and what to do.
pub async fn open_directory(location: &Location) -> Result<DirectoryAccess, OpenError> {
    Ok(DirectoryAccess(match location {
        Location::Memory => return Err(OpenError::Memory),
        Location::Embedded(dir) => {
            let dir = dir.clone();
            Access::Embedded(Arc::new(Mutex::new(blocking(move || Guest::new(&dir)).await?)))
        }
        Location::Postgres(options) => {
            let store = PostgresStore::new(options)?;
            if let Schema::Behind(found) = store.schema().await? {
                return Err(OpenError::Behind { place: options.place(), found, known: postgres::VERSION });
            }
            Access::Postgres(Box::new(store))
        }
    }))
}

impl DirectoryAccess {
    /// The directory; empty, at version 0, where there is nothing yet.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    pub async fn read(&self) -> Result<Arc<Directory>, Outage> {
        match &self.0 {
            Access::Embedded(guest) => embedded(guest, Guest::read).await.map(Arc::new),
            Access::Postgres(store) => match store.schema().await? {
                Schema::None => Ok(Arc::default()),
                _ => store.directory().await,
            },
        }
    }

    /// What an identity source said of a person, as [`Store::federated_person`].
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    pub async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        match &self.0 {
            Access::Embedded(guest) => {
                let id = id.clone();
                embedded(guest, move |guest| guest.federated_person(&id)).await
            }
            Access::Postgres(store) => match store.schema().await? {
                Schema::None => Ok((0, None)),
                _ => store.federated_person(id).await,
            },
        }
    }

    /// The signing keys, as [`Store::signing_keys`].
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    pub async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        match &self.0 {
            Access::Embedded(guest) => embedded(guest, Guest::signing_keys).await,
            Access::Postgres(store) => match store.schema().await? {
                Schema::None => Ok(SigningKeys::default()),
                _ => store.signing_keys().await,
            },
        }
    }

    /// Makes a change of kind [`Change::ReplaceDirectory`] or [`Change::ReplaceSigningKeys`], with the same guard and as
    /// durably as a server. Where there is nothing yet, what a server would make at its first start is made first.
    /// Servers see another directory within a second, and other signing keys within ten.
    ///
    /// # Errors
    /// As [`Store::commit`]. A change of another kind is an outage.
    pub async fn replace(&self, change: Change) -> Result<(), CommitError> {
        match (&self.0, change) {
            (Access::Embedded(guest), Change::ReplaceDirectory { from, file, departed }) => {
                embedded(guest, move |guest| guest.replace(from, &file, &departed)).await
            }
            (Access::Embedded(guest), Change::ReplaceSigningKeys { from, keys }) => {
                embedded(guest, move |guest| guest.replace_signing_keys(from, &keys)).await
            }
            (
                Access::Postgres(store),
                change @ (Change::ReplaceDirectory { .. } | Change::ReplaceSigningKeys { .. }),
            ) => store.commit(vec![change]).await,
            _ => Err(Outage("only the directory and the signing keys can be replaced here".into()).into()),
        }
    }
}

/// Does `work` with a guest.
async fn embedded<T: Send + 'static>(
    guest: &Arc<Mutex<Guest>>,
    work: impl FnOnce(&mut Guest) -> T + Send + 'static,
) -> T {
    let guest = guest.clone();
    blocking(move || work(&mut guest.lock().unwrap_or_else(PoisonError::into_inner))).await
}

/// Does `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Nobody aborts it, so it panicked.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
