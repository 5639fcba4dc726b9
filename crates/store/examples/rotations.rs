//! Measures durable rotations: `cargo run --release -p doorward-store --example rotations -- [dir] [sessions] [tasks]`.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_core::store::Store;
use doorward_core::verdict::Change;
use doorward_store::EmbeddedStore;
use doorward_store::contract::fixtures::{NOW, session, session_id};
use tokio::task::JoinSet;

const RUN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let sessions: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let tasks: u64 = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let dir = parent.join(format!("rotations-{}", std::process::id()));

    let begin = Instant::now();
    let store = Arc::new(EmbeddedStore::open(&dir)?);
    println!("opened an empty directory in {:?}", begin.elapsed());
    let begin = Instant::now();
    for first in (0..sessions).step_by(5000) {
        let starts = (first..sessions.min(first + 5000)).map(|n| Change::StartSession(session(n)));
        store.commit(starts.collect()).await?;
    }
    println!("{sessions} sessions in {:?}", begin.elapsed());

    let begin = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let store = store.clone();
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
    store.close().await?;
    println!("{} bytes for each session", std::fs::metadata(dir.join("doorward.db"))?.len() / sessions);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
