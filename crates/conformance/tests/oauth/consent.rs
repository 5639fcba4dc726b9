//! What people agreed to: remembered, asked again, shown, withdrawn.

use doorward_core::ids::PersonId;
use doorward_testkit::{
    API, APPLICATION_REDIRECT_URI, Answer, Browser, Choice, Form, Kit, OTHER_API, SPA, WEB, on_every_store,
};

use crate::authorize::{agreed, asks, code, edit_web, kit};
use crate::token::applications;

/// What the portal page says of the applications, if anything.
async fn portal(browser: &mut Browser<'_>) -> Option<String> {
    let page = browser.get("/start").await.ok();
    let (_, section) = page.text().split_once("<section aria-labelledby=\"applications\">")?;
    Some(section.split("</section>").next()?.to_owned())
}

async fn withdraw(browser: &mut Browser<'_>) -> Answer {
    let page = browser.get("/start").await.ok();
    let form = Form::find(page.text(), "/start/applications/withdraw").expect("something to withdraw");
    browser.submit(&form).await
}

// Holds: openid-connect-core-15.1-prompt, openid-connect-core-3.1.2.1-prompt-consent
// Holds: openid-connect-core-3.1.2.4-consent
#[tokio::test]
async fn what_was_agreed_to_is_not_asked_again_and_more_is() {
    on_every_store(applications, async |kit| {
        let mut browser = agreed(kit).await;
        for known in [&[][..], &[("scope", "openid")], &[("resource", API)]] {
            code(&browser.get(&WEB.authorize(known)).await);
        }
        for more in [&[("scope", "openid api.read email")][..], &[("scope", "")], &[("prompt", "consent")]] {
            assert!(asks(&browser.get(&WEB.authorize(more)).await), "{more:?}");
        }
        // To deny changes nothing of what was agreed to.
        browser.decide_authorize(&WEB.authorize(&[("scope", "email")]), Choice::Deny).await;
        code(&browser.get(&WEB.authorize(&[])).await);
        // What is agreed to adds up.
        code(&browser.decide_authorize(&WEB.authorize(&[("scope", "email")]), Choice::Approve).await);
        code(&browser.get(&WEB.authorize(&[("scope", "openid api.read email")])).await);
        // It is the person's, in every browser, and nobody else's.
        code(&kit.browser().signed_in("ada").await.get(&WEB.authorize(&[])).await);
        assert!(asks(&kit.browser().signed_in("grace").await.get(&WEB.authorize(&[])).await));
    })
    .await;
}

// Holds: rfc8707-2.1-at-authorization, rfc9700-4.14.2-bound-to-consent
#[tokio::test]
async fn resources_are_asked_for_when_they_grow() {
    let kit = kit().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let page = browser.get(&WEB.authorize(&[("resource", API)])).await.ok();
    assert!(page.text().contains(API) && !page.text().contains(OTHER_API));
    code(&browser.decide(&page, Choice::Approve).await);
    code(&browser.get(&WEB.authorize(&[("resource", API)])).await);
    assert!(asks(&browser.get(&WEB.authorize(&[("resource", OTHER_API)])).await));
    // Without one it is all that the application has.
    code(&browser.decide_authorize(&WEB.authorize(&[]), Choice::Approve).await);
    // An administrator who gives the application more gives it nothing of a person's.
    edit_web(&kit, |web| web.audiences.push("https://third.example".into())).await;
    assert!(asks(&browser.get(&WEB.authorize(&[])).await));
    code(&browser.get(&WEB.authorize(&[("resource", OTHER_API)])).await);
}

// Holds: ledger-09
#[tokio::test]
async fn an_application_whose_people_are_not_asked_asks_nobody() {
    let kit = kit().await;
    edit_web(&kit, |web| web.consent = false).await;
    let mut browser = kit.browser().signed_in("ada").await;
    for prompt in ["", "none", "consent"] {
        code(&browser.get(&WEB.authorize(&[("prompt", prompt)])).await);
    }
    assert_eq!(portal(&mut browser).await, None);
    // Nor does the sign-in lead to a question.
    let mut browser = kit.browser();
    let away = browser.get(&WEB.authorize(&[])).await;
    code(&browser.sign_in_at(&away, "ada").await);
}

