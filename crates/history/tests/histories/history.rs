//! What was asked and what came of it: the history that the checker judges.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Microseconds since the run began, by a clock that never goes back.
pub(crate) type Moment = u64;

/// A secret text, by the number it got when it was first seen. Equal texts have equal numbers, and no secret is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) u32);

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// RegisterClient.
    Register,
    /// A person signs in; the browser's session begins.
    SignIn,
    /// A signed-in browser opens its portal page.
    Visit { browser: Name },
    /// A browser signs out.
    SignOut { browser: Name },
    /// A browser's person ends the only session of the client that redeemed `code`, on the portal page.
    End { browser: Name, code: Name },
    /// StartDeviceAuthorization.
    StartDevice,
    /// A person approves a device request, from the page for the code to the decision.
    Approve { browser: Name, device: Name },
    /// CreateToken with a device code.
    Poll { device: Name },
    /// A person approves at `/authorize`.
    Authorize { browser: Name },
    /// CreateToken with an authorization code.
    Redeem { code: Name },
    /// CreateToken with a refresh token.
    Refresh { token: Name },
    /// ListAccounts.
    List { access: Name },
    /// GetRoleCredentials.
    Credentials { access: Name },
    /// Logout.
    Logout { access: Name },
}

impl Call {
    /// For the summary.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SignIn => "sign in",
            Self::Visit { .. } => "portal page",
            Self::SignOut { .. } => "sign out",
            Self::End { .. } => "end on the page",
            Self::StartDevice => "start device",
            Self::Approve { .. } => "approve device",
            Self::Poll { .. } => "poll",
            Self::Authorize { .. } => "authorize",
            Self::Redeem { .. } => "redeem code",
            Self::Refresh { .. } => "refresh",
            Self::List { .. } => "ListAccounts",
            Self::Credentials { .. } => "GetRoleCredentials",
            Self::Logout { .. } => "logout",
        }
    }

    /// The browser whose cookie was sent.
    pub(crate) const fn browser(self) -> Option<Name> {
        match self {
            Self::Visit { browser }
            | Self::SignOut { browser }
            | Self::End { browser, .. }
            | Self::Approve { browser, .. }
            | Self::Authorize { browser } => Some(browser),
            _ => None,
        }
    }

    /// The access token that was sent.
    pub(crate) const fn access(self) -> Option<Name> {
        match self {
            Self::List { access } | Self::Credentials { access } | Self::Logout { access } => Some(access),
            _ => None,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Ok(Gave),
    /// It was refused.
    Refused(Reason),
    /// A 5xx, a broken connection, or silence: it may have been done, or be done yet.
    Unknown(String),
    /// Nobody listened: it was not done.
    Unsent,
}

/// What an answer gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gave {
    /// Nothing that is used later.
    Nothing,
    /// The session of a browser.
    Browser(Name),
    /// A device code.
    Device(Name),
    /// An authorization code.
    Code(Name),
    /// Tokens.
    Tokens { refresh: Name, access: Name },
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// AuthorizationPendingException.
    Pending,
    /// SlowDownException, or the page's words for it.
    SlowDown,
    /// InvalidGrantException of a code.
    InvalidGrant,
    /// InvalidGrantException of a refresh token.
    InvalidRefreshToken,
    /// UnauthorizedException of the portal.
    Unauthorized,
    /// The browser was sent to the sign-in page.
    SignedOut,
    /// No device request waits with this code, or it was decided already.
    NotOpen,
    /// There is no such session on the portal page.
    NotListed,
    /// Anything else, which no client of ours gives a reason for.
    Other(String),
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) client: usize,
    /// The node that answered, or did not.
    pub(crate) node: usize,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    pub(crate) call: Call,
    pub(crate) outcome: Outcome,
}

impl Op {
    pub(crate) const fn gave(&self) -> Option<Gave> {
        match &self.outcome {
            Outcome::Ok(gave) => Some(*gave),
            _ => None,
        }
    }

