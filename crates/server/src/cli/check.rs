//! `doorward check`: what is wrong with a production server, and how to mend it. Makes nothing
//! that is not there.

use std::fmt::{self, Display};
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use doorward_core::credentials::SharedEntropy;
use doorward_core::directory::{DirectoryFile, DirectoryProblems};
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::time::Timestamp;
use doorward_keys::{KeyRing, MASTER_BYTES};
use doorward_store::postgres::Schema;
use doorward_store::{EmbeddedStore, Location, MemoryStore, OpenError, PostgresStore};
use doorward_upstream::credentials::web_identity::IdentityTokens;

use super::{check_broker, check_sources, run, serve};
use crate::ambient::{Clock, OsEntropy};
use crate::brokers;
use crate::config::Config;
use crate::directory_file::Written;
use crate::http::tls::Certificate;
use crate::keyfile;
use crate::signing::{self, KeyPolicy, Signing};

/// Before this, a clock is not merely wrong: it was never set. 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_seconds(1_767_225_600);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
    /// Read all of the embedded database and look for damage; the server must be stopped.
    #[arg(long)]
    read_database: bool,
    #[command(flatten)]
    broker: check_broker::BrokerOptions,
}

/// Looks at one thing after the other; all of them, however many are wrong.
pub(super) fn run(options: &Options) -> ExitCode {
    let mut report = Report { failed: false };
    report.line("configuration", Config::read(&options.config).map(|_| options.config.display().to_string()));
    let Ok(config) = Config::read(&options.config) else { return ExitCode::FAILURE };

    report.line(
        "public_url",
        serve::site(&config).map(|site| format!("{}; people open {}", site.base(), site.start_url())),
    );
    report.line("start URL", start_url(&config));
    report.line("directory", directory(&config));
    report.line("master key", master_key(&config));
    if let Some(directory) = &config.data_dir {
        report.line("data_dir", data_dir(directory));
    }
    let running = report.line("store", store(&config, options.read_database)) == Some(Store::InUse);
    if let Some(tls) = &config.tls {
        let loaded =
            Certificate::load(&tls.certificate, &tls.key).and_then(|certificate| certificate.server_config());
        report.line("TLS", loaded.map(|_| tls.certificate.display().to_string()));
    }
    if running {
        say("ok    listen: not tried, since doorward is running");
    } else {
        report.line("listen", listen(&config));
    }
    report.line("signing keys", signing_keys(&config));
    report.line("brokers", brokers(&config));
    report.line("clock", clock());
    check_sources::run(&config, &mut report);
    check_broker::run(&options.broker, &config, &mut report);
    if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What was found so far.
pub(super) struct Report {
    failed: bool,
}

impl Report {
    /// Prints what was found, and gives it back if it is right.
    pub(super) fn line<T: Display, E: Into<anyhow::Error>>(
        &mut self,
        what: &str,
        outcome: Result<T, E>,
    ) -> Option<T> {
        match outcome {
            Ok(facts) => {
                say(format_args!("ok    {what}: {facts}"));
                Some(facts)
            }
            Err(error) => {
                self.failed = true;
                say(format_args!("WRONG {what}: {:#}", error.into()));
                None
            }
        }
    }
}

/// Prints a line. Who has seen enough may close the pipe: what is looked at, and the exit code, stay the same.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Newer AWS CLIs take nothing that is not, or does not lead to, a host of AWS's own.
fn start_url(config: &Config) -> anyhow::Result<String> {
    let owned = |url: &String| {
        let host = url::Url::parse(url).ok().and_then(|url| Some(url.host_str()?.to_owned()));
        url.starts_with("https://") && host.is_some_and(|host| host.ends_with(".awsapps.com"))
    };
    ensure!(
        config.start_url_redirect.as_ref().is_some_and(owned) || config.start_url_aliases.iter().any(owned),
        "the AWS CLI from 2.35.13 on refuses {}/start: add start_url_aliases = [\"https://NAME.doorward.awsapps.com/start\"] \
         and let clients use that as their sso_start_url",
        config.public_url
    );
    Ok("has an alias that the AWS CLI accepts".to_owned())
}

/// The directory file, or else what the store has, and whether the configuration has all that it names.
fn directory(config: &Config) -> anyhow::Result<String> {
    let missing = |file: &DirectoryFile| [config.missing_for(file), config.taken_by(file)].concat();
    if let Some(file) = &config.directory {
        let written = Written::read(file)?;
        let missing = missing(written.directory());
        ensure!(missing.is_empty(), written.explained(missing));
        return Ok(described(written.directory()));
    }
    let location = config.location().map_err(|why| anyhow!(why))?;
    let directory =
        run::block_on(async { Ok(doorward_store::open_directory(&location).await?.read().await?) })?;
    if directory.version() == 0 {
        return Ok("none yet, so nobody can sign in: `doorward directory apply FILE` makes one".to_owned());
    }
    let missing = missing(directory.file());
    ensure!(missing.is_empty(), DirectoryProblems(missing));
    Ok(format!("{}; version {} in the store", described(directory.file()), directory.version()))
}

fn described(directory: &DirectoryFile) -> String {
    let DirectoryFile { people, accounts, assignments, .. } = directory;
    let (people, accounts, assignments) = (people.len(), accounts.len(), assignments.len());
    format!("{people} people, {accounts} accounts, {assignments} assignments")
}

fn master_key(config: &Config) -> anyhow::Result<String> {
    let file = config.key_file().map_err(|why| anyhow!(why))?;
    if config.master_key_file.is_none() && !file.exists() {
        keyfile::missing_from_used_directory(&file)?;
        return Ok(format!("{} will be made at the first start", file.display()));
    }
    keyfile::load(&file)?;
    Ok(file.display().to_string())
}

fn data_dir(directory: &Path) -> anyhow::Result<String> {
    if !directory.exists() {
        return Ok(format!("{} will be made at the first start", directory.display()));
    }
    let metadata = directory.metadata().with_context(|| directory.display().to_string())?;
    ensure!(metadata.is_dir(), "{} is not a directory", directory.display());
    ensure!(!metadata.permissions().readonly(), "{} cannot be written", directory.display());
    Ok(directory.display().to_string())
}

/// What became of opening the database.
#[derive(PartialEq, Eq)]
enum Store {
    New,
    Good,
    Whole,
    InUse,
    Behind(i64),
    Ahead(i64),
}

impl Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("will be made at the first start"),
            Self::Good => f.write_str("can be opened"),
            Self::Whole => f.write_str("can be opened, and was read to its end: no damage was found"),
            Self::InUse => f.write_str("in use by a running doorward"),
            Self::Behind(version) => {
                write!(f, "has schema version {version}; the next start brings it forward")
            }
            Self::Ahead(version) => {
                write!(f, "has schema version {version}, of the next doorward, which lets this one in")
            }
        }
    }
}

