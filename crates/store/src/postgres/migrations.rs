//! The schema, its versions, and how a database is brought to ours.
//!
//! Versions only go forward. Each is a file of SQL that is run in a transaction together with its row in
//! `doorward_schema`; that row is written first, so of several nodes that start at once one makes the change, and the
//! others wait at its key and then find it made.
//!
//! # Two versions at once
//! While nodes are replaced one after the other, those of the version before go on working on the schema of the next.
//! Therefore a change comes in two releases. The first *expands*: new tables, new columns that may be null or have a
//! default, new indexes; its server reads and writes old and new. The second *contracts*: it removes what no server of
//! the first needs. Each version says in `oldest_server` which schema version a server must know, at least, to work
//! with it: for one that expands, the version before; for one that contracts, itself. A server accepts the schema of
//! the next version when that says so, lest a node that restarts in the middle stays away, and refuses every other
//! that it does not know.
//!
//! What the directory's JSON may hold follows the same rule: a release that reads a new member comes before one that
//! writes it.

use std::fmt::Write as _;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::sleep;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::connect::Lease;
use super::database::Database;
use super::error::{PostgresError, described};

/// How often a node that meets another looks again.
const MOST_ATTEMPTS: u32 = 20;
/// How long a statement of a migration may take: an index over many sessions is not made in five seconds.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(10);
/// How long a migration waits for a table that somebody reads (a backup does, for minutes), in milliseconds. Everybody else
/// waits behind it for as long: the nodes that run must not notice.
const LOCK_TIMEOUT: u32 = 1000;

/// One version of the schema.
struct Migration {
    version: i64,
    /// The oldest version whose server can work with this one.
    oldest_server: i64,
    sql: &'static str,
}

/// All versions, from 1. Never change one that was released: databases remember its checksum.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, oldest_server: 1, sql: include_str!("migrations/0001_first.sql") },
    Migration { version: 2, oldest_server: 1, sql: include_str!("migrations/0002_allowances.sql") },
    Migration { version: 3, oldest_server: 2, sql: include_str!("migrations/0003_records.sql") },
    Migration { version: 4, oldest_server: 3, sql: include_str!("migrations/0004_terms.sql") },
];

/// The version that this server reads and writes.
pub(crate) const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// How far the schema of a database has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// There is none. The first start makes it.
    None,
    /// It has a version before this server's. The next start brings it forward.
    Behind(i64),
    /// It is this server's.
    Current,
    /// It is the next version's, and that lets this server work with it.
    Ahead(i64),
}

/// Looks at the schema, and changes nothing.
pub(super) async fn look(database: &Database) -> Result<Schema, PostgresError> {
    let lease = connection(database).await?;
    let schema = match applied(&lease).await {
        Ok(applied) => judge(&applied, database.place()),
        Err(error) => Err(PostgresError::Unusable(format!(
            "cannot read the schema of the database {}: {}",
            database.place(),
            described(&error)
        ))),
    };
    lease.keep();
    schema
}

/// Brings the schema to our version.
pub(super) async fn bring_forward(database: &Database) -> Result<Schema, PostgresError> {
    let mut failed = 0;
    loop {
        let schema = look(database).await?;
        let next = match schema {
            Schema::None => 1,
            Schema::Behind(version) => version + 1,
            Schema::Current | Schema::Ahead(_) => return Ok(schema),
        };
        for migration in MIGRATIONS.iter().filter(|migration| migration.version >= next) {
            // Not kept afterwards, for its time limit.
            let lease = connection(database).await?;
            match migrate(&lease, migration, schema == Schema::None).await {
                Ok(()) => tracing::info!(
                    database = database.place(),
                    version = migration.version,
                    "the schema was brought forward"
                ),
                // Another node is at it too. It may not have finished, and may yet fail.
                Err(error) if is_meeting(&error) && failed < MOST_ATTEMPTS => {
                    failed += 1;
                    sleep(Duration::from_millis(u64::from(20 * failed))).await;
                    break;
                }
                Err(error) => {
                    return Err(PostgresError::Migration {
                        place: database.place().to_owned(),
                        version: migration.version,
                        why: described(&error),
                    });
                }
            }
        }
    }
}

/// A version that was applied.
struct Applied {
    version: i64,
    oldest_server: i64,
    checksum: String,
}

async fn connection(database: &Database) -> Result<Lease, PostgresError> {
    let lease = database.connection().await;
    lease.map_err(|failure| PostgresError::Unusable(failure.outage(database.place()).0))
}

