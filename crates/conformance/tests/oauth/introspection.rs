//! What resource servers are told of a token (RFC 7662, RFC 9701).

use doorward_testkit::{API, Answer, Application, Kit, OTHER_API, OTHER_WEB, SPA, WEB, on_every_store};
use serde_json::{Value, json};

use crate::common::{
    API_SERVER, admit_everybody, allow_account_access, applications, bound_tokens_of, error, refresh, text,
    tokens_of,
};
use crate::signer::Signer;
use crate::verifier::{get, verify};

async fn ask(kit: &Kit, asker: Application, token: &str) -> Value {
    kit.post_form(asker, "/introspect", &[("token", token)]).await.ok().json()
}

fn inactive() -> Value {
    json!({"active": false})
}

// Holds: rfc7662-2.2-active, rfc7662-2.2-inactive-says-nothing, rfc7662-2.2-members, rfc7662-4-all-checks
// Holds: rfc7662-4-other-resources, rfc9068-5-not-an-id-token, rfc9701-9-privacy
#[tokio::test]
async fn its_client_and_its_audience_are_told_and_nobody_else() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid api.read").await;
        let token = text(&answer, "access_token");
        let told = ask(kit, WEB, token).await;
        let now = kit.now().seconds();
        assert_eq!(
            told,
            json!({
                "active": true, "scope": "api.read openid", "client_id": "web", "username": "ada",
                "token_type": "Bearer", "exp": now + 3600, "iat": now, "nbf": now, "sub": "ada",
                "aud": [API, OTHER_API, kit.base()], "iss": kit.base(), "jti": told["jti"],
            })
        );
        assert_eq!(told["jti"].as_str().map(str::len), Some(32));
        assert_eq!(ask(kit, API_SERVER, token).await, told);
        assert_eq!(ask(kit, OTHER_WEB, token).await, inactive());
        assert_eq!(ask(kit, WEB, text(&answer, "id_token")).await, inactive());

        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&answer, "refresh_token")),
            ("resource", OTHER_API),
        ];
        let narrowed = kit.post_form(WEB, "/token", &fields).await.ok().member("access_token");
        assert_eq!(ask(kit, WEB, &narrowed).await["aud"], OTHER_API);
        assert_eq!(ask(kit, API_SERVER, &narrowed).await, inactive(), "it is for another one");
    })
    .await;
}

// Holds: openid-connect-core-16.3-token-manufacture, rfc7662-2.1-token-required
// Holds: rfc7662-2.2-inactive-says-nothing, rfc7662-2.3-unknown-is-no-error, rfc7662-4-all-checks
// Holds: rfc9068-4-resource-exp, rfc9068-4-resource-signature
#[tokio::test]
async fn what_is_no_token_is_not_active() {
    let kit = Kit::with(applications).await;
    let token = text(&tokens_of(&kit, WEB, "openid").await, "access_token").to_owned();
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let long = "x".repeat(20_000);
    for bad in [
        "x",
        "dwa_x",
        "dwr_x",
        "a.b.c",
        rest,
        &format!("{rest}."),
        &format!("{token}A"),
        &format!("x{token}"),
        &long,
    ] {
        assert_eq!(ask(&kit, WEB, bad).await, inactive(), "{bad}");
    }
    let swapped: String = signature.chars().rev().collect();
    assert_eq!(ask(&kit, WEB, &format!("{rest}.{swapped}")).await, inactive());
    assert_eq!(error(&kit.post_form(WEB, "/introspect", &[]).await), (400, "invalid_request".into()));
    assert_eq!(
        error(&kit.post_form(WEB, "/introspect", &[("token", "")]).await),
        (400, "invalid_request".into())
    );
    kit.advance(3599);
    assert_eq!(ask(&kit, WEB, &token).await["active"], true);
    kit.advance(1);
    assert_eq!(ask(&kit, WEB, &token).await, inactive());
}

// Holds: rfc7662-2.1-wrong-hint
#[tokio::test]
async fn a_hint_that_is_wrong_changes_nothing() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    for token in ["access_token", "refresh_token"] {
        let token = text(&answer, token);
        let told = ask(&kit, WEB, token).await;
        for hint in ["access_token", "refresh_token", "pixie_dust", ""] {
            let hinted =
                kit.post_form(WEB, "/introspect", &[("token", token), ("token_type_hint", hint)]).await;
            assert_eq!(hinted.ok().json(), told, "{hint}");
        }
    }
}

// Holds: rfc7662-2.1-token-required, rfc7662-4-not-in-query, rfc7662-4-caching
#[tokio::test]
async fn a_token_is_posted_in_a_form_and_the_answer_is_for_this_moment() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    let token = text(&answer, "access_token");
    let by_address = WEB.request(&format!("/introspect?token={token}"), &[]);
    assert_eq!(error(&kit.send(by_address).await), (400, "invalid_request".into()));
    let mut get = WEB.request(&format!("/introspect?token={token}"), &[]);
    *get.method_mut() = http::Method::GET;
    assert_eq!(kit.send(get).await.status, 405);
    let mut json = WEB.request("/introspect", &[("token", token)]);
    json.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(kit.send(json).await.status, 415);
    let told = kit.post_form(WEB, "/introspect", &[("token", token)]).await.ok();
    assert_eq!((told.header("content-type"), told.header("cache-control")), ("application/json", "no-store"));
}

