//! The writer: the thread that owns the connection that writes.
//!
//! One turn:
//! 1. Take what is queued, up to a group.
//! 2. Load the sessions and records that were asked for, while no transaction is open: what is loaded is committed, and since
//!    nobody else writes to the cache it cannot be overtaken.
//! 3. Make all commits of the group in one transaction, each with its own outcome.
//! 4. Show what was committed, then answer.
//! 5. Sweep, if asked to.
//! 6. Look now and then for what a guest has written; fold some of the log of rotations, if it is long; and move
//!    SQLite's own log, the write-ahead log, into the database, if that is long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use doorward_core::ids::SessionId;
use doorward_core::session::Session;
use doorward_core::store::{CommitError, Outage};
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::answers::{Answer, Answers};
use super::changes::{self, Group, Stop};
use super::files::DataDirectory;
use super::fold::{FOLD_AFTER, Fold, HEADS, LOG_ROWS};
use super::guest::LOOK_EVERY;
use super::published::{Effect, Published};
use super::rows;
use super::schema;
use super::unfolded::Head;
use crate::open::OpenError;
use crate::records::{Record, RecordKey};

/// The most jobs of one group: enough to share a sync widely, few enough that the first does not wait long.
const GROUP: usize = 512;
/// How many pages SQLite's log grows between two checkpoints: 4 MiB, so that none takes long.
const PAGES_PER_CHECKPOINT: usize = 1024;
/// How many pages that could not be moved are worth a warning: 256 MiB.
const PAGES_OF_A_LONG_LOG: i64 = 65_536;

/// What the writer is asked for.
pub(super) enum Job {
    /// What is not in a cache.
    Load(Load),
    /// The changes of one caller.
    Commit { changes: Vec<Change>, answer: oneshot::Sender<Result<(), CommitError>> },
    /// To look whether a guest has replaced the directory or the signing keys. A writer that has much to do looks by itself.
    Look,
    /// One batch of a sweep.
    Sweep { now: Timestamp, limit: usize, answer: oneshot::Sender<Result<usize, Outage>> },
    /// The end.
    Close { answer: oneshot::Sender<Result<(), Outage>> },
}

/// What is read from the disk.
pub(super) enum Load {
    Session(SessionId, oneshot::Sender<Result<Option<Session>, Outage>>),
    Record(RecordKey, oneshot::Sender<Result<Arc<Record>, Outage>>),
}

/// A transaction that was not made.
struct Undone {
    outage: Outage,
    /// Whether it touched a damaged page; others may be whole.
    damage: bool,
}

type Commit = (Vec<Change>, oneshot::Sender<Result<(), CommitError>>);

pub(super) struct Writer {
    connection: Connection,
    directory: DataDirectory,
    published: Arc<Published>,
    answers: Answers,
    /// Whether a commit now waits for the disk (`synchronous=FULL`).
    syncs: bool,
    /// Rotations in the log.
    logged: usize,
    /// The number of the next row of the log; higher than any there was since the start, also when the log is empty.
    next_row: i64,
    /// How many it may have before it is folded.
    fold_after: usize,
    fold: Fold,
    /// How many pages SQLite's log has, and how many it had after the last checkpoint.
    pages: Arc<AtomicUsize>,
    checkpointed: usize,
    /// Whether SQLite's log was long when it was last looked at.
    long_log: bool,
    /// When it was last looked for what guests have written.
    looked: Instant,
    /// Whether the last step of folding went well.
    tidied: bool,
    /// Set when it can no longer be told what is on disk. There is no way back.
    broken: Option<Outage>,
}

