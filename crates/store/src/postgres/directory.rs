//! The directory, kept in memory by each node.
//!
//! Every request needs it and it seldom changes, so a read costs no round trip while the last look at its version in
//! the database is at most [`FRESH`] old. A look is taken in the background twice in that time. So what another node
//! wrote is seen here a second later at most; when no look succeeds for as long, a read takes one itself, and answers
//! with an outage rather than with what may be old. Those who read at the same time share it, or a slow database would
//! be asked by one after the other. What this node wrote is looked at before the next read.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use doorward_core::directory::Directory;
use doorward_core::store::Outage;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::database::Database;
use super::rows;

/// How old the last look may be.
const FRESH: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(450);

/// The directory as of the last look.
pub(super) struct KeptDirectory {
    database: Arc<Database>,
    /// A poisoned lock is taken all the same: nothing that is done under one can panic halfway.
    kept: RwLock<Kept>,
    /// Held by whoever looks, so that the others wait and do not look too.
    looking: Mutex<()>,
}

#[derive(Default)]
struct Kept {
    directory: Arc<Directory>,
    /// When the last look began; none when the next read must look.
    looked: Option<Instant>,
    /// How often the directory was written here. A look that began before must not count as one after.
    writes: u64,
}

impl KeptDirectory {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, kept: RwLock::default(), looking: Mutex::default() }
    }

    /// The directory, as it was a second ago or when this was called, or later.
    pub(super) async fn get(&self) -> Result<Arc<Directory>, Outage> {
        let asked = Instant::now();
        if let Some(directory) = self.looked_at_since(asked) {
            return Ok(directory);
        }
        // Those who wait for a database that does not answer do not wait for one another as well.
        let looked = self.database.within_call(async {
            let _turn = self.looking.lock().await;
            match self.looked_at_since(asked) {
                Some(directory) => Ok(directory),
                None => self.look().await,
            }
        });
        looked.await.map_err(|failure| failure.outage(self.database.place()))?
    }

    /// Makes the next read look: the directory was, or may have been, written here.
    pub(super) fn forget(&self) {
        let mut kept = self.write();
        kept.looked = None;
        kept.writes += 1;
    }

    /// Looks again and again.
    pub(super) async fn watch(&self) {
        let mut failing = false;
        loop {
            sleep(LOOK_EVERY).await;
            let looked = {
                let _turn = self.looking.lock().await;
                self.look().await
            };
            // Once each time it begins: whoever reads hears it too.
            if let Err(outage) = &looked
                && !failing
            {
                tracing::error!(error = outage.0, "cannot see whether the directory has changed");
            }
            failing = looked.is_err();
            if failing {
                // After an outage the database may be another, with another directory of the same version.
                self.write().looked = None;
            }
        }
    }

    async fn look(&self) -> Result<Arc<Directory>, Outage> {
        let began = Instant::now();
        let (writes, version) = {
            let kept = self.read();
            (kept.writes, kept.looked.map(|_| kept.directory.version()))
        };
        let changed = match version {
            Some(version) => rows::directory_version(&self.database).await? != version,
            None => true,
        };
        let directory = if changed { Some(Arc::new(rows::directory(&self.database).await?)) } else { None };
        let mut kept = self.write();
        if let Some(directory) = directory {
            kept.directory = directory;
        }
        kept.looked = (kept.writes == writes).then_some(began);
        Ok(kept.directory.clone())
    }

    /// The directory, if the last look is fresh or began at `moment` or later, however long it took.
    fn looked_at_since(&self, moment: Instant) -> Option<Arc<Directory>> {
        let kept = self.read();
        let new_enough = |looked: Instant| looked.elapsed() <= FRESH || looked >= moment;
        kept.looked.is_some_and(new_enough).then(|| kept.directory.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}
