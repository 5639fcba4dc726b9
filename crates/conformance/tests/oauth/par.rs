//! Pushed authorization requests (RFC 9126).

use doorward_testkit::{API, Answer, Application, Choice, Kit, OTHER_WEB, SPA, STATE, WEB};

use crate::authorize::{agreed, assert_error, code, edit_web, kit};

async fn push(kit: &Kit, application: Application, more: &[(&str, &str)]) -> Answer {
    let fields = application.parameters(&[&[("client_id", "")], more].concat());
    kit.post_form(application, "/par", &fields).await
}

async fn pushed(kit: &Kit, more: &[(&str, &str)]) -> String {
    let answer = push(kit, WEB, more).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["expires_in"], 60);
    assert_eq!(
        (answer.header("cache-control"), answer.header("content-type")),
        ("no-store", "application/json")
    );
    let uri = answer.member("request_uri");
    assert!(uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{uri}");
    uri
}

/// The address with a request that was pushed, and what else somebody may put there.
fn with_uri(client_id: &str, uri: &str, more: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("client_id", client_id), ("request_uri", uri)])
        .finish();
    format!("/authorize?{query}{more}")
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status.as_u16(), answer.member("error")), (status, error.into()), "{}", answer.text());
    assert!(!answer.member("error_description").is_empty());
}

#[tokio::test]
async fn what_was_pushed_is_what_is_asked_and_nothing_else_counts() {
    let kit = kit().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let uri = pushed(&kit, &[("scope", "openid"), ("resource", API)]).await;
    let more =
        "&scope=offline_access&state=other&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&prompt=none";
    let page = browser.get(&with_uri("web", &uri, more)).await.ok();
    assert!(page.text().contains("know who you are") && !page.text().contains("stay signed in"));
    let sent = browser.decide(&page, Choice::Approve).await;
    code(&sent);
    assert_eq!(sent.location_parameter("state").as_deref(), Some(STATE));
    // It waits for the sign-in, too.
    let uri = pushed(&kit, &[("scope", "openid"), ("resource", API)]).await;
    let mut browser = kit.browser();
    let away = browser.get(&with_uri("web", &uri, "")).await;
    kit.advance(100);
    code(&browser.sign_in_at(&away, "ada").await);
}

#[tokio::test]
async fn ledger_10_a_request_of_another_client_is_nobodys() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let uri = pushed(&kit, &[]).await;
    for (client, uri) in [
        ("other-web", uri.as_str()),
        ("spa", &uri),
        ("web", &uri[..uri.len() - 1]),
        ("web", "urn:ietf:params:oauth:request_uri:x"),
        ("web", "urn:ietf:params:oauth:request_uri:"),
    ] {
        let answer = browser.get(&with_uri(client, uri, "")).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{client} {uri}");
    }
    code(&browser.get(&with_uri("web", &uri, "")).await);
}

#[tokio::test]
async fn a_pushed_request_expires_after_a_minute() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let uri = pushed(&kit, &[]).await;
    kit.advance(59);
    code(&browser.get(&with_uri("web", &uri, "")).await);
    kit.advance(1);
    assert_error(&browser.get(&with_uri("web", &uri, "")).await, "invalid_request_uri");
}

#[tokio::test]
async fn ledger_23_a_request_that_is_used_twice_makes_one_session() {
    let kit = kit().await;
    kit.make_signing_key().await;
    let mut browser = agreed(&kit).await;
    let uri = pushed(&kit, &[]).await;
    let first = code(&browser.get(&with_uri("web", &uri, "")).await);
    let second = code(&browser.get(&with_uri("web", &uri, "")).await);
    kit.redeem_application(WEB, &first, &[]).await.ok();
    assert_refused(&kit.redeem_application(WEB, &second, &[]).await, 400, "invalid_grant");
}

#[tokio::test]
async fn what_is_wrong_is_said_when_it_is_pushed() {
    let kit = kit().await;
    let long = "s".repeat(2049);
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("redirect_uri", "https://evil.example/", "invalid_request"),
        ("redirect_uri", "", "invalid_request"),
        ("scope", "openid api.write", "invalid_scope"),
        ("resource", "https://elsewhere.example", "invalid_target"),
        ("code_challenge", "", "invalid_request"),
        ("prompt", "none login", "invalid_request"),
        ("state", &long, "invalid_request"),
        ("request", "e30.e30.", "request_not_supported"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request"),
        ("client_id", "spa", "invalid_request"),
    ] {
        let fields = WEB.parameters(&[("client_id", ""), (name, value)]);
        let fields = if name == "client_id" { WEB.parameters(&[(name, value)]) } else { fields };
        assert_refused(&kit.post_form(WEB, "/par", &fields).await, 400, error);
    }
    let wrong = Application { secret: Some("other-web-secret"), ..WEB };
    assert_refused(&push(&kit, wrong, &[]).await, 401, "invalid_client");
    assert_eq!(push(&kit, SPA, &[]).await.status, 201);
    assert_eq!(push(&kit, OTHER_WEB, &[]).await.status, 201);
}

#[tokio::test]
async fn an_application_that_must_push_its_requests_gets_nothing_without() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    edit_web(&kit, |web| web.require_pushed_authorization_requests = true).await;
    assert_error(&browser.get(&WEB.authorize(&[])).await, "invalid_request");
    let posted = browser.post("/authorize", &WEB.parameters(&[])).await;
    assert_error(&posted, "invalid_request");
    let uri = pushed(&kit, &[]).await;
    code(&browser.get(&with_uri("web", &uri, "")).await);
}
