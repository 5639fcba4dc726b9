//! The file that operators write: `doorward.toml`. A mistake names the file, the line, the key, and the nearest key that
//! exists.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use doorward_core::directory::{DirectoryFile, DirectoryProblem};
use doorward_core::federated::Sources;
use doorward_core::ids::{BrokerName, IssuerName, SourceName};
use doorward_core::scope::Scopes;
use doorward_core::time::{Lifetime, Lifetimes};
use doorward_store::Location;
use doorward_store::postgres::PostgresOptions;
use doorward_upstream::identity::oidc::Source;
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::app::DeviceGrant;
use crate::signing::KeyPolicy;

mod brokers;
mod iam;
mod identity_sources;
mod signing_keys;
mod trusted_issuers;

pub use brokers::{BrokerConfig, BrokerKind, WebIdentityConfig};
pub use iam::{AccessKeyConfig, IamConfig};
pub use identity_sources::{IdentitySourceConfig, IdentitySourceKind};
pub use signing_keys::SigningKeysConfig;
pub use trusted_issuers::TrustedIssuerConfig;

/// The name of the broker that is part of this server.
pub const BUILT_IN: &str = "built-in";

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(why: String) -> Self {
        Self(why)
    }
}

/// The configuration of `doorward serve`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where clients and browsers find the server: an origin, without a path.
    pub public_url: String,
    /// Start URLs it answers to beside its own.
    #[serde(default)]
    pub start_url_aliases: Vec<String>,
    /// Where the AWS CLI's `HEAD` of the start URL is sent on to.
    pub start_url_redirect: Option<String>,
    /// `sso_region`.
    #[serde(default = "default_region")]
    pub region: String,
    /// Where its state lies, on one machine; or else there is `postgres`.
    pub data_dir: Option<PathBuf>,
    /// The database that several nodes share.
    pub postgres: Option<Postgres>,
    /// The master key; `master.key` in `data_dir` when absent, made at the first start. With `postgres` it must be
    /// named, and be the same on every node.
    pub master_key_file: Option<PathBuf>,
    /// The file that becomes the directory at each start; without it, what `doorward directory apply` made it counts.
    pub directory: Option<PathBuf>,
    /// TLS. Without it the server speaks plain HTTP, on loopback or behind `proxy`.
    pub tls: Option<Tls>,
    /// Who may speak for clients.
    pub proxy: Option<Proxy>,
    /// How long things live, in seconds.
    #[serde(default)]
    pub lifetimes: LifetimeConfig,
    /// Who may approve a device request.
    #[serde(default)]
    pub device_grant: DeviceGrant,
    /// What clients may register.
    #[serde(default)]
    pub registration: RegistrationConfig,
    /// Where role credentials come from.
    #[serde(default)]
    pub brokers: BTreeMap<BrokerName, BrokerConfig>,
    /// What backends verify this server's tokens with.
    #[serde(default)]
    pub web_identity: WebIdentityConfig,
    /// How the keys that sign them take turns.
    #[serde(default)]
    pub signing_keys: SigningKeysConfig,
    /// Where people sign in beside the passwords of the directory.
    #[serde(default)]
    pub identity_sources: BTreeMap<SourceName, IdentitySourceConfig>,
    /// Whose assertions applications may present.
    #[serde(default)]
    pub trusted_issuers: BTreeMap<IssuerName, TrustedIssuerConfig>,
    /// Who may call CreateTokenWithIAM.
    #[serde(default)]
    pub iam: IamConfig,
    /// Adds the broker `built-in`, whose credentials no real service accepts.
    #[serde(default)]
    pub insecure_built_in_credentials: bool,
}

/// `[tls]`: files in PEM, read again when they change.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[postgres]`: one of the two.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user@host/database`.
    pub url: Option<String>,
    /// A file with the URL in it, for one with a password.
    pub url_file: Option<PathBuf>,
}

/// `[proxy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proxy {
    /// Networks whose `X-Forwarded-For` is believed. Without TLS nobody else is served.
    pub trusted: Vec<IpNet>,
}

