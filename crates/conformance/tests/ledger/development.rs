//! What is for development alone: lines 37 and 42.

use doorward_core::ids::PersonId;
use doorward_testkit::{Answer, Kit, Tokens, json_request};
use http::Method;
use serde_json::json;

#[track_caller]
fn assert_pending(answer: &Answer) {
    answer.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
}

async fn auto_approving(person: &str) -> Kit {
    Kit::with(|setup| {
        setup.development = true;
        setup.auto_approve = Some(PersonId::parse(person).expect("a name"));
        setup.poll_interval = 0;
    })
    .await
}

/// Starts a device request that names a person in every way that a caller could think of.
async fn start_as_ada(kit: &Kit, client: &doorward_testkit::Client) -> String {
    let body = json!({
        "clientId": client.id, "clientSecret": client.secret, "startUrl": kit.start_url(),
        "principal_id": "ada", "principalId": "ada", "user": "ada", "userName": "ada", "approve": true,
        "autoApprove": "ada",
    });
    let target = "/device_authorization?principal_id=ada&user=ada&auto_approve=ada";
    let mut request = json_request(target, body.to_string());
    for name in ["x-principal-id", "x-user", "x-remote-user", "x-forwarded-user", "remote-user"] {
        request.headers_mut().insert(name, http::HeaderValue::from_static("ada"));
    }
    kit.send(request).await.ok().member("deviceCode")
}

#[tokio::test]
async fn ledger_37_no_caller_chooses_who_approves() {
    for development in [false, true] {
        let kit = Kit::with(|setup| {
            setup.development = development;
            setup.poll_interval = 0;
        })
        .await;
        let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
        let code = start_as_ada(&kit, &client).await;
        assert_pending(&kit.poll(&client, &code).await);
        let target =
            format!("{}&principal_id=ada&user=ada&auto_approve=ada", kit.authorize_target(&browser_client));
        let answer = kit.browser().get(&target).await;
        assert!(answer.location().starts_with("/sign-in"), "{} {}", answer.status, answer.location());
    }
    // With an approver it is that one, whoever is named.
    let kit = auto_approving("linus").await;
    let client = kit.device_client().await;
    let code = start_as_ada(&kit, &client).await;
    let tokens = Tokens::of(kit.poll(&client, &code).await);
    let accounts = kit.list_accounts(&tokens.access).await.ok();
    assert!(!accounts.text().contains("111122223333"), "{}", accounts.text());
}

#[tokio::test]
async fn ledger_37_an_approver_without_a_development_server_approves_nothing() {
    let kit = Kit::with(|setup| setup.auto_approve = Some(PersonId::parse("ada").unwrap())).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    assert_pending(&kit.poll(&client, &device.code).await);
    for (method, target) in
        [(Method::GET, "/dev/clock"), (Method::POST, "/dev/clock"), (Method::POST, "/dev/faults")]
    {
        assert_eq!(kit.browser().send(method, target, &[], axum::body::Body::empty()).await.status, 404);
    }
    assert_eq!(kit.send(json_request("/dev/clock", r#"{"advance_seconds":1}"#)).await.status, 404);
    let page = kit.browser().get("/sign-in").await.ok();
    assert!(!page.text().contains("analytical-engine") && !page.text().contains("People to try"));
}

/// A page elsewhere must not reach a development server through a name that resolves to this machine.
#[tokio::test]
async fn ledger_37_a_development_server_answers_to_its_own_host_alone() {
    let kit = auto_approving("ada").await;
    for host in ["evil.example", "127.0.0.1.evil.example", "evil.example:8377", "localhost.evil.example", ""]
    {
        let mut request = json_request("/client/register", r#"{"clientName":"x","clientType":"public"}"#);
        request.headers_mut().insert("host", host.parse().unwrap());
        let answer = kit.send(request).await;
        assert!(answer.status.is_client_error(), "{host}: {}", answer.status);
    }
    for host in ["127.0.0.1:8377", "localhost:8377", "localhost"] {
        let mut request = json_request("/client/register", r#"{"clientName":"x","clientType":"public"}"#);
        request.headers_mut().insert("host", host.parse().unwrap());
        kit.send(request).await.ok();
    }
}

#[tokio::test]
async fn ledger_42_a_development_server_has_no_other_way_through_a_grant() {
    let kit = auto_approving("ada").await;
    let (client, other) = (kit.device_client().await, kit.device_client().await);
    let invalid_grant =
        |answer: &Answer| answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");

    // Approved at once; but still its client's, for once, and until it expires.
    let device = kit.start_device(&client).await;
    invalid_grant(&kit.poll(&other, &device.code).await);
    Tokens::of(kit.poll(&client, &device.code).await);
    invalid_grant(&kit.poll(&client, &device.code).await);
    let device = kit.start_device(&client).await;
    kit.advance(600);
    kit.poll(&client, &device.code).await.assert_oidc_error(400, "ExpiredTokenException", "expired_token");

    // A code at once; but only to a registered address, and worth nothing without its verifier.
    let browser_client = kit.pkce_client().await;
    let target = kit.authorize_target(&browser_client);
    let elsewhere = kit.browser().get(&target.replace("127.0.0.1", "evil.example")).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.location()), (400, ""));
    let code = kit.browser().get(&target).await.location_parameter("code").unwrap();
    let members = json!({
        "grantType": "authorization_code", "code": code, "redirectUri": doorward_testkit::REDIRECT_URI,
        "codeVerifier": "x".repeat(43),
    });
    invalid_grant(&kit.create_token(&browser_client, members).await);
    let tokens = Tokens::of(kit.redeem(&browser_client, &code).await);
    kit.list_accounts(&tokens.access).await.ok();

    // And not for somebody who may not be given tokens.
    kit.set_disabled("ada", true).await;
    let device = kit.start_device(&client).await;
    assert_pending(&kit.poll(&client, &device.code).await);
    let sent = kit.browser().get(&target).await;
    assert_eq!(sent.location_parameter("error").as_deref(), Some("access_denied"));
    invalid_grant(&kit.refresh(&browser_client, tokens.refresh()).await);
}
