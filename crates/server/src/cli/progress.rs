//! How far a copy has come, on standard error: a bar on a terminal, and a line now and then elsewhere.

use std::io::{IsTerminal as _, stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use doorward_store::copy::{Progress, Step};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// How long a log waits for the next line. A copy that takes less says nothing but how it ended.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows the steps of a copy, one after the other.
pub(super) struct Shown<'a> {
    /// Set once the copy can no longer be broken off.
    keeping: &'a AtomicBool,
    step: Option<Step>,
    bar: ProgressBar,
    /// When there was a line.
    told: Instant,
}

impl<'a> Shown<'a> {
    pub(super) fn new(keeping: &'a AtomicBool) -> Self {
        Self { keeping, step: None, bar: ProgressBar::hidden(), told: Instant::now() }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let Progress { step, sessions, total } = progress;
        if self.step.replace(step) != Some(step) {
            self.bar.finish_and_clear();
            if stderr().is_terminal() {
                self.bar = bar(step, total);
            }
        }
        self.keeping.store(step == Step::Keeping, Ordering::Relaxed);
        self.bar.set_position(sessions);
        if !stderr().is_terminal() && self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            eprintln!("{}: {} of {} sessions", name(step), HumanCount(sessions), HumanCount(total));
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn bar(step: Step, total: u64) -> ProgressBar {
    let counted = "{msg:<10} {wide_bar} {human_pos} of {human_len} sessions, {per_sec}, {eta} left";
    let waiting = "{msg:<10} {spinner} {elapsed}";
    let template = if matches!(step, Step::Settling | Step::Keeping) { waiting } else { counted };
    let bar = ProgressBar::new(total).with_message(name(step));
    // Both templates are good: they are above, and nothing is put into them.
    bar.set_style(ProgressStyle::with_template(template).expect("a template that can be read"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

const fn name(step: Step) -> &'static str {
    match step {
        Step::Copying => "copying",
        Step::Settling => "indexing",
        Step::Verifying => "verifying",
        Step::Rechecking => "rechecking",
        Step::Keeping => "keeping",
    }
}