impl Writer {
    /// A writer on a database whose log has `logged` rotations.
    pub(super) fn new(
        mut connection: Connection,
        directory: DataDirectory,
        published: Arc<Published>,
        logged: usize,
        answers: Answers,
    ) -> Result<Self, OpenError> {
        let pages = Arc::new(AtomicUsize::new(0));
        let counter = pages.clone();
        let count = move |_: &mut Wal, pages| {
            counter.store(usize::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(count)).map_err(|error| directory.sqlite(&error))?;
        let last_row = changes::end_of_log(&connection).map_err(|error| directory.sqlite(&error))?;
        Ok(Self {
            connection,
            directory,
            published,
            answers,
            syncs: true,
            logged,
            next_row: last_row + 1,
            fold_after: FOLD_AFTER,
            fold: Fold::Idle,
            pages,
            checkpointed: 0,
            long_log: false,
            looked: Instant::now(),
            tidied: true,
            broken: None,
        })
    }

    /// Starts the thread. It ends when asked to, or when nobody is left who could ask anything.
    pub(super) fn start(self, queue: mpsc::Receiver<Job>) -> Result<(), OpenError> {
        let thread = std::thread::Builder::new().name("store-writer".into());
        thread.spawn(move || self.run(queue)).map_err(OpenError::Thread)?;
        Ok(())
    }

    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut closing = Vec::new();
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = self.wait(&mut queue) {
            group.push(first);
            // Whoever is about to ask shares the sync, if they and this thread want the same processor.
            std::thread::yield_now();
            while group.len() < GROUP
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            closing.extend(self.turn(group.drain(..)));
            if !closing.is_empty() {
                // What is already queued is still done.
                queue.close();
            }
        }
        let end = self.finish();
        for answer in closing {
            // Whoever no longer waits does not mind; so it is with every answer here.
            let _ = answer.send(end.clone());
        }
    }

    /// The next job. Until there is one, a fold that has begun goes on; one that failed goes on with the next job.
    fn wait(&mut self, queue: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while self.tidied && !matches!(self.fold, Fold::Idle) {
            match queue.try_recv() {
                Ok(job) => return Some(job),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => self.tidy(0),
            }
        }
        queue.blocking_recv()
    }

