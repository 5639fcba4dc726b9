//! Options that cannot be used are found when a broker is made.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::ids::BrokerName;
use doorward_upstream::credentials::assume_role::{AccessKey, AssumeRole, AssumeRoleOptions};
use doorward_upstream::credentials::sts::Backend;
use doorward_upstream::credentials::web_identity::{WebIdentity, WebIdentityOptions};

use crate::fixtures::{Counting, Tokens, assume_role_options};

fn aws() -> Backend {
    Backend::new(BrokerName::parse("aws").unwrap())
}

fn web_identity_error(edit: impl FnOnce(&mut WebIdentityOptions)) -> String {
    let mut options = WebIdentityOptions {
        backend: aws(),
        issuer: "https://sso.example.org".into(),
        audience: "sts.amazonaws.com".into(),
        role_arn: "arn:aws:iam::{account}:role/{role}".into(),
    };
    edit(&mut options);
    let broker = WebIdentity::new(options, Arc::new(Tokens), Arc::new(Counting::default()));
    broker.map(drop).unwrap_err().to_string()
}

#[test]
fn each_is_named_with_what_is_wrong() {
    let endpoint =
        |endpoint: &str| web_identity_error(|options| options.backend.endpoint = Some(endpoint.into()));
    assert_eq!(endpoint("ceph:7480"), "sts_endpoint: it has no host");
    assert_eq!(endpoint("ftp://ceph"), "sts_endpoint: it must begin with https:// or http://");
    assert_eq!(endpoint("7480"), "sts_endpoint: it is no URL: relative URL without a base");
    assert_eq!(endpoint("http://a:b@ceph"), "sts_endpoint: it must not have a user name or password");
    assert_eq!(endpoint("http://ceph/?x"), "sts_endpoint: it must not have a query or fragment");
    let ca = |pem: &str| web_identity_error(|options| options.backend.ca = Some(pem.into()));
    assert_eq!(ca(""), "ca_file: it has no certificate");
    assert_eq!(
        ca("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
        "ca_file: it is no PEM file"
    );
    assert_eq!(
        ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "ca_file: it has a certificate that cannot be read"
    );
    for timeout in [Duration::ZERO, Duration::from_secs(11)] {
        let error = web_identity_error(|options| options.backend.timeout = timeout);
        assert_eq!(error, "timeout: it must be 1 to 10 seconds");
    }
    let region = web_identity_error(|options| options.backend.region = "eu central".into());
    assert_eq!(region, "region: it must be lower-case letters, digits and `-`");
    assert_eq!(web_identity_error(|options| options.audience.clear()), "audience: it must not be empty");
    let role_arn = |template: &str| web_identity_error(|options| options.role_arn = template.into());
    assert_eq!(
        role_arn("arn:aws:iam::{acount}:role/{role}"),
        "role_arn: {acount} is no placeholder; there are {account} and {role}; did you mean {account}?"
    );
    assert_eq!(role_arn("{role}"), "role_arn: it must begin with arn:");
}

#[tokio::test]
async fn those_of_assume_role_too() {
    let error = async |edit: fn(&mut AssumeRoleOptions)| {
        let mut options = assume_role_options(aws());
        edit(&mut options);
        AssumeRole::new(options).await.map(drop).unwrap_err().to_string()
    };
    assert_eq!(
        error(|o| o.external_id = Some("x".into())).await,
        "external_id: it must have 2 to 1224 characters"
    );
    assert_eq!(error(|o| o.through = vec!["hub".into()]).await, "through: each must be the ARN of a role");
    assert_eq!(
        error(|o| o.role_arn = "arn:{person}".into()).await.split(';').next(),
        Some("role_arn: {person} is no placeholder")
    );
    assert_eq!(
        error(|o| o.backend.region.clear()).await,
        "region: it must be lower-case letters, digits and `-`"
    );
}

#[test]
fn an_access_key_has_two_lines() {
    let key = AccessKey::parse("AKIAIOSFODNN7EXAMPLE\n  wJalr/K7+EXAMPLEKEY \n\n").unwrap();
    assert_eq!((key.id.as_str(), key.secret.reveal()), ("AKIAIOSFODNN7EXAMPLE", "wJalr/K7+EXAMPLEKEY"));
    assert!(!format!("{key:?}").contains("wJalr"), "{key:?}");
    for bad in [
        "",
        "AKIA",
        "AKIA secret",
        "AKIA\nsecret\nmore",
        "aws_access_key_id = AKIA\naws_secret_access_key = secret",
    ] {
        let error = AccessKey::parse(bad).unwrap_err();
        assert_eq!(error.option, "access_key_file");
        assert!(!error.to_string().contains("AKIA"), "{error}");
    }
}
