//! The brokers that there are, and the choice among them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker};
use doorward_core::directory::{Account, PermissionSet, nearest};
use doorward_core::ids::BrokerName;

/// All brokers, by name.
#[derive(Clone, Default)]
pub struct Brokers(BTreeMap<BrokerName, Arc<dyn CredentialBroker>>);

impl Brokers {
    /// These brokers.
    #[must_use]
    pub const fn new(brokers: BTreeMap<BrokerName, Arc<dyn CredentialBroker>>) -> Self {
        Self(brokers)
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &BrokerName> {
        self.0.keys()
    }

    /// The broker called `name`.
    #[must_use]
    pub fn get(&self, name: &BrokerName) -> Option<&Arc<dyn CredentialBroker>> {
        self.0.get(name)
    }

    /// The broker for `set` in `account`: the one that the permission set names, else the one that the account names, else
    /// the only one that there is.
    ///
    /// # Errors
    /// [`BrokerStep::Configuration`], naming those that there are.
    pub fn choose(
        &self,
        set: &PermissionSet,
        account: &Account,
    ) -> Result<(&BrokerName, &Arc<dyn CredentialBroker>), BrokerError> {
        let (named, by) = match (&set.broker, &account.broker) {
            (Some(name), _) => (name, format!("permission set {}", set.name)),
            (None, Some(name)) => (name, format!("account {}", account.id)),
            (None, None) => {
                let mut all = self.0.iter();
                return match (all.next(), all.next()) {
                    (Some(only), None) => Ok(only),
                    _ => Err(self.none(&format!(
                        "neither permission set {} nor account {} names a broker",
                        set.name, account.id
                    ))),
                };
            }
        };
        self.0.get_key_value(named).ok_or_else(|| {
            let alike = nearest(named.as_str(), self.names().map(ToString::to_string));
            let alike = alike.map(|alike| format!(", did you mean {alike}?")).unwrap_or_default();
            self.none(&format!("{by} names the broker {named}, which is not configured{alike}"))
        })
    }

    fn none(&self, why: &str) -> BrokerError {
        let names: Vec<&str> = self.names().map(BrokerName::as_str).collect();
        let there = if names.is_empty() {
            "there is none".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        BrokerError { denied: false, step: BrokerStep::Configuration, detail: format!("{why}; {there}") }
    }
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use doorward_core::credentials::{RoleCredentials, RoleRequest};
    use doorward_core::ids::{AccountId, RoleName};

    use super::*;

    struct Nothing;

    #[async_trait]
    impl CredentialBroker for Nothing {
        fn kind(&self) -> &'static str {
            "nothing"
        }

        async fn role_credentials(&self, _: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
            unreachable!("nobody asks")
        }
    }

    fn name(name: &str) -> BrokerName {
        BrokerName::parse(name).unwrap()
    }

    fn chosen(brokers: &[&str], set: Option<&str>, account: Option<&str>) -> Result<String, String> {
        let brokers: BTreeMap<_, Arc<dyn CredentialBroker>> =
            brokers.iter().map(|broker| (name(broker), Arc::new(Nothing) as _)).collect();
        let set =
            PermissionSet { broker: set.map(name), ..PermissionSet::named(RoleName::parse("Read").unwrap()) };
        let id = AccountId::parse("111122223333").unwrap();
        let account =
            Account { id, name: "Production".into(), email: None, broker: account.map(name), role_arn: None };
        let brokers = Brokers::new(brokers);
        let chosen = brokers.choose(&set, &account);
        chosen.map(|(name, _)| name.to_string()).map_err(|error| {
            assert_eq!((error.denied, error.step), (false, BrokerStep::Configuration));
            error.detail
        })
    }

    #[test]
    fn the_permission_set_chooses_before_the_account_and_the_only_one_is_chosen_without_either() {
        let both = ["aws", "ceph"];
        assert_eq!(chosen(&both, Some("aws"), Some("ceph")), Ok("aws".into()));
        assert_eq!(chosen(&both, None, Some("ceph")), Ok("ceph".into()));
        assert_eq!(chosen(&["aws"], None, None), Ok("aws".into()));
    }

    #[test]
    fn without_a_choice_those_that_there_are_are_named() {
        let error = |brokers: &[&str], set, account| chosen(brokers, set, account).unwrap_err();
        assert_eq!(
            error(&["aws", "ceph"], None, None),
            "neither permission set Read nor account 111122223333 names a broker; there are: aws, ceph"
        );
        assert_eq!(
            error(&["aws", "ceph"], Some("cehp"), Some("aws")),
            "permission set Read names the broker cehp, which is not configured, did you mean ceph?; there are: aws, ceph"
        );
        assert_eq!(
            error(&["aws"], None, Some("x")),
            "account 111122223333 names the broker x, which is not configured; there are: aws"
        );
        assert_eq!(
            error(&[], None, None),
            "neither permission set Read nor account 111122223333 names a broker; there is none"
        );
    }
}
