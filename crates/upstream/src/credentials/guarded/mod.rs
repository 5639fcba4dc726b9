//! A broker that stays out of the others' way: what every broker of a real backend is wrapped in.
//!
//! - A backend that fails again and again is left alone for a while.
//! - Only so many calls are under way at once, and only so many wait for their turn. So a slow or dead backend costs little
//!   memory, and no other backend anything. Few of them are one person's, so that nobody keeps it from the others.
//! - Credentials are kept for a while and given again, and those who want the same at the same time share one
//!   call. It goes on when one of them gives up.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest};
use doorward_core::ids::BrokerName;
use doorward_core::time::Lifetime;
use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

mod circuit;
mod kept;

use circuit::{Circuit, Pass, Turn};
use kept::{KeptCredentials, Key};

/// How many calls are under way at once.
const MOST_AT_ONCE: usize = 64;
/// How many different ones there are at most, those that wait for their turn included.
const MOST_CALLS: usize = 1024;
/// How many of these are one person's at most.
const MOST_OF_ONE: usize = 32;
/// How long a call waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a call may take, whatever the broker thinks. Brokers give up earlier by themselves.
const LONGEST_CALL: Duration = Duration::from_secs(24);

/// A guarded broker.
pub struct Guarded(Arc<Inner>);

struct Inner {
    name: BrokerName,
    broker: Arc<dyn CredentialBroker>,
    kept: KeptCredentials,
    turns: Semaphore,
    calls: Mutex<HashMap<Key, Outcome>>,
    circuit: Mutex<Guard>,
}

/// What a call comes to, as soon as it is known.
type Outcome = watch::Receiver<Option<Result<RoleCredentials, BrokerError>>>;

struct Guard {
    circuit: Circuit,
    /// What the backend failed with last.
    last: String,
}

impl Guarded {
    /// Guards the broker called `name`. Its credentials are given again for `cache`, and never past half of their life; zero
    /// gives everybody their own, but for those who ask at the same time.
    #[must_use]
    pub fn new(name: BrokerName, broker: Arc<dyn CredentialBroker>, cache: Lifetime) -> Self {
        Self(Arc::new(Inner {
            name,
            broker,
            kept: KeptCredentials::new(cache),
            turns: Semaphore::new(MOST_AT_ONCE),
            calls: Mutex::default(),
            circuit: Mutex::new(Guard { circuit: Circuit::new(), last: String::new() }),
        }))
    }
}

#[async_trait]
impl CredentialBroker for Guarded {
    fn kind(&self) -> &'static str {
        self.0.broker.kind()
    }

    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        let mut outcome = match self.0.start(request) {
            Ok(outcome) => outcome,
            Err(known) => return known,
        };
        // A call always has an outcome, unless the process is going down.
        let known = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        known.unwrap_or_else(|| Err(failed(BrokerStep::Answer, "the call was broken off".into())))
    }
}

impl Inner {
    /// The call that gets what is wanted: one that is under way, or a new one. An outcome that is known already is the
    /// error.
    fn start(
        self: &Arc<Self>,
        request: &RoleRequest,
    ) -> Result<Outcome, Result<RoleCredentials, BrokerError>> {
        let key = Key::of(request);
        let mut calls = locked(&self.calls);
        // Under the lock, so that what a call has just kept is found: it keeps first, and is over then.
        if let Some(credentials) = self.kept.get(&key, request.now) {
            return Err(Ok(credentials));
        }
        if let Some(outcome) = calls.get(&key) {
            return Ok(outcome.clone());
        }
        if calls.len() >= MOST_CALLS {
            return Err(Err(self.busy("too many wait for it")));
        }
        if calls.keys().filter(|call| call.is_of(&request.person)).count() >= MOST_OF_ONE {
            return Err(Err(self.busy("too many of this person's calls wait for it")));
        }
        let (known, outcome) = watch::channel(None);
        calls.insert(key.clone(), outcome.clone());
        drop(calls);
        let (inner, request) = (self.clone(), request.clone());
        let call = async move {
            let result = inner.call(&request).await;
            if let Ok(credentials) = &result {
                inner.kept.keep(key.clone(), credentials, request.now);
            }
            locked(&inner.calls).remove(&key);
            known.send_replace(Some(result));
        };
        tokio::spawn(call.in_current_span());
        Ok(outcome)
    }

    async fn call(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        let Ok(place) = timeout(LONGEST_WAIT, self.turns.acquire()).await else {
            return Err(self.busy("none of the calls under way has ended"));
        };
        let pass = locked(&self.circuit).admit()?;
        let asked = AssertUnwindSafe(self.broker.role_credentials(request)).catch_unwind();
        let result = match timeout(LONGEST_CALL, asked).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed(BrokerStep::Answer, "the broker panicked".into())),
            Err(_) => {
                Err(failed(BrokerStep::Network, format!("no answer within {} s", LONGEST_CALL.as_secs())))
            }
        };
        drop(place);
        let mut guard = locked(&self.circuit);
        if result.as_ref().is_err_and(|error| error.step == BrokerStep::Token) {
            guard.circuit.not_asked(pass, Instant::now());
            return result;
        }
        let error = result.as_ref().err().filter(|error| is_outage(error));
        let turn = match error {
            None => guard.circuit.succeeded(pass),
            Some(error) => {
                guard.last = error.to_string();
                guard.circuit.failed(pass, Instant::now())
            }
        };
        drop(guard);
        match turn {
            Some(Turn::Opened(period)) => tracing::warn!(
                broker = %self.name,
                seconds = period.as_secs(),
                error = error.map(tracing::field::display),
                "a backend fails again and again, and is left alone for a while"
            ),
            Some(Turn::Closed) => {
                tracing::info!(broker = %self.name, "a backend that was left alone answers again");
            }
            None => {}
        }
        result
    }

    fn busy(&self, why: &str) -> BrokerError {
        let last = &locked(&self.circuit).last;
        let last = if last.is_empty() { String::new() } else { format!("; its last failure: {last}") };
        failed(BrokerStep::Circuit, format!("{why}, {MOST_AT_ONCE} at once{last}"))
    }
}

impl Guard {
    fn admit(&mut self) -> Result<Pass, BrokerError> {
        self.circuit.admit(Instant::now()).map_err(|left| self.open(left))
    }

    fn open(&self, left: Duration) -> BrokerError {
        let until = match left.as_millis().div_ceil(1000) {
            0 => "while it is tried whether it answers again".into(),
            seconds => format!("for another {seconds} s"),
        };
        failed(BrokerStep::Circuit, format!("it is not asked {until}; its last failure: {}", self.last))
    }
}

/// Whether an error says that the backend is out of order. One who was denied, or a permission set that the backend
/// does not take, must not keep the others from it.
fn is_outage(error: &BrokerError) -> bool {
    !error.denied
        && matches!(error.step, BrokerStep::Network | BrokerStep::Answer | BrokerStep::OwnCredentials)
}

const fn failed(step: BrokerStep, detail: String) -> BrokerError {
    BrokerError { denied: false, step, detail }
}

/// Nothing that is done under these locks can panic halfway, so a poisoned one is taken all the same.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