/// `[lifetimes]`, in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifetimeConfig {
    access_token: Option<u32>,
    legacy_access_token: Option<u32>,
    session: Option<u32>,
    device_request: Option<u32>,
    authorization_code: Option<u32>,
    registration: Option<u32>,
    refresh_grace: Option<u32>,
}

/// `[registration]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrationConfig {
    /// Redirect URIs accepted beside those on 127.0.0.1.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Scopes that may be registered; all when absent.
    pub scopes: Option<Vec<String>>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl Config {
    /// Reads a configuration file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = read(file)?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let place = |path: &mut PathBuf| *path = folder.join(&*path);
        config.data_dir.as_mut().map(place);
        config.postgres.as_mut().and_then(|postgres| postgres.url_file.as_mut()).map(place);
        config.directory.as_mut().map(place);
        for broker in config.brokers.values_mut() {
            broker.access_key_file.as_mut().map(place);
            broker.ca_file.as_mut().map(place);
        }
        for source in config.identity_sources.values_mut() {
            source.client_secret_file.as_mut().map(place);
            source.ca_file.as_mut().map(place);
        }
        for issuer in config.trusted_issuers.values_mut() {
            issuer.ca_file.as_mut().map(place);
        }
        config.iam.sts_ca_file.as_mut().map(place);
        config.iam.access_keys.values_mut().for_each(|key| place(&mut key.secret_access_key_file));
        config.master_key_file.as_mut().map(place);
        if let Some(tls) = &mut config.tls {
            place(&mut tls.certificate);
            place(&mut tls.key);
        }
        config.check().map_err(|why| ConfigError(format!("{}: {why}", file.display())))?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let secure = self.public_url.starts_with("https://");
        if self.tls.is_some() && !secure {
            return Err("public_url must begin with https:// when there is [tls]".into());
        }
        let proxied = self.proxy.as_ref().is_some_and(|proxy| !proxy.trusted.is_empty());
        if secure && self.tls.is_none() && !proxied {
            return Err("public_url begins with https://, so something in front speaks TLS: name it, with [proxy] and \
                        trusted = [\"127.0.0.1/32\"] or wherever it is, or everybody seems to come from there"
                .into());
        }
        if !secure && !is_loopback(&self.public_url) {
            return Err(format!(
                "public_url = \"{}\": passwords and tokens would travel in the clear; begin it with https://, and add \
                 [tls], or [proxy] for what speaks TLS in front",
                self.public_url
            ));
        }
        if self.tls.is_none() && !proxied && !self.listen.ip().is_loopback() {
            return Err(format!(
                "listen = \"{}\" would serve plain HTTP to anybody: add [tls] with certificate and key, or [proxy] with \
                 the networks of the proxies in front (trusted = [\"10.0.0.0/8\"]), or listen on 127.0.0.1",
                self.listen
            ));
        }
        if self.brokers.is_empty() && !self.insecure_built_in_credentials {
            return Err("there is nothing that role credentials could come from: add [brokers.NAME] with kind = \
                        \"web-identity\" or \"assume-role\"; or, to try things out, insecure_built_in_credentials = true, \
                        whose credentials no real service accepts"
                .into());
        }
        if self.brokers.keys().any(|name| name.as_str() == BUILT_IN) {
            return Err(format!("brokers.{BUILT_IN}: this name is that of the insecure built-in source"));
        }
        self.brokers.iter().try_for_each(|(name, broker)| broker.check(name))?;
        brokers::check_audiences(&self.brokers, &self.public_url)?;
        trusted_issuers::check(&self.trusted_issuers)?;
        self.iam.check()?;
        self.location().map(drop)?;
        self.scopes().map(drop)?;
        self.key_policy().map(drop)?;
        self.lifetimes().map(drop)
    }

    /// The brokers and identity sources that `directory` names and that this configuration does not have.
    #[must_use]
    pub fn missing_for(&self, directory: &DirectoryFile) -> Vec<DirectoryProblem> {
        let built_in = BrokerName::parse(BUILT_IN).ok().filter(|_| self.insecure_built_in_credentials);
        directory.unconfigured(
            &self.brokers.keys().chain(&built_in).collect(),
            &self.identity_sources.keys().collect(),
            &self.trusted_issuers.keys().collect(),
        )
    }

    /// Where an application of `directory` could get tokens that a broker's service takes for those of this server that ask
    /// for role credentials. No server may run with that.
    #[must_use]
    pub fn taken_by(&self, directory: &DirectoryFile) -> Vec<DirectoryProblem> {
        let audiences =
            self.brokers.iter().filter_map(|(name, broker)| Some((broker.audience.as_deref()?, name)));
        directory.taken_audiences(&audiences.collect())
    }

    /// The identity sources.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn identity_sources(&self, base: &str) -> Result<Vec<Source>, String> {
        let source = |(name, config): (&SourceName, &IdentitySourceConfig)| {
            config.source(name, base).map_err(|why| format!("identity_sources.{name}.{why}"))
        };
        self.identity_sources.iter().map(source).collect()
    }

    /// The identity sources whose word counts.
    #[must_use]
    pub fn trust(&self) -> Sources {
        self.identity_sources.iter().map(|(name, source)| (name.clone(), source.trust())).collect()
    }

    /// Where the state lies.
    ///
    /// # Errors
    /// When neither or both of the two places are named, or the database's URL cannot be used.
    pub fn location(&self) -> Result<Location, String> {
        let postgres = match (&self.data_dir, &self.postgres) {
            (Some(directory), None) => return Ok(Location::Embedded(directory.clone())),
            (None, Some(postgres)) => postgres,
            (None, None) => {
                return Err("say where state lies: data_dir for one node, or [postgres] for several".into());
            }
            (Some(_), Some(_)) => {
                return Err("data_dir and [postgres] exclude each other: state lies in one place".into());
            }
        };
        if self.master_key_file.is_none() {
            return Err("with [postgres], master_key_file must name the key that all nodes share".into());
        }
        let url = match (&postgres.url, &postgres.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(file)) => read_text(file).map_err(|error| error.to_string())?.trim().to_owned(),
            _ => return Err("[postgres] needs url or url_file, and not both".into()),
        };
        let options = PostgresOptions::from_url(&url).map_err(|bad| format!("postgres.url: {bad}"))?;
        Ok(Location::Postgres(Box::new(options)))
    }

    /// The file of the master key.
    ///
    /// # Errors
    /// When no place for it is named.
    pub fn key_file(&self) -> Result<PathBuf, String> {
        let beside_the_data = || Some(self.data_dir.as_ref()?.join("master.key"));
        self.master_key_file
            .clone()
            .or_else(beside_the_data)
            .ok_or_else(|| "master_key_file is missing".to_owned())
    }

    /// Scopes that may be registered.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub fn scopes(&self) -> Result<Option<Scopes>, String> {
        let parse = |scopes: &Vec<String>| {
            Scopes::parse(scopes.iter().map(String::as_str))
                .map_err(|_| "registration.scopes: not a scope".to_owned())
        };
        self.registration.scopes.as_ref().map(parse).transpose()
    }

    /// What signing keys are published as, and how they take turns.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn key_policy(&self) -> Result<KeyPolicy, String> {
        let rotation = self.signing_keys.rotation().map_err(|why| format!("signing_keys.{why}"))?;
        Ok(KeyPolicy { rotation, x5c: self.web_identity.x5c })
    }

    /// How long things live.
    ///
    /// # Errors
    /// When a lifetime is out of its bounds.
    pub fn lifetimes(&self) -> Result<Lifetimes, String> {
        let mut lifetimes = Lifetimes::default();
        let given = &self.lifetimes;
        // Below 15 minutes the AWS CLI refreshes at every command.
        set(&mut lifetimes.access_token, "access_token", given.access_token, 900..=43_200)?;
        set(
            &mut lifetimes.legacy_access_token,
            "legacy_access_token",
            given.legacy_access_token,
            900..=43_200,
        )?;
        set(&mut lifetimes.session, "session", given.session, 900..=7_776_000)?;
        set(&mut lifetimes.device_request, "device_request", given.device_request, 60..=1800)?;
        set(&mut lifetimes.authorization_code, "authorization_code", given.authorization_code, 10..=600)?;
        set(&mut lifetimes.registration, "registration", given.registration, 3600..=31_536_000)?;
        // Without any window, the loser of two refreshes at once would end the winner's session.
        set(&mut lifetimes.refresh_grace, "refresh_grace", given.refresh_grace, 5..=600)?;
        Ok(lifetimes)
    }
}

