//! There and back.

use std::collections::BTreeSet;

use doorward_testkit::{Choice, Form, Tokens};
use doorward_testkit_oidc::TOKEN;
use serde_json::json;

use crate::world::{World, callback, head, sent};

#[tokio::test]
async fn a_person_signs_in_with_their_company_account_and_finds_what_their_groups_have() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let page = browser.get("/start").await.ok();
    assert!(page.text().contains("Zoe Example"), "{}", page.text());
    assert!(page.text().contains("DeveloperAccess") && !page.text().contains("AdministratorAccess"));
}

#[tokio::test]
async fn local_people_still_sign_in_beside_it() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let page = browser.get("/sign-in").await.ok();
    assert!(page.text().contains("Continue with <bdi>Company account</bdi>"));
    assert!(Form::find(page.text(), "/sign-in").is_some());
    let _ = world.kit.browser().signed_in("ada").await;
}

#[tokio::test]
async fn the_way_there_leads_through_a_page_of_ours_that_no_policy_is_loosened_for() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let page = world.press(&mut browser, "/start").await.ok();
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self';") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text().contains(&format!("{}/authorize", world.provider.issuer)));
    assert!(page.text().contains("redirect_uri=http%3A%2F%2F127.0.0.1%3A8377%2Fsign-in%2Fcorp%2Fcallback"));
    let (one, two) = (sent(&page), world.go(&mut browser, "/start").await);
    assert!(one.state != two.state && one.nonce != two.nonce);
    // What an upstream, and everybody who reads its logs, must not learn: where the person was going.
    assert!(!page.text().contains("next=") && one.state.len() < 700, "{}", one.state.len());
}

#[tokio::test]
async fn a_tool_is_signed_in_by_either_grant() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    let accounts = world.kit.list_accounts(&tokens.access).await.ok().json();
    assert_eq!(accounts["accountList"].as_array().unwrap().len(), 2, "{accounts}");
    Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);

    let client = world.kit.device_client().await;
    let device = world.kit.start_device(&client).await;
    let mut browser = world.kit.browser();
    let target = format!("/device?user_code={}", device.user_code);
    world.sign_in(&mut browser, &target).await;
    browser.decide_device(&device.user_code, Choice::Approve).await.ok();
    let tokens = Tokens::of(world.kit.poll(&client, &device.code).await);
    world.kit.role_credentials(&tokens.access, "333344445555", "DeveloperAccess").await.ok();
    let refused = world.kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await;
    refused.assert_portal_error(403, "ForbiddenException");
}

#[tokio::test]
async fn two_tabs_of_one_browser_both_arrive() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let (first, second) = (world.go(&mut browser, "/start").await, world.go(&mut browser, "/device").await);
    for (tab, next) in [(second, "/device"), (first, "/start")] {
        world.gives(&world.claims(&tab.nonce), None);
        let answer = world.come_back(&mut browser, &tab).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, next), "{}", answer.text());
    }
    // Who is signed in already does not sign in once more.
    let page = browser.get("/start").await.ok();
    let csrf = Form::find(page.text(), "/sign-out").unwrap();
    let again =
        browser.post("/sign-in/corp", &[("csrf", csrf.get("csrf").unwrap()), ("next", "/device")]).await;
    assert_eq!((again.status.as_u16(), again.location()), (303, "/device"));
}

#[tokio::test]
async fn a_look_at_the_callback_uses_nothing_up() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    world.gives(&world.claims(&sent.nonce), None);
    assert_eq!(head(&mut browser, &callback(&sent)).await.status, 405);
    assert_eq!(world.provider.asked(doorward_testkit_oidc::TOKEN).len(), 0);
    assert_eq!(world.come_back(&mut browser, &sent).await.status, 303);
}

#[tokio::test]
async fn a_new_key_of_the_source_is_good_at_once() {
    let world = World::new().await;
    world.sign_in(&mut world.kit.browser(), "/start").await;
    let new = doorward_testkit_oidc::Key::p256();
    world.provider.says(
        doorward_testkit_oidc::JWKS,
        doorward_testkit_oidc::Said::json(&json!({"keys": [new.jwk("k2")]})),
    );
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    let token = new.sign(&json!({"alg": "ES256", "kid": "k2"}), &world.claims(&sent.nonce));
    world.provider.gives_token(&token);
    assert_eq!(world.come_back(&mut browser, &sent).await.status, 303);
}

#[tokio::test]
async fn a_source_that_is_down_stops_nobody_else() {
    let world = World::new().await;
    world.breaks(503);
    let (logs, _guard) = doorward_testkit::capture_logs();
    let mut browser = world.kit.browser();
    let answer = world.press(&mut browser, "/start").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("You cannot sign in this way at the moment"), "{}", answer.text());
    assert!(!answer.text().contains(" 503") && !answer.text().contains(&world.provider.issuer));
    let log = logs.text();
    assert!(
        log.contains("ERROR") && log.contains("nobody can sign in through the identity source corp"),
        "{log}"
    );
    assert!(log.contains("503 Service Unavailable"), "{log}");
    let _ = world.kit.browser().signed_in("ada").await;
    world.mends();
    world.sign_in(&mut browser, "/start").await;
}

// Holds: rfc7636-7.1-client-entropy, rfc9700-2.1.1-client-transaction-specific
#[tokio::test]
async fn every_sign_in_draws_what_binds_it() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let mut drawn = BTreeSet::new();
    for _ in 0..5 {
        let page = world.press(&mut browser, "/start").await.ok();
        let challenge = page.text().split("code_challenge=").nth(1).expect("a challenge")[..43].to_owned();
        let way = sent(&page);
        world.gives(&world.claims(&way.nonce), None);
        assert_eq!(world.come_back(&mut browser, &way).await.status, 303);
        drawn.extend([challenge, way.state, way.nonce]);
        browser.cookies_mut().retain(|name, _| !name.contains("session"));
    }
    assert_eq!(drawn.len(), 15, "{drawn:?}");
    let verifiers: BTreeSet<String> =
        world.provider.asked(TOKEN).into_iter().map(|asked| asked.form["code_verifier"].clone()).collect();
    assert_eq!(verifiers.len(), 5);
    // 32 bytes in base64url.
    assert!(verifiers.iter().all(|verifier| verifier.len() == 43), "{verifiers:?}");
}
