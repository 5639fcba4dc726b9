//! From samples to the table: medians over the rounds, and ratios of what was measured in the same round.

use std::fmt::Write as _;

use serde::Serialize;

use crate::load::Scenario;

/// The best other server's durable refreshes per second of its CPU time, measured once; see the README.
const BEST_OTHER_REFRESHES: f64 = 1_000.0;
const MEBIBYTE: f64 = 1_048_576.0;

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    Doorward,
    Bare,
}

impl Side {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Doorward => "doorward",
            Self::Bare => "bare",
        }
    }
}

/// One scenario against one server for one span of one round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) side: Side,
    pub(crate) scenario: Scenario,
    pub(crate) connections: usize,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) seconds: f64,
    /// The server's own CPU time.
    pub(crate) cpu_seconds: f64,
    /// How busy the load program's core was, from 0 to 1.
    pub(crate) load_busy: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) longest_ms: f64,
    /// How much the data directory grew meanwhile.
    pub(crate) stored_bytes: i64,
}

impl Sample {
    fn by_the_clock(&self) -> f64 {
        real(self.requests) / self.seconds
    }

    /// A span too short for one tick of CPU time has no such figure.
    fn per_cpu_second(&self) -> Option<f64> {
        (self.cpu_seconds > 0.0).then(|| real(self.requests) / self.cpu_seconds)
    }

    fn measures_the_same_as(&self, other: &Self) -> bool {
        self.scenario == other.scenario && self.connections == other.connections
    }
}

/// What a server costs before anybody calls it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) binary_bytes: u64,
    /// Resident, after one answer and a second of rest.
    pub(crate) idle_bytes: u64,
    /// Resident at the end of the run.
    pub(crate) loaded_bytes: u64,
    pub(crate) loaded_sessions: usize,
    /// From spawning to the first answered request, with an empty data directory.
    pub(crate) first_start_ms: Vec<f64>,
    /// The same with the data directory of an earlier start.
    pub(crate) restart_ms: Vec<f64>,
}

/// Everything a run found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Vec<String>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) footprint: Option<Footprint>,
    pub(crate) summary: Vec<Summary>,
}

/// Medians over all rounds of a scenario with so many connections.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    scenario: Scenario,
    connections: usize,
    doorward: Option<Figures>,
    bare: Option<Figures>,
    /// Doorward's requests by those of the bare server.
    ratio_per_cpu_second: Option<f64>,
    ratio_by_the_clock: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
struct Figures {
    per_cpu_second: Option<f64>,
    by_the_clock: f64,
    p50_ms: f64,
    p99_ms: f64,
    longest_ms: f64,
    load_busy: f64,
    errors: u64,
    most_stored_bytes: i64,
}

impl Figures {
    fn of(samples: &[&Sample]) -> Option<Self> {
        let middle =
            |figure: fn(&Sample) -> f64| median(samples.iter().map(|sample| figure(sample)).collect());
        Some(Self {
            per_cpu_second: median(samples.iter().filter_map(|sample| sample.per_cpu_second()).collect()),
            by_the_clock: middle(Sample::by_the_clock)?,
            p50_ms: middle(|sample| sample.p50_ms)?,
            p99_ms: middle(|sample| sample.p99_ms)?,
            longest_ms: samples.iter().map(|sample| sample.longest_ms).fold(0.0, f64::max),
            load_busy: middle(|sample| sample.load_busy)?,
            errors: samples.iter().map(|sample| sample.errors).sum(),
            most_stored_bytes: samples.iter().map(|sample| sample.stored_bytes).max().unwrap_or(0),
        })
    }
}

