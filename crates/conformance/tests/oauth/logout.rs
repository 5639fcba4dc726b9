//! Signing out because an application wants it, and telling the others (OpenID Connect RP-Initiated Logout 1.0 and
//! Back-Channel Logout 1.0).

use doorward_testkit::{Answer, Application, Browser, Choice, Form, Kit, OTHER_WEB, WEB};
use doorward_testkit_oidc::{Provider, Said};
use serde_json::{Value, json};

use crate::token::applications;
use crate::verifier::verify;

const AFTERWARDS: &str = "https://app.example/bye?x=1";
const HEARD: &str = "/backchannel";

/// A server whose applications `web` and `other-web` want to be told at `listener`.
struct World {
    kit: Kit,
    listener: Provider,
}

impl World {
    async fn new() -> Self {
        let listener = Provider::start().await;
        listener.says(HEARD, Said::json(&json!({})));
        let uri = format!("{}{HEARD}", listener.issuer);
        let kit = Kit::with(|setup| {
            applications(setup);
            for application in &mut setup.directory.applications {
                application.post_logout_redirect_uris = vec![AFTERWARDS.into()];
                application.backchannel_logout_uri = Some(uri.clone());
            }
        })
        .await;
        kit.make_signing_key().await;
        Self { kit, listener }
    }

    /// What applications have heard: the claims of every logout token.
    async fn heard(&self) -> Vec<Value> {
        self.kit.app().applications_are_told().await;
        let mut heard = Vec::new();
        for asked in self.listener.asked(HEARD) {
            let (header, claims) =
                verify(&self.kit, &asked.form["logout_token"]).await.expect("a token of ours");
            assert_eq!(header.typ.as_deref(), Some("logout+jwt"));
            heard.push(claims);
        }
        heard
    }

    /// Somebody lets an application in, and it has its tokens.
    async fn let_in(&self, browser: &mut Browser<'_>, application: Application, scope: &str) -> Value {
        let page = browser.get(&application.authorize(&[("scope", scope), ("prompt", "consent")])).await.ok();
        let code = browser.decide(&page, Choice::Approve).await.location_parameter("code").expect("a code");
        self.kit.redeem_application(application, &code, &[]).await.ok().json()
    }

    async fn is_in(&self, application: Application, tokens: &Value) -> bool {
        let token = tokens["refresh_token"].as_str().expect("a refresh token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.kit.post_form(application, "/token", &fields).await.status == 200
    }
}

fn target(parameters: &[(&str, &str)]) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("/oauth/logout?{query}")
}

async fn is_signed_in(browser: &mut Browser<'_>) -> bool {
    browser.get("/start").await.status == 200
}

fn question(page: &Answer) -> Form {
    Form::find(page.text(), "/oauth/logout/decision")
        .unwrap_or_else(|| panic!("{} {}", page.status, page.text()))
}

// Holds: backchannel-logout-2.3-remembered, backchannel-logout-2.4-claims, backchannel-logout-2.4-events
// Holds: backchannel-logout-2.4-no-nonce, backchannel-logout-2.4-short, backchannel-logout-2.4-signed
// Holds: backchannel-logout-2.4-sub-or-sid, backchannel-logout-2.4-typ, backchannel-logout-2.5-request
// Holds: backchannel-logout-2.7-refresh-revoked, rp-initiated-logout-2-hint-expired
// Holds: rp-initiated-logout-2-other-sessions, rp-initiated-logout-2-ui-locales
// Holds: rp-initiated-logout-3-after-logout, rp-initiated-logout-3-registered-uri
// Holds: rp-initiated-logout-3-state
#[tokio::test]
async fn an_application_signs_out_the_session_that_it_means() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let web = world.let_in(&mut browser, WEB, "openid").await;
    let other = world.let_in(&mut browser, OTHER_WEB, "openid offline_access").await;
    let mut elsewhere = world.kit.browser().signed_in("ada").await;
    let there = world.let_in(&mut elsewhere, WEB, "openid").await;

    // Long after the ID token has expired.
    world.kit.advance(7000);
    let hint = web["id_token"].as_str().unwrap();
    let parameters = [
        ("id_token_hint", hint),
        ("post_logout_redirect_uri", AFTERWARDS),
        ("state", "a b"),
        ("ui_locales", "de"),
    ];
    let left = browser.get(&target(&parameters)).await;
    assert_eq!((left.status.as_u16(), left.location()), (302, "https://app.example/bye?x=1&state=a+b"));
    assert!(!is_signed_in(&mut browser).await);
    assert!(!world.is_in(WEB, &web).await);
    assert!(world.is_in(OTHER_WEB, &other).await, "it may stay signed in");
    assert!(world.is_in(WEB, &there).await, "it came from another browser");

    let (_, id) = verify(&world.kit, hint).await.unwrap();
    let mut heard = world.heard().await;
    heard.sort_by_key(|claims| claims["aud"].to_string());
    let now = world.kit.now().seconds();
    for (claims, client) in heard.iter().zip(["other-web", "web"]) {
        let jti = claims["jti"].clone();
        assert!(jti.as_str().is_some_and(|jti| jti.len() >= 22));
        let expected = json!({
            "iss": world.kit.base(), "sub": "ada", "aud": client, "iat": now, "exp": now + 120, "jti": jti,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": id["sid"],
        });
        assert_eq!(*claims, expected);
    }
    assert_eq!(heard.len(), 2);
}

