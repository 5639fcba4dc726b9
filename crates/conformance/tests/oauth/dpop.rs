//! Tokens that are bound to a key (RFC 9449), from outside. What a proof must say is tested beside the code.

use data_encoding::BASE64URL_NOPAD;
use doorward_testkit::{Kit, SPA, WEB, on_every_store};
use serde_json::{Value, json};

use crate::common::{applications, bound_tokens_of, error, nonce, text, tokens_of, with_proof, written};
use crate::signer::{About, Signer};
use crate::verifier::get;

/// What a JWT of the server says; that its signature holds is another test's.
fn said(token: &str) -> Value {
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1).expect("a JWT").as_bytes()).expect("a JWT");
    serde_json::from_slice(&claims).expect("claims in JSON")
}

fn at_token<'a>(nonce: &'a str, jti: &'a str) -> About<'a> {
    About { method: "POST", path: "/token", nonce, jti, access_token: None }
}

// Holds: rfc9449-5-token-type, rfc9449-6.1-cnf, rfc9449-8-use-nonce, rfc9700-2.2.1-sender-constrained-access
// Holds: rfc9700-4.10.1-proof-of-possession
#[tokio::test]
async fn a_first_proof_is_answered_with_a_nonce_and_the_next_with_tokens() {
    on_every_store(applications, async |kit| {
        let signer = Signer::new();
        let code = kit.approved_application_device(WEB, &[("scope", "openid")], "ada").await;
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let request = || WEB.request("/token", &[("grant_type", grant), ("device_code", &code)]);
        let first = kit.send(with_proof(request(), &signer.proof(kit, at_token("", "1")))).await;
        assert_eq!(error(&first), (400, "use_dpop_nonce".into()));
        let nonce = first.header("dpop-nonce");
        assert!(!nonce.is_empty());
        assert!(first.header("access-control-expose-headers").contains("DPoP-Nonce"));

        let answer = kit.send(with_proof(request(), &signer.proof(kit, at_token(nonce, "2")))).await.ok();
        assert_eq!(answer.header("dpop-nonce"), nonce);
        assert_eq!(answer.member("token_type"), "DPoP");
        assert_eq!(said(&answer.member("access_token"))["cnf"]["jkt"], signer.thumbprint());

        let without = tokens_of(kit, WEB, "openid").await;
        assert!(said(text(&without, "access_token")).get("cnf").is_none());
    })
    .await;
}

// Holds: rfc9449-11.1-replay, rfc9449-5-invalid-proof
#[tokio::test]
async fn a_proof_is_for_one_request() {
    on_every_store(applications, async |kit| {
        let signer = Signer::new();
        let answer = bound_tokens_of(kit, WEB, &signer).await;
        let nonce = nonce(kit).await;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&answer, "refresh_token"))];
        let proof = signer.proof(kit, at_token(&nonce, "once"));
        let answer = kit.send(with_proof(WEB.request("/token", &fields), &proof)).await.ok();
        let token = answer.member("refresh_token");
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let refused = kit.send(with_proof(WEB.request("/token", &fields), &proof)).await;
        assert_eq!(error(&refused), (400, "invalid_dpop_proof".into()));
        // Nothing but the proof was used up.
        let proof = signer.proof(kit, at_token(&nonce, "again"));
        kit.send(with_proof(WEB.request("/token", &fields), &proof)).await.ok();
    })
    .await;
}

/// RFC 9449 section 5: who cannot prove who they are proves at least that they are the same as before.
// Holds: rfc9449-5-refresh-public, rfc9700-2.2.2-public-refresh
#[tokio::test]
async fn a_public_client_refreshes_with_its_key_and_no_other() {
    on_every_store(applications, async |kit| {
        let (signer, thief) = (Signer::new(), Signer::new());
        let answer = bound_tokens_of(kit, SPA, &signer).await;
        let nonce = nonce(kit).await;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&answer, "refresh_token"))];
        let refused = kit.send(SPA.request("/token", &fields)).await;
        assert_eq!(refused.status.as_u16(), 400, "without a proof");
        let proof = thief.proof(kit, at_token(&nonce, "1"));
        let refused = kit.send(with_proof(SPA.request("/token", &fields), &proof)).await;
        assert_eq!(refused.status.as_u16(), 400, "with another key");
        let proof = signer.proof(kit, at_token(&nonce, "1"));
        let answer = kit.send(with_proof(SPA.request("/token", &fields), &proof)).await.ok();
        assert_eq!(said(&answer.member("access_token"))["cnf"]["jkt"], signer.thumbprint());
    })
    .await;
}

/// A confidential client proves who it is at each refresh, so that its key may change.
// Holds: rfc9449-5-refresh-confidential
#[tokio::test]
async fn a_confidential_client_refreshes_with_another_key() {
    let kit = Kit::with(applications).await;
    let answer = bound_tokens_of(&kit, WEB, &Signer::new()).await;
    let (next, nonce) = (Signer::new(), nonce(&kit).await);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&answer, "refresh_token"))];
    let proof = next.proof(&kit, at_token(&nonce, "1"));
    let answer = kit.send(with_proof(WEB.request("/token", &fields), &proof)).await.ok();
    assert_eq!(said(&answer.member("access_token"))["cnf"]["jkt"], next.thumbprint());
}

// Holds: rfc9449-5.1-metadata
#[tokio::test]
async fn what_a_proof_may_be_signed_with_is_listed() {
    let kit = Kit::with(applications).await;
    let listed = get(&kit, "/.well-known/openid-configuration").await.json();
    assert_eq!(listed["dpop_signing_alg_values_supported"], json!(["ES256", "RS256", "PS256", "EdDSA"]));
}

// Holds: rfc9449-5-invalid-proof, rfc9449-5.2-bound-clients
#[tokio::test]
async fn an_application_may_have_bound_tokens_only() {
    let kit = Kit::with(|setup| {
        applications(setup);
        written(&mut setup.directory, WEB).dpop_bound_access_tokens = true;
    })
    .await;
    let code = kit.approved_application_device(WEB, &[], "ada").await;
    let refused = kit.poll_application(WEB, &code, &[]).await;
    assert_eq!(error(&refused), (400, "invalid_dpop_proof".into()));
    assert_eq!(bound_tokens_of(&kit, WEB, &Signer::new()).await["token_type"], "DPoP");
}

#[tokio::test]
async fn a_store_that_fails_takes_no_proof_and_blames_nobody() {
    let kit = Kit::with(applications).await;
    let signer = Signer::new();
    let answer = bound_tokens_of(&kit, WEB, &signer).await;
    let nonce = nonce(&kit).await;
    let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&answer, "refresh_token"))];
    kit.store().fail(false, true);
    let proof = signer.proof(&kit, at_token(&nonce, "1"));
    let failed = kit.send(with_proof(WEB.request("/token", &fields), &proof)).await;
    assert_eq!(error(&failed), (500, "server_error".into()));
}
