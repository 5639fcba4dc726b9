//! `doorward backup`, `restore` and `migrate`: everything that a server keeps, from one place to another.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use doorward_store::Location;
use doorward_store::copy::{self, Copied, CopyError};
use indicatif::{HumanBytes, HumanCount};
use tokio::signal::unix::{SignalKind, signal};

use super::progress::Shown;
use super::run;
use crate::config::Config;
use crate::keyfile;

#[derive(Debug, clap::Args)]
pub(super) struct BackupOptions {
    /// The configuration file of the server.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
    /// The backup, which must not exist yet. It is readable for this user alone.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreOptions {
    /// The configuration file of the server whose data directory or database is filled. It must be empty.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
    /// The backup.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct MigrateOptions {
    /// The configuration file of the servers so far. None of them may run.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
    /// The configuration file of the servers from now on. Their data directory or database must be empty, and their
    /// master key the same.
    #[arg(long, value_name = "CONFIG")]
    to: PathBuf,
}

pub(super) fn backup(options: &BackupOptions) -> anyhow::Result<()> {
    let (config, from) = read(&options.config)?;
    let file = &options.file;
    let (copied, took) = finish(async |shown| copy::backup(&from, file, &mut |p| shown.show(p)).await)?;
    println!("backed up {from} to {}: {}", file.display(), described(&copied, took));
    println!(
        "the master key is not in it: keep a copy of {} apart, for a backup is worth nothing without it",
        key_file(&config)?.display()
    );
    Ok(())
}

pub(super) fn restore(options: &RestoreOptions) -> anyhow::Result<()> {
    let (config, to) = read(&options.config)?;
    let file = &options.file;
    let (copied, took) = finish(async |shown| copy::restore(file, &to, &mut |p| shown.show(p)).await)?;
    println!("restored {} to {to}: {}", file.display(), described(&copied, took));
    // Who was removed since could sign in again.
    let now = if config.directory.is_some() {
        "the directory file takes its place at the start"
    } else {
        "`doorward directory apply` the one of today before you start doorward"
    };
    println!("the directory is that of the backup, with whoever was removed since: {now}");
    let key = key_file(&config)?;
    if key.exists() {
        println!("the master key is {}: it must be the one that the server had then", key.display());
    } else {
        println!(
            "the master key is not in a backup: put your copy of it at {} (mode 600) before you start doorward",
            key.display()
        );
    }
    Ok(())
}

pub(super) fn migrate(options: &MigrateOptions) -> anyhow::Result<()> {
    let (config, from) = read(&options.config)?;
    let (new_config, to) = read(&options.to)?;
    same_keys(&key_file(&config)?, &key_file(&new_config)?)?;
    let (copied, took) = finish(async |shown| copy::migrate(&from, &to, &mut |p| shown.show(p)).await)?;
    println!("migrated {from} to {to}: {}", described(&copied, took));
    println!(
        "start doorward with {} from now on; {from} is as it was, and falls behind with the first refresh",
        options.to.display()
    );
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<(Config, Location)> {
    let config = Config::read(file)?;
    let location = config.location().map_err(|why| anyhow!(why))?;
    Ok((config, location))
}

fn key_file(config: &Config) -> anyhow::Result<PathBuf> {
    config.key_file().map_err(|why| anyhow!(why))
}

/// With another master key every token would be worthless.
fn same_keys(from: &Path, to: &Path) -> anyhow::Result<()> {
    let before = keyfile::load(from)?;
    let so =
        || format!("copy {} to {} (mode 600), or name it as master_key_file", from.display(), to.display());
    let after = keyfile::load(to)
        .with_context(|| format!("the master key is not a part of a migration: {}", so()))?;
    ensure!(
        after.reads(&before),
        "the master key {} is another than {}, and everybody would have to register and sign in again: {}; to rotate \
         the key, put a new line above the old one afterwards",
        to.display(),
        from.display(),
        so()
    );
    Ok(())
}

/// Runs a copy to its end, or breaks it off at SIGINT, SIGTERM and SIGHUP. Answers how long it took.
fn finish(
    copy: impl AsyncFnOnce(&mut Shown<'_>) -> Result<Copied, CopyError>,
) -> anyhow::Result<(Copied, Duration)> {
    let began = Instant::now();
    let keeping = AtomicBool::new(false);
    let copied = run::block_on(async {
        let (mut interrupt, mut terminate, mut hangup) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        );
        let mut shown = Shown::new(&keeping);
        let mut copying = std::pin::pin!(copy(&mut shown));
        loop {
            tokio::select! {
                copied = &mut copying => return Ok(copied?),
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            // At the very end it could not be told any more which of the two came first.
            if !keeping.load(Ordering::Relaxed) {
                bail!("stopped; nothing that was copied is kept");
            }
        }
    })?;
    Ok((copied, began.elapsed()))
}

fn described(copied: &Copied, took: Duration) -> String {
    let Copied { sessions, device_requests, records, directory_version, bytes } = *copied;
    let size = bytes.map(|bytes| format!(", {}", HumanBytes(bytes))).unwrap_or_default();
    format!(
        "{} sessions, {} device requests, {} records, directory version {directory_version}{size}; copied and verified in {:.1} s",
        HumanCount(sessions),
        HumanCount(device_requests),
        HumanCount(records),
        took.as_secs_f64(),
    )
}
