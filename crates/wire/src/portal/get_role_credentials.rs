//! GetRoleCredentials: `GET /federation/credentials`.

use doorward_core::credentials::RoleCredentials;
use doorward_core::ids::{AccountId, RoleName};
use doorward_core::refusal::PortalRefusal;
use serde::Serialize;

use crate::decode::Query;
use crate::fault::json;

/// The request.
#[derive(Debug)]
pub struct Input {
    /// `role_name`. `None` for text that no role can be named: nobody is assigned that, and nothing more is wrong.
    pub role_name: Option<RoleName>,
    /// `account_id`.
    pub account_id: AccountId,
}

impl Input {
    /// Reads the request's query string.
    ///
    /// # Errors
    /// [`PortalRefusal::InvalidRequest`] naming the parameter.
    pub fn decode(query: &str) -> Result<Self, PortalRefusal> {
        let query = Query::new(query);
        let role_name = RoleName::parse(query.required("role_name")?).ok();
        Ok(Self { role_name, account_id: super::account_id(&query)? })
    }
}

/// The body of the answer; `expiration` is in milliseconds.
#[must_use]
pub fn encode(credentials: &RoleCredentials) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Output<'a> {
        role_credentials: Members<'a>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Members<'a> {
        access_key_id: &'a str,
        expiration: i64,
        secret_access_key: &'a str,
        session_token: &'a str,
    }
    json(&Output {
        role_credentials: Members {
            access_key_id: &credentials.access_key_id,
            expiration: credentials.expires_at.millis(),
            secret_access_key: credentials.secret_access_key.reveal(),
            session_token: credentials.session_token.reveal(),
        },
    })
}
