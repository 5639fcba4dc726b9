//! Pages and forms: lines 13, 17, 21, 22, 26, 33, 38.

use doorward::app::DeviceGrant;
use doorward_testkit::{Answer, Choice, Form, Kit, Tokens, on_every_store};

#[track_caller]
fn assert_pending(answer: &Answer) {
    answer.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
}

/// `text` with the character at `at` changed.
fn changed(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

// Holds: rfc7636-4.4-challenge-hidden
#[tokio::test]
async fn ledger_13_what_a_form_carries_is_sealed() {
    let kit = Kit::new().await;
    let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
    let device = kit.start_device(&client).await;
    let mut browser = kit.browser().signed_in("ada").await;
    let page = browser.type_code(&device.user_code).await.ok();
    let device_form = Form::find(page.text(), "/device/decision").unwrap();
    let page = browser.get(&kit.authorize_target(&browser_client)).await.ok();
    let authorize_form = Form::find(page.text(), "/authorize/decision").unwrap();
    for form in [&device_form, &authorize_form] {
        let request = form.get("request").unwrap();
        let other = if *form == device_form { &authorize_form } else { &device_form };
        let mut wrong: Vec<String> = (0..request.len()).map(|at| changed(request, at)).collect();
        wrong.extend([String::new(), request[1..].to_owned(), other.get("request").unwrap().to_owned()]);
        wrong.extend([browser_client.id.clone(), format!("{request}{request}")]);
        for request in wrong {
            let answer =
                browser.submit(&form.clone().with("request", &request).with("decision", "approve")).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (403, ""), "{request}");
        }
    }
    assert_pending(&kit.poll(&client, &device.code).await);
    // Nor can a client id be bent so that it may do more: whatever is changed about it, nobody knows it.
    for at in 0..browser_client.id.len() {
        let target = kit.authorize_target(&browser_client);
        let answer = browser.get(&target.replace(&browser_client.id, &changed(&browser_client.id, at))).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (401, ""));
    }
}

#[tokio::test]
async fn ledger_17_every_flow_leads_to_the_same_access() {
    let kit = Kit::new().await;
    let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
    for tokens in [kit.device_tokens(&client, "linus").await, kit.pkce_tokens(&browser_client, "linus").await]
    {
        let answer = kit.role_credentials(&tokens.access, "111122223333", "ReadOnlyAccess").await;
        answer.assert_portal_error(403, "ForbiddenException");
        kit.role_credentials(&tokens.access, "222233334444", "ReadOnlyAccess").await.ok();
        // An assignment that goes is gone at once, for tokens that were issued before.
        let seeded = doorward::dev::seed::directory().unwrap();
        kit.edit_directory(|file| file.assignments.clear()).await;
        let answer = kit.role_credentials(&tokens.access, "222233334444", "ReadOnlyAccess").await;
        answer.assert_portal_error(403, "ForbiddenException");
        let accounts = kit.list_accounts(&tokens.access).await.ok().json();
        assert_eq!(accounts["accountList"], serde_json::json!([]));
        kit.replace_directory(seeded).await;
    }
    let target = "/start/credentials?account_id=111122223333&role_name=ReadOnlyAccess";
    assert_eq!(kit.browser().signed_in("linus").await.get(target).await.status, 403);
}

