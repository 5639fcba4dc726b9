//! Who must not come in, each with the page that they see, which is the same for all, and the line that the operator reads.

use doorward_core::directory::Person;
use doorward_core::ids::{PersonId, SourceName};
use doorward_testkit::{Answer, Browser, Form, Kit, capture_logs};
use doorward_testkit_oidc::{Said, TOKEN};
use serde_json::{Value, json};

use crate::world::{Sent, World, callback, settings};

/// The page that every refusal is: the same text, but for its reference.
#[track_caller]
fn assert_refused(answer: &Answer, browser: &Browser<'_>) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let (before, rest) = answer.text().split_once("<code>").expect("a reference");
    assert_eq!(rest.split('<').next().map(str::len), Some(36), "{}", answer.text());
    assert!(before.contains("You are not signed in"), "{before}");
    for told in ["state", "nonce", "zoe", "ada", "audience", "signature", "token"] {
        assert!(!before.contains(told), "{told} is told: {before}");
    }
    assert!(!browser.cookies().keys().any(|name| name.contains("session")), "{:?}", browser.cookies());
}

#[track_caller]
fn assert_logged(log: &str, step: &str, reason: &str) {
    let line =
        log.lines().find(|line| line.contains("sign_in_refused")).unwrap_or_else(|| panic!("no line: {log}"));
    for part in
        ["audit: event=\"sign_in_refused\" source=corp", &format!("step=\"{step}\""), reason, "request="]
    {
        assert!(line.contains(part), "{part} is missing: {line}");
    }
}

/// Comes back with what `edit` makes of Zoe's claims, and is refused.
async fn refused(world: &World, step: &str, reason: &str, edit: impl FnOnce(&mut Value)) {
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    let mut claims = world.claims(&sent.nonce);
    edit(&mut claims);
    world.gives(&claims, Some("rt-1"));
    refused_with(world, browser, &sent, step, reason).await;
}

async fn refused_with(world: &World, mut browser: Browser<'_>, sent: &Sent, step: &str, reason: &str) {
    let (logs, _guard) = capture_logs();
    let answer = world.come_back(&mut browser, sent).await;
    assert_refused(&answer, &browser);
    assert_logged(&logs.text(), step, reason);
}

// Holds: openid-connect-core-16.9-token-substitution, rfc9700-4.5.3-client-nonce
#[tokio::test]
async fn ledger_23_24_an_answer_that_is_not_for_this_sign_in_is_refused() {
    let world = World::new().await;
    refused(&world, "id_token", "nonce is not the one that was sent", |claims| claims["nonce"] = json!("x"))
        .await;
    refused(&world, "id_token", "iss is", |claims| claims["iss"] = json!("https://evil.example")).await;
    refused(&world, "id_token", "and not for", |claims| claims["aud"] = json!("another")).await;
    refused(&world, "id_token", "no azp", |claims| claims["aud"] = json!(["doorward", "another"])).await;
    let now = world.kit.now().seconds();
    refused(&world, "id_token", "expired before now by 61 s", |claims| claims["exp"] = json!(now - 61)).await;
    refused(&world, "id_token", "iat is after now by 61 s", |claims| claims["iat"] = json!(now + 61)).await;
    refused(&world, "claims", "the user name must be", |claims| {
        claims["preferred_username"] = json!("z o e");
    })
    .await;
}

#[tokio::test]
async fn ledger_05_a_token_that_nobody_signed_is_refused() {
    let world = World::new().await;
    let Value::String(modulus) = world.provider.key.jwk("k1")["n"].clone() else { panic!("an RSA key") };
    for (alg, reason) in
        [("none", "names an algorithm that nobody should use"), ("HS256", "not what its key is for")]
    {
        let mut browser = world.kit.browser();
        let sent = world.go(&mut browser, "/start").await;
        let (header, claims) = (json!({"alg": alg, "kid": "k1"}), world.claims(&sent.nonce));
        world.provider.gives_token(&match alg {
            "none" => format!("{}.", doorward_testkit_oidc::unsigned(&header, &claims)),
            _ => doorward_testkit_oidc::hmac_signed(modulus.as_bytes(), &header, &claims),
        });
        refused_with(&world, browser, &sent, "id_token", reason).await;
    }
}

// Holds: rfc9700-2.1-client-csrf
#[tokio::test]
async fn ledger_26_a_callback_of_another_browser_signs_nobody_in() {
    let world = World::new().await;
    let (mut hers, mut his) = (world.kit.browser(), world.kit.browser());
    // He has her open the address with which he was sent back, or she is sent back with what was meant for his browser.
    let sent = world.go(&mut his, "/start").await;
    world.gives(&world.claims(&sent.nonce), None);
    hers.get("/sign-in").await.ok();
    let (logs, guard) = capture_logs();
    let answer = world.come_back(&mut hers, &sent).await;
    assert_refused(&answer, &hers);
    assert_logged(&logs.text(), "callback", "state is of another browser");
    drop(guard);
    assert!(world.provider.asked(TOKEN).is_empty(), "nobody's code is used up");
    // A browser without any cookie has none to be the right one.
    let stranger = world.kit.browser();
    refused_with(&world, stranger, &sent, "callback", "state is of another browser").await;
    assert_eq!(world.come_back(&mut his, &sent).await.status, 303, "and his own is not");
}

