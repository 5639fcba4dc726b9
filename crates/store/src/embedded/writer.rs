//! The writer: the thread that owns the connection that writes.
//!
//! One turn:
//! 1. Take what is queued, up to a group.
//! 2. Load the sessions that were asked for, while no transaction is open: what is loaded is committed, and since
//!    nobody else writes to the cache it cannot be overtaken.
//! 3. Make all commits of the group in one transaction, each with its own outcome.
//! 4. Show what was committed, then answer.
//! 5. Sweep, if asked to; fold some of the log of rotations, if it is long; and move SQLite's own log, the write-ahead
//!    log, into the database, if that is long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
use super::published::{Effect, Published};
use super::rows;
use super::unfolded::Head;
use crate::open::OpenError;

/// The most jobs of one group: enough to share a sync widely, few enough that the first does not wait long.
const GROUP: usize = 512;
/// How many pages SQLite's log grows between two checkpoints: 4 MiB, so that none takes long.
const PAGES_PER_CHECKPOINT: usize = 1024;
/// How many pages that could not be moved are worth a warning: 256 MiB.
const PAGES_OF_A_LONG_LOG: i64 = 65_536;

/// What the writer is asked for.
pub(super) enum Job {
    /// A session that is not in the cache.
    LoadSession { id: SessionId, answer: oneshot::Sender<Result<Option<Session>, Outage>> },
    /// The changes of one caller.
    Commit { changes: Vec<Change>, answer: oneshot::Sender<Result<(), CommitError>> },
    /// One batch of a sweep.
    Sweep { now: Timestamp, limit: usize, answer: oneshot::Sender<Result<usize, Outage>> },
    /// The end.
    Close { answer: oneshot::Sender<Result<(), Outage>> },
}

/// A transaction that was not made.
struct Undone {
    outage: Outage,
    /// Whether it touched a damaged page; others may be whole.
    damage: bool,
}

