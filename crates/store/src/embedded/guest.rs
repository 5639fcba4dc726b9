//! A guest: a process that reads and replaces the directory of people, or the signing keys, beside the server that the database belongs to.
//!
//! SQLite lets one connection write at a time, whatever its process. A guest writes a single row in a transaction of
//! its own, which is on the disk when it is answered, so whenever it is killed the database has the old directory or the
//! new one. The guard is the version, as for the server. The server's writer waits for that transaction, and looks
//! every [`LOOK_EVERY`] whether there are another directory or other signing keys than it shows.
//!
//! Guests share a lock that a restore or a migration holds alone: what a guest writes into a database that is being
//! copied, or is about to be replaced, would be lost.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doorward_core::directory::{Departures, Directory, DirectoryFile};
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::PersonId;
use doorward_core::signing_key::{SigningKey, SigningKeys};
use doorward_core::store::{CommitError, Outage};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use super::changes::{Replacement, Stop, put_record};
use super::files::{self, DataDirectory, database_in};
use super::published::Effect;
use super::rows;
use super::schema::{self, VERSION};
use crate::columns::BadRow;
use crate::open::OpenError;
use crate::records::{Put, Record, RecordKey};

/// How often a server looks for what a guest has written.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How often a guest tries to take a data directory without a database, in which a server may be just starting.
const LOOKS_FOR_A_DATABASE: u32 = 5;

/// A guest of a data directory.
pub(crate) struct Guest {
    dir: PathBuf,
    /// None while there is no database.
    entered: Option<Entered>,
}

struct Entered {
    connection: Connection,
    database: PathBuf,
    /// None while only reading where no server of this version was yet: who reads makes nothing.
    guests: Option<File>,
}

