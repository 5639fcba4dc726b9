//! The authorization endpoint, as applications ask it (RFC 6749, RFC 8707, RFC 9207, OpenID Connect Core 1.0).

use doorward_core::client::GrantType;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::PersonId;
use doorward_testkit::{
    API, APPLICATION_REDIRECT_URI, Answer, Application, Browser, Choice, Form, Kit, OTHER_API, Pkce, SPA,
    STATE, WEB, add_applications, capture_logs,
};
use http::Method;

use crate::token::applications;

pub(crate) async fn kit() -> Kit {
    Kit::with(applications).await
}

/// Changes what is registered of the application `web`.
pub(crate) async fn edit_web(kit: &Kit, edit: impl FnOnce(&mut doorward_core::application::Application)) {
    kit.edit_directory(|file: &mut DirectoryFile| {
        edit(
            file.applications.iter_mut().find(|it| it.client_id.as_str() == "web").expect("the application"),
        );
    })
    .await;
}

/// Whether a page asks for consent.
pub(crate) fn asks(page: &Answer) -> bool {
    page.status == 200 && Form::find(page.text(), "/authorize/decision").is_some()
}

/// A page of ours that sends nobody anywhere.
#[track_caller]
fn assert_stays(answer: &Answer, status: u16) {
    assert_eq!((answer.status.as_u16(), answer.location()), (status, ""), "{}", answer.text());
}

#[track_caller]
fn assert_back(answer: &Answer) {
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert!(answer.location().starts_with(&format!("{APPLICATION_REDIRECT_URI}?")), "{}", answer.location());
    assert_eq!(answer.location_parameter("state").as_deref(), Some(STATE));
    // RFC 9207 section 2: in every answer.
    assert_eq!(answer.location_parameter("iss").as_deref(), Some("http://127.0.0.1:8377"));
}

#[track_caller]
pub(crate) fn assert_error(answer: &Answer, error: &str) {
    assert_back(answer);
    assert_eq!(answer.location_parameter("error").as_deref(), Some(error), "{}", answer.location());
    assert!(answer.location_parameter("error_description").is_some_and(|text| !text.is_empty()));
    assert_eq!(answer.location_parameter("code"), None);
}

#[track_caller]
pub(crate) fn code(answer: &Answer) -> String {
    assert_back(answer);
    answer.location_parameter("code").unwrap_or_else(|| panic!("no code: {}", answer.location()))
}

/// Ada's browser, in which she agreed to what `web` usually asks for.
pub(crate) async fn agreed(kit: &Kit) -> Browser<'_> {
    let mut browser = kit.browser().signed_in("ada").await;
    code(&browser.decide_authorize(&WEB.authorize(&[]), Choice::Approve).await);
    browser
}

// Holds: openid-connect-core-3.1.2.3-authenticate, openid-connect-core-3.1.2.4-consent
// Holds: openid-connect-core-3.1.2.5-code-and-state, openid-connect-core-3.1.2.6-state
// Holds: rfc8707-2.1-at-authorization, rfc9207-2-iss-in-error, rfc9207-2-iss-in-success
// Holds: rfc9207-2.3-same-as-metadata, rfc9700-4.4.2-iss
#[tokio::test]
async fn a_code_comes_after_sign_in_and_consent() {
    let kit = kit().await;
    let mut browser = kit.browser();
    let away = browser.get(&WEB.authorize(&[])).await;
    let page = browser.sign_in_at(&away, "ada").await.ok();
    assert!(asks(&page));
    // What an administrator wrote of the scope, and that the name is known.
    for words in ["read your orders", "know who you are", "Web shop", API, OTHER_API, "registered it"] {
        assert!(page.text().contains(words), "{words}");
    }
    assert!(!page.text().contains("nobody has checked it"));
    code(&browser.decide(&page, Choice::Approve).await);
    assert_error(
        &browser.decide_authorize(&WEB.authorize(&[("prompt", "consent")]), Choice::Deny).await,
        "access_denied",
    );
}