/// Whether a URL leads to this machine, where nobody listens in.
fn is_loopback(url: &str) -> bool {
    url::Url::parse(url).is_ok_and(|url| match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    })
}

fn set(
    lifetime: &mut Lifetime,
    name: &str,
    given: Option<u32>,
    bounds: std::ops::RangeInclusive<u32>,
) -> Result<(), String> {
    let Some(seconds) = given else { return Ok(()) };
    if !bounds.contains(&seconds) {
        return Err(format!("lifetimes.{name} must be {} to {} seconds", bounds.start(), bounds.end()));
    }
    *lifetime = Lifetime::from_seconds(seconds);
    Ok(())
}

/// Reads a TOML file.
///
/// # Errors
/// What is wrong, and where.
pub fn read<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let text = read_text(file)?;
    parse(&text).map_err(|ConfigError(why)| ConfigError(format!("{}: {why}", file.display())))
}

/// Reads a file as text.
///
/// # Errors
/// Which file, and why not.
pub fn read_text(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| ConfigError(format!("{}: {error}", file.display())))
}

/// Reads TOML.
///
/// # Errors
/// What is wrong, with line, column, and the nearest key that exists.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let (line, start) =
            (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |newline| newline + 1));
        let column = before[start..].chars().count() + 1;
        let message = error.message().trim();
        let mut why = format!("line {line}, column {column}: {message}");
        if let Some(nearest) = nearest(message) {
            // Writing into a string cannot fail.
            let _ = write!(why, "; did you mean `{nearest}`?");
        }
        ConfigError(why)
    })
}

