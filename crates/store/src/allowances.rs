//! Allowances in memory, for stores that have one process.

use std::collections::HashMap;

use doorward_core::store::{Allowance, WHOLE_BEFORE_FORGOTTEN};
use doorward_core::time::Timestamp;

/// When each allowance is whole again; those that are not here are.
#[derive(Default)]
pub(crate) struct AllowanceTable(HashMap<u32, Timestamp>);

impl AllowanceTable {
    /// Takes one of each, or nothing.
    pub(crate) fn take(&mut self, allowances: &[Allowance], now: Timestamp) -> bool {
        let whole_at = |of: &Allowance| self.0.get(&of.key).copied().unwrap_or(now);
        if allowances.iter().any(|of| whole_at(of) > of.latest_whole_at(now)) {
            return false;
        }
        for of in allowances {
            let whole_at = self.0.entry(of.key).or_insert(now);
            *whole_at = of.whole_after(*whole_at, now);
        }
        true
    }

    /// Forgets at most `limit` that have been whole for long enough. Answers how many went.
    pub(crate) fn sweep(&mut self, now: Timestamp, limit: usize) -> usize {
        let whole_since = now.minus(WHOLE_BEFORE_FORGOTTEN);
        self.0.extract_if(|_, whole_at| *whole_at <= whole_since).take(limit).count()
    }
}
