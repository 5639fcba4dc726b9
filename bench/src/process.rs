//! The servers as child processes, and what Linux tells about them in `/proc`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Linux counts CPU time for users in hundredths of a second on every architecture that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that lives as long as this value.
pub(crate) struct Server {
    child: Child,
    pid: u32,
}

impl Server {
    /// Starts `command` and waits for the one JSON line that says it is ready.
    ///
    /// What it writes to standard error goes to `log`, and into the error if it does not come up.
    pub(crate) async fn start<Ready: DeserializeOwned>(
        mut command: Command,
        log: &Path,
    ) -> anyhow::Result<(Self, Ready)> {
        let mut server = Self::spawn(command.stdout(Stdio::piped()), log)?;
        let output = server.child.stdout.take().context("standard output is a pipe")?;

        let mut lines = BufReader::new(output).lines();
        let line = match timeout(PATIENCE, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => bail!("{:?} ended before it was ready:\n{}", command.as_std(), tail(log)),
            Err(_) => bail!("{:?} is not ready after {PATIENCE:?}:\n{}", command.as_std(), tail(log)),
        };
        // A closed pipe would be an error to the server; nobody needs what else it prints.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let ready = serde_json::from_str(&line)
            .with_context(|| format!("{:?}: not the ready line expected: {line}", command.as_std()))?;
        Ok((server, ready))
    }

    /// Starts `command`, which says nothing, and waits until somebody listens at `authority`.
    pub(crate) async fn start_at(mut command: Command, authority: &str, log: &Path) -> anyhow::Result<Self> {
        let mut server = Self::spawn(command.stdout(Stdio::null()), log)?;
        let patience = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(authority).await.is_err() {
            let ended = server.child.try_wait()?.is_some();
            ensure!(
                !ended && Instant::now() < patience,
                "{:?} does not come up:\n{}",
                command.as_std(),
                tail(log)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(server)
    }

    fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let written = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stderr(written).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("cannot start {:?}", command.as_std()))?;
        let pid = child.id().context("the server ended at once")?;
        Ok(Self { child, pid })
    }

    /// CPU time used so far, in user and kernel mode, by all its threads.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(&self.pid.to_string())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let kibibytes: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.parse().ok())
            .context("no VmRSS in the process status")?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Server {
    /// Ends the process and waits until it is gone, so that its directory can be removed.
    fn drop(&mut self) {
        // It may have ended by itself; either way it is awaited below.
        let _ = self.child.start_kill();
        let patience = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// CPU time of the load program itself.
pub(crate) fn own_cpu_seconds() -> anyhow::Result<f64> {
    cpu_seconds("self")
}

fn cpu_seconds(process: &str) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} is gone"))?;
    parse_cpu_seconds(&stat).with_context(|| format!("cannot read /proc/{process}/stat: {stat}"))
}

/// Fields 14 and 15; the second one, the name, may hold spaces and parentheses.
fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// `program`, pinned to a core if one is named.
pub(crate) fn pinned(program: &Path, core: Option<usize>) -> Command {
    match core {
        Some(core) => {
            // taskset replaces itself by the program, so the process id is the server's.
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Pins this process, and what it starts from now on.
pub(crate) fn pin_self(core: usize) -> anyhow::Result<()> {
    let output = std::process::Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &std::process::id().to_string()])
        .output()
        .context("cannot run taskset (from util-linux); --no-pin goes without")?;
    ensure!(
        output.status.success(),
        "cannot pin to core {core}; --no-pin goes without: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Bytes in all files under `directory`.
pub(crate) fn bytes_under(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut waiting: Vec<PathBuf> = vec![directory.into()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("{}", directory.display()))? {
            let entry = entry?;
            // A file that was removed since the listing holds nothing.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                waiting.push(entry.path());
            } else {
                bytes += about.len();
            }
        }
    }
    Ok(bytes)
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_a_name_with_spaces_and_parentheses() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let seconds = parse_cpu_seconds(stat).unwrap();
        assert!((seconds - 2.0).abs() < 1e-9, "{seconds}");
        assert!(parse_cpu_seconds("12 (a) S 1").is_none());
    }

    #[test]
    fn files_in_all_folders_count() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(directory.path().join("inner/b"), [0; 5]).unwrap();
        assert_eq!(bytes_under(directory.path()).unwrap(), 15);
    }
}
