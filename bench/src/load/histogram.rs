//! Latencies in buckets whose width grows with the value, as HdrHistogram has them: below 1.6 % error.

use std::time::Duration;

/// Buckets per doubling: 64 keep the error of a reading below one in 64.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Up to 2^37 ns, more than two minutes; whatever is longer counts as that.
const LONGEST: u64 = (1 << 37) - 1;

/// How long requests took.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; bucket(LONGEST) + 1], total: 0, longest: Duration::ZERO }
    }

    pub(crate) fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(LONGEST).min(LONGEST);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.longest = self.longest.max(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn longest(&self) -> Duration {
        self.longest
    }

    /// The latency that `per_mille` of all requests did not exceed.
    pub(crate) fn at(&self, per_mille: u64) -> Duration {
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_edge(index)).min(self.longest);
            }
        }
        self.longest
    }
}

/// Values below `STEPS` have a bucket each; from there every doubling is cut into `STEPS` equal ones.
fn bucket(nanos: u64) -> usize {
    let doublings = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    // 37 bits leave 31 doublings of 64 buckets: always a small number.
    usize::try_from(u64::from(doublings) * STEPS + (nanos >> doublings)).unwrap_or(usize::MAX)
}

fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    let doublings = (index / STEPS).saturating_sub(1);
    let within = index - doublings * STEPS;
    ((within + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_below_the_edge_of_its_bucket_and_above_the_one_before() {
        for nanos in (0..100_000).chain((0..37).map(|bit| 1 << bit)).chain([LONGEST]) {
            let index = bucket(nanos);
            assert!(nanos <= upper_edge(index), "{nanos} in {index}");
            assert!(index == 0 || nanos > upper_edge(index - 1), "{nanos} in {index}");
        }
    }

    #[test]
    fn percentiles_are_within_two_percent() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (per_mille, micros) in [(500, 5_000.0), (990, 9_900.0), (1000, 10_000.0)] {
            let read = histogram.at(per_mille).as_secs_f64() * 1e6;
            assert!((read / micros - 1.0).abs() < 0.02, "{per_mille}: {read} against {micros}");
        }
        assert_eq!(histogram.longest(), Duration::from_millis(10));
        assert_eq!(histogram.total(), 10_000);
    }

    #[test]
    fn merging_is_recording_into_one() {
        let (mut left, mut right) = (Histogram::new(), Histogram::new());
        left.record(Duration::from_micros(10));
        right.record(Duration::from_millis(10));
        left.merge(&right);
        assert_eq!(left.total(), 2);
        assert_eq!(left.longest(), Duration::from_millis(10));
        assert!(left.at(500) < Duration::from_micros(11));
    }

    #[test]
    fn an_empty_histogram_reads_zero() {
        assert_eq!(Histogram::new().at(990), Duration::ZERO);
    }
}
