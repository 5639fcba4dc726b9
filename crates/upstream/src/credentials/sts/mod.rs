//! What brokers that ask an STS have in common: how it is reached, and what its answers mean.

use std::fmt;
use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_sts::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{Config, IdentityCache, SharedHttpClient, StalledStreamProtectionConfig};
use aws_sdk_sts::types::{Credentials, PolicyDescriptorType};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use doorward_core::credentials::{BrokerError, BrokerStep, RoleCredentials, RoleRequest};
use doorward_core::ids::BrokerName;
use doorward_core::secret::{SecretAccessKey, SessionToken};
use doorward_core::template::{self, BadTemplate};
use doorward_core::time::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::{Host, Url};

mod capped;
pub(super) mod failure;

/// How often a call is tried: a dead connection or a moment's fault is got over, and no more.
const MOST_ATTEMPTS: u32 = 3;
/// The pauses between attempts: random, up to this and then up to twice this.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that a call with all its attempts takes.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// The values that [`Backend::timeout`] can have.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(10);
/// How many idle connections are kept.
const MOST_IDLE: usize = 16;

/// A service with an STS, and how it is reached.
#[derive(Clone)]
pub struct Backend {
    /// The broker that stands for it. Each has a budget of retries of its own.
    pub name: BrokerName,
    /// `sts_endpoint`: an `http` or `https` URL; AWS's own for the region when absent.
    pub endpoint: Option<String>,
    /// `region`: what requests are signed for, and which of AWS's endpoints is asked.
    pub region: String,
    /// `timeout`: how long an attempt may take, 1 to 10 s. There are three at most, within 20 s.
    pub timeout: Duration,
    /// The content of `ca_file`: certificates in PEM that its own must descend from; the system's roots when absent.
    pub ca: Option<Vec<u8>>,
}

impl Backend {
    /// AWS in `us-east-1`, with the default timeout of 5 s.
    #[must_use]
    pub fn new(name: BrokerName) -> Self {
        Self { name, endpoint: None, region: "us-east-1".into(), timeout: Duration::from_secs(5), ca: None }
    }

    /// The configuration of a client of it.
    pub(super) fn client(&self) -> Result<aws_sdk_sts::config::Builder, BadOption> {
        if !TIMEOUTS.contains(&self.timeout) {
            return Err(BadOption::new("timeout", "it must be 1 to 10 seconds"));
        }
        let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.region.is_empty() || !self.region.bytes().all(label) {
            return Err(BadOption::new("region", "it must be lower-case letters, digits and `-`"));
        }
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .retry_config(retries())
            // Clients in one partition share a budget: a backend that fails must not use up another's.
            .retry_partition(RetryPartition::new(format!("doorward broker {}", self.name)))
            .timeout_config(timeouts(self.timeout))
            .identity_cache(IdentityCache::lazy().load_timeout(LONGEST_CALL).build())
            // The timeouts do what it does, and it would read the clock for each.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .http_client(self.http_client()?);
        if let Ok(name) = AppName::new("doorward") {
            config = config.app_name(name);
        }
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(config)
    }

    fn http_client(&self) -> Result<SharedHttpClient, BadOption> {
        let secure = match &self.endpoint {
            Some(endpoint) => self.is_secure(endpoint)?,
            None => true,
        };
        let trust = match &self.ca {
            Some(pem) => {
                check_certificates(pem)?;
                TrustStore::empty().with_pem_certificate(pem.clone())
            }
            None if secure => TrustStore::default(),
            None => TrustStore::empty(),
        };
        Ok(http_client(trust))
    }

