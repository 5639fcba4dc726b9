//! The token endpoint: both dialects, and what tokens say.

use doorward_core::signing_key::SigningAlgorithm;
use doorward_testkit::{
    API, Application, Kit, OTHER_API, OTHER_WEB, SPA, Setup, WEB, add_applications, form_request,
    on_every_store,
};
use http::Request;
use serde_json::{Value, json};

use crate::verifier::verify;

pub(crate) fn applications(setup: &mut Setup) {
    add_applications(&mut setup.directory);
}

/// The answer to an application's first poll after ada approved.
async fn tokens_of(kit: &Kit, application: Application, scope: &str) -> Value {
    let code = kit.approved_application_device(application, &[("scope", scope)], "ada").await;
    kit.poll_application(application, &code, &[]).await.ok().json()
}

async fn claims(kit: &Kit, token: &Value) -> (jsonwebtoken::Header, Value) {
    verify(kit, token.as_str().expect("a token")).await.expect("a token of this server")
}

async fn refresh(
    kit: &Kit,
    application: Application,
    token: &str,
    more: &[(&str, &str)],
) -> doorward_testkit::Answer {
    let fields = [&[("grant_type", "refresh_token"), ("refresh_token", token)], more].concat();
    kit.post_form(application, "/token", &fields).await
}

// Holds: oidcc-idtoken-signature, openid-connect-core-10.1-keys-published
// Holds: openid-connect-core-16.5-server-response-repudiation, openid-connect-core-2-aud
// Holds: openid-connect-core-2-signed, openid-connect-core-3.1.3.3-id-token
// Holds: openid-connect-core-9-secret-basic-default, rfc6749-3.3-scope-told, rfc6749-5.1-members
// Holds: rfc6750-5.3-short-lived, rfc8628-3.1-form-and-client-id, rfc9068-2.1-asymmetric, rfc9068-2.1-signed
// Holds: rfc9068-2.1-typ, rfc9068-2.2-required-claims, rfc9068-2.2-sub, rfc9068-2.2.1-auth-time
// Holds: rfc9068-2.2.3-scope, rfc9068-3-default-aud, rfc9068-4-keys-published, rfc9068-6-private-claims
// Holds: rfc9700-2.3-audience, rfc9700-4.10.2-audience-in-token
#[tokio::test]
async fn an_application_gets_tokens_that_others_verify() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid profile email api.read").await;
        assert_eq!(answer["token_type"], "Bearer");
        assert_eq!(answer["scope"], "api.read email openid profile");
        assert_eq!(answer["expires_in"], 3600);

        let (header, access) = claims(kit, &answer["access_token"]).await;
        assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), jsonwebtoken::Algorithm::ES256));
        let now = kit.now().seconds();
        let jti = access["jti"].as_str().unwrap();
        assert_eq!(jti.len(), 32);
        assert_eq!(
            access,
            json!({
                "iss": kit.base(), "sub": "ada", "aud": [API, OTHER_API, kit.base()], "exp": now + 3600, "iat": now,
                "jti": jti, "client_id": "web", "scope": "api.read email openid profile",
                "sid": access["sid"],
            })
        );

        let (header, id) = claims(kit, &answer["id_token"]).await;
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        assert_eq!((&id["aud"], &id["sub"]), (&json!("web"), &json!("ada")));
        // When whoever typed the code had proved who they are is not known to the device.
        assert_eq!(id.get("auth_time"), None);
        assert_eq!(id["preferred_username"], "ada");
        assert!(id["email"].is_string() && id.get("groups").is_none(), "{id}");
        assert_eq!(id["at_hash"].as_str().map(str::len), Some(22));
    })
    .await;
}