    pub(crate) const fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_))
    }

    pub(crate) const fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown(_))
    }

    pub(crate) const fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Ok(_) | Outcome::Refused(_))
    }

    /// Whether it may have been done.
    pub(crate) const fn may_be_done(&self) -> bool {
        self.is_ok() || self.is_unknown()
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9.3} .. {:>9.3} ms  client {:<2} node {}  {:?} -> {:?}",
            milliseconds(self.begun),
            milliseconds(self.ended),
            self.client,
            self.node,
            self.call,
            self.outcome
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub(crate) fn milliseconds(moment: Moment) -> f64 {
    moment as f64 / 1000.0
}

/// What was down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Node(usize),
    Database,
}

/// A time in which something was down: from just before it was killed until it was seen to work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) part: Part,
    pub(crate) from: Moment,
    pub(crate) to: Moment,
}

/// A whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    pub(crate) faults: Vec<Fault>,
    /// When everything had been started again for the last time, and the clients began to ask for what they have.
    pub(crate) settled: Moment,
}

impl History {
    /// The longest time from the death of a part to the end of the last operation that failed, of those that began
    /// before the next part died.
    pub(crate) fn longest_outage(&self, bound: Moment, of: impl Fn(Part) -> bool) -> Duration {
        let outage = |fault: &Fault| {
            let next = self.faults.iter().map(|other| other.from).filter(|from| *from > fault.from).min();
            let failed = self.ops.iter().filter(|op| !op.is_answered() && fault.explains(op, bound));
            let failed = failed.filter(|op| next.is_none_or(|next| op.begun < next));
            failed.map(|op| op.ended.saturating_sub(fault.from)).max().unwrap_or_default()
        };
        let longest = self.faults.iter().filter(|fault| of(fault.part)).map(outage).max();
        Duration::from_micros(longest.unwrap_or_default())
    }

    /// Operations by kind and outcome.
    pub(crate) fn summary(&self) -> String {
        let mut counted: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        for op in &self.ops {
            let column = match op.outcome {
                Outcome::Ok(_) => 0,
                Outcome::Refused(_) => 1,
                Outcome::Unknown(_) => 2,
                Outcome::Unsent => 3,
            };
            counted.entry(op.call.kind()).or_default()[column] += 1;
        }
        let mut text = format!("{:<20}{:>8}{:>8}{:>8}{:>8}\n", "", "ok", "refused", "unknown", "unsent");
        for (kind, [ok, refused, unknown, unsent]) in counted {
            writeln!(text, "{kind:<20}{ok:>8}{refused:>8}{unknown:>8}{unsent:>8}").unwrap();
        }
        text
    }
}

impl Fault {
    /// Whether `op` may have failed because of this, or of what was left of it until `bound` later.
    pub(crate) fn explains(&self, op: &Op, bound: Moment) -> bool {
        let concerns = match self.part {
            Part::Database => true,
            Part::Node(node) => node == op.node,
        };
        concerns && op.ended >= self.from && op.begun <= self.to.saturating_add(bound)
    }
}

/// Where the clients write.
pub(crate) struct Journal {
    began: Instant,
    answered: AtomicUsize,
    written: Mutex<(Vec<Op>, Vec<Fault>)>,
    names: Mutex<HashMap<String, Name>>,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            answered: AtomicUsize::default(),
            written: Mutex::default(),
            names: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        u64::try_from(self.began.elapsed().as_micros()).unwrap()
    }

    /// The name of a secret.
    pub(crate) fn name(&self, secret: &str) -> Name {
        let mut names = self.names.lock().unwrap();
        let next = Name(u32::try_from(names.len()).unwrap());
        *names.entry(secret.to_owned()).or_insert(next)
    }

    pub(crate) fn record(&self, op: Op) {
        self.answered.fetch_add(usize::from(op.is_answered()), Ordering::Relaxed);
        self.written.lock().unwrap().0.push(op);
    }

    pub(crate) fn fault(&self, part: Part, from: Moment) {
        let to = self.now();
        self.written.lock().unwrap().1.push(Fault { part, from, to });
    }

    /// How many operations were answered.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Everything, in the order in which it ended.
    pub(crate) fn history(&self, settled: Moment) -> History {
        let (ops, faults) = self.written.lock().unwrap().clone();
        History { ops, faults, settled }
    }
}
