//! What anybody can use up: lines 39 to 41.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use doorward::guesses::{Guess, Guesses};
use doorward_core::ids::{PersonId, SessionId};
use doorward_core::scope::Scopes;
use doorward_core::session::{Holder, Session, SessionState};
use doorward_core::time::Lifetime;
use doorward_core::verdict::Change;
use doorward_keys::KeyRing;
use doorward_store::MemoryStore;
use doorward_testkit::{Form, Kit, START, on_every_store};

// Holds: rfc8628-5.1-rate-limit
#[tokio::test]
async fn ledger_39_a_session_has_ten_guesses_and_then_one_a_minute() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let mut browser = kit.browser().signed_in("ada").await;
    let mut looked_up = 0;
    for _ in 0..200 {
        let page = browser.type_code("BCDF-GHJK").await.ok();
        looked_up += usize::from(!page.text().contains("Too many wrong codes"));
    }
    assert_eq!(looked_up, 10);
    let page = browser.type_code(&device.user_code).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_none(), "the eleventh guess was looked up");
    for _ in 0..5 {
        kit.advance(60);
        assert!(!browser.type_code("BCDF-GHJK").await.text().contains("Too many wrong codes"));
        assert!(browser.type_code("BCDF-GHJK").await.text().contains("Too many wrong codes"));
    }
}

/// How many of a thousand sessions' ten guesses each are looked up.
async fn looked_up(address: impl Fn(u16) -> IpAddr) -> usize {
    let (guesses, store) = (Guesses::new(&KeyRing::new(&[7; 32]), true), MemoryStore::default());
    let session = |n: u16| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        SessionId::from_bytes(bytes)
    };
    let mut looked_up = 0;
    for n in (0..1000).flat_map(|n| std::iter::repeat_n(n, 10)) {
        let guess = Guess::UserCode(session(n), address(n));
        looked_up += usize::from(guesses.allow(&store, guess, START).await.expect("memory does not fail"));
    }
    looked_up
}

#[tokio::test]
async fn ledger_39_many_sessions_of_one_address_share_its_budget() {
    assert_eq!(looked_up(|_| [192, 0, 2, 1].into()).await, 50);
}

// Holds: rfc8628-5.1-rate-limit
#[tokio::test]
async fn ledger_39_many_sessions_of_many_addresses_share_one_budget() {
    let allowed = looked_up(|n| IpAddr::from(u32::from(n).to_be_bytes())).await;
    // Of 20^8 codes: a thousand guesses hit one of a thousand open requests once in 25 000 times.
    assert!((500..=1000).contains(&allowed), "{allowed}");
}

// Holds: rfc8628-5.1-entropy
#[tokio::test]
async fn ledger_39_user_codes_are_spread_over_all_there_are() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let mut codes = BTreeSet::new();
    for _ in 0..500 {
        codes.insert(kit.start_device(&client).await.user_code);
    }
    assert_eq!(codes.len(), 500);
    for at in (0..9).filter(|at| *at != 4) {
        let letters: BTreeSet<u8> = codes.iter().map(|code| code.as_bytes()[at]).collect();
        assert_eq!(letters.len(), 20, "place {at}");
    }
}

/// Passwords are guesses too.
// Holds: openid-connect-core-16.12-guessing
#[tokio::test]
async fn ledger_39_passwords_cannot_be_guessed_without_end() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let mut browser = kit.browser();
    let form = browser.sign_in_form("/start").await.with("user_name", "ada");
    let mut refused = 0;
    for n in 0..15 {
        let page = browser.submit(&form.clone().with("password", &format!("guess {n}"))).await.ok();
        refused += usize::from(page.text().contains("Too many attempts"));
    }
    assert_eq!(refused, 5);
    let page = browser.submit(&form.with("password", "analytical-engine")).await.ok();
    assert!(page.text().contains("Too many attempts"));
}

#[tokio::test]
async fn ledger_40_registrations_store_nothing_and_drive_nobody_out() {
    on_every_store(
        |_| {},
        async |kit| {
            let first = kit.device_client().await;
            let commits = kit.store().commits();
            for _ in 0..500 {
                kit.device_client().await;
            }
            assert_eq!(kit.store().commits(), commits);
            let tokens = kit.device_tokens(&first, "ada").await;
            kit.list_accounts(&tokens.access).await.ok();
            // Nor does an authorization store anything before a person has decided, nor after: the code is sealed.
            let client = kit.pkce_client().await;
            let mut browser = kit.browser().signed_in("ada").await;
            let commits = kit.store().commits();
            for _ in 0..50 {
                browser.get(&kit.authorize_target(&client)).await.ok();
                kit.browser().get(&kit.authorize_target(&client)).await;
            }
            assert_eq!(kit.store().commits(), commits);
        },
    )
    .await;
}

