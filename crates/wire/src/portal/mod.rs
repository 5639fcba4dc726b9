//! The operations of `sso`, the portal.

use doorward_core::ids::AccountId;
use doorward_core::refusal::PortalRefusal;
use doorward_core::secret::AccessToken;
use http::HeaderMap;

use crate::decode::Query;

pub mod get_role_credentials;
pub mod list_account_roles;
pub mod list_accounts;
pub mod logout;

/// The bearer token's header: with underscores in the model, with a hyphen where AWS itself is moving to and where a
/// proxy drops underscores.
const TOKEN_HEADERS: [&str; 2] = ["x-amz-sso_bearer_token", "x-amz-sso-bearer-token"];
/// Longer than any token of this server.
const LONGEST_TOKEN: usize = 4096;

/// The access token of a request.
///
/// # Errors
/// [`PortalRefusal::Unauthorized`] when there is none, more than one, or something that cannot be one.
pub fn access_token(headers: &HeaderMap) -> Result<AccessToken, PortalRefusal> {
    let mut values = TOKEN_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() && value.len() <= LONGEST_TOKEN => {
            value.to_str().map(AccessToken::new).map_err(|_| PortalRefusal::Unauthorized)
        }
        _ => Err(PortalRefusal::Unauthorized),
    }
}

/// Which part of a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// `max_result`: 1 to 100 items.
    pub max_result: usize,
    /// `next_token`, as an earlier answer gave it.
    pub next_token: Option<String>,
}

impl Page {
    /// The largest page, and the one that is answered when nothing is asked for.
    pub const LARGEST: usize = 100;

    fn decode(query: &Query<'_>) -> Result<Self, PortalRefusal> {
        let max_result = match query.get("max_result")? {
            None => Self::LARGEST,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=Self::LARGEST).contains(size) && text.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| PortalRefusal::InvalidRequest("max_result must be 1 to 100".into()))?,
        };
        Ok(Self { max_result, next_token: query.get("next_token")?.map(Into::into) })
    }
}

fn account_id(query: &Query<'_>) -> Result<AccountId, PortalRefusal> {
    AccountId::parse(query.required("account_id")?)
        .map_err(|bad| PortalRefusal::InvalidRequest(format!("account_id must be {}", bad.rule)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_1_to_100_items() {
        let page = |text: &str| Page::decode(&Query::new(text));
        assert_eq!(page("").unwrap(), Page { max_result: 100, next_token: None });
        assert_eq!(page("max_result=1&next_token=a%2Bb").unwrap().next_token.unwrap(), "a+b");
        for bad in ["0", "101", "x", "-1", "+5", "1.0", "99999999999999999999", "%F0"] {
            assert!(page(&format!("max_result={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn either_header_carries_the_token_but_not_both() {
        let token = |names: &[&'static str]| {
            let headers: HeaderMap = names
                .iter()
                .map(|name| (name.parse::<http::HeaderName>().unwrap(), "t".parse().unwrap()))
                .collect();
            access_token(&headers)
        };
        assert!(token(&["x-amz-sso_bearer_token"]).is_ok());
        assert!(token(&["x-amz-sso-bearer-token"]).is_ok());
        assert!(token(&TOKEN_HEADERS).is_err());
        assert!(token(&[]).is_err());
    }
}
