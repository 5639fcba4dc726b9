//! `[brokers.NAME]`: where role credentials come from.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use doorward_core::ids::BrokerName;
use serde::Deserialize;
use url::Url;

/// `[brokers.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// How it gets credentials.
    pub kind: BrokerKind,
    /// The URL of the backend's STS; AWS's own for the region when absent.
    pub sts_endpoint: Option<String>,
    /// The region of the backend, which signatures name.
    #[serde(default = "default_region")]
    pub region: String,
    /// The role to assume, unless the permission set says otherwise; `{account}` and `{role}` stand for the account number
    /// and the permission set's name.
    #[serde(default = "default_role_arn")]
    pub role_arn: String,
    /// `web-identity`: what the backend knows this server's tokens by (`aud`).
    pub audience: Option<String>,
    /// `assume-role`: the external id that trust policies ask for.
    pub external_id: Option<String>,
    /// `assume-role`: roles to assume before the last one, in this order.
    #[serde(default)]
    pub through: Vec<String>,
    /// `assume-role`: a file with the server's own access key, its id in the first line and its secret in the second; the
    /// AWS SDK's default chain when absent.
    pub access_key_file: Option<PathBuf>,
    /// How long one call may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout: u32,
    /// How long credentials are given out again, in seconds; never past half of their life, and 0 for never.
    #[serde(default = "default_cache")]
    pub cache: u32,
    /// Certificates, in PEM, of the authorities that the backend's certificate may come from, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[web_identity]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebIdentityConfig {
    /// Publishes the signing key with a certificate (`x5c`), which Ceph before version 20 wants. Ceph from version 20 on
    /// then compares the certificate's thumbprint.
    #[serde(default)]
    pub x5c: bool,
}

/// How a broker gets credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BrokerKind {
    /// By a token that this server signs: STS `AssumeRoleWithWebIdentity`.
    WebIdentity,
    /// With the server's own credentials: STS `AssumeRole`.
    AssumeRole,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_role_arn() -> String {
    "arn:aws:iam::{account}:role/{role}".to_owned()
}

const fn default_timeout() -> u32 {
    5
}

const fn default_cache() -> u32 {
    300
}

impl BrokerConfig {
    /// What is wrong with the broker of this name.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn check(&self, name: &BrokerName) -> Result<(), String> {
        let wrong = |key: &str, why: &str| Err(format!("brokers.{name}.{key} {why}"));
        if let Some(endpoint) = &self.sts_endpoint
            && !Url::parse(endpoint)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        {
            return wrong("sts_endpoint", "must begin with https:// or http://");
        }
        if !(1..=10).contains(&self.timeout) {
            return wrong("timeout", "must be 1 to 10 seconds");
        }
        if self.cache > 3600 {
            return wrong("cache", "must be 0 to 3600 seconds");
        }
        match self.kind {
            BrokerKind::WebIdentity => {
                if self.audience.as_ref().is_none_or(String::is_empty) {
                    return wrong(
                        "audience",
                        "is missing: the client id that the backend expects in tokens (aud)",
                    );
                }
                let others = [
                    ("external_id", self.external_id.is_some()),
                    ("through", !self.through.is_empty()),
                    ("access_key_file", self.access_key_file.is_some()),
                ];
                match others.iter().find(|(_, given)| *given) {
                    Some((key, _)) => wrong(key, "belongs to kind = \"assume-role\""),
                    None => Ok(()),
                }
            }
            BrokerKind::AssumeRole if self.audience.is_some() => {
                wrong("audience", "belongs to kind = \"web-identity\"")
            }
            BrokerKind::AssumeRole => Ok(()),
        }
    }

    /// Who gets the tokens: the URL of its STS, or none for AWS, which is one service at all of its endpoints.
    fn service(&self) -> Option<Url> {
        // It was checked before.
        let endpoint = self.sts_endpoint.as_deref().and_then(|endpoint| Url::parse(endpoint).ok());
        endpoint.filter(|url| !url.host_str().is_some_and(|host| host.ends_with(".amazonaws.com")))
    }
}

/// Whether each service has an audience of its own: a service can present the tokens it gets at every other that takes
/// their `aud`, and would get the person's credentials there. `issuer` is the audience of this server itself, for which
/// applications have access tokens.
///
/// # Errors
/// The key, and what it must be.
pub(super) fn check_audiences(
    brokers: &BTreeMap<BrokerName, BrokerConfig>,
    issuer: &str,
) -> Result<(), String> {
    let mut known: HashMap<&str, (&BrokerName, Option<Url>)> = HashMap::new();
    for (name, broker) in brokers {
        let Some(audience) = &broker.audience else { continue };
        if audience.trim_end_matches('/') == issuer.trim_end_matches('/') {
            return Err(format!(
                "brokers.{name}.audience is the public_url, which access tokens of applications are for: the service would \
                 give role credentials for them; give it another"
            ));
        }
        let (first, service) = known.entry(audience).or_insert_with(|| (name, broker.service()));
        if *service != broker.service() {
            return Err(format!(
                "brokers.{name}.audience is that of brokers.{first}, whose sts_endpoint is another: either service could \
                 use at the other the tokens that it gets; give each an audience of its own"
            ));
        }
    }
    Ok(())
}
