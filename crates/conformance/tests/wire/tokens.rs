//! Tokens and refreshes: T40 to T49.

use doorward_core::time::Lifetime;
use doorward_testkit::{Answer, Kit, Tokens};
use serde_json::{Value, json};

#[track_caller]
fn assert_refused_refresh(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
    // AWS's language servers compare this text.
    assert_eq!(answer.member("error_description"), "Invalid refresh token provided");
}

async fn refresh_for(kit: &Kit, client: &doorward_testkit::Client, token: &str, scope: Value) -> Answer {
    let members = json!({"grantType": "refresh_token", "refreshToken": token, "scope": scope});
    kit.create_token(client, members).await
}

// Holds: rfc9700-4.14.2-issue-by-risk
#[tokio::test]
async fn t40_scopes_bring_a_refresh_token_and_none_bring_eight_hours() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    assert!(kit.device_tokens(&client, "ada").await.refresh.is_some());
    let legacy = kit.legacy_client().await;
    let tokens = kit.device_tokens(&legacy, "ada").await;
    assert_eq!((tokens.refresh, tokens.expires_in), (None, 28_800));
    kit.list_accounts(&tokens.access).await.ok();
    kit.advance(28_799);
    kit.list_accounts(&tokens.access).await.ok();
    kit.advance(1);
    kit.list_accounts(&tokens.access).await.assert_portal_error(401, "UnauthorizedException");
}

// Holds: openid-connect-core-16.11-token-reuse, rfc9700-4.14.2-expire-unused
#[tokio::test]
async fn t41_an_access_token_lasts_an_hour_and_never_longer_than_its_session() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let mut tokens = kit.device_tokens(&client, "ada").await;
    assert_eq!(tokens.expires_in, 3600);
    for hour in 1..8 {
        kit.advance(3600 - 60);
        tokens = Tokens::of(kit.refresh(&client, tokens.refresh()).await);
        assert_eq!(tokens.expires_in, 3600, "{hour}");
    }
    // 7 hours and 53 minutes have passed.
    kit.advance(3600);
    let late = Tokens::of(kit.refresh(&client, tokens.refresh()).await);
    assert_eq!(late.expires_in, 28_800 - 7 * 3540 - 3600);
    kit.advance(u32::try_from(late.expires_in).unwrap());
    kit.list_accounts(&late.access).await.assert_portal_error(401, "UnauthorizedException");
    assert_refused_refresh(&kit.refresh(&client, late.refresh()).await);
}

// Holds: rfc9700-2.2.2-public-refresh
#[tokio::test]
async fn t42_a_refresh_always_brings_a_refresh_token() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let mut tokens = kit.device_tokens(&client, "ada").await;
    for _ in 0..5 {
        let answer = kit.refresh(&client, tokens.refresh()).await.ok();
        assert!(!answer.member("refreshToken").is_empty());
        assert_eq!(
            (answer.member("tokenType").as_str(), &answer.json()["expiresIn"]),
            ("Bearer", &json!(3600))
        );
        let next = Tokens::of(answer);
        assert_ne!(next.refresh, tokens.refresh);
        kit.list_accounts(&next.access).await.ok();
        tokens = next;
    }
}

#[tokio::test]
async fn t43_two_refreshes_with_the_same_token_within_the_grace_period_both_work() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let first = kit.device_tokens(&client, "ada").await;
    let one = Tokens::of(kit.refresh(&client, first.refresh()).await);
    kit.advance(59);
    let other = Tokens::of(kit.refresh(&client, first.refresh()).await);
    assert_eq!(one.refresh, other.refresh);
    for token in [&first.access, &one.access, &other.access] {
        kit.list_accounts(token).await.ok();
    }
}

// Holds: rfc9700-2.2.2-public-refresh, rfc9700-4.14.2-rotation-detects-replay
#[tokio::test]
async fn t44_a_refused_refresh_has_the_text_that_clients_compare() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;

    // Unknown.
    for unknown in ["x", "dwr_", "dwr_x", "aorAAAAAGVX", "\u{1F600}"] {
        assert_refused_refresh(&kit.refresh(&client, unknown).await);
    }
    // Revoked.
    let tokens = kit.device_tokens(&client, "ada").await;
    kit.logout(&tokens.access).await.ok();
    assert_refused_refresh(&kit.refresh(&client, tokens.refresh()).await);
    // Replayed after the grace period: somebody has a copy, and the session ends.
    let tokens = kit.device_tokens(&client, "ada").await;
    let next = Tokens::of(kit.refresh(&client, tokens.refresh()).await);
    kit.advance(60);
    assert_refused_refresh(&kit.refresh(&client, tokens.refresh()).await);
    assert_refused_refresh(&kit.refresh(&client, next.refresh()).await);
    kit.list_accounts(&next.access).await.assert_portal_error(401, "UnauthorizedException");
    // Of a session that has expired.
    let tokens = kit.device_tokens(&client, "ada").await;
    kit.advance(28_800);
    assert_refused_refresh(&kit.refresh(&client, tokens.refresh()).await);
    kit.app().sweep().await.unwrap();
    assert_refused_refresh(&kit.refresh(&client, tokens.refresh()).await);
}

