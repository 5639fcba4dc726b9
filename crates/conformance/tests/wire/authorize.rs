//! The authorization code grant in the browser: T31 to T39.

use doorward_testkit::{Answer, Choice, Form, Kit, Pkce, REDIRECT_URI, STATE, Tokens};
use serde_json::{Value, json};

#[track_caller]
fn assert_invalid_grant(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
}

/// A page of ours that sends nobody anywhere.
#[track_caller]
fn assert_stays(answer: &Answer, status: u16) {
    assert_eq!((answer.status.as_u16(), answer.location()), (status, ""), "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/html"));
}

#[track_caller]
fn assert_sent_back(answer: &Answer, error: &str) {
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert!(answer.location().starts_with(&format!("{REDIRECT_URI}?")), "{}", answer.location());
    assert_eq!(answer.location_parameter("error").as_deref(), Some(error));
    assert!(answer.location_parameter("error_description").is_some_and(|text| !text.is_empty()));
    assert_eq!(answer.location_parameter("state").as_deref(), Some(STATE));
    assert_eq!(answer.location_parameter("code"), None);
    assert_eq!(answer.location_parameter("iss").as_deref(), Some("http://127.0.0.1:8377"));
}

// Holds: openid-connect-core-3.1.2.3-authenticate, openid-connect-core-3.1.2.4-consent
// Holds: openid-connect-core-3.1.2.5-code-and-state, rfc8252-8.6-no-silent-grants, rfc8252-8.9-state
// Holds: rfc9700-2.1-no-credentials-forwarded, rfc9700-4.11.2-authenticate-first, rfc9700-4.12-303
// Holds: rfc9700-4.12-no-307, rfc9700-4.7.1-state-returned
#[tokio::test]
async fn t31_the_aws_clis_parameters_lead_to_a_code_and_the_same_state() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let target = kit.authorize_target(&client);

    // Nobody is signed in: the sign-in page leads back here.
    let mut browser = kit.browser();
    let away = browser.get(&target).await;
    assert_eq!(away.status, 303);
    assert!(away.location().starts_with("/sign-in?next="));
    let form = browser.sign_in_form(&target).await;
    let back = browser.submit(&form.with("user_name", "ada").with("password", "analytical-engine")).await;
    assert_eq!((back.status.as_u16(), back.location()), (303, &*target));

    let sent = browser.decide_authorize(&target, Choice::Approve).await;
    assert_eq!(sent.status, 302);
    let code = sent.location_parameter("code").unwrap();
    let issuer = "http%3A%2F%2F127.0.0.1%3A8377";
    assert_eq!(sent.location(), format!("{REDIRECT_URI}?code={code}&state={STATE}&iss={issuer}"));
}

#[tokio::test]
async fn t32_scopes_may_be_spelled_in_every_way() {
    let kit = Kit::new().await;
    let scopes = ["sso:account:access", "openid"];
    let client = kit.pkce_client_with(&scopes).await;
    let mut browser = kit.browser().signed_in("ada").await;
    let plain = kit.authorize_target_with(&client, &[]);
    for scopes in [
        "&scopes=sso%3Aaccount%3Aaccess%20openid",
        "&scopes=sso%3Aaccount%3Aaccess%2Copenid",
        "&scopes=sso%3Aaccount%3Aaccess+openid",
        "&scope=sso%3Aaccount%3Aaccess%20openid",
        "&scope=sso:account:access+openid",
        "&scope=openid&scope=sso:account:access",
        "",
    ] {
        let sent = browser.decide_authorize(&format!("{plain}{scopes}"), Choice::Approve).await;
        let code = sent.location_parameter("code").unwrap_or_else(|| panic!("{scopes}: {}", sent.location()));
        let tokens = Tokens::of(kit.redeem(&client, &code).await);
        // That both were granted shows in what the refresh may still ask for.
        let body = json!({
            "grantType": "refresh_token", "refreshToken": tokens.refresh(),
            "scope": ["openid", "sso:account:access"],
        });
        let tokens = Tokens::of(kit.create_token(&client, body).await);
        kit.list_accounts(&tokens.access).await.ok();
    }
}

