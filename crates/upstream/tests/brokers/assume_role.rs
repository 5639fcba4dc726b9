//! AssumeRole: what is sent, with which credentials, and through which roles.

use std::time::{Duration, Instant};

use doorward_core::credentials::{BrokerStep, CredentialBroker as _};
use doorward_core::ids::PersonId;
use doorward_core::time::Timestamp;
use doorward_upstream::credentials::assume_role::{AssumeRole, AssumeRoleOptions};

use crate::answers;
use crate::backend::{Reply, Sts};
use crate::fixtures::{
    assume_role, assume_role_options, backend, decided, impatient, in_environment, is_inside, request,
};

#[tokio::test]
async fn the_request_is_signed_and_has_what_the_permission_set_says() {
    let sts = Sts::start([Reply::ok(answers::AWS_ASSUME_ROLE)]).await;
    let options = AssumeRoleOptions {
        external_id: Some("7f3a".into()),
        role_arn: "arn:aws:iam::{account}:role/doorward/{role}".into(),
        ..assume_role_options(backend(&sts))
    };
    let wanted = request(|request| {
        request.person = PersonId::parse("ada@example.org").unwrap();
        request.set.session_policy = Some("{}".into());
        request.set.session_policy_arns = vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()];
        request.set.session_tags = [("who".into(), "{person}".into()), ("team".into(), "ops".into())].into();
    });
    let broker = AssumeRole::new(options).await.unwrap();
    let credentials = broker.role_credentials(&wanted).await.unwrap();
    assert_eq!(credentials.access_key_id, "ASIAIOSFODNN7EXAMPLE");
    assert_eq!(credentials.expires_at, Timestamp::from_seconds(1_800_003_600));
    let asked = sts.asked_once();
    let signed = asked.headers["authorization"].to_str().unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/"), "{signed}");
    assert!(signed.contains("/us-east-1/sts/aws4_request"), "{signed}");
    let expected = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", "arn:aws:iam::111122223333:role/doorward/Read"),
        ("RoleSessionName", "ada@example.org"),
        ("DurationSeconds", "3600"),
        ("ExternalId", "7f3a"),
        ("Policy", "{}"),
        ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "ops"),
        ("Tags.member.2.Key", "who"),
        ("Tags.member.2.Value", "ada@example.org"),
    ];
    let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(asked.form(), expected.collect());
}

#[tokio::test]
async fn what_a_permission_set_does_not_have_is_not_sent() {
    let sts = Sts::start([Reply::ok(answers::AWS_ASSUME_ROLE)]).await;
    assume_role(backend(&sts)).await.role_credentials(&request(|_| {})).await.unwrap();
    let form = sts.asked_once().form();
    let names: Vec<&String> = form.keys().collect();
    assert_eq!(names, ["Action", "DurationSeconds", "RoleArn", "RoleSessionName", "Version"]);
}

/// An answer with other keys, which expires long after the tests.
fn hop(access_key_id: &str) -> Reply {
    let answer = answers::AWS_ASSUME_ROLE.replace("ASIAIOSFODNN7EXAMPLE", access_key_id);
    Reply::ok(answer.replace("2027-01-15", "2127-01-15"))
}

#[tokio::test]
async fn roles_on_the_way_are_assumed_in_order_and_once() {
    let sts = Sts::start([hop("FIRST"), hop("SECOND"), Reply::ok(answers::AWS_ASSUME_ROLE)]).await;
    let through =
        vec!["arn:aws:iam::999999999999:role/hub".into(), "arn:aws:iam::888888888888:role/hub".into()];
    let options =
        AssumeRoleOptions { through, external_id: Some("7f3a".into()), ..assume_role_options(backend(&sts)) };
    let broker = AssumeRole::new(options).await.unwrap();
    assert!(sts.asked().is_empty(), "nothing is asked before credentials are wanted");
    broker.role_credentials(&request(|_| {})).await.unwrap();
    broker.role_credentials(&request(|_| {})).await.unwrap();
    let calls: Vec<(String, String, String, bool)> = sts
        .asked()
        .iter()
        .map(|asked| {
            let signed = asked.headers["authorization"].to_str().unwrap();
            let key = signed.split_once("Credential=").unwrap().1.split('/').next().unwrap();
            let form = asked.form();
            let text = |name: &str| form[name].clone();
            (key.to_owned(), text("RoleArn"), text("RoleSessionName"), form.contains_key("ExternalId"))
        })
        .collect();
    let call = |key: &str, arn: &str, name: &str, external| (key.into(), arn.into(), name.into(), external);
    let last = call("SECOND", "arn:aws:iam::111122223333:role/Read", "ada", true);
    assert_eq!(
        calls,
        [
            call("AKIAIOSFODNN7EXAMPLE", "arn:aws:iam::999999999999:role/hub", "doorward", false),
            call("FIRST", "arn:aws:iam::888888888888:role/hub", "doorward", false),
            last.clone(),
            last,
        ]
    );
}