// Holds: oidcc-login-hint, openid-connect-core-3.1.2.1-login-hint
#[tokio::test]
async fn the_sign_in_page_says_for_whom_and_expects_whom_the_client_expects() {
    let kit = kit().await;
    let mut browser = kit.browser();
    let away = browser.get(&WEB.authorize(&[("login_hint", "grace")])).await;
    let page = browser.get(away.location()).await.ok();
    assert!(page.text().contains("to continue to “Web shop”"));
    let form = Form::find(page.text(), "/sign-in").unwrap();
    assert_eq!(form.get("user_name"), Some("grace"));
    // The form may end at the application, when the person agreed before.
    assert!(page.header("content-security-policy").contains("form-action 'self' http://127.0.0.1:45343;"));
    // What can be no user name is no hint.
    let away = browser.get(&WEB.authorize(&[("login_hint", "call 555 now")])).await;
    let page = browser.get(away.location()).await.ok();
    assert_eq!(Form::find(page.text(), "/sign-in").unwrap().get("user_name"), Some(""));
}

// Holds: oidcc-ensure-request-object-with-redirect-uri
// Holds: oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported
// Holds: oidcc-response-type-missing
// Holds: oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported
// Holds: openid-connect-core-3.1.2.1-prompt-none-alone, openid-connect-core-3.1.2.2-validate
// Holds: openid-connect-core-3.1.2.6-errors, openid-connect-core-3.1.2.6-registration-not-supported
// Holds: openid-connect-core-3.1.2.6-request-not-supported, rfc7636-4.4.1-method-invalid-request
// Holds: rfc7636-4.4.1-missing-invalid-request, rfc7636-7.2-no-plain, rfc8707-2-invalid-target
// Holds: rfc9207-2-iss-in-error, rfc9700-2.1.1-confidential-clients-pkce, rfc9700-2.1.2-no-implicit
#[tokio::test]
async fn what_is_wrong_with_a_request_goes_back_to_the_application() {
    let kit = kit().await;
    let mut signed_in = agreed(&kit).await;
    let long = "n".repeat(513);
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("response_mode", "form_post", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("scope", "openid api.write", "invalid_scope"),
        ("scope", "openid,email", "invalid_scope"),
        ("resource", "https://elsewhere.example", "invalid_target"),
        ("nonce", &long, "invalid_request"),
        ("dpop_jkt", "short", "invalid_request"),
        ("dpop_jkt", &"=".repeat(43), "invalid_request"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "create", "invalid_request"),
        ("max_age", "-1", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("request", "e30.e30.", "request_not_supported"),
        ("request_uri", "https://app.example/request", "request_uri_not_supported"),
        ("registration", "{}", "registration_not_supported"),
    ] {
        // Whether or not somebody is signed in, which is not looked at before.
        for browser in [&mut kit.browser(), &mut signed_in] {
            let answer = browser.get(&WEB.authorize(&[(name, value)])).await;
            assert_eq!(
                answer.location_parameter("error").as_deref(),
                Some(error),
                "{name}={value}: {} {}",
                answer.status,
                answer.location()
            );
            assert_error(&answer, error);
        }
    }
}

// Holds: rfc8707-2-several
#[tokio::test]
async fn ledger_12_a_parameter_occurs_once() {
    let kit = kit().await;
    for name in ["response_type", "scope", "nonce", "code_challenge", "prompt", "max_age"] {
        let target = format!("{}&{name}=x&{name}=x", WEB.authorize(&[]));
        assert_error(&kit.browser().get(&target).await, "invalid_request");
    }
    let target = format!("{}&client_id=web", WEB.authorize(&[]));
    assert_stays(&kit.browser().get(&target).await, 401);
    // Resources may be several (RFC 8707 section 2).
    let target = format!("{}&resource={API}&resource={OTHER_API}", WEB.authorize(&[]));
    let away = kit.browser().get(&target).await;
    assert!(away.location().starts_with("/sign-in"));
    // Tools spell their scopes as they like; applications do not.
    assert_error(
        &kit.browser().get(&WEB.authorize(&[("scope", ""), ("scopes", "a"), ("response_type", "x")])).await,
        "unsupported_response_type",
    );
}

// Holds: oidcc-ensure-registered-redirect-uri, openid-connect-core-3.1.2.1-redirect-uri
// Holds: rfc8252-8.4-exact-registration, rfc9700-2.1-exact-redirect-uri
// Holds: rfc9700-4.11.2-trusted-redirects-only
#[tokio::test]
async fn ledger_19_nobody_is_sent_to_an_address_that_was_not_registered() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for uri in [
        "https://app.example/callback/",
        "https://app.example/Callback",
        "https://app.example:443/callback",
        "https://app.example/callback?x=1",
        "http://app.example/callback",
        "https://app.example.evil.example/callback",
        "http://127.0.0.1:45343/callback#x",
        "http://127.0.0.1:45343@evil.example/callback",
    ] {
        assert_stays(&browser.get(&WEB.authorize(&[("redirect_uri", uri)])).await, 400);
    }
    assert_stays(&browser.get(&WEB.authorize(&[("redirect_uri", "")])).await, 400);
    assert_stays(&browser.get(&WEB.authorize(&[("client_id", "nobody")])).await, 401);
    // One that is registered and then is not leads nowhere any more, even for what was asked before.
    let page = browser.get(&WEB.authorize(&[("prompt", "consent")])).await.ok();
    edit_web(&kit, |web| web.redirect_uris = vec!["https://app.example/other".into()]).await;
    assert_stays(&browser.decide(&page, Choice::Approve).await, 400);
}

