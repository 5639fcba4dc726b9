//! The brokers that the configuration names, ready to be asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use doorward_core::credentials::{CredentialBroker, SharedEntropy};
use doorward_core::ids::BrokerName;
use doorward_core::time::Lifetime;
use doorward_keys::KeyRing;
use doorward_upstream::credentials::assume_role::{AccessKey, AssumeRole, AssumeRoleOptions};
use doorward_upstream::credentials::brokers::Brokers;
use doorward_upstream::credentials::built_in::BuiltIn;
use doorward_upstream::credentials::guarded::Guarded;
use doorward_upstream::credentials::sts::Backend;
use doorward_upstream::credentials::web_identity::{IdentityTokens, WebIdentity, WebIdentityOptions};
use tracing::warn;

use crate::config::{BUILT_IN, BrokerConfig, BrokerKind, Config, read_text};
use crate::keyfile;

/// The brokers of `config`, for whom `tokens` signs.
///
/// # Errors
/// What is wrong with one of them, by its name.
pub async fn configured(
    config: &Config,
    issuer: &str,
    tokens: &Arc<dyn IdentityTokens>,
    keys: &KeyRing,
    entropy: &SharedEntropy,
) -> anyhow::Result<Brokers> {
    let mut brokers: BTreeMap<BrokerName, Arc<dyn CredentialBroker>> = BTreeMap::new();
    for (name, broker) in &config.brokers {
        let made = make(name, broker, issuer, tokens, entropy).await;
        let made = made.with_context(|| format!("brokers.{name}"))?;
        let guarded = Guarded::new(name.clone(), made, Lifetime::from_seconds(broker.cache));
        brokers.insert(name.clone(), Arc::new(guarded));
    }
    if config.insecure_built_in_credentials {
        warn!("INSECURE: the broker {BUILT_IN} is on, and no real service accepts the credentials it gives");
        brokers.insert(built_in_name(), Arc::new(BuiltIn::new(keys, Arc::clone(entropy))));
    }
    Ok(Brokers::new(brokers))
}

/// The built-in broker and no other.
#[must_use]
pub fn built_in(broker: Arc<BuiltIn>) -> Brokers {
    Brokers::new(BTreeMap::from([(built_in_name(), broker as Arc<dyn CredentialBroker>)]))
}

fn built_in_name() -> BrokerName {
    // Lower-case letters and a hyphen.
    BrokerName::parse(BUILT_IN).expect("a broker's name")
}

async fn make(
    name: &BrokerName,
    config: &BrokerConfig,
    issuer: &str,
    tokens: &Arc<dyn IdentityTokens>,
    entropy: &SharedEntropy,
) -> anyhow::Result<Arc<dyn CredentialBroker>> {
    let ca = match &config.ca_file {
        Some(file) => Some(std::fs::read(file).with_context(|| file.display().to_string())?),
        None => None,
    };
    let backend = Backend {
        endpoint: config.sts_endpoint.clone(),
        region: config.region.clone(),
        timeout: Duration::from_secs(config.timeout.into()),
        ca,
        ..Backend::new(name.clone())
    };
    let role_arn = config.role_arn.clone();
    Ok(match config.kind {
        BrokerKind::WebIdentity => {
            let options = WebIdentityOptions {
                backend,
                issuer: issuer.to_owned(),
                // It was checked with the configuration.
                audience: config.audience.clone().unwrap_or_default(),
                role_arn,
            };
            Arc::new(WebIdentity::new(options, Arc::clone(tokens), Arc::clone(entropy))?)
        }
        BrokerKind::AssumeRole => {
            let access_key = match &config.access_key_file {
                Some(file) => {
                    keyfile::for_us_alone(file, "get everybody's credentials with it")?;
                    Some(AccessKey::parse(&read_text(file)?).with_context(|| file.display().to_string())?)
                }
                None => None,
            };
            let options = AssumeRoleOptions {
                backend,
                role_arn,
                external_id: config.external_id.clone(),
                through: config.through.clone(),
                access_key,
            };
            Arc::new(AssumeRole::new(options).await?)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use async_trait::async_trait;
    use doorward_core::credentials::BrokerError;
    use doorward_upstream::credentials::web_identity::Claims;

    use super::*;
    use crate::ambient::OsEntropy;

    struct NoTokens;

    #[async_trait]
    impl IdentityTokens for NoTokens {
        async fn sign(&self, _: &Claims) -> Result<String, BrokerError> {
            unreachable!("nobody is asked")
        }
    }

    #[tokio::test]
    async fn an_access_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aws.key");
        fs::write(&file, "AKIAIOSFODNN7EXAMPLE\nwJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n").unwrap();
        let config: BrokerConfig =
            crate::config::parse(&format!("kind = \"assume-role\"\naccess_key_file = {file:?}\n")).unwrap();
        let tokens: Arc<dyn IdentityTokens> = Arc::new(NoTokens);
        let entropy: SharedEntropy = Arc::new(OsEntropy::default());
        let name = BrokerName::parse("aws").unwrap();
        let made = async |mode| {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            make(&name, &config, "https://sso.example.org", &tokens, &entropy).await.err()
        };
        let error = made(0o640).await.expect("an error").to_string();
        assert!(
            error.contains("aws.key (mode 640), and get everybody's credentials with it: chmod 600"),
            "{error}"
        );
        assert!(made(0o600).await.is_none());
    }
}