#[tokio::test]
async fn a_role_on_the_way_that_is_refused_is_no_denial_of_the_person() {
    for (reply, step) in [
        (
            Reply::Text(403, answers::error("AccessDenied", "User: x is not authorized")),
            BrokerStep::OwnCredentials,
        ),
        (Reply::Text(503, "busy".into()), BrokerStep::Answer),
        (Reply::Close, BrokerStep::Network),
        (Reply::ok("<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>"), BrokerStep::Answer),
    ] {
        let sts = Sts::start([reply]).await;
        let hub = "arn:aws:iam::999999999999:role/hub";
        let options = AssumeRoleOptions { through: vec![hub.into()], ..assume_role_options(backend(&sts)) };
        let broker = AssumeRole::new(options).await.unwrap();
        let error = broker.role_credentials(&request(|_| {})).await.unwrap_err();
        assert_eq!(decided(&error), (step, false), "{error}");
        assert!(error.detail.contains(&format!("role {hub} of `through`: ")), "{error}");
    }
}

fn by_default_chain(sts: &Sts) -> AssumeRoleOptions {
    AssumeRoleOptions { access_key: None, ..assume_role_options(impatient(sts)) }
}

#[test]
fn without_an_access_key_the_default_chain_is_asked() {
    let variables = [("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    in_environment("assume_role::without_an_access_key_the_default_chain_is_asked", &variables, async {
        let sts = Sts::start([Reply::ok(answers::AWS_ASSUME_ROLE)]).await;
        let broker = AssumeRole::new(by_default_chain(&sts)).await.unwrap();
        broker.role_credentials(&request(|_| {})).await.unwrap();
        let asked = sts.asked_once();
        let signed = asked.headers["authorization"].to_str().unwrap();
        assert!(signed.contains("Credential=AKIAENVIRONMENT/"), "{signed}");
    });
}

async fn own_credentials_are_missing(detail: &str) {
    let sts = Sts::start([Reply::ok(answers::AWS_ASSUME_ROLE)]).await;
    let broker = AssumeRole::new(by_default_chain(&sts)).await.unwrap();
    let began = Instant::now();
    let error = broker.role_credentials(&request(|_| {})).await.unwrap_err();
    assert_eq!(decided(&error), (BrokerStep::OwnCredentials, false), "{error}");
    assert!(error.detail.contains(detail), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(sts.asked().is_empty());
}

#[test]
fn a_default_chain_that_finds_nothing_says_so() {
    let variables = [("AWS_EC2_METADATA_DISABLED", "true")];
    let missing = own_credentials_are_missing("no credentials found in chain");
    in_environment("assume_role::a_default_chain_that_finds_nothing_says_so", &variables, missing);
}

#[test]
fn a_metadata_service_that_hangs_takes_no_longer_than_a_timeout() {
    // It takes connections and says nothing.
    let metadata = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", metadata.local_addr().unwrap());
    let missing = own_credentials_are_missing("timed out");
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())];
    in_environment(
        "assume_role::a_metadata_service_that_hangs_takes_no_longer_than_a_timeout",
        &variables,
        missing,
    );
    if !is_inside() {
        metadata.set_nonblocking(true).unwrap();
        assert!(metadata.accept().is_ok(), "the chain went to its end");
    }
}
