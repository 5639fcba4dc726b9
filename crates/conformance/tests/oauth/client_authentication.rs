//! Who asks: client authentication, as it looks from outside. The rules are tested one by one beside their code.

use doorward_core::application::ClientAuthentication;
use doorward_testkit::{Application, Kit, OTHER_WEB, Setup, WEB, form_request, on_every_store};
use serde_json::json;

use crate::common::{applications, error, written};
use crate::signer::Signer;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Has [`WEB`] sign instead of sending a secret.
fn signing(setup: &mut Setup, signer: &Signer) {
    applications(setup);
    let web = written(&mut setup.directory, WEB);
    web.authentication = ClientAuthentication::PrivateKeyJwt;
    web.secret_hashes = Vec::new();
    web.keys = vec![serde_json::from_value(signer.jwk.clone()).expect("a key")];
}

// Holds: openid-connect-core-9-jwt-once, openid-connect-core-9-methods, rfc7523-3-jti
// Holds: rfc7523-3.2-invalid-client, rfc8628-3.1-client-authenticated
#[tokio::test]
async fn ledger_29_an_application_signs_for_itself_once() {
    let signer = Signer::new();
    on_every_store(
        |setup| signing(setup, &signer),
        async |kit| {
            let start = async |assertion: &str| {
                let fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
                kit.send(form_request("/device_authorization", &fields)).await
            };
            let assertion = signer.assertion(kit, WEB, "1");
            start(&assertion).await.ok();
            assert_eq!(error(&start(&assertion).await), (401, "invalid_client".into()));
            start(&signer.assertion(kit, WEB, "2")).await.ok();
            let other = signer.assertion(kit, OTHER_WEB, "3");
            assert_eq!(error(&start(&other).await), (401, "invalid_client".into()));
            let with_secret = kit.post_form(WEB, "/device_authorization", &[]).await;
            assert_eq!(error(&with_secret), (401, "invalid_client".into()));
        },
    )
    .await;
}

// Holds: openid-connect-core-3.1.3.4-errors
#[tokio::test]
async fn what_is_wrong_with_a_client_is_not_said() {
    let kit = Kit::with(applications).await;
    let bodies = async |application: Application| {
        let refused = kit.post_form(application, "/token", &[("grant_type", "refresh_token")]).await;
        assert_eq!(refused.status.as_u16(), 401);
        assert!(refused.header("www-authenticate").starts_with("Basic "));
        refused.json()
    };
    let known = bodies(Application { id: WEB.id, secret: Some("wrong") }).await;
    assert_eq!(known, json!({"error": "invalid_client", "error_description": "Invalid client provided"}));
    assert_eq!(bodies(Application { id: "nobody", secret: Some("wrong") }).await, known);
    assert_eq!(bodies(Application { id: WEB.id, secret: None }).await, known);
    assert_eq!(bodies(Application { id: "spa", secret: Some("") }).await, known);
}

#[tokio::test]
async fn two_ways_at_once_are_no_way() {
    let kit = Kit::with(applications).await;
    for path in ["/token", "/device_authorization", "/introspect", "/revoke"] {
        let refused =
            kit.post_form(WEB, path, &[("client_secret", "web-secret"), ("client_id", "web")]).await;
        assert_eq!(error(&refused), (400, "invalid_request".into()), "{path}");
    }
}

/// Whether an assertion was used before is for the store to say, and no other answer makes up for that one.
#[tokio::test]
async fn ledger_28_a_store_that_fails_lets_nobody_in_and_blames_nobody() {
    let signer = Signer::new();
    let kit = Kit::with(|setup| signing(setup, &signer)).await;
    for (reads, writes) in [(true, false), (false, true)] {
        kit.store().fail(reads, writes);
        let assertion = signer.assertion(&kit, WEB, &format!("{reads}"));
        let fields = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion.as_str())];
        for path in ["/token", "/device_authorization", "/introspect", "/revoke"] {
            let failed = kit.send(form_request(path, &fields)).await;
            let status = if path == "/revoke" { 503 } else { 500 };
            assert_eq!(error(&failed), (status, "server_error".into()), "{path}");
        }
    }
    kit.store().fail(true, false);
    let failed = kit.post_form(OTHER_WEB, "/token", &[("grant_type", "refresh_token")]).await;
    assert_eq!(error(&failed), (500, "server_error".into()));
}
