//! The only place that reads a clock or draws a random byte. Everything else takes both as values.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use doorward_core::credentials::Entropy;
use doorward_core::time::{Lifetime, Timestamp};

/// The clock of a server. A test clock is the same clock, ahead of its time.
#[derive(Debug)]
pub struct Clock {
    base: Base,
    ahead_millis: AtomicI64,
}

#[derive(Debug)]
enum Base {
    System,
    Fixed(Timestamp),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self { base: Base::System, ahead_millis: AtomicI64::new(0) }
    }

    /// A clock that stands at `at` until it is advanced.
    #[must_use]
    pub const fn fixed(at: Timestamp) -> Self {
        Self { base: Base::Fixed(at), ahead_millis: AtomicI64::new(0) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.unshifted().millis() + self.ahead_millis.load(Ordering::Relaxed))
    }

    /// Now as everybody else's clock has it, however far this one was advanced.
    #[must_use]
    pub fn unshifted(&self) -> Timestamp {
        match self.base {
            Base::System => system_time(),
            Base::Fixed(at) => at,
        }
    }

    /// Puts the clock forward, for good.
    pub fn advance(&self, by: Lifetime) {
        self.ahead_millis.fetch_add(i64::from(by.seconds()) * 1000, Ordering::Relaxed);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Random bytes of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws random bytes")]
    fn fill(&self, bytes: &mut [u8]) {
        // From the system and not from the crypto library, which spends 30 ms of every start on gathering entropy of
        // its own. The call fails only on systems without a random number generator; without one there are no secrets,
        // and going on would be worse than any crash.
        getrandom::fill(bytes).expect("random bytes of the operating system");
    }
}

/// An array of random bytes.
pub(crate) fn draw<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
