//! Credentials of an assigned role, for the portal's API and its page alike.

use doorward_core::assignment::Principal;
use doorward_core::credentials::{BrokerError, RoleCredentials, RoleRequest};
use doorward_core::directory::{Account, PermissionSet};
use doorward_core::ids::{AccountId, RoleName};
use tracing::{info, warn};

use super::Caller;
use crate::app::App;

/// A role that a person has in an account.
pub(crate) struct Role<'a> {
    principal: &'a Principal,
    /// The account.
    pub(crate) account: &'a Account,
    /// The permission set.
    pub(crate) set: &'a PermissionSet,
}

impl<'a> Role<'a> {
    /// The role of this name in this account, if it is assigned to the person.
    pub(crate) fn assigned(principal: &'a Principal, account: &AccountId, role: &RoleName) -> Option<Self> {
        let set = principal.role(account, role)?;
        Some(Self { principal, account: principal.directory().account(account)?, set })
    }

    /// Asks the role's broker, and records what came of it.
    ///
    /// # Errors
    /// [`BrokerError`]; the audit log has what is for the operator when it is a denial.
    pub(crate) async fn credentials(
        &self,
        app: &App,
        caller: &Caller,
    ) -> Result<RoleCredentials, BrokerError> {
        let (person, account, role, address) =
            (self.principal.id(), &self.account.id, &self.set.name, caller.address);
        let of = |error: BrokerError, broker: &str| BrokerError {
            detail: format!("{broker}{role} in {account} for {person}: {}", error.detail),
            ..error
        };
        let (broker, source) = app.brokers.choose(self.set, self.account).map_err(|error| of(error, ""))?;
        let request = RoleRequest::new(person.clone(), self.account, self.set, caller.now);
        let outcome = source.role_credentials(&request).await;
        match &outcome {
            Ok(_) => {
                info!(target: "audit", event = "role_credentials", %broker, %person, %account, %role, %address);
            }
            Err(error) if error.denied => {
                let (step, detail) = (error.step, &error.detail);
                warn!(target: "audit", event = "role_denied", %broker, %step, %person, %account, %role, %address, detail);
            }
            // An outage, which whoever answers writes into the log with the request's id.
            Err(_) => {}
        }
        outcome.map_err(|error| of(error, &format!("broker {broker}, ")))
    }
}
