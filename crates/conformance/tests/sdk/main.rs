//! The real AWS SDK for Rust against the real router: what it sends is understood, and what it gets is typed.

mod connector;
mod credentials;
mod iam;
mod oidc;
mod portal;

use aws_config::BehaviorVersion;
use aws_sdk_ssooidc::config::{Region, retry::RetryConfig};
use connector::InProcess;
use doorward_testkit::Kit;

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A client of sso-oidc that asks once and does not try again.
fn oidc(kit: &Kit) -> aws_sdk_ssooidc::Client {
    let config = aws_sdk_ssooidc::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(kit.base())
        .http_client(InProcess(kit.server()))
        .retry_config(RetryConfig::disabled());
    aws_sdk_ssooidc::Client::from_conf(config.build())
}

/// The same for the portal.
fn sso(kit: &Kit) -> aws_sdk_sso::Client {
    let config = aws_sdk_sso::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(kit.base())
        .http_client(InProcess(kit.server()))
        .retry_config(RetryConfig::disabled());
    aws_sdk_sso::Client::from_conf(config.build())
}
