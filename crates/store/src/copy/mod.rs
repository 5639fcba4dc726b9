//! Copies of a store: backups, what is restored from them, and moves from one backend to another.
//!
//! All three are one operation. Everything as it was at one moment is read from a *source* that others may be using,
//! written to an empty *target*, and compared there with the source, row by row, before it is kept. A backup is a
//! database of the embedded backend in a file of its own, so one of either backend can be restored into either.
//!
//! - A copy that dies leaves the target empty: a file gets its name, and a transaction is committed, after the
//!   verification.
//! - Rows are read as the server reads them. One that it could not read ends the copy, and is named.
//! - A page of rows is read while the one before is written, and nothing more of them is in memory.
//! - The master key is not a part of any of this.

use std::path::Path;

use ends::{Snapshot, Target};
use row::{Counts, Place};

use crate::embedded::copy::{Holding, hold};
use crate::open::Location;

mod ends;
mod error;
pub(crate) mod row;
mod verify;

pub use error::CopyError;

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// How many sessions.
    pub sessions: u64,
    /// How many device requests.
    pub device_requests: u64,
    /// How many signing keys, people of identity sources, and people who consented to something; all keys counted as one.
    pub records: u64,
    /// The version of the directory; 0 when there never was one.
    pub directory_version: u64,
    /// The size of the target, if it is a file.
    pub bytes: Option<u64>,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub step: Step,
    /// How many sessions that is done for.
    pub sessions: u64,
    /// How many sessions there are.
    pub total: u64,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows are read and written.
    Copying,
    /// The target brings what was written into its final form: indexes, statistics, the disk.
    Settling,
    /// What was written is read again and compared.
    Verifying,
    /// The source is read again, to see whether somebody changed it meanwhile.
    Rechecking,
    /// What was verified gets its name or its COMMIT. Breaking off now may be too late.
    Keeping,
}

/// Is told how far a copy has come, after each page of rows.
pub type Report<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// Copies the store at `from`, which may be in use, to a new file.
///
/// # Errors
/// [`CopyError`]; there is no file then.
pub async fn backup(from: &Location, file: &Path, report: Report<'_>) -> Result<Copied, CopyError> {
    let target = Target::file(file).await?;
    let source = Snapshot::of(from).await?;
    let mut copy = Copy { source, report };
    let verified = copy.make(target).await?;
    copy.keep(verified).await
}

/// Copies a backup to the store at `to`, which must be empty and is made if it is not there.
///
/// # Errors
/// [`CopyError`]; `to` is as empty then as it was.
pub async fn restore(file: &Path, to: &Location, report: Report<'_>) -> Result<Copied, CopyError> {
    let source = crate::embedded::copy::Snapshot::of_file(file).await?;
    source.check().await?;
    let target = Target::at(to).await?;
    let mut copy = Copy { source: Snapshot::Embedded(source), report };
    let verified = copy.make(target).await?;
    copy.keep(verified).await
}

/// Copies the store at `from`, which nobody may be using, to the one at `to`, which must be empty and is made if it is
/// not there. The store at `from` is left as it is.
///
/// A data directory in use is refused. A shared database is read a second time, and must not have changed.
///
/// # Errors
/// [`CopyError`]; `to` is as empty then as it was.
pub async fn migrate(from: &Location, to: &Location, report: Report<'_>) -> Result<Copied, CopyError> {
    // Until the end: no server starts on it meanwhile.
    let holding: Option<Holding> = match from {
        Location::Embedded(dir) => Some(hold(dir)?),
        Location::Memory | Location::Postgres(_) => None,
    };
    if from == to {
        return Err(CopyError::Same { place: from.to_string() });
    }
    let source = Snapshot::of(from).await?;
    let target = Target::at(to).await?;
    let mut copy = Copy { source, report };
    let verified = copy.make(target).await?;
    if holding.is_none() {
        copy.recheck(from, &verified).await?;
    }
    copy.keep(verified).await
}

struct Copy<'a> {
    source: Snapshot,
    report: Report<'a>,
}

/// A target with everything in it.
struct Verified {
    target: Target,
    written: Snapshot,
    counts: Counts,
}

impl Copy<'_> {
    /// Fills the target and verifies it.
    async fn make(&mut self, mut target: Target) -> Result<Verified, CopyError> {
        let total = self.source.count().await?.sessions;
        let mut counts = Counts::default();
        self.report(Step::Copying, 0, total);
        let mut place = Place::Directory;
        let mut rows = self.source.page(&place).await?;
        while let Some(next) = place.next(&rows) {
            for row in &rows {
                counts.add(row);
            }
            let (read, ()) = tokio::try_join!(self.source.page(&next), target.write(rows))?;
            (place, rows) = (next, read);
            self.report(Step::Copying, counts.sessions, total);
        }
        self.report(Step::Settling, counts.sessions, total);
        let written = target.written().await?;
        self.report(Step::Verifying, 0, total);
        let report = |sessions| (self.report)(Progress { step: Step::Verifying, sessions, total });
        match verify::compare(&self.source, &written, report).await? {
            Ok(compared) if compared == counts => Ok(Verified { target, written, counts }),
            // The source read differently the second time.
            Ok(_) => Err(CopyError::Differs {
                place: written.name(),
                difference: "not every row was there".into(),
            }),
            Err(difference) => Err(CopyError::Differs { place: written.name(), difference }),
        }
    }

    /// Looks whether the source has changed since.
    async fn recheck(&mut self, from: &Location, verified: &Verified) -> Result<(), CopyError> {
        let total = verified.counts.sessions;
        let now = Snapshot::of(from).await?;
        let report = |sessions| (self.report)(Progress { step: Step::Rechecking, sessions, total });
        match verify::compare(&verified.written, &now, report).await? {
            Ok(_) => Ok(()),
            Err(difference) => Err(CopyError::Changed { place: now.name(), difference }),
        }
    }

    async fn keep(&mut self, verified: Verified) -> Result<Copied, CopyError> {
        let Verified { target, written, counts } = verified;
        let Counts { sessions, device_requests, records, directory_version, used: _ } = counts;
        self.report(Step::Keeping, sessions, sessions);
        drop(written);
        let bytes = target.keep().await?;
        Ok(Copied { sessions, device_requests, records, directory_version, bytes })
    }

    fn report(&mut self, step: Step, sessions: u64, total: u64) {
        (self.report)(Progress { step, sessions, total });
    }
}
