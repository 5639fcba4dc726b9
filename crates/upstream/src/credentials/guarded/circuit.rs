//! Whether a backend is asked at all: the circuit that opens when it fails again and again.
//!
//! A state machine without a clock: whoever uses it says what time it is.

use std::time::Duration;

use tokio::time::Instant;

/// How many failures in a row open the circuit.
pub(super) const MOST_FAILURES: u32 = 5;
/// How long it is open at first. Each time the backend fails its probe, it is open twice as long.
const SHORTEST: Duration = Duration::from_secs(5);
/// How long it is open at most.
const LONGEST: Duration = Duration::from_mins(1);

/// The circuit of one backend.
#[derive(Debug)]
pub(super) struct Circuit {
    state: State,
    /// Counts how often it was opened: what was let through before then says nothing about the time since.
    opened: u64,
    /// How long it will be open the next time.
    period: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everybody is let through.
    Closed { failures: u32 },
    /// Nobody is.
    Open { until: Instant },
    /// One has been let through, to see how the backend is.
    Probing,
}

/// Leave to ask the backend. It must be given back with how that went.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Pass {
    opened: u64,
}

/// What an outcome did to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has opened for that long.
    Opened(Duration),
    /// It has closed.
    Closed,
}

impl Circuit {
    pub(super) const fn new() -> Self {
        Self { state: State::Closed { failures: 0 }, opened: 0, period: SHORTEST }
    }

    /// Leave to ask the backend; or how long there will be none, at least.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until } if now < until => return Err(until - now),
            State::Open { .. } => self.state = State::Probing,
            State::Probing => return Err(Duration::ZERO),
        }
        Ok(Pass { opened: self.opened })
    }

    /// The backend is in order.
    pub(super) fn succeeded(&mut self, _: Pass) -> Option<Turn> {
        let was = std::mem::replace(&mut self.state, State::Closed { failures: 0 });
        self.period = SHORTEST;
        (!matches!(was, State::Closed { .. })).then_some(Turn::Closed)
    }

    /// The backend was not asked, so nothing is known of it: the next one is let through instead.
    pub(super) fn not_asked(&mut self, Pass { opened }: Pass, now: Instant) {
        if self.state == State::Probing && opened == self.opened {
            self.state = State::Open { until: now };
        }
    }

    /// The backend is out of order.
    pub(super) fn failed(&mut self, Pass { opened }: Pass, now: Instant) -> Option<Turn> {
        if opened != self.opened {
            return None;
        }
        if let State::Closed { failures } = &mut self.state {
            *failures += 1;
            if *failures < MOST_FAILURES {
                return None;
            }
        }
        let period = self.period;
        self.state = State::Open { until: now + period };
        self.opened += 1;
        self.period = (period * 2).min(LONGEST);
        Some(Turn::Opened(period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// A circuit that has just opened, and when.
    fn opened() -> (Circuit, Instant) {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 1..MOST_FAILURES {
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.failed(pass, now), None);
        }
        let pass = circuit.admit(now).unwrap();
        assert_eq!(circuit.failed(pass, now), Some(Turn::Opened(seconds(5))));
        (circuit, now)
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 0..100 {
            for _ in 1..MOST_FAILURES {
                let pass = circuit.admit(now).unwrap();
                assert_eq!(circuit.failed(pass, now), None);
            }
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.succeeded(pass), None);
        }
        opened();
    }

    #[test]
    fn it_lets_nobody_through_until_its_time_is_over_and_then_one() {
        let (mut circuit, then) = opened();
        assert_eq!(circuit.admit(then), Err(seconds(5)));
        assert_eq!(circuit.admit(then + seconds(4)), Err(seconds(1)));
        let probe = circuit.admit(then + seconds(5)).unwrap();
        assert_eq!(circuit.admit(then + seconds(6)), Err(Duration::ZERO), "one is enough");
        assert_eq!(circuit.succeeded(probe), Some(Turn::Closed));
        for _ in 0..3 {
            assert!(circuit.admit(then + seconds(6)).is_ok());
        }
    }

    #[test]
    fn who_did_not_ask_says_nothing_of_it() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 1..MOST_FAILURES {
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.failed(pass, now), None);
            let pass = circuit.admit(now).unwrap();
            circuit.not_asked(pass, now);
        }
        let (early, pass) = (circuit.admit(now).unwrap(), circuit.admit(now).unwrap());
        assert_eq!(circuit.failed(pass, now), Some(Turn::Opened(seconds(5))));
        let now = now + seconds(5);
        let probe = circuit.admit(now).unwrap();
        circuit.not_asked(early, now);
        assert_eq!(circuit.admit(now), Err(Duration::ZERO), "the probe is still under way");
        circuit.not_asked(probe, now);
        let probe = circuit.admit(now).unwrap();
        assert_eq!(circuit.failed(probe, now), Some(Turn::Opened(seconds(10))));
    }

    #[test]
    fn it_is_open_longer_each_time_up_to_a_minute_and_begins_again_when_it_has_closed() {
        let (mut circuit, mut now) = opened();
        let mut last = 5;
        for period in [10, 20, 40, 60, 60] {
            now += seconds(last);
            let probe = circuit.admit(now).unwrap();
            assert_eq!(circuit.failed(probe, now), Some(Turn::Opened(seconds(period))));
            assert_eq!(circuit.admit(now), Err(seconds(period)));
            last = period;
        }
        now += seconds(60);
        let probe = circuit.admit(now).unwrap();
        assert_eq!(circuit.succeeded(probe), Some(Turn::Closed));
        for _ in 1..MOST_FAILURES {
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.failed(pass, now), None);
        }
        let pass = circuit.admit(now).unwrap();
        assert_eq!(circuit.failed(pass, now), Some(Turn::Opened(seconds(5))));
    }

    #[test]
    fn who_was_let_through_before_it_opened_cannot_keep_it_open_but_can_close_it() {
        let mut circuit = Circuit::new();
        let now = Instant::now();
        let mut early: Vec<Pass> = (0..20).map(|_| circuit.admit(now).unwrap()).collect();
        for pass in early.drain(..5) {
            circuit.failed(pass, now);
        }
        for pass in early.drain(..10) {
            assert_eq!(circuit.failed(pass, now + seconds(4)), None);
        }
        assert_eq!(circuit.admit(now + seconds(4)), Err(seconds(1)), "it opened once");
        let probe = circuit.admit(now + seconds(5)).unwrap();
        assert_eq!(circuit.failed(early.pop().unwrap(), now + seconds(5)), None, "the probe decides");
        assert_eq!(circuit.succeeded(early.pop().unwrap()), Some(Turn::Closed));
        assert_eq!(circuit.failed(probe, now + seconds(6)), None, "one failure");
        assert!(circuit.admit(now + seconds(6)).is_ok());
    }
}
