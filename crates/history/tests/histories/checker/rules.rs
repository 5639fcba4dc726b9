//! The rules, one function each.

use std::collections::HashMap;

use super::index::Index;
use super::{Rule, Violation};
use crate::history::{Call, Gave, Name, Op, Outcome, Reason};

type Check = fn(&Index<'_>, &mut Vec<Violation>);

pub(super) const ALL: [Check; 8] = [
    issued_once,
    one_chain,
    ended_is_over,
    used_up,
    wrongly_refused,
    wrong_reason,
    no_reason_to_fail,
    asked_at_the_end,
];

fn found(violations: &mut Vec<Violation>, rule: Rule, ops: impl Into<Vec<usize>>) {
    violations.push(Violation { rule, ops: ops.into() });
}

/// A code issues tokens once; a device code only after an approval, and a request is approved once.
fn issued_once(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for ops in index.polls.values().chain(index.redemptions.values()).chain(index.approvals.values()) {
        let done: Vec<_> = ops.iter().copied().filter(|op| index.op(*op).is_ok()).collect();
        if done.len() > 1 {
            found(violations, Rule::IssuedOnce, done);
        }
    }
    for (device, polls) in &index.polls {
        for poll in polls.iter().filter(|op| index.op(**op).is_ok()) {
            let approvals = index.approvals.get(device).into_iter().flatten();
            let mut approvals = approvals.map(|op| index.op(*op)).filter(|op| op.may_be_done());
            if !approvals.any(|approval| approval.begun < index.op(*poll).ended) {
                found(violations, Rule::IssuedOnce, [*poll]);
            }
        }
    }
}

/// A refresh token has one successor, and a token comes after one other.
fn one_chain(index: &Index<'_>, violations: &mut Vec<Violation>) {
    let mut first: HashMap<Name, (usize, Name)> = HashMap::new();
    let mut before: HashMap<Name, (usize, Option<Name>)> = HashMap::new();
    for (at, op) in index.ops() {
        let Some(Gave::Tokens { refresh, .. }) = op.gave() else { continue };
        let presented = match op.call {
            Call::Refresh { token } => Some(token),
            _ => None,
        };
        if let Some(token) = presented {
            let (earlier, successor) = *first.entry(token).or_insert((at, refresh));
            if successor != refresh || token == refresh {
                found(violations, Rule::OneChain, [earlier, at]);
            }
        }
        // Each redemption begins a chain of its own, so what it gives must be new.
        let (earlier, predecessor) = *before.entry(refresh).or_insert((at, presented));
        if earlier != at && (predecessor != presented || presented.is_none()) {
            found(violations, Rule::OneChain, [earlier, at]);
        }
    }
}

/// Once it was answered that a session is over, nothing that begins later is accepted of it.
fn ended_is_over(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for session in &index.sessions {
        let Some((over, because)) = session.over else { continue };
        for at in &session.uses {
            let op = index.op(*at);
            if op.is_ok() && op.begun > over {
                found(violations, Rule::EndedIsOver, [because, *at]);
            }
        }
    }
}

/// A token whose successor was exchanged is used up, and so is one that was exchanged longer ago than the window.
fn used_up(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for (token, ops) in &index.refreshes {
        let exchanged = |token: Name| {
            let ops = index.refreshes.get(&token).into_iter().flatten();
            ops.copied().filter(|op| index.op(*op).is_ok()).min_by_key(|op| index.op(*op).ended)
        };
        let own = exchanged(*token);
        let after = index.successor(*token).and_then(exchanged);
        for at in ops.iter().copied().filter(|op| index.op(*op).is_ok()) {
            let begun = index.op(at).begun;
            if let Some(after) = after.filter(|after| index.op(*after).ended < begun) {
                found(violations, Rule::UsedUp, [after, at]);
            } else if let Some(own) = own.filter(|own| {
                let window = index.terms.grace + index.terms.slack;
                begun.saturating_sub(index.op(*own).ended) > window
            }) {
                found(violations, Rule::UsedUp, [own, at]);
            }
        }
    }
}

/// What is good is not refused: a refusal needs something that may have made it true.
fn wrongly_refused(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for (at, op) in index.ops() {
        let Outcome::Refused(reason) = &op.outcome else { continue };
        let by_another = |ops: Option<&Vec<usize>>| {
            let others = ops.into_iter().flatten().filter(|other| **other != at);
            others.map(|other| index.op(*other)).any(|other| other.may_be_done() && other.begun < op.ended)
        };
        let over = || {
            let session = index.session_used(op.call).map(|session| &index.sessions[session]);
            session.is_some_and(|session| session.may_be_over(index.history, at))
        };
        let explained = match (op.call, reason) {
            (Call::Refresh { token }, Reason::InvalidRefreshToken) => {
                over() || index.may_be_replay(at, token)
            }
            (_, Reason::Unauthorized | Reason::SignedOut) => over(),
            (Call::Redeem { code }, Reason::InvalidGrant) => by_another(index.redemptions.get(&code)),
            (Call::Poll { device }, Reason::InvalidGrant) => by_another(index.polls.get(&device)),
            (Call::Approve { device, .. }, Reason::NotOpen) => by_another(index.approvals.get(&device)),
            (Call::End { code, .. }, Reason::NotListed) => {
                let ends = index.redemptions.get(&code).into_iter().flatten();
                let sessions = ends.filter_map(|op| match index.op(*op).gave() {
                    Some(Gave::Tokens { refresh, .. }) => index.session_of.get(&refresh),
                    _ => None,
                });
                sessions.into_iter().any(|session| index.sessions[*session].may_be_over(index.history, at))
            }
            // Pending is true until somebody has approved.
            (Call::Poll { device }, Reason::Pending) => {
                let approvals = index.approvals.get(&device).into_iter().flatten();
                let mut approved = approvals.filter(|other| index.op(**other).is_ok());
                approved.all(|approval| index.op(*approval).ended >= op.begun)
            }
            // The others are of another rule.
            _ => true,
        };
        if !explained {
            found(violations, Rule::WronglyRefused, [at]);
        }
    }
}

/// Each call has its own refusals.
fn wrong_reason(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for (at, op) in index.ops() {
        let Outcome::Refused(reason) = &op.outcome else { continue };
        let fits = match op.call {
            Call::Register | Call::StartDevice => false,
            // Passwords are hashed by few at a time, and the others are asked to wait.
            Call::SignIn => *reason == Reason::SlowDown,
            Call::Visit { .. } | Call::SignOut { .. } | Call::Authorize { .. } => {
                *reason == Reason::SignedOut
            }
            Call::End { .. } => matches!(reason, Reason::SignedOut | Reason::NotListed),
            Call::Approve { .. } => matches!(reason, Reason::SignedOut | Reason::NotOpen),
            Call::Poll { .. } => matches!(reason, Reason::Pending | Reason::SlowDown | Reason::InvalidGrant),
            Call::Redeem { .. } => *reason == Reason::InvalidGrant,
            Call::Refresh { .. } => *reason == Reason::InvalidRefreshToken,
            Call::List { .. } | Call::Credentials { .. } | Call::Logout { .. } => {
                *reason == Reason::Unauthorized
            }
        };
        if !fits {
            found(violations, Rule::WrongReason, [at]);
        }
    }
}

/// Whoever got no answer met something that was down, or had been until a moment ago.
fn no_reason_to_fail(index: &Index<'_>, violations: &mut Vec<Violation>) {
    for (at, op) in index.ops() {
        let explained = || index.history.faults.iter().any(|fault| fault.explains(op, index.terms.bound));
        if !op.is_answered() && !explained() {
            found(violations, Rule::NoReasonToFail, [at]);
        }
    }
}

/// After the last restart each session was used, and refreshed if nothing may have ended it; and each approved request was
/// polled for.
fn asked_at_the_end(index: &Index<'_>, violations: &mut Vec<Violation>) {
    let at_the_end = |op: &Op| op.begun >= index.history.settled && op.is_answered();
    for session in &index.sessions {
        let mut uses = session.uses.iter().map(|op| index.op(*op)).filter(|op| at_the_end(op));
        let is_browser = matches!(index.op(session.begun_by).call, Call::SignIn);
        let asked = if session.causes.is_empty() && !is_browser {
            uses.any(|op| matches!(op.call, Call::Refresh { .. }) && op.is_ok())
        } else {
            uses.next().is_some()
        };
        if !asked {
            found(violations, Rule::NotAskedAtTheEnd, [session.begun_by]);
        }
    }
    for (device, approvals) in &index.approvals {
        let polls = || index.polls.get(device).into_iter().flatten().map(|op| index.op(*op));
        // Spent says as much as tokens do: whether it may say so is another rule's.
        let spent = Outcome::Refused(Reason::InvalidGrant);
        let waits = !polls().any(|op| op.is_ok() || op.outcome == spent);
        let approved = approvals.iter().find(|op| index.op(**op).is_ok());
        if let Some(approved) = approved.filter(|_| waits && !polls().any(at_the_end)) {
            found(violations, Rule::NotAskedAtTheEnd, [*approved]);
        }
    }
}
