//! Statements against the database: each within its time, and tried again when that is right.
//!
//! What is tried again, at most [`MOST_RETRIES`] times within the time of the call:
//!
//! - What certainly was not done: a lost race (40001, 40P01 and CockroachDB's restarts), and a connection that was
//!   lost before anything was sent that could have been committed.
//! - A read, whatever happened to it.
//! - A write whose connection was lost before its answer came, so that it may have been made. Making it again cannot
//!   make it twice, because every change has a guard that the change itself makes fail, for good: a rotation leaves
//!   its generation and generations only grow; a session or device request exists, and stays until it is swept; what
//!   was used stays so for as long as that means anything; an end is for good; a request never returns to a state; the
//!   versions of the directory and of records only grow. So
//!   when the second attempt succeeds, the first was not made and never will be, and the answer is success. When its
//!   guard fails nobody can tell whether it was our first attempt or somebody else, and the answer is an outage:
//!   neither success nor "nothing was written" would be certain. The client's own retry is then decided on what is
//!   stored, and that of a refresh meets the grace window.
//!
//! An allowance is the exception: it may be taken twice then, which costs a guess and gives none.
//!
//! A write whose answer did not come in time may have been made too, and is not tried again: a slow database gets no
//! more to do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use doorward_core::store::{CommitError, Outage};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use tokio_postgres::{Error, Row};

use super::connect::{self, Lease};
use super::error::{Failure, Fate, PostgresError};
use super::options::PostgresOptions;
use super::statement::Statement;

/// How often something is tried again.
const MOST_RETRIES: u32 = 5;
/// How many statements of a transaction are sent before the answer to the first is looked at. At most 30, up to which
/// `join_all` sends them in their order.
const PIPELINE: usize = 16;
/// How many connections are kept for the lanes; see [`super::lanes`].
pub(super) const LANES: usize = 2;

/// The database.
pub(super) struct Database {
    /// Connections for everything but the lanes.
    shared: Pool,
    /// One connection for each lane, which has to wait for nobody.
    lanes: Pool,
    place: String,
    /// How long to wait for an answer: a second more than the server works at it.
    answer_limit: Duration,
    /// How long a call takes at most.
    call_limit: Duration,
    pauses: AtomicU32,
}

impl Database {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, PostgresError> {
        Ok(Self {
            shared: connect::pool(options, options.connections)?,
            lanes: connect::pool(options, LANES)?,
            place: options.place(),
            answer_limit: options.statement_timeout + Duration::from_secs(1),
            call_limit: options.call_limit(),
            // Nodes that start together pause differently.
            pauses: AtomicU32::new(std::process::id()),
        })
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Closes all connections once they are given back.
    pub(super) fn close(&self) {
        self.shared.close();
        self.lanes.close();
    }

    /// A connection of the pool that is shared.
    pub(super) async fn connection(&self) -> Result<Lease, Failure> {
        lease(&self.shared).await
    }

    /// The rows of a statement that reads, or that may be done twice.
    pub(super) async fn rows(&self, statement: &Statement) -> Result<Vec<Row>, Outage> {
        let mut attempts = Attempts::default();
        let rows = async {
            loop {
                match self.query(&self.shared, statement).await {
                    Ok(rows) => return Ok(rows),
                    Err(failure) => attempts.another(self, failure).await?,
                }
            }
        };
        let rows = self.within_call(rows).await.and_then(|rows| rows);
        rows.map_err(|failure| failure.outage(&self.place))
    }

    /// Makes guarded changes, all or none. Each statement must touch one row; when one does not, its guard failed.
    pub(super) async fn change(&self, changes: &[Statement]) -> Result<(), CommitError> {
        let mut attempts = Attempts::default();
        let guards_held = async {
            loop {
                match self.transact(changes).await {
                    Ok(held) => return Ok(held),
                    Err(failure) => attempts.another(self, failure).await?,
                }
            }
        };
        match self.within_call(guards_held).await.and_then(|held| held) {
            Ok(true) => Ok(()),
            Ok(false) if attempts.doubt => Err(self.doubtful().into()),
            Ok(false) => Err(CommitError::Conflict),
            Err(failure) => Err(failure.outage(&self.place).into()),
        }
    }

    /// Makes many guarded changes with one statement, each for itself. Answers the statement's rows, and whether an
    /// earlier attempt may have made those that are missing.
    pub(super) async fn change_each(&self, statement: &Statement) -> Result<(Vec<Row>, bool), Failure> {
        let mut attempts = Attempts::default();
        let rows = async {
            loop {
                match self.query(&self.lanes, statement).await {
                    Ok(rows) => return Ok(rows),
                    Err(failure) => attempts.another(self, failure).await?,
                }
            }
        };
        let rows = self.within_call(rows).await.and_then(|rows| rows);
        match rows {
            Ok(rows) => Ok((rows, attempts.doubt)),
            // Whatever ended the last attempt, it does not tell about the others.
            Err(failure) if attempts.doubt => Err(Failure { fate: Fate::Lost, ..failure }),
            Err(failure) => Err(failure),
        }
    }

