//! AssumeRoleWithWebIdentity: what is sent, and which answers are understood.

use doorward_core::credentials::{BrokerStep, CredentialBroker as _};
use doorward_core::ids::PersonId;
use doorward_core::time::{Lifetime, Timestamp};
use serde_json::json;

use crate::answers;
use crate::backend::{Reply, Sts};
use crate::fixtures::{backend, claims, request, web_identity};

#[tokio::test]
async fn t76_the_request_is_an_unsigned_form() {
    let sts = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let wanted = request(|request| {
        request.person = PersonId::parse("o'brien").unwrap();
        request.set.session_duration = Lifetime::from_seconds(900);
        request.set.session_policy = Some(r#"{"Version": "2012-10-17", "Statement": []}"#.into());
        request.set.session_policy_arns = vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()];
    });
    web_identity(backend(&sts)).role_credentials(&wanted).await.unwrap();
    let asked = sts.asked_once();
    assert_eq!(asked.line, "POST /");
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    assert!(!asked.headers.contains_key("authorization"), "{:?}", asked.headers);
    let mut form = asked.form();
    let token = form.remove("WebIdentityToken").unwrap();
    let expected = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::111122223333:role/Read"),
        ("RoleSessionName", "o_brien-mw4hc5f6hmnr"),
        ("DurationSeconds", "900"),
        ("Policy", r#"{"Version": "2012-10-17", "Statement": []}"#),
        ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ];
    let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(form, expected.collect());
    // Ceph 16 takes a plus sign for one.
    assert!(!asked.body.contains('+'), "{}", asked.body);
    let claims = claims(&token);
    assert_eq!(
        claims,
        json!({
            "iss": "https://sso.example.org",
            "sub": "o'brien",
            "aud": "sts.amazonaws.com",
            "iat": 1_799_999_940,
            "exp": 1_800_000_240,
            "jti": "AAECAwQFBgcICQoLDA0ODw",
        })
    );
}