// Holds: openid-connect-core-12.1-refresh-request
#[tokio::test]
async fn t45_another_clients_refresh_token_is_refused_alike_and_stays_good() {
    let kit = Kit::new().await;
    let (client, other) = (kit.device_client().await, kit.device_client().await);
    let tokens = kit.device_tokens(&client, "ada").await;
    assert_refused_refresh(&kit.refresh(&other, tokens.refresh()).await);
    Tokens::of(kit.refresh(&client, tokens.refresh()).await);
}

#[tokio::test]
async fn t46_an_expired_registration_cannot_refresh() {
    let kit = Kit::with(|setup| setup.lifetimes.registration = Lifetime::from_seconds(3600)).await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    kit.advance(3600);
    let answer = kit.refresh(&client, tokens.refresh()).await;
    answer.assert_oidc_error(401, "InvalidClientException", "invalid_client");
}

// Holds: rfc9700-2.3-least-privilege, rfc9700-2.3-scope-verified, rfc9700-4.14.2-bound-to-consent
#[tokio::test]
async fn t47_scope_narrows_a_token_and_never_widens_it() {
    let kit = Kit::new().await;
    let scopes = ["sso:account:access", "openid", "profile"];
    let client = kit.pkce_client_with(&scopes).await;
    let code = {
        // Only two of the three are asked for, and approved.
        let target = kit.authorize_target_with(&client, &[("scope", "sso:account:access openid")]);
        let mut browser = kit.browser().signed_in("ada").await;
        let sent = browser.decide_authorize(&target, doorward_testkit::Choice::Approve).await;
        sent.location_parameter("code").unwrap()
    };
    let tokens = Tokens::of(kit.redeem(&client, &code).await);
    kit.list_accounts(&tokens.access).await.ok();

    let narrow = Tokens::of(refresh_for(&kit, &client, tokens.refresh(), json!(["openid"])).await);
    kit.list_accounts(&narrow.access).await.assert_portal_error(401, "UnauthorizedException");
    // Narrowing concerns the access token alone: the next refresh may have everything again.
    let wide = Tokens::of(refresh_for(&kit, &client, narrow.refresh(), json!([])).await);
    kit.list_accounts(&wide.access).await.ok();

    // Registered but not granted; not registered; malformed.
    for scope in [json!(["profile"]), json!(["email"]), json!(["openid", "email"]), json!(["a\"b"])] {
        let answer = refresh_for(&kit, &client, wide.refresh(), scope).await;
        answer.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
    }
    Tokens::of(refresh_for(&kit, &client, wide.refresh(), json!(null)).await);
}

#[tokio::test]
async fn t47_scope_narrows_a_device_token_too() {
    let kit = Kit::new().await;
    let client = kit
        .register(&json!({
            "clientName": "x", "clientType": "public", "scopes": ["sso:account:access", "openid"],
        }))
        .await;
    let device = kit.approved_device(&client, "ada").await;
    let poll = async |scope: &str| {
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let members = json!({"grantType": grant, "deviceCode": device.code, "scope": [scope]});
        kit.create_token(&client, members).await
    };
    poll("email").await.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
    let tokens = Tokens::of(poll("openid").await);
    kit.list_accounts(&tokens.access).await.assert_portal_error(401, "UnauthorizedException");
}

#[tokio::test]
async fn t48_there_is_no_id_token() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let answer = kit.poll(&client, &device.code).await.ok();
    assert!(answer.json()["idToken"].is_null());
    let refreshed = kit.refresh(&client, &answer.member("refreshToken")).await.ok();
    assert!(refreshed.json()["idToken"].is_null());
}

#[tokio::test]
async fn t49_tokens_are_visible_ascii_and_short_enough_for_a_header() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    for token in [tokens.access.as_str(), tokens.refresh()] {
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        assert!(token.len() < 2048, "{}", token.len());
        assert!(http::HeaderValue::from_str(token).is_ok_and(|value| value.as_bytes() == token.as_bytes()));
    }
}

#[tokio::test]
async fn every_lifetime_is_the_operators() {
    let kit = Kit::with(|setup| {
        setup.lifetimes.access_token = Lifetime::from_seconds(900);
        setup.lifetimes.session = Lifetime::from_seconds(1000);
        setup.lifetimes.refresh_grace = Lifetime::from_seconds(0);
    })
    .await;
    let client = kit.device_client().await;
    let first = kit.device_tokens(&client, "ada").await;
    assert_eq!(first.expires_in, 900);
    kit.advance(400);
    let second = Tokens::of(kit.refresh(&client, first.refresh()).await);
    assert_eq!(second.expires_in, 600);
    // Without a grace period the same token again is a replay at once.
    assert_refused_refresh(&kit.refresh(&client, first.refresh()).await);
    assert_refused_refresh(&kit.refresh(&client, second.refresh()).await);
}