/// The known key nearest to the unknown one that serde complains about: its message quotes both in backticks.
fn nearest(message: &str) -> Option<&str> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field").then(|| quoted.next())??;
    let (similarity, known) = quoted
        .map(|known| (strsim::jaro_winkler(unknown, known), known))
        .max_by(|one, other| one.0.total_cmp(&other.0))?;
    (similarity > 0.7).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "listen = \"127.0.0.1:8443\"\npublic_url = \"http://127.0.0.1:8443\"\ndata_dir = \"data\"\n\
                        directory = \"directory.toml\"\ninsecure_built_in_credentials = true\n";

    fn problem(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doorward.toml");
        std::fs::write(&file, text).unwrap();
        let why = Config::read(&file).unwrap_err().to_string();
        why.strip_prefix(&format!("{}: ", file.display())).expect("the file's name").to_owned()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
        let why = problem(&GOOD.replace("data_dir", "data_dri"));
        assert!(why.starts_with("line 3, column 1: unknown field `data_dri`"), "{why}");
        assert!(why.ends_with("did you mean `data_dir`?"), "{why}");
        let why = problem(&format!("{GOOD}\n[tls]\ncertificat = \"x\"\nkey = \"y\"\n"));
        assert!(why.starts_with("line 8, column 1: unknown field `certificat`"), "{why}");
        assert!(why.ends_with("did you mean `certificate`?"), "{why}");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert!(problem("listen = 5").contains("line 1, column 10"), "{}", problem("listen = 5"));
        assert!(problem("").contains("missing field `listen`"));
        let plain = GOOD.replace("listen = \"127.0.0.1", "listen = \"0.0.0.0");
        assert!(problem(&plain).contains("would serve plain HTTP to anybody"));
        assert!(
            problem(&GOOD.replace("insecure_built_in_credentials = true\n", ""))
                .contains("insecure_built_in")
        );
        let public = |url: &str| GOOD.replace("http://127.0.0.1:8443", url);
        assert!(problem(&public("https://sso.example.org")).contains("something in front speaks TLS"));
        assert!(problem(&public("http://sso.example.org")).contains("in the clear"));
        assert!(problem(&public("http://127.0.0.1.example.org")).contains("in the clear"));
        let short = format!("{GOOD}[lifetimes]\naccess_token = 60\n");
        assert_eq!(problem(&short), "lifetimes.access_token must be 900 to 43200 seconds");
    }

    // Holds: ledger-34
    #[test]
    fn services_that_could_use_each_others_tokens_are_refused() {
        let broker = |name: &str, audience: &str, endpoint: &str| {
            format!("[brokers.{name}]\nkind = \"web-identity\"\naudience = \"{audience}\"\n{endpoint}")
        };
        let minio = broker("minio", "storage", "sts_endpoint = \"https://minio.example.org\"\n");
        let ceph = |audience| broker("ceph", audience, "sts_endpoint = \"https://ceph.example.org\"\n");
        assert_eq!(
            problem(&format!("{GOOD}{minio}{}", ceph("storage"))),
            "brokers.minio.audience is that of brokers.ceph, whose sts_endpoint is another: either service could use at \
             the other the tokens that it gets; give each an audience of its own"
        );
        let aws = broker("aws", "storage", "");
        assert!(
            problem(&format!("{GOOD}{minio}{aws}"))
                .starts_with("brokers.minio.audience is that of brokers.aws")
        );
        let again = broker("again", "storage", "sts_endpoint = \"https://MINIO.example.org:443/\"\n");
        let frankfurt =
            "sts_endpoint = \"https://sts.eu-central-1.amazonaws.com\"\nregion = \"eu-central-1\"\n";
        let europe = broker("europe", "aws", frankfurt);
        let aws = broker("aws", "aws", "");
        let config: Config = parse(&format!("{GOOD}{minio}{again}{}{aws}{europe}", ceph("ceph"))).unwrap();
        assert_eq!(config.check(), Ok(()), "each service has its own");
    }

    #[test]
    fn no_broker_has_the_issuer_for_its_audience() {
        for audience in ["http://127.0.0.1:8443", "http://127.0.0.1:8443/"] {
            let broker = format!("[brokers.minio]\nkind = \"web-identity\"\naudience = \"{audience}\"\n");
            assert!(
                problem(&format!("{GOOD}{broker}")).starts_with("brokers.minio.audience is the public_url"),
                "{audience}"
            );
        }
    }

    #[test]
    fn applications_whose_tokens_a_broker_would_take_are_named() {
        let broker = "[brokers.minio]\nkind = \"web-identity\"\naudience = \"minio\"\n";
        let config: Config = parse(&format!("{GOOD}{broker}")).unwrap();
        let directory = |id: &str| -> DirectoryFile {
            parse(&format!(
                "[[applications]]\nclient_id = '{id}'\nname = 'x'\ngrants = ['client_credentials']\nscopes = ['openid']\n"
            ))
            .unwrap()
        };
        assert_eq!(config.taken_by(&directory("other")), []);
        let taken = config.taken_by(&directory("minio"));
        let what = "application minio: client_id is the audience of broker minio, ";
        assert!(taken.len() == 1 && taken[0].what.starts_with(what), "{taken:?}");
    }

    #[test]
    fn applications_that_accept_an_unknown_issuer_are_named() {
        let issuer = "[trusted_issuers.corp]\nissuer = \"https://issuer.example\"\n";
        let directory: DirectoryFile = parse(
            "[[applications]]\nclient_id = 'x'\nname = 'x'\ngrants = []\nscopes = ['openid']\n\
             trusted_issuers = [{ issuer = 'corp', audiences = ['x'] }]\n",
        )
        .unwrap();
        let config = |more: &str| parse::<Config>(&format!("{GOOD}{more}")).unwrap();
        assert_eq!(config(issuer).missing_for(&directory), []);
        let missing = config("").missing_for(&directory);
        assert_eq!(missing[0].what, "application x: there is no trusted issuer corp");
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doorward.toml");
        std::fs::write(&file, GOOD).unwrap();
        assert_eq!(Config::read(&file).unwrap().data_dir, Some(folder.path().join("data")));
    }
}