// Holds: openid-connect-core-11-refresh-otherwise, rfc6749-6-scope, rfc8707-2-audience
// Holds: rfc8707-2-invalid-target, rfc8707-2.2-not-more, rfc8707-2.2-refresh, rfc9068-3-aud-of-resource
// Holds: rfc9700-2.3-audience, rfc9700-2.3-least-privilege
#[tokio::test]
async fn a_refresh_gives_less_when_less_is_asked_for_and_never_more() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid api.read").await;
        let token = answer["refresh_token"].as_str().unwrap();
        let narrowed =
            refresh(kit, WEB, token, &[("scope", "api.read"), ("resource", API)]).await.ok().json();
        assert_eq!(narrowed["scope"], "api.read");
        assert!(narrowed.get("id_token").is_none(), "{narrowed}");
        let (_, access) = claims(kit, &narrowed["access_token"]).await;
        assert_eq!(access["aud"], API, "for what was asked for alone");

        let token = narrowed["refresh_token"].as_str().unwrap();
        let refused = refresh(kit, WEB, token, &[("scope", "api.read email")]).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_scope".into()));
        let refused = refresh(kit, WEB, token, &[("resource", "https://elsewhere.example")]).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_target".into()));
        // Neither used the token up.
        let whole = refresh(kit, WEB, token, &[]).await.ok().json();
        assert_eq!(whole["scope"], "api.read openid");
    })
    .await;
}

// Holds: openid-connect-core-12.1-refresh-request, rfc6749-6-client
#[tokio::test]
async fn ledger_10_no_application_redeems_what_is_another_ones() {
    on_every_store(applications, async |kit| {
        let code = kit.approved_application_device(WEB, &[], "ada").await;
        for thief in [OTHER_WEB, SPA] {
            let refused = kit.poll_application(thief, &code, &[]).await;
            assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
        }
        let answer = kit.poll_application(WEB, &code, &[]).await.ok();
        let token = answer.member("refresh_token");
        for thief in [OTHER_WEB, SPA] {
            let refused = refresh(kit, thief, &token, &[]).await;
            assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
        }
        refresh(kit, WEB, &token, &[]).await.ok();
    })
    .await;
}

#[tokio::test]
async fn ledger_17_who_may_not_use_an_application_gets_nothing_for_it() {
    on_every_store(applications, async |kit| {
        let code = kit.approved_application_device(WEB, &[], "ada").await;
        let token = tokens_of(kit, OTHER_WEB, "openid").await["refresh_token"].as_str().unwrap().to_owned();
        kit.edit_directory(|file| {
            for application in &mut file.applications {
                application.everybody = false;
                application.people = vec![doorward_core::ids::PersonId::parse("grace").unwrap()];
            }
        })
        .await;
        let refused = kit.poll_application(WEB, &code, &[]).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
        let refused = refresh(kit, OTHER_WEB, &token, &[]).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (400, "invalid_grant".into()));
    })
    .await;
}

#[tokio::test]
async fn what_an_administrator_takes_away_is_in_no_new_token() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid api.read").await;
        kit.edit_directory(|file| {
            let web = &mut file.applications[0];
            web.scopes = doorward_core::scope::Scopes::parse(["openid"]).unwrap();
            web.audiences = vec![OTHER_API.to_owned()];
        })
        .await;
        let answer = refresh(kit, WEB, answer["refresh_token"].as_str().unwrap(), &[]).await.ok().json();
        assert_eq!(answer["scope"], "openid");
        let (_, access) = claims(kit, &answer["access_token"]).await;
        assert_eq!(access["aud"], json!([OTHER_API, kit.base()]));
        kit.edit_directory(|file| {
            file.applications.remove(0);
        })
        .await;
        let refused = refresh(kit, WEB, answer["refresh_token"].as_str().unwrap(), &[]).await;
        assert_eq!((refused.status.as_u16(), refused.member("error")), (401, "invalid_client".into()));
    })
    .await;
}

