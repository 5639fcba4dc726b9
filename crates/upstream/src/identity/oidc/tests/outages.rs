//! A source that cannot be reached, and keys that change.

use std::time::Duration;

use serde_json::json;

use super::super::{Kind, Step};
use super::provider::{DISCOVERY, DRAWN, JWKS, Key, NOW, Provider, Said, later};

fn broken() -> Said {
    Said::json(&json!({})).status(503)
}

#[tokio::test]
async fn what_is_known_outlives_an_outage_for_a_day() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    source.warm(NOW).await.unwrap();
    provider.says(DISCOVERY, broken());
    provider.says(JWKS, broken());
    source.begin(&DRAWN, later(86_399)).await.unwrap();
    let error = source.begin(&DRAWN, later(86_400)).await.unwrap_err();
    assert_eq!((error.kind, error.step), (Kind::Unreachable, Step::Discovery));
    assert!(error.reason.contains("503 Service Unavailable"), "{error}");
    // And it is known again when it is over.
    provider.says(DISCOVERY, Said::json(&provider.document()));
    provider.says(JWKS, Said::json(&json!({"keys": [provider.key.jwk("k1")]})));
    source.begin(&DRAWN, later(86_401)).await.unwrap();
}

#[tokio::test]
async fn what_is_known_is_fetched_again_behind_the_back_of_whoever_asks() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    source.warm(NOW).await.unwrap();
    source.warm(later(599)).await.unwrap();
    assert_eq!(provider.asked(DISCOVERY).len(), 1);
    // Whoever asks does not wait for it, even if it never comes.
    provider.says(DISCOVERY, Said::json(&json!({})).hanging());
    tokio::time::timeout(Duration::from_secs(1), source.warm(later(600))).await.unwrap().unwrap();
    until(|| provider.asked(DISCOVERY).len() == 2).await;
    // What did not work is tried again after ten seconds, and not at every question.
    let source = provider.source(|_| {});
    provider.says(DISCOVERY, Said::json(&provider.document()));
    source.warm(NOW).await.unwrap();
    provider.says(DISCOVERY, broken());
    for (at, asked) in [(600, 4), (601, 4), (609, 4), (610, 5)] {
        source.warm(later(at)).await.unwrap();
        until(|| provider.asked(DISCOVERY).len() == asked).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(provider.asked(DISCOVERY).len(), asked, "{at}");
    }
}

async fn until(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be within 5 s");
}

#[tokio::test]
async fn a_crowd_fetches_once_and_shares_what_comes_of_it() {
    let provider = Provider::start().await;
    let source = std::sync::Arc::new(provider.source(|_| {}));
    let crowd = async |now| {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let source = std::sync::Arc::clone(&source);
                tokio::spawn(async move { source.warm(now).await.is_ok() })
            })
            .collect();
        let mut good = 0;
        for task in tasks {
            good += usize::from(task.await.unwrap());
        }
        good
    };
    provider.says(JWKS, broken());
    assert_eq!(crowd(NOW).await, 0);
    let failed = provider.asked(DISCOVERY).len();
    assert!(failed < 5, "{failed}");
    provider.says(JWKS, Said::json(&json!({"keys": [provider.key.jwk("k1")]})));
    assert_eq!(crowd(NOW).await, 50);
    assert_eq!(provider.asked(DISCOVERY).len(), failed + 1);
}

#[tokio::test]
async fn a_new_key_is_known_at_once_and_made_up_ones_cause_no_traffic() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    source.warm(NOW).await.unwrap();
    let new = Key::p256();
    provider.says(JWKS, Said::json(&json!({"keys": [new.jwk("k2")]})));
    provider.gives_token(&new.sign(&json!({"alg": "ES256", "kid": "k2"}), &provider.claims()));
    provider.sign_in(&source, later(100)).await.unwrap();
    assert_eq!(provider.asked(JWKS).len(), 2);
    for n in 0..100 {
        let id = format!("made-up-{n}");
        provider.gives_token(&new.sign(&json!({"alg": "ES256", "kid": id}), &provider.claims()));
        let error = provider.sign_in(&source, later(101)).await.unwrap_err();
        assert_eq!(error.reason, format!("its key {id:?} is not among the source's"));
    }
    assert_eq!(provider.asked(JWKS).len(), 2);
    // Ten seconds after the last time it is worth another look.
    provider.sign_in(&source, later(110)).await.unwrap_err();
    assert_eq!(provider.asked(JWKS).len(), 3);
    // The old one is gone.
    provider.gives(&provider.claims());
    provider.sign_in(&source, later(111)).await.unwrap_err();
}

#[tokio::test]
async fn an_outage_of_the_keys_while_one_is_new_is_an_outage() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    source.warm(NOW).await.unwrap();
    provider.says(JWKS, broken());
    let new = Key::p256();
    provider.gives_token(&new.sign(&json!({"alg": "ES256", "kid": "k2"}), &provider.claims()));
    let error = provider.sign_in(&source, later(100)).await.unwrap_err();
    assert_eq!((error.kind, error.step), (Kind::Unreachable, Step::Keys));
    provider.gives(&provider.claims());
    provider.sign_in(&source, later(100)).await.expect("the old keys are still known");
}

#[tokio::test]
async fn a_clock_that_is_put_back_makes_nothing_last_longer() {
    let provider = Provider::start().await;
    let source = provider.source(|_| {});
    source.warm(later(1_000_000)).await.unwrap();
    source.warm(NOW).await.unwrap();
    assert_eq!(provider.asked(DISCOVERY).len(), 2);
}