#[tokio::test]
async fn ledger_21_no_answer_has_a_secret_that_it_need_not_have() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let first = kit.poll(&client, &device.code).await.ok();
    let tokens = Tokens::of(first.clone());
    let mut browser = kit.browser().signed_in("ada").await;
    let answers = [
        kit.list_accounts(&tokens.access).await.ok(),
        kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await.ok(),
        browser.get("/start").await.ok(),
        browser.get("/start/credentials?account_id=111122223333&role_name=AdministratorAccess").await.ok(),
        browser.get("/device").await.ok(),
        kit.browser().get("/sign-in").await.ok(),
        kit.browser().try_sign_in("ada", "a wrong password").await,
        kit.try_start_device(&client, &kit.start_url()).await.ok(),
        kit.list_accounts("x").await,
    ];
    let session_cookie = browser.cookies().iter().find(|(name, _)| name.contains("session")).unwrap().1;
    for answer in &answers {
        for secret in [
            &client.secret,
            &device.code,
            &tokens.access,
            tokens.refresh.as_ref().unwrap(),
            session_cookie,
            "argon2",
            "analytical-engine",
            "a wrong password",
            "flow-matic",
        ] {
            assert!(!answer.text().contains(secret), "{secret} in {}", answer.text());
        }
    }
    assert!(!first.text().contains(&client.secret));
    // A cookie is for the server alone to read.
    let mut visitor = kit.browser();
    let signed_in = visitor.try_sign_in("ada", "analytical-engine").await;
    let cookie = signed_in.header("set-cookie");
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn ledger_22_the_absence_of_input_is_not_success() {
    on_every_store(
        |_| {},
        async |kit| {
            let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
            let device = kit.start_device(&client).await;
            let mut browser = kit.browser().signed_in("ada").await;
            let page = browser.type_code(&device.user_code).await.ok();
            let device_form = Form::find(page.text(), "/device/decision").unwrap();
            let page = browser.get(&kit.authorize_target(&browser_client)).await.ok();
            let authorize_form = Form::find(page.text(), "/authorize/decision").unwrap();
            let commits = kit.store().commits();

            for form in [device_form, authorize_form] {
                let action = form.action.clone();
                for (fields, status) in [
                    (form.clone(), 400),
                    (form.clone().with("decision", ""), 400),
                    (form.clone().with("decision", "APPROVE"), 400),
                    (form.clone().with("decision", "approve").without("csrf"), 403),
                    (form.clone().with("decision", "approve").with("csrf", ""), 403),
                    (form.clone().with("decision", "approve").without("request"), 403),
                    (form.clone().with("decision", "approve").with("request", ""), 403),
                    (Form { fields: Vec::new(), action }, 403),
                ] {
                    let answer = browser.submit(&fields).await;
                    assert_eq!((answer.status.as_u16(), answer.location()), (status, ""), "{fields:?}");
                }
            }
            let mut visitor = kit.browser();
            let form = visitor.sign_in_form("/start").await;
            for fields in [
                form.clone(),
                form.clone().with("user_name", "ada"),
                form.clone().with("user_name", "ada").with("password", ""),
                form.clone().with("user_name", "").with("password", "analytical-engine"),
                form.clone().with("user_name", "ada").with("password", "analytical-engine").without("csrf"),
                Form { fields: Vec::new(), ..form.clone() },
            ] {
                let answer = visitor.submit(&fields).await;
                assert!(!visitor.cookies().keys().any(|name| name.contains("session")), "{}", answer.text());
            }
            for target in ["/sign-out", "/start/sessions/end", "/device"] {
                browser.post(target, &[]).await;
            }
            assert_eq!(kit.store().commits(), commits);
            browser.get("/start").await.ok();
            assert_pending(&kit.poll(&client, &device.code).await);
        },
    )
    .await;
}

/// Somebody without a password hash cannot sign in, whatever is typed.
#[tokio::test]
async fn ledger_22_no_password_is_not_any_password() {
    let kit = Kit::new().await;
    kit.edit_directory(|file| file.people[0].password_hash = None).await;
    for password in ["", "analytical-engine", "$argon2id$", "x"] {
        let mut visitor = kit.browser();
        let answer = visitor.try_sign_in("ada", password).await.ok();
        assert!(answer.text().contains("do not go together"));
    }
}

// Holds: openid-connect-core-3.1.2.3-no-csrf, rfc8628-5.5-spying, rfc9700-2.1-client-csrf
#[tokio::test]
async fn ledger_26_a_question_is_answered_by_the_browser_that_was_asked() {
    on_every_store(
        |_| {},
        async |kit| {
            let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
            let device = kit.start_device(&client).await;
            let mut browser = kit.browser().signed_in("ada").await;
            let page = browser.type_code(&device.user_code).await.ok();
            let device_form =
                Form::find(page.text(), "/device/decision").unwrap().with("decision", "approve");
            let page = browser.get(&kit.authorize_target(&browser_client)).await.ok();
            let authorize_form =
                Form::find(page.text(), "/authorize/decision").unwrap().with("decision", "approve");

            // Another person, the same person elsewhere, and the same browser after signing in anew.
            let mut others = vec![
                kit.browser().signed_in("grace").await,
                kit.browser().signed_in("ada").await,
                kit.browser().signed_in("ada").await,
            ];
            let sign_out = Form::find(others[2].get("/start").await.ok().text(), "/sign-out").unwrap();
            others[2].submit(&sign_out).await.ok();
            let last = others.pop().unwrap().signed_in("ada").await;
            others.push(last);
            for other in &mut others {
                let own = Form::find(other.get("/start").await.ok().text(), "/sign-out").unwrap();
                let csrf = own.get("csrf").unwrap().to_owned();
                for form in [&device_form, &authorize_form] {
                    for form in [form.clone(), form.clone().with("csrf", &csrf)] {
                        let answer = other.submit(&form).await;
                        assert_eq!((answer.status.as_u16(), answer.location()), (403, ""));
                    }
                }
            }
            // Nobody at all.
            for form in [&device_form, &authorize_form] {
                let answer = kit.browser().submit(form).await;
                assert!(answer.location().starts_with("/sign-in"), "{}", answer.location());
            }
            assert_pending(&kit.poll(&client, &device.code).await);
            let answer = browser.submit(&device_form).await.ok();
            assert!(answer.text().contains("Approved"));
        },
    )
    .await;
}

