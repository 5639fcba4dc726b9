//! Backends that are slow, broken or not there: how often they are asked, and how long it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use doorward_core::credentials::{BrokerStep, CredentialBroker as _};
use doorward_core::ids::BrokerName;
use doorward_upstream::credentials::sts::Backend;
use tokio::task::JoinSet;

use crate::answers;
use crate::backend::{Reply, Sts};
use crate::fixtures::{Way, backend, decided, error_of, impatient, in_environment, request, web_identity};

#[tokio::test]
async fn a_moments_fault_is_tried_again_with_the_same_request() {
    for fault in [
        Reply::Text(500, answers::error("InternalFailure", "")),
        Reply::Text(503, "<html>busy</html>".into()),
        Reply::Text(400, answers::error("Throttling", "Rate exceeded")),
        Reply::Text(400, answers::error("IDPCommunicationError", "")),
        Reply::Close,
        Reply::Hang,
    ] {
        let sts = Sts::start([fault.clone(), Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
        let answer = web_identity(impatient(&sts)).role_credentials(&request(|_| {})).await;
        assert!(answer.is_ok(), "{fault:?}: {answer:?}");
        let asked = sts.asked();
        assert_eq!(asked.len(), 2, "{fault:?}");
        assert_eq!(asked[0].body, asked[1].body);
    }
}

#[tokio::test]
async fn a_lasting_fault_is_tried_three_times() {
    for (fault, step) in [
        (Reply::Text(500, answers::error("InternalFailure", "")), BrokerStep::Answer),
        (Reply::Text(502, "<html>bad gateway</html>".into()), BrokerStep::Answer),
        (Reply::Close, BrokerStep::Network),
    ] {
        for way in [Way::WebIdentity, Way::AssumeRole] {
            let sts = Sts::start([fault.clone()]).await;
            let error = error_of(way, &sts).await;
            assert_eq!(decided(&error), (step, false), "{way:?} {fault:?}: {error}");
            assert_eq!(sts.asked().len(), 3, "{way:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn refusals_are_not_tried_again() {
    for (status, code) in [
        (403, "AccessDenied"),
        (400, "InvalidIdentityToken"),
        (400, "ExpiredTokenException"),
        (400, "ValidationError"),
        (403, "InvalidClientTokenId"),
        (404, "NoSuchEntity"),
    ] {
        for way in [Way::WebIdentity, Way::AssumeRole] {
            let sts = Sts::start([Reply::Text(status, answers::error(code, "no"))]).await;
            error_of(way, &sts).await;
            assert_eq!(sts.asked().len(), 1, "{way:?} {code}");
        }
    }
}

#[tokio::test]
async fn one_backends_failures_do_not_use_up_anothers_retries() {
    let named = |name: &str, sts: &Sts| Backend { name: BrokerName::parse(name).unwrap(), ..backend(sts) };
    let dead = Sts::start([Reply::Close]).await;
    let broker = Arc::new(web_identity(named("dead", &dead)));
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        let broker = broker.clone();
        asking.spawn(async move { broker.role_credentials(&request(|_| {})).await.unwrap_err() });
    }
    asking.join_all().await;
    let before = dead.asked().len();
    broker.role_credentials(&request(|_| {})).await.unwrap_err();
    assert_eq!(dead.asked().len() - before, 1, "its budget is used up, and it is asked once");
    let weak = Sts::start([Reply::Close, Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    web_identity(named("weak", &weak)).role_credentials(&request(|_| {})).await.unwrap();
    assert_eq!(weak.asked().len(), 2);
}

#[tokio::test]
async fn a_backend_that_says_nothing_is_given_up() {
    let sts = Sts::start([Reply::Hang]).await;
    let began = Instant::now();
    let error = web_identity(impatient(&sts)).role_credentials(&request(|_| {})).await.unwrap_err();
    assert_eq!(decided(&error), (BrokerStep::Network, false), "{error}");
    assert_eq!(error.detail, "it did not answer in time");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up_at_once() {
    let sts = Sts::start([Reply::Endless]).await;
    let began = Instant::now();
    let error = error_of(Way::WebIdentity, &sts).await;
    assert_eq!(decided(&error), (BrokerStep::Answer, false), "{error}");
    assert!(error.detail.contains("length limit exceeded"), "{error}");
    // Before any timeout.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_named_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (endpoint, why) in [
        (format!("http://127.0.0.1:{port}"), "Connection refused"),
        ("http://nowhere.invalid".to_owned(), "dns error"),
    ] {
        let name = BrokerName::parse("away").unwrap();
        let away =
            Backend { endpoint: Some(endpoint), timeout: Duration::from_secs(1), ..Backend::new(name) };
        let error = web_identity(away).role_credentials(&request(|_| {})).await.unwrap_err();
        assert_eq!(decided(&error), (BrokerStep::Network, false), "{error}");
        assert!(error.detail.contains(why), "{error}");
    }
}

#[tokio::test]
async fn the_certificate_must_descend_from_the_ca_file() {
    let (sts, ca) = Sts::start_tls([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    let trusting = Backend { ca: Some(ca.into()), ..backend(&sts) };
    web_identity(trusting).role_credentials(&request(|_| {})).await.unwrap();
    let (_other, ca) = Sts::start_tls([Reply::Hang]).await;
    for ca in [Some(ca.into()), None] {
        let error = web_identity(Backend { ca, ..backend(&sts) }).role_credentials(&request(|_| {})).await;
        let error = error.unwrap_err();
        assert_eq!(decided(&error), (BrokerStep::Network, false), "{error}");
        assert!(error.detail.contains("ca_file"), "{error}");
    }
    assert_eq!(sts.asked().len(), 1);
}

#[test]
fn with_a_ca_file_the_systems_roots_do_not_count() {
    let serving = tokio::runtime::Runtime::new().unwrap();
    let (sts, root) = serving.block_on(Sts::start_tls([Reply::ok(answers::AWS_WEB_IDENTITY)]));
    let (_, other) = serving.block_on(Sts::start_tls([Reply::Hang]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, root).unwrap();
    let variables = [("SSL_CERT_FILE", file.path().to_str().unwrap()), ("STS", &sts.url)];
    in_environment("failures::with_a_ca_file_the_systems_roots_do_not_count", &variables, async {
        let known = Backend {
            endpoint: Some(std::env::var("STS").unwrap()),
            ..Backend::new(BrokerName::parse("known").unwrap())
        };
        web_identity(known.clone()).role_credentials(&request(|_| {})).await.unwrap();
        let broker = web_identity(Backend { ca: Some(other.into()), ..known });
        let error = broker.role_credentials(&request(|_| {})).await.unwrap_err();
        assert_eq!(decided(&error), (BrokerStep::Network, false), "{error}");
    });
}
