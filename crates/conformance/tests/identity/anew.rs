//! A sign-in that must be a new one, through a source; and what the source says of how it was done.

use doorward_testkit::{Answer, Browser, Choice, Form, WEB, add_applications};
use serde_json::json;

use crate::world::{Sent, World, callback, sent};

async fn world() -> World {
    World::with(|setup| add_applications(&mut setup.directory)).await
}

/// Presses the source's button on the sign-in page to which the server sends a browser.
async fn press(browser: &mut Browser<'_>, away: &Answer) -> Answer {
    assert!(away.location().starts_with("/sign-in?next="), "{} {}", away.status, away.location());
    let page = browser.get(away.location()).await.ok();
    browser.submit(&Form::find(page.text(), "/sign-in/corp").expect("a button for the source")).await.ok()
}

impl World {
    /// Zoe comes back from the provider, who says this beside the usual.
    async fn comes_back(&self, browser: &mut Browser<'_>, sent: &Sent, more: &serde_json::Value) -> Answer {
        let mut claims = self.claims(&sent.nonce);
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        self.gives(&claims, None);
        browser.get(&callback(sent)).await
    }
}

#[tokio::test]
async fn a_source_must_let_nobody_through_on_an_old_sign_in() {
    let world = world().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let first = browser.get(&WEB.authorize(&[])).await.ok();
    assert_eq!(browser.decide(&first, Choice::Approve).await.status, 302);
    world.kit.advance(1000);
    let asked_at = world.kit.now().seconds();
    let away = browser.get(&WEB.authorize(&[("prompt", "login")])).await;
    let page = press(&mut browser, &away).await;
    assert!(page.text().contains("prompt=login") && page.text().contains("max_age=0"), "{}", page.text());
    let there = sent(&page);
    world.kit.advance(30);
    // The provider still knew them, and asked nothing; or does not say.
    for old in [json!({"auth_time": asked_at - 1000}), json!({})] {
        let refused = world.comes_back(&mut browser, &there, &old).await;
        assert_eq!((refused.status.as_u16(), refused.location()), (403, ""));
        let again = browser.get(&WEB.authorize(&[("prompt", "login")])).await;
        assert!(again.location().starts_with("/sign-in"));
    }
    let back = world.comes_back(&mut browser, &there, &json!({"auth_time": asked_at + 20})).await;
    assert_eq!(back.status, 303, "{}", back.text());
    let answer = browser.get(back.location()).await;
    assert!(answer.location_parameter("code").is_some(), "{}", answer.location());
    // Whoever signs in without a word about that is asked nothing of the kind.
    let away = world.kit.browser().get(&WEB.authorize(&[])).await;
    let page = press(&mut world.kit.browser(), &away).await;
    assert!(!page.text().contains("max_age"));
}

/// A browser whose visitor's cookie is gone, and whose session is not.
#[tokio::test]
async fn ledger_26_what_comes_back_belongs_to_the_browser_that_went() {
    let world = world().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    browser.cookies_mut().retain(|name, _| name.contains("session"));
    let away = browser.get(&WEB.authorize(&[("prompt", "login")])).await;
    let there = sent(&press(&mut browser, &away).await);
    let auth_time = json!({"auth_time": world.kit.now().seconds()});
    let refused = world.comes_back(&mut world.kit.browser(), &there, &auth_time).await;
    assert_eq!((refused.status.as_u16(), refused.location()), (403, ""));
    assert_eq!(world.comes_back(&mut browser, &there, &auth_time).await.status, 303);
}

/// The claims of the ID token that `web` gets.
async fn id_token(world: &World, answer: &Answer) -> serde_json::Value {
    let code = answer.location_parameter("code").unwrap_or_else(|| panic!("no code: {}", answer.location()));
    let tokens = world.kit.redeem_application(WEB, &code, &[]).await.ok();
    let id_token = tokens.member("id_token");
    let claims = id_token.split('.').nth(1).expect("three parts");
    let claims = data_encoding::BASE64URL_NOPAD.decode(claims.as_bytes()).expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

#[tokio::test]
async fn ledger_22_what_somebody_proved_long_ago_is_not_new_because_they_came_here() {
    let world = world().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let openid = [("scope", "openid")];
    let page = browser.get(&WEB.authorize(&openid)).await.ok();
    let claims = id_token(&world, &browser.decide(&page, Choice::Approve).await).await;
    assert_eq!(claims.get("auth_time"), None, "the source does not say");
    let proved_at = world.kit.now().seconds();
    world.kit.advance(1000);
    for (parameter, said) in [
        (("prompt", "login"), json!({"auth_time": proved_at})),
        (("prompt", "login"), json!({})),
        (("max_age", "500"), json!({"auth_time": proved_at})),
        (("max_age", "500"), json!({})),
    ] {
        // On the way to a sign-in that must be new, by another one, which need not be.
        let mut browser = world.kit.browser();
        world.sign_in(&mut browser, "/start").await;
        let wanted = WEB.authorize(&[openid[0], parameter]);
        let away = browser.get(&wanted).await;
        let next = away.location_parameter("next").expect("a way back");
        world.kit.advance(1);
        browser.cookies_mut().retain(|name, _| !name.contains("session"));
        let there = world.go(&mut browser, "/start").await;
        assert_eq!(world.comes_back(&mut browser, &there, &said).await.status, 303);
        let back = browser.get(&next).await;
        assert!(back.location().starts_with("/sign-in"), "{parameter:?} {said}: {}", back.location());
        let again = browser.get(&wanted).await;
        assert!(again.location().starts_with("/sign-in"), "{parameter:?} {said}: {}", again.location());
    }
    // The application is told when it was, and it counts for what asks for no more.
    let mut browser = world.kit.browser();
    let there = world.go(&mut browser, "/start").await;
    let said = json!({"auth_time": proved_at});
    assert_eq!(world.comes_back(&mut browser, &there, &said).await.status, 303);
    let claims =
        id_token(&world, &browser.get(&WEB.authorize(&[openid[0], ("max_age", "5000")])).await).await;
    assert_eq!(claims["auth_time"], said["auth_time"]);
    // A source whose clock is a little late has still done what it was asked, and none is ahead of now.
    for apart in [-30, 30] {
        let away = browser.get(&WEB.authorize(&[openid[0], ("prompt", "login")])).await;
        let there = sent(&press(&mut browser, &away).await);
        let said = json!({"auth_time": world.kit.now().seconds() + apart});
        let back = world.comes_back(&mut browser, &there, &said).await;
        let claims = id_token(&world, &browser.get(back.location()).await).await;
        assert_eq!(claims["auth_time"], world.kit.now().seconds());
    }
}

#[tokio::test]
async fn how_somebody_signed_in_is_what_the_source_says() {
    let world = world().await;
    let mut browser = world.kit.browser();
    let away = browser.get(&WEB.authorize(&[("scope", "openid")])).await;
    let there = sent(&press(&mut browser, &away).await);
    let said = json!({"amr": ["pwd", "otp"], "acr": "urn:example:loa2"});
    let back = world.comes_back(&mut browser, &there, &said).await;
    let page = browser.get(back.location()).await.ok();
    let claims = id_token(&world, &browser.decide(&page, Choice::Approve).await).await;
    assert_eq!((&claims["amr"], &claims["acr"]), (&said["amr"], &said["acr"]));
}
