//! ListAccounts: `GET /assignment/accounts`.

use doorward_core::directory::Account;
use doorward_core::refusal::PortalRefusal;
use serde::Serialize;

use super::Page;
use crate::decode::Query;
use crate::fault::json;

/// Reads the request's query string.
///
/// # Errors
/// [`PortalRefusal::InvalidRequest`] naming the parameter.
pub fn decode(query: &str) -> Result<Page, PortalRefusal> {
    Page::decode(&Query::new(query))
}

/// The body of the answer.
#[must_use]
pub fn encode(accounts: &[&Account], next_token: Option<&str>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Output<'a> {
        account_list: Vec<Item<'a>>,
        next_token: Option<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Item<'a> {
        account_id: &'a str,
        account_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        email_address: Option<&'a str>,
    }
    json(&Output {
        account_list: accounts
            .iter()
            .map(|account| Item {
                account_id: account.id.as_str(),
                account_name: &account.name,
                email_address: account.email.as_deref(),
            })
            .collect(),
        next_token,
    })
}
