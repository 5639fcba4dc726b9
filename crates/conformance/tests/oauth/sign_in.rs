//! A sign-in from the authorization request to userinfo, as OpenID Connect Core 1.0 has it and the modules of the Basic OP
//! profile ask for it.

use axum::body::Body;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::application::ClientAuthentication;
use doorward_core::signing_key::SigningAlgorithm;
use doorward_testkit::{
    API, APPLICATION_REDIRECT_URI, Answer, Browser, Choice, Kit, OTHER_API, OTHER_WEB, Pkce, SPA, WEB,
    form_request,
};
use http::Request;
use serde_json::{Value, json};

use crate::authorize::{agreed, asks, assert_error, code, edit_web, kit};
use crate::verifier::verify;

/// What `web` gets for a code: the answer, and the claims of its ID token.
async fn redeem(kit: &Kit, code: &str) -> (Value, Value) {
    let answer = kit.redeem_application(WEB, code, &[]).await.ok().json();
    let (_, id) = verify(kit, answer["id_token"].as_str().expect("an ID token")).await.expect("one of ours");
    (answer, id)
}

/// What a browser that has agreed before gets `web`, without any page.
async fn silently(kit: &Kit, browser: &mut Browser<'_>, parameters: &[(&str, &str)]) -> (Value, Value) {
    let answer = browser.get(&WEB.authorize(parameters)).await;
    redeem(kit, &code(&answer)).await
}

async fn userinfo(kit: &Kit, answer: &Value) -> Answer {
    let token = answer["access_token"].as_str().expect("an access token");
    let request = Request::get("/userinfo").header("authorization", format!("Bearer {token}"));
    kit.send(request.body(Body::empty()).expect("a request")).await
}

async fn refresh(kit: &Kit, answer: &Value) -> Value {
    let token = answer["refresh_token"].as_str().expect("a refresh token");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    kit.post_form(WEB, "/token", &fields).await.ok().json()
}

// Holds: oidcc-server, openid-connect-core-15.1-auth-time, openid-connect-core-2-acr-amr, openid-connect-core-2-aud
// Holds: openid-connect-core-2-azp, openid-connect-core-2-auth-time, openid-connect-core-2-iss
// Holds: openid-connect-core-2-no-x5u-jwk, openid-connect-core-2-nonce, openid-connect-core-2-required-claims
// Holds: openid-connect-core-2-signed, openid-connect-core-3.1.2.1-openid-scope, openid-connect-core-3.1.3.3-id-token
// Holds: openid-connect-core-3.1.3.2-openid-request, openid-connect-core-5.3.2-sub
#[tokio::test]
async fn a_sign_in_says_who_it_is_and_for_whom() {
    let kit = kit().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let signed_in = kit.now().seconds();
    kit.advance(30);
    let target = WEB.authorize(&[("scope", "openid api.read"), ("nonce", "n-0S6_WzA2Mj")]);
    let sent = browser.decide_authorize(&target, Choice::Approve).await;
    kit.advance(5);
    let (answer, id) = redeem(&kit, &code(&sent)).await;
    assert_eq!((&answer["token_type"], &answer["scope"]), (&json!("Bearer"), &json!("api.read openid")));
    let now = kit.now().seconds();
    assert_eq!(
        id,
        json!({
            "iss": kit.base(), "sub": "ada", "aud": "web", "exp": id["exp"], "iat": now, "auth_time": signed_in,
            "nonce": "n-0S6_WzA2Mj", "at_hash": id["at_hash"], "amr": ["pwd"], "sid": id["sid"],
        })
    );
    assert!(id["exp"].as_i64() > Some(now), "{id}");
    let header = answer["id_token"].as_str().and_then(|token| token.split('.').next()).expect("a header");
    let header: Value =
        serde_json::from_slice(&BASE64URL_NOPAD.decode(header.as_bytes()).expect("base64")).expect("JSON");
    for key in ["x5u", "x5c", "jku", "jwk"] {
        assert!(header.get(key).is_none(), "{header}");
    }
    assert_eq!(userinfo(&kit, &answer).await.ok().json()["sub"], id["sub"]);

    // Without the scope it is OAuth alone.
    let sent = browser.get(&WEB.authorize(&[("scope", "api.read")])).await;
    let answer = kit.redeem_application(WEB, &code(&sent), &[]).await.ok().json();
    assert!(answer.get("id_token").is_none(), "{answer}");
}

