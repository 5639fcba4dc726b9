//! `doorward key`: the key that signs web identity tokens.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use doorward_core::store::CommitError;

use super::run;
use crate::ambient::{Clock, OsEntropy};
use crate::config::Config;
use crate::{keyfile, signing};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Put a new key in the place of the one that signs: when that leaked, or its master key is lost. Servers sign with it
    /// once they are started again.
    Replace(ReplaceOptions),
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplaceOptions {
    /// The configuration file of the server.
    #[arg(short, long, value_name = "CONFIG", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
}

pub(super) fn replace(options: &ReplaceOptions) -> anyhow::Result<()> {
    let config = Config::read(&options.config)?;
    let location = config.location().map_err(|why| anyhow!(why))?;
    let keys = keyfile::load(&config.key_file().map_err(|why| anyhow!(why))?)?;
    run::block_on(async {
        let access = doorward_store::open_directory(&location).await?;
        let kept = access.signing_keys().await?;
        if kept.keys.is_empty() {
            println!(
                "there is no signing key to replace: a server with a web-identity broker makes one when it starts"
            );
            return Ok(());
        }
        let now = Clock::system().now();
        let (id, change) = signing::replacement(&kept, &keys, &OsEntropy::default(), now).await?;
        match access.replace(change).await {
            Ok(()) => {}
            Err(CommitError::Conflict) => {
                bail!("nothing was replaced: somebody else has just replaced the signing key")
            }
            Err(CommitError::Outage(outage)) => return Err(outage.into()),
        }
        println!("replaced the signing key: the new one is {id}");
        println!(
            "start every server again: until then it signs with the key that it has, and publishes that one"
        );
        if config.web_identity.x5c {
            println!(
                "the certificate is another too: give its thumbprint to the backends that compare it, such as Ceph 20"
            );
        }
        Ok(())
    })
}
