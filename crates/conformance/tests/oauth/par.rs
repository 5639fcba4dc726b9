//! Pushed authorization requests (RFC 9126).

use doorward_testkit::{
    API, APPLICATION_REDIRECT_URI, Answer, Application, Choice, Kit, OTHER_WEB, Pkce, SPA, STATE, WEB,
};
use doorward_testkit_oidc::Key;
use serde_json::json;

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

// Holds: rfc9126-2-post-form, rfc9126-2.2-created, rfc9126-4-only-what-was-pushed
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

// Holds: rfc9126-2.2-bound-to-client, rfc9126-2.2-random, rfc9126-4-same-client, rfc9126-7.1-guessing
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

// Holds: rfc9126-4-expired
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

// Holds: rfc9126-4-once, rfc9126-7.3-replay
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

// Holds: rfc9126-2-authentication, rfc9126-2.1-no-request-uri, rfc9126-2.1-validate, rfc9126-2.3-errors
// Holds: rfc9126-7.2-open-redirect, rfc9126-7.5-swapping
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

// Holds: rfc9126-6-required-of-client
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

// Holds: rfc9126-7.4-policy-change
#[tokio::test]
async fn what_was_taken_away_since_is_not_given() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let uri = pushed(&kit, &[]).await;
    edit_web(&kit, |web| web.redirect_uris = vec!["https://app.example/other".into()]).await;
    let answer = browser.get(&with_uri("web", &uri, "")).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""));
}

/// A proof that comes with a pushed request names the key that the code is for (RFC 9449 section 10.1).
// Holds: rfc9449-10.1-par, rfc9449-10-dpop-jkt, rfc9449-8-use-nonce, rfc9449-5-token-type
#[tokio::test]
async fn a_proof_with_a_pushed_request_binds_its_code() {
    let kit = kit().await;
    kit.make_signing_key().await;
    let mut browser = agreed(&kit).await;
    let key = Key::p256();
    let proof = |path: &str, jti: &str, nonce: Option<&str>| {
        let header = json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.jwk("")});
        let mut claims = json!({
            "jti": jti, "htm": "POST", "htu": format!("{}{path}", kit.base()), "iat": kit.now().seconds(),
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        key.sign(&header, &claims)
    };
    let send = async |path: &str, fields: &[(&str, &str)], proof: String| {
        let mut request = WEB.request(path, fields);
        request.headers_mut().insert("dpop", proof.parse().unwrap());
        kit.send(request).await
    };
    let parameters = WEB.parameters(&[("client_id", "")]);
    let asked = send("/par", &parameters, proof("/par", "1", None)).await;
    assert_refused(&asked, 400, "use_dpop_nonce");
    let nonce = asked.header("dpop-nonce").to_owned();
    let answer = send("/par", &parameters, proof("/par", "2", Some(&nonce))).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    // Another key than the request names.
    let other = "A".repeat(43);
    let named = WEB.parameters(&[("client_id", ""), ("dpop_jkt", &other)]);
    assert_refused(&send("/par", &named, proof("/par", "3", Some(&nonce))).await, 400, "invalid_dpop_proof");

    let answered = browser.get(&with_uri("web", &answer.member("request_uri"), "")).await;
    let code = code(&answered);
    assert_refused(&kit.redeem_application(WEB, &code, &[]).await, 400, "invalid_grant");
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", APPLICATION_REDIRECT_URI),
        ("code_verifier", Pkce::VERIFIER),
    ];
    let tokens = send("/token", &fields, proof("/token", "4", Some(&nonce))).await.ok();
    assert_eq!(tokens.member("token_type"), "DPoP");
}