type Load = (SessionId, oneshot::Sender<Result<Option<Session>, Outage>>);
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
        let mut closing = Vec::new();
        for job in jobs {
            match job {
                Job::LoadSession { id, answer } => loads.push((id, answer)),
                Job::Commit { changes, answer } => commits.push((changes, answer)),
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
        self.tidy(callers);
        closing
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

    /// Loads sessions, all in one transaction: a database that is opened for reading is locked and unlocked each time,
    /// which costs half of what the reading does.
    fn load_all(&mut self, loads: Vec<Load>) {
        let begun = match self.whole() {
            Ok(()) => self.execute("BEGIN").map_err(|error| self.outage("read", &error, "nothing was read")),
            Err(outage) => Err(outage),
        };
        let loaded: Vec<_> =
            loads.iter().map(|(id, _)| begun.clone().and_then(|()| self.load(*id))).collect();
        if begun.is_ok()
            && let Err(error) = self.execute("COMMIT")
        {
            self.roll_back("end a read of", &error);
        }
        let answers = loads.into_iter().zip(loaded);
        self.answers.give(answers.map(|((_, to), session)| Answer::Loaded(to, session)).collect());
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

    fn commit(&mut self, commits: Vec<Commit>) {
        match self.commit_together(&commits) {
            Ok(outcomes) => {
                let mut answers = Vec::with_capacity(commits.len());
                for (outcome, (_, to)) in outcomes.into_iter().zip(commits) {
                    let outcome = outcome.map(|effects| {
                        let is_rotation = |effect: &&Effect| matches!(effect, Effect::SessionRotated { .. });
                        self.logged += effects.iter().filter(is_rotation).count();
                        self.published.publish(effects);
                    });
                    answers.push(Answer::Committed(to, outcome));
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
        let limit = limit - effects.len();
        match self.transaction(false, |connection| changes::sweep_sessions(connection, now, limit)) {
            Ok(sessions) => effects.extend(sessions),
            // Those on a damaged page stay, and the others go.
            Err(undone) if undone.damage => effects.extend(self.sweep_apart(now, limit)?),
            Err(undone) => return Err(undone.outage),
        }
        let gone = effects.len();
        self.published.publish(effects);
        Ok(gone)
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
mod tests {
    use std::os::unix::fs::FileExt;

    use tempfile::TempDir;

    use super::super::answers::Deliveries;
    use super::*;
    use crate::contract::fixtures::{address, end, later, open_request, rotate, session, session_id, start};
    use crate::embedded::schema;

    fn writer() -> (TempDir, Writer) {
        let dir = TempDir::new().unwrap();
        let directory = DataDirectory::open(dir.path()).unwrap();
        let connection = directory.connect().unwrap();
        let (published, logged) = schema::load(&connection).unwrap();
        // Nobody hands answers out, so they come at once.
        let (answers, _) = Deliveries::channel();
        (dir, Writer::new(connection, directory, Arc::new(published), logged, answers).unwrap())
    }

    /// One turn with these commits; their outcomes.
    fn turn(writer: &mut Writer, commits: Vec<Vec<Change>>) -> Vec<Result<(), CommitError>> {
        let (jobs, answers): (Vec<_>, Vec<_>) = commits
            .into_iter()
            .map(|changes| {
                let (answer, answered) = oneshot::channel();
                (Job::Commit { changes, answer }, answered)
            })
            .unzip();
        writer.turn(jobs.into_iter());
        answers.into_iter().map(|answered| answered.blocking_recv().unwrap()).collect()
    }

    fn pragma(writer: &Writer, name: &str) -> i64 {
        writer.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn only_a_group_without_durable_changes_does_not_wait_for_the_disk() {
        let (_dir, mut writer) = writer();
        let (normal, full) = (1, 2);
        assert_eq!(pragma(&writer, "synchronous"), full);
        let groups = [
            (vec![vec![open_request(1)], vec![open_request(2)]], normal),
            (vec![vec![open_request(3)], vec![start(1)]], full),
            (vec![vec![open_request(4), start(2)]], full),
            (vec![vec![open_request(5)]], normal),
            (vec![vec![rotate(1, 0)]], full),
            (vec![vec![open_request(6)]], normal),
        ];
        for (group, expected) in groups {
            let asked = format!("{group:?}");
            assert!(turn(&mut writer, group).iter().all(Result::is_ok), "{asked}");
            assert_eq!(pragma(&writer, "synchronous"), expected, "{asked}");
        }
    }

    #[test]
    fn the_connection_is_set_up() {
        let (_dir, writer) = writer();
        for (name, value) in [("mmap_size", 0), ("trusted_schema", 0), ("wal_autocheckpoint", 0)] {
            assert_eq!(pragma(&writer, name), value, "{name}");
        }
        let mode: String =
            writer.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        assert!(
            writer.connection.execute_batch("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema").is_err()
        );
    }

    #[test]
    fn a_full_disk_is_an_outage_to_its_group_and_then_over() {
        let (_dir, mut writer) = writer();
        assert_eq!(turn(&mut writer, vec![vec![start(1)]]), [Ok(())]);
        writer.connection.pragma_update(None, "max_page_count", pragma(&writer, "page_count") + 2).unwrap();
        let many = (100..1000).map(start).collect();
        let outcomes = turn(&mut writer, vec![vec![rotate(1, 0)], many]);
        for outcome in &outcomes {
            let Err(CommitError::Outage(outage)) = outcome else { panic!("{outcome:?}") };
            assert!(outage.0.contains("full"), "{outage}");
        }
        assert_eq!(writer.load(session_id(1)).unwrap(), Some(session(1)));
        assert_eq!(writer.load(session_id(100)).unwrap(), None);
        writer.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
        assert_eq!(turn(&mut writer, vec![vec![rotate(1, 0)], vec![start(100)]]), [Ok(()), Ok(())]);
        assert_eq!(writer.load(session_id(100)).unwrap(), Some(session(100)));
    }

    #[test]
    fn a_group_has_an_outcome_for_each_of_its_callers() {
        let (_dir, mut writer) = writer();
        let conflict = Err(CommitError::Conflict);
        let group = vec![
            vec![start(1)],
            vec![start(1)],
            vec![start(2), start(1)],
            vec![rotate(1, 0)],
            vec![rotate(1, 0)],
            vec![start(2), rotate(1, 1)],
        ];
        let expected = [Ok(()), conflict.clone(), conflict.clone(), Ok(()), conflict, Ok(())];
        assert_eq!(turn(&mut writer, group), expected);
        assert_eq!(writer.published.session(session_id(1)).unwrap().generation, 2);
    }

    /// The sessions as a server finds them that starts with what is on the disk now.
    fn after_a_crash(dir: &TempDir, sessions: std::ops::Range<u64>) -> Vec<Session> {
        let copy = TempDir::new().unwrap();
        for file in ["doorward.db", "doorward.db-wal"] {
            std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
        }
        let directory = DataDirectory::open(copy.path()).unwrap();
        let connection = directory.connect().unwrap();
        let (published, logged) = schema::load(&connection).unwrap();
        let (answers, _) = Deliveries::channel();
        let mut writer = Writer::new(connection, directory, Arc::new(published), logged, answers).unwrap();
        let sessions = sessions.map(|n| writer.load(session_id(n)).unwrap().unwrap()).collect();
        // And goes on from there.
        for n in [1, 2] {
            let generation = writer.published.session(session_id(n)).unwrap().generation;
            let commits = vec![vec![rotate(n, generation + 1)], vec![rotate(n, generation)]];
            assert_eq!(turn(&mut writer, commits), [Err(CommitError::Conflict), Ok(())]);
        }
        sessions
    }

    #[test]
    fn a_crash_at_any_step_of_a_fold_loses_no_rotation() {
        let (dir, mut writer) = writer();
        writer.fold_after = usize::MAX;
        let sessions = 0..700;
        assert!(
            turn(&mut writer, sessions.clone().map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok)
        );
        // Some sessions rotate once, some often, and the log has many rows.
        let mut generations = vec![0; 700];
        let mut rotate_some = |writer: &mut Writer, step: usize| {
            let rotations = (0..700).step_by(step).map(|n| {
                generations[usize::try_from(n).unwrap()] += 1;
                vec![rotate(n, generations[usize::try_from(n).unwrap()] - 1)]
            });
            assert!(turn(writer, rotations.collect()).iter().all(Result::is_ok));
            generations.clone()
        };
        for step in [1, 2, 3, 5, 7].repeat(60) {
            rotate_some(&mut writer, step);
        }
        writer.fold_after = 1;
        let (mut steps, mut longest) = (0, 0);
        loop {
            let expected =
                if steps % 3 == 0 { rotate_some(&mut writer, 11) } else { rotate_some(&mut writer, 700) };
            let found = after_a_crash(&dir, sessions.clone());
            let found: Vec<_> = found.iter().map(|session| session.generation).collect();
            assert_eq!(found, expected, "at {:?}", writer.fold);
            let rows = changes::end_of_log(&writer.connection).unwrap();
            longest = longest.max(rows);
            steps += 1;
            if matches!(writer.fold, Fold::Idle) {
                break;
            }
        }
        // Begun, 700 heads, the end of them, and 300 rows of the log.
        assert!(steps >= 6, "{steps}");
        let left: i64 =
            writer.connection.query_row("SELECT count(*) FROM rotation", [], |row| row.get(0)).unwrap();
        assert!(left < 10 && longest >= 300, "{left} of {longest}");
        let generation: u32 = writer
            .connection
            .query_row("SELECT generation FROM head WHERE id = ?1", [session_id(1).as_bytes()], |row| {
                row.get(0)
            })
            .unwrap();
        assert!(generation >= 60, "{generation}");
    }

    #[test]
    fn a_rotation_that_was_taken_back_is_neither_known_to_the_group_nor_in_the_log() {
        let (dir, mut writer) = writer();
        assert_eq!(turn(&mut writer, vec![vec![start(1)], vec![start(2)]]), [Ok(()), Ok(())]);
        let taken_back = || vec![rotate(1, 0), rotate(1, 1), end(2), start(2)];
        let commits = vec![taken_back(), vec![rotate(1, 0), rotate(2, 0)], taken_back()];
        let conflict = Err(CommitError::Conflict);
        assert_eq!(turn(&mut writer, commits), [conflict.clone(), Ok(()), conflict.clone()]);
        assert_eq!(turn(&mut writer, vec![vec![rotate(1, 1), start(2)]]), [conflict]);
        let generations: Vec<_> =
            after_a_crash(&dir, 1..3).iter().map(|session| session.generation).collect();
        assert_eq!(generations, [1, 1]);
    }

    /// Overwrites a page of a table behind SQLite's back. Answers where it is and what it was.
    fn damage(dir: &TempDir, writer: &mut Writer, table: &str) -> (u64, Vec<u8>) {
        writer.checkpoint("TRUNCATE");
        let sql = "SELECT pgoffset FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' LIMIT 1 OFFSET 3";
        let offset: i64 = writer.connection.query_row(sql, [table], |row| row.get(0)).unwrap();
        let (offset, mut page) = (offset.unsigned_abs(), vec![0; 4096]);
        std::fs::File::open(dir.path().join("doorward.db"))
            .unwrap()
            .read_exact_at(&mut page, offset)
            .unwrap();
        overwrite(dir, writer, offset, &[0; 4096]);
        (offset, page)
    }

    fn overwrite(dir: &TempDir, writer: &Writer, offset: u64, page: &[u8]) {
        let file = std::fs::File::options().write(true).open(dir.path().join("doorward.db")).unwrap();
        file.write_all_at(page, offset).unwrap();
        // Or it would not be read from the file.
        writer.connection.execute_batch("PRAGMA shrink_memory").unwrap();
    }

    #[test]
    fn a_damaged_page_fails_those_who_need_it_and_nobody_else() {
        let (dir, mut writer) = writer();
        let sessions = 0..2000;
        assert!(
            turn(&mut writer, sessions.clone().map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok)
        );
        damage(&dir, &mut writer, "head");
        let outcomes = turn(&mut writer, sessions.clone().map(|n| vec![end(n)]).collect());
        let failed: Vec<_> =
            sessions.zip(outcomes).filter_map(|(n, outcome)| outcome.err().map(|error| (n, error))).collect();
        assert!((1..200).contains(&failed.len()), "{}", failed.len());
        for (_, error) in &failed {
            assert!(error.to_string().contains("restore it from a backup"), "{error}");
        }
        let commits = vec![vec![start(9000)], vec![end(failed[0].0)], vec![start(9001)]];
        let outcomes = turn(&mut writer, commits);
        assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn rotations_of_a_damaged_page_stay_in_the_log_and_the_others_are_folded() {
        let (dir, mut writer) = writer();
        writer.fold_after = 2000;
        assert!(turn(&mut writer, (0..2000).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
        for some in [0..1000, 1000..1999] {
            assert!(turn(&mut writer, some.map(|n| vec![rotate(n, 0)]).collect()).iter().all(Result::is_ok));
        }
        let (offset, page) = damage(&dir, &mut writer, "head");
        assert_eq!(turn(&mut writer, vec![vec![rotate(1999, 0)]]), [Ok(())]);
        let mut steps = 0;
        while !matches!(writer.fold, Fold::Idle) {
            writer.tidy(0);
            steps += 1;
            assert!(steps < 100);
        }
        let left = (0..2000).filter(|&n| writer.published.unfolded().get(session_id(n)).is_some()).count();
        assert!((1..200).contains(&left) && writer.logged == left, "{left}");
        let rows = "SELECT count(*) FROM rotation";
        let rows: i64 = writer.connection.query_row(rows, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, i64::try_from(left).unwrap());
        // It was the reading that failed, and not the page.
        overwrite(&dir, &writer, offset, &page);
        assert!(after_a_crash(&dir, 0..2000).iter().all(|session| session.generation == 1));
    }

    #[test]
    fn a_rotation_while_the_old_log_is_taken_away_is_in_the_new_one() {
        let (dir, mut writer) = writer();
        writer.fold_after = LOG_ROWS;
        assert_eq!(turn(&mut writer, vec![vec![start(1)], vec![start(2)]]), [Ok(()), Ok(())]);
        for generation in (0..).take(LOG_ROWS) {
            assert_eq!(turn(&mut writer, vec![vec![rotate(1, generation)]]), [Ok(())]);
        }
        let mut steps = 0;
        while !matches!(writer.fold, Fold::Log { .. }) || changes::end_of_log(&writer.connection).unwrap() > 0
        {
            writer.tidy(0);
            steps += 1;
            assert!(steps < 100);
        }
        assert_eq!(turn(&mut writer, vec![vec![rotate(2, 0)]]), [Ok(())]);
        let generations: Vec<_> =
            after_a_crash(&dir, 1..3).iter().map(|session| session.generation).collect();
        assert_eq!(generations, [256, 1]);
    }

    #[test]
    fn a_damaged_page_does_not_keep_what_has_expired_from_being_forgotten() {
        let (dir, mut writer) = writer();
        assert!(turn(&mut writer, (0..2000).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
        assert_eq!(turn(&mut writer, vec![vec![open_request(1)]]), [Ok(())]);
        damage(&dir, &mut writer, "session");
        let mut gone = 0;
        for _ in 0..20 {
            gone += writer.sweep(later(100_000), 256).unwrap();
        }
        assert!((1800..2001).contains(&gone), "{gone}");
        assert_eq!(writer.published.devices().kept(address(1)).total, 0);
    }

    #[test]
    fn a_fold_goes_on_without_anybody_asking_for_anything() {
        let (_dir, mut writer) = writer();
        writer.fold_after = 600;
        assert!(turn(&mut writer, (0..600).map(|n| vec![start(n)]).collect()).iter().all(Result::is_ok));
        assert!(turn(&mut writer, (0..600).map(|n| vec![rotate(n, 0)]).collect()).iter().all(Result::is_ok));
        assert!(!matches!(writer.fold, Fold::Idle));
        let (jobs, mut queue) = mpsc::channel(1);
        drop(jobs);
        while !matches!(writer.fold, Fold::Idle) {
            writer.tidy(0);
        }
        assert!(writer.wait(&mut queue).is_none());
        assert_eq!(writer.published.unfolded().get(session_id(1)), None);
        assert_eq!(
            turn(&mut writer, vec![vec![rotate(1, 1)], vec![rotate(1, 0)]]),
            [Ok(()), Err(CommitError::Conflict)]
        );
    }

    #[test]
    fn the_log_is_folded_in_before_it_grows_long() {
        let (dir, mut writer) = writer();
        for group in 0..40 {
            let starts = (group * 500..(group + 1) * 500).map(|n| vec![start(n)]).collect();
            assert!(turn(&mut writer, starts).iter().all(Result::is_ok));
        }
        let log = std::fs::metadata(dir.path().join("doorward.db-wal")).unwrap().len();
        assert!(log < 32 << 20, "{log}");
    }
}
