//! Folding the log of rotations into `head`, a little at a time, between the transactions of the callers.
//!
//! The log is the truth until its end: first every rotation that it had at the beginning is written into `head`, and
//! only then are its rows taken away, the oldest first. So whenever the process dies, what the log still has is no
//! older than what `head` has.

use doorward_core::ids::SessionId;

/// How many rotations the log may have before it is folded: 7 MiB, and some 50 ms at a start. The more there are for each page
/// of `head`, the fewer pages a rotation costs.
pub(super) const FOLD_AFTER: usize = 1 << 18;
/// How many heads are written in one transaction at least: at most so many pages.
pub(super) const HEADS: usize = 256;
/// How many rows of the log are taken away in one transaction.
pub(super) const LOG_ROWS: usize = 256;

/// How far it is.
#[derive(Debug, Default)]
pub(super) enum Fold {
    /// There is nothing to do yet.
    #[default]
    Idle,
    /// The heads up to `last` are written; all the rotations are in the rows of the log up to `through`.
    Heads { last: Option<SessionId>, through: i64 },
    /// The rows of the log up to `through` are of no more use.
    Log { through: i64 },
}
