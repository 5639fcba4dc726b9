//! `doorward check --broker NAME --as PERSON`: gets a person's credentials from a broker, as a running server would, and
//! says at which step that ends.

use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use async_trait::async_trait;
use doorward_core::assignment::{Principal, Standing};
use doorward_core::credentials::{BrokerError, RoleRequest, SharedEntropy};
use doorward_core::directory::{Account, PermissionSet, nearest};
use doorward_core::federated::Sources;
use doorward_core::ids::{AccountId, BrokerName, PersonId, RoleName};
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::time::Timestamp;
use doorward_store::{DirectoryAccess, open_directory};
use doorward_upstream::credentials::brokers::Brokers;
use doorward_upstream::credentials::web_identity::{Claims, IdentityTokens};

use super::check::{Report, say};
use super::{run, serve};
use crate::ambient::{Clock, OsEntropy};
use crate::brokers;
use crate::config::Config;
use crate::keyfile;
use crate::signing::{Signer, cannot_sign};

/// Whose credentials are wanted, from where.
#[derive(Debug, clap::Args)]
pub(super) struct BrokerOptions {
    /// Get credentials from this broker, and say which step decided.
    #[arg(long, value_name = "NAME", requires = "person", value_parser = |text: &str| BrokerName::parse(text))]
    broker: Option<BrokerName>,
    /// Whose credentials.
    #[arg(long = "as", value_name = "PERSON", id = "person", requires = "broker", value_parser = |text: &str| PersonId::parse(text))]
    person: Option<PersonId>,
    /// In this account; the first one in which the person has a role of the broker when absent.
    #[arg(long, value_name = "NUMBER", requires = "broker", value_parser = |text: &str| AccountId::parse(text))]
    account: Option<AccountId>,
    /// With this role; the first one of the broker when absent.
    #[arg(long, value_name = "NAME", requires = "broker", value_parser = |text: &str| RoleName::parse(text))]
    role: Option<RoleName>,
}

/// Gets credentials, if that is wanted, and reports each step on the way.
pub(super) fn run(options: &BrokerOptions, config: &Config, report: &mut Report) {
    let (Some(broker), Some(person)) = (&options.broker, &options.person) else { return };
    let checked = run::block_on(async {
        let access = open_directory(&config.location().map_err(|why| anyhow!(why))?).await?;
        let now = Clock::system().now();
        let principal = principal(&access, &config.trust(), person, now).await?;
        let brokers = brokers(config, &access).await?;
        let (account, set) = role(options, broker, &principal, &brokers)?;
        say(format_args!("      {} in {} ({}) for {person}", set.name, account.id, account.name));
        // It was chosen among these.
        let source = brokers.get(broker).context("the broker is gone")?;
        let request = RoleRequest::new(person.clone(), account, set, now);
        let credentials = source.role_credentials(&request).await?;
        let left = now.seconds_until(credentials.expires_at);
        Ok(format!("gave {}, good for {left} seconds", credentials.access_key_id))
    });
    report.line(&format!("broker {broker}"), checked);
}

async fn principal(
    access: &DirectoryAccess,
    sources: &Sources,
    person: &PersonId,
    now: Timestamp,
) -> anyhow::Result<Principal> {
    let standing = Standing::new(access.read().await?, sources, access.federated_person(person).await?.1);
    let Some(principal) = standing.principal(person, now, now) else {
        let directory = standing.directory();
        match directory.person(person) {
            Some(known) if known.disabled => bail!("{person} is disabled"),
            Some(_) => {
                bail!("the identity source of {person} does not vouch for them now: they must sign in again")
            }
            None => {
                let known = directory.file().people.iter().map(|known| known.user_name.to_string());
                let alike = nearest(person.as_str(), known);
                let alike = alike.map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
                bail!("there is no person {person}{alike}")
            }
        }
    };
    Ok(principal)
}

/// The brokers of the configuration, and the key of the running servers.
async fn brokers(config: &Config, access: &DirectoryAccess) -> anyhow::Result<Brokers> {
    let entropy: SharedEntropy = Arc::new(OsEntropy::default());
    let keys = keyfile::load(&config.key_file().map_err(|why| anyhow!(why))?)?;
    let issuer = serve::site(config)?.base().to_owned();
    let kept = access.signing_keys().await?;
    let signer = Signer::of(&kept, SigningAlgorithm::Rs256, &keys, Clock::system().now())?;
    let tokens: Arc<dyn IdentityTokens> = Arc::new(Tokens(signer));
    brokers::configured(config, &issuer, &tokens, &keys, &entropy).await
}

/// Signs with the key of the running servers, if they have made one.
struct Tokens(Option<Signer>);

#[async_trait]
impl IdentityTokens for Tokens {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        match &self.0 {
            Some(signer) => signer.sign(claims).await,
            None => Err(cannot_sign("there is no key to sign with yet: start the server".to_owned())),
        }
    }
}

/// The role that was named, or the first one that the person has of the broker.
fn role<'a>(
    options: &BrokerOptions,
    broker: &BrokerName,
    principal: &'a Principal,
    brokers: &Brokers,
) -> anyhow::Result<(&'a Account, &'a PermissionSet)> {
    if brokers.get(broker).is_none() {
        let names = brokers.names().map(ToString::to_string);
        let alike = nearest(broker.as_str(), names).map(|alike| format!("; did you mean {alike}?"));
        bail!("there is no such broker in the configuration{}", alike.unwrap_or_default());
    }
    for account in principal.accounts() {
        if options.account.as_ref().is_some_and(|wanted| *wanted != account.id) {
            continue;
        }
        for set in principal.roles(&account.id) {
            let wanted = options.role.as_ref().is_none_or(|wanted| *wanted == set.name);
            if wanted && brokers.choose(set, account).is_ok_and(|(chosen, _)| chosen == broker) {
                return Ok((account, set));
            }
        }
    }
    bail!("{} has no such role whose credentials come from this broker", principal.id())
}
