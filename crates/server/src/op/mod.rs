//! The operations of `sso-oidc` and `sso`, one file each: decode, decide, encode.

use std::net::IpAddr;

use doorward_core::refusal::{PortalRefusal, Refusal};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use http::{HeaderMap, header};

use crate::limits::TooOften;

pub(crate) mod create_token;
pub(crate) mod create_token_with_iam;
pub(crate) mod get_role_credentials;
pub(crate) mod list_account_roles;
pub(crate) mod list_accounts;
pub(crate) mod logout;
pub(crate) mod portal;
pub(crate) mod register_client;
pub(crate) mod role;
pub(crate) mod start_device_authorization;

/// Who calls, and when: the same moment for the whole request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The address of the peer, or the one that a trusted proxy reported.
    pub(crate) address: IpAddr,
    /// The time of the request.
    pub(crate) now: Timestamp,
}

/// The longest `User-Agent` that is kept, in characters.
const LONGEST_USER_AGENT: usize = 200;

/// How the caller names itself.
pub(crate) fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(LONGEST_USER_AGENT).collect()).filter(|text: &String| !text.is_empty())
}

/// Why an operation has no answer: the caller's fault, or ours. There is no way from one to the other.
#[derive(Debug)]
pub(crate) enum Failure<R> {
    /// The caller's fault.
    Refused(R),
    /// Ours; the text is for the log.
    Outage(String),
}

impl From<Refusal> for Failure<Refusal> {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<PortalRefusal> for Failure<PortalRefusal> {
    fn from(refusal: PortalRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<TooOften> for Failure<Refusal> {
    fn from(_: TooOften) -> Self {
        Self::Refused(Refusal::SlowDown)
    }
}

impl From<TooOften> for Failure<PortalRefusal> {
    fn from(_: TooOften) -> Self {
        Self::Refused(PortalRefusal::TooManyRequests)
    }
}

impl<R> From<Outage> for Failure<R> {
    fn from(outage: Outage) -> Self {
        Self::Outage(outage.to_string())
    }
}
