//! The operations of `sso-oidc`.

pub mod create_token;
pub mod create_token_with_iam;
pub mod register_client;
pub mod start_device_authorization;