#[tokio::test]
async fn ledger_41_device_requests_are_bounded_and_make_room_again() {
    on_every_store(
        |setup| {
            setup.device_requests.from_address = 20;
            setup.poll_interval = 0;
        },
        async |kit| {
            let client = kit.device_client().await;
            let mut open = Vec::new();
            for _ in 0..20 {
                open.push(kit.start_device(&client).await);
            }
            let commits = kit.store().commits();
            for _ in 0..20 {
                let answer = kit.try_start_device(&client, &kit.start_url()).await;
                answer.assert_oidc_error(400, "SlowDownException", "slow_down");
            }
            // Those that are open are not driven out, and polls cost nothing, whether their code is real or not.
            for device in &open {
                let answer = kit.poll(&client, &device.code).await;
                answer.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
                let answer = kit.poll(&client, &device.code[1..]).await;
                answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
            }
            assert_eq!(kit.store().commits(), commits);
            kit.advance(1200);
            kit.app().sweep().await.unwrap();
            kit.start_device(&client).await;
        },
    )
    .await;
}

#[tokio::test]
async fn ledger_41_the_total_is_bounded_too() {
    let kit = Kit::with(|setup| setup.device_requests.total = 3).await;
    let client = kit.device_client().await;
    for _ in 0..3 {
        kit.start_device(&client).await;
    }
    let answer = kit.try_start_device(&client, &kit.start_url()).await;
    answer.assert_oidc_error(400, "SlowDownException", "slow_down");
}

/// Each costs a hash, whoever it is for: a name that nobody can have is no way around the limit.
#[tokio::test]
async fn ledger_39_a_name_that_nobody_can_have_counts_as_much_as_any() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let mut browser = kit.browser();
    let form =
        browser.sign_in_form("/start").await.with("user_name", "not a name!").with("password", "guess");
    let mut refused = 0;
    for _ in 0..53 {
        let page = browser.submit(&form).await.ok();
        refused += usize::from(page.text().contains("Too many attempts"));
    }
    assert_eq!(refused, 3);
}

/// While the store cannot count, nobody may guess: that is our fault and said so, and no guess is free.
#[tokio::test]
async fn ledger_39_a_store_that_fails_is_neither_too_often_nor_a_free_guess() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let mut known = kit.browser().signed_in("ada").await;
    let mut unknown = kit.browser();
    let form = unknown.sign_in_form("/start").await.with("user_name", "ada");
    kit.store().fail(false, true);
    for password in ["analytical-engine", "wrong"] {
        let page = unknown.submit(&form.clone().with("password", password)).await;
        assert_eq!(page.status, 500, "{}", page.text());
        assert!(page.text().contains("The fault is ours"), "{}", page.text());
    }
    for code in [device.user_code.as_str(), "BCDF-GHJK"] {
        let page = known.type_code(code).await;
        assert_eq!(page.status, 500, "{}", page.text());
        assert!(Form::find(page.text(), "/device/decision").is_none(), "{}", page.text());
    }
    kit.store().fail(false, false);
    // Nothing was taken meanwhile: after one sign-in, nine are left.
    for n in 0..9 {
        let page = unknown.submit(&form.clone().with("password", "wrong")).await.ok();
        assert!(page.text().contains("do not go together"), "{n}: {}", page.text());
    }
}

/// Tokio's clock jumps ahead by itself, so what is measured are the pauses.
#[tokio::test(start_paused = true)]
async fn a_backlog_is_swept_in_batches_with_pauses_between_them() {
    let kit = Kit::new().await;
    let sessions = (0..1000_u16).map(|n| {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        Change::StartSession(Session {
            id: SessionId::from_bytes(id),
            person: PersonId::parse("ada").expect("a name"),
            holder: Holder::Browser,
            scopes: Scopes::default(),
            created_at: START,
            authenticated_at: START,
            expires_at: START.plus(Lifetime::from_seconds(60)),
            generation: 0,
            rotated_at: START,
            state: SessionState::Live,
            terms: None,
        })
    });
    kit.app().store().commit(sessions.collect()).await.expect("memory does not fail");
    let begun = tokio::time::Instant::now();
    kit.app().sweep().await.unwrap();
    assert!(begun.elapsed().is_zero(), "nothing had expired");
    kit.advance(60);
    kit.app().sweep().await.unwrap();
    assert!(begun.elapsed() >= 5 * Duration::from_millis(5), "{:?}", begun.elapsed());
    assert_eq!(kit.app().store().sweep(START.plus(Lifetime::from_seconds(60)), 1).await, Ok(0));
}
