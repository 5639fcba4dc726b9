//! What both kinds of server share: logging, the runtime, the store's life, signals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use doorward_core::directory::{DirectoryFile, Plan};
use doorward_core::store::{CommitError, Store};
use doorward_core::time::Timestamp;
use doorward_store::Closer;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

use crate::app::App;
use crate::audit;
use crate::http::listen::Listener;

/// How often rows that are of no more use are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Logs to standard error: `RUST_LOG` chooses what, and `info` is the default.
pub(super) fn start_logging(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}

/// Runs `server` to its end.
pub(super) fn block_on<T>(server: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(async {
            // Whoever writes beyond a limit on file sizes is killed unless this is handled; then the write fails, and the
            // store says so. What was registered once is handled to the end of the process.
            drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
            server.await
        })
}

/// Makes `file` the directory, unless it says what that says already. Several nodes may start with the same file at once.
pub(super) async fn apply_directory(
    store: &dyn Store,
    file: DirectoryFile,
    now: Timestamp,
) -> anyhow::Result<()> {
    const MOST_ATTEMPTS: usize = 5;
    for _ in 0..MOST_ATTEMPTS {
        let current = store.directory().await?;
        let plan = Plan::new(current.file(), &file);
        if plan.is_empty() {
            return Ok(());
        }
        match store.commit(vec![current.replaced_by(file.clone(), now)]).await {
            Ok(()) => return Ok(audit::directory_changed(&plan, current.version() + 1)?),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Outage(outage)) => return Err(outage.into()),
        }
    }
    anyhow::bail!(
        "the directory is being changed by others all the time: do all nodes have the same directory file?"
    )
}

/// Serves until SIGTERM or ctrl-c, then finishes what is under way and closes the store. A second signal does not wait.
pub(super) async fn serve(app: Arc<App>, listener: Listener, closer: Closer) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stopping, mut stop) = tokio::sync::watch::channel(0_u8);
    tokio::spawn(async move {
        for signals in 1_u8..=2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            info!(
                "told to stop: {}",
                if signals == 1 { "finishing the requests under way" } else { "at once" }
            );
            let _ = stopping.send(signals);
        }
    });
    let mut at_once = stop.clone();
    let sweeper = tokio::spawn(sweep(Arc::clone(&app)));
    let signing = Arc::clone(&app.signing);
    let keeper = tokio::spawn(async move { signing.keep().await });
    let serving = listener.serve(async move {
        let _ = stop.wait_for(|signals| *signals >= 1).await;
    });
    tokio::select! {
        () = serving => {}
        _ = at_once.wait_for(|signals| *signals >= 2) => {}
    }
    for task in [sweeper, keeper] {
        task.abort();
        // It is over before the store is closed; that it was ended is no news.
        let _ = task.await;
    }
    closer.close().await?;
    info!("stopped");
    Ok(())
}

async fn sweep(app: Arc<App>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        if let Err(outage) = app.sweep().await {
            error!("expired rows were not swept: {outage}");
        }
    }
}

/// Makes the data directory, for this user alone.
pub(super) fn make_data_dir(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make the data directory {}", directory.display()))
}