// Holds: oidcc-ensure-registered-redirect-uri, openid-connect-core-3.1.2.1-redirect-uri
// Holds: rfc6749-3.1.2.4-no-redirect, rfc8252-7.3-any-port, rfc8252-8.3-loopback-http
// Holds: rfc8252-8.4-exact-registration, rfc9700-2.1-exact-redirect-uri, rfc9700-2.1-no-open-redirector
// Holds: rfc9700-4.11.2-trusted-redirects-only
#[tokio::test]
async fn t33_the_port_is_free_and_nothing_else_is() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let target = kit.authorize_target(&client);
    let with_uri = |uri: &str| target.replace("http%3A%2F%2F127.0.0.1%3A45343%2Foauth%2Fcallback", uri);
    let mut browser = kit.browser().signed_in("ada").await;
    for port in ["", "%3A1024", "%3A65535", "%3A80"] {
        let page =
            browser.get(&with_uri(&format!("http%3A%2F%2F127.0.0.1{port}%2Foauth%2Fcallback"))).await.ok();
        assert!(Form::find(page.text(), "/authorize/decision").is_some());
    }
    for uri in [
        "http://127.0.0.1:45343/other",
        "http://127.0.0.1:45343/oauth/callback/",
        "http://127.0.0.1:45343/oauth/callback%3Fx=1",
        "http://127.0.0.1:45343/oauth/callback%23x",
        "http://127.0.0.2:45343/oauth/callback",
        "http://localhost:45343/oauth/callback",
        "https://127.0.0.1:45343/oauth/callback",
        "http://evil.example/oauth/callback",
        "http://127.0.0.1:45343@evil.example/oauth/callback",
        "",
    ] {
        assert_stays(&browser.get(&with_uri(uri)).await, 400);
        // Also for somebody who is not signed in, and before anything else is looked at.
        let wrong = with_uri(uri).replace("response_type=code", "response_type=token");
        assert_stays(&kit.browser().get(&wrong).await, 400);
    }
    let twice = format!("{target}&redirect_uri=http%3A%2F%2F127.0.0.1%2Foauth%2Fcallback");
    assert_stays(&browser.get(&twice).await, 400);
}

// Holds: openid-connect-core-3.1.2.6-errors, rfc9700-2.1-no-open-redirector
#[tokio::test]
async fn t34_an_unknown_client_is_sent_nowhere() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let target = kit.authorize_target(&client);
    let mut browser = kit.browser().signed_in("ada").await;
    let cut = &client.id[..client.id.len() - 1];
    for wrong in ["x", "", cut, &client.secret] {
        assert_stays(&browser.get(&target.replace(&client.id, wrong)).await, 401);
    }
    assert_stays(&browser.get(&format!("{target}&client_id={}", client.id)).await, 401);
    assert_stays(&browser.get("/authorize").await, 401);
    kit.advance(7_776_000);
    assert_stays(&browser.get(&target).await, 401);
}

// Holds: oidcc-response-type-missing, openid-connect-core-3.1.2.2-validate
// Holds: openid-connect-core-3.1.2.6-errors, openid-connect-core-3.1.2.6-state, rfc6749-3.1.1-response-type
// Holds: rfc6749-4.1.2.1-errors, rfc7636-4.4.1-method-invalid-request, rfc7636-4.4.1-missing-invalid-request
// Holds: rfc7636-7.2-no-plain, rfc8252-8.1-refuse-without-pkce, rfc9700-2.1.1-client-s256
// Holds: rfc9700-2.1.1-public-clients-pkce
#[tokio::test]
async fn t35_what_is_wrong_beyond_client_and_redirect_uri_goes_back_to_the_client() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let target = kit.authorize_target(&client);
    let challenge = format!("&code_challenge={}", Pkce::CHALLENGE);
    for (from, to, error) in [
        ("response_type=code", "response_type=token", "unsupported_response_type"),
        ("response_type=code", "response_type=id_token+code", "unsupported_response_type"),
        ("response_type=code", "x=y", "invalid_request"),
        (challenge.as_str(), "", "invalid_request"),
        (challenge.as_str(), "&code_challenge=short", "invalid_request"),
        ("code_challenge_method=S256", "code_challenge_method=plain", "invalid_request"),
        ("code_challenge_method=S256", "x=y", "invalid_request"),
        ("scopes=sso%3Aaccount%3Aaccess", "scopes=not:registered", "invalid_scope"),
    ] {
        let wrong = target.replace(from, to);
        assert_ne!(wrong, target);
        assert_sent_back(&kit.browser().get(&wrong).await, error);
    }
    let twice = format!("{target}{challenge}");
    assert_sent_back(&kit.browser().get(&twice).await, "invalid_request");
}

#[tokio::test]
async fn t35_a_client_that_did_not_register_for_the_grant_is_told_so() {
    let kit = Kit::new().await;
    let client = kit
        .register(&json!({
            "clientName": "x", "clientType": "public", "scopes": ["sso:account:access"],
            "redirectUris": ["http://127.0.0.1/oauth/callback"],
        }))
        .await;
    assert_sent_back(&kit.browser().get(&kit.authorize_target(&client)).await, "unauthorized_client");
}

