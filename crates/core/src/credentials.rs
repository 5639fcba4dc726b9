//! Role credentials and where they come from.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::directory::{Account, PermissionSet};
use crate::ids::{AccountId, PersonId};
use crate::secret::{SecretAccessKey, SessionToken};
use crate::template::{self, BadTemplate};
use crate::time::Timestamp;

/// Whose credentials are wanted, for what, and for how long. The assignment has been checked.
#[derive(Clone, Debug)]
pub struct RoleRequest {
    /// For whom.
    pub person: PersonId,
    /// In which account.
    pub account: AccountId,
    /// With which role: its name, how long its credentials last, and how they are made.
    pub set: PermissionSet,
    /// The time of the request.
    pub now: Timestamp,
}

impl RoleRequest {
    /// What `person` wants with `set` in `account`, of which the role is unless the set names another.
    #[must_use]
    pub fn new(person: PersonId, account: &Account, set: &PermissionSet, now: Timestamp) -> Self {
        let role_arn = set.role_arn.clone().or_else(|| account.role_arn.clone());
        Self { person, account: account.id.clone(), set: PermissionSet { role_arn, ..set.clone() }, now }
    }

    /// The role to assume: the permission set's or account's own template, or else `default`, filled in.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn role_arn(&self, default: &str) -> Result<String, BadTemplate> {
        let values = [("account", self.account.as_str()), ("role", self.set.name.as_str())];
        template::fill(self.set.role_arn.as_deref().unwrap_or(default), &values)
    }

    /// The session tags, filled in.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn session_tags(&self) -> Result<BTreeMap<String, String>, BadTemplate> {
        let values = [
            ("person", self.person.as_str()),
            ("account", self.account.as_str()),
            ("role", self.set.name.as_str()),
        ];
        let filled = |value: &String| template::fill(value, &values);
        self.set.session_tags.iter().map(|(key, value)| Ok((key.clone(), filled(value)?))).collect()
    }
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
    /// What kind of source it is, as the configuration spells it.
    fn kind(&self) -> &'static str;

    /// Credentials for an assignment that has been checked.
    ///
    /// # Errors
    /// [`BrokerError`], saying which step decided.
    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError>;
}

/// Why a broker gave no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {step}: {detail}", if *denied { "denied" } else { "failed" })]
pub struct BrokerError {
    /// Whether the backend refused this person or role; else it could not be asked, or something is set up wrongly.
    pub denied: bool,
    /// The step that decided.
    pub step: BrokerStep,
    /// What happened, for the operator and never for the caller.
    pub detail: String,
}

/// A step on the way to role credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BrokerStep {
    /// What this server was told of the backend: its broker, its role, a template.
    Configuration,
    /// The server's own credentials for the backend.
    OwnCredentials,
    /// Making the token that the backend would be asked with; it is not asked then.
    Token,
    /// Reaching the backend at all.
    Network,
    /// Whether the backend is asked at all: it is left alone for a while when it has failed several times in a row, or
    /// when too many wait for it.
    Circuit,
    /// Whether the backend knows this server as an issuer, and could verify its signature.
    Issuer,
    /// Whether the backend expects the token's audience.
    Audience,
    /// Whether the token is of this time: its expiry, and both clocks.
    Time,
    /// Whether the role is there.
    Role,
    /// Whether the role's trust policy lets this person in.
    Trust,
    /// Whether the backend takes the session's policy, tags and duration.
    Session,
    /// Whether its answer made sense.
    Answer,
}

impl BrokerStep {
    /// The name used in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::OwnCredentials => "own credentials",
            Self::Token => "token",
            Self::Network => "network",
            Self::Circuit => "circuit",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Time => "time",
            Self::Role => "role",
            Self::Trust => "trust policy",
            Self::Session => "session parameters",
            Self::Answer => "answer",
        }
    }
}

impl std::fmt::Display for BrokerStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Random bytes from the operating system, as a value to pass to what needs them.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// A shared source of random bytes.
pub type SharedEntropy = Arc<dyn Entropy>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{NOW, person};
    use crate::ids::RoleName;

    #[test]
    fn the_role_is_of_the_permission_set_else_of_the_account_else_of_the_broker() {
        let arn = |of_set: Option<&str>, of_account: Option<&str>| {
            let account = Account {
                id: AccountId::parse("111122223333").unwrap(),
                name: "x".into(),
                email: None,
                broker: None,
                role_arn: of_account.map(str::to_owned),
            };
            let set = PermissionSet {
                role_arn: of_set.map(str::to_owned),
                ..PermissionSet::named(RoleName::parse("Read").unwrap())
            };
            RoleRequest::new(person("ann"), &account, &set, NOW).role_arn("broker:{account}:{role}").unwrap()
        };
        assert_eq!(arn(Some("set:{role}"), Some("account:{role}")), "set:Read");
        assert_eq!(arn(None, Some("account:{role}")), "account:Read");
        assert_eq!(arn(None, None), "broker:111122223333:Read");
    }
}
