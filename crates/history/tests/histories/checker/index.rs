//! The history by what its operations are about.

use std::collections::HashMap;

use super::Terms;
use crate::history::{Call, Gave, History, Moment, Name, Op, Outcome, Reason};

/// A chain of refresh tokens and the access tokens that came with them; or the session of a browser.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The operation that began it.
    pub(super) begun_by: usize,
    /// Operations with its tokens or its cookie, in the order in which they ended.
    pub(super) uses: Vec<usize>,
    /// The operation that says first that it is over, and when that was said.
    pub(super) over: Option<(Moment, usize)>,
    /// What may have ended it, and since when.
    pub(super) causes: Vec<(Moment, usize)>,
}

impl Session {
    /// Whether something other than `op` may have ended it before `op` did.
    pub(super) fn may_be_over(&self, history: &History, op: usize) -> bool {
        self.causes.iter().any(|(since, cause)| *cause != op && *since < history.ops[op].ended)
    }
}

pub(super) struct Index<'h> {
    pub(super) history: &'h History,
    pub(super) terms: Terms,
    pub(super) polls: HashMap<Name, Vec<usize>>,
    pub(super) approvals: HashMap<Name, Vec<usize>>,
    pub(super) redemptions: HashMap<Name, Vec<usize>>,
    pub(super) refreshes: HashMap<Name, Vec<usize>>,
    pub(super) sessions: Vec<Session>,
    /// By refresh token, access token or browser.
    pub(super) session_of: HashMap<Name, usize>,
}

impl<'h> Index<'h> {
    pub(super) fn of(history: &'h History, terms: Terms) -> Self {
        let mut index = Self {
            history,
            terms,
            polls: HashMap::new(),
            approvals: HashMap::new(),
            redemptions: HashMap::new(),
            refreshes: HashMap::new(),
            sessions: Vec::new(),
            session_of: HashMap::new(),
        };
        index.sort_by_artefact();
        index.find_sessions();
        index.find_ends();
        index
    }

