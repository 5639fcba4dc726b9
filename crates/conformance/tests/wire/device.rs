//! The device flow: T14 to T30.

use doorward_core::time::Lifetime;
use doorward_testkit::{Answer, Choice, Client, Form, Kit, Tokens};
use serde_json::json;

#[track_caller]
fn assert_pending(answer: &Answer) {
    answer.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
}

#[track_caller]
fn assert_slow_down(answer: &Answer) {
    answer.assert_oidc_error(400, "SlowDownException", "slow_down");
}

#[track_caller]
fn assert_invalid_grant(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
}

// Holds: rfc8628-3.2-members, rfc8628-5.1-entropy, rfc8628-5.4-lifetime, rfc8628-6.1-alphabet
#[tokio::test]
async fn t14_a_device_request_has_six_members() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let answer = kit.try_start_device(&client, &kit.start_url()).await.ok();
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 6);
    assert!(!answer.member("deviceCode").is_empty());
    assert_eq!((&body["expiresIn"], &body["interval"]), (&json!(600), &json!(1)));
    let user_code = answer.member("userCode");
    let letters = |text: &str| text.len() == 4 && text.bytes().all(|b| b"BCDFGHJKLMNPQRSTVWXZ".contains(&b));
    assert!(user_code.split_once('-').is_some_and(|(one, two)| letters(one) && letters(two)), "{user_code}");
    assert_eq!(answer.member("verificationUri"), format!("{}/device", kit.base()));
}

// Holds: rfc8628-3.3-authenticate-user, rfc8628-3.3-short-uri
#[tokio::test]
async fn t15_the_user_code_may_be_appended_to_the_address_and_fills_the_form() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let answer = kit.try_start_device(&client, &kit.start_url()).await.ok();
    let (uri, user_code) = (answer.member("verificationUri"), answer.member("userCode"));
    assert!(!uri.contains('?'));
    let complete = answer.member("verificationUriComplete");
    assert_eq!(complete, format!("{uri}?user_code={user_code}"));
    let target = complete.strip_prefix(kit.base()).unwrap();

    // Somebody who is not yet signed in comes back to the same address.
    let mut browser = kit.browser();
    let away = browser.get(target).await;
    assert_eq!((away.status.as_u16(), away.location_parameter("next").as_deref()), (303, Some(target)));

    let page = kit.browser().signed_in("ada").await.get(target).await.ok();
    assert_eq!(Form::find(page.text(), "/device").unwrap().get("user_code"), Some(&*user_code));
}

#[tokio::test]
async fn t16_slashes_and_fragments_do_not_change_the_start_url() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    for tail in ["", "/", "#/", "/#/", "/#/device"] {
        kit.try_start_device(&client, &format!("{}{tail}", kit.start_url())).await.ok();
    }
}

#[tokio::test]
async fn t17_an_alias_is_as_good_as_the_main_start_url() {
    let alias = "https://my-org.awsapps.com/start";
    let kit = Kit::with(|setup| setup.aliases = vec![alias.to_owned()]).await;
    let client = kit.device_client().await;
    let answer = kit.try_start_device(&client, alias).await.ok();
    assert_eq!(answer.member("verificationUri"), format!("{}/device", kit.base()));
    kit.try_start_device(&client, &format!("{alias}/#")).await.ok();
}

#[tokio::test]
async fn t18_an_unknown_start_url_is_an_invalid_request() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    for url in ["https://my-org.awsapps.com/start", "x", "http://127.0.0.1:8377", "javascript:alert(1)"] {
        let answer = kit.try_start_device(&client, url).await;
        answer.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
    }
}

// Holds: rfc8628-3.1-client-authenticated, rfc9700-2.5-client-authentication
#[tokio::test]
async fn t19_a_wrong_secret_or_an_unknown_client_is_401() {
    let kit = Kit::new().await;
    let (client, other) = (kit.device_client().await, kit.device_client().await);
    for wrong in [
        Client { secret: other.secret.clone(), ..client.clone() },
        Client { secret: "x".to_owned(), ..client.clone() },
        Client { id: "x".to_owned(), ..client.clone() },
        Client { id: client.secret.clone(), ..client.clone() },
    ] {
        let answer = kit.try_start_device(&wrong, &kit.start_url()).await;
        answer.assert_oidc_error(401, "InvalidClientException", "invalid_client");
        let answer = kit.poll(&wrong, "x").await;
        answer.assert_oidc_error(401, "InvalidClientException", "invalid_client");
    }
}

// Holds: rfc8628-3.5-pending
#[tokio::test]
async fn t20_before_the_approval_a_poll_is_pending() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let answer = kit.poll(&client, &device.code).await;
    assert_pending(&answer);
    assert_eq!(answer.member("error_description"), "Authorization is still pending");
}

#[tokio::test]
async fn t21_the_first_three_polls_may_follow_each_other_at_once() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    for _ in 0..3 {
        assert_pending(&kit.poll(&client, &device.code).await);
    }
}

#[tokio::test]
async fn t22_polls_that_keep_their_interval_are_never_slowed_down() {
    // An interval of 5 s and polls every 4 s: 20 % of jitter.
    let kit = Kit::with(|setup| {
        setup.rate_limits = true;
        setup.poll_interval = 5;
    })
    .await;
    let client = kit.device_client().await;
    let answer = kit.try_start_device(&client, &kit.start_url()).await.ok();
    assert_eq!(answer.json()["interval"], 5);
    for _ in 0..140 {
        kit.advance(4);
        assert_pending(&kit.poll(&client, &answer.member("deviceCode")).await);
    }
}

