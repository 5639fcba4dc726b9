//! Role credentials and where they come from.

use std::sync::Arc;

use async_trait::async_trait;

use crate::ids::{AccountId, PersonId, RoleName};
use crate::secret::{SecretAccessKey, SessionToken};
use crate::time::{Lifetime, Timestamp};

/// Whose credentials are wanted, for what, and for how long. The assignment has been checked.
#[derive(Clone, Debug)]
pub struct RoleRequest {
    /// For whom.
    pub person: PersonId,
    /// In which account.
    pub account: AccountId,
    /// With which role.
    pub role: RoleName,
    /// How long they should last.
    pub duration: Lifetime,
    /// The time of the request.
    pub now: Timestamp,
}

/// Short-term credentials (portal model `RoleCredentials`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCredentials {
    /// `accessKeyId`.
    pub access_key_id: String,
    /// `secretAccessKey`.
    pub secret_access_key: SecretAccessKey,
    /// `sessionToken`; never empty, since SDKs refuse an empty one.
    pub session_token: SessionToken,
    /// `expiration`, which travels in milliseconds.
    pub expires_at: Timestamp,
}

/// A source of role credentials.
#[async_trait]
pub trait CredentialBroker: Send + Sync {
    /// Its name in logs and configuration.
    fn name(&self) -> &'static str;

    /// Credentials for an assignment that has been checked.
    ///
    /// # Errors
    /// [`BrokerError`], saying which step decided.
    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError>;
}

/// Why a broker gave no credentials. Both texts are for the operator, never for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// The other side refused this person or role.
    #[error("the credential source denied the role: {0}")]
    Denied(String),
    /// It could not be asked, or did not make sense.
    #[error("the credential source failed: {0}")]
    Failed(String),
}

/// Random bytes from the operating system, as a value to pass to what needs them.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// A shared source of random bytes.
pub type SharedEntropy = Arc<dyn Entropy>;
