//! The broker `assume-role`: AssumeRole with the server's own credentials.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::Client;
use aws_sdk_sts::types::Tag;
use aws_smithy_http_client::tls::TrustStore;
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest};
use doorward_core::secret::SecretAccessKey;

use super::session_name::session_name;
use super::sts::failure::{Operation, OwnCredentialsError, explain};
use super::sts::{self, Backend, BadOption};

/// The session name of the roles on the way.
const OWN_SESSION: &str = "doorward";

/// The options of an [`AssumeRole`] broker.
#[derive(Clone, Debug)]
pub struct AssumeRoleOptions {
    /// How the backend is reached.
    pub backend: Backend,
    /// `role_arn`: the role of those permission sets that name none themselves, with `{account}` and `{role}`.
    pub role_arn: String,
    /// `external_id`: what the people's roles are assumed with (sts model `ExternalId`, 2 to 1224 characters).
    pub external_id: Option<String>,
    /// `through`: the ARNs of the roles that are assumed one after the other before a person's.
    pub through: Vec<String>,
    /// The server's own access key; the AWS SDK's default chain when absent.
    pub access_key: Option<AccessKey>,
}

/// A long-term access key of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The key's id.
    pub id: String,
    /// What requests are signed with.
    pub secret: SecretAccessKey,
}

impl AccessKey {
    /// Reads the content of `access_key_file`: the id in the first line, the secret in the second.
    ///
    /// # Errors
    /// [`BadOption`]. It holds nothing of the text.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        match lines[..] {
            [id, secret] if !id.contains(char::is_whitespace) && !secret.contains(char::is_whitespace) => {
                Ok(Self { id: id.to_owned(), secret: SecretAccessKey::new(secret) })
            }
            _ => Err(BadOption::new(
                "access_key_file",
                "it must have the id in its first line, the secret in its second, and nothing else",
            )),
        }
    }
}

/// The broker `assume-role`.
pub struct AssumeRole {
    role_arn: String,
    external_id: Option<String>,
    sts: Client,
}

impl AssumeRole {
    /// A broker that signs with the options' access key, or with what the SDK's default chain finds: environment variables,
    /// the shared files with their profiles, a web identity token file, the container's and then the machine's role.
    /// Only files are read here; nothing is asked before credentials are wanted.
    ///
    /// # Errors
    /// [`BadOption`].
    pub async fn new(options: AssumeRoleOptions) -> Result<Self, BadOption> {
        let AssumeRoleOptions { backend, role_arn, external_id, through, access_key } = options;
        sts::check_role_arn(&role_arn)?;
        if external_id.as_ref().is_some_and(|id| !(2..=1224).contains(&id.chars().count())) {
            return Err(BadOption::new("external_id", "it must have 2 to 1224 characters"));
        }
        if through.iter().any(|arn| !(20..=2048).contains(&arn.len()) || !arn.starts_with("arn:")) {
            return Err(BadOption::new("through", "each must be the ARN of a role"));
        }
        let mut own = match access_key {
            Some(AccessKey { id, secret }) => SharedCredentialsProvider::new(Credentials::new(
                id,
                secret.reveal(),
                None,
                None,
                "access_key_file",
            )),
            None => default_chain(&backend).await,
        };
        for role_arn in through {
            let sts = Client::from_conf(backend.client()?.credentials_provider(own).build());
            own = SharedCredentialsProvider::new(Through { role_arn, sts });
        }
        let sts = Client::from_conf(backend.client()?.credentials_provider(own).build());
        Ok(Self { role_arn, external_id, sts })
    }
}

/// What the SDK finds by itself. It talks to other services than the backend, so the backend's `ca_file` is none of its
/// business.
async fn default_chain(backend: &Backend) -> SharedCredentialsProvider {
    let found = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(backend.region.clone()))
        .http_client(sts::http_client(TrustStore::default()))
        .retry_config(sts::retries())
        .timeout_config(sts::timeouts(backend.timeout))
        .load()
        .await;
    // The defaults have a chain unless somebody takes it away.
    let chain = found.credentials_provider().expect("the default chain");
    // Less than an attempt may take, so that it is the chain which gives up, and not the attempt that waits for it.
    SharedCredentialsProvider::new(Bounded { chain, timeout: backend.timeout * 4 / 5 })
}

/// The default chain, but not for ever: it asks one service after the other, each several times.
#[derive(Debug)]
struct Bounded {
    chain: SharedCredentialsProvider,
    timeout: Duration,
}

impl ProvideCredentials for Bounded {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let found = tokio::time::timeout(self.timeout, self.chain.provide_credentials()).await;
            found.unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(self.timeout)))
        })
    }
}

#[async_trait]
impl CredentialBroker for AssumeRole {
    fn kind(&self) -> &'static str {
        "assume-role"
    }

    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        let role_arn = request.role_arn(&self.role_arn);
        let role_arn = role_arn.map_err(|why| sts::bad_template(request, "role_arn", &why))?;
        let tags = request.session_tags().map_err(|why| sts::bad_template(request, "session_tags", &why))?;
        let tags: Vec<Tag> =
            // Both members are there, which is all that it asks for.
            tags.into_iter().filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok()).collect();
        let answer = self
            .sts
            .assume_role()
            .role_arn(role_arn)
            .role_session_name(session_name(&request.person))
            .duration_seconds(sts::duration_seconds(request))
            .set_external_id(self.external_id.clone())
            .set_policy(request.set.session_policy.clone())
            .set_policy_arns(sts::policy_arns(request))
            .set_tags((!tags.is_empty()).then_some(tags))
            .send()
            .await
            .map_err(|error| explain(Operation::AssumeRole, &error, ""))?;
        sts::credentials(answer.credentials, request.now)
    }
}

impl fmt::Debug for AssumeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssumeRole").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

/// A role on the way to the people's: the server's own credentials for the next step. Whoever uses it keeps what it gives
/// until shortly before it expires.
#[derive(Debug)]
struct Through {
    role_arn: String,
    sts: Client,
}

impl Through {
    async fn assume(&self) -> Result<Credentials, CredentialsError> {
        let failed = |error: BrokerError| {
            let step = match error.step {
                step @ (BrokerStep::Network | BrokerStep::Answer) => step,
                _ => BrokerStep::OwnCredentials,
            };
            let detail = format!("role {} of `through`: {}", self.role_arn, error.detail);
            CredentialsError::provider_error(OwnCredentialsError(BrokerError { denied: false, step, detail }))
        };
        let answer =
            self.sts.assume_role().role_arn(&self.role_arn).role_session_name(OWN_SESSION).send().await;
        let answer = answer.map_err(|error| failed(explain(Operation::AssumeRole, &error, "")))?;
        let answer = answer.credentials.ok_or_else(|| {
            failed(BrokerError {
                denied: false,
                step: BrokerStep::Answer,
                detail: "the answer has no Credentials".into(),
            })
        })?;
        Ok(Credentials::new(
            answer.access_key_id,
            answer.secret_access_key,
            Some(answer.session_token),
            answer.expiration.try_into().ok(),
            "through",
        ))
    }
}

impl ProvideCredentials for Through {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}
