//! What a broker's outcome becomes for those who asked: T78. What brokers themselves do, T76, T77 and T80, is with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use doorward_core::credentials::{BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest};
use doorward_core::ids::BrokerName;
use doorward_testkit::{Kit, capture_logs};
use doorward_upstream::credentials::brokers::Brokers;
use http::Method;

const STEPS: [BrokerStep; 12] = [
    BrokerStep::Configuration,
    BrokerStep::OwnCredentials,
    BrokerStep::Token,
    BrokerStep::Network,
    BrokerStep::Circuit,
    BrokerStep::Issuer,
    BrokerStep::Audience,
    BrokerStep::Time,
    BrokerStep::Role,
    BrokerStep::Trust,
    BrokerStep::Session,
    BrokerStep::Answer,
];
/// What only an operator may read.
const DETAIL: &str = "arn:aws:iam::999988887777:role/secret-structure refused by sts.internal.example";
const TARGET: &str = "/federation/credentials?role_name=AdministratorAccess&account_id=111122223333";
const PAGE: &str = "/start/credentials?role_name=AdministratorAccess&account_id=111122223333";

/// A backend that always says the same.
struct Refusing(BrokerError);

#[async_trait]
impl CredentialBroker for Refusing {
    fn kind(&self) -> &'static str {
        "refusing"
    }

    async fn role_credentials(&self, _: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        Err(self.0.clone())
    }
}

async fn kit(denied: bool, step: BrokerStep) -> Kit {
    let refusing: Arc<dyn CredentialBroker> =
        Arc::new(Refusing(BrokerError { denied, step, detail: DETAIL.into() }));
    let name = BrokerName::parse("elsewhere").expect("a broker's name");
    Kit::with(|setup| setup.brokers = Some(Brokers::new(BTreeMap::from([(name, refusing)])))).await
}

#[tokio::test]
async fn t78_a_denial_is_403_and_everything_else_is_ours_and_neither_tells_why() {
    for step in STEPS {
        for denied in [true, false] {
            let (logs, _guard) = capture_logs();
            let kit = kit(denied, step).await;
            let client = kit.device_client().await;
            let token = kit.device_tokens(&client, "ada").await.access;
            let answer = kit.portal(Method::GET, TARGET, &token).await;
            let message = if denied {
                answer.assert_portal_error(403, "ForbiddenException")
            } else {
                answer.assert_portal_error(500, "InternalServerException")
            };
            assert_eq!(message, if denied { "No access" } else { "Internal server error" });
            assert!(!answer.text().contains("secret-structure") && !answer.text().contains(step.as_str()));

            let mut browser = kit.browser().signed_in("ada").await;
            let page = browser.get(PAGE).await;
            assert_eq!(page.status, if denied { 403 } else { 500 }, "{step}");
            assert!(
                !page.text().contains("secret-structure") && !page.text().contains("elsewhere"),
                "{step}"
            );

            let logged = logs.text();
            assert_eq!(logged.matches("secret-structure").count(), 2, "{step}: {logged}");
            assert!(logged.contains(step.as_str()) && logged.contains("elsewhere"), "{step}: {logged}");
        }
    }
}

#[tokio::test]
async fn the_page_names_the_step_that_decided() {
    for (denied, step, words) in [
        (true, BrokerStep::Trust, "trust policy does not let you in"),
        (false, BrokerStep::Network, "could not be reached"),
        (false, BrokerStep::Issuer, "does not accept this server’s signature"),
        (false, BrokerStep::Time, "clocks"),
        (false, BrokerStep::Circuit, "failed many times in a row"),
    ] {
        let kit = kit(denied, step).await;
        let mut browser = kit.browser().signed_in("ada").await;
        let page = browser.get(PAGE).await;
        let page = page.text();
        assert!(page.contains(words), "{step}: {page}");
        assert_eq!(page.contains("Reference"), !denied, "{step}: {page}");
    }
}

#[tokio::test]
async fn the_page_is_limited_as_the_portal_api_is() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let mut browser = kit.browser().signed_in("ada").await;
    for _ in 0..1000 {
        assert_eq!(browser.get(PAGE).await.status, 200);
    }
    let page = browser.get(PAGE).await;
    assert_eq!(page.status, 429);
    assert!(page.text().contains("Wait a minute"), "{}", page.text());
    assert_eq!(kit.browser().signed_in("ada").await.get(PAGE).await.status, 200, "each session by itself");
}

#[tokio::test]
async fn a_role_that_is_not_assigned_is_refused_before_any_broker_is_asked() {
    let kit = kit(false, BrokerStep::Network).await;
    let client = kit.device_client().await;
    let token = kit.device_tokens(&client, "linus").await.access;
    for target in [TARGET, "/federation/credentials?role_name=Nobody&account_id=999999999999"] {
        let answer = kit.portal(Method::GET, target, &token).await;
        assert_eq!(answer.assert_portal_error(403, "ForbiddenException"), "No access");
    }
}
