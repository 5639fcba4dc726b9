//! `doorward dev`: a server on this machine, ready at once.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use doorward_core::assignment::{Principal, Standing};
use doorward_core::client::RegistrationPolicy;
use doorward_core::credentials::SharedEntropy;
use doorward_core::directory::DirectoryFile;
use doorward_core::federated::Sources;
use doorward_core::ids::PersonId;
use doorward_core::secret::Password;
use doorward_core::store::Store;
use doorward_core::time::Timestamp;
use doorward_core::time::{Lifetime, Lifetimes};
use doorward_keys::KeyRing;
use doorward_store::{Location, Opened};
use doorward_upstream::credentials::built_in::BuiltIn;
use doorward_upstream::identity::local;
use serde::Serialize;

use super::run;
use crate::ambient::{Clock, OsEntropy, draw};
use crate::app::{App, DeviceGrant, DeviceRequestQuota, Parts, Policy};
use crate::brokers;
use crate::dev::{Development, Faults, FaultyStore, seed};
use crate::directory_file::Written;
use crate::http::listen::Listener;
use crate::http::server::Server;
use crate::iam::Callers;
use crate::identity::Identity;
use crate::issuers::Issuers;
use crate::signing::{KeyPolicy, Signing};
use crate::site::Site;
use crate::{keyfile, setup};

/// Two labels in front of `awsapps.com`: the AWS CLI takes the host for AWS's own, and nobody can have it there,
/// since real aliases have one label.
const ALIAS: &str = "https://local.doorward.awsapps.com/start";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Where to listen; on this machine only. Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8377", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Keep state here. Without it everything is forgotten at the end.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// People, groups, accounts and roles of one's own, instead of the seeded ones.
    #[arg(long, value_name = "FILE")]
    directory: Option<PathBuf>,
    /// Approve every request at once, as this person. Insecure: whoever reaches the port gets their roles.
    #[arg(long, value_name = "PERSON")]
    auto_approve: Option<String>,
    /// Print one line of JSON when ready, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
    /// `sso_region` of the clients.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Another start URL to answer to; may be repeated.
    #[arg(long, value_name = "URL")]
    start_url_alias: Vec<String>,
    /// Limit how often callers may ask, as `serve` does.
    #[arg(long)]
    rate_limits: bool,
    /// Seconds between polls of one device code; 0 lets them follow each other at any speed.
    #[arg(long, default_value_t = 1, value_name = "SECONDS")]
    poll_interval: u32,
    #[command(flatten)]
    lifetimes: LifetimeOptions,
}

/// Lifetimes in seconds, to watch things expire.
#[derive(Debug, clap::Args)]
struct LifetimeOptions {
    /// Seconds that an access token lives.
    #[arg(long, default_value_t = Lifetimes::default().access_token.seconds(), value_name = "SECONDS")]
    access_token_lifetime: u32,
    /// Seconds that a session lives, refreshed or not.
    #[arg(long, default_value_t = Lifetimes::default().session.seconds(), value_name = "SECONDS")]
    session_lifetime: u32,
    /// Seconds that a device code lives.
    #[arg(long, default_value_t = Lifetimes::default().device_request.seconds(), value_name = "SECONDS")]
    device_code_lifetime: u32,
    /// Seconds that an authorization code lives.
    #[arg(long, default_value_t = Lifetimes::default().authorization_code.seconds(), value_name = "SECONDS")]
    authorization_code_lifetime: u32,
    /// Seconds that a client registration lives.
    #[arg(long, default_value_t = Lifetimes::default().registration.seconds(), value_name = "SECONDS")]
    registration_lifetime: u32,
    /// Seconds that the previous refresh token is still answered, with its own successor.
    #[arg(long, default_value_t = Lifetimes::default().refresh_grace.seconds(), value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    refresh_grace: u32,
}

impl LifetimeOptions {
    fn lifetimes(&self) -> Lifetimes {
        // A used code is known by the session it became, so it must not outlive that.
        let authorization_code = self.authorization_code_lifetime.min(self.session_lifetime);
        Lifetimes {
            access_token: Lifetime::from_seconds(self.access_token_lifetime),
            session: Lifetime::from_seconds(self.session_lifetime),
            device_request: Lifetime::from_seconds(self.device_code_lifetime),
            authorization_code: Lifetime::from_seconds(authorization_code),
            registration: Lifetime::from_seconds(self.registration_lifetime),
            refresh_grace: Lifetime::from_seconds(self.refresh_grace),
            ..Lifetimes::default()
        }
    }
}

/// What `--json` says, in one line.
#[derive(Serialize)]
struct Ready<'a> {
    oidc_endpoint: &'a str,
    portal_endpoint: &'a str,
    start_url: String,
    start_url_aliases: &'a [String],
    region: &'a str,
    people: Vec<ReadyPerson<'a>>,
    accounts: Vec<ReadyAccount<'a>>,
    applications: Vec<ReadyApplication<'a>>,
}