#[tokio::test]
async fn an_arn_is_no_client_id_here_and_a_client_needs_the_grant() {
    let kit = kit().await;
    let arn = "arn:aws:sso::111122223333:application/ssoins-0123456789abcdef/apl-0123456789abcdef";
    edit_web(&kit, |web| {
        web.arn = Some(doorward_core::ids::ApplicationId::parse(arn).unwrap());
        web.grants = vec![GrantType::DeviceCode];
    })
    .await;
    assert_stays(&kit.browser().get(&WEB.authorize(&[("client_id", arn)])).await, 401);
    assert_error(&kit.browser().get(&WEB.authorize(&[])).await, "unauthorized_client");
}

// Holds: oidcc-ensure-post-request-succeeds, openid-connect-core-3.1.2.1-get-and-post
#[tokio::test]
async fn a_posted_request_is_as_good_as_one_in_the_address() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    // Another site posts it: browsers send no cookie along.
    let posted = kit.browser().post("/authorize", &WEB.parameters(&[])).await;
    assert_eq!(posted.status, 303);
    assert!(posted.location().starts_with("/authorize/resume?request="));
    code(&browser.get(posted.location()).await);
    // Also one that wants the person to sign in: the session is found old only now.
    let posted = kit.browser().post("/authorize", &WEB.parameters(&[("prompt", "login")])).await;
    assert!(browser.get(posted.location()).await.location().starts_with("/sign-in"));
    let posted = kit.browser().post("/authorize", &WEB.parameters(&[("response_type", "token")])).await;
    assert_error(&posted, "unsupported_response_type");
    let json =
        browser.send(Method::POST, "/authorize", &[("content-type", "application/json")], "{}".into()).await;
    assert_stays(&json, 415);
    // Tools have never posted here.
    let tool = kit.pkce_client().await;
    assert_stays(
        &browser
            .post(
                "/authorize",
                &[
                    ("client_id", &tool.id),
                    ("redirect_uri", "http://127.0.0.1/oauth/callback"),
                    ("response_type", "code"),
                    ("code_challenge_method", "S256"),
                    ("code_challenge", Pkce::CHALLENGE),
                ],
            )
            .await,
        405,
    );
}

// Holds: oidcc-prompt-none-not-logged-in, openid-connect-core-15.1-prompt
// Holds: openid-connect-core-3.1.2.1-prompt-none, openid-connect-core-3.1.2.6-login-required
#[tokio::test]
async fn without_a_prompt_nobody_is_shown_a_page() {
    let kit = kit().await;
    let none = WEB.authorize(&[("prompt", "none")]);
    assert_error(&kit.browser().get(&none).await, "login_required");
    let mut browser = kit.browser().signed_in("ada").await;
    assert_error(&browser.get(&none).await, "consent_required");
    code(&browser.decide_authorize(&WEB.authorize(&[]), Choice::Approve).await);
    code(&browser.get(&none).await);
    kit.advance(100);
    assert_error(
        &browser.get(&WEB.authorize(&[("prompt", "none"), ("max_age", "99")])).await,
        "login_required",
    );
    code(&browser.get(&WEB.authorize(&[("prompt", "none"), ("max_age", "100")])).await);
    // What is no ID token of this server is nobody's.
    assert_error(
        &browser.get(&WEB.authorize(&[("prompt", "none"), ("id_token_hint", "x")])).await,
        "login_required",
    );
}

