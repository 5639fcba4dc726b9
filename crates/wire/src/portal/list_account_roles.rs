//! ListAccountRoles: `GET /assignment/roles`.

use doorward_core::directory::PermissionSet;
use doorward_core::ids::AccountId;
use doorward_core::refusal::PortalRefusal;
use serde::Serialize;

use super::Page;
use crate::decode::Query;
use crate::fault::json;

/// The request.
#[derive(Debug)]
pub struct Input {
    /// `account_id`.
    pub account_id: AccountId,
    /// Which part of the list.
    pub page: Page,
}

impl Input {
    /// Reads the request's query string.
    ///
    /// # Errors
    /// [`PortalRefusal::InvalidRequest`] naming the parameter.
    pub fn decode(query: &str) -> Result<Self, PortalRefusal> {
        let query = Query::new(query);
        Ok(Self { account_id: super::account_id(&query)?, page: Page::decode(&query)? })
    }
}

/// The body of the answer; each item repeats the account.
#[must_use]
pub fn encode(account: &AccountId, roles: &[&PermissionSet], next_token: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Output<'a> {
        next_token: Option<&'a str>,
        role_list: Vec<Item<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        account_id: &'a str,
        role_name: &'a str,
    }
    json(&Output {
        next_token,
        role_list: roles
            .iter()
            .map(|role| Item { account_id: account.as_str(), role_name: role.name.as_str() })
            .collect(),
    })
}
