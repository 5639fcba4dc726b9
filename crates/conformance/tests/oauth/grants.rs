//! The grants without a browser: by assertion, by exchange, and of applications for themselves.

use doorward_core::application::Application as Registered;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::{ApplicationId, IssuerName};
use doorward_core::time::Lifetime;
use doorward_testkit::{
    API, Answer, Application, Kit, OTHER_API, OTHER_WEB, SPA, Setup, WEB, add_applications, on_every_store,
};
use doorward_testkit_oidc::Provider;
use doorward_upstream::identity::assertions::{Attribute, IssuerSettings};
use serde_json::{Value, json};

use crate::verifier::verify;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const LEDGER: &str = "https://ledger.example";

fn application(file: &mut DirectoryFile, application: Application) -> &mut Registered {
    file.applications.iter_mut().find(|it| it.client_id.as_str() == application.id).expect("the application")
}

fn extend(registered: &mut Registered, more: &Value) {
    let mut written = serde_json::to_value(&*registered).expect("an application");
    written.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    *registered = serde_json::from_value(written).expect("an application as operators write it");
}

/// `web` exchanges tokens of `other-web` and its own, and acts for itself.
fn applications(setup: &mut Setup) {
    add_applications(&mut setup.directory);
    let more = json!({
        "grants": ["refresh_token", "urn:ietf:params:oauth:grant-type:device_code", TOKEN_EXCHANGE, "client_credentials"],
        "token_exchange": {"subjects_of": ["other-web", "web"], "audiences": [LEDGER]},
        "consent": false,
    });
    extend(application(&mut setup.directory, WEB), &more);
}

async fn claims(kit: &Kit, answer: &Value) -> Value {
    verify(kit, answer["access_token"].as_str().expect("a token")).await.expect("a token of this server").1
}

fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.member("error"))
}

// Holds: rfc6749-4.4.3-no-refresh-token, rfc9068-2.2-sub, rfc9700-4.15-client-not-a-person
#[tokio::test]
async fn an_application_acts_for_itself_and_for_nobody_else() {
    on_every_store(applications, async |kit| {
        let credentials = ("grant_type", "client_credentials");
        let answer = kit.post_form(WEB, "/token", &[credentials, ("resource", API)]).await.ok().json();
        assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none(), "{answer}");
        let token = claims(kit, &answer).await;
        assert_eq!(
            (&token["sub"], &token["client_id"], &token["aud"]),
            (&json!("web"), &json!("web"), &json!(API))
        );
        assert!(token.get("sid").is_none() && token.get("auth_time").is_none(), "{token}");
        assert!(
            !token["scope"]
                .as_str()
                .unwrap()
                .split(' ')
                .any(|it| ["openid", "email", "groups", "profile"].contains(&it))
        );
        let asked = kit.post_form(WEB, "/token", &[credentials, ("scope", "openid")]).await;
        assert_eq!(refusal(&asked), (400, "invalid_scope".into()));
        for other in [OTHER_WEB, SPA] {
            assert_eq!(
                refusal(&kit.post_form(other, "/token", &[credentials]).await),
                (400, "unauthorized_client".into())
            );
        }
        let active =
            kit.post_form(WEB, "/introspect", &[("token", answer["access_token"].as_str().unwrap())]).await;
        assert_eq!(active.ok().json()["sub"], "web");
    })
    .await;
}