// Holds: rfc9700-4.2.4-client-state-once
#[tokio::test]
async fn ledger_23_a_callback_is_good_once() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    world.gives(&world.claims(&sent.nonce), None);
    assert_eq!(world.come_back(&mut browser, &sent).await.status, 303);
    // The source would give another token for it, as it should not.
    browser.cookies_mut().retain(|name, _| !name.contains("session"));
    refused_with(&world, browser, &sent, "person", "this sign-in was finished before").await;
}

#[tokio::test]
async fn a_state_that_is_not_ours_leads_nowhere() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let Sent { state, nonce } = world.go(&mut browser, "/start").await;
    world.gives(&world.claims(&nonce), None);
    let mut changed = state.clone().into_bytes();
    changed[40] ^= 1;
    let asked = browser.get("/device").await;
    assert_eq!(asked.status, 303);
    for bad in
        [String::new(), "x".into(), state[..state.len() - 2].into(), String::from_utf8(changed).unwrap()]
    {
        let (logs, _guard) = capture_logs();
        let answer = browser.get(&format!("/sign-in/corp/callback?code=c&state={bad}")).await;
        assert_refused(&answer, &browser);
        assert_logged(&logs.text(), "callback", "state is not one of this server's");
    }
    let (logs, guard) = capture_logs();
    let answer = browser.get(&format!("/sign-in/corp/callback?code=c&state={state}&state={state}")).await;
    assert_refused(&answer, &browser);
    assert_logged(&logs.text(), "callback", "state occurs twice");
    drop(guard);
    world.kit.advance(600);
    refused_with(&world, browser, &Sent { state, nonce }, "callback", "it took longer than ten minutes")
        .await;
    assert!(world.provider.asked(TOKEN).is_empty());
}

// Holds: rfc8252-8.10-mix-up, rfc9207-2.4-client-compares, rfc9700-2.1-client-mix-up
#[tokio::test]
async fn a_sign_in_through_one_source_does_not_end_at_another() {
    // The attack of RFC 9207: whoever runs one source has its users redeem another's codes.
    let evil = doorward_testkit_oidc::Provider::start().await;
    let other = settings(&evil);
    let world = World::with(|setup| {
        let name = SourceName::parse("evil").unwrap();
        setup.identity_sources.push(doorward_upstream::identity::oidc::Settings { name, ..other });
    })
    .await;
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    world.gives(&world.claims(&sent.nonce), None);
    let (logs, guard) = capture_logs();
    let crossed = callback(&sent).replace("/corp/", "/evil/");
    let answer = browser.get(&crossed).await;
    assert_refused(&answer, &browser);
    assert!(logs.text().contains("state is of a sign-in through another source"), "{}", logs.text());
    drop(guard);
    let (logs, guard) = capture_logs();
    let answer = browser.get(&format!("{}&iss=https%3A%2F%2Fevil.example", callback(&sent))).await;
    assert_refused(&answer, &browser);
    assert_logged(&logs.text(), "callback", "RFC 9207");
    drop(guard);
    assert!(world.provider.asked(TOKEN).is_empty() && evil.asked(TOKEN).is_empty());
}

#[tokio::test]
async fn who_changes_their_mind_there_is_told_the_same() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    let (logs, _guard) = capture_logs();
    let target =
        format!("/sign-in/corp/callback?error=access_denied&error_description=x%0Ay&state={}", sent.state);
    let answer = browser.get(&target).await;
    assert_refused(&answer, &browser);
    let log = logs.text();
    assert_logged(&log, "callback", "access_denied");
    assert!(!log.contains("x\ny"), "a stranger writes no lines into the log");
}

#[tokio::test]
async fn a_name_of_somebody_else_is_nobodys_way_in() {
    let world = World::new().await;
    world
        .kit
        .edit_directory(|file| {
            let name = |name: &str| PersonId::parse(name).unwrap();
            let corp = Some(SourceName::parse("corp").unwrap());
            let other = Some(SourceName::parse("other").unwrap());
            file.people.push(Person { identity_source: corp, disabled: true, ..Person::named(name("off")) });
            file.people.push(Person { identity_source: other, ..Person::named(name("eve")) });
        })
        .await;
    for (name, reason) in [
        ("ada", "ada: the directory has a person of that name, without identity_source"),
        ("Ada", "Ada: the directory has ada, which differs in the case of letters alone"),
        ("off", "off: the directory disables this person"),
        ("eve", "eve: the directory has a person of that name whose identity_source is other"),
    ] {
        refused(&world, "person", reason, |claims| claims["preferred_username"] = json!(name)).await;
    }
    world.sign_in(&mut world.kit.browser(), "/start").await;
    refused(&world, "person", "zoe: the name belongs to another subject", |claims| {
        claims["sub"] = json!("s-2");
    })
    .await;
}

