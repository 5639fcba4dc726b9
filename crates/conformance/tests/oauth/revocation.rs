//! Tokens that are given back (RFC 7009).

use axum::body::Body;
use doorward_testkit::{Application, Kit, OTHER_WEB, SPA, WEB, form_request, on_every_store};
use http::Request;
use serde_json::Value;

use crate::common::{allow_account_access, applications, error, refresh, text, tokens_of};

async fn revoke(kit: &Kit, application: Application, token: &str) {
    let answer = kit.post_form(application, "/revoke", &[("token", token)]).await.ok();
    assert_eq!(answer.text(), "{}", "nothing is said of the token");
}

/// Whether introspection and userinfo take an access token of [`WEB`].
async fn is_good(kit: &Kit, token: &str) -> bool {
    let told: Value = kit.post_form(WEB, "/introspect", &[("token", token)]).await.ok().json();
    let request = Request::get("/userinfo").header("authorization", format!("Bearer {token}"));
    let answer = kit.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status == 200, told["active"] == true, "{told} {}", answer.text());
    answer.status == 200
}

// Holds: rfc7009-2-refresh-tokens, rfc7009-2.1-at-once, rfc7009-2.1-chain, rfc7009-2.2-invalid-is-200
#[tokio::test]
async fn a_refresh_token_ends_its_session() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        let first = text(&answer, "refresh_token").to_owned();
        let answer = refresh(kit, WEB, &first).await.ok().json();
        assert!(is_good(kit, text(&answer, "access_token")).await);
        // Whichever generation.
        revoke(kit, WEB, &first).await;
        let refused = refresh(kit, WEB, text(&answer, "refresh_token")).await;
        assert_eq!(error(&refused), (400, "invalid_grant".into()));
        assert!(!is_good(kit, text(&answer, "access_token")).await);
        // Again is as good.
        revoke(kit, WEB, &first).await;
    })
    .await;
}

// Holds: rfc7009-2-access-tokens, rfc7009-2.1-at-once
#[tokio::test]
async fn an_access_token_is_revoked_alone() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        let (access, refresh_token) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
        let other = refresh(kit, WEB, refresh_token).await.ok().json();
        revoke(kit, WEB, access).await;
        assert!(!is_good(kit, access).await);
        assert!(is_good(kit, text(&other, "access_token")).await);
        revoke(kit, WEB, access).await;
        // It stays so, whatever is swept away, for as long as it would have been good.
        kit.advance(3599);
        kit.app().sweep().await.unwrap();
        assert!(!is_good(kit, access).await);
        refresh(kit, WEB, text(&other, "refresh_token")).await.ok();
    })
    .await;
}

/// RFC 7009 section 2.2: what is no token of the client's is answered as if it had been one.
// Holds: rfc7009-2.1-own-tokens, rfc7009-2.2-invalid-is-200
#[tokio::test]
async fn ledger_10_nobody_revokes_what_is_another_clients() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        for thief in [OTHER_WEB, SPA] {
            revoke(kit, thief, text(&answer, "access_token")).await;
            revoke(kit, thief, text(&answer, "refresh_token")).await;
        }
        for unknown in ["x", "dwr_x", "dwa_x", "a.b.c", text(&answer, "id_token")] {
            revoke(kit, WEB, unknown).await;
        }
        assert!(is_good(kit, text(&answer, "access_token")).await);
        refresh(kit, WEB, text(&answer, "refresh_token")).await.ok();
    })
    .await;
}