    /// What is answered when a guard failed and an earlier attempt may have been the reason.
    pub(super) fn doubtful(&self) -> Outage {
        Outage(format!(
            "the database {}: the connection was lost while a change was made, and it cannot be told whether it was \
             made; whoever asked tries again and is answered by what is stored",
            self.place
        ))
    }

    /// Waits at most as long as a call of the store may take.
    pub(super) async fn within_call<T>(&self, call: impl Future<Output = T>) -> Result<T, Failure> {
        timeout(self.call_limit, call).await.map_err(|_| Failure::silence(self.call_limit))
    }

    /// One attempt at a statement. Its answer is complete, and what it wrote is committed, when the rows end: they
    /// end with ReadyForQuery, which the server sends after the commit.
    async fn query(&self, pool: &Pool, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let lease = lease(pool).await?;
        let rows = async {
            let prepared =
                lease.prepare_cached(statement.sql).await.map_err(|error| Failure::of(&error, false))?;
            let rows = lease.query_raw(&prepared, &statement.values).await;
            let rows = async { rows?.try_collect().await }.await;
            rows.map_err(|error| Failure::of(&error, true))
        };
        let rows = self.within_answer(rows).await;
        give_back(lease, &rows);
        rows
    }

    /// One attempt at all changes. Answers whether every guard held; when one did not, nothing was written.
    async fn transact(&self, changes: &[Statement]) -> Result<bool, Failure> {
        let lease = lease(&self.shared).await?;
        let held = async {
            match changes {
                // The server makes one statement a transaction by itself.
                [change] => alone(&lease, change).await,
                _ => transaction(&lease, changes).await,
            }
        };
        let held = self.within_answer(held).await;
        give_back(lease, &held);
        held
    }

    /// Waits a little longer than the server works at a statement: what it says is better than silence. A server that is
    /// silent says nothing on the connections that nobody uses now either, and each would cost somebody as long to see.
    async fn within_answer<T>(&self, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(self.answer_limit, answer).await.unwrap_or_else(|_| {
            for pool in [&self.shared, &self.lanes] {
                pool.retain(|_, _| false);
            }
            Err(Failure::silence(self.answer_limit))
        })
    }
}

/// The attempts at one call.
#[derive(Default)]
struct Attempts {
    failed: u32,
    /// Whether one of them may have written something.
    doubt: bool,
}

impl Attempts {
    /// Waits before another attempt, longer each time; or answers why there is none. Those who wait at the same time
    /// wait differently, without chance: the multiplication spreads the numbers of their turns (Knuth).
    async fn another(&mut self, database: &Database, failure: Failure) -> Result<(), Failure> {
        self.doubt |= failure.leaves_doubt();
        if !failure.is_worth_another() || self.failed == MOST_RETRIES {
            return Err(failure);
        }
        tracing::debug!(failed = self.failed, why = failure.why, "the database is asked once more");
        let turn = database.pauses.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B1);
        let longest = 10_u32 << self.failed;
        sleep(Duration::from_millis(u64::from(longest / 2 + turn % longest))).await;
        self.failed += 1;
        Ok(())
    }
}

async fn lease(pool: &Pool) -> Result<Lease, Failure> {
    let object = pool.get().await;
    object.map(Lease::new).map_err(|error| Failure::no_connection(&error, pool.status().max_size))
}

/// Gives the connection back, unless what came of it says that it is of no more use.
fn give_back<T>(lease: Lease, outcome: &Result<T, Failure>) {
    if outcome.as_ref().err().is_none_or(|failure| failure.keeps_connection) {
        lease.keep();
    }
}

async fn alone(lease: &Lease, change: &Statement) -> Result<bool, Failure> {
    let prepared = lease.prepare_cached(change.sql).await.map_err(|error| Failure::of(&error, false))?;
    let touched = lease.execute_raw(&prepared, &change.values).await;
    touched.map(|touched| touched == 1).map_err(|error| Failure::of(&error, true))
}

async fn transaction(lease: &Lease, changes: &[Statement]) -> Result<bool, Failure> {
    let uncommitted = |error| Failure::of(&error, false);
    let held = guards_hold(lease, changes).await;
    match held {
        Ok(true) => lease.batch_execute("COMMIT").await.map_err(|error| Failure::of(&error, true))?,
        Ok(false) => lease.batch_execute("ROLLBACK").await.map_err(uncommitted)?,
        Err(error) => {
            let mut failure = uncommitted(error);
            failure.keeps_connection &= lease.batch_execute("ROLLBACK").await.is_ok();
            return Err(failure);
        }
    }
    held.map_err(uncommitted)
}

/// Begins a transaction and makes the changes in it until a guard fails.
async fn guards_hold(lease: &Lease, changes: &[Statement]) -> Result<bool, Error> {
    let mut prepared = Vec::with_capacity(changes.len());
    for change in changes {
        prepared.push((lease.prepare_cached(change.sql).await?, change));
    }
    // By itself: were it sent along and failed, each of the changes would be a transaction of its own.
    lease.batch_execute("BEGIN").await?;
    for group in prepared.chunks(PIPELINE) {
        let sent = group.iter().map(|(prepared, change)| lease.execute_raw(prepared, &change.values));
        for touched in join_all(sent).await {
            if touched? != 1 {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
