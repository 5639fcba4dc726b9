//! Sessions and what is redeemed for them: lines 1 to 4, 8, 10, 11, 18, 28.

use doorward_core::store::Store as _;
use doorward_testkit::{Answer, Choice, Kit, START, Tokens, on_every_store};
use http::{Method, Request};
use serde_json::json;

#[track_caller]
fn assert_invalid_grant(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
}

#[track_caller]
fn assert_unauthorized(answer: &Answer) {
    answer.assert_portal_error(401, "UnauthorizedException");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ledger_01_of_parallel_refreshes_one_write_decides() {
    on_every_store(
        |_| {},
        async |kit| {
            kit.store().interleave();
            let client = kit.device_client().await;
            let tokens = kit.device_tokens(&client, "ada").await;
            let commits = kit.store().commits();
            let requests = (0..32).map(|_| client.refresh_request(tokens.refresh())).collect();
            for answer in kit.send_in_parallel(requests).await {
                answer.ok();
            }
            assert_eq!(kit.store().commits(), commits + 1);
        },
    )
    .await;
}

#[tokio::test]
async fn ledger_02_a_restart_weakens_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::embedded(dir.path(), |_| {}).await;
    let client = kit.device_client().await;
    let rotated = kit.device_tokens(&client, "ada").await;
    let current = Tokens::of(kit.refresh(&client, rotated.refresh()).await);
    let ended = kit.device_tokens(&client, "ada").await;
    kit.logout(&ended.access).await.ok();
    let device = kit.approved_device(&client, "ada").await;
    let redeemed = Tokens::of(kit.poll(&client, &device.code).await);
    let denied = kit.start_device(&client).await;
    kit.browser().signed_in("ada").await.decide_device(&denied.user_code, Choice::Deny).await.ok();
    let browser_client = kit.pkce_client().await;
    let code = kit.code(&browser_client, "ada").await;
    let by_code = Tokens::of(kit.redeem(&browser_client, &code).await);
    let mut browser = kit.browser().signed_in("ada").await;
    let form = doorward_testkit::Form::find(browser.get("/start").await.ok().text(), "/sign-out").unwrap();
    let cookies = browser.cookies().clone();
    browser.submit(&form).await.ok();
    kit.close().await;

    // Past the grace period of what was rotated.
    let kit = Kit::embedded(dir.path(), |setup| setup.now = START.plus(lifetime(61))).await;
    assert_unauthorized(&kit.list_accounts(&ended.access).await);
    assert_invalid_grant(&kit.refresh(&client, ended.refresh()).await);
    assert_invalid_grant(&kit.poll(&client, &device.code).await);
    kit.poll(&client, &denied.code).await.assert_oidc_error(400, "AccessDeniedException", "access_denied");
    kit.list_accounts(&redeemed.access).await.ok();
    assert_invalid_grant(&kit.redeem(&browser_client, &code).await);
    assert_unauthorized(&kit.list_accounts(&by_code.access).await);
    let mut browser = kit.browser();
    *browser.cookies_mut() = cookies;
    assert_eq!(browser.get("/start").await.status, 303, "a signed-out browser is signed in again");
    assert_invalid_grant(&kit.refresh(&client, rotated.refresh()).await);
    assert_invalid_grant(&kit.refresh(&client, current.refresh()).await);
    kit.close().await;
}

const fn lifetime(seconds: u32) -> doorward_core::time::Lifetime {
    doorward_core::time::Lifetime::from_seconds(seconds)
}

