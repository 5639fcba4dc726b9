//! How often somebody may ask. Counted by the server's own clock, and in this process alone: these limits keep a node from
//! being kept busy, and each node has to look after itself. What protects an account is in `guesses.rs`.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::ids::{DeviceRequestId, SessionId};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::ambient::Clock;

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, Ticks, NoOpMiddleware<Duration>>;

/// The server's clock as governor wants it: it never goes back, and a test clock that is advanced refills what has been
/// used up.
#[derive(Clone, Debug)]
struct Ticks(Arc<Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.ticks()
    }
}

/// Who may ask how often.
#[derive(Debug)]
pub struct Limits {
    polls: Option<Limiter<DeviceRequestId>>,
    calls: Option<Calls>,
}

#[derive(Debug)]
struct Calls {
    anonymous: Limiter<IpAddr>,
    device_starts: Limiter<IpAddr>,
    tokens: Limiter<IpAddr>,
    proofs: Limiter<IpAddr>,
    portal: Limiter<SessionId>,
}

/// Somebody asked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften;

/// What is limited beside device polls, which have their own interval.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// RegisterClient, StartDeviceAuthorization or `/authorize`, which anybody may call.
    Anonymous(IpAddr),
    /// A device request to be kept.
    DeviceStart(IpAddr),
    /// CreateToken other than a device poll.
    Token(IpAddr),
    /// A DPoP proof, whose use is remembered for a while, whoever made it.
    Proof(IpAddr),
    /// A portal operation.
    Portal(SessionId),
}

impl Limits {
    /// Device polls at `poll_interval` seconds (0: at any speed), and the other limits if `calls`.
    #[must_use]
    pub fn new(clock: &Arc<Clock>, poll_interval: u32, calls: bool) -> Self {
        // The AWS CLI polls twice at the start without waiting, and clocks jitter: a few polls more than the
        // interval allows are free, and three quarters of the interval will do.
        let polls = (poll_interval > 0).then(|| {
            let every = Duration::from_millis(u64::from(poll_interval) * 750);
            limiter(clock, every, 5)
        });
        let calls = calls.then(|| Calls {
            anonymous: limiter(clock, Duration::from_millis(200), 200),
            // Requests are kept for twenty minutes, and the store counts them by single address: this counts a network.
            device_starts: limiter(clock, Duration::from_millis(1200), 1000),
            tokens: limiter(clock, Duration::from_millis(20), 500),
            // A use takes some hundred bytes for half an hour at most: an address fills less than 50 MB.
            proofs: limiter(clock, Duration::from_millis(5), 1000),
            // Tools list the roles of every account at once.
            portal: limiter(clock, Duration::from_millis(10), 1000),
        });
        Self { polls, calls }
    }

    /// A poll for a device request.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn poll(&self, request: DeviceRequestId) -> Result<(), TooOften> {
        check(self.polls.as_ref(), &request)
    }

    /// Any other call.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn call(&self, call: Call) -> Result<(), TooOften> {
        let Some(calls) = &self.calls else { return Ok(()) };
        match call {
            Call::Anonymous(address) => check(Some(&calls.anonymous), &network(address)),
            Call::DeviceStart(address) => check(Some(&calls.device_starts), &network(address)),
            Call::Token(address) => check(Some(&calls.tokens), &network(address)),
            Call::Proof(address) => check(Some(&calls.proofs), &network(address)),
            Call::Portal(session) => check(Some(&calls.portal), &session),
        }
    }

    /// Forgets everybody who could ask at once again.
    pub fn forget(&self) {
        if let Some(polls) = &self.polls {
            polls.retain_recent();
        }
        if let Some(calls) = &self.calls {
            let Calls { anonymous, device_starts, tokens, proofs, portal } = calls;
            anonymous.retain_recent();
            device_starts.retain_recent();
            tokens.retain_recent();
            proofs.retain_recent();
            portal.retain_recent();
        }
    }
}

fn limiter<K: Hash + Eq + Clone>(clock: &Arc<Clock>, every: Duration, burst: u32) -> Limiter<K> {
    // Both are constants above zero, or derived from an interval that is.
    let quota = Quota::with_period(every).expect("a period above zero");
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let ticks = Ticks(Arc::clone(clock));
    RateLimiter::new(quota.allow_burst(burst), HashMapStateStore::default(), ticks)
}

fn check<K: Hash + Eq + Clone>(limiter: Option<&Limiter<K>>, key: &K) -> Result<(), TooOften> {
    limiter.map_or(Ok(()), |limiter| limiter.check_key(key).map_err(|_| TooOften))
}

/// Whoever has one IPv6 address has the 2^64 beside it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::time::{Lifetime, Timestamp};

    use super::*;

    fn clock() -> Arc<Clock> {
        Arc::new(Clock::fixed(Timestamp::from_seconds(1_800_000_000)))
    }

    #[test]
    fn t21_t22_polls_that_keep_their_interval_are_never_slowed_down() {
        let clock = clock();
        let (limits, code) = (Limits::new(&clock, 1, true), DeviceRequestId::from_bytes([1; 16]));
        for _ in 0..3 {
            assert_eq!(limits.poll(code), Ok(()));
        }
        for _ in 0..600 {
            clock.advance(Lifetime::from_seconds(1));
            assert_eq!(limits.poll(code), Ok(()));
        }
    }

    #[test]
    fn t23_faster_polls_are_slowed_down_each_code_by_itself() {
        let clock = clock();
        let (limits, code) = (Limits::new(&clock, 1, true), DeviceRequestId::from_bytes([1; 16]));
        assert!((0..20).any(|_| limits.poll(code) == Err(TooOften)));
        assert_eq!(limits.poll(DeviceRequestId::from_bytes([2; 16])), Ok(()));
        clock.advance(Lifetime::from_seconds(1));
        assert_eq!(limits.poll(code), Ok(()));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limits = Limits::new(&clock(), 1, true);
        let address = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 1, 0, 0, 0, last));
        assert!((0..1000).any(|last| limits.call(Call::Anonymous(address(last))) == Err(TooOften)));
        let mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1));
        assert_eq!(network(mapped), IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let limits = Limits::new(&clock(), 0, false);
        for _ in 0..10_000 {
            assert_eq!(limits.poll(DeviceRequestId::from_bytes([1; 16])), Ok(()));
            assert_eq!(limits.call(Call::Anonymous([127, 0, 0, 1].into())), Ok(()));
        }
    }
}