#[derive(Serialize)]
struct ReadyPerson<'a> {
    user_name: &'a str,
    /// Null for people of one's own whose password is known as a hash alone.
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct ReadyAccount<'a> {
    id: &'a str,
    name: &'a str,
    roles: Vec<&'a str>,
}

#[derive(Serialize)]
struct ReadyApplication<'a> {
    client_id: &'a str,
    /// Null for those that have none, and for one's own.
    client_secret: Option<&'a str>,
}

/// The people, accounts and applications to start with, and the passwords and secrets that are known.
struct Cast {
    file: DirectoryFile,
    passwords: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.listen.ip().is_loopback(),
        "doorward dev listens on this machine alone, for its passwords are public: {} is not a loopback address; \
         `doorward serve` is for others",
        options.listen
    );
    run::start_logging(false);
    let cast = cast(options)?;
    let auto_approve = options.auto_approve.as_deref().map(|name| approver(name, &cast.file)).transpose()?;
    run::block_on(start(options, cast, auto_approve))
}

async fn start(options: &Options, cast: Cast, auto_approve: Option<PersonId>) -> anyhow::Result<()> {
    let listener = Listener::bind(options.listen).await?;
    let entropy: SharedEntropy = Arc::new(OsEntropy::default());
    let (location, keys) = match &options.data_dir {
        None => (Location::Memory, KeyRing::new(&draw(&*entropy))),
        Some(directory) => {
            run::make_data_dir(directory)?;
            let keys = keyfile::load_or_create(&directory.join("master.key"), &*entropy)?;
            (Location::Embedded(directory.clone()), keys)
        }
    };
    let Opened { store, closer } = doorward_store::open(&location)?;
    let clock = Arc::new(Clock::system());
    run::apply_directory(&*store, cast.file.clone(), clock.now()).await?;
    let principal = first_person(&*store, &cast, clock.now()).await?;

    let aliases = [ALIAS.to_owned()].into_iter().chain(options.start_url_alias.iter().cloned()).collect();
    let site = Site::new(&format!("http://{}", listener.local_addr()?), aliases, options.region.clone())?;
    let faults = Arc::new(Faults::default());
    let built_in = Arc::new(BuiltIn::new(&keys, Arc::clone(&entropy)));
    let development = Development {
        auto_approve: auto_approve.clone(),
        hints: cast.passwords.clone(),
        faults: Arc::clone(&faults),
        built_in: Arc::clone(&built_in),
    };
    let lifetimes = options.lifetimes.lifetimes();
    let store: Arc<dyn Store> = Arc::new(FaultyStore::new(store, faults));
    let key_policy = KeyPolicy::default();
    let signing = Signing::new(store.clone(), clock.clone(), entropy.clone(), &keys, key_policy);
    signing.start(&[]).await?;
    signing.make_for_applications().await?;
    let signing = Arc::new(signing);
    let identity = Identity::new(Vec::new(), store.clone(), clock.clone(), entropy.clone(), &keys);
    let app = Arc::new(App::new(Parts {
        store,
        clock,
        keys,
        entropy,
        brokers: brokers::built_in(built_in),
        identity,
        issuers: Issuers::default(),
        callers: Callers::default(),
        signing,
        policy: Policy {
            registration: RegistrationPolicy {
                redirect_uris: Vec::new(),
                scopes: None,
                lifetime: lifetimes.registration,
            },
            lifetimes,
            poll_interval: options.poll_interval,
            device_grant: DeviceGrant::On,
            device_requests: quota(options.rate_limits),
            rate_limits: options.rate_limits,
        },
        development: Some(development),
        site: site.clone(),
    }));
    let listener = Listener::new(listener, Server::new(&app));
    if let Some(person) = &auto_approve {
        tracing::warn!(%person, "INSECURE: every request is approved at once, without being asked");
    }
    let text = if options.json {
        serde_json::to_string(&ready(&site, &cast))?
    } else {
        welcome(options, &site, &cast, principal.as_ref())
    };
    announce(&text)?;
    run::serve(app, listener, closer).await
}

fn quota(limited: bool) -> DeviceRequestQuota {
    if limited {
        DeviceRequestQuota::default()
    } else {
        DeviceRequestQuota { from_address: 1_000_000, total: 1_000_000 }
    }
}

/// The seeded people, or those of `--directory`.
fn cast(options: &Options) -> anyhow::Result<Cast> {
    let Some(file) = &options.directory else {
        let (passwords, secrets) = (seed::passwords(), seed::secrets());
        return Ok(Cast { file: seed::directory()?, passwords, secrets });
    };
    let (written, passwords) = Written::read_with_passwords(file)?;
    let mut directory = written.into_directory();
    for (name, password) in &passwords {
        let hash = local::hash(&Password::new(password.as_str()), &draw(&OsEntropy::default()))
            .with_context(|| format!("person {name}"))?;
        let mut people = directory.people.iter_mut();
        if let Some(person) = people.find(|person| person.user_name.as_str() == name) {
            person.password_hash = Some(hash);
        }
    }
    Ok(Cast { file: directory, passwords, secrets: Vec::new() })
}

