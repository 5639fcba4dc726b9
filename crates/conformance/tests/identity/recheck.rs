//! What follows when the source says something else later, or nothing.

use std::time::{Duration, Instant};

use doorward_core::ids::PersonId;
use doorward_core::store::Store as _;
use doorward_testkit::{Answer, Kit, Tokens, capture_logs};
use doorward_testkit_oidc::{Said, TOKEN};
use serde_json::{Value, json};

use crate::world::{RECHECK, TRUST, World, settings};

const INVALID_GRANT: &str = "invalid_grant";

fn accounts(answer: Answer) -> usize {
    answer.ok().json()["accountList"].as_array().expect("a list").len()
}

#[track_caller]
fn assert_out(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidGrantException", INVALID_GRANT);
}

/// Not refused, and not said to be: a fault of ours.
#[track_caller]
fn assert_fault(answer: &Answer) {
    assert_eq!(answer.status, 500, "{}", answer.text());
}

/// The next check is due, and the source says `claims`, as of now.
fn at_next_check(world: &World, mut claims: Value) {
    world.kit.advance(RECHECK);
    for name in ["iat", "exp"] {
        claims[name] = world.claims("")[name].clone();
    }
    world.gives(&claims, Some("rt-2"));
}

fn denies(world: &World) {
    world.provider.says(TOKEN, Said::json(&json!({"error": INVALID_GRANT})).status(400));
}

#[tokio::test]
async fn other_groups_are_other_roles_after_the_next_check() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    assert_eq!(accounts(world.kit.list_accounts(&tokens.access).await), 2);
    let mut claims = world.claims("");
    claims["groups"] = json!(["platform", "unknown here"]);
    world.gives(&claims, Some("rt-2"));
    world.kit.advance(RECHECK - 1);
    assert_eq!(accounts(world.kit.list_accounts(&tokens.access).await), 2);
    assert!(world.asked_again().is_empty());
    world.kit.advance(1);
    claims["exp"] = world.claims("")["exp"].clone();
    world.gives(&claims, Some("rt-2"));
    assert_eq!(accounts(world.kit.list_accounts(&tokens.access).await), 3);
    assert_eq!(world.asked_again(), ["rt-1"]);
    // And not again until it is due, by whatever way.
    let tokens = Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    assert_eq!(world.asked_again(), ["rt-1"]);
    world.kit.advance(RECHECK);
    world.gives(&world.claims(""), None);
    let refreshed = Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    // The old one is kept when no new one comes.
    world.kit.advance(RECHECK);
    world.kit.list_accounts(&refreshed.access).await.ok();
    assert_eq!(world.asked_again(), ["rt-1", "rt-2", "rt-2"]);
}

#[tokio::test]
async fn a_page_has_it_checked_too() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let mut claims = world.claims("");
    claims["groups"] = json!(["platform"]);
    at_next_check(&world, claims);
    assert!(browser.get("/start").await.ok().text().contains("AdministratorAccess"));
    world.kit.advance(RECHECK);
    denies(&world);
    assert_eq!(browser.get("/start").await.status, 303);
}

#[tokio::test]
async fn who_is_gone_there_is_gone_here_everywhere_at_once() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    denies(&world);
    world.kit.advance(RECHECK);
    let (logs, guard) = capture_logs();
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
    let log = logs.text();
    assert!(log.contains("audit: event=\"person_gone\" person=zoe source=corp"), "{log}");
    assert!(log.contains("token_endpoint: \"invalid_grant\""), "{log}");
    drop(guard);
    world.kit.list_accounts(&tokens.access).await.assert_portal_error(401, "UnauthorizedException");
    assert_eq!(browser.get("/start").await.status, 303);
    assert_eq!(world.asked_again().len(), 1, "who is gone is not asked about again");

    // Back again: what was signed in before stays void.
    world.sign_in(&mut browser, "/start").await;
    browser.get("/start").await.ok();
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
}

#[tokio::test]
async fn a_person_with_another_name_there_is_not_this_one_any_more() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    let mut claims = world.claims("");
    claims["preferred_username"] = json!("zoe.married");
    at_next_check(&world, claims);
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
    // The name is free, and its next owner begins anew.
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, "/start").await;
    let mut claims = world.claims(&sent.nonce);
    claims["sub"] = json!("s-2");
    world.gives(&claims, Some("rt-of-another"));
    assert_eq!(world.come_back(&mut browser, &sent).await.status, 303);
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
}

