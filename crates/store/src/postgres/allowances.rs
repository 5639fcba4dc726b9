//! Allowances, which all nodes share.
//!
//! A look first, which locks nothing: whoever goes on guessing after their allowance is used up is refused by one
//! statement, and does not keep connections waiting for their own row. Only what the look lets through, which is as
//! rare as the allowances say, is a transaction with a guarded statement for each of them, in the order of their keys,
//! so that nobody waits in a circle. Its guards decide; the look has no say in what is allowed.
//!
//! This is the one write that may be made twice when a connection is lost: then one more is taken than was done.

use doorward_core::store::{Allowance, CommitError, Outage};
use doorward_core::time::Timestamp;

use super::database::Database;
use super::statement::{Statement, value};

/// Takes one of each of `allowances`, or nothing; answers whether it took them.
pub(super) async fn take(
    database: &Database,
    allowances: &[Allowance],
    now: Timestamp,
) -> Result<bool, Outage> {
    let mut allowances = allowances.to_vec();
    allowances.sort_unstable_by_key(|allowance| allowance.key);
    if !database.rows(&used_up(&allowances, now)).await?.is_empty() {
        return Ok(false);
    }
    let taken: Vec<_> = allowances.iter().map(|allowance| take_one(allowance, now)).collect();
    match database.change(&taken).await {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(CommitError::Outage(outage)) => Err(outage),
    }
}

/// Those of `allowances` that have nothing left.
fn used_up(allowances: &[Allowance], now: Timestamp) -> Statement {
    let keys: Vec<_> = allowances.iter().map(|allowance| i64::from(allowance.key)).collect();
    let latest: Vec<_> = allowances.iter().map(|allowance| allowance.latest_whole_at(now).millis()).collect();
    Statement {
        sql: "SELECT allowance.key FROM unnest($1::BIGINT[], $2::BIGINT[]) AS asked (key, latest) \
              JOIN allowance ON allowance.key = asked.key WHERE allowance.whole_at > asked.latest LIMIT 1",
        values: vec![value(keys), value(latest)],
    }
}

/// The statement that takes one of `allowance`: see [`Allowance::whole_after`].
fn take_one(allowance: &Allowance, now: Timestamp) -> Statement {
    Statement {
        sql: "INSERT INTO allowance (key, whole_at) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE \
              SET whole_at = GREATEST(allowance.whole_at + $3, EXCLUDED.whole_at) WHERE allowance.whole_at <= $4",
        values: vec![
            value(i64::from(allowance.key)),
            value(allowance.whole_after(now, now).millis()),
            value(i64::from(allowance.every)),
            value(allowance.latest_whole_at(now).millis()),
        ],
    }
}