// Holds: rfc8628-3.5-slow-down
#[tokio::test]
async fn t23_ten_times_too_fast_is_slowed_down_and_the_approval_still_counts() {
    let kit = Kit::with(|setup| {
        setup.rate_limits = true;
        setup.poll_interval = 10;
    })
    .await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let mut slowed = 0;
    for _ in 0..50 {
        kit.advance(1);
        let answer = kit.poll(&client, &device.code).await;
        if answer.exception() == "SlowDownException" {
            assert_slow_down(&answer);
            slowed += 1;
        } else {
            assert_pending(&answer);
        }
    }
    assert!(slowed > 30, "{slowed} of 50");
    let mut browser = kit.browser().signed_in("ada").await;
    browser.decide_device(&device.user_code, Choice::Approve).await.ok();
    kit.advance(10);
    Tokens::of(kit.poll(&client, &device.code).await);
}

#[tokio::test]
async fn t24_after_the_approval_the_next_poll_has_tokens() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let answer = kit.poll(&client, &device.code).await.ok();
    assert!(!answer.member("accessToken").is_empty());
    assert_eq!(answer.member("tokenType"), "Bearer");
    assert!(answer.json()["expiresIn"].is_i64());
}

#[tokio::test]
async fn t25_a_device_code_works_once() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let tokens = Tokens::of(kit.poll(&client, &device.code).await);
    assert_invalid_grant(&kit.poll(&client, &device.code).await);
    // A client whose answer got lost asks again; that is no reason to take away what somebody uses.
    kit.list_accounts(&tokens.access).await.ok();
}

// Holds: rfc8628-3.5-denied
#[tokio::test]
async fn t26_after_a_denial_the_next_poll_is_denied() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let mut browser = kit.browser().signed_in("ada").await;
    browser.decide_device(&device.user_code, Choice::Deny).await.ok();
    let answer = kit.poll(&client, &device.code).await;
    answer.assert_oidc_error(400, "AccessDeniedException", "access_denied");
}

// Holds: rfc8628-3.5-expired, rfc8628-5.4-lifetime
#[tokio::test]
async fn t27_an_old_device_code_is_expired_and_stays_so_for_ten_minutes() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let (device, approved) = (kit.start_device(&client).await, kit.approved_device(&client, "ada").await);
    kit.advance(599);
    assert_pending(&kit.poll(&client, &device.code).await);
    kit.advance(1);
    for _ in 0..2 {
        kit.app().sweep().await.unwrap();
        for code in [&device.code, &approved.code] {
            let answer = kit.poll(&client, code).await;
            answer.assert_oidc_error(400, "ExpiredTokenException", "expired_token");
        }
        kit.advance(599);
    }
    kit.advance(1);
    kit.app().sweep().await.unwrap();
    assert_invalid_grant(&kit.poll(&client, &device.code).await);
}

// Holds: rfc8628-3.4-bound-to-client
#[tokio::test]
async fn t28_another_clients_device_code_is_an_invalid_grant_and_stays_good() {
    let kit = Kit::new().await;
    let (client, other) = (kit.device_client().await, kit.device_client().await);
    let device = kit.approved_device(&client, "ada").await;
    assert_invalid_grant(&kit.poll(&other, &device.code).await);
    Tokens::of(kit.poll(&client, &device.code).await);
}

#[tokio::test]
async fn t29_an_unknown_grant_type_is_unsupported_and_a_missing_code_is_invalid() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    for grant in ["password", "client_credentials", "urn:ietf:params:oauth:grant-type:device-code"] {
        let answer = kit.create_token(&client, json!({"grantType": grant})).await;
        answer.assert_oidc_error(400, "UnsupportedGrantTypeException", "unsupported_grant_type");
    }
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let answer = kit.create_token(&client, json!({"grantType": device})).await;
    answer.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
    assert!(answer.member("error_description").contains("deviceCode"));
}

// Holds: rfc8628-6.1-alphabet
#[tokio::test]
async fn t30_a_user_code_may_be_typed_carelessly() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let code = kit.start_device(&client).await.user_code;
    for typed in [
        code.clone(),
        code.to_lowercase(),
        code.replace('-', ""),
        code.replace('-', " "),
        format!("  {} ", code.to_lowercase()),
    ] {
        let page = browser.type_code(&typed).await.ok();
        assert!(Form::find(page.text(), "/device/decision").is_some(), "{typed:?}");
    }
}

// Holds: rfc8628-5.1-rate-limit
#[tokio::test]
async fn t30_wrong_user_codes_are_throttled() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let mut browser = kit.browser().signed_in("ada").await;
    for _ in 0..10 {
        let page = browser.type_code("BBBB-BBBB").await.ok();
        assert!(page.text().contains("No tool is waiting with that code"));
    }
    // From now on even the right one is not looked up.
    let page = browser.type_code(&device.user_code).await.ok();
    assert!(page.text().contains("Too many wrong codes"), "{}", page.text());
    assert!(Form::find(page.text(), "/device/decision").is_none());
    kit.advance(61);
    let page = browser.type_code(&device.user_code).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_some());
}

#[tokio::test]
async fn the_interval_and_the_lifetime_are_the_operators() {
    let kit = Kit::with(|setup| {
        setup.poll_interval = 0;
        setup.lifetimes.device_request = Lifetime::from_seconds(90);
    })
    .await;
    let client = kit.device_client().await;
    let body = kit.try_start_device(&client, &kit.start_url()).await.ok().json();
    // A client takes 0 for anything.
    assert_eq!((&body["interval"], &body["expiresIn"]), (&json!(1), &json!(90)));
}