impl Guest {
    /// A guest of `dir`, in which there may be nothing yet.
    ///
    /// # Errors
    /// [`OpenError`] when the database is not ours, or of another version, or a copy is at work on it.
    pub(crate) fn new(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self { entered: Entered::into(dir)?, dir: dir.to_owned() })
    }

    /// The directory; empty, at version 0, while there is no database.
    ///
    /// # Errors
    /// [`Outage`] when it cannot be read.
    pub(crate) fn read(&mut self) -> Result<Directory, Outage> {
        let Some(Entered { connection, database, .. }) = self.enter()? else {
            return Ok(Directory::default());
        };
        schema::directory(connection, VERSION).map_err(|error| error.outage(database))
    }

    /// What an identity source said of a person, as [`Store`](doorward_core::store::Store) tells it.
    ///
    /// # Errors
    /// [`Outage`] when it cannot be read.
    pub(crate) fn federated_person(
        &mut self,
        id: &PersonId,
    ) -> Result<(u64, Option<FederatedPerson>), Outage> {
        self.record(&RecordKey::FederatedPerson(id.clone()), |record| record.federated_person(id))
    }

    /// The signing keys.
    ///
    /// # Errors
    /// [`Outage`] when they cannot be read.
    pub(crate) fn signing_keys(&mut self) -> Result<SigningKeys, Outage> {
        self.record(&RecordKey::SigningKeys, Record::signing_keys)
    }

    fn record<T>(
        &mut self,
        key: &RecordKey,
        read: impl FnOnce(&Record) -> Result<T, BadRow>,
    ) -> Result<T, Outage> {
        let found = match self.enter()? {
            Some(Entered { connection, database, .. }) => {
                rows::record(connection, key).map_err(|error| error.outage(database))?
            }
            None => None,
        };
        read(&found.unwrap_or_default()).map_err(|bad| Outage(bad.to_string()))
    }

    /// The database, if there is one by now.
    fn enter(&mut self) -> Result<Option<&Entered>, Outage> {
        if self.entered.is_none() {
            self.entered = Entered::into(&self.dir).map_err(|error| outage(&error))?;
        }
        Ok(self.entered.as_ref())
    }

    /// Replaces the directory; makes data directory and database when there are none.
    ///
    /// # Errors
    /// As [`Store::commit`](doorward_core::store::Store::commit).
    pub(crate) fn replace(
        &mut self,
        from: u64,
        file: &DirectoryFile,
        departed: &Departures,
    ) -> Result<(), CommitError> {
        // Before the transaction, for which the server waits.
        let replacement = Replacement::new(from, file, departed)?;
        self.write("directory", |connection| replacement.make(connection))
    }

    /// Replaces the signing keys.
    ///
    /// # Errors
    /// As [`Store::commit`](doorward_core::store::Store::commit).
    pub(crate) fn replace_signing_keys(&mut self, from: u64, keys: &[SigningKey]) -> Result<(), CommitError> {
        let put = Put::signing_keys(from, keys);
        self.write("signing keys", |connection| put_record(connection, put))
    }

    fn write(
        &mut self,
        what: &str,
        make: impl FnOnce(&Connection) -> Result<Effect, Stop>,
    ) -> Result<(), CommitError> {
        let mut entered = match self.entered.take() {
            Some(entered) => entered,
            None => self.make().map_err(|error| outage(&error))?,
        };
        if entered.guests.is_none() {
            entered.guests = Some(files::share_with_guests(&self.dir).map_err(|error| outage(&error))?);
        }
        // After a failure the connection is not used again.
        entered.write(what, make)?;
        self.entered = Some(entered);
        Ok(())
    }

    /// Makes the database as a server would, unless one is at it.
    fn make(&self) -> Result<Entered, OpenError> {
        let mut looks = 0;
        loop {
            if let Some(entered) = Entered::into(&self.dir)? {
                return Ok(entered);
            }
            match DataDirectory::open(&self.dir) {
                Ok(directory) => drop(directory.connect()?),
                Err(OpenError::InUse { .. }) if looks < LOOKS_FOR_A_DATABASE => {
                    // A copy is not waited for.
                    files::share_with_guests(&self.dir)?;
                    looks += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Entered {
    /// Opens the database in `dir`; none when there is none, or one without tables.
    fn into(dir: &Path) -> Result<Option<Self>, OpenError> {
        let database = database_in(dir);
        // Not opened to see whether it is there: in the process of a server, closing it would unlock it.
        match database.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(OpenError::Directory { path: database, why }),
        }
        let guests = files::share_with_guests_that_were(dir)?;
        let sqlite = |error| files::sqlite_error(&database, &error);
        let connection = files::connect_writer(&database).map_err(sqlite)?;
        if !has_our_schema(&connection, &database)? {
            return Ok(None);
        }
        schema::write_ahead(&connection).map_err(sqlite)?;
        Ok(Some(Self { connection, database, guests }))
    }

    fn write(
        &mut self,
        what: &str,
        make: impl FnOnce(&Connection) -> Result<Effect, Stop>,
    ) -> Result<(), CommitError> {
        match self.transact(make) {
            Ok(()) => Ok(()),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => {
                // As when the server's writer fails: the next start finds out what is on the disk.
                let kept = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                let error = kept.err().unwrap_or(error);
                let place = self.database.display();
                let so = "look whether that was done, and try again if not";
                Err(Outage(format!("cannot replace the {what} in {place}: {error}; {so}")).into())
            }
        }
    }

    fn transact(&mut self, make: impl FnOnce(&Connection) -> Result<Effect, Stop>) -> Result<(), Stop> {
        // What the log has may be in memory only, if a sync failed before. Nothing is to be built on that.
        schema::checkpoint(&self.connection)?;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ours = has_our_schema(&transaction, &self.database);
        if !ours.map_err(|error| Stop::Refused(outage(&error).into()))? {
            return Err(Stop::Refused(CommitError::Conflict));
        }
        make(&transaction)?;
        Ok(transaction.commit()?)
    }
}

/// Whether the database has our schema; not when it has no tables yet. Any other is refused.
fn has_our_schema(connection: &Connection, database: &Path) -> Result<bool, OpenError> {
    match schema::version(connection) {
        Ok(None) => Ok(false),
        Ok(Some(VERSION)) => Ok(true),
        Ok(Some(found)) => {
            Err(OpenError::Behind { place: database.display().to_string(), found, known: VERSION })
        }
        Err(refusal) => Err(refusal.at(database)),
    }
}

fn outage(error: &OpenError) -> Outage {
    Outage(error.to_string())
}