// Holds: openid-connect-core-3.1.2.3-no-csrf, rfc9700-4.16-no-framing
#[tokio::test]
async fn ledger_33_origins_are_compared_whole() {
    let own = "https://sso.example.org";
    let kit = Kit::with(|setup| setup.public_url = own.to_owned()).await;
    let mut browser = kit.browser();
    let form =
        browser.sign_in_form("/start").await.with("user_name", "ada").with("password", "analytical-engine");
    let fields: Vec<(&str, &str)> =
        form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in [
        ("origin", "https://badsso.example.org"),
        ("origin", "https://sso.example.org.evil.example"),
        ("origin", "https://sso.example.org:444"),
        ("origin", "https://SSO.example.org"),
        ("origin", "https://example.org"),
        ("origin", "http://sso.example.org"),
        ("origin", "https://sso.example.org/"),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "x"),
    ] {
        let answer = browser.post_with("/sign-in", &fields, &[(name, value)]).await;
        assert_eq!(answer.status, 403, "{name}: {value}");
    }
    let good = [("origin", own), ("sec-fetch-site", "same-origin")];
    assert_eq!(browser.post_with("/sign-in", &fields, &good).await.status, 303);
    // With TLS no other host of the domain can set the cookies, and no page is framed.
    assert!(browser.cookies().keys().all(|name| name.starts_with("__Host-")), "{:?}", browser.cookies());
    let page = browser.get("/start").await.ok();
    assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
}

// Holds: rfc8628-3.3-authenticate-user, rfc8628-3.3.1-code-confirmed, rfc8628-5.3-device-not-trusted
// Holds: rfc8628-5.4-says-device, rfc8628-5.4-show-device
#[tokio::test]
async fn ledger_38_the_device_page_says_who_asks_and_does_not_help_a_phisher() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let body = serde_json::json!({
        "clientId": client.id, "clientSecret": client.secret, "startUrl": kit.start_url(),
    });
    let mut request = doorward_testkit::json_request("/device_authorization", body.to_string());
    request.headers_mut().insert("user-agent", "evil-tool/1.0 <b>".parse().unwrap());
    let started = kit.send(request).await.ok();
    let (user_code, code) = (started.member("userCode"), started.member("deviceCode"));

    // The address with the code in it decides nothing, and leads to no question without a person's own step.
    let mut browser = kit.browser().signed_in("ada").await;
    let page = browser.get(&format!("/device?user_code={user_code}")).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_none());
    assert_pending(&kit.poll(&client, &code).await);

    let page = browser.type_code(&user_code).await.ok();
    for said in [
        "device-tool",
        &*user_code,
        "127.0.0.1",
        "evil-tool/1.0 &#60;b&#62;",
        "10 January 2027",
        "deny it",
        "Ada Lovelace",
    ] {
        assert!(page.text().contains(said), "{said} is not on the page: {}", page.text());
    }
    let (deny, approve) = (page.text().find("value=\"deny\""), page.text().find("value=\"approve\""));
    assert!(deny.unwrap() < approve.unwrap(), "Enter would approve");
    assert!(!page.text().contains("autofocus"));
    browser.decide_device(&user_code, Choice::Deny).await.ok();

    let off = Kit::with(|setup| setup.device_grant = DeviceGrant::Off).await;
    let client = off.device_client().await;
    let answer = off.try_start_device(&client, &off.start_url()).await;
    answer.assert_oidc_error(400, "UnauthorizedClientException", "unauthorized_client");
}

/// A page elsewhere can post this without the `Lax` cookie; the answer must not take the cookie away.
#[tokio::test]
async fn ledger_22_signing_out_without_a_session_takes_no_cookie_away() {
    let kit = Kit::new().await;
    let headers = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let answer = kit.browser().post_with("/sign-out", &[], &headers).await;
    assert!(answer.headers.get(http::header::SET_COOKIE).is_none(), "{:?}", answer.headers);
}