// Holds: rp-initiated-logout-2-ask, rp-initiated-logout-2-ask-without-hint, rp-initiated-logout-3-state
// Holds: rp-initiated-logout-6-not-by-others
#[tokio::test]
async fn whoever_is_sent_without_such_a_token_is_asked() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let mut elsewhere = world.kit.browser().signed_in("ada").await;
    let there = world.let_in(&mut elsewhere, WEB, "openid").await;
    let hint = there["id_token"].as_str().unwrap();
    for parameters in [
        &[][..],
        &[("client_id", "web")],
        &[("client_id", "web"), ("post_logout_redirect_uri", AFTERWARDS)],
        &[("id_token_hint", hint)],
        &[("id_token_hint", hint), ("client_id", "web")],
    ] {
        let page = browser.get(&target(parameters)).await.ok();
        let form = question(&page);
        for wrong in
            [form.clone(), form.clone().with("decision", ""), form.clone().with("decision", "approve")]
        {
            assert_eq!(browser.submit(&wrong).await.status, 400);
        }
        assert_eq!(elsewhere.submit(&form.clone().with("decision", "sign_out")).await.status, 403);
        let stayed = browser.submit(&form.with("decision", "stay")).await.ok();
        assert!(stayed.text().contains("still signed in"));
        assert!(is_signed_in(&mut browser).await);
    }
    let parameters = [("client_id", "web"), ("post_logout_redirect_uri", AFTERWARDS), ("state", "s")];
    let page = browser.get(&target(&parameters)).await.ok();
    assert!(page.text().contains("Web shop"));
    assert!(page.header("content-security-policy").contains("form-action 'self' https://app.example;"));
    let left = browser.submit(&question(&page).with("decision", "sign_out")).await;
    assert_eq!((left.status.as_u16(), left.location()), (302, "https://app.example/bye?x=1&state=s"));
    assert!(!is_signed_in(&mut browser).await && is_signed_in(&mut elsewhere).await);
    // There is nobody left to ask.
    assert_eq!(browser.get(&target(&parameters)).await.location(), "https://app.example/bye?x=1&state=s");
    assert!(browser.get(&target(&[])).await.ok().text().contains("You are signed out"));
}

// Holds: rfc9068-5-not-an-id-token, rp-initiated-logout-2-client-id-agrees
// Holds: rp-initiated-logout-2-hint-validated, rp-initiated-logout-3-no-uri-without-client
// Holds: rp-initiated-logout-3-registered-uri, rp-initiated-logout-4-errors-stay
#[tokio::test]
async fn ledger_19_nobody_is_sent_on_to_an_address_that_was_not_registered() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let tokens = world.let_in(&mut browser, WEB, "openid").await;
    let hint = tokens["id_token"].as_str().unwrap();
    let (head, signature) = hint.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    let access = tokens["access_token"].as_str().unwrap();
    for parameters in [
        &[("id_token_hint", hint), ("post_logout_redirect_uri", "https://app.example/bye")][..],
        &[("id_token_hint", hint), ("post_logout_redirect_uri", "https://app.example/bye?x=1#y")],
        &[("post_logout_redirect_uri", AFTERWARDS)],
        &[("client_id", "nobody"), ("post_logout_redirect_uri", AFTERWARDS)],
        &[("client_id", "nobody")],
        // The token of another client, of nobody, or of another kind.
        &[("id_token_hint", hint), ("client_id", "other-web")],
        &[("id_token_hint", &forged), ("post_logout_redirect_uri", AFTERWARDS)],
        &[("id_token_hint", access), ("post_logout_redirect_uri", AFTERWARDS)],
        &[("client_id", "web"), ("client_id", "web")],
    ] {
        for mut browser in [world.kit.browser()] {
            let answer = browser.get(&target(parameters)).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{parameters:?}");
        }
        let answer = browser.get(&target(parameters)).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{parameters:?}");
        assert!(is_signed_in(&mut browser).await);
    }
}