#[tokio::test]
async fn a_token_for_the_portal_ends_its_session() {
    let kit = Kit::with(|setup| {
        applications(setup);
        allow_account_access(&mut setup.directory, WEB);
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid sso:account:access").await;
    let access = text(&answer, "access_token");
    kit.list_accounts(access).await.ok();
    revoke(&kit, OTHER_WEB, access).await;
    kit.list_accounts(access).await.ok();
    revoke(&kit, WEB, access).await;
    assert_eq!(kit.list_accounts(access).await.status, 401);
    let refused = refresh(&kit, WEB, text(&answer, "refresh_token")).await;
    assert_eq!(error(&refused), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn public_clients_and_registered_tools_give_back_their_own() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, SPA, "openid").await;
    revoke(&kit, SPA, text(&answer, "refresh_token")).await;
    let refused = refresh(&kit, SPA, text(&answer, "refresh_token")).await;
    assert_eq!(error(&refused), (400, "invalid_grant".into()));

    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let tokens = kit.send(client.poll_request(&device.code)).await.ok();
    let token = tokens.member("refreshToken");
    revoke(&kit, WEB, &token).await;
    let token = kit.refresh(&client, &token).await.ok().member("refreshToken");
    let fields = [("client_id", client.id.as_str()), ("client_secret", &client.secret), ("token", &token)];
    kit.send(form_request("/revoke", &fields)).await.ok();
    assert_eq!(kit.refresh(&client, &token).await.status, 400);
}

// Holds: rfc7009-2.1-wrong-hint
#[tokio::test]
async fn a_hint_that_is_wrong_changes_nothing() {
    let kit = Kit::with(applications).await;
    for hint in ["access_token", "refresh_token", "pixie_dust"] {
        let answer = tokens_of(&kit, WEB, "openid").await;
        for token in ["access_token", "refresh_token"] {
            let fields = [("token", text(&answer, token)), ("token_type_hint", hint)];
            kit.post_form(WEB, "/revoke", &fields).await.ok();
            assert!(!is_good(&kit, text(&answer, "access_token")).await, "{hint}");
        }
        assert_eq!(refresh(&kit, WEB, text(&answer, "refresh_token")).await.status, 400, "{hint}");
    }
}

// Holds: rfc7009-2.3-cross-origin
#[tokio::test]
async fn scripts_may_give_back_what_they_have() {
    let kit = Kit::with(applications).await;
    let answer = kit.post_form(SPA, "/revoke", &[("token", "x")]).await.ok();
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let preflight = Request::options("/revoke").header("origin", "https://app.example");
    assert_eq!(kit.send(preflight.body(Body::empty()).unwrap()).await.status, 204);
}

// Holds: rfc7009-5-limits
#[tokio::test]
async fn whoever_asks_too_often_is_slowed_down() {
    let kit = Kit::with(|setup| {
        applications(setup);
        setup.rate_limits = true;
    })
    .await;
    let mut slowed = false;
    for _ in 0..1000 {
        let answer = kit.post_form(SPA, "/revoke", &[("token", "x")]).await;
        slowed |= answer.status != 200 && error(&answer).1 == "slow_down";
    }
    assert!(slowed);
}

// Holds: rfc7009-2.1-client-first, rfc7009-2.1-token-required, rfc7009-2.2.1-errors
#[tokio::test]
async fn a_request_that_is_wrong_is_told_so() {
    let kit = Kit::with(applications).await;
    assert_eq!(error(&kit.post_form(WEB, "/revoke", &[]).await), (400, "invalid_request".into()));
    let stranger = Application { id: "web", secret: Some("wrong") };
    assert_eq!(error(&kit.post_form(stranger, "/revoke", &[]).await), (401, "invalid_client".into()));
    let answer = tokens_of(&kit, WEB, "openid").await;
    let refused = kit.post_form(stranger, "/revoke", &[("token", text(&answer, "refresh_token"))]).await;
    assert_eq!(error(&refused), (401, "invalid_client".into()));
    refresh(&kit, WEB, text(&answer, "refresh_token")).await.ok();
}

// Holds: rfc7009-2.2.1-outage
#[tokio::test]
async fn ledger_28_a_revocation_that_could_not_be_written_is_not_confirmed() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        for (reads, writes) in [(true, false), (false, true), (true, true)] {
            kit.store().fail(reads, writes);
            for token in ["access_token", "refresh_token"] {
                let failed = kit.post_form(WEB, "/revoke", &[("token", text(&answer, token))]).await;
                assert_eq!(error(&failed), (503, "server_error".into()), "{token}");
            }
        }
        kit.store().fail(false, false);
        assert!(is_good(kit, text(&answer, "access_token")).await);
        refresh(kit, WEB, text(&answer, "refresh_token")).await.ok();
    })
    .await;
}