/// Opens the database and closes it again. A file is opened only if there is one and nobody else has it; a shared
/// database is only looked at.
fn store(config: &Config, read_all: bool) -> anyhow::Result<Store> {
    let location = config.location().map_err(|why| anyhow!(why))?;
    match &location {
        Location::Memory => Ok(Store::New),
        Location::Postgres(options) => {
            let schema = run::block_on(async { Ok(PostgresStore::new(options)?.schema().await?) })?;
            Ok(match schema {
                Schema::None => Store::New,
                Schema::Behind(version) => Store::Behind(version),
                Schema::Current => Store::Good,
                Schema::Ahead(version) => Store::Ahead(version),
            })
        }
        Location::Embedded(directory) if !directory.join("doorward.db").exists() => Ok(Store::New),
        Location::Embedded(directory) => match EmbeddedStore::open(directory) {
            Ok(store) => run::block_on(async {
                let examined = if read_all { store.examine().await } else { Ok(()) };
                store.close().await?;
                examined?;
                Ok(if read_all { Store::Whole } else { Store::Good })
            }),
            Err(OpenError::InUse { .. }) => Ok(Store::InUse),
            Err(error) => Err(error.into()),
        },
    }
}

/// Whether the signing keys can be opened with the master key.
fn signing_keys(config: &Config) -> anyhow::Result<String> {
    let location = config.location().map_err(|why| anyhow!(why))?;
    let kept = run::block_on(async {
        match doorward_store::open_directory(&location).await {
            Ok(access) => Ok(Some(access.signing_keys().await?)),
            Err(OpenError::Behind { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    let Some(kept) = kept else {
        return Ok("not looked at, since the database has to be brought forward first".to_owned());
    };
    if kept.keys.is_empty() {
        return Ok("none yet; a server makes each when it is first needed".to_owned());
    }
    signing::check(&kept, &keyfile::load(&config.key_file().map_err(|why| anyhow!(why))?)?)?;
    let now = Clock::system().now();
    let active = SigningAlgorithm::ALL.into_iter().filter_map(|algorithm| kept.active(algorithm, now));
    Ok(active.map(|key| format!("{} ({})", key.id, key.algorithm)).collect::<Vec<_>>().join(", "))
}

/// Makes the brokers as a server does when it starts, and asks none of them anything.
fn brokers(config: &Config) -> anyhow::Result<String> {
    let entropy: SharedEntropy = Arc::new(OsEntropy::default());
    // The real ones may not be there yet, and nothing is made or signed with these.
    let keys = KeyRing::new(&[0; MASTER_BYTES]);
    let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(Clock::system()));
    let tokens: Arc<dyn IdentityTokens> =
        Arc::new(Signing::new(store, clock, Arc::clone(&entropy), &keys, KeyPolicy::default()));
    let site = serve::site(config)?;
    let made = brokers::configured(config, site.base(), &tokens, &keys, &entropy);
    let made = run::block_on(made)?;
    let names: Vec<String> = made.names().map(ToString::to_string).collect();
    Ok(if names.is_empty() { "none".to_owned() } else { names.join(", ") })
}

fn listen(config: &Config) -> anyhow::Result<String> {
    TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {}; is doorward running already?", config.listen))?;
    Ok(config.listen.to_string())
}

fn clock() -> anyhow::Result<String> {
    let now = Clock::system().now();
    ensure!(
        now >= EARLIEST,
        "this machine believes it is before 2026: set its clock, or every token will be wrong"
    );
    Ok(jiff::Timestamp::from_millisecond(now.millis())?.to_string())
}
