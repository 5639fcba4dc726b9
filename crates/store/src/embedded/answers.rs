//! Answers on their way from the writer to those who asked.
//!
//! To wake a task from a thread that is not of its runtime is a system call, and often a change of threads and one
//! back, which together cost more than the answer did. So the answers of a whole group go over at once, to a task that
//! gives each to whoever waits for it: from within the runtime that is next to nothing.

use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::session::Session;
use doorward_core::store::{CommitError, Outage};
use tokio::sync::{mpsc, oneshot};

use crate::records::Record;

/// An answer and who waits for it. Whoever no longer waits does not mind.
pub(super) enum Answer {
    Session(oneshot::Sender<Result<Option<Session>, Outage>>, Result<Option<Session>, Outage>),
    Record(oneshot::Sender<Result<Arc<Record>, Outage>>, Result<Arc<Record>, Outage>),
    Committed(oneshot::Sender<Result<(), CommitError>>, Result<(), CommitError>),
}

impl Answer {
    fn give(self) {
        match self {
            Self::Session(to, session) => drop(to.send(session)),
            Self::Record(to, record) => drop(to.send(record)),
            Self::Committed(to, outcome) => drop(to.send(outcome)),
        }
    }
}

/// The writer's end.
pub(super) struct Answers(mpsc::UnboundedSender<Vec<Answer>>);

impl Answers {
    pub(super) fn give(&self, answers: Vec<Answer>) {
        // Without a runtime that hands them out, the answers come from here.
        if let Err(mpsc::error::SendError(answers)) = self.0.send(answers) {
            answers.into_iter().for_each(Answer::give);
        }
    }
}

/// The end of those who ask.
pub(super) struct Deliveries(Mutex<Option<mpsc::UnboundedReceiver<Vec<Answer>>>>);

impl Deliveries {
    /// Both ends. No more can be under way than there are who wait.
    pub(super) fn channel() -> (Answers, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Answers(sender), Self(Mutex::new(Some(receiver))))
    }

    /// Sees to it that answers are handed out. To be called before the first question, in the runtime that asks; a store
    /// can be opened without one.
    pub(super) fn start(&self) {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut receiver) = receiver {
            tokio::spawn(async move {
                while let Some(answers) = receiver.recv().await {
                    answers.into_iter().for_each(Answer::give);
                }
            });
        }
    }
}