    /// Whether the URL is one of `https`.
    fn is_secure(&self, endpoint: &str) -> Result<bool, BadOption> {
        let bad = |why: &str| BadOption::new("sts_endpoint", why);
        let url = Url::parse(endpoint).map_err(|error| bad(&format!("it is no URL: {error}")))?;
        let host = url.host().ok_or_else(|| bad("it has no host"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it must not have a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it must not have a query or fragment"));
        }
        let is_here = match host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        match url.scheme() {
            "https" => Ok(true),
            "http" => {
                if !is_here {
                    tracing::warn!(broker = %self.name, "credentials travel unencrypted: sts_endpoint is http");
                }
                Ok(false)
            }
            _ => Err(bad("it must begin with https:// or http://")),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// An option of a broker that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {why}")]
pub struct BadOption {
    /// The option, as the configuration calls it.
    pub option: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl BadOption {
    pub(super) fn new(option: &'static str, why: impl Into<String>) -> Self {
        Self { option, why: why.into() }
    }
}

/// An HTTP client that trusts `trust`, keeps connections, and reads no more of an answer than any has.
pub(super) fn http_client(trust: TrustStore) -> SharedHttpClient {
    // Nothing but a name that TLS cannot send makes this fail, and there is none.
    let tls =
        TlsContext::builder().with_trust_store(trust).build().expect("a trust store makes a TLS context");
    capped::capped(
        aws_smithy_http_client::Builder::new()
            .pool_max_idle_per_host(MOST_IDLE)
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls)
            .build_https(),
    )
}

pub(super) fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(MOST_ATTEMPTS)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE)
}

pub(super) fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(attempt)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout((attempt * MOST_ATTEMPTS).min(LONGEST_CALL))
        .build()
}

/// The template of the role to assume.
pub(super) fn check_role_arn(template: &str) -> Result<(), BadOption> {
    let bad = |why: String| BadOption::new("role_arn", why);
    template::check(template, &template::ROLE_ARN).map_err(|why| bad(why.to_string()))?;
    if template.starts_with("arn:") { Ok(()) } else { Err(bad("it must begin with arn:".into())) }
}

/// The HTTP client takes certificates as they are, and panics at the first connection if they are none.
fn check_certificates(pem: &[u8]) -> Result<(), BadOption> {
    let bad = |why: &str| BadOption::new("ca_file", why);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| bad("it is no PEM file"))?;
        roots.add(certificate).map_err(|_| bad("it has a certificate that cannot be read"))?;
    }
    if roots.is_empty() { Err(bad("it has no certificate")) } else { Ok(()) }
}

/// How long the credentials are to last, as STS is told.
pub(super) fn duration_seconds(request: &RoleRequest) -> i32 {
    // The directory holds it to these bounds, which an `i32` has room for.
    i32::try_from(request.set.session_duration.seconds()).unwrap_or(i32::MAX).clamp(900, 43_200)
}

/// The managed policies that narrow what the session may do; none when there are none.
pub(super) fn policy_arns(request: &RoleRequest) -> Option<Vec<PolicyDescriptorType>> {
    let arns = &request.set.session_policy_arns;
    let described = arns.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build());
    (!arns.is_empty()).then(|| described.collect())
}

/// A template that cannot be filled.
pub(super) fn bad_template(request: &RoleRequest, option: &str, why: &BadTemplate) -> BrokerError {
    BrokerError {
        denied: false,
        step: BrokerStep::Configuration,
        detail: format!("{option} of permission set {}: {why}", request.set.name),
    }
}

/// What STS answered, if it is what role credentials consist of.
pub(super) fn credentials(
    answer: Option<Credentials>,
    now: Timestamp,
) -> Result<RoleCredentials, BrokerError> {
    let bad = |detail: String| BrokerError { denied: false, step: BrokerStep::Answer, detail };
    let answer = answer.ok_or_else(|| bad("the answer has no Credentials".into()))?;
    // What is missing the SDK makes empty, and the beginning of 1970.
    for (member, value) in [
        ("AccessKeyId", &answer.access_key_id),
        ("SecretAccessKey", &answer.secret_access_key),
        ("SessionToken", &answer.session_token),
    ] {
        if value.is_empty() {
            return Err(bad(format!("the answer has no {member}")));
        }
    }
    let expires_at = answer.expiration.to_millis().map(Timestamp::from_millis);
    let expires_at = expires_at.map_err(|_| bad("the answer's Expiration is beyond all time".into()))?;
    if expires_at <= now {
        return Err(bad(format!(
            "the answer's Expiration is missing or past: {}; compare this machine's clock with the backend's",
            answer.expiration
        )));
    }
    Ok(RoleCredentials {
        access_key_id: answer.access_key_id,
        secret_access_key: SecretAccessKey::new(answer.secret_access_key),
        session_token: SessionToken::new(answer.session_token),
        expires_at,
    })
}