fn approver(name: &str, directory: &DirectoryFile) -> anyhow::Result<PersonId> {
    let known: Vec<&str> = directory.people.iter().map(|person| person.user_name.as_str()).collect();
    match directory.people.iter().find(|person| person.user_name.as_str() == name) {
        Some(person) if person.disabled => bail!("--auto-approve {name}: this person is disabled"),
        Some(person) => Ok(person.user_name.clone()),
        None => bail!("--auto-approve {name}: there is no such person; there are {}", known.join(", ")),
    }
}

/// The person whose profile is shown.
async fn first_person(store: &dyn Store, cast: &Cast, now: Timestamp) -> anyhow::Result<Option<Principal>> {
    let Some(person) = cast.file.people.first() else { return Ok(None) };
    let standing = Standing::load(store, &Sources::new(), Some(&person.user_name)).await?;
    Ok(standing.principal(&person.user_name, now, now))
}

/// Says that the server is ready, and how to use it. The socket is bound: whoever connects now is answered.
fn announce(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("standard output is closed")
}

fn ready<'a>(site: &'a Site, cast: &'a Cast) -> Ready<'a> {
    let file = &cast.file;
    let told = |secrets: &'a [(String, String)], name: &str| {
        secrets.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.as_str())
    };
    Ready {
        oidc_endpoint: site.base(),
        portal_endpoint: site.base(),
        start_url: site.start_url(),
        start_url_aliases: site.aliases(),
        region: site.region(),
        people: file
            .people
            .iter()
            .map(|person| ReadyPerson {
                user_name: person.user_name.as_str(),
                password: told(&cast.passwords, person.user_name.as_str()),
            })
            .collect(),
        accounts: file
            .accounts
            .iter()
            .map(|account| ReadyAccount {
                id: account.id.as_str(),
                name: &account.name,
                roles: roles_in(file, account.id.as_str()),
            })
            .collect(),
        applications: file
            .applications
            .iter()
            .map(|application| ReadyApplication {
                client_id: application.client_id.as_str(),
                client_secret: told(&cast.secrets, application.client_id.as_str()),
            })
            .collect(),
    }
}

/// The roles that anybody has in an account.
fn roles_in<'a>(file: &'a DirectoryFile, account: &str) -> Vec<&'a str> {
    file.permission_sets
        .iter()
        .map(|set| &set.name)
        .filter(|name| {
            file.assignments.iter().any(|assignment| {
                assignment.permission_sets.contains(name)
                    && assignment.accounts.iter().any(|assigned| assigned.as_str() == account)
            })
        })
        .map(doorward_core::ids::RoleName::as_str)
        .collect()
}

fn welcome(options: &Options, site: &Site, cast: &Cast, principal: Option<&Principal>) -> String {
    let base = site.base();
    let ready = ready(site, cast);
    let config = match cast.file.people.first() {
        Some(_) => {
            let (account, role) = setup::first_role(principal);
            setup::config_file(site, &account, &role, true)
        }
        None => "(the directory has no people)".to_owned(),
    };
    let people: Vec<String> = ready
        .people
        .iter()
        .map(|person| {
            format!("  {:<16} {}", person.user_name, person.password.unwrap_or("(known as a hash alone)"))
        })
        .collect();
    let kept = options.data_dir.as_ref().map_or_else(
        || "State is forgotten at the end; --data-dir keeps it.".to_owned(),
        |directory| format!("State is kept in {}.", directory.display()),
    );
    format!(
        "Doorward is ready on {base} — for development, on this machine alone. {kept}\n\
         \n\
         1. Add a profile to ~/.aws/config:\n\
         \n{}\n\
         2. Sign in as one of these people, and see who you are:\n\
         \n{}\n\
         \n  aws sso login --profile doorward\n  aws sts get-caller-identity --profile doorward\n\
         \n\
         Commands without --profile, and SDKs that do not read `services`, find the server by these:\n\
         \n  export AWS_ENDPOINT_URL_SSO_OIDC={base}\n  export AWS_ENDPOINT_URL_SSO={base}\n  \
         export AWS_ENDPOINT_URL_STS={base}\n\
         \n{}\
         Your access, in a browser: {}\n",
        indent(&config),
        people.join("\n"),
        applications(base, &ready.applications),
        site.start_url(),
    )
}

/// How to use the seeded applications, in two lines; of one's own somebody knows.
fn applications(base: &str, applications: &[ReadyApplication<'_>]) -> String {
    let secret = applications.iter().find_map(|one| Some((one.client_id, one.client_secret?)));
    let public = applications.iter().find(|one| one.client_secret.is_none());
    let (Some((id, secret)), Some(public)) = (secret, public) else { return String::new() };
    format!(
        "OpenID Connect, issuer {base}: client {id} with the secret {secret}, or {} without one;\n\
         either may redirect to http://127.0.0.1/callback, at any port.\n\n",
        public.client_id
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