    /// One turn; answers who waits for the end.
    fn turn(&mut self, jobs: impl Iterator<Item = Job>) -> Vec<oneshot::Sender<Result<(), Outage>>> {
        let (mut loads, mut commits, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
        let (mut closing, mut look) = (Vec::new(), false);
        for job in jobs {
            match job {
                Job::Load(load) => loads.push(load),
                Job::Commit { changes, answer } => commits.push((changes, answer)),
                Job::Look => look = true,
                Job::Sweep { now, limit, answer } => sweeps.push((now, limit, answer)),
                Job::Close { answer } => closing.push(answer),
            }
        }
        if !loads.is_empty() {
            self.load_all(loads);
        }
        let callers = commits.len();
        if !commits.is_empty() {
            self.commit(commits);
        }
        for (now, limit, answer) in sweeps {
            let _ = answer.send(self.sweep(now, limit));
        }
        if look || self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        self.tidy(callers);
        closing
    }

    /// Shows what guests have written.
    fn look(&mut self) {
        self.looked = Instant::now();
        if self.broken.is_none() {
            self.look_at_directory();
            self.look_at_signing_keys();
        }
    }

    /// Forgets the signing keys if a guest has written others, or if that cannot be told: whoever asks has them read.
    fn look_at_signing_keys(&self) {
        let key = RecordKey::SigningKeys;
        let Some(shown) = self.published.record(&key) else { return };
        let version = rows::record_version(&self.connection, &key);
        if !version.is_ok_and(|version| i64::try_from(shown.version) == Ok(version)) {
            self.published.forget_record(&key);
        }
    }

    /// Shows the directory that a guest has written, if there is one. Whether there is cannot be told of one that cannot
    /// be read, and then nobody is shown any.
    fn look_at_directory(&mut self) {
        let shown = self.published.directory();
        let found = match schema::directory_version(&self.connection) {
            Ok(version)
                if shown.as_ref().is_ok_and(|shown| i64::try_from(shown.version()) == Ok(version)) =>
            {
                return;
            }
            Ok(_) => schema::directory(&self.connection, schema::VERSION),
            Err(error) => Err(error.into()),
        };
        let found = found.map_err(|error| error.outage(self.directory.database()));
        match (&found, &shown) {
            (Ok(directory), _) => {
                tracing::info!(version = directory.version(), "another process has replaced the directory");
            }
            // Once each time it begins: whoever reads hears it too.
            (Err(outage), Ok(_)) => tracing::error!(error = outage.0, "the directory cannot be shown"),
            (Err(_), Err(_)) => {}
        }
        self.published.show_directory(found.map(Arc::new));
    }

    /// What has to be done so that no log grows long. The more callers a turn has, the more of it, so that it keeps up
    /// with them.
    fn tidy(&mut self, callers: usize) {
        if self.broken.is_some() {
            self.tidied = false;
            return;
        }
        self.tidied = self.fold_some(callers.max(HEADS)).is_ok();
        let pages = self.pages.load(Ordering::Relaxed);
        // SQLite begins its log again once all of it was moved.
        self.checkpointed = self.checkpointed.min(pages);
        if pages - self.checkpointed >= PAGES_PER_CHECKPOINT {
            self.checkpoint("PASSIVE");
            self.checkpointed = pages;
        }
    }

    /// A step of folding the log of rotations, at most so many of them. What failed has been logged, and is tried again
    /// from where it stands.
    fn fold_some(&mut self, count: usize) -> Result<(), Undone> {
        match self.fold {
            Fold::Idle if self.logged < self.fold_after => {}
            Fold::Idle => {
                self.published.unfolded().begin_fold();
                self.logged = 0;
                self.fold = Fold::Heads { last: None, through: self.next_row - 1 };
            }
            Fold::Heads { last, through } => {
                let next = self.published.unfolded().next_to_fold(last, count);
                if let Some(&(last, _)) = next.last() {
                    self.fold_heads(&next)?;
                    self.fold = Fold::Heads { last: Some(last), through };
                } else {
                    self.published.unfolded().end_fold();
                    self.fold = Fold::Log { through };
                }
            }
            Fold::Log { through } => {
                let work = |connection: &Connection| changes::shorten_log(connection, through, LOG_ROWS);
                if self.transaction(false, work)? < LOG_ROWS {
                    self.fold = Fold::Idle;
                }
            }
        }
        Ok(())
    }

    /// Loads what was asked for, all in one transaction: a database that is opened for reading is locked and unlocked each time,
    /// which costs half of what the reading does.
    fn load_all(&mut self, loads: Vec<Load>) {
        let begun = match self.whole() {
            Ok(()) => self.execute("BEGIN").map_err(|error| self.outage("read", &error, "nothing was read")),
            Err(outage) => Err(outage),
        };
        let answers = loads.into_iter().map(|load| match load {
            Load::Session(id, to) => Answer::Session(to, begun.clone().and_then(|()| self.load(id))),
            Load::Record(key, to) => Answer::Record(to, begun.clone().and_then(|()| self.load_record(key))),
        });
        let answers = answers.collect();
        if begun.is_ok()
            && let Err(error) = self.execute("COMMIT")
        {
            self.roll_back("end a read of", &error);
        }
        self.answers.give(answers);
    }

    /// Writes rotations into their heads.
    fn fold_heads(&mut self, rotations: &[(SessionId, Head)]) -> Result<(), Undone> {
        match self.transaction(false, |connection| changes::fold(connection, rotations)) {
            Err(undone) if undone.damage => match rotations {
                [(id, head)] => self.carry_over(*id, *head),
                _ => {
                    rotations.iter().try_for_each(|rotation| self.fold_heads(std::slice::from_ref(rotation)))
                }
            },
            outcome => outcome,
        }
    }

    /// Appends a rotation to the log anew that cannot be folded, because a page is damaged, or could not be read this
    /// once: the old log can go then, and nothing is lost.
    fn carry_over(&mut self, id: SessionId, head: Head) -> Result<(), Undone> {
        if self.published.unfolded().has_newer(id) {
            return Ok(());
        }
        let row = self.next_row;
        self.transaction(false, |connection| changes::append_to_log(connection, row, &[(id, head)]))?;
        self.next_row += 1;
        self.logged += 1;
        self.published.unfolded().insert(id, head);
        Ok(())
    }

    fn load(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        // Several may have missed it at once.
        if let Some(session) = self.published.session(id) {
            return Ok(Some(Session::clone(&session)));
        }
        let mut session =
            rows::session(&self.connection, id).map_err(|error| error.outage(self.directory.database()))?;
        if let Some(session) = &mut session {
            if let Some(head) = self.published.unfolded().get(id) {
                head.advance(session);
            }
            self.published.keep(session.clone());
        }
        Ok(session)
    }

    fn load_record(&self, key: RecordKey) -> Result<Arc<Record>, Outage> {
        if let Some(record) = self.published.record(&key) {
            return Ok(record);
        }
        let record =
            rows::record(&self.connection, &key).map_err(|error| error.outage(self.directory.database()))?;
        let record = Arc::new(record.unwrap_or_default());
        self.published.keep_record(key, record.clone());
        Ok(record)
    }

    fn commit(&mut self, commits: Vec<Commit>) {
        match self.commit_together(&commits) {
            Ok(outcomes) => {
                let mut answers = Vec::with_capacity(commits.len());
                let mut overtaken = false;
                for (outcome, (changes, to)) in outcomes.into_iter().zip(commits) {
                    let outcome = outcome.map(|effects| {
                        let is_rotation = |effect: &&Effect| matches!(effect, Effect::SessionRotated { .. });
                        self.logged += effects.iter().filter(is_rotation).count();
                        self.published.publish(effects);
                    });
                    overtaken |= outcome == Err(CommitError::Conflict)
                        && changes.iter().any(|change| {
                            matches!(
                                change,
                                Change::ReplaceDirectory { .. } | Change::ReplaceSigningKeys { .. }
                            )
                        });
                    answers.push(Answer::Committed(to, outcome));
                }
                if overtaken {
                    // Whoever reads what another has replaced, and tries again, must not read the same.
                    self.look();
                }
                self.answers.give(answers);
            }
            // Whose row is on the damaged page is told so; for the others the database is as good as ever.
            Err(undone) if undone.damage && commits.len() > 1 => {
                for commit in commits {
                    self.commit(vec![commit]);
                }
            }
            Err(undone) => {
                let outcome = Err(undone.outage.into());
                let answers = commits.into_iter().map(|(_, to)| Answer::Committed(to, outcome.clone()));
                self.answers.give(answers.collect());
            }
        }
    }

    /// The outcome of each of the commits, all in one transaction.
    fn commit_together(
        &mut self,
        commits: &[Commit],
    ) -> Result<Vec<Result<Vec<Effect>, CommitError>>, Undone> {
        let durable = commits.iter().flat_map(|(changes, _)| changes).any(Change::is_durable);
        let (published, row) = (self.published.clone(), self.next_row);
        let outcomes = self.transaction(durable, |connection| {
            let mut group = Group::new(connection, &published);
            let outcomes = commits
                .iter()
                .map(|(changes, _)| match group.apply_all(changes) {
                    Ok(effects) => Ok(Ok(effects)),
                    Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
                    Err(Stop::Failed(error)) => Err(error),
                })
                .collect::<rusqlite::Result<Vec<_>>>()?;
            group.finish(row)?;
            Ok(outcomes)
        })?;
        self.next_row += 1;
        Ok(outcomes)
    }

    fn sweep(&mut self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        // Not durable: what power loss brings back is swept again.
        let requests = self.published.devices().forgettable(now, limit);
        let swept = self.transaction(false, |connection| changes::sweep_requests(connection, &requests));
        let mut effects = swept.map_err(|undone| undone.outage)?;
        let left = limit - effects.len();
        match self.transaction(false, |connection| changes::sweep_sessions(connection, now, left)) {
            Ok(sessions) => effects.extend(sessions),
            // Those on a damaged page stay, and the others go.
            Err(undone) if undone.damage => effects.extend(self.sweep_apart(now, left)?),
            Err(undone) => return Err(undone.outage),
        }
        let (gone, left) = (effects.len(), limit - effects.len());
        // Whatever comes of the rest.
        self.published.publish(effects);
        if left == 0 {
            return Ok(gone);
        }
        let used = self.transaction(false, |connection| changes::sweep_used(connection, now, left));
        Ok(gone + used.map_err(|undone| undone.outage)?)
    }

    fn sweep_apart(&mut self, now: Timestamp, limit: usize) -> Result<Vec<Effect>, Outage> {
        let expired = self.transaction(false, |connection| changes::expired_sessions(connection, now, limit));
        let mut effects = Vec::new();
        for session in expired.map_err(|undone| undone.outage)? {
            match self.transaction(false, |connection| changes::forget_session(connection, session)) {
                Ok(effect) => effects.push(effect),
                Err(undone) if undone.damage => {}
                Err(undone) => return Err(undone.outage),
            }
        }
        Ok(effects)
    }

    /// Does `work` in a transaction. On an error nothing of it is kept, as far as can be told.
    fn transaction<T>(
        &mut self,
        durable: bool,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Undone> {
        self.whole().map_err(|outage| Undone { outage, damage: false })?;
        let begun = self.wait_for_disk(durable).and_then(|()| self.execute("BEGIN IMMEDIATE"));
        match begun.and_then(|()| work(&self.connection)) {
            Err(error) => {
                Err(Undone { outage: self.roll_back("write to", &error), damage: rows::is_damage(&error) })
            }
            Ok(value) => match self.execute("COMMIT") {
                Ok(()) => Ok(value),
                // This comes from writing the log, never from syncing it: nothing was committed, and the next
                // transaction writes over it.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                    Err(Undone { outage: self.roll_back("commit to", &error), damage: false })
                }
                Err(error) => Err(Undone { outage: self.break_down("commit to", &error), damage: false }),
            },
        }
    }

    /// Sets whether the next commit waits for the disk. In WAL mode, one that does not still survives the process.
    fn wait_for_disk(&mut self, durable: bool) -> rusqlite::Result<()> {
        if self.syncs != durable {
            // SQLite obeys this pragma when it compiles it, so a cached statement would do nothing.
            let level = if durable { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.syncs = durable;
        }
        Ok(())
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Takes the open transaction back. SQLite may already have done so.
    fn roll_back(&mut self, doing: &str, error: &rusqlite::Error) -> Outage {
        if !self.connection.is_autocommit()
            && let Err(second) = self.execute("ROLLBACK")
        {
            return self.break_down("roll back", &second);
        }
        let so = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                "nothing was written; make room on its disk, and it goes on by itself"
            }
            Some(ErrorCode::DatabaseBusy) => {
                "nothing was written, because another process has been writing to it for seconds; end that one"
            }
            _ if rows::is_damage(error) => "nothing was written; restore it from a backup",
            _ => "nothing was written",
        };
        let outage = self.outage(doing, error, so);
        tracing::error!(error = %outage.0, "the store could not write");
        outage
    }

    /// Folds the log into the database. `PASSIVE` leaves what a reader still needs for the next time.
    fn checkpoint(&mut self, mode: &str) {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let left =
            self.connection.query_row(&sql, [], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?));
        match left {
            Ok(pages) => {
                let long = pages > PAGES_OF_A_LONG_LOG;
                if long && !self.long_log {
                    tracing::warn!(
                        pages,
                        "somebody who reads the database keeps its write-ahead log from being cut back, and it grows: \
                         is a backup under way that does not go on?"
                    );
                }
                self.long_log = long;
            }
            // The log is synced before the database grows, and stays what it was.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::error!(%error, "there is no room to fold the log of the store into its database");
            }
            // A sync that failed may have lost what a later commit is built on.
            Err(error) => {
                self.break_down("checkpoint", &error);
            }
        }
    }

    fn break_down(&mut self, doing: &str, error: &rusqlite::Error) -> Outage {
        let outage = self.outage(
            doing,
            error,
            "it can no longer be told what is on disk, so nothing more is written; restart the server",
        );
        tracing::error!(error = %outage.0, "the store has stopped writing");
        // The last connection that is closed would checkpoint once more. The next start reads the log instead, and
        // believes only what its checksums confirm.
        if let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::error!(%error, "the store cannot leave its log alone");
        }
        self.broken = Some(outage.clone());
        outage
    }

    fn outage(&self, doing: &str, error: &rusqlite::Error, so: &str) -> Outage {
        Outage(format!("cannot {doing} the database {}: {error}; {so}", self.directory.database().display()))
    }

    /// Nothing, unless the store is broken.
    fn whole(&self) -> Result<(), Outage> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Leaves one tidy file behind, and gives the directory free.
    fn finish(mut self) -> Result<(), Outage> {
        if self.broken.is_none() {
            self.checkpoint("TRUNCATE");
        }
        self.whole()?;
        let Self { connection, directory, .. } = self;
        connection.close().map_err(|(_, error)| {
            Outage(format!("cannot close the database {}: {error}", directory.database().display()))
        })
    }
}

#[cfg(test)]
mod tests;