#[tokio::test]
async fn a_required_claim_that_is_taken_away_ends_it() {
    let world = World::with(|setup| {
        setup.identity_sources[0].required_claims = [("groups".to_owned(), "developers".to_owned())].into();
    })
    .await;
    let (client, tokens) = world.tokens().await;
    let mut claims = world.claims("");
    claims["groups"] = json!(["platform"]);
    at_next_check(&world, claims);
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
}

#[tokio::test]
async fn without_a_refresh_token_of_the_source_the_person_comes_back_in_time() {
    let world = World::new().await;
    let client = world.kit.pkce_client().await;
    let target = world.kit.authorize_target(&client);
    let mut browser = world.kit.browser();
    let sent = world.go(&mut browser, &target).await;
    world.gives(&world.claims(&sent.nonce), None);
    world.come_back(&mut browser, &sent).await;
    let decided = browser.decide_authorize(&target, doorward_testkit::Choice::Approve).await;
    let code = decided.location_parameter("code").expect("a code");
    let tokens = Tokens::of(world.kit.redeem(&client, &code).await);
    world.kit.advance(TRUST - 1);
    let tokens = Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    world.kit.advance(1);
    assert_out(&world.kit.refresh(&client, tokens.refresh()).await);
    assert!(world.asked_again().is_empty());
    // The session itself was not ended: who signs in again has it back.
    world.sign_in(&mut browser, "/start").await;
    Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
}

#[tokio::test]
async fn while_the_source_is_down_its_last_word_holds_for_a_time_and_then_it_is_a_fault() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    world.breaks(503);
    world.kit.advance(RECHECK);
    let tokens = Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    world.kit.advance(TRUST - RECHECK - 1);
    let tokens = Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    world.kit.advance(10);
    let (logs, guard) = capture_logs();
    assert_fault(&world.kit.refresh(&client, tokens.refresh()).await);
    let log = logs.text();
    assert!(log.contains("the identity source corp cannot be asked about zoe"), "{log}");
    assert!(log.contains("503 Service Unavailable"), "{log}");
    drop(guard);
    assert_fault(&world.kit.list_accounts(&tokens.access).await);
    // It is over: nobody was logged out.
    world.mends();
    world.gives(&world.claims(""), Some("rt-2"));
    world.kit.advance(10);
    Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    world.kit.list_accounts(&tokens.access).await.ok();
}

#[tokio::test]
async fn who_cannot_be_asked_about_may_still_sign_in() {
    let world = World::new().await;
    let mut browser = world.kit.browser();
    world.sign_in(&mut browser, "/start").await;
    let sign_out =
        doorward_testkit::Form::find(browser.get("/start").await.ok().text(), "/sign-out").unwrap();
    world.provider.says(TOKEN, Said::json(&json!({"error": "invalid_client"})).status(401));
    world.kit.advance(TRUST);
    assert_eq!(browser.get("/start").await.status, 500);
    world.kit.advance(10);
    assert_eq!(browser.submit(&sign_out).await.status, 500, "it is not said that it was done");
    world.kit.advance(10);
    let sent = world.go(&mut browser, "/start").await;
    world.gives(&world.claims(&sent.nonce), Some("rt-2"));
    world.kit.advance(10);
    assert_eq!(world.come_back(&mut browser, &sent).await.status, 303);
    browser.get("/start").await.ok();
}