// Holds: rfc9700-4.14.2-rotation-detects-replay
#[tokio::test]
async fn ledger_03_rotations_in_the_same_moment_are_told_apart() {
    on_every_store(
        |_| {},
        async |kit| {
            let client = kit.device_client().await;
            let first = kit.device_tokens(&client, "ada").await;
            let second = Tokens::of(kit.refresh(&client, first.refresh()).await);
            let third = Tokens::of(kit.refresh(&client, second.refresh()).await);
            // Not a millisecond has passed. The one before is within its grace period, the one before that is not.
            let again = Tokens::of(kit.refresh(&client, second.refresh()).await);
            assert_eq!(again.refresh, third.refresh);
            assert_invalid_grant(&kit.refresh(&client, first.refresh()).await);
            assert_invalid_grant(&kit.refresh(&client, third.refresh()).await);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ledger_04_no_token_of_a_refresh_survives_the_revocation_beside_it() {
    on_every_store(
        |_| {},
        async |kit| {
            kit.store().interleave();
            let client = kit.device_client().await;
            for place in [0, 4, 7] {
                let tokens = kit.device_tokens(&client, "ada").await;
                let mut requests: Vec<_> = (0..7).map(|_| client.refresh_request(tokens.refresh())).collect();
                let logout = Request::post("/logout").header("x-amz-sso_bearer_token", &tokens.access);
                requests.insert(place, logout.body(axum::body::Body::empty()).unwrap());
                let answers = kit.send_in_parallel(requests).await;
                assert_eq!(answers[place].status, 200);
                for answer in answers.into_iter().filter(|answer| answer.text().contains("accessToken")) {
                    let given = Tokens::of(answer);
                    assert_unauthorized(&kit.list_accounts(&given.access).await);
                    assert_invalid_grant(&kit.refresh(&client, given.refresh()).await);
                }
            }
        },
    )
    .await;
}

/// Takes a person's access away: by the switch, or by removing the person.
async fn take_away(kit: &Kit, person: &str, remove: bool) {
    kit.edit_directory(|file| {
        if remove {
            file.people.retain(|entry| entry.user_name.as_str() != person);
            file.groups.iter_mut().for_each(|group| group.members.retain(|member| member.as_str() != person));
            for assignment in &mut file.assignments {
                assignment.people.retain(|entry| entry.as_str() != person);
            }
        } else {
            for entry in file.people.iter_mut().filter(|entry| entry.user_name.as_str() == person) {
                entry.disabled = true;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn ledger_08_a_disabled_person_gets_nothing_at_approval_and_at_redemption() {
    on_every_store(
        |_| {},
        async |kit| {
            let seeded = doorward::dev::seed::directory().unwrap();
            for remove in [false, true] {
                kit.replace_directory(seeded.clone()).await;
                let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
                let tokens = kit.device_tokens(&client, "grace").await;
                let approved = kit.approved_device(&client, "grace").await;
                let pending = kit.start_device(&client).await;
                let code = kit.code(&browser_client, "grace").await;
                let mut browser = kit.browser().signed_in("grace").await;
                let page = browser.type_code(&pending.user_code).await.ok();
                let device_form = doorward_testkit::Form::find(page.text(), "/device/decision").unwrap();
                let page = browser.get(&kit.authorize_target(&browser_client)).await.ok();
                let form = doorward_testkit::Form::find(page.text(), "/authorize/decision").unwrap();

                take_away(kit, "grace", remove).await;

                // At approval.
                for form in [device_form, form] {
                    let answer = browser.submit(&form.with("decision", "approve")).await;
                    assert_eq!(answer.status, 303, "{}", answer.text());
                    assert!(answer.location().starts_with("/sign-in"), "{}", answer.location());
                }
                let answer = kit.browser().try_sign_in("grace", "flow-matic").await;
                assert!(answer.text().contains("do not go together"), "{}", answer.text());
                let polled = kit.poll(&client, &pending.code).await;
                polled.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
                // At redemption, of each grant.
                assert_invalid_grant(&kit.poll(&client, &approved.code).await);
                assert_invalid_grant(&kit.redeem(&browser_client, &code).await);
                assert_invalid_grant(&kit.refresh(&client, tokens.refresh()).await);
                // At use, of each operation and page.
                let role = kit.role_credentials(&tokens.access, "111122223333", "ReadOnlyAccess").await;
                assert_unauthorized(&role);
                assert_unauthorized(&kit.list_accounts(&tokens.access).await);
                let roles = "/assignment/roles?account_id=111122223333";
                assert_unauthorized(&kit.portal(Method::GET, roles, &tokens.access).await);
                let target = "/start/credentials?account_id=111122223333&role_name=ReadOnlyAccess";
                assert_eq!(browser.get(target).await.status, 303);
                assert_eq!(browser.get("/start").await.status, 303);
                // Others are not concerned.
                kit.device_tokens(&client, "ada").await;
            }
        },
    )
    .await;
}

// Holds: openid-connect-core-12.1-refresh-request, openid-connect-core-3.1.3.2-client-of-code
// Holds: rfc8628-3.4-bound-to-client, rfc9700-4.5.3-code-bound
#[tokio::test]
async fn ledger_10_every_artefact_is_its_clients_alone() {
    on_every_store(
        |_| {},
        async |kit| {
            let (client, other) = (kit.device_client().await, kit.device_client().await);
            let (one, another) = (kit.pkce_client().await, kit.pkce_client().await);
            let device = kit.approved_device(&client, "ada").await;
            let code = kit.code(&one, "ada").await;
            let tokens = kit.device_tokens(&client, "ada").await;
            for _ in 0..2 {
                assert_invalid_grant(&kit.poll(&other, &device.code).await);
                assert_invalid_grant(&kit.redeem(&another, &code).await);
                assert_invalid_grant(&kit.refresh(&other, tokens.refresh()).await);
            }
            // None of that used anything up, or ended anything.
            kit.poll(&client, &device.code).await.ok();
            kit.redeem(&one, &code).await.ok();
            kit.refresh(&client, tokens.refresh()).await.ok();
        },
    )
    .await;
}

#[tokio::test]
async fn ledger_11_a_device_code_is_bound_to_its_client_from_the_start() {
    on_every_store(
        |_| {},
        async |kit| {
            let (client, other) = (kit.device_client().await, kit.device_client().await);
            let (open, denied) = (kit.start_device(&client).await, kit.start_device(&client).await);
            let approved = kit.approved_device(&client, "ada").await;
            kit.browser().signed_in("ada").await.decide_device(&denied.user_code, Choice::Deny).await.ok();
            // Whatever became of it, another client hears the same.
            for device in [&open, &denied, &approved] {
                assert_invalid_grant(&kit.poll(&other, &device.code).await);
            }
            kit.advance(600);
            assert_invalid_grant(&kit.poll(&other, &open.code).await);
        },
    )
    .await;
}

// Holds: rfc9700-2.3-least-privilege, rfc9700-2.3-scope-verified, rfc9700-4.14.2-bound-to-consent
#[tokio::test]
async fn ledger_18_a_token_has_no_more_than_was_approved() {
    on_every_store(
        |_| {},
        async |kit| {
            let client = kit.pkce_client_with(&["sso:account:access", "openid"]).await;
            let target = kit.authorize_target_with(&client, &[("scope", "openid")]);
            let mut browser = kit.browser().signed_in("ada").await;
            let asked = browser.get(&target).await.ok();
            assert!(asked.text().contains("openid") && !asked.text().contains("sso:account:access"));
            let sent = browser.decide_authorize(&target, Choice::Approve).await;
            let code = sent.location_parameter("code").unwrap();
            let with = |grant: &str, scope: &[&str]| {
                json!({
                    "grantType": grant, "code": code, "redirectUri": doorward_testkit::REDIRECT_URI,
                    "codeVerifier": doorward_testkit::Pkce::VERIFIER, "scope": scope,
                })
            };
            let more = kit.create_token(&client, with("authorization_code", &["sso:account:access"])).await;
            more.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
            let mut tokens = Tokens::of(kit.create_token(&client, with("authorization_code", &[])).await);
            for _ in 0..2 {
                assert_unauthorized(&kit.list_accounts(&tokens.access).await);
                let mut more = with("refresh_token", &["sso:account:access"]);
                more["refreshToken"] = tokens.refresh().into();
                let more = kit.create_token(&client, more).await;
                more.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
                tokens = Tokens::of(kit.refresh(&client, tokens.refresh()).await);
            }
        },
    )
    .await;
}

/// The part of the line about redirect URIs is line 19.
#[tokio::test]
async fn ledger_28_a_failing_store_is_never_success() {
    on_every_store(
        |_| {},
        async |kit| {
            let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
            let tokens = kit.device_tokens(&client, "ada").await;
            let approved = kit.approved_device(&client, "ada").await;
            let pending = kit.start_device(&client).await;
            let code = kit.code(&browser_client, "ada").await;
            let mut browser = kit.browser().signed_in("ada").await;
            let page = browser.type_code(&pending.user_code).await.ok();
            let decision = doorward_testkit::Form::find(page.text(), "/device/decision").unwrap();
            let start = browser.get("/start").await.ok();
            let sign_out = doorward_testkit::Form::find(start.text(), "/sign-out").unwrap();
            let end = doorward_testkit::Form::find(start.text(), "/start/sessions/end").unwrap();
            let mut visitor = kit.browser();
            let sign_in = visitor.sign_in_form("/start").await;
            let sign_in = sign_in.with("user_name", "ada").with("password", "analytical-engine");

            for (reads, writes) in [(false, true), (true, false)] {
                kit.store().fail(reads, writes);
                for answer in [
                    kit.refresh(&client, tokens.refresh()).await,
                    kit.poll(&client, &approved.code).await,
                    kit.redeem(&browser_client, &code).await,
                    kit.try_start_device(&client, &kit.start_url()).await,
                ] {
                    answer.assert_oidc_error(500, "InternalServerException", "server_error");
                }
                kit.logout(&tokens.access).await.assert_portal_error(500, "InternalServerException");
                for answer in [
                    browser.submit(&decision.clone().with("decision", "deny")).await,
                    browser.submit(&end).await,
                    browser.submit(&sign_out).await,
                    visitor.submit(&sign_in).await,
                ] {
                    assert_eq!(answer.status, 500, "{}", answer.text());
                    assert!(answer.headers.get("set-cookie").is_none());
                }
                kit.store().fail(false, false);
            }

            // Nothing of all that has happened.
            kit.list_accounts(&tokens.access).await.ok();
            kit.refresh(&client, tokens.refresh()).await.ok();
            kit.poll(&client, &approved.code).await.ok();
            kit.redeem(&browser_client, &code).await.ok();
            browser.get("/start").await.ok();
            let polled = kit.poll(&client, &pending.code).await;
            polled.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_takes_the_name_of_one_who_left_finds_nothing_of_theirs() {
    on_every_store(
        |_| {},
        async |kit| {
            let client = kit.device_client().await;
            let tokens = kit.device_tokens(&client, "ada").await;
            let device = kit.approved_device(&client, "ada").await;
            let code_client = kit.pkce_client().await;
            let code = kit.code(&code_client, "ada").await;
            let mut browser = kit.browser().signed_in("ada").await;
            assert!(!browser.get("/start").await.ok().text().contains("No tool is signed in as you"));
            let before = kit.store().directory().await.unwrap().file().clone();
            kit.advance(1);
            kit.edit_directory(|file| {
                file.people.retain(|person| person.user_name.as_str() != "ada");
                for assignment in &mut file.assignments {
                    assignment.people.retain(|person| person.as_str() != "ada");
                }
                for group in &mut file.groups {
                    group.members.retain(|person| person.as_str() != "ada");
                }
            })
            .await;
            for again in [false, true] {
                if again {
                    kit.advance(1);
                    kit.replace_directory(before.clone()).await;
                }
                assert_unauthorized(&kit.list_accounts(&tokens.access).await);
                assert_invalid_grant(&kit.refresh(&client, tokens.refresh()).await);
                assert_invalid_grant(&kit.poll(&client, &device.code).await);
                assert_invalid_grant(&kit.redeem(&code_client, &code).await);
                assert_eq!(browser.get("/start").await.status, 303, "the browser is signed out");
            }
            // The new ada has what is hers, and sees no tool of the other.
            kit.advance(1);
            let mut browser = kit.browser().signed_in("ada").await;
            assert!(browser.get("/start").await.ok().text().contains("No tool is signed in as you"));
            let tokens = kit.device_tokens(&client, "ada").await;
            kit.list_accounts(&tokens.access).await.ok();
            assert!(!browser.get("/start").await.ok().text().contains("No tool is signed in as you"));
        },
    )
    .await;
}
