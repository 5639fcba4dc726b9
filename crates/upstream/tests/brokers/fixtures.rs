//! Who asks, for what, and through which broker.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker as _, Entropy, RoleRequest};
use doorward_core::directory::PermissionSet;
use doorward_core::ids::{AccountId, BrokerName, PersonId, RoleName};
use doorward_core::secret::SecretAccessKey;
use doorward_core::time::Timestamp;
use doorward_upstream::credentials::assume_role::{AccessKey, AssumeRole, AssumeRoleOptions};
use doorward_upstream::credentials::sts::Backend;
use doorward_upstream::credentials::web_identity::{Claims, IdentityTokens, WebIdentity, WebIdentityOptions};

use crate::backend::Sts;

/// 2027-01-15T08:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

pub(crate) fn request(edit: impl FnOnce(&mut RoleRequest)) -> RoleRequest {
    let mut request = RoleRequest {
        person: PersonId::parse("ada").unwrap(),
        account: AccountId::parse("111122223333").unwrap(),
        set: PermissionSet::named(RoleName::parse("Read").unwrap()),
        now: NOW,
    };
    edit(&mut request);
    request
}

pub(crate) fn backend(sts: &Sts) -> Backend {
    Backend { endpoint: Some(sts.url.clone()), ..Backend::new(BrokerName::parse("test").unwrap()) }
}

/// The same, given up after a second.
pub(crate) fn impatient(sts: &Sts) -> Backend {
    Backend { timeout: Duration::from_secs(1), ..backend(sts) }
}

/// Signatures that everybody can make.
pub(crate) struct Tokens;

const SIGNATURE: &str = "c2lnbmF0dXJl";

#[async_trait]
impl IdentityTokens for Tokens {
    async fn sign(&self, claims: &Claims) -> Result<String, BrokerError> {
        let claims = serde_json::to_vec(claims).unwrap();
        Ok(format!("eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.{}.{SIGNATURE}", BASE64URL_NOPAD.encode(&claims)))
    }
}

/// The claims of such a token.
pub(crate) fn claims(token: &str) -> serde_json::Value {
    let payload = token.strip_suffix(SIGNATURE).unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()).unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
    }
}

pub(crate) fn web_identity(backend: Backend) -> WebIdentity {
    let options = WebIdentityOptions {
        backend,
        issuer: "https://sso.example.org".into(),
        audience: "sts.amazonaws.com".into(),
        role_arn: "arn:aws:iam::{account}:role/{role}".into(),
    };
    WebIdentity::new(options, Arc::new(Tokens), Arc::new(Counting::default())).unwrap()
}

pub(crate) fn assume_role_options(backend: Backend) -> AssumeRoleOptions {
    AssumeRoleOptions {
        backend,
        role_arn: "arn:aws:iam::{account}:role/{role}".into(),
        external_id: None,
        through: vec![],
        access_key: Some(AccessKey {
            id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret: SecretAccessKey::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        }),
    }
}

pub(crate) async fn assume_role(backend: Backend) -> AssumeRole {
    AssumeRole::new(assume_role_options(backend)).await.unwrap()
}

/// Which way to an STS.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    WebIdentity,
    AssumeRole,
}

/// What asking such a backend fails with.
pub(crate) async fn error_of(way: Way, sts: &Sts) -> BrokerError {
    let request = request(|_| {});
    let result = match way {
        Way::WebIdentity => web_identity(backend(sts)).role_credentials(&request).await,
        Way::AssumeRole => assume_role(backend(sts)).await.role_credentials(&request).await,
    };
    result.unwrap_err()
}

/// The step that decided, and whether it was a denial.
pub(crate) fn decided(error: &BrokerError) -> (BrokerStep, bool) {
    (error.step, error.denied)
}

/// Set in a process that runs one test in an environment of its own.
const INSIDE: &str = "DOORWARD_TEST_INSIDE";

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs `body` with nothing but these variables in its environment: in a process of its own, which runs the test of this
/// name again.
pub(crate) fn in_environment(test: &str, variables: &[(&str, &str)], body: impl Future<Output = ()>) {
    if is_inside() {
        return tokio::runtime::Runtime::new().unwrap().block_on(body);
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env_clear()
        .env(INSIDE, "yes")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&run.stdout);
    let problems = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && out.contains("1 passed"), "{out}{problems}");
}