/// Whoever asks for a new sign-in gets one, however fresh the session is, and then an answer.
// Holds: oidcc-prompt-login, openid-connect-core-15.1-prompt, openid-connect-core-3.1.2.1-prompt-login
// Holds: openid-connect-core-3.1.2.1-prompt-select-account, openid-connect-core-3.1.2.3-authenticate
#[tokio::test]
async fn ledger_22_a_sign_in_that_must_be_new_is_new() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for prompt in [("prompt", "login"), ("prompt", "select_account"), ("max_age", "0")] {
        let target = WEB.authorize(&[prompt]);
        let away = browser.get(&target).await;
        assert!(away.location().starts_with("/sign-in"), "{prompt:?}");
        let (_, next) = away.location().split_once('?').unwrap();
        let next = form_urlencoded::parse(next.as_bytes()).next().unwrap().1.into_owned();
        // To come back without it does not help, however often.
        for _ in 0..2 {
            let again = browser.get(&next).await;
            assert!(again.location().starts_with("/sign-in?next=%2Fauthorize%2Fresume"), "{prompt:?}");
        }
        // Nor does the sign-in page let the session pass.
        let page = browser.get(away.location()).await.ok();
        assert!(page.text().contains("again to continue to “Web shop”"));
        let form = Form::find(page.text(), "/sign-in").unwrap();
        let wrong = browser.submit(&form.with("user_name", "ada").with("password", "wrong")).await;
        assert_eq!(wrong.status, 200, "{prompt:?}");
        // Somebody who is not signed in at all has nothing to come back with either.
        assert!(kit.browser().get(&next).await.location().starts_with("/sign-in"));
        kit.advance(5);
        code(&browser.sign_in_at(&away, "ada").await);
        // And the next request asks anew.
        assert!(browser.get(&target).await.location().starts_with("/sign-in"), "{prompt:?}");
    }
}

// Holds: oidcc-max-age-1, oidcc-max-age-10000, openid-connect-core-15.1-max-age
// Holds: openid-connect-core-3.1.2.1-max-age
#[tokio::test]
async fn a_session_that_is_older_than_max_age_is_not_enough() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let target = WEB.authorize(&[("max_age", "60")]);
    kit.advance(60);
    code(&browser.get(&target).await);
    kit.advance(1);
    let away = browser.get(&target).await;
    assert!(away.location().starts_with("/sign-in"));
    code(&browser.sign_in_at(&away, "ada").await);
    kit.advance(60);
    code(&browser.get(&target).await);
    code(&browser.get(&WEB.authorize(&[("max_age", "99999999999")])).await);
}

#[tokio::test]
async fn a_request_waits_an_hour_for_the_sign_in() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let posted = browser.post("/authorize", &WEB.parameters(&[])).await;
    kit.advance(3599);
    code(&browser.get(posted.location()).await);
    kit.advance(1);
    assert_stays(&browser.get(posted.location()).await, 400);
    assert_stays(&browser.get("/authorize/resume").await, 400);
    let (address, sealed) = posted.location().split_once('=').unwrap();
    assert_stays(&browser.get(&format!("{address}={}", &sealed[1..])).await, 400);
}

#[tokio::test]
async fn whoever_signs_in_anew_leaves_no_old_session_behind() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let old = browser.cookies().clone();
    let away = browser.get(&WEB.authorize(&[("prompt", "login")])).await;
    code(&browser.sign_in_at(&away, "ada").await);
    assert_ne!(*browser.cookies(), old);
    let mut thief = kit.browser();
    *thief.cookies_mut() = old;
    assert!(thief.get("/start").await.location().starts_with("/sign-in"));
}

#[tokio::test]
async fn ledger_17_an_application_that_is_not_for_a_person_gives_them_nothing() {
    let kit = kit().await;
    let mut ada = agreed(&kit).await;
    let shown = ada.get(&WEB.authorize(&[("prompt", "consent")])).await.ok();
    let device = kit.post_form(WEB, "/device_authorization", &[]).await.ok();
    edit_web(&kit, |web| {
        web.everybody = false;
        web.people = vec![PersonId::parse("grace").unwrap()];
    })
    .await;
    let (logs, _capture) = capture_logs();
    for prompt in ["consent", "none", ""] {
        assert_error(&ada.get(&WEB.authorize(&[("prompt", prompt)])).await, "access_denied");
    }
    // Also when it was for them as the question was asked.
    assert_error(&ada.decide(&shown, Choice::Approve).await, "access_denied");
    assert_eq!(logs.text().matches("application_not_admitted").count(), 4, "{}", logs.text());
    let told = ada.decide_device(&device.member("user_code"), Choice::Approve).await;
    assert_eq!(told.status, 403);
    assert!(told.text().contains("This application is not for you"));
    let poll = kit.poll_application(WEB, &device.member("device_code"), &[]).await;
    assert_eq!(poll.member("error"), "authorization_pending");
    let mut grace = kit.browser().signed_in("grace").await;
    code(&grace.decide_authorize(&WEB.authorize(&[]), Choice::Approve).await);
}