#[tokio::test]
async fn only_those_in_the_directory_when_the_operator_wants_that() {
    let world = World::with(|setup| setup.identity_sources[0].just_in_time = false).await;
    refused(&world, "person", "just_in_time is false", |_| {}).await;
    world
        .kit
        .edit_directory(|file| {
            let corp = Some(SourceName::parse("corp").unwrap());
            let zoe = PersonId::parse("zoe").unwrap();
            file.people.push(Person { identity_source: corp, ..Person::named(zoe) });
        })
        .await;
    world.sign_in(&mut world.kit.browser(), "/start").await;
}

#[tokio::test]
async fn ledger_22_what_is_missing_is_no_sign_in() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    browser.get("/sign-in").await.ok();
    for fields in [&[][..], &[("next", "/start")], &[("csrf", ""), ("next", "/start")]] {
        let answer = browser.post("/sign-in/corp", fields).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("This page is out of date"));
    }
    let form = Form::find(browser.get("/sign-in").await.ok().text(), "/sign-in/corp").unwrap();
    let fields = [("csrf", form.get("csrf").unwrap()), ("next", "/start")];
    let elsewhere = browser.post_with("/sign-in/corp", &fields, &[("origin", "https://evil.example")]).await;
    assert_eq!(elsewhere.status, 403);
    assert_eq!(browser.post("/sign-in/nobody", &fields).await.status, 404);
    assert_eq!(browser.get("/sign-in/nobody/callback?code=x&state=y").await.status, 404);
    assert_eq!(browser.get("/sign-in/corp").await.status, 405);
    assert_eq!(browser.post("/sign-in/corp/callback", &fields).await.status, 405);
}

// Holds: rfc9700-2.1-no-open-redirector, rfc9700-4.1.3-client-no-open-redirector
#[tokio::test]
async fn nobody_is_sent_elsewhere_after_signing_in() {
    let world = World::new().await;
    for next in ["https://evil.example", "//evil.example", "/sign-out", ""] {
        let mut browser = world.kit.browser();
        let sent = world.go(&mut browser, next).await;
        world.gives(&world.claims(&sent.nonce), None);
        assert_eq!(world.come_back(&mut browser, &sent).await.location(), "/start", "{next}");
    }
    let mut browser = world.kit.browser();
    let long = format!("/authorize?state={}", "x".repeat(4000));
    let sent = world.go(&mut browser, &long).await;
    assert!(sent.state.len() < 1000);
}

#[tokio::test]
async fn a_source_that_cannot_be_used_is_a_fault_and_no_refusal() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    for said in [
        Said::json(&json!({"error": "invalid_client"})).status(401),
        Said::json(&json!({})).status(500),
        Said::json(&json!("x")),
    ] {
        let sent = world.go(&mut browser, "/start").await;
        world.provider.says(TOKEN, said);
        let (logs, _guard) = capture_logs();
        let answer = world.come_back(&mut browser, &sent).await;
        assert_eq!(answer.status, 502);
        assert!(!answer.text().contains("invalid_client"));
        let log = logs.text();
        assert!(
            log.contains("ERROR") && log.contains("token_endpoint: ") && !log.contains("sign_in_refused"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn no_secret_of_a_sign_in_is_logged() {
    let world = World::new().await;
    let (logs, _guard) = capture_logs();
    let (client, tokens) = world.tokens().await;
    world.kit.advance(crate::world::RECHECK);
    world.gives(&world.claims("x"), Some("rt-2"));
    doorward_testkit::Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    world.kit.advance(crate::world::RECHECK);
    world.breaks(503);
    world.kit.list_accounts(&tokens.access).await.ok();
    let asked = world.provider.asked(TOKEN);
    let verifier = asked.iter().find_map(|asked| asked.form.get("code_verifier")).expect("a verifier");
    let log = logs.text();
    assert!(log.contains("signed_in") && log.contains("source=\"corp\""), "{log}");
    for secret in ["rt-1", "rt-2", "c-1&", "code=c-1", "s3cret-of-the-client", "at-of-the-source", verifier] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[tokio::test]
async fn ledger_07_people_of_a_source_that_is_no_more_have_nothing_left() {
    let dir = tempfile::tempdir().unwrap();
    let provider = doorward_testkit_oidc::Provider::start().await;
    let source = settings(&provider);
    let with = |sources: Vec<doorward_upstream::identity::oidc::Settings>| {
        Kit::embedded(dir.path(), move |setup| setup.identity_sources = sources)
    };
    let world = World { kit: with(vec![source.clone()]).await, provider };
    let (client, tokens) = world.tokens().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let cookies = browser.cookies().clone();
    world.kit.list_accounts(&tokens.access).await.ok();
    world.kit.close().await;

    let renamed =
        doorward_upstream::identity::oidc::Settings { name: SourceName::parse("new").unwrap(), ..source };
    for sources in [vec![], vec![renamed]] {
        let kit = with(sources).await;
        kit.list_accounts(&tokens.access).await.assert_portal_error(401, "UnauthorizedException");
        let refreshed = kit.refresh(&client, tokens.refresh()).await;
        refreshed.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
        let mut browser = kit.browser();
        *browser.cookies_mut() = cookies.clone();
        assert_eq!(browser.get("/start").await.status, 303);
        kit.close().await;
    }
}
