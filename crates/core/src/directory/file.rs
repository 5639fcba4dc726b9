//! The directory as operators write it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::{self, DirectoryProblem};
use crate::application::{Application, ScopeDescription};
use crate::ids::{AccountId, BrokerName, GroupName, IssuerName, PersonId, RoleName, SourceName};
use crate::time::Lifetime;

/// The directory as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFile {
    /// People who sign in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
    /// Groups of people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<Account>,
    /// Permission sets: the roles that can be assigned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permission_sets: Vec<PermissionSet>,
    /// Who may use which permission set in which account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<Assignment>,
    /// What scopes mean, for the people who are asked to grant them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeDescription>,
    /// OAuth clients that an administrator registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<Application>,
}

impl DirectoryFile {
    /// All that is wrong with it, each naming its entry.
    #[must_use]
    pub fn problems(&self) -> Vec<DirectoryProblem> {
        check::problems(self)
    }

    /// What it names that is not among the brokers, identity sources and trusted issuers of the configuration.
    #[must_use]
    pub fn unconfigured(
        &self,
        brokers: &HashSet<&BrokerName>,
        sources: &HashSet<&SourceName>,
        issuers: &HashSet<&IssuerName>,
    ) -> Vec<DirectoryProblem> {
        check::unconfigured(self, brokers, sources, issuers)
    }

    /// Where an application's tokens could be for one of these, the audiences of the configuration's brokers: the service
    /// behind that broker would take such a token for one that asks it for role credentials.
    #[must_use]
    pub fn taken_audiences(&self, audiences: &HashMap<&str, &BrokerName>) -> Vec<DirectoryProblem> {
        check::taken_audiences(self, audiences)
    }
}

/// A person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What the person types to sign in; also the stable subject of their tokens.
    pub user_name: PersonId,
    /// How the person is greeted; the user name when absent. 1 to 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Argon2id hash in PHC form (`doorward hash-password` prints one). Without it the person cannot sign in with
    /// a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// The identity source that this person signs in through, instead of a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_source: Option<SourceName>,
    /// A disabled person gets nothing: no sign-in, no token, no credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

impl Person {
    /// A person of whom nothing is known but their user name.
    #[must_use]
    pub const fn named(user_name: PersonId) -> Self {
        Self {
            user_name,
            display_name: None,
            email: None,
            password_hash: None,
            identity_source: None,
            disabled: false,
        }
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("user_name", &self.user_name)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A group of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// The user names of its members in this directory. An identity source may name more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<PersonId>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account number.
    pub id: AccountId,
    /// Its name, shown to people and by ListAccounts. 1 to 50 characters.
    pub name: String,
    /// Its e-mail address, shown by ListAccounts. 6 to 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The broker that gives this account's credentials, unless the permission set names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerName>,
    /// The roles of this account, instead of the broker's own template, for permission sets that name none: what the
    /// backend calls the account may be no number. `{account}` and `{role}` stand for this number and the set's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
}

/// A permission set: a role that can be assigned, and how its credentials are made (sso-admin model `PermissionSet`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionSet {
    /// The role name that people and tools use. 1 to 32 characters.
    pub name: RoleName,
    /// Shown on the portal page. 1 to 700 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How long its role credentials last, in seconds: 900 to 43 200.
    #[serde(default = "default_session_duration")]
    pub session_duration: Lifetime,
    /// Where the portal page leads to from this role: an `https` URL of 1 to 240 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_state: Option<String>,
    /// The broker that gives its credentials; else the account's, else the only one there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerName>,
    /// The role to assume, instead of the account's and the broker's own template. `{account}` and `{role}` stand for the account number
    /// and this set's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// A session policy (sts model `Policy`): a JSON object of 1 to 2048 characters that narrows what the role may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_policy: Option<String>,
    /// ARNs of managed policies that narrow what the role may do (sts model `PolicyArns`): 10 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_policy_arns: Vec<String>,
    /// Session tags (sts model `Tags`): 50 at most. `{person}`, `{account}` and `{role}` stand for their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub session_tags: BTreeMap<String, String>,
    /// The names of `MinIO` policies, for the claim `policy` of the web identity token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub minio_policies: Vec<String>,
}

/// One hour, as at AWS.
const fn default_session_duration() -> Lifetime {
    Lifetime::from_seconds(3600)
}

impl PermissionSet {
    /// A permission set of this name with nothing but defaults.
    #[must_use]
    pub const fn named(name: RoleName) -> Self {
        Self {
            name,
            description: None,
            session_duration: default_session_duration(),
            relay_state: None,
            broker: None,
            role_arn: None,
            session_policy: None,
            session_policy_arns: Vec::new(),
            session_tags: BTreeMap::new(),
            minio_policies: Vec::new(),
        }
    }
}

/// Who may use which permission sets in which accounts: every combination of the lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// User names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonId>,
    /// Group names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Account numbers.
    pub accounts: Vec<AccountId>,
    /// Permission set names.
    pub permission_sets: Vec<RoleName>,
}

impl Assignment {
    /// How many combinations there are of its lists.
    #[must_use]
    pub const fn combinations(&self) -> usize {
        (self.people.len() + self.groups.len())
            .saturating_mul(self.accounts.len())
            .saturating_mul(self.permission_sets.len())
    }
}
