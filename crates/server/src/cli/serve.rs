//! `doorward serve`: a server for production.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{anyhow, ensure};
use doorward_core::client::RegistrationPolicy;
use doorward_core::credentials::SharedEntropy;
use doorward_core::directory::{Directory, DirectoryFile, DirectoryProblems};
use doorward_core::signing_key::SigningAlgorithm;
use doorward_keys::KeyRing;
use doorward_store::Opened;
use doorward_upstream::credentials::web_identity::IdentityTokens;
use tracing::{info, warn};

use super::run;
use crate::ambient::{Clock, OsEntropy};
use crate::app::{App, DeviceRequestQuota, Parts, Policy};
use crate::brokers;
use crate::config::{BrokerKind, Config};
use crate::directory_file::Written;
use crate::http::listen::Listener;
use crate::http::proxy::TrustedProxies;
use crate::http::server::Server;
use crate::http::tls::Certificate;
use crate::iam::Callers;
use crate::identity::Identity;
use crate::issuers::Issuers;
use crate::keyfile;
use crate::signing::Signing;
use crate::site::Site;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", env = "DOORWARD_CONFIG", default_value = "doorward.toml")]
    config: PathBuf,
    /// Log as lines of JSON.
    #[arg(long)]
    log_json: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    run::start_logging(options.log_json);
    let config = Config::read(&options.config)?;
    run::block_on(start(config))
}

async fn start(config: Config) -> anyhow::Result<()> {
    let directory = config.directory.as_deref().map(Written::read).transpose()?.map(Written::into_directory);
    let entropy: SharedEntropy = Arc::new(OsEntropy::default());
    if let Some(directory) = &config.data_dir {
        run::make_data_dir(directory)?;
    }
    let keys = keys(&config, &entropy)?;
    let certificate =
        config.tls.as_ref().map(|tls| Certificate::load(&tls.certificate, &tls.key)).transpose()?;
    let tcp = Listener::bind(config.listen).await?;
    let opened = doorward_store::open(&config.location().map_err(|why| anyhow!(why))?)?;
    opened.ready().await?;
    let Opened { store, closer } = opened;
    let clock = Arc::new(Clock::system());

    let site = site(&config)?;
    let key_policy = config.key_policy().map_err(|why| anyhow!(why))?;
    let signing = Signing::new(store.clone(), clock.clone(), entropy.clone(), &keys, key_policy);
    let signing = Arc::new(signing);
    let tokens: Arc<dyn IdentityTokens> = signing.clone();
    let brokers = brokers::configured(&config, site.base(), &tokens, &keys, &entropy).await?;
    if config.brokers.values().any(|broker| broker.kind == BrokerKind::WebIdentity) {
        signing.start(&[SigningAlgorithm::Rs256]).await?;
    } else if let Err(outage) = signing.start(&[]).await {
        // Nothing is signed with them as long as nobody asks.
        warn!("the signing keys were not looked after: {outage}");
    }
    let sources = config.identity_sources(site.base()).map_err(|why| anyhow!(why))?;
    let identity = Identity::new(sources, store.clone(), clock.clone(), entropy.clone(), &keys);
    let issuers = Issuers::configured(&config).map_err(|why| anyhow!(why))?;
    let callers = Callers::configured(&config.iam, site.base())?;
    // Last: a server that cannot start leaves people as they were.
    if let Some(file) = directory {
        nothing_taken(&config, &file)?;
        run::apply_directory(&*store, file, clock.now()).await?;
    }
    let directory = store.directory().await?;
    directory_fits(&config, &directory);
    nothing_taken(&config, directory.file())?;
    signing.make_for_applications().await?;
    identity.warm();
    let app = Arc::new(App::new(Parts {
        site,
        store,
        clock,
        keys,
        entropy,
        brokers,
        identity,
        issuers,
        callers,
        signing,
        policy: policy(&config)?,
        development: None,
    }));
    let mut listener = Listener::new(tcp, Server::new(&app));
    if let Some(proxy) = &config.proxy {
        let proxies = TrustedProxies::new(proxy.trusted.clone());
        let only = config.tls.is_none() && !proxies.is_empty();
        listener = listener.behind(proxies, only);
    }
    if let Some(certificate) = &certificate {
        listener = listener.with_tls(certificate.server_config()?);
        tokio::spawn(Arc::clone(certificate).keep_fresh());
    }
    info!(listen = %config.listen, public_url = %app.site.base(), tls = certificate.is_some(), "ready");
    run::serve(app, listener, closer).await
}

/// Warns of a directory with which something cannot work.
fn directory_fits(config: &Config, directory: &Directory) {
    if directory.version() == 0 {
        warn!("there is no directory, and nobody can sign in: `doorward directory apply FILE` makes one");
    }
    for missing in config.missing_for(directory.file()) {
        warn!("the configuration does not have all that the directory names: {missing}");
    }
}

/// Refuses a directory whose applications could get role credentials with their own tokens.
fn nothing_taken(config: &Config, directory: &DirectoryFile) -> anyhow::Result<()> {
    let taken = config.taken_by(directory);
    ensure!(taken.is_empty(), DirectoryProblems(taken));
    Ok(())
}

pub(super) fn keys(config: &Config, entropy: &SharedEntropy) -> anyhow::Result<KeyRing> {
    let file = config.key_file().map_err(|why| anyhow!(why))?;
    // A file that the operator names is one that the operator keeps: a missing one is a mistake.
    if config.master_key_file.is_some() {
        keyfile::load(&file)
    } else {
        keyfile::load_or_create(&file, &**entropy)
    }
}

pub(super) fn site(config: &Config) -> anyhow::Result<Site> {
    let site = Site::new(&config.public_url, config.start_url_aliases.clone(), config.region.clone())?;
    Ok(match &config.start_url_redirect {
        Some(target) => site.with_start_url_redirect(target.clone())?,
        None => site,
    })
}

fn policy(config: &Config) -> anyhow::Result<Policy> {
    let lifetimes = config.lifetimes().map_err(|why| anyhow!(why))?;
    Ok(Policy {
        registration: RegistrationPolicy {
            redirect_uris: config.registration.redirect_uris.clone(),
            scopes: config.scopes().map_err(|why| anyhow!(why))?,
            lifetime: lifetimes.registration,
        },
        lifetimes,
        poll_interval: 1,
        device_grant: config.device_grant,
        device_requests: DeviceRequestQuota::default(),
        rate_limits: true,
    })
}
