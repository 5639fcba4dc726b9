//! The broker `web-identity`: a token signed by this server, exchanged with AssumeRoleWithWebIdentity.
//!
//! There is no long-term key: the backend trusts this server as an OpenID Connect provider, and fetches its public keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_sts::Client;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::credentials::{
    BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest, SharedEntropy,
};
use doorward_core::time::Lifetime;
use serde::Serialize;

use super::session_name::session_name;
use super::sts::failure::{Operation, explain};
use super::sts::{self, Backend, BadOption};

/// How far back a token's time begins: Ceph takes none that begins in what it thinks is the future.
const BACKDATED: Lifetime = Lifetime::from_seconds(60);
/// How long a token is good from then on.
const LIFETIME: Lifetime = Lifetime::from_seconds(300);
/// The longest token that STS takes (sts model `clientTokenType`), in characters.
const LONGEST_TOKEN: usize = 20_000;

/// What a token says: the claims of RFC 7519 section 4.1, and what backends read beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The URL of this server, as its discovery document has it.
    pub iss: String,
    /// The user name.
    pub sub: String,
    /// Whom the token is for: one of the client ids that the backend has for this server.
    pub aud: String,
    /// When its time began, in seconds since the Unix epoch.
    pub iat: i64,
    /// When it ends, five minutes later.
    pub exp: i64,
    /// A random name of the token.
    pub jti: String,
    /// The names of `MinIO` policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<String>,
    /// Session tags, as AWS and Ceph read them.
    #[serde(rename = "https://aws.amazon.com/tags", skip_serializing_if = "Option::is_none")]
    pub tags: Option<SessionTags>,
}

/// Session tags in a token (AWS IAM user guide, "Passing session tags using AssumeRoleWithWebIdentity").
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionTags {
    /// Each tag with its one value.
    pub principal_tags: BTreeMap<String, [String; 1]>,
    /// Which of them stay when the role assumes another: none.
    pub transitive_tag_keys: [String; 0],
}

/// Signs tokens, as the issuer whose public keys backends fetch.
#[async_trait]
pub trait IdentityTokens: Send + Sync {
    /// A compact JSON Web Signature (RFC 7515) of `claims`: RS256, with a `kid`.
    ///
    /// # Errors
    /// [`BrokerError`] of [`BrokerStep::Token`] when there is no key to sign with.
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError>;
}

/// The options of a [`WebIdentity`] broker.
#[derive(Clone, Debug)]
pub struct WebIdentityOptions {
    /// How the backend is reached.
    pub backend: Backend,
    /// The issuer that the backend knows this server by: `iss` of its tokens.
    pub issuer: String,
    /// `audience`: `aud` of its tokens.
    pub audience: String,
    /// `role_arn`: the role of those permission sets that name none themselves, with `{account}` and `{role}`.
    pub role_arn: String,
}

/// The broker `web-identity`.
pub struct WebIdentity {
    issuer: String,
    audience: String,
    role_arn: String,
    tokens: Arc<dyn IdentityTokens>,
    entropy: SharedEntropy,
    sts: Client,
}

impl WebIdentity {
    /// A broker that has its tokens signed by `tokens`.
    ///
    /// # Errors
    /// [`BadOption`].
    pub fn new(
        options: WebIdentityOptions,
        tokens: Arc<dyn IdentityTokens>,
        entropy: SharedEntropy,
    ) -> Result<Self, BadOption> {
        let WebIdentityOptions { backend, issuer, audience, role_arn } = options;
        sts::check_role_arn(&role_arn)?;
        if audience.is_empty() {
            return Err(BadOption::new("audience", "it must not be empty"));
        }
        let sts = Client::from_conf(backend.client()?.build());
        Ok(Self { issuer, audience, role_arn, tokens, entropy, sts })
    }

    fn claims(&self, request: &RoleRequest) -> Result<Claims, BrokerError> {
        let tags = request.session_tags().map_err(|why| sts::bad_template(request, "session_tags", &why))?;
        let principal_tags: BTreeMap<_, _> = tags.into_iter().map(|(key, value)| (key, [value])).collect();
        let mut jti = [0; 16];
        self.entropy.fill(&mut jti);
        let begins = request.now.minus(BACKDATED);
        Ok(Claims {
            iss: self.issuer.clone(),
            sub: request.person.as_str().to_owned(),
            aud: self.audience.clone(),
            iat: begins.seconds(),
            exp: begins.plus(LIFETIME).seconds(),
            jti: BASE64URL_NOPAD.encode(&jti),
            policy: request.set.minio_policies.clone(),
            tags: (!principal_tags.is_empty())
                .then_some(SessionTags { principal_tags, transitive_tag_keys: [] }),
        })
    }
}

#[async_trait]
impl CredentialBroker for WebIdentity {
    fn kind(&self) -> &'static str {
        "web-identity"
    }

    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        let role_arn = request.role_arn(&self.role_arn);
        let role_arn = role_arn.map_err(|why| sts::bad_template(request, "role_arn", &why))?;
        let token = self.tokens.sign(&self.claims(request)?).await?;
        if token.len() > LONGEST_TOKEN {
            return Err(BrokerError {
                denied: false,
                step: BrokerStep::Token,
                detail: format!(
                    "the token has {} characters, and an STS takes {LONGEST_TOKEN}: permission set {} has too many \
                     session_tags or minio_policies",
                    token.len(),
                    request.set.name
                ),
            });
        }
        let answer = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(role_arn)
            .role_session_name(session_name(&request.person))
            .web_identity_token(&token)
            .duration_seconds(sts::duration_seconds(request))
            .set_policy(request.set.session_policy.clone())
            .set_policy_arns(sts::policy_arns(request))
            .send()
            .await
            .map_err(|error| explain(Operation::AssumeRoleWithWebIdentity, &error, &token))?;
        sts::credentials(answer.credentials, request.now)
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}
