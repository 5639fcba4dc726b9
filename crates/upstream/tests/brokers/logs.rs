//! Nothing secret is logged, at any level, by the brokers or by the SDK below them.

use std::io::Write;
use std::sync::{Arc, Mutex};

use doorward_core::credentials::CredentialBroker as _;
use doorward_upstream::credentials::assume_role::{AssumeRole, AssumeRoleOptions};
use tracing::level_filters::LevelFilter;

use crate::answers;
use crate::backend::{Reply, Sts};
use crate::fixtures::{assume_role_options, backend, request, web_identity};

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_token_and_no_key_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let logging = tracing::subscriber::set_default(subscriber);
    let web = Sts::start([Reply::ok(answers::AWS_WEB_IDENTITY)]).await;
    web_identity(backend(&web)).role_credentials(&request(|_| {})).await.unwrap();
    let signed = Sts::start([
        Reply::ok(answers::AWS_ASSUME_ROLE.replace("2027", "2127")),
        Reply::ok(answers::AWS_ASSUME_ROLE),
        Reply::Text(403, answers::error("AccessDenied", "no")),
    ])
    .await;
    let through = vec!["arn:aws:iam::999999999999:role/hub".into()];
    let options = AssumeRoleOptions { through, ..assume_role_options(backend(&signed)) };
    let broker = AssumeRole::new(options).await.unwrap();
    broker.role_credentials(&request(|_| {})).await.unwrap();
    broker.role_credentials(&request(|_| {})).await.unwrap_err();
    drop(logging);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("TRACE") && log.contains("AssumeRoleWithWebIdentity"), "{log}");
    let token = &web.asked_once().form()["WebIdentityToken"];
    assert!(signed.asked()[1].headers.contains_key("x-amz-security-token"));
    for secret in [token, "wJalrXUtnFEMI", "AQoDYXdzEE0a8ANXXX", "AQoDYXdzEPT"] {
        let told: Vec<&str> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(told.is_empty(), "{secret}: {told:?}");
    }
}