async fn exchange(kit: &Kit, token: &str, more: &[(&str, &str)]) -> Answer {
    let fields =
        [("grant_type", TOKEN_EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    kit.post_form(WEB, "/token", &[&fields[..], more].concat()).await
}

async fn token_of(kit: &Kit, application: Application, scope: &str) -> Value {
    let code = kit.approved_application_device(application, &[("scope", scope)], "ada").await;
    kit.poll_application(application, &code, &[]).await.ok().json()
}

// Holds: rfc8693-2.1-client-authenticated, rfc8693-2.1-scope, rfc8693-2.1-subject-validated, rfc8693-2.2.1-members
// Holds: rfc8693-2.2.2-invalid-request, rfc8693-2.2.2-invalid-target, rfc8693-4.1-act, rfc8693-5-delegation
// Holds: rfc8693-5-not-longer
#[tokio::test]
async fn a_token_is_exchanged_by_whom_the_policy_names_and_dies_with_its_session() {
    on_every_store(applications, async |kit| {
        let first = token_of(kit, OTHER_WEB, "openid email").await;
        let token = first["access_token"].as_str().unwrap();
        let answer = exchange(kit, token, &[("scope", "email"), ("audience", LEDGER)]).await.ok().json();
        assert_eq!(
            (&answer["issued_token_type"], &answer["token_type"]),
            (&json!(ACCESS_TOKEN), &json!("Bearer"))
        );
        assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none(), "{answer}");
        let (before, after) = (claims(kit, &first).await, claims(kit, &answer).await);
        assert_eq!(
            (&after["sub"], &after["client_id"], &after["aud"]),
            (&json!("ada"), &json!("web"), &json!(LEDGER))
        );
        assert_eq!((&after["act"], &after["scope"]), (&json!({"sub": "web"}), &json!("email")));
        assert_eq!((&after["sid"], &after["exp"]), (&before["sid"], &before["exp"]));

        assert_eq!(
            refusal(&exchange(kit, token, &[("audience", OTHER_API)]).await),
            (400, "invalid_target".into())
        );
        assert_eq!(
            refusal(&exchange(kit, token, &[("scope", "email groups")]).await),
            (400, "invalid_scope".into())
        );
        for bad in ["x", first["id_token"].as_str().unwrap(), first["refresh_token"].as_str().unwrap()] {
            assert_eq!(refusal(&exchange(kit, bad, &[]).await), (400, "invalid_request".into()));
        }
        // Exchanged once more, for the actor that it is: nothing is added to the chain.
        let again = exchange(kit, answer["access_token"].as_str().unwrap(), &[]).await.ok().json();
        assert_eq!(claims(kit, &again).await["act"], json!({"sub": "web"}));

        let own = kit.post_form(WEB, "/token", &[("grant_type", "client_credentials")]).await.ok().json();
        let own = own["access_token"].as_str().unwrap();
        let actor = |token| [("actor_token", token), ("actor_token_type", ACCESS_TOKEN)];
        assert!(exchange(kit, token, &actor(own)).await.status.is_success());
        for bad in [token, "x"] {
            assert_eq!(refusal(&exchange(kit, token, &actor(bad)).await), (400, "invalid_request".into()));
        }
        // A policy that names others only, and a person who may have nothing.
        kit.edit_directory(|file| {
            let policy = application(file, WEB).token_exchange.as_mut().unwrap();
            policy.subjects_of.retain(|id| id.as_str() != "other-web");
        })
        .await;
        assert_eq!(refusal(&exchange(kit, token, &[]).await), (400, "invalid_request".into()));
        kit.edit_directory(|file| {
            let policy = application(file, WEB).token_exchange.as_mut().unwrap();
            policy.subjects_of.push(ApplicationId::parse("other-web").unwrap());
        })
        .await;
        kit.set_disabled("ada", true).await;
        assert_eq!(refusal(&exchange(kit, token, &[]).await), (400, "invalid_request".into()));
        let active =
            kit.post_form(WEB, "/introspect", &[("token", answer["access_token"].as_str().unwrap())]).await;
        assert_eq!(active.ok().json(), json!({"active": false}));
    })
    .await;
}

// Holds: rfc7523-3.1-invalid-grant, rfc7523-3.1-known-issuer, rfc7523-5-rs256
#[tokio::test]
async fn an_assertion_at_the_token_endpoint_is_good_once_and_for_its_application() {
    let issuer = Provider::start().await;
    let settings = IssuerSettings {
        name: IssuerName::parse("corp").unwrap(),
        issuer: issuer.issuer.clone(),
        subject_claim: "sub".into(),
        attribute: Attribute::UserName,
        algorithms: vec!["RS256".into()],
        clock_skew: Lifetime::from_seconds(60),
        longest_age: Lifetime::from_seconds(3600),
        certificate_authorities: None,
    };
    let setup = |setup: &mut Setup| {
        add_applications(&mut setup.directory);
        let more = json!({
            "grants": ["refresh_token", JWT_BEARER], "consent": false,
            "scopes": ["openid", "offline_access", "sso:account:access"],
            "trusted_issuers": [{"issuer": "corp", "audiences": ["web"]}],
        });
        extend(application(&mut setup.directory, WEB), &more);
        setup.trusted_issuers = vec![settings.clone()];
    };
    on_every_store(setup, async |kit| {
        let now = kit.now().seconds();
        let assertion = |id: &str, audience: &str| {
            let claims = json!({
                "iss": issuer.issuer, "aud": audience, "sub": "ada", "jti": id, "iat": now, "exp": now + 300,
            });
            issuer.key.sign(&json!({"alg": "RS256", "kid": "k1"}), &claims)
        };
        let present = async |who: Application, assertion: &str| {
            kit.post_form(who, "/token", &[("grant_type", JWT_BEARER), ("assertion", assertion)]).await
        };
        let first = [("grant_type", JWT_BEARER), ("assertion", &*assertion("1", "web")), ("scope", "openid")];
        let tokens = kit.post_form(WEB, "/token", &first).await.ok().json();
        assert_eq!(claims(kit, &tokens).await["sub"], "ada");
        assert!(tokens["refresh_token"].is_string() && tokens["id_token"].is_string());
        assert_eq!(refusal(&present(WEB, &assertion("1", "web")).await), (400, "invalid_grant".into()));
        assert_eq!(refusal(&present(WEB, &assertion("2", "other")).await), (400, "invalid_grant".into()));
        assert_eq!(
            refusal(&present(OTHER_WEB, &assertion("3", "web")).await),
            (400, "unauthorized_client".into())
        );
        let trust = |name: &'static str| {
            kit.edit_directory(move |file| {
                application(file, WEB).trusted_issuers[0].issuer = IssuerName::parse(name).unwrap();
            })
        };
        let for_portal = [("assertion", &*assertion("6", "web")), ("scope", "sso:account:access")];
        let for_portal = [&[("grant_type", JWT_BEARER)], &for_portal[..]].concat();
        let at_portal = kit.post_form(WEB, "/token", &for_portal).await.ok().member("access_token");
        kit.list_accounts(&at_portal).await.ok();
        let (access, refresh) =
            (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
        let look = async || kit.post_form(WEB, "/introspect", &[("token", access)]).await.ok().json();
        assert_eq!(look().await["active"], true);
        trust("other").await;
        assert_eq!(look().await, json!({"active": false}));
        assert_eq!(kit.list_accounts(&at_portal).await.status.as_u16(), 401);
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        assert_eq!(refusal(&kit.post_form(WEB, "/token", &refresh).await), (400, "invalid_grant".into()));
        trust("corp").await;
        kit.post_form(WEB, "/token", &refresh).await.ok();
        kit.edit_directory(|file| application(file, WEB).consent = true).await;
        let asked = present(WEB, &assertion("4", "web")).await;
        assert_eq!(refusal(&asked), (400, "invalid_grant".into()));
        assert!(asked.member("error_description").starts_with("consent_required"));
        kit.set_disabled("ada", true).await;
        assert_eq!(refusal(&present(WEB, &assertion("5", "web")).await), (400, "invalid_grant".into()));
    })
    .await;
}