// Holds: openid-connect-core-10.1-algorithm
#[tokio::test]
async fn an_application_has_lifetimes_and_an_algorithm_of_its_own() {
    let kit = Kit::with(|setup| {
        applications(setup);
        let web = &mut setup.directory.applications[0];
        web.access_token_lifetime = Some(doorward_core::time::Lifetime::from_seconds(300));
        web.session_lifetime = Some(doorward_core::time::Lifetime::from_seconds(400));
        web.signing_algorithm = SigningAlgorithm::EdDsa;
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    assert_eq!(answer["expires_in"], 300);
    let (header, _) = claims(&kit, &answer["access_token"]).await;
    assert_eq!(header.alg, jsonwebtoken::Algorithm::EdDSA);
    let (header, _) = claims(&kit, &answer["id_token"]).await;
    assert_eq!(header.alg, jsonwebtoken::Algorithm::EdDSA);
    kit.advance(200);
    let answer = refresh(&kit, WEB, answer["refresh_token"].as_str().unwrap(), &[]).await.ok().json();
    assert_eq!(answer["expires_in"], 200, "never past the session");
    kit.advance(200);
    let refused = refresh(&kit, WEB, answer["refresh_token"].as_str().unwrap(), &[]).await;
    assert_eq!(refused.member("error"), "invalid_grant");
}

// Holds: rfc9700-4.14.2-issue-by-risk
#[tokio::test]
async fn an_application_that_may_not_refresh_gets_no_refresh_token() {
    let kit = Kit::with(|setup| {
        applications(setup);
        setup.directory.applications[0].grants.retain(|grant| grant.as_str() != "refresh_token");
    })
    .await;
    assert!(tokens_of(&kit, WEB, "openid").await.get("refresh_token").is_none());
}

// Holds: rfc9700-2.3-audience-verified
#[tokio::test]
async fn account_access_is_an_opaque_token_for_the_portal() {
    let kit = Kit::with(|setup| {
        applications(setup);
        setup.directory.applications[0].scopes =
            doorward_core::scope::Scopes::parse(["openid sso:account:access"]).unwrap();
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid sso:account:access").await;
    let token = answer["access_token"].as_str().unwrap();
    assert!(token.starts_with("dwa_"), "{token}");
    kit.list_accounts(token).await.ok();
    let answer = tokens_of(&kit, WEB, "openid").await;
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(
        kit.list_accounts(token).await.status.as_u16(),
        401,
        "one for applications is none for the portal"
    );
}

/// A tool that registered itself may come through this door too, with the secret it was given.
// Holds: openid-connect-core-3.1.3.3-no-store, rfc6749-5.1-not-cached
#[tokio::test]
async fn the_content_type_decides_the_dialect() {
    let kit = Kit::with(applications).await;
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device.code.as_str()),
        ("client_id", client.id.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    let answer = kit.send(form_request("/token", &fields)).await.ok();
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert!(answer.exception().is_empty());
    assert!(answer.member("access_token").starts_with("dwa_"));
    // And the refresh token works in the other dialect.
    kit.refresh(&client, &answer.member("refresh_token")).await.ok();

    let refused = kit.send(form_request("/token", &[("grant_type", "refresh_token")])).await;
    assert!(refused.exception().is_empty(), "no name of an exception");
    let body = refused.json();
    assert!(body["error"].is_string() && body["error_description"].is_string(), "{body}");
}

// Holds: openid-connect-core-3.1.3.1-client-authenticated, openid-connect-core-3.1.3.4-errors
// Holds: rfc6749-5.2-challenge
#[tokio::test]
async fn an_unknown_client_is_challenged() {
    let kit = Kit::with(applications).await;
    let stranger = Application { id: "stranger", secret: Some("x") };
    let refused = kit.post_form(stranger, "/token", &[("grant_type", "client_credentials")]).await;
    assert_eq!((refused.status.as_u16(), refused.member("error")), (401, "invalid_client".into()));
    assert!(refused.header("www-authenticate").starts_with("Basic "));
}

#[tokio::test]
async fn scripts_of_any_origin_may_ask_and_read() {
    let kit = Kit::with(applications).await;
    let request = Request::options("/token").header("origin", "https://app.example");
    let answer = kit.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("access-control-allow-headers").contains("DPoP"));
    assert!(answer.header("access-control-allow-credentials").is_empty());
    let answer = kit.post_form(SPA, "/token", &[("grant_type", "refresh_token")]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn a_failing_store_is_a_500_and_never_an_answer_of_the_protocol() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    let token = answer["refresh_token"].as_str().unwrap();
    kit.store().fail(false, true);
    let failed = refresh(&kit, WEB, token, &[]).await;
    assert_eq!((failed.status.as_u16(), failed.member("error")), (500, "server_error".into()));
    kit.store().fail(false, false);
    refresh(&kit, WEB, token, &[]).await.ok();
}