#[tokio::test]
async fn an_answer_that_cannot_be_believed_is_no_word_against_anybody() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    world.kit.advance(RECHECK);
    for (claim, value) in
        [("iss", json!("https://evil.example")), ("sub", json!("s-2")), ("groups", json!([7]))]
    {
        let mut claims = world.claims("");
        claims[claim] = value;
        world.gives(&claims, Some("rt-2"));
        Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
        world.kit.advance(10);
    }
    // Though the first of them exchanged the token, which was kept.
    assert_eq!(world.asked_again(), ["rt-1", "rt-2", "rt-2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_all_who_come_at_once_one_asks() {
    let dir = tempfile::tempdir().unwrap();
    let provider = doorward_testkit_oidc::Provider::start().await;
    let source = settings(&provider);
    let kit = Kit::embedded(dir.path(), |setup| setup.identity_sources = vec![source]).await;
    let world = World { kit, provider };
    let (client, mut tokens) = world.tokens().await;
    for asked in 1..=3 {
        // The last time when nothing holds any more, so that all but one must wait.
        world.kit.advance(if asked == 3 { TRUST } else { RECHECK });
        world.gives(&world.claims(""), Some("rt-2"));
        let requests = (0..32).map(|_| client.refresh_request(tokens.refresh())).collect();
        for answer in world.kit.send_in_parallel(requests).await {
            tokens = Tokens::of(answer);
        }
        assert_eq!(world.asked_again().len(), asked);
    }
    world.kit.close().await;
}

#[tokio::test]
async fn a_source_that_hangs_costs_two_seconds_once_and_the_others_nothing() {
    let world = World::new().await;
    let (_, tokens) = world.tokens().await;
    let asked = async || {
        let started = Instant::now();
        world.kit.list_accounts(&tokens.access).await.ok();
        started.elapsed()
    };
    world.provider.says(TOKEN, Said::json(&json!({})).hanging());
    world.kit.advance(RECHECK);
    let (first, second) = (asked().await, asked().await);
    assert!(first > Duration::from_millis(1900) && first < Duration::from_secs(4), "{first:?}");
    assert!(second < Duration::from_millis(500), "{second:?}");
    // When it is known that nobody answers, it is left in peace for a while.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let third = asked().await;
    assert!(third < Duration::from_millis(500), "{third:?}");
    assert_eq!(world.asked_again().len(), 1);
}

#[tokio::test]
async fn what_the_source_said_is_kept_even_if_whoever_asked_has_gone() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    at_next_check(&world, world.claims(""));
    // The client hangs up as soon as the source is asked.
    tokio::select! {
        biased;
        () = async {
            while world.asked_again().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } => {}
        _ = world.kit.refresh(&client, tokens.refresh()) => {}
    }
    let zoe = PersonId::parse("zoe").unwrap();
    for _ in 0..500 {
        let (_, person) = world.kit.store().federated_person(&zoe).await.unwrap();
        if person.unwrap().confirmed_at == world.kit.now() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.kit.advance(RECHECK);
    world.kit.list_accounts(&tokens.access).await.ok();
    assert_eq!(world.asked_again(), ["rt-1", "rt-2"]);
}

#[tokio::test]
async fn under_another_master_key_nobody_can_ask_and_the_last_word_runs_out() {
    let dir = tempfile::tempdir().unwrap();
    let provider = doorward_testkit_oidc::Provider::start().await;
    let source = settings(&provider);
    let open = |key: u8| {
        let source = source.clone();
        Kit::embedded(dir.path(), move |setup| {
            setup.identity_sources = vec![source];
            setup.master_key = [key; 32];
        })
    };
    let world = World { kit: open(1).await, provider };
    world.sign_in(&mut world.kit.browser(), "/start").await;
    let World { kit, provider } = world;
    kit.close().await;
    let world = World { kit: open(2).await, provider };
    let zoe = PersonId::parse("zoe").unwrap();
    let (_, before) = world.kit.store().federated_person(&zoe).await.unwrap();
    let text = before.unwrap().refresh_token.unwrap();
    assert!(!text.contains("rt-1"));
    // She signs in anew, and it can be asked again.
    let (client, tokens) = world.tokens().await;
    world.gives(&world.claims(""), Some("rt-2"));
    world.kit.advance(RECHECK);
    Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    assert_eq!(world.asked_again(), ["rt-1"]);
    world.kit.close().await;
}

#[tokio::test]
async fn a_refresh_token_in_another_persons_row_is_not_used() {
    let world = World::new().await;
    let (client, tokens) = world.tokens().await;
    let id = PersonId::parse("zoe").unwrap();
    let (version, zoe) = world.kit.store().federated_person(&id).await.unwrap();
    let mut moved = zoe.unwrap();
    moved.subject = "s-2".into();
    let put = doorward_core::verdict::Change::PutFederatedPerson { from: version, person: Box::new(moved) };
    world.kit.store().commit(vec![put]).await.unwrap();
    world.kit.advance(RECHECK);
    let (logs, _guard) = capture_logs();
    Tokens::of(world.kit.refresh(&client, tokens.refresh()).await);
    assert!(world.asked_again().is_empty());
    assert!(logs.text().contains("sealed under another master key"), "{}", logs.text());
}
