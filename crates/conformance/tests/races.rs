//! Requests at the same moment, over HTTP and on every store: 64 of them, first as the scheduler has it, then so that
//! all of them decide before any of them writes.

use std::collections::BTreeSet;

use axum::body::Body;
use doorward_testkit::{Answer, Choice, Form, Kit, Tokens, on_every_store};
use http::Request;

const AT_ONCE: usize = 64;

/// Runs a race on every store, twice.
async fn race(test: impl AsyncFn(&Kit)) {
    on_every_store(
        |setup| setup.poll_interval = 0,
        async |kit| {
            test(kit).await;
            kit.store().interleave();
            test(kit).await;
        },
    )
    .await;
}

async fn at_once(kit: &Kit, request: impl Fn() -> Request<Body>) -> Vec<Answer> {
    kit.send_in_parallel((0..AT_ONCE).map(|_| request()).collect()).await
}

/// Those that were answered 200; all others must be `InvalidGrantException`.
fn granted(answers: Vec<Answer>) -> Vec<Tokens> {
    let (granted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    for answer in refused {
        answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
    }
    granted.into_iter().map(Tokens::of).collect()
}

/// Tools share one cached token between processes without a lock.
// Holds: ledger-01
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_refreshes_of_one_token_all_get_the_same_successor() {
    race(async |kit| {
        let client = kit.device_client().await;
        let tokens = kit.device_tokens(&client, "ada").await;
        let answers = at_once(kit, || client.refresh_request(tokens.refresh())).await;
        let refreshed: Vec<Tokens> = answers.into_iter().map(Tokens::of).collect();
        let successors: BTreeSet<&str> = refreshed.iter().map(Tokens::refresh).collect();
        assert_eq!((refreshed.len(), successors.len()), (AT_ONCE, 1));
        assert_ne!(refreshed[0].refresh(), tokens.refresh());
        for tokens in &refreshed {
            kit.list_accounts(&tokens.access).await.ok();
        }
        // The session counted one rotation, not 64: its successor is the current token, and the next one works.
        Tokens::of(kit.refresh(&client, refreshed[0].refresh()).await);
    })
    .await;
}

// Holds: ledger-31
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_polls_of_one_approved_code_get_tokens_once() {
    race(async |kit| {
        let client = kit.device_client().await;
        let device = kit.approved_device(&client, "ada").await;
        let granted = granted(at_once(kit, || client.poll_request(&device.code)).await);
        assert_eq!(granted.len(), 1);
        kit.list_accounts(&granted[0].access).await.ok();
    })
    .await;
}

/// A code that is presented twice has leaked: whatever the first redemption gave is taken back.
// Holds: ledger-31
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_redemptions_of_one_code_leave_nobody_signed_in() {
    race(async |kit| {
        let client = kit.pkce_client().await;
        let code = kit.code(&client, "ada").await;
        let granted = granted(at_once(kit, || client.redeem_request(&code)).await);
        assert!(granted.len() <= 1, "{}", granted.len());
        for tokens in granted {
            kit.list_accounts(&tokens.access).await.assert_portal_error(401, "UnauthorizedException");
            let answer = kit.refresh(&client, tokens.refresh()).await;
            answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
        }
        kit.redeem(&client, &code).await.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
    })
    .await;
}

/// Whoever decides first decides: of an approval and a denial, one counts, and its page says so.
// Holds: ledger-31, rfc8628-5.5-spying
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_decisions_about_one_device_decide_once() {
    race(async |kit| {
        let client = kit.device_client().await;
        let device = kit.start_device(&client).await;
        let mut browser = kit.browser().signed_in("ada").await;
        let page = browser.type_code(&device.user_code).await.ok();
        let form = Form::find(page.text(), "/device/decision").expect("a question");
        let requests = (0..AT_ONCE).map(|nth| {
            let choice = if nth % 2 == 0 { Choice::Approve } else { Choice::Deny };
            browser.request(&form.clone().with("decision", choice.as_str()))
        });
        let told = kit.send_in_parallel(requests.collect()).await;
        let count = |title: &str| {
            told.iter().filter(|page| page.text().contains(&format!("<h1>{title}</h1>"))).count()
        };
        let (approved, denied, late) =
            (count("Approved"), count("Denied"), count("That request is no longer open"));
        assert_eq!((approved + denied, late), (1, AT_ONCE - 1));
        let polled = kit.poll(&client, &device.code).await;
        assert_eq!(polled.status == 200, approved == 1, "{}", polled.text());
    })
    .await;
}

/// A logout beats every refresh that runs beside it: nothing of the session is left.
// Holds: ledger-04
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_logout_among_parallel_refreshes_leaves_nothing() {
    race(async |kit| {
        let client = kit.device_client().await;
        let tokens = kit.device_tokens(&client, "ada").await;
        let mut requests: Vec<_> = (1..AT_ONCE).map(|_| client.refresh_request(tokens.refresh())).collect();
        let logout =
            Request::post("/logout").header("x-amz-sso_bearer_token", &tokens.access).body(Body::empty());
        requests.insert(AT_ONCE / 2, logout.unwrap());
        let mut answers = kit.send_in_parallel(requests).await;
        let _ = answers.remove(AT_ONCE / 2).ok();
        let granted = granted(answers);
        for token in granted.iter().chain([&tokens]) {
            kit.list_accounts(&token.access).await.assert_portal_error(401, "UnauthorizedException");
            let answer = kit.refresh(&client, token.refresh()).await;
            answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
        }
    })
    .await;
}
