//! `doorward key`: the keys that sign what others verify, whether or not servers run.

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::{Subcommand, ValueEnum};
use doorward_core::signing_key::{
    KEPT_PUBLISHED, KeyState, Rotation, SigningAlgorithm, SigningKey, SigningKeys,
};
use doorward_core::store::CommitError;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use doorward_keys::KeyRing;
use doorward_store::DirectoryAccess;

use super::check::say;
use super::run;
use crate::ambient::{Clock, OsEntropy};
use crate::config::Config;
use crate::{audit, keyfile, signing};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the signing keys: which of them sign, and until when.
    List(Server),
    /// Make the next key of each algorithm now. It is published at once, and signs after `publish_ahead`; nobody notices.
    Rotate(RotateOptions),
    /// Put new keys in the place of all of them, at once: when one leaked, or their master key is lost. What they signed
    /// can be verified no more.
    Replace(ReplaceOptions),
}

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The configuration file of the server.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct RotateOptions {
    #[command(flatten)]
    server: Server,
    /// Only the key of this algorithm.
    #[arg(long, value_enum, ignore_case = true)]
    algorithm: Option<Algorithm>,
    /// Log what was done, to standard error, as lines of JSON.
    #[arg(long)]
    log_json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplaceOptions {
    #[command(flatten)]
    server: Server,
    /// Log what was done, to standard error, as lines of JSON.
    #[arg(long)]
    log_json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Algorithm {
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

impl From<Algorithm> for SigningAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Rs256 => Self::Rs256,
            Algorithm::Es256 => Self::Es256,
            Algorithm::EdDsa => Self::EdDsa,
        }
    }
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List(server) => run::block_on(list(server)),
        Command::Rotate(options) => {
            run::start_logging(options.log_json);
            run::block_on(rotate(options))
        }
        Command::Replace(options) => {
            run::start_logging(options.log_json);
            run::block_on(replace(options))
        }
    }
}

/// What the servers of a configuration sign with.
struct Place {
    access: DirectoryAccess,
    kept: SigningKeys,
    rotation: Rotation,
    config: Config,
    now: Timestamp,
}

impl Place {
    async fn open(server: &Server) -> anyhow::Result<Self> {
        let config = Config::read(&server.config)?;
        let location = config.location().map_err(|why| anyhow!(why))?;
        let access = doorward_store::open_directory(&location).await?;
        let kept = access.signing_keys().await?;
        let rotation = config.key_policy().map_err(|why| anyhow!(why))?.rotation;
        Ok(Self { access, kept, rotation, config, now: Clock::system().now() })
    }

    fn master(&self) -> anyhow::Result<KeyRing> {
        keyfile::load(&self.config.key_file().map_err(|why| anyhow!(why))?)
    }

    /// Whether there are none; then nothing is left to do.
    fn is_empty(&self) -> bool {
        let empty = self.kept.keys.is_empty();
        if empty {
            say("there is no signing key: a server makes each when it is first needed");
        }
        empty
    }

    /// Keeps these keys, and gives the version that has them.
    async fn put(&self, keys: Vec<SigningKey>) -> anyhow::Result<u64> {
        let from = self.kept.version;
        match self.access.replace(Change::ReplaceSigningKeys { from, keys }).await {
            Ok(()) => Ok(from + 1),
            Err(CommitError::Conflict) => {
                bail!(
                    "nothing was done: somebody else has just changed the signing keys; look at them, and try again"
                )
            }
            Err(CommitError::Outage(outage)) => Err(outage.into()),
        }
    }
}