// Holds: rfc7662-2.1-authorized, rfc7662-2.3-unauthenticated-401, rfc7662-4-no-scanning
// Holds: rfc9701-3-resource-server-known
#[tokio::test]
async fn only_who_proves_who_they_are_may_ask() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, SPA, "openid").await;
    for asker in
        [SPA, Application { id: "web", secret: Some("wrong") }, Application { id: "web", secret: None }]
    {
        let refused = kit.post_form(asker, "/introspect", &[("token", text(&answer, "access_token"))]).await;
        assert_eq!(error(&refused), (401, "invalid_client".into()), "{asker:?}");
    }
    // Its own tokens a public client cannot ask about; the API that they are for can.
    assert_eq!(ask(&kit, API_SERVER, text(&answer, "access_token")).await["client_id"], "spa");
}

// Holds: ledger-06, rfc7662-4-all-checks
#[tokio::test]
async fn a_token_is_worth_nothing_any_more_when_what_it_stands_for_is_gone() {
    let token_of = async |kit: &Kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        for token in ["access_token", "refresh_token"] {
            assert_eq!(ask(kit, WEB, text(&answer, token)).await["active"], true, "{token}");
        }
        assert_eq!(ask(kit, API_SERVER, text(&answer, "access_token")).await["active"], true);
        answer
    };
    let gone = async |kit: &Kit, answer: &Value, asker: Application, why: &str| {
        assert_eq!(ask(kit, asker, text(answer, "access_token")).await, inactive(), "{why}");
        assert_eq!(ask(kit, asker, text(answer, "refresh_token")).await, inactive(), "{why}");
    };
    on_every_store(applications, async |kit| {
        let answer = token_of(kit).await;
        kit.set_disabled("ada", true).await;
        gone(kit, &answer, WEB, "the person is disabled").await;
        kit.set_disabled("ada", false).await;
        assert_eq!(ask(kit, WEB, text(&answer, "access_token")).await["active"], true);

        kit.edit_directory(|file| admit_everybody(file, WEB, false)).await;
        gone(kit, &answer, WEB, "the application is not for ada any more").await;
        kit.edit_directory(|file| admit_everybody(file, WEB, true)).await;

        kit.post_form(WEB, "/revoke", &[("token", text(&answer, "refresh_token"))]).await.ok();
        gone(kit, &answer, WEB, "the session was ended").await;

        let answer = token_of(kit).await;
        kit.edit_directory(|file| file.applications.retain(|it| it.client_id.as_str() != "web")).await;
        gone(kit, &answer, API_SERVER, "the application is gone").await;
    })
    .await;
}

// Holds: rfc7662-4-all-checks
#[tokio::test]
async fn a_refresh_token_is_told_to_its_client_until_it_is_used_up() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid api.read").await;
        let token = text(&answer, "refresh_token");
        let told = ask(kit, WEB, token).await;
        let now = kit.now().seconds();
        assert_eq!(
            told,
            json!({
                "active": true, "scope": "api.read openid", "client_id": "web", "username": "ada",
                "exp": told["exp"], "iat": now, "nbf": now, "sub": "ada", "iss": kit.base(),
            })
        );
        assert!(told["exp"].as_i64() > Some(now + 3600), "{told}");
        for asker in [OTHER_WEB, API_SERVER] {
            assert_eq!(ask(kit, asker, token).await, inactive());
        }
        let next = refresh(kit, WEB, token).await.ok().member("refresh_token");
        assert_eq!(ask(kit, WEB, token).await, inactive());
        assert_eq!(ask(kit, WEB, &next).await["active"], true);
        kit.advance(u32::try_from(told["exp"].as_i64().unwrap() - now).unwrap());
        assert_eq!(ask(kit, WEB, &next).await, inactive());
    })
    .await;
}

// Holds: rfc9449-6.2-introspection
#[tokio::test]
async fn the_key_that_a_token_is_bound_to_is_told() {
    let kit = Kit::with(applications).await;
    let signer = Signer::new();
    let answer = bound_tokens_of(&kit, WEB, &signer).await;
    let told = ask(&kit, API_SERVER, text(&answer, "access_token")).await;
    assert_eq!((&told["token_type"], &told["cnf"]), (&json!("DPoP"), &json!({"jkt": signer.thumbprint()})));
}

