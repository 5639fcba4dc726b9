//! What a history must not hold. Pure: it sees what was asked and answered, and when, and nothing of the servers.
//!
//! An operation took effect, if it did, at one moment between its beginning and its end. One whose outcome is unknown may
//! have taken effect at any moment since it began, or never. A rule is broken when no choice of moments explains what
//! was answered; the rules say so of two or three operations at a time, which is what a person can follow.

mod index;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::history::{History, Moment};
use index::Index;

/// What the rules depend on beside the history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The grace window of refresh tokens.
    pub(crate) grace: Moment,
    /// How much the servers' clock may differ from ours in measuring it.
    pub(crate) slack: Moment,
    /// How long after something works again operations may still fail because of it.
    pub(crate) bound: Moment,
}

/// The rules, by the words that say what is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A device code or an authorization code issued tokens twice, or one that nobody approved did.
    IssuedOnce,
    /// The successful refreshes of a session are one chain.
    OneChain,
    /// What has ended is accepted.
    EndedIsOver,
    /// A refresh token that was used up is accepted.
    UsedUp,
    /// Something is refused that must be good: a wrongful sign-out.
    WronglyRefused,
    /// A refusal that says something untrue, or that no client of ours gives a reason for.
    WrongReason,
    /// No answer, though nothing was down.
    NoReasonToFail,
    /// Something was not asked for at the end, so nobody knows that it was kept.
    NotAskedAtTheEnd,
}

/// A broken rule, and the operations that break it.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) ops: Vec<usize>,
}

/// Everything that is wrong with a history.
pub(crate) fn check(history: &History, terms: Terms) -> Vec<Violation> {
    let index = Index::of(history, terms);
    let mut violations = Vec::new();
    for rule in rules::ALL {
        rule(&index, &mut violations);
    }
    violations
}

/// The first violations, with their operations.
pub(crate) fn describe(history: &History, violations: &[Violation]) -> String {
    let mut text = format!("{} violations\n", violations.len());
    for violation in violations.iter().take(8) {
        writeln!(text, "{:?}", violation.rule).unwrap();
        for op in &violation.ops {
            writeln!(text, "    {}", history.ops[*op]).unwrap();
        }
        // What else happened to the same, for whoever looks for the reason.
        let first = &history.ops[violation.ops[0]];
        let client = history.ops.iter().filter(|op| op.client == first.client && op.ended <= first.ended);
        let mut before: Vec<_> = client.rev().skip(1).take(12).collect();
        before.reverse();
        for op in before {
            writeln!(text, "        before: {op}").unwrap();
        }
    }
    let mut faults = history.faults.iter().map(|fault| format!("{fault:?}")).collect::<Vec<_>>();
    faults.truncate(40);
    text + &faults.join("\n")
}