/// Any program on the person's machine could ask in the name of a public client (RFC 8252 section 8.6).
// Holds: rfc8252-8.6-no-silent-grants
#[tokio::test]
async fn a_public_client_on_loopback_is_asked_for_each_time() {
    let kit = kit().await;
    let mut browser = kit.browser().signed_in("ada").await;
    for _ in 0..2 {
        code(&browser.decide_authorize(&SPA.authorize(&[]), Choice::Approve).await);
    }
    // What was agreed to counts where the answer can reach nobody else.
    let answer = browser.get(&SPA.authorize(&[("redirect_uri", "https://app.example/callback")])).await;
    assert!(answer.location().starts_with("https://app.example/callback?code="), "{}", answer.location());
}

/// That nobody is asked about an application does not mean whoever claims to be it.
#[tokio::test]
async fn ledger_09_what_any_program_can_claim_to_be_is_asked_about_whatever_is_registered() {
    let kit = kit().await;
    let local = "https://localhost:8443/callback";
    kit.edit_directory(|file| {
        let spa = file.applications.iter_mut().find(|it| it.client_id.as_str() == "spa").unwrap();
        spa.consent = false;
        spa.redirect_uris.push(local.into());
    })
    .await;
    let mut browser = kit.browser().signed_in("ada").await;
    for redirect_uri in [APPLICATION_REDIRECT_URI, local] {
        let request = SPA.authorize(&[("redirect_uri", redirect_uri)]);
        assert!(asks(&browser.get(&request).await), "{redirect_uri}");
        let silent = browser.get(&SPA.authorize(&[("redirect_uri", redirect_uri), ("prompt", "none")])).await;
        assert_eq!(silent.location_parameter("error").as_deref(), Some("consent_required"), "{redirect_uri}");
        assert!(
            browser.decide_authorize(&request, Choice::Approve).await.location_parameter("code").is_some()
        );
        assert!(asks(&browser.get(&request).await), "{redirect_uri}");
    }
    let answer = browser.get(&SPA.authorize(&[("redirect_uri", "https://app.example/callback")])).await;
    assert!(answer.location_parameter("code").is_some(), "{}", answer.location());
}

#[tokio::test]
async fn nobody_is_said_to_vouch_for_what_any_program_can_claim_to_be() {
    let kit = kit().await;
    let own = "com.example.app:/callback";
    kit.edit_directory(|file| {
        let spa = file.applications.iter_mut().find(|it| it.client_id.as_str() == "spa").unwrap();
        spa.redirect_uris.push(own.into());
    })
    .await;
    let (vouched, claimed) = ("registered it", "any program can claim to be it");
    let mut browser = kit.browser().signed_in("ada").await;
    for (application, redirect_uri, words, not, to) in [
        (SPA, APPLICATION_REDIRECT_URI, claimed, vouched, "<code>127.0.0.1:"),
        (SPA, own, claimed, vouched, "<code>com.example.app:</code>"),
        (SPA, "https://app.example/callback", vouched, claimed, "<code>app.example</code>"),
        (WEB, APPLICATION_REDIRECT_URI, vouched, claimed, "<code>127.0.0.1:"),
    ] {
        let page = browser.get(&application.authorize(&[("redirect_uri", redirect_uri)])).await.ok();
        let text = page.text();
        assert!(text.contains(words) && !text.contains(not) && text.contains(to), "{redirect_uri}: {text}");
    }
    for (application, words, not) in [(SPA, claimed, vouched), (WEB, vouched, claimed)] {
        let started = kit.post_form(application, "/device_authorization", &[("scope", "openid")]).await.ok();
        let page = browser.type_code(&started.member("user_code")).await.ok();
        assert!(page.text().contains(words) && !page.text().contains(not), "{}", page.text());
    }
}

// Holds: openid-connect-core-16.18-token-lifetimes
#[tokio::test]
async fn what_was_agreed_to_is_shown_and_taken_back() {
    on_every_store(applications, async |kit| {
        let mut browser = kit.browser().signed_in("ada").await;
        assert_eq!(portal(&mut browser).await, None);
        let device = kit.approved_application_device(WEB, &[("scope", "openid api.read")], "ada").await;
        let shown = portal(&mut browser).await.expect("an application");
        for words in ["Web shop", "read your orders", "know who you are", API, "10 January 2027, 00:00 UTC"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert!(
            kit.browser().signed_in("grace").await.get("/start").await.ok().text().find("Web shop").is_none()
        );
        // A code that was typed is remembered as if it had been agreed to in the browser.
        code(&browser.get(&WEB.authorize(&[])).await);
        let tokens = kit.poll_application(WEB, &device, &[]).await.ok();
        let answer = withdraw(&mut browser).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "/start"));
        assert_eq!(portal(&mut browser).await, None);
        assert!(asks(&browser.get(&WEB.authorize(&[])).await));
        let token = tokens.member("refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*token)];
        let refused = kit.post_form(WEB, "/token", &fields).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
    })
    .await;
}