// Holds: openid-connect-core-3.1.2.4-consent
#[tokio::test]
async fn t36_a_denial_goes_back_to_the_client() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let sent = browser.decide_authorize(&kit.authorize_target(&client), Choice::Deny).await;
    assert_sent_back(&sent, "access_denied");
}

// Holds: oidcc-ensure-request-with-valid-pkce-succeeds, rfc7636-4.2-s256, rfc8252-8.1-pkce
// Holds: rfc9700-2.1.1-support-pkce
#[tokio::test]
async fn t37_a_code_becomes_tokens() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let code = kit.code(&client, "ada").await;
    let answer = kit.redeem(&client, &code).await.ok();
    assert!(!answer.member("accessToken").is_empty() && !answer.member("refreshToken").is_empty());
    assert_eq!(answer.member("tokenType"), "Bearer");
    assert!(answer.json()["expiresIn"].is_i64());
    kit.list_accounts(&answer.member("accessToken")).await.ok();
}

async fn redeem_with(kit: &Kit, client: &doorward_testkit::Client, code: &str, edit: (&str, &str)) -> Answer {
    let mut body = json!({
        "grantType": "authorization_code", "code": code, "redirectUri": REDIRECT_URI,
        "codeVerifier": Pkce::VERIFIER,
    });
    body[edit.0] = Value::from(edit.1);
    kit.create_token(client, body).await
}

// Holds: openid-connect-core-3.1.3.2-client-of-code, openid-connect-core-3.1.3.2-code-good-once
// Holds: openid-connect-core-3.1.3.2-same-redirect-uri, rfc6749-4.1.2-bound, rfc6749-4.1.2-short-lived
// Holds: rfc6749-4.1.3-checked, rfc7636-4.4-challenge-kept, rfc7636-4.6-compare
// Holds: rfc7636-4.6-mismatch-invalid-grant, rfc9700-2.1.1-enforce-verifier, rfc9700-4.5.3-code-bound
#[tokio::test]
async fn t38_a_code_is_worth_nothing_with_anything_wrong_about_it() {
    let kit = Kit::new().await;
    let (client, other) = (kit.pkce_client().await, kit.pkce_client().await);
    let code = kit.code(&client, "ada").await;
    let wrong_verifier = Pkce::VERIFIER.replace('d', "e");
    for edit in [
        ("codeVerifier", wrong_verifier.as_str()),
        // The challenge itself is no verifier.
        ("codeVerifier", Pkce::CHALLENGE),
        ("redirectUri", "http://127.0.0.1:45344/oauth/callback"),
        ("redirectUri", "http://127.0.0.1/oauth/callback"),
        ("redirectUri", "http://127.0.0.1:45343/OAuth/callback"),
        ("code", &code[..code.len() - 1]),
        ("code", "x"),
    ] {
        assert_invalid_grant(&redeem_with(&kit, &client, &code, edit).await);
    }
    assert_invalid_grant(&kit.redeem(&other, &code).await);
    assert_eq!(kit.store().commits(), 2, "the directory and the sign-in, and no session");
    // None of that used it up.
    Tokens::of(kit.redeem(&client, &code).await);

    let late = kit.code(&client, "ada").await;
    kit.advance(300);
    assert_invalid_grant(&kit.redeem(&client, &late).await);
}

// Holds: oidcc-codereuse-30seconds, rfc9700-4.2.4-replayed-code-revokes
#[tokio::test]
async fn t39_a_used_code_takes_back_what_it_gave_also_after_its_own_lifetime() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let code = kit.code(&client, "ada").await;
    let tokens = Tokens::of(kit.redeem(&client, &code).await);
    kit.advance(301);
    assert_invalid_grant(&kit.redeem(&client, &code).await);
    let answer = kit.list_accounts(&tokens.access).await;
    answer.assert_portal_error(401, "UnauthorizedException");
}

// Holds: oidcc-codereuse, openid-connect-core-16.11-token-reuse, openid-connect-core-3.1.3.2-code-good-once
// Holds: rfc6749-4.1.2-once, rfc9700-4.2.4-code-once, rfc9700-4.2.4-replayed-code-revokes
// Holds: rfc9700-4.3.1-code-replay
#[tokio::test]
async fn t39_a_code_used_twice_takes_back_what_it_gave() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let code = kit.code(&client, "ada").await;
    let tokens = Tokens::of(kit.redeem(&client, &code).await);
    kit.list_accounts(&tokens.access).await.ok();
    assert_invalid_grant(&kit.redeem(&client, &code).await);
    let answer = kit.list_accounts(&tokens.access).await;
    answer.assert_portal_error(401, "UnauthorizedException");
    assert_invalid_grant(&kit.refresh(&client, tokens.refresh()).await);
    assert_invalid_grant(&kit.redeem(&client, &code).await);
}