async fn applied(lease: &Lease) -> Result<Vec<Applied>, Error> {
    let sql = "SELECT version, oldest_server, checksum FROM doorward_schema ORDER BY version";
    let rows = match lease.query(sql, &[]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
        rows => rows?,
    };
    rows.iter()
        .map(|row| {
            Ok(Applied {
                version: row.try_get("version")?,
                oldest_server: row.try_get("oldest_server")?,
                checksum: row.try_get("checksum")?,
            })
        })
        .collect()
}

/// What the versions that were applied mean to this server.
fn judge(applied: &[Applied], place: &str) -> Result<Schema, PostgresError> {
    let mut schema = Schema::None;
    for (expected, row) in (1..).zip(applied) {
        let known = MIGRATIONS.iter().find(|migration| migration.version == row.version);
        schema = match known {
            _ if row.version != expected => {
                return Err(PostgresError::ChangedSchema { place: place.to_owned(), version: expected });
            }
            Some(migration) if checksum(migration.sql) != row.checksum => {
                return Err(PostgresError::ChangedSchema { place: place.to_owned(), version: row.version });
            }
            Some(_) if row.version == VERSION => Schema::Current,
            Some(_) => Schema::Behind(row.version),
            None if row.version == VERSION + 1 && row.oldest_server <= VERSION => Schema::Ahead(row.version),
            None => {
                let found = applied.last().map_or(row.version, |last| last.version);
                return Err(PostgresError::UnknownSchema { place: place.to_owned(), found, known: VERSION });
            }
        };
    }
    Ok(schema)
}

async fn migrate(lease: &Lease, migration: &Migration, first: bool) -> Result<(), Error> {
    if first {
        let sql = "CREATE TABLE IF NOT EXISTS doorward_schema (version BIGINT PRIMARY KEY, \
                   oldest_server BIGINT NOT NULL, checksum TEXT NOT NULL)";
        lease.batch_execute(sql).await?;
    }
    let Migration { version, oldest_server, sql } = migration;
    let (checksum, limit) = (checksum(sql), STATEMENT_TIMEOUT.as_millis());
    lease
        .batch_execute(&format!("SET statement_timeout = {limit}; SET lock_timeout = {LOCK_TIMEOUT}; BEGIN"))
        .await?;
    let ours = format!(
        "INSERT INTO doorward_schema (version, oldest_server, checksum) \
         VALUES ({version}, {oldest_server}, '{checksum}')"
    );
    lease.batch_execute(&ours).await?;
    lease.batch_execute(sql).await?;
    lease.batch_execute("COMMIT").await
}

/// Whether another node got in between: at the key of a version, or at the catalogue, where PostgreSQL lets
/// `CREATE TABLE IF NOT EXISTS` collide.
fn is_meeting(error: &Error) -> bool {
    let Some(said) = error.as_db_error() else { return false };
    let races = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    // The table, or the type that comes with it.
    let exists = [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];
    races.contains(said.code())
        || (exists.contains(said.code()) && said.message().contains("doorward_schema"))
        || (*said.code() == SqlState::INTERNAL_ERROR && said.message().contains("concurrently"))
}

fn checksum(sql: &str) -> String {
    digest(&SHA256, sql.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbered_from_one_and_work_with_the_one_before_at_most() {
        for (number, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, number);
            assert!(migration.oldest_server <= number && migration.oldest_server >= (number - 1).max(1));
        }
    }

    #[test]
    fn only_the_next_version_is_accepted_and_only_if_it_says_so() {
        let ours = || MIGRATIONS.iter().map(|known| (known.version, 1, checksum(known.sql)));
        let judged = |more: &[(i64, i64)]| {
            let more = more.iter().map(|&(version, oldest)| (version, oldest, "?".to_owned()));
            let applied: Vec<_> = ours()
                .chain(more)
                .map(|(version, oldest_server, checksum)| Applied { version, oldest_server, checksum })
                .collect();
            judge(&applied, "here")
        };
        let unknown =
            |found| Err(PostgresError::UnknownSchema { place: "here".into(), found, known: VERSION });
        assert_eq!(judged(&[]), Ok(Schema::Current));
        assert_eq!(judged(&[(VERSION + 1, VERSION)]), Ok(Schema::Ahead(VERSION + 1)));
        assert_eq!(judged(&[(VERSION + 1, VERSION + 1)]), unknown(VERSION + 1));
        assert_eq!(judged(&[(VERSION + 1, VERSION), (VERSION + 2, VERSION)]), unknown(VERSION + 2));
        assert!(judged(&[(VERSION + 2, VERSION)]).is_err());
        assert_eq!(judge(&[], "here"), Ok(Schema::None));
    }
}