/// One line for each scenario and number of connections, in the order they were first measured.
pub(crate) fn summarise(samples: &[Sample]) -> Vec<Summary> {
    let mut summaries: Vec<Summary> = Vec::new();
    for (index, first) in samples.iter().enumerate() {
        if samples[..index].iter().any(|earlier| earlier.measures_the_same_as(first)) {
            continue;
        }
        let of = |side| -> Vec<&Sample> {
            let same = samples.iter().filter(|sample| sample.measures_the_same_as(first));
            same.filter(|sample| sample.side == side).collect()
        };
        let (doorward, bare) = (of(Side::Doorward), of(Side::Bare));
        let ratio = |figure: fn(&Sample) -> Option<f64>| {
            let pairs = doorward.iter().filter_map(|real| {
                let bare = bare.iter().find(|bare| bare.round == real.round)?;
                Some(figure(real)? / figure(bare)?)
            });
            median(pairs.collect())
        };
        summaries.push(Summary {
            scenario: first.scenario,
            connections: first.connections,
            ratio_per_cpu_second: ratio(Sample::per_cpu_second),
            ratio_by_the_clock: ratio(|sample| Some(sample.by_the_clock())),
            doorward: Figures::of(&doorward),
            bare: Figures::of(&bare),
        });
    }
    summaries
}

impl Report {
    /// The report as people read it.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        for condition in &self.conditions {
            let _ = writeln!(text, "- {condition}");
        }
        text.push_str(
            "\n| scenario | connections | server | requests/CPU s | requests/s | p50 ms | p99 ms | max ms \
             | load core busy | errors |\n| --- | --: | --- | --: | --: | --: | --: | --: | --: | --: |\n",
        );
        for summary in &self.summary {
            for (side, figures) in [(Side::Doorward, &summary.doorward), (Side::Bare, &summary.bare)] {
                let Some(figures) = figures else { continue };
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {:.2} | {:.2} | {:.1} | {:.0} % | {} |",
                    summary.scenario.title(),
                    summary.connections,
                    side.name(),
                    figures.per_cpu_second.map_or_else(|| "-".to_owned(), thousands),
                    thousands(figures.by_the_clock),
                    figures.p50_ms,
                    figures.p99_ms,
                    figures.longest_ms,
                    figures.load_busy * 100.0,
                    figures.errors,
                );
            }
        }
        let goals = self.goals();
        if !goals.is_empty() {
            text.push_str("\n| what | goal | measured | reached |\n| --- | --- | --- | --- |\n");
        }
        for Goal { what, wanted, measured, reached } in goals {
            let reached = match reached {
                Some(true) => "yes",
                Some(false) => "no",
                None => "",
            };
            let _ = writeln!(text, "| {what} | {wanted} | {measured} | {reached} |");
        }
        text
    }

    fn goals(&self) -> Vec<Goal> {
        let mut goals: Vec<Goal> = self.summary.iter().flat_map(Summary::goals).collect();
        if let Some(footprint) = &self.footprint {
            goals.extend(footprint.goals());
        }
        goals
    }
}

/// A line of the second table: what was wanted, and what came out.
struct Goal {
    what: String,
    wanted: String,
    measured: String,
    reached: Option<bool>,
}

impl Summary {
    fn goals(&self) -> Vec<Goal> {
        let Some(doorward) = &self.doorward else { return Vec::new() };
        let what = format!("{}, {} connections", self.scenario.title(), self.connections);
        let least = match self.scenario {
            Scenario::Register => Some(0.6),
            Scenario::PendingPoll | Scenario::Refresh => Some(0.7),
            Scenario::RoleCredentials => None,
        };
        let mut goals = Vec::new();
        for (of, ratio) in
            [("per CPU second", self.ratio_per_cpu_second), ("by the clock", self.ratio_by_the_clock)]
        {
            let Some(ratio) = ratio else { continue };
            goals.push(Goal {
                what: format!("{what}: doorward / bare {of}"),
                wanted: least.map_or_else(|| "none set".to_owned(), |least| format!(">= {least:.2}")),
                measured: format!("{ratio:.2}"),
                reached: least.map(|least| ratio >= least),
            });
        }
        if self.scenario == Scenario::Register {
            goals.push(Goal {
                what: format!("{what}: growth of the data directory"),
                wanted: "0 bytes".into(),
                measured: format!("{} bytes", doorward.most_stored_bytes),
                reached: Some(doorward.most_stored_bytes <= 0),
            });
        }
        if self.scenario == Scenario::Refresh {
            goals.push(Goal {
                what: format!("{what}: p99"),
                wanted: "< 10 ms".into(),
                measured: format!("{:.2} ms", doorward.p99_ms),
                reached: Some(doorward.p99_ms < 10.0),
            });
            if let Some(rate) = doorward.per_cpu_second {
                let times = rate / BEST_OTHER_REFRESHES;
                goals.push(Goal {
                    what: format!("{what}: times the best other server per CPU second"),
                    wanted: ">= 30".into(),
                    measured: format!("{times:.1}"),
                    reached: Some(times >= 30.0),
                });
            }
        }
        goals
    }
}