// Holds: oidcc-claims-essential, oidcc-claims-locales, oidcc-display-page, oidcc-display-popup
// Holds: oidcc-ensure-other-scope-order-succeeds, oidcc-ensure-request-with-acr-values-succeeds
// Holds: oidcc-ensure-request-with-unknown-parameter-succeeds
// Holds: oidcc-ensure-request-without-nonce-succeeds-for-code-flow, oidcc-ui-locales
// Holds: openid-connect-core-15.1-acr-values, openid-connect-core-15.1-display, openid-connect-core-15.1-locales
// Holds: openid-connect-core-3.1.2.1-acr-values, openid-connect-core-3.1.2.1-display-locales
// Holds: openid-connect-core-3.1.2.1-unknown-parameters, openid-connect-core-5.5-claims-parameter, openid-connect-core-5.5.1-essential
// Holds: rfc6749-3.1-unknown-parameters
#[tokio::test]
async fn what_is_only_a_wish_never_fails() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for (name, value) in [
        // None of them, and so without a nonce.
        ("nonce", ""),
        ("display", "page"),
        ("display", "popup"),
        ("display", "touch"),
        ("ui_locales", "se"),
        ("ui_locales", "xx de-CH en"),
        ("claims_locales", "se"),
        ("acr_values", "1 2"),
        ("claims", r#"{"userinfo":{"name":{"essential":true}},"id_token":{"acr":{"essential":true}}}"#),
        ("scope", "api.read openid"),
        ("extra", "foobar"),
    ] {
        let (answer, id) = silently(&kit, &mut browser, &[(name, value)]).await;
        assert_eq!((&id["sub"], id.get("nonce")), (&json!("ada"), None), "{name}={value}");
        assert_eq!(answer["scope"], "api.read openid", "{name}={value}");
        assert_eq!(id.get("acr"), None, "nothing is claimed that was not so");
    }
}

// Holds: oidcc-scope-address, oidcc-scope-phone
#[tokio::test]
async fn a_scope_that_nobody_has_is_said_to_be_none() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for scope in ["openid address", "openid phone", "openid address phone"] {
        assert_error(&browser.get(&WEB.authorize(&[("scope", scope)])).await, "invalid_scope");
    }
}

// Holds: oidcc-id-token-hint, oidcc-max-age-10000, oidcc-prompt-login, oidcc-prompt-none-logged-in
// Holds: openid-connect-core-15.1-max-age
#[tokio::test]
async fn the_same_sign_in_has_the_same_time_and_a_new_one_a_new_time() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let (first, before) = silently(&kit, &mut browser, &[]).await;
    kit.advance(100);
    let hint = first["id_token"].as_str().expect("an ID token");
    for same in [
        &[("prompt", "none")][..],
        &[("max_age", "10000")],
        &[("prompt", "none"), ("id_token_hint", hint)],
        &[("prompt", "none"), ("max_age", "10000")],
    ] {
        let (_, id) = silently(&kit, &mut browser, same).await;
        assert_eq!((&id["sub"], &id["auth_time"]), (&before["sub"], &before["auth_time"]), "{same:?}");
    }
    for anew in [("prompt", "login"), ("max_age", "1")] {
        let (_, before) = silently(&kit, &mut browser, &[]).await;
        kit.advance(2);
        let away = browser.get(&WEB.authorize(&[anew])).await;
        assert!(away.location().starts_with("/sign-in"), "{anew:?}");
        let sent = browser.sign_in_at(&away, "ada").await;
        let (_, id) = redeem(&kit, &code(&sent)).await;
        assert_eq!(id["sub"], before["sub"]);
        assert!(id["auth_time"].as_i64() > before["auth_time"].as_i64(), "{anew:?}: {id} {before}");
    }
}