/// The key of an ID token may be gone long before somebody signs out.
#[tokio::test]
async fn a_token_that_cannot_be_verified_is_no_reason_to_stay_signed_in() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let tokens = world.let_in(&mut browser, WEB, "openid").await;
    let hint = tokens["id_token"].as_str().unwrap();
    let (head, signature) = hint.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    for hint in [forged.as_str(), tokens["access_token"].as_str().unwrap(), "x"] {
        question(&browser.get(&target(&[("id_token_hint", hint)])).await.ok());
        assert!(is_signed_in(&mut browser).await);
    }
    let parameters =
        [("id_token_hint", &*forged), ("client_id", "web"), ("post_logout_redirect_uri", AFTERWARDS)];
    let form = question(&browser.get(&target(&parameters)).await.ok());
    assert!(is_signed_in(&mut browser).await);
    let left = browser.submit(&form.with("decision", "sign_out")).await;
    assert_eq!((left.status.as_u16(), left.location()), (302, AFTERWARDS));
    assert!(!is_signed_in(&mut browser).await && !world.is_in(WEB, &tokens).await);
}

// Holds: rp-initiated-logout-2-get-and-post
#[tokio::test]
async fn a_posted_request_is_as_good() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let tokens = world.let_in(&mut browser, WEB, "openid").await;
    let hint = tokens["id_token"].as_str().unwrap();
    // From another site, hence without cookies.
    let posted = world.kit.browser().post("/oauth/logout", &[("id_token_hint", hint)]).await;
    assert_eq!(posted.status, 303);
    assert!(is_signed_in(&mut browser).await);
    assert!(browser.get(posted.location()).await.ok().text().contains("You are signed out"));
    assert!(!is_signed_in(&mut browser).await);
    assert_eq!(world.heard().await.len(), 1);
}

// Holds: backchannel-logout-2.3-remembered, rfc9700-4.14.2-revoked-at-logout
#[tokio::test]
async fn whoever_signs_out_here_is_signed_out_there() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let web = world.let_in(&mut browser, WEB, "openid").await;
    let page = browser.get("/start").await.ok();
    browser.submit(&Form::find(page.text(), "/sign-out").unwrap()).await.ok();
    assert!(!world.is_in(WEB, &web).await);
    assert_eq!(world.heard().await.len(), 1);

    // A sign-in anew is the same browser to the applications.
    let mut browser = world.kit.browser().signed_in("ada").await;
    let before = world.let_in(&mut browser, WEB, "openid").await;
    let away = browser.get(&OTHER_WEB.authorize(&[("prompt", "login"), ("scope", "openid")])).await;
    let page = browser.sign_in_at(&away, "ada").await;
    assert_eq!(browser.decide(&page, Choice::Approve).await.status, 302);
    let page = browser.get("/start").await.ok();
    browser.submit(&Form::find(page.text(), "/sign-out").unwrap()).await.ok();
    assert!(!world.is_in(WEB, &before).await);
    assert_eq!(world.heard().await.len(), 2);

    // Somebody else who signs in there signs the first one out.
    let mut browser = world.kit.browser().signed_in("ada").await;
    let before = world.let_in(&mut browser, WEB, "openid").await;
    let away = browser.get(&OTHER_WEB.authorize(&[("prompt", "login")])).await;
    browser.sign_in_at(&away, "grace").await;
    assert!(!world.is_in(WEB, &before).await);
    assert_eq!(world.heard().await.len(), 3);
}

/// Whatever fails halfway, nobody is told that they are signed out whose applications are not.
#[tokio::test]
async fn whoever_could_not_be_signed_out_can_do_it_again() {
    let world = World::new().await;
    for more in 0..3 {
        let mut browser = world.kit.browser().signed_in("ada").await;
        let web = world.let_in(&mut browser, WEB, "openid").await;
        let other = world.let_in(&mut browser, OTHER_WEB, "openid").await;
        let page = browser.get("/start").await.ok();
        let form = Form::find(page.text(), "/sign-out").unwrap();
        let before = world.heard().await.len();
        world.kit.store().fail_writes_after(more);
        assert!(browser.submit(&form).await.status.is_server_error(), "{more}");
        world.kit.store().fail(false, false);
        assert!(is_signed_in(&mut browser).await, "{more}");
        browser.submit(&form).await.ok();
        assert!(!is_signed_in(&mut browser).await);
        assert!(!world.is_in(WEB, &web).await && !world.is_in(OTHER_WEB, &other).await, "{more}");
        assert_eq!(world.heard().await.len(), before + 2, "each once, {more}");
    }
}