async fn list(server: &Server) -> anyhow::Result<()> {
    let place = Place::open(server).await?;
    if place.is_empty() {
        return Ok(());
    }
    row("kid", "algorithm", "state", "since", "until");
    for (key, state) in place.kept.published(place.now) {
        let begun = key.signs_from.max(key.made_at);
        let (state, since, until) = match state {
            KeyState::Next => ("next", key.made_at, Some(key.signs_from)),
            KeyState::Active => {
                let next = place.kept.next(key.algorithm, place.now).map(|next| next.signs_from);
                ("active", begun, next.or_else(|| Some(begun.plus(place.rotation.rotate_after?))))
            }
            KeyState::Retired(until) => ("retired", until.minus(KEPT_PUBLISHED), Some(until)),
        };
        let until = until.map_or_else(|| Ok("replaced".to_owned()), shown)?;
        row(&key.id, key.algorithm, state, shown(since)?, until);
    }
    Ok(())
}

/// A line of the list; a `kid` has 43 characters, and a moment 20.
fn row(kid: &str, algorithm: impl Display, state: &str, since: impl Display, until: impl Display) {
    say(format_args!("{kid:43}  {algorithm:9}  {state:7}  {since:20}  {until}"));
}

/// A moment, in UTC, to the second.
fn shown(moment: Timestamp) -> anyhow::Result<String> {
    Ok(jiff::Timestamp::from_second(moment.seconds())?.to_string())
}

async fn rotate(options: &RotateOptions) -> anyhow::Result<()> {
    let place = Place::open(&options.server).await?;
    if place.is_empty() {
        return Ok(());
    }
    let Place { kept, rotation, now, .. } = &place;
    let master = place.master()?;
    signing::check(kept, &master)?;
    let mut wanted = Vec::new();
    for algorithm in SigningAlgorithm::ALL {
        if options.algorithm.is_some_and(|only| SigningAlgorithm::from(only) != algorithm) {
            continue;
        }
        match (kept.active(algorithm, *now), kept.next(algorithm, *now)) {
            (_, Some(next)) => {
                let (kid, from) = (&next.id, shown(next.signs_from)?);
                say(format_args!(
                    "{algorithm}: the next key is there already: {kid}, which signs from {from} on"
                ));
            }
            (None, None) if options.algorithm.is_some() => {
                say(format_args!("{algorithm}: there is no key: a server makes one when it is first needed"));
            }
            (None, None) => {}
            (Some(_), None) if !kept.has_room(algorithm, *now) => bail!(
                "{algorithm}: too many keys are published still, until all that they signed has expired; `doorward key \
                 list` says when there is room"
            ),
            (Some(_), None) => wanted.push(algorithm),
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let made = signing::next_keys(&wanted, rotation, &master, &OsEntropy::default(), *now).await?;
    let version = place.put(kept.keys.iter().chain(&made).cloned().collect()).await?;
    for key in &made {
        audit::signing_key_made(key, version);
        let SigningKey { id, algorithm, .. } = key;
        say(format_args!(
            "{algorithm}: the next key is {id}, which signs from {} on",
            shown(key.signs_from)?
        ));
    }
    remind_of_certificates(&place.config);
    Ok(())
}

async fn replace(options: &ReplaceOptions) -> anyhow::Result<()> {
    let place = Place::open(&options.server).await?;
    if place.is_empty() {
        return Ok(());
    }
    let Place { kept, now, .. } = &place;
    let made = signing::replacements(kept, &place.master()?, &OsEntropy::default(), *now).await?;
    let version = place.put(made.clone()).await?;
    for key in &made {
        audit::signing_key_made(key, version);
        say(format_args!("{}: the key is now {}", key.algorithm, key.id));
    }
    for key in &kept.keys {
        audit::signing_key_removed(key, "replaced", version);
    }
    say(format_args!(
        "servers that run look for new keys every {} seconds; from then on they sign with these, and publish no other",
        place.rotation.look_every().seconds()
    ));
    remind_of_certificates(&place.config);
    Ok(())
}

fn remind_of_certificates(config: &Config) {
    if config.web_identity.x5c {
        say(
            "the certificate is another too: give its thumbprint to the backends that compare it, such as Ceph 20",
        );
    }
}
