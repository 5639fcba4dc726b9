//! Applications that are hard to tell that somebody signed out (OpenID Connect Back-Channel Logout 1.0 sections 2.8 and 3).

use std::time::Duration;

use doorward_testkit::{Application, Choice, Form, Kit, OTHER_WEB, WEB, capture_logs};
use doorward_testkit_oidc::{Provider, Said};
use serde_json::json;

use crate::token::applications;

const HEARD: &str = "/backchannel";

/// A server whose applications `web` and `other-web` want to be told at a place of their own.
async fn kit(web: &Provider, other: &Provider) -> Kit {
    let kit = Kit::with(|setup| {
        applications(setup);
        for application in &mut setup.directory.applications {
            let listener = if application.client_id.as_str() == "web" { web } else { other };
            application.backchannel_logout_uri = Some(format!("{}{HEARD}", listener.issuer));
        }
    })
    .await;
    kit.make_signing_key().await;
    kit
}

/// Ada lets applications in, and signs out of the portal.
async fn sign_out(kit: &Kit, applications: &[Application]) {
    let mut browser = kit.browser().signed_in("ada").await;
    for application in applications {
        let sent = browser.decide_authorize(&application.authorize(&[]), Choice::Approve).await;
        let code = sent.location_parameter("code").expect("a code");
        kit.redeem_application(*application, &code, &[]).await.ok();
    }
    let page = browser.get("/start").await.ok();
    browser.submit(&Form::find(page.text(), "/sign-out").expect("a way out")).await.ok();
}

async fn has_heard(listener: &Provider) {
    for _ in 0..4000 {
        if !listener.asked(HEARD).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it has not heard of it in 20 s");
}

// Holds: backchannel-logout-3-parallel
#[tokio::test]
async fn an_application_that_hangs_keeps_nobody_waiting() {
    let (hanging, quick) = (Provider::start().await, Provider::start().await);
    hanging.says(HEARD, Said::json(&json!({})).hanging());
    quick.says(HEARD, Said::json(&json!({})));
    let kit = kit(&hanging, &quick).await;
    sign_out(&kit, &[WEB, OTHER_WEB]).await;
    has_heard(&hanging).await;
    has_heard(&quick).await;
    let all_are_told = tokio::select! {
        biased;
        () = kit.app().applications_are_told() => true,
        () = std::future::ready(()) => false,
    };
    assert!(!all_are_told, "the other one is still waited for");
}

// Holds: backchannel-logout-2.8-outcome, backchannel-logout-3-retries
#[tokio::test]
async fn an_application_that_fails_is_told_again_until_it_has_heard() {
    let listener = Provider::start().await;
    listener.says(HEARD, Said::json(&json!({})).status(503));
    let kit = kit(&listener, &listener).await;
    let (logs, _guard) = capture_logs();
    sign_out(&kit, &[WEB]).await;
    has_heard(&listener).await;
    listener.says(HEARD, Said::json(&json!({})).status(204));
    kit.app().applications_are_told().await;
    assert_eq!(listener.asked(HEARD).len(), 2, "once more, and then it is enough");
    assert!(logs.text().contains("application_told_of_sign_out"), "{}", logs.text());
}