// Holds: oidcc-refresh-token, openid-connect-core-12.1-refresh-request, openid-connect-core-12.2-auth-time
// Holds: openid-connect-core-12.2-azp, openid-connect-core-12.2-no-nonce, openid-connect-core-12.2-same-iss-sub
// Holds: rfc9068-2.2.1-auth-time
#[tokio::test]
async fn a_refresh_is_about_the_same_sign_in() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let (first, before) = silently(&kit, &mut browser, &[("nonce", "n-1")]).await;
    kit.advance(100);
    let token = first["refresh_token"].as_str().expect("a refresh token");
    let stolen = [("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(kit.post_form(OTHER_WEB, "/token", &stolen).await.member("error"), "invalid_grant");
    let second = refresh(&kit, &first).await;
    let (_, after) = verify(&kit, second["id_token"].as_str().expect("an ID token")).await.expect("ours");
    for name in ["iss", "sub", "aud", "auth_time", "azp", "amr", "sid"] {
        assert_eq!(after.get(name), before.get(name), "{name}");
    }
    assert_eq!(after["iat"], kit.now().seconds());
    assert!(after.get("nonce").is_none_or(|nonce| nonce == "n-1"), "{after}");
    for name in ["access_token", "id_token", "refresh_token"] {
        assert_ne!(first[name], second[name], "{name}");
    }
    let claims =
        async |answer: &Value| verify(&kit, answer["access_token"].as_str().unwrap()).await.unwrap().1;
    let (one, other) = (claims(&first).await, claims(&second).await);
    assert_eq!((&one["auth_time"], &one["sub"]), (&other["auth_time"], &other["sub"]));
    assert_ne!(one["jti"], other["jti"]);
}

// Holds: oidcc-codereuse, oidcc-codereuse-30seconds, openid-connect-core-16.11-token-reuse, rfc9700-4.2.4-code-once
// Holds: rfc9700-4.2.4-replayed-code-revokes
#[tokio::test]
async fn a_code_that_is_used_again_takes_back_what_it_brought() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for wait in [0, 30] {
        let code = code(&browser.get(&WEB.authorize(&[])).await);
        let (answer, _) = redeem(&kit, &code).await;
        userinfo(&kit, &answer).await.ok();
        kit.advance(wait);
        let again = kit.redeem_application(WEB, &code, &[]).await;
        assert_eq!((again.status.as_u16(), again.member("error")), (400, "invalid_grant".into()));
        assert_eq!(userinfo(&kit, &answer).await.status, 401);
    }
}

// Holds: openid-connect-core-3.1.3.2-client-of-code, openid-connect-core-3.1.3.2-code-good-once
// Holds: openid-connect-core-3.1.3.2-same-redirect-uri, openid-connect-core-3.1.3.4-errors, rfc7636-4.1-verifier-syntax
// Holds: rfc7636-4.6-compare, rfc7636-4.6-mismatch-invalid-grant, rfc9700-2.1.1-confidential-clients-pkce
// Holds: rfc9700-2.1.1-enforce-verifier, rfc9700-4.5.3-code-bound
#[tokio::test]
async fn a_code_is_worth_nothing_but_to_whom_it_was_given() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let code = code(&browser.get(&WEB.authorize(&[])).await);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", APPLICATION_REDIRECT_URI),
        ("code_verifier", Pkce::VERIFIER),
    ];
    let other = "x".repeat(43);
    for (name, value, error) in [
        ("code_verifier", "", "invalid_request"),
        ("code_verifier", "short", "invalid_request"),
        ("code_verifier", &other, "invalid_grant"),
        ("code_verifier", Pkce::CHALLENGE, "invalid_grant"),
        ("redirect_uri", "", "invalid_request"),
        ("redirect_uri", "http://127.0.0.1:45344/callback", "invalid_grant"),
        ("redirect_uri", "https://app.example/callback", "invalid_grant"),
        ("code", "x", "invalid_grant"),
        ("code", "", "invalid_request"),
    ] {
        let wrong = fields.map(|field| if field.0 == name { (name, value) } else { field });
        let refused = kit.post_form(WEB, "/token", &wrong).await;
        assert_eq!(
            (refused.status.as_u16(), refused.member("error").as_str()),
            (400, error),
            "{name}={value}"
        );
    }
    for thief in [OTHER_WEB, SPA] {
        assert_eq!(kit.post_form(thief, "/token", &fields).await.member("error"), "invalid_grant");
    }
    kit.post_form(WEB, "/token", &fields).await.ok();
}

