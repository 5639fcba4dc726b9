//! Measures durable rotations:
//! `cargo run --release -p doorward-store --example rotations -- [dir or URL] [sessions] [tasks]`.
//!
//! In a directory it makes a database of the embedded backend and removes it again. A URL (`postgres://…`) names a
//! PostgreSQL database, which should be empty; what is written stays.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_core::verdict::Change;
use doorward_store::contract::fixtures::{NOW, session, session_id};
use doorward_store::{Location, Opened, PostgresOptions, open};
use tokio::task::JoinSet;

const RUN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| std::env::temp_dir().display().to_string());
    let sessions: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let tasks: u64 = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let dir = PathBuf::from(&place).join(format!("rotations-{}", std::process::id()));
    let location = if place.starts_with("postgres") {
        Location::Postgres(Box::new(PostgresOptions::from_url(&place)?))
    } else {
        Location::Embedded(dir.clone())
    };

    let begin = Instant::now();
    let opened = open(&location)?;
    opened.ready().await?;
    println!("opened an empty store in {:?}", begin.elapsed());
    let Opened { store, closer } = opened;
    let begin = Instant::now();
    for first in (0..sessions).step_by(5000) {
        let starts = (first..sessions.min(first + 5000)).map(|n| Change::StartSession(session(n)));
        store.commit(starts.collect()).await?;
    }
    println!("{sessions} sessions in {:?}", begin.elapsed());

    let begin = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(&store);
        running.spawn(async move {
            let mut latencies = Vec::new();
            'run: for generation in 0.. {
                for n in (task..sessions).step_by(usize::try_from(tasks).unwrap_or(1)) {
                    let one = Instant::now();
                    let rotate =
                        Change::Rotate { id: session_id(n), from: generation, to: generation + 1, at: NOW };
                    if let Err(error) = store.commit(vec![rotate]).await {
                        eprintln!("{error}");
                    }
                    latencies.push(one.elapsed());
                    if begin.elapsed() > RUN {
                        break 'run;
                    }
                }
            }
            latencies
        });
    }
    let mut latencies = running.join_all().await.concat();
    let elapsed = begin.elapsed();
    latencies.sort_unstable();
    let count = latencies.len();
    println!(
        "{tasks} tasks: {count} rotations in {elapsed:?}, {} a second; p50 {:?}, p99 {:?}, max {:?}",
        u128::try_from(count)? * 1000 / elapsed.as_millis(),
        latencies[count / 2],
        latencies[count * 99 / 100],
        latencies[count - 1],
    );
    closer.close().await?;
    if matches!(location, Location::Embedded(_)) {
        println!("{} bytes for each session", std::fs::metadata(dir.join("doorward.db"))?.len() / sessions);
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}