// Holds: openid-connect-core-3.1.2.3-no-csrf
#[tokio::test]
async fn ledger_26_a_question_belongs_to_the_browser_that_was_asked() {
    let kit = kit().await;
    let mut ada = kit.browser().signed_in("ada").await;
    let page = ada.get(&WEB.authorize(&[])).await.ok();
    let form = Form::find(page.text(), "/authorize/decision").unwrap().with("decision", "approve");
    let mut grace = kit.browser().signed_in("grace").await;
    assert_stays(&grace.submit(&form).await, 403);
    kit.advance(600);
    assert_stays(&ada.submit(&form).await, 403);
}

#[tokio::test]
async fn a_development_server_approves_for_applications_too() {
    let kit = Kit::with(|setup| {
        applications(setup);
        setup.development = true;
        setup.auto_approve = Some(PersonId::parse("ada").unwrap());
    })
    .await;
    for application in [WEB, SPA] {
        let application: Application = application;
        let code = code(&kit.browser().get(&application.authorize(&[("prompt", "login")])).await);
        kit.redeem_application(application, &code, &[]).await.ok();
    }
    let mut file = doorward::dev::seed::directory().unwrap();
    add_applications(&mut file);
    for application in &mut file.applications {
        application.everybody = false;
        application.people = vec![PersonId::parse("grace").unwrap()];
    }
    kit.replace_directory(file).await;
    assert_error(&kit.browser().get(&WEB.authorize(&[])).await, "access_denied");
}

// Holds: openid-connect-core-3.1.2.1-acr-values, openid-connect-core-3.1.2.1-display-locales
// Holds: openid-connect-core-3.1.2.1-unknown-parameters, openid-connect-core-15.1-display
// Holds: openid-connect-core-15.1-locales, openid-connect-core-15.1-acr-values
// Holds: openid-connect-core-5.5.1-essential, oidcc-display-page, oidcc-display-popup, oidcc-ui-locales
// Holds: oidcc-claims-locales, oidcc-ensure-request-with-acr-values-succeeds
// Holds: oidcc-ensure-request-with-unknown-parameter-succeeds, oidcc-claims-essential
// Holds: oidcc-ensure-other-scope-order-succeeds, oidcc-ensure-request-without-nonce-succeeds-for-code-flow
#[tokio::test]
async fn what_is_only_a_wish_or_not_understood_is_no_reason_to_fail() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    for wish in [
        ("display", "popup"),
        ("display", "page"),
        ("ui_locales", "fr-CA fr"),
        ("claims_locales", "fr"),
        ("acr_values", "1 2"),
        ("claims", r#"{"userinfo": {"name": {"essential": true}}}"#),
        ("login_hint", "ada"),
        ("extra", "foobar"),
        ("scope", "api.read openid"),
        ("prompt", "none"),
        ("max_age", "10000"),
    ] {
        code(&browser.get(&WEB.authorize(&[wish])).await);
    }
}

// Holds: rfc9700-2.6-no-cors-at-authorization
#[tokio::test]
async fn no_script_of_another_page_reads_what_is_answered() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let headers = [("origin", "https://app.example")];
    let none = "".into();
    let answer = browser.send(Method::GET, &WEB.authorize(&[]), &headers, none).await;
    code(&answer);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

/// A key in `dpop_jkt` must be proved when the code is redeemed (RFC 9449 section 10).
// Holds: rfc9449-10-dpop-jkt
#[tokio::test]
async fn a_code_of_a_key_is_of_no_use_without_it() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let target = WEB.authorize(&[("dpop_jkt", "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]);
    let code = code(&browser.get(&target).await);
    let refused = kit.redeem_application(WEB, &code, &[]).await;
    assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
}

#[tokio::test]
async fn whoever_only_looks_gets_no_code() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let posted = browser.post("/authorize", &WEB.parameters(&[])).await;
    for target in [WEB.authorize(&[]), posted.location().to_owned()] {
        let looked = browser.send(Method::HEAD, &target, &[], axum::body::Body::empty()).await;
        assert_eq!((looked.status.as_u16(), looked.location()), (405, ""), "{target}");
        code(&browser.get(&target).await);
    }
}