// Holds: oidcc-server-client-secret-post, openid-connect-core-9-methods
#[tokio::test]
async fn a_secret_is_where_the_application_was_registered_to_have_it() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    edit_web(&kit, |web| web.authentication = ClientAuthentication::ClientSecretPost).await;
    let code = code(&browser.get(&WEB.authorize(&[])).await);
    let refused = kit.redeem_application(WEB, &code, &[]).await;
    assert_eq!((refused.status.as_u16(), refused.member("error")), (401, "invalid_client".into()));
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "web"),
        ("client_secret", WEB.secret.expect("a secret")),
        ("code", &code),
        ("redirect_uri", APPLICATION_REDIRECT_URI),
        ("code_verifier", Pkce::VERIFIER),
    ];
    assert!(!kit.send(form_request("/token", &fields)).await.ok().member("id_token").is_empty());
}

// Holds: openid-connect-core-10.1-algorithm, openid-connect-core-15.1-signing, rfc9068-2.1-rs256
#[tokio::test]
async fn an_application_may_have_rs256() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    edit_web(&kit, |web| web.signing_algorithm = SigningAlgorithm::Rs256).await;
    let (answer, _) = silently(&kit, &mut browser, &[]).await;
    for name in ["access_token", "id_token"] {
        let (header, _) = verify(&kit, answer[name].as_str().expect("a token")).await.expect("one of ours");
        assert_eq!(header.alg, jsonwebtoken::Algorithm::RS256, "{name}");
    }
}

// Holds: openid-connect-core-11-offline-consent, openid-connect-core-3.1.2.4-consent
#[tokio::test]
async fn nobody_stays_signed_in_who_did_not_agree_to_it() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let target = WEB.authorize(&[("scope", "openid api.read offline_access")]);
    let page = browser.get(&target).await.ok();
    assert!(asks(&page) && page.text().contains("stay signed in"), "{}", page.text());
    let sent = browser.decide(&page, Choice::Deny).await;
    assert_error(&sent, "access_denied");
    code(&browser.decide_authorize(&target, Choice::Approve).await);
    code(&browser.get(&target).await);
}

// Holds: rfc8707-2-audience, rfc8707-2.1-at-authorization, rfc8707-2.2-at-token, rfc8707-2.2-not-more
// Holds: rfc9068-3-aud-of-resource, rfc9700-4.14.2-bound-to-consent
#[tokio::test]
async fn a_token_is_for_the_resources_that_were_agreed_to_and_asked_for() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let audience = async |answer: &Value| {
        verify(&kit, answer["access_token"].as_str().expect("a token")).await.expect("ours").1["aud"].clone()
    };
    let ask = async |browser: &mut Browser<'_>, resource: &str, at_token: &[(&str, &str)]| {
        let code = code(&browser.get(&WEB.authorize(&[("resource", resource)])).await);
        kit.redeem_application(WEB, &code, at_token).await
    };
    // Not for userinfo, although `openid` was agreed to: that is for whoever asks for nothing in particular.
    assert_eq!(audience(&ask(&mut browser, API, &[]).await.ok().json()).await, API);
    assert_eq!(audience(&ask(&mut browser, API, &[("resource", API)]).await.ok().json()).await, API);
    assert_eq!(audience(&ask(&mut browser, "", &[("resource", API)]).await.ok().json()).await, API);
    let refused = ask(&mut browser, API, &[("resource", OTHER_API)]).await;
    assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_target".into()));
}