#[tokio::test]
async fn ending_a_session_and_withdrawing_tell_its_application() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    let web = world.let_in(&mut browser, WEB, "openid offline_access").await;
    let page = browser.get("/start").await.ok();
    browser.submit(&Form::find(page.text(), "/start/sessions/end").unwrap()).await;
    assert!(!world.is_in(WEB, &web).await);
    assert_eq!(world.heard().await.len(), 1);
    let web = world.let_in(&mut browser, WEB, "openid offline_access").await;
    let page = browser.get("/start").await.ok();
    browser.submit(&Form::find(page.text(), "/start/applications/withdraw").unwrap()).await;
    assert!(!world.is_in(WEB, &web).await);
    assert_eq!(world.heard().await.len(), 2);
    assert!(is_signed_in(&mut browser).await);
}

// Holds: oidcc-id-token-hint, oidcc-max-age-1, openid-connect-core-15.1-auth-time
// Holds: openid-connect-core-2-acr-amr, openid-connect-core-2-auth-time, openid-connect-core-2-nonce
// Holds: openid-connect-core-3.1.2.1-id-token-hint, openid-connect-core-3.1.2.2-sub-claim
#[tokio::test]
async fn a_sign_in_shows_in_the_tokens() {
    let world = World::new().await;
    let mut browser = world.kit.browser().signed_in("ada").await;
    world.kit.advance(30);
    let target = WEB.authorize(&[("scope", "openid api.read"), ("nonce", "n-0S6_WzA2Mj")]);
    let code = browser.decide_authorize(&target, Choice::Approve).await.location_parameter("code").unwrap();
    let tokens = world.kit.redeem_application(WEB, &code, &[]).await.ok().json();
    let (_, id) = verify(&world.kit, tokens["id_token"].as_str().unwrap()).await.unwrap();
    assert_eq!((&id["nonce"], &id["amr"]), (&json!("n-0S6_WzA2Mj"), &json!(["pwd"])));
    assert_eq!(id["auth_time"], world.kit.now().seconds() - 30);
    assert_eq!(id["sid"].as_str().map(str::len), Some(32));

    // Whoever must sign in anew has a new auth_time, and the same sid.
    world.kit.advance(30);
    let away = browser.get(&WEB.authorize(&[("max_age", "10")])).await;
    let sent = browser.sign_in_at(&away, "ada").await;
    let code = sent.location_parameter("code").expect("a code");
    let tokens = world.kit.redeem_application(WEB, &code, &[]).await.ok().json();
    let (_, anew) = verify(&world.kit, tokens["id_token"].as_str().unwrap()).await.unwrap();
    assert_eq!((&anew["auth_time"], &anew["sid"]), (&json!(world.kit.now().seconds()), &id["sid"]));

    // An ID token is a hint for whom it is about, in any browser.
    let hint = tokens["id_token"].as_str().unwrap();
    let silent = WEB.authorize(&[("prompt", "none"), ("id_token_hint", hint)]);
    assert!(browser.get(&silent).await.location_parameter("code").is_some());
    let mut grace = world.kit.browser().signed_in("grace").await;
    assert_eq!(grace.get(&silent).await.location_parameter("error").as_deref(), Some("login_required"));
    let foreign = OTHER_WEB.authorize(&[("prompt", "none"), ("id_token_hint", hint)]);
    assert_eq!(browser.get(&foreign).await.location_parameter("error").as_deref(), Some("login_required"));
    // Where she may be asked, she is; and if she then is still somebody else, that is no answer.
    let away = grace.get(&WEB.authorize(&[("id_token_hint", hint)])).await;
    let page = grace.get(away.location()).await.ok();
    assert_eq!(Form::find(page.text(), "/sign-in").unwrap().get("user_name"), Some("ada"));
    let answer = grace.sign_in_at(&away, "grace").await;
    assert_eq!(answer.location_parameter("error").as_deref(), Some("login_required"));
}