#[tokio::test]
async fn a_token_for_the_portal_is_told_to_its_client() {
    let kit = Kit::with(|setup| {
        applications(setup);
        allow_account_access(&mut setup.directory, WEB);
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid sso:account:access").await;
    let token = text(&answer, "access_token");
    assert!(token.starts_with("dwa_"));
    let told = ask(&kit, WEB, token).await;
    assert_eq!(
        told,
        json!({
            "active": true, "scope": "openid sso:account:access", "client_id": "web", "username": "ada",
            "token_type": "Bearer", "exp": told["exp"], "sub": "ada", "aud": kit.base(), "iss": kit.base(),
        })
    );
    assert_eq!(ask(&kit, API_SERVER, token).await, inactive());
    kit.edit_directory(|file| file.applications.retain(|it| it.client_id.as_str() != "web")).await;
    assert_eq!(ask(&kit, API_SERVER, token).await, inactive());
}

/// Role credentials are more than any introspection tells.
#[tokio::test]
async fn ledger_17_the_portal_serves_an_application_no_longer_than_it_may_be_used() {
    let kit = Kit::with(|setup| {
        applications(setup);
        allow_account_access(&mut setup.directory, WEB);
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid sso:account:access").await;
    let token = text(&answer, "access_token");
    let served = async || kit.list_accounts(token).await.status.as_u16();
    assert_eq!(served().await, 200);
    kit.edit_directory(|file| admit_everybody(file, WEB, false)).await;
    assert_eq!(served().await, 401, "ada may not use it any more");
    kit.edit_directory(|file| admit_everybody(file, WEB, true)).await;
    assert_eq!(served().await, 200);
    let before = kit.app().store().directory().await.unwrap().file().clone();
    kit.edit_directory(|file| {
        let web = file.applications.iter_mut().find(|it| it.client_id.as_str() == "web").unwrap();
        web.scopes = doorward_core::scope::Scopes::parse(["openid"]).unwrap();
    })
    .await;
    assert_eq!(served().await, 401, "it may not have account access any more");
    kit.replace_directory(before).await;
    assert_eq!(served().await, 200);
    kit.edit_directory(|file| file.applications.retain(|it| it.client_id.as_str() != "web")).await;
    assert_eq!(served().await, 401, "there is no such application any more");
}

// Holds: rfc7662-4-caching, rfc9701-4-accept, rfc9701-5-audience-check, rfc9701-5-claims
// Holds: rfc9701-5-content-type, rfc9701-5-inactive, rfc9701-5-no-sub-exp, rfc9701-5-typ, rfc9701-7-metadata
// Holds: rfc9701-8.1-no-confusion
#[tokio::test]
async fn an_answer_may_be_a_jwt_that_is_no_token() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    let token = text(&answer, "access_token");
    let ask_signed = async |accept: &'static str, token: &str| -> Answer {
        let mut request = API_SERVER.request("/introspect", &[("token", token)]);
        request.headers_mut().insert("accept", accept.parse().unwrap());
        kit.send(request).await.ok()
    };
    let media_type = "application/token-introspection+jwt";
    let signed = ask_signed("application/json;q=0.5, Application/Token-Introspection+JWT", token).await;
    assert_eq!((signed.header("content-type"), signed.header("cache-control")), (media_type, "no-store"));
    let (header, claims) = verify(&kit, signed.text()).await.expect("a JWT of the server");
    assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
    let told = ask(&kit, API_SERVER, token).await;
    assert_eq!(
        claims,
        json!({
            "iss": kit.base(), "aud": "api-server", "iat": kit.now().seconds(), "token_introspection": told,
        })
    );
    assert_eq!(ask(&kit, API_SERVER, signed.text()).await, inactive());

    let listed = get(&kit, "/.well-known/openid-configuration").await.json();
    let listed = &listed["introspection_signing_alg_values_supported"];
    assert!(listed.as_array().unwrap().contains(&json!(format!("{:?}", header.alg))), "{listed}");
    // It is no token, here or there.
    let request =
        http::Request::get("/userinfo").header("authorization", format!("Bearer {}", signed.text()));
    assert_eq!(kit.send(request.body(axum::body::Body::empty()).unwrap()).await.status, 401);

    let (_, claims) = verify(&kit, ask_signed(media_type, "x").await.text()).await.expect("a JWT");
    assert_eq!(claims["token_introspection"], inactive());
    let mut request = OTHER_WEB.request("/introspect", &[("token", token)]);
    request.headers_mut().insert("accept", media_type.parse().unwrap());
    let (_, claims) = verify(&kit, kit.send(request).await.ok().text()).await.expect("a JWT");
    assert_eq!((&claims["aud"], &claims["token_introspection"]), (&json!("other-web"), &inactive()));
    for accept in ["application/json", "*/*", "application/jwt"] {
        let plain = ask_signed(accept, token).await;
        assert_eq!(
            (plain.header("content-type"), plain.json()),
            ("application/json", told.clone()),
            "{accept}"
        );
        assert_eq!(plain.header("vary"), "accept");
    }
}

#[tokio::test]
async fn ledger_28_a_store_that_fails_is_no_answer_of_the_protocol() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    kit.store().fail(true, false);
    for token in ["access_token", "refresh_token"] {
        let failed = kit.post_form(WEB, "/introspect", &[("token", text(&answer, token))]).await;
        assert_eq!(error(&failed), (500, "server_error".into()));
    }
}
