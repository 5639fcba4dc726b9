//! The only place that reads a clock or draws a random byte. Everything else takes both as values.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use doorward_core::credentials::Entropy;
use doorward_core::time::{Lifetime, Timestamp};
use zeroize::{Zeroize as _, Zeroizing};

/// The clock of a server. A test clock is the same clock, ahead of its time.
#[derive(Debug)]
pub struct Clock {
    base: Base,
    started: Instant,
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
    pub fn system() -> Self {
        Self { base: Base::System, started: Instant::now(), ahead_millis: AtomicI64::new(0) }
    }

    /// A clock that stands at `at` until it is advanced.
    #[must_use]
    pub fn fixed(at: Timestamp) -> Self {
        Self { base: Base::Fixed(at), started: Instant::now(), ahead_millis: AtomicI64::new(0) }
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

    /// How long it has been running. Unlike the time of day this never goes back, whatever is done to the system's
    /// clock, so it is what intervals are measured by.
    #[must_use]
    pub fn ticks(&self) -> Duration {
        let ahead = Duration::from_millis(self.ahead_millis.load(Ordering::Relaxed).unsigned_abs());
        match self.base {
            Base::System => self.started.elapsed() + ahead,
            Base::Fixed(_) => ahead,
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

/// Random bytes of the operating system, fetched a few hundred at a time: a request draws a handful of short values,
/// and a system call for each would cost more than all the cryptography.
#[derive(Default)]
pub struct OsEntropy(Mutex<Supply>);

/// Bytes that were fetched and not yet given away. Each is given away once, and wiped as it goes.
struct Supply {
    bytes: Zeroizing<[u8; SUPPLY_BYTES]>,
    left: usize,
}

const SUPPLY_BYTES: usize = 512;

impl Default for Supply {
    fn default() -> Self {
        Self { bytes: Zeroizing::new([0; SUPPLY_BYTES]), left: 0 }
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SUPPLY_BYTES {
            return fetch(bytes);
        }
        // A thread that panicked while it held the lock gave nothing away twice: what is left only shrinks.
        let mut supply = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if supply.left < bytes.len() {
            fetch(&mut supply.bytes[..]);
            supply.left = SUPPLY_BYTES;
        }
        let end = supply.left;
        supply.left -= bytes.len();
        let start = supply.left;
        bytes.copy_from_slice(&supply.bytes[start..end]);
        supply.bytes[start..end].zeroize();
    }
}

impl fmt::Debug for OsEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OsEntropy")
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that draws random bytes")]
fn fetch(bytes: &mut [u8]) {
    // From the system and not from the crypto library, which spends 30 ms of every start on gathering entropy of its
    // own. The call fails only on systems without a random number generator; without one there are no secrets, and
    // going on would be worse than any crash.
    getrandom::fill(bytes).expect("random bytes of the operating system");
}

/// An array of random bytes.
pub(crate) fn draw<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // Holds: openid-connect-core-16.12-guessing, rfc8628-5.2-device-code-entropy
    #[test]
    fn ledger_35_no_random_value_is_given_twice() {
        let entropy = OsEntropy::default();
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(draw::<16>(&entropy)), "a value came twice");
        }
        let mut long = [0; 2 * SUPPLY_BYTES];
        entropy.fill(&mut long);
        assert!(long.chunks(16).all(|part| seen.insert(part.try_into().unwrap())));
        // All 256 values occur about equally often: 160 000 bytes, 625 of each.
        let mut count = [0_u32; 256];
        seen.iter().flatten().for_each(|byte| count[usize::from(*byte)] += 1);
        assert!(count.iter().all(|&count| (450..850).contains(&count)), "{count:?}");
    }
}