#[tokio::test]
async fn what_is_withdrawn_reaches_codes_that_are_on_their_way() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let unspent = code(&browser.get(&WEB.authorize(&[])).await);
    let device = kit.approved_application_device(WEB, &[], "ada").await;
    assert_eq!(withdraw(&mut browser).await.status.as_u16(), 303);
    for answer in
        [kit.redeem_application(WEB, &unspent, &[]).await, kit.poll_application(WEB, &device, &[]).await]
    {
        assert_eq!((answer.status.as_u16(), answer.member("error")), (400, "invalid_grant".into()));
        assert!(answer.member("error_description").starts_with("consent_required"), "{}", answer.text());
    }
    assert_eq!(portal(&mut browser).await, None);
}

/// RFC 8628 section 5.4: whoever sent somebody a code must not profit from what they agreed to before.
// Holds: rfc8628-3.3-authenticate-user, rfc8628-5.4-says-device
#[tokio::test]
async fn ledger_38_a_code_that_is_typed_is_asked_about_whatever_was_agreed_to() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let started = kit.post_form(WEB, "/device_authorization", &[("scope", "openid")]).await.ok();
    let page = browser.type_code(&started.member("user_code")).await.ok();
    assert!(Form::find(page.text(), "/device/decision").is_some());
    for words in ["Web shop", "registered it", "know who you are"] {
        assert!(page.text().contains(words), "{words}");
    }
    let poll = kit.poll_application(WEB, &started.member("device_code"), &[]).await;
    assert_eq!(poll.member("error"), "authorization_pending");
}

#[tokio::test]
async fn nobody_else_withdraws_for_a_person() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let page = browser.get("/start").await.ok();
    let form = Form::find(page.text(), "/start/applications/withdraw").unwrap();
    for wrong in [form.clone().without("csrf"), form.clone().with("csrf", "x")] {
        assert_eq!(browser.submit(&wrong).await.status, 403);
    }
    let mut grace = kit.browser().signed_in("grace").await;
    assert_eq!(grace.submit(&form).await.status, 403);
    // Nor does it matter which application that is, if it is none.
    for other in ["", "spa", "no such", "https://x.example/y"] {
        assert_eq!(browser.submit(&form.clone().with("application", other)).await.status, 303);
    }
    code(&browser.get(&WEB.authorize(&[])).await);
}

#[tokio::test]
async fn what_somebody_agreed_to_who_had_the_name_before_is_asked_again() {
    let kit = kit().await;
    drop(agreed(&kit).await);
    let ada = PersonId::parse("ada").unwrap();
    let seeded = kit.app().store().directory().await.unwrap().file().clone();
    kit.advance(10);
    kit.edit_directory(|file| {
        file.people.retain(|person| person.user_name != ada);
        for group in &mut file.groups {
            group.members.retain(|member| *member != ada);
        }
        for assignment in &mut file.assignments {
            assignment.people.retain(|person| *person != ada);
        }
        file.assignments.retain(|assignment| !assignment.people.is_empty() || !assignment.groups.is_empty());
    })
    .await;
    kit.advance(10);
    kit.replace_directory(seeded).await;
    kit.advance(10);
    let mut browser = kit.browser().signed_in("ada").await;
    assert_eq!(portal(&mut browser).await, None);
    assert!(asks(&browser.get(&WEB.authorize(&[])).await));
}

#[tokio::test]
async fn ledger_28_an_outage_is_no_answer() {
    let kit: Kit = kit().await;
    let mut browser = agreed(&kit).await;
    kit.store().fail(true, false);
    let answer = browser.get(&WEB.authorize(&[("prompt", "none")])).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (500, ""));
    kit.store().fail(false, false);
    let page = browser.get(&WEB.authorize(&[("prompt", "consent")])).await.ok();
    kit.store().fail(false, true);
    let answer = browser.decide(&page, Choice::Approve).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (500, ""));
}
