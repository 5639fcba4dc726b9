//! What a request is bound to beside its client: a key that was named before, and what is registered at that moment.

use doorward_testkit::{APPLICATION_REDIRECT_URI, Kit, OTHER_WEB, Pkce, SPA, WEB};
use http::HeaderValue;
use serde_json::json;

use crate::authorize::{agreed, assert_error, code, edit_web, kit};
use crate::common::{error, nonce, text, tokens_of, with_proof};
use crate::signer::{About, Signer};
use crate::verifier::verify;

fn at<'a>(path: &'a str, nonce: &'a str, jti: &'a str) -> About<'a> {
    About { method: "POST", path, nonce, jti, access_token: None }
}

// Holds: rfc9449-10-dpop-jkt
#[tokio::test]
async fn a_code_is_redeemed_with_the_key_that_the_request_named() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let (signer, thief) = (Signer::new(), Signer::new());
    let code = code(&browser.get(&WEB.authorize(&[("dpop_jkt", &signer.thumbprint())])).await);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", APPLICATION_REDIRECT_URI),
        ("code_verifier", Pkce::VERIFIER),
    ];
    let nonce = nonce(&kit).await;
    assert_eq!(kit.post_form(WEB, "/token", &fields).await.status, 400, "without a proof");
    let stolen = thief.proof(&kit, at("/token", &nonce, "1"));
    assert_eq!(kit.send(with_proof(WEB.request("/token", &fields), &stolen)).await.status, 400);
    let proof = signer.proof(&kit, at("/token", &nonce, "1"));
    let answer = kit.send(with_proof(WEB.request("/token", &fields), &proof)).await.ok();
    assert_eq!(answer.member("token_type"), "DPoP");
}

// Holds: rfc9449-10.1-par
#[tokio::test]
async fn a_pushed_request_names_the_key_that_it_proves() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let (signer, other) = (Signer::new(), Signer::new());
    let nonce = nonce(&kit).await;
    let push = async |jti: &str, jkt: &str| {
        let fields = WEB.parameters(&[("client_id", ""), ("dpop_jkt", jkt)]);
        let proof = signer.proof(&kit, at("/par", &nonce, jti));
        kit.send(with_proof(WEB.request("/par", &fields), &proof)).await
    };
    assert_eq!(push("1", &other.thumbprint()).await.status, 400);
    assert_eq!(push("2", &signer.thumbprint()).await.status, 201);
    let uri = push("3", "").await.member("request_uri");
    let target = format!("/authorize?client_id=web&request_uri={}", uri.replace(':', "%3A"));
    let code = code(&browser.get(&target).await);
    // The proof alone bound it.
    assert_eq!(kit.redeem_application(WEB, &code, &[]).await.status, 400);
}

// Holds: rfc9126-7.4-policy-change
#[tokio::test]
async fn what_was_pushed_is_held_to_what_is_registered_now() {
    let kit = kit().await;
    let mut browser = agreed(&kit).await;
    let push = async || {
        let fields = WEB.parameters(&[("client_id", "")]);
        let uri = kit.post_form(WEB, "/par", &fields).await.member("request_uri");
        format!("/authorize?client_id=web&request_uri={}", uri.replace(':', "%3A"))
    };
    let (one, other) = (push().await, push().await);
    edit_web(&kit, |web| web.scopes = doorward_core::scope::Scopes::parse(["openid"]).expect("scopes")).await;
    let code = code(&browser.get(&one).await);
    let answer = kit.redeem_application(WEB, &code, &[]).await.ok();
    assert_eq!(answer.member("scope"), "openid", "and not what was taken away since");
    edit_web(&kit, |web| web.redirect_uris = vec!["https://app.example/other".to_owned()]).await;
    let answer = browser.get(&other).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{}", answer.text());
}

// Holds: rfc7009-2.1-wrong-hint, rfc7662-2.1-wrong-hint
#[tokio::test]
async fn a_wrong_hint_hides_no_token() {
    let kit: Kit = kit().await;
    for (hint, name) in
        [("refresh_token", "access_token"), ("access_token", "refresh_token"), ("x", "access_token")]
    {
        let answer = tokens_of(&kit, WEB, "openid").await;
        let fields = [("token", text(&answer, name)), ("token_type_hint", hint)];
        let told = async || kit.post_form(WEB, "/introspect", &fields).await.ok().json()["active"].clone();
        assert_eq!(told().await, true, "{name} as {hint}");
        kit.post_form(WEB, "/revoke", &fields).await.ok();
        assert_eq!(told().await, false, "{name} as {hint}");
    }
}

// Holds: rfc9700-2.1.1-public-clients-pkce, rfc8252-8.1-refuse-without-pkce, rfc9700-2.1.1-no-downgrade
// Holds: rfc9700-4.8.2-refuse-without-challenge
#[tokio::test]
async fn no_application_does_without_pkce() {
    let kit = kit().await;
    for application in [WEB, SPA] {
        for left_out in
            [&[("code_challenge", "")][..], &[("code_challenge", ""), ("code_challenge_method", "")]]
        {
            let answer = kit.browser().get(&application.authorize(left_out)).await;
            assert_error(&answer, "invalid_request");
        }
        let fields =
            [("grant_type", "authorization_code"), ("code", "x"), ("redirect_uri", APPLICATION_REDIRECT_URI)];
        let refused = kit.post_form(application, "/token", &fields).await;
        assert_eq!(error(&refused), (400, "invalid_request".into()));
    }
}

// Holds: rfc7662-4-other-resources, rfc9701-5-audience-check, rfc9701-9-privacy
#[tokio::test]
async fn a_signed_answer_tells_no_more_than_another() {
    let kit = kit().await;
    let answer = tokens_of(&kit, WEB, "openid email").await;
    let mut request = OTHER_WEB.request("/introspect", &[("token", text(&answer, "access_token"))]);
    request.headers_mut().insert("accept", HeaderValue::from_static("application/token-introspection+jwt"));
    let signed = kit.send(request).await.ok();
    let (_, claims) = verify(&kit, signed.text()).await.expect("a JWT of this server");
    assert_eq!(claims["token_introspection"], json!({"active": false}));
    assert_eq!(claims["aud"], OTHER_WEB.id);
}
