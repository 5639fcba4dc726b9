//! Rotations, many with one statement: a statement for each would cost the database ten times as much.
//!
//! A lane makes one batch at a time on its own connection. Those who come meanwhile wait and are the next batch, so
//! that batches grow with the load and an idle server makes nobody wait. A session always takes the same lane, which
//! keeps its rotations in their order.
//!
//! A batch has one rotation of each session, sorted by id so that lanes and nodes that meet at the same rows come to
//! them in the same order; where the database takes another, it finds the deadlock and one of them tries again. Each
//! caller has an outcome of its own:
//!
//! - Its guard held: the session's id is among the rows that came back.
//! - Its guard did not hold: a conflict. So it is for those who wanted to rotate the same session from the same
//!   generation and were not first: whatever becomes of the first, the guard of the others fails after it.
//! - A row was locked by somebody else for too long, and nothing was written: then each rotation of the batch is made
//!   by itself, so that only that row's fails.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use doorward_core::ids::SessionId;
use doorward_core::store::{CommitError, Outage};
use doorward_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;
use uuid::Uuid;

use super::changes;
use super::database::{Database, LANES};
use super::error::{Failure, Fate};

/// The most rotations of one statement: enough to share its costs, few enough that a batch seldom loses a race.
const BATCH: usize = 128;
/// How many rotations may wait for a lane; whoever comes then waits for a place.
const QUEUE: usize = 1024;

/// A change of kind `Rotate`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) id: SessionId,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) at: Timestamp,
}

/// The way to the lanes. They end when it is gone, after what was queued.
pub(super) struct Lanes(Vec<mpsc::Sender<Job>>);

impl Lanes {
    pub(super) fn start(database: &Arc<Database>) -> Self {
        let start = |_| {
            let (jobs, queue) = mpsc::channel(QUEUE);
            tokio::spawn(run(database.clone(), queue));
            jobs
        };
        Self((0..LANES).map(start).collect())
    }

    /// Makes a rotation.
    pub(super) async fn rotate(&self, database: &Database, rotation: Rotation) -> Result<(), CommitError> {
        let lane = &self.0[lane_of(rotation.id)];
        let (answer, answered) = oneshot::channel();
        let outcome = async {
            lane.send(Job::Rotate(Waiting { rotation, answer })).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())
        };
        let outcome = database.within_call(outcome).await.and_then(|outcome| outcome);
        outcome.map_err(|failure| failure.outage(database.place()))?
    }

    /// Waits until what was queued is done. What comes later is an outage.
    pub(super) async fn close(&self) {
        for lane in &self.0 {
            let (answer, answered) = oneshot::channel();
            if lane.send(Job::Close(answer)).await.is_ok() {
                // An error means that the lane has gone, which is all that is wanted.
                let _ = answered.await;
            }
        }
    }
}

/// What a lane is asked for.
enum Job {
    Rotate(Waiting),
    Close(oneshot::Sender<()>),
}

/// A rotation whose caller waits.
struct Waiting {
    rotation: Rotation,
    answer: oneshot::Sender<Result<(), CommitError>>,
}

impl Waiting {
    fn tell(self, outcome: Result<(), CommitError>) {
        // Whoever no longer waits does not mind; so it is with every answer here.
        let _ = self.answer.send(outcome);
    }
}

fn closed() -> Failure {
    Failure { fate: Fate::Nothing, keeps_connection: false, why: "the store is closed".into() }
}

async fn run(database: Arc<Database>, mut queue: mpsc::Receiver<Job>) {
    let mut waiting = VecDeque::new();
    let mut closing = Vec::new();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(job) => take(job, &mut waiting, &mut closing),
                None => break,
            }
        }
        while waiting.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            take(job, &mut waiting, &mut closing);
        }
        if !closing.is_empty() {
            queue.close();
        }
        Batch::of(&mut waiting).make(&database).await;
    }
    for answer in closing {
        let _ = answer.send(());
    }
}

fn take(job: Job, waiting: &mut VecDeque<Waiting>, closing: &mut Vec<oneshot::Sender<()>>) {
    match job {
        Job::Rotate(rotation) => waiting.push_back(rotation),
        Job::Close(answer) => closing.push(answer),
    }
}

/// Where the rotations of a session are made. The last byte of an id is drawn at random; the first ones are a time.
fn lane_of(id: SessionId) -> usize {
    usize::from(id.as_bytes()[15]) % LANES
}

/// Rotations that are made together.
#[derive(Default)]
struct Batch {
    /// One for each session, sorted by id.
    firsts: Vec<Waiting>,
    /// Those who come too late for the same, by the session whose first they came after.
    late: HashMap<SessionId, Vec<Waiting>>,
}

impl Batch {
    /// Takes from `waiting` what can be made together. What is left waits for the next batch, in its order.
    fn of(waiting: &mut VecDeque<Waiting>) -> Self {
        let mut batch = Self::default();
        let mut taken: HashMap<SessionId, Rotation> = HashMap::new();
        for job in std::mem::take(waiting) {
            let rotation = job.rotation;
            // Whoever gave up has been told of an outage; it is better not to make the change behind their back.
            if job.answer.is_closed() {
                continue;
            }
            match taken.get(&rotation.id) {
                None if batch.firsts.len() < BATCH => {
                    taken.insert(rotation.id, rotation);
                    batch.firsts.push(job);
                }
                Some(first) if first.from == rotation.from && first.from != first.to => {
                    batch.late.entry(rotation.id).or_default().push(job);
                }
                None | Some(_) => waiting.push_back(job),
            }
        }
        batch.firsts.sort_unstable_by_key(|job| job.rotation.id);
        batch
    }

