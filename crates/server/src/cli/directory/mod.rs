//! `doorward directory`: people, groups, accounts, permission sets and assignments as code.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Subcommand;
use doorward_core::directory::{Directory, DirectoryFile, Plan};
use doorward_core::store::CommitError;
use doorward_store::DirectoryAccess;

use super::run;
use crate::ambient::{Clock, OsEntropy};
use crate::audit;
use crate::config::Config;
use crate::directory_file::{Format, Written};
use crate::keyfile;

mod shown;

/// What `plan` exits with when something would change; 1 is for what went wrong.
const CHANGES: u8 = 2;

/// The schema that editors complete a directory file with.
const SCHEMA: &str = include_str!("../../../../../docs/directory.schema.json");

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what would change if a file became the directory. Exits with 0 if nothing would, with 2 if something would,
    /// and with 1 if something is wrong.
    Plan(PlanOptions),
    /// Make a file the directory: all of it at once, or nothing.
    Apply(ApplyOptions),
    /// Print the directory as a file.
    Export(ExportOptions),
    /// Print the JSON Schema of directory files, for editors.
    Schema,
}

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The configuration file of the server.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlanOptions {
    #[command(flatten)]
    server: Server,
    /// The directory file: TOML or YAML, as its name ends.
    file: PathBuf,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ApplyOptions {
    #[command(flatten)]
    plan: PlanOptions,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Log the changes, to standard error, as lines of JSON.
    #[arg(long)]
    log_json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportOptions {
    #[command(flatten)]
    server: Server,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
}

pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Plan(options) => run::block_on(plan(options)),
        Command::Apply(options) => {
            run::start_logging(options.log_json);
            run::block_on(apply(options)).map(|()| ExitCode::SUCCESS)
        }
        Command::Export(options) => run::block_on(export(options)).map(|()| ExitCode::SUCCESS),
        Command::Schema => print(SCHEMA).map(|()| ExitCode::SUCCESS),
    }
}

async fn plan(options: &PlanOptions) -> anyhow::Result<ExitCode> {
    let (config, file) = read(options)?;
    let current = open(&config).await?.read().await?;
    let plan = Plan::new(current.file(), &file);
    show(options, &current, &file, &plan)?;
    Ok(if plan.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}

async fn apply(options: &ApplyOptions) -> anyhow::Result<()> {
    let (config, file) = read(&options.plan)?;
    let access = open(&config).await?;
    let current = access.read().await?;
    let plan = Plan::new(current.file(), &file);
    show(&options.plan, &current, &file, &plan)?;
    if plan.is_empty() || !(options.yes || agreed()?) {
        return Ok(());
    }
    make_key(&config)?;
    let version = current.version() + 1;
    match access.replace(current.replaced_by(file.clone(), Clock::system().now())).await {
        Ok(()) => audit::directory_changed(&plan, version)?,
        Err(CommitError::Conflict) => bail!(
            "nothing was applied: somebody else has changed the directory since version {}, for which this plan was \
             made; run `doorward directory plan {}` to see what is left to do",
            current.version(),
            options.plan.file.display()
        ),
        Err(CommitError::Outage(outage)) => {
            return Err(outage)
                .context("it may have been applied or not, and `doorward directory plan` tells which");
        }
    }
    eprintln!("applied: the directory is at version {version}");
    Ok(())
}

/// Makes the master key of a data directory that is still to be made: a server takes one with a database and no key for
/// one whose key was lost.
fn make_key(config: &Config) -> anyhow::Result<()> {
    let Some(directory) = config.data_dir.as_ref().filter(|_| config.master_key_file.is_none()) else {
        return Ok(());
    };
    run::make_data_dir(directory)?;
    keyfile::load_or_create(&config.key_file().map_err(|why| anyhow!(why))?, &OsEntropy::default()).map(drop)
}

async fn export(options: &ExportOptions) -> anyhow::Result<()> {
    let current = open(&Config::read(&options.server.config)?).await?.read().await?;
    print(&options.format.write(&current.file().canonical())?)
}

/// The configuration and the file; warns of what the two do not agree on, and refuses what no server would start with.
fn read(options: &PlanOptions) -> anyhow::Result<(Config, DirectoryFile)> {
    let config = Config::read(&options.server.config)?;
    let written = Written::read(&options.file)?;
    let missing = config.missing_for(written.directory());
    if !missing.is_empty() {
        let named = options.server.config.display();
        eprintln!("warning: {named} does not have all that this names:\n{}", written.explained(missing));
    }
    let taken = config.taken_by(written.directory());
    ensure!(taken.is_empty(), written.explained(taken));
    if let Some(configured) = &config.directory
        && !is_same(configured, &options.file)
    {
        eprintln!(
            "warning: {} has directory = \"{}\", which is another file, and the next start of a server makes that one \
             the directory again: apply that one, or take the key out of the configuration",
            options.server.config.display(),
            configured.display()
        );
    }
    Ok((config, written.into_directory()))
}

/// The directory of the configuration's servers, whether or not one of them runs.
async fn open(config: &Config) -> anyhow::Result<DirectoryAccess> {
    Ok(doorward_store::open_directory(&config.location().map_err(|why| anyhow!(why))?).await?)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn show(
    options: &PlanOptions,
    current: &Directory,
    file: &DirectoryFile,
    plan: &Plan<'_>,
) -> anyhow::Result<()> {
    if options.json {
        return print(&shown::json(current, plan)?);
    }
    coloured(&shown::text(current, file, plan, &options.file)?)
}

/// Asks whoever sits at the terminal.
fn agreed() -> anyhow::Result<bool> {
    ensure!(
        io::stdin().is_terminal(),
        "nothing was applied: there is no terminal to ask at; look at the plan, and give --yes"
    );
    eprint!("Apply this? [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    let agreed = matches!(answer.trim(), "y" | "Y" | "yes");
    if !agreed {
        eprintln!("nothing was applied");
    }
    Ok(agreed)
}

/// Prints as it is.
fn print(text: &str) -> anyhow::Result<()> {
    write(io::stdout().lock(), text)
}

/// Prints with colours, if this is a terminal that has them and NO_COLOR is not set.
fn coloured(text: &str) -> anyhow::Result<()> {
    write(anstream::stdout().lock(), text)
}

/// Whoever has read enough may close the other end.
fn write(mut out: impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