#[tokio::test]
async fn what_a_permission_set_has_for_its_token_is_in_it() {
    let sts = Sts::start([Reply::ok(answers::CEPH)]).await;
    let wanted = request(|request| {
        request.set.role_arn = Some("arn:aws:iam:::role/team/{role}".into());
        request.set.minio_policies = vec!["readonly".into(), "team-{role}".into()];
        request.set.session_tags =
            [("who".into(), "{person}".into()), ("where".into(), "{account}/{role}".into())].into();
    });
    let broker = web_identity(backend(&sts));
    broker.role_credentials(&wanted).await.unwrap();
    broker.role_credentials(&wanted).await.unwrap();
    let asked = sts.asked();
    let form = asked[0].form();
    assert_eq!(form["RoleArn"], "arn:aws:iam:::role/team/Read");
    assert_eq!(form["DurationSeconds"], "3600");
    let first = claims(&form["WebIdentityToken"]);
    // MinIO's names are no templates.
    assert_eq!(first["policy"], json!(["readonly", "team-{role}"]));
    assert_eq!(
        first["https://aws.amazon.com/tags"],
        json!({
            "principal_tags": {"who": ["ada"], "where": ["111122223333/Read"]},
            "transitive_tag_keys": [],
        })
    );
    assert_ne!(claims(&asked[1].form()["WebIdentityToken"])["jti"], first["jti"]);
    assert_eq!(sts.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn t77_t80_answers_of_every_kind_yield_credentials_that_expire_when_they_say() {
    let nine = 1_800_003_600_000;
    for (answer, access_key_id, expires_at) in [
        (answers::AWS_WEB_IDENTITY.to_owned(), "ASgeIAIOSFODNN7EXAMPLE", nine),
        (answers::MINIO.to_owned(), "Y4RJU1RNFGK48LGO9I2S", nine),
        (answers::CEPH.to_owned(), "Mkv43Ck1K2xLB8ZkfB", nine + 851),
        (answers::old_ceph(), "Mkv43Ck1K2xLB8ZkfB", nine + 851),
        (answers::MINIO.replace("09:00:00Z", "09:00:00.5Z"), "Y4RJU1RNFGK48LGO9I2S", nine + 500),
        (answers::MINIO.replace("09:00:00Z", "11:00:00+02:00"), "Y4RJU1RNFGK48LGO9I2S", nine),
    ] {
        let sts = Sts::start([Reply::ok(answer)]).await;
        let credentials = web_identity(backend(&sts)).role_credentials(&request(|_| {})).await.unwrap();
        assert_eq!(credentials.access_key_id, access_key_id);
        assert_eq!(credentials.expires_at, Timestamp::from_millis(expires_at));
        assert!(!credentials.secret_access_key.reveal().is_empty());
        assert!(!credentials.session_token.reveal().is_empty());
    }
}

#[tokio::test]
async fn answers_that_lack_something_are_no_credentials() {
    let whole = answers::AWS_WEB_IDENTITY;
    let without = |from: &str, to: &str| {
        let (before, rest) = whole.split_once(from).unwrap();
        let (_, after) = rest.split_once(to).unwrap();
        format!("{before}{after}")
    };
    for (answer, why) in [
        (without("<AccessKeyId>", "</AccessKeyId>"), "the answer has no AccessKeyId"),
        (without("<SecretAccessKey>", "</SecretAccessKey>"), "the answer has no SecretAccessKey"),
        (without("<SessionToken>", "</SessionToken>"), "the answer has no SessionToken"),
        (
            whole.replace("AQoDYXdzEE0a8ANXXXXXXXXNO1ewxE5TijQyp+IEXAMPLE==", ""),
            "the answer has no SessionToken",
        ),
        (without("<Credentials>", "</Credentials>"), "the answer has no Credentials"),
        (without("<Expiration>", "</Expiration>"), "Expiration is missing or past: 1970-01-01T00:00:00Z"),
        (whole.replace("T09:00", "T08:00"), "Expiration is missing or past: 2027-01-15T08:00:00Z"),
        (whole.replace("2027-01-15T09:00:00Z", "soon"), "not what an STS answers"),
        ("<AssumeRoleWithWebIdentityResponse>".into(), "not what an STS answers"),
        ("<html>It works!</html>".into(), "not what an STS answers"),
        (String::new(), "not what an STS answers"),
    ] {
        let sts = Sts::start([Reply::ok(&answer)]).await;
        let error = web_identity(backend(&sts)).role_credentials(&request(|_| {})).await.unwrap_err();
        assert_eq!((error.step, error.denied), (BrokerStep::Answer, false), "{error}");
        assert!(error.detail.contains(why), "{why}: {error}");
    }
}

#[tokio::test]
async fn a_token_that_no_sts_takes_is_not_sent() {
    let sts = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let wanted = request(|request| {
        let tags = (0..50).map(|nth| (format!("{nth:0128}"), "x".repeat(256)));
        request.set.session_tags = tags.collect();
    });
    let error = web_identity(backend(&sts)).role_credentials(&wanted).await.unwrap_err();
    assert_eq!((error.step, error.denied), (BrokerStep::Token, false));
    assert!(error.detail.contains("permission set Read has too many session_tags"), "{error}");
    assert!(sts.asked().is_empty());
}

#[tokio::test]
async fn a_template_that_the_directory_did_not_check_is_an_error_of_configuration() {
    let sts = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let broker = web_identity(backend(&sts));
    for (wanted, why) in [
        (
            request(|r| r.set.role_arn = Some("arn:aws:iam::{who}:role/x".into())),
            "role_arn of permission set Read: {who}",
        ),
        (
            request(|r| r.set.session_tags = [("a".into(), "{x}".into())].into()),
            "session_tags of permission set Read: {x}",
        ),
    ] {
        let error = broker.role_credentials(&wanted).await.unwrap_err();
        assert_eq!((error.step, error.denied), (BrokerStep::Configuration, false));
        assert!(error.detail.starts_with(why), "{error}");
    }
    assert!(sts.asked().is_empty());
}