    async fn make(self, database: &Arc<Database>) {
        if self.firsts.is_empty() {
            return;
        }
        let rotations: Vec<_> = self.firsts.iter().map(|job| job.rotation).collect();
        let statement = changes::rotate_each(&rotations);
        let outcome = database.change_each(&statement).await;
        match outcome.and_then(|(rows, doubt)| Ok((made(&rows)?, doubt))) {
            Ok((made, false)) => self.answer(&made, &CommitError::Conflict),
            Ok((made, true)) => self.answer(&made, &database.doubtful().into()),
            Err(failure) if failure.fate == Fate::Locked && self.firsts.len() > 1 => {
                self.make_apart(database);
            }
            Err(failure) => self.fail(&failure.outage(database.place())),
        }
    }

    /// Tells everybody, and `otherwise` to those whose id is not among those `made`.
    fn answer(self, made: &[Uuid], otherwise: &CommitError) {
        for job in self.firsts {
            let went = made.binary_search(&Uuid::from_bytes(*job.rotation.id.as_bytes())).is_ok();
            job.tell(if went { Ok(()) } else { Err(otherwise.clone()) });
        }
        // These were never sent.
        self.late.into_values().flatten().for_each(|job| job.tell(Err(CommitError::Conflict)));
    }

    fn fail(self, outage: &Outage) {
        let late = self.late.into_values().flatten();
        self.firsts.into_iter().chain(late).for_each(|job| job.tell(Err(outage.clone().into())));
    }

    /// Makes each by itself, on the connections that all share, and lets the lane go on.
    fn make_apart(mut self, database: &Arc<Database>) {
        for job in self.firsts {
            let (database, late) = (database.clone(), self.late.remove(&job.rotation.id));
            tokio::spawn(async move {
                let outcome = database.change(&[changes::rotate(&job.rotation)]).await;
                let after = match &outcome {
                    Ok(()) | Err(CommitError::Conflict) => CommitError::Conflict,
                    Err(outage) => outage.clone(),
                };
                job.tell(outcome);
                late.into_iter().flatten().for_each(|job| job.tell(Err(after.clone())));
            });
        }
    }
}

/// The ids that came back, sorted.
fn made(rows: &[Row]) -> Result<Vec<Uuid>, Failure> {
    let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>();
    let mut ids = ids.map_err(|error| Failure::of(&error, true))?;
    ids.sort_unstable();
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fixtures::{NOW, session_id};

    fn waiting(
        rotations: &[(u64, u32, u32)],
    ) -> (VecDeque<Waiting>, Vec<oneshot::Receiver<Result<(), CommitError>>>) {
        let jobs = rotations.iter().map(|&(n, from, to)| {
            let (answer, answered) = oneshot::channel();
            (Waiting { rotation: Rotation { id: session_id(n), from, to, at: NOW }, answer }, answered)
        });
        jobs.unzip()
    }

    #[test]
    fn sessions_that_began_together_are_spread_over_the_lanes() {
        let mut used = [0; LANES];
        for n in 0..100_u64 {
            let random = session_id(n).as_bytes().last_chunk().copied().unwrap();
            used[lane_of(SessionId::drawn(NOW, random))] += 1;
        }
        assert!(used.iter().all(|count| *count > 20), "{used:?}");
    }

    #[test]
    fn a_batch_has_one_rotation_of_each_session_and_leaves_the_rest_in_order() {
        let (mut jobs, _answers) =
            waiting(&[(1, 0, 1), (2, 0, 1), (1, 0, 1), (1, 1, 2), (2, 0, 7), (3, 5, 5), (3, 5, 5)]);
        let batch = Batch::of(&mut jobs);
        assert_eq!(batch.firsts.len(), 3);
        assert!(batch.firsts.is_sorted_by_key(|job| job.rotation.id));
        assert_eq!(batch.late[&session_id(1)].len(), 1);
        assert_eq!(batch.late[&session_id(2)].len(), 1);
        // Another generation, and one that leaves its guard as it was.
        let left: Vec<_> = jobs.iter().map(|job| (job.rotation.id, job.rotation.from)).collect();
        assert_eq!(left, [(session_id(1), 1), (session_id(3), 5)]);
    }

    #[test]
    fn a_batch_is_bounded_and_leaves_out_whoever_gave_up() {
        let many: Vec<_> = (0..300).map(|n| (n, 0, 1)).collect();
        let (mut jobs, mut answers) = waiting(&many);
        answers.remove(0);
        assert_eq!(Batch::of(&mut jobs).firsts.len(), BATCH);
        assert_eq!(jobs.len(), 299 - BATCH);
        assert_eq!(jobs[0].rotation.id, session_id(BATCH as u64 + 1));
    }

    #[tokio::test]
    async fn each_caller_of_a_batch_has_an_outcome_of_its_own() {
        let (mut jobs, answers) = waiting(&[(1, 0, 1), (2, 0, 1), (1, 0, 1), (2, 0, 1)]);
        let batch = Batch::of(&mut jobs);
        let doubt = CommitError::from(Outage("who knows".into()));
        batch.answer(&[Uuid::from_bytes(*session_id(2).as_bytes())], &doubt);
        let mut outcomes = Vec::new();
        for answer in answers {
            outcomes.push(answer.await.unwrap());
        }
        let (doubt, conflict) = (Err(doubt), Err(CommitError::Conflict));
        assert_eq!(outcomes, [doubt, Ok(()), conflict.clone(), conflict]);
    }
}
