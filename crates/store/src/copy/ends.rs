//! The two ends of a copy, of whichever backend.

use std::path::Path;

use super::error::CopyError;
use super::row::{Counts, Place, Row};
use crate::embedded::copy as embedded;
use crate::open::Location;
use crate::postgres::copy as postgres;

/// A store as it was at one moment.
pub(super) enum Snapshot {
    Embedded(embedded::Snapshot),
    Postgres(postgres::Snapshot),
}

impl Snapshot {
    /// The store at `location`, which others may be using.
    pub(super) async fn of(location: &Location) -> Result<Self, CopyError> {
        match location {
            Location::Memory => Err(CopyError::Memory),
            Location::Embedded(dir) => Ok(Self::Embedded(embedded::Snapshot::of_directory(dir).await?)),
            Location::Postgres(options) => Ok(Self::Postgres(postgres::Snapshot::of(options).await?)),
        }
    }

    /// Where it is, for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Embedded(snapshot) => snapshot.name(),
            Self::Postgres(snapshot) => snapshot.name(),
        }
    }

    /// How many rows there are.
    pub(super) async fn count(&self) -> Result<Counts, CopyError> {
        match self {
            Self::Embedded(snapshot) => snapshot.count().await,
            Self::Postgres(snapshot) => snapshot.count().await,
        }
    }

    /// A page of rows, in the order of their keys; none when the table has no more.
    pub(super) async fn page(&self, place: &Place) -> Result<Vec<Row>, CopyError> {
        match self {
            Self::Embedded(snapshot) => snapshot.page(place).await,
            Self::Postgres(snapshot) => snapshot.page(place).await,
        }
    }
}

/// An empty place that is being filled. Dropped before it is [kept](Self::keep), it is empty again.
pub(super) enum Target {
    Embedded(embedded::Target),
    Postgres(postgres::Target),
}

impl Target {
    /// A backup.
    pub(super) async fn file(path: &Path) -> Result<Self, CopyError> {
        Ok(Self::Embedded(embedded::Target::file(path).await?))
    }

    /// The store at `location`, which must be empty.
    pub(super) async fn at(location: &Location) -> Result<Self, CopyError> {
        match location {
            Location::Memory => Err(CopyError::Memory),
            Location::Embedded(dir) => Ok(Self::Embedded(embedded::Target::directory(dir).await?)),
            Location::Postgres(options) => Ok(Self::Postgres(postgres::Target::of(options).await?)),
        }
    }

    /// Writes rows of one table.
    pub(super) async fn write(&mut self, rows: Vec<Row>) -> Result<(), CopyError> {
        match self {
            Self::Embedded(target) => target.write(rows).await,
            Self::Postgres(target) => target.write(rows).await,
        }
    }

    /// Ends the writing. Answers what is there now.
    pub(super) async fn written(&mut self) -> Result<Snapshot, CopyError> {
        match self {
            Self::Embedded(target) => Ok(Snapshot::Embedded(target.written().await?)),
            Self::Postgres(target) => Ok(Snapshot::Postgres(target.written().await?)),
        }
    }

    /// Makes what was written the store. Answers the bytes of its file, if it is one.
    pub(super) async fn keep(self) -> Result<Option<u64>, CopyError> {
        match self {
            Self::Embedded(target) => target.keep().await.map(Some),
            Self::Postgres(target) => target.keep().await.map(|()| None),
        }
    }
}