    pub(super) fn op(&self, op: usize) -> &'h Op {
        &self.history.ops[op]
    }

    pub(super) fn ops(&self) -> impl Iterator<Item = (usize, &'h Op)> + use<'h> {
        self.history.ops.iter().enumerate()
    }

    /// The session that an operation used.
    pub(super) fn session_used(&self, call: Call) -> Option<usize> {
        let name = match call {
            Call::Refresh { token } => token,
            _ => call.access().or(call.browser())?,
        };
        self.session_of.get(&name).copied()
    }

    /// What a refresh token was exchanged for.
    pub(super) fn successor(&self, token: Name) -> Option<Name> {
        self.refreshes.get(&token)?.iter().find_map(|op| match self.op(*op).gave() {
            Some(Gave::Tokens { refresh, .. }) => Some(refresh),
            _ => None,
        })
    }

    /// Whether a refresh may have met a session that had already left its token behind: the one after it may have been
    /// exchanged, or the window may have been over.
    pub(super) fn may_be_replay(&self, op: usize, token: Name) -> bool {
        let presented = self.op(op);
        // An operation without an answer may be under way for as long as it likes.
        let until = if presented.is_answered() { presented.ended } else { Moment::MAX };
        let others = |token: Name| {
            let of_token = self.refreshes.get(&token).into_iter().flatten();
            of_token.map(|op| (*op, self.op(*op))).filter(move |(other, of)| *other != op && of.may_be_done())
        };
        let left = self.successor(token).into_iter().flat_map(others).any(|(_, other)| other.begun < until);
        let window = self.terms.grace.saturating_sub(self.terms.slack);
        left || others(token).any(|(_, other)| until.saturating_sub(other.begun) >= window)
    }

    fn sort_by_artefact(&mut self) {
        for (at, op) in self.ops() {
            let (by, name) = match op.call {
                Call::Poll { device } => (&mut self.polls, device),
                Call::Approve { device, .. } => (&mut self.approvals, device),
                Call::Redeem { code } => (&mut self.redemptions, code),
                Call::Refresh { token } => (&mut self.refreshes, token),
                _ => continue,
            };
            by.entry(name).or_default().push(at);
        }
    }

    fn find_sessions(&mut self) {
        for (at, op) in self.ops() {
            let first = match (op.call, op.gave()) {
                (Call::Poll { .. } | Call::Redeem { .. }, Some(Gave::Tokens { refresh, access })) => {
                    self.session_of.insert(access, self.sessions.len());
                    refresh
                }
                (Call::SignIn, Some(Gave::Browser(browser))) => browser,
                _ => continue,
            };
            let session = self.sessions.len();
            self.session_of.insert(first, session);
            let mut chain = vec![first];
            // A chain that leads back to a token it had is a violation by itself, and must not hold us up.
            while let Some(next) = self.successor(chain[chain.len() - 1]).filter(|next| !chain.contains(next))
            {
                self.session_of.insert(next, session);
                chain.push(next);
            }
            self.sessions.push(Session { begun_by: at, ..Session::default() });
        }
        for (_, op) in self.ops() {
            if let (Call::Refresh { token }, Some(Gave::Tokens { access, .. })) = (op.call, op.gave())
                && let Some(session) = self.session_of.get(&token)
            {
                self.session_of.insert(access, *session);
            }
        }
        for (at, op) in self.ops() {
            if let Some(session) = self.session_used(op.call) {
                self.sessions[session].uses.push(at);
            }
        }
    }

    fn find_ends(&mut self) {
        for (at, op) in self.ops() {
            let (session, is_cause, is_over) = match op.call {
                Call::Refresh { token } => {
                    let refused = op.outcome == Outcome::Refused(Reason::InvalidRefreshToken);
                    let cause = (refused || op.is_unknown()) && self.may_be_replay(at, token);
                    (self.session_of.get(&token), cause, refused)
                }
                Call::Logout { access } => {
                    let refused = op.outcome == Outcome::Refused(Reason::Unauthorized);
                    (self.session_of.get(&access), op.may_be_done(), op.is_ok() || refused)
                }
                Call::List { access } | Call::Credentials { access } => {
                    let refused = op.outcome == Outcome::Refused(Reason::Unauthorized);
                    (self.session_of.get(&access), false, refused)
                }
                Call::SignOut { browser } => {
                    let refused = op.outcome == Outcome::Refused(Reason::SignedOut);
                    (self.session_of.get(&browser), op.may_be_done(), op.is_ok() || refused)
                }
                Call::Visit { browser } | Call::Approve { browser, .. } | Call::Authorize { browser } => {
                    let refused = op.outcome == Outcome::Refused(Reason::SignedOut);
                    (self.session_of.get(&browser), false, refused)
                }
                Call::End { code, .. } => {
                    let session = self.begun_with(code);
                    let unlisted = op.outcome == Outcome::Refused(Reason::NotListed);
                    (session, op.may_be_done(), op.is_ok() || unlisted)
                }
                // A second redemption finds the session of the first, and ends it.
                Call::Redeem { code } => {
                    let refused = op.outcome == Outcome::Refused(Reason::InvalidGrant);
                    (self.begun_with(code), refused || op.is_unknown(), refused)
                }
                Call::Register | Call::SignIn | Call::StartDevice | Call::Poll { .. } => continue,
            };
            let Some(session) = session.copied() else { continue };
            let session = &mut self.sessions[session];
            if is_cause {
                session.causes.push((op.begun, at));
            }
            if is_over && session.over.is_none_or(|(when, _)| op.ended < when) {
                session.over = Some((op.ended, at));
            }
        }
    }

    /// The session that began with an authorization code.
    fn begun_with(&self, code: Name) -> Option<&usize> {
        let redemptions = self.redemptions.get(&code).into_iter().flatten();
        redemptions.filter_map(|op| self.op(*op).gave()).find_map(|gave| match gave {
            Gave::Tokens { refresh, .. } => self.session_of.get(&refresh),
            _ => None,
        })
    }
}