impl Footprint {
    fn goals(&self) -> Vec<Goal> {
        let idle = real(self.idle_bytes) / MEBIBYTE;
        let binary = real(self.binary_bytes) / 1e6;
        let mut goals = vec![
            Goal {
                what: "idle memory".into(),
                wanted: "<= 15 MiB".into(),
                measured: format!("{idle:.1} MiB"),
                reached: Some(idle <= 15.0),
            },
            Goal {
                what: format!("memory at the end of the run, {} sessions", self.loaded_sessions),
                wanted: "none set".into(),
                measured: format!("{:.1} MiB", real(self.loaded_bytes) / MEBIBYTE),
                reached: None,
            },
            Goal {
                what: "binary".into(),
                wanted: "<= 25 MB".into(),
                measured: format!("{binary:.1} MB"),
                reached: Some(binary <= 25.0),
            },
        ];
        for (how, starts) in
            [("empty data directory", &self.first_start_ms), ("existing data directory", &self.restart_ms)]
        {
            let Some(start) = median(starts.clone()) else { continue };
            goals.push(Goal {
                what: format!("cold start to first answer, {how}, median of {}", starts.len()),
                wanted: "<= 25 ms".into(),
                measured: format!("{start:.1} ms"),
                reached: Some(start <= 25.0),
            });
        }
        goals
    }
}

/// The middle value; the mean of the two middle ones of an even number; nothing of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

fn thousands(rate: f64) -> String {
    format!("{:.1} k", rate / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(round: usize, side: Side, requests: u64, cpu_seconds: f64) -> Sample {
        Sample {
            round,
            side,
            scenario: Scenario::Refresh,
            connections: 64,
            requests,
            errors: 0,
            first_error: None,
            seconds: 1.0,
            cpu_seconds,
            load_busy: 0.5,
            p50_ms: 1.0,
            p99_ms: 2.0,
            longest_ms: 3.0,
            stored_bytes: 0,
        }
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The whole machine is twice as slow in the second round: both ratios stay what they are.
        let samples = [
            sample(0, Side::Doorward, 700, 1.0),
            sample(0, Side::Bare, 1000, 0.5),
            sample(1, Side::Bare, 500, 0.5),
            sample(1, Side::Doorward, 350, 1.0),
        ];
        let summaries = summarise(&samples);
        assert_eq!(summaries.len(), 1);
        assert!((summaries[0].ratio_by_the_clock.unwrap() - 0.7).abs() < 1e-9);
        assert!((summaries[0].ratio_per_cpu_second.unwrap() - 0.35).abs() < 1e-9);
    }

    #[test]
    fn a_span_without_a_tick_has_no_rate_per_cpu_second() {
        let samples = [sample(0, Side::Doorward, 700, 0.0), sample(0, Side::Bare, 1000, 1.0)];
        let summary = &summarise(&samples)[0];
        assert_eq!(summary.ratio_per_cpu_second, None);
        assert!(summary.ratio_by_the_clock.is_some());
    }

    #[test]
    fn a_run_of_the_bare_server_alone_has_no_goals() {
        let samples = vec![sample(0, Side::Bare, 1000, 1.0)];
        let summary = summarise(&samples);
        let report = Report { conditions: Vec::new(), samples, footprint: None, summary };
        assert!(report.goals().is_empty());
        assert!(report.markdown().contains("| refresh, durable | 64 | bare | 1.0 k |"));
    }
}
