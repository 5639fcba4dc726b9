//! Measures durable rotations, each after a read of its session, as a refresh makes them:
//! `cargo run --release -p doorward-store --example rotations -- [dir or URL] [sessions] [tasks]`.
//!
//! Sessions are rotated in no order and each as often as the others, so that one in memory is no likelier than another.
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
    // In the order of their ids, or millions of them would take hours.
    let mut numbers: Vec<u64> = (0..sessions).collect();
    numbers.sort_unstable_by_key(|&n| session_id(n));
    for some in numbers.chunks(5000) {
        store.commit(some.iter().map(|&n| Change::StartSession(session(n))).collect()).await?;
    }
    drop(numbers);
    println!("{sessions} sessions in {:?}", begin.elapsed());

    let (begin, cpu) = (Instant::now(), cpu_time()?);
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let store = Arc::clone(&store);
        running.spawn(async move {
            let mut latencies = Vec::new();
            'run: loop {
                for n in (task..sessions).step_by(usize::try_from(tasks).unwrap_or(1)) {
                    let one = Instant::now();
                    let generation = match store.session(session_id(n)).await {
                        Ok(Some(session)) => session.generation,
                        other => {
                            eprintln!("{other:?}");
                            continue;
                        }
                    };
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
    let (elapsed, cpu) = (begin.elapsed(), cpu_time()?.saturating_sub(cpu));
    latencies.sort_unstable();
    let count = latencies.len();
    println!(
        "{tasks} tasks: {count} rotations in {elapsed:?}, {} a second; p50 {:?}, p99 {:?}, max {:?}",
        u128::try_from(count)? * 1000 / elapsed.as_millis(),
        latencies[count / 2],
        latencies[count * 99 / 100],
        latencies[count - 1],
    );
    println!(
        "{:.1} us of this process's CPU time for each; {} bytes resident",
        cpu.as_secs_f64() * 1e6 / f64::from(u32::try_from(count)?),
        resident()?
    );
    closer.close().await?;
    if matches!(location, Location::Embedded(_)) {
        let begin = Instant::now();
        let again = open(&location)?;
        println!("opened again, with its log, in {:?}", begin.elapsed());
        again.closer.close().await?;
        println!("{} bytes for each session", std::fs::metadata(dir.join("doorward.db"))?.len() / sessions);
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

/// The CPU time of this process until now, user and kernel.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Bytes of memory that this process has.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
