//! Who somebody is (OpenID Connect Core 1.0 section 5.3).

use axum::body::Body;
use doorward_testkit::{API, Answer, Kit, SPA, WEB, form_request, on_every_store};
use http::Request;
use serde_json::json;

use crate::common::{
    admit_everybody, allow_account_access, applications, bound_tokens_of, error, nonce, text, tokens_of,
    with_proof, written,
};
use crate::signer::{About, Signer};
use crate::verifier::verify;

const ALGORITHMS: &str = r#"algs="ES256 RS256 PS256 EdDSA""#;

fn request(authorization: &str) -> Request<Body> {
    Request::get("/userinfo").header("authorization", authorization).body(Body::empty()).expect("a request")
}

async fn ask(kit: &Kit, token: &str) -> Answer {
    kit.send(request(&format!("Bearer {token}"))).await
}

fn denied(answer: &Answer, status: u16, challenge: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.header("www-authenticate")),
        (status, challenge),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

const INVALID: &str = r#"Bearer error="invalid_token""#;

// Holds: oidcc-scope-all, oidcc-scope-email, oidcc-scope-profile, oidcc-userinfo-get
// Holds: openid-connect-core-15.5.1-access-token-minimum, openid-connect-core-5.1-email-verified
// Holds: openid-connect-core-5.1-standard-claims, openid-connect-core-5.3.1-header
// Holds: openid-connect-core-5.3.2-absent-is-omitted, openid-connect-core-5.3.2-sub
// Holds: openid-connect-core-5.4-offline-alone, openid-connect-core-5.4-scopes
#[tokio::test]
async fn what_is_told_follows_the_scopes() {
    on_every_store(applications, async |kit| {
        let told = async |scope: &str| {
            let answer = tokens_of(kit, WEB, scope).await;
            let told = ask(kit, text(&answer, "access_token")).await.ok().json();
            let (_, id) = verify(kit, text(&answer, "id_token")).await.expect("an ID token");
            assert_eq!(id["sub"], told["sub"]);
            told
        };
        assert_eq!(told("openid").await, json!({"sub": "ada"}));
        assert_eq!(told("openid api.read").await, json!({"sub": "ada"}));
        let whole = told("openid profile email groups").await;
        assert_eq!(
            whole,
            json!({
                "sub": "ada", "name": "Ada Lovelace", "preferred_username": "ada", "email": whole["email"],
                "email_verified": true, "groups": whole["groups"],
            })
        );
        assert!(whole["email"].as_str().is_some_and(|email| email.contains('@')), "{whole}");
        assert!(whole["groups"].is_array(), "{whole}");
        let profile = told("openid profile").await;
        assert_eq!(profile, json!({"sub": "ada", "name": "Ada Lovelace", "preferred_username": "ada"}));
    })
    .await;
}

// Holds: oidcc-userinfo-get, oidcc-userinfo-post-body, oidcc-userinfo-post-header
// Holds: openid-connect-core-5.3-bearer, openid-connect-core-5.3-cors, openid-connect-core-5.3-get-and-post
// Holds: openid-connect-core-5.3.1-header, openid-connect-core-5.3.2-json, rfc6750-2-one-method
// Holds: rfc6750-2.1-header, rfc6750-2.2-form, rfc6750-2.3-query, rfc6750-5.3-not-in-urls
// Holds: rfc9700-4.3.2-no-token-in-query
#[tokio::test]
async fn a_token_is_in_the_header_or_in_the_form_and_never_in_the_address() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, SPA, "openid").await;
    let token = text(&answer, "access_token");
    let posted = |form: &[(&str, &str)]| form_request("/userinfo", form);
    let told = ask(&kit, token).await.ok();
    assert_eq!(told.header("access-control-allow-origin"), "*");
    assert_eq!(told.header("content-type"), "application/json");
    kit.send(request(&format!("bearer  {token}"))).await.ok();
    kit.send(posted(&[("access_token", token)])).await.ok();
    let mut post = Request::post("/userinfo").body(Body::empty()).unwrap();
    post.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    kit.send(post).await.ok();

    let unclear = r#"Bearer error="invalid_request""#;
    let in_address = Request::get(format!("/userinfo?access_token={token}"));
    let mut in_address = in_address.body(Body::empty()).unwrap();
    denied(&kit.send(in_address).await, 400, unclear);
    in_address = Request::get(format!("/userinfo?access_token={token}")).body(Body::empty()).unwrap();
    in_address.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    denied(&kit.send(in_address).await, 400, unclear);
    let mut both = posted(&[("access_token", token)]);
    both.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    denied(&kit.send(both).await, 400, unclear);
    let mut twice = request(&format!("Bearer {token}"));
    twice.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    denied(&kit.send(twice).await, 400, unclear);
    let twice = kit.send(posted(&[("access_token", token), ("access_token", token)])).await;
    assert_eq!(error(&twice), (400, "invalid_request".into()));
}

/// RFC 6750 section 3.1: whoever brings nothing is told what to bring, and no more.
// Holds: openid-connect-core-5.3.3-errors, rfc6750-2.2-form, rfc6750-3-challenge
// Holds: rfc6750-3.1-no-code-without-token, rfc9449-7.1-challenge
#[tokio::test]
async fn without_a_token_nothing_is_said_but_what_is_needed() {
    let kit = Kit::with(applications).await;
    let bare = Request::get("/userinfo").body(Body::empty()).unwrap();
    let json = Request::post("/userinfo").header("content-type", "application/json");
    let json = json.body(Body::from(r#"{"access_token":"x"}"#)).unwrap();
    for request in [bare, json, request("Basic YTpi"), request("Bearer"), form_request("/userinfo", &[])] {
        let answer = kit.send(request).await;
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges, ["Bearer", &format!("DPoP {ALGORITHMS}")], "{}", answer.text());
        assert_eq!((answer.status.as_u16(), answer.text()), (401, "{}"));
    }
}

// Holds: openid-connect-core-15.5.1-access-token-minimum, openid-connect-core-5.3.3-errors
// Holds: rfc6750-3-challenge, rfc6750-3.1-codes, rfc8707-3-no-more-tokens, rfc9068-4-resource-iss-aud
// Holds: rfc9068-4-resource-typ, rfc9068-5-not-an-id-token, rfc9700-2.3-audience-verified
// Holds: rfc9700-2.3-scope-verified
#[tokio::test]
async fn a_token_that_is_for_others_or_for_other_things_is_not_taken() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    for bad in ["x", "dwa_x", text(&answer, "id_token"), text(&answer, "refresh_token")] {
        denied(&ask(&kit, bad).await, 401, INVALID);
    }
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&answer, "refresh_token")),
        ("resource", API),
    ];
    let narrowed = kit.post_form(WEB, "/token", &fields).await.ok();
    denied(&ask(&kit, &narrowed.member("access_token")).await, 401, INVALID);

    kit.edit_directory(|file| written(file, WEB).audiences.clear()).await;
    let answer = tokens_of(&kit, WEB, "api.read").await;
    let challenge = r#"Bearer error="insufficient_scope", scope="openid""#;
    denied(&ask(&kit, text(&answer, "access_token")).await, 403, challenge);
    // A registered tool's is for the portal.
    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let token = kit.send(client.poll_request(&device.code)).await.ok().member("accessToken");
    denied(&ask(&kit, &token).await, 403, challenge);
}

// Holds: rfc9068-4-resource-exp
#[tokio::test]
async fn ledger_17_nobody_is_told_of_who_may_not_use_the_application_any_more() {
    on_every_store(applications, async |kit| {
        let answer = tokens_of(kit, WEB, "openid").await;
        let token = text(&answer, "access_token");
        ask(kit, token).await.ok();
        kit.set_disabled("ada", true).await;
        denied(&ask(kit, token).await, 401, INVALID);
        kit.set_disabled("ada", false).await;
        kit.edit_directory(|file| admit_everybody(file, WEB, false)).await;
        denied(&ask(kit, token).await, 401, INVALID);
        kit.edit_directory(|file| admit_everybody(file, WEB, true)).await;
        ask(kit, token).await.ok();
        kit.advance(3600);
        denied(&ask(kit, token).await, 401, INVALID);
        kit.edit_directory(|file| file.applications.clear()).await;
        denied(&ask(kit, token).await, 401, INVALID);
    })
    .await;
}

#[tokio::test]
async fn a_portal_token_with_openid_is_taken_while_its_application_is_there() {
    let kit = Kit::with(|setup| {
        applications(setup);
        allow_account_access(&mut setup.directory, WEB);
    })
    .await;
    let answer = tokens_of(&kit, WEB, "openid sso:account:access").await;
    let token = text(&answer, "access_token");
    assert_eq!(ask(&kit, token).await.ok().json(), json!({"sub": "ada"}));
    kit.edit_directory(|file| file.applications.clear()).await;
    denied(&ask(&kit, token).await, 401, INVALID);
}

// Holds: rfc9449-11.1-replay, rfc9449-4.3-ath, rfc9449-4.3-htm-htu, rfc9449-4.3-same-key
// Holds: rfc9449-7.1-challenge, rfc9449-7.1-scheme, rfc9449-7.2-no-bearer, rfc9449-9-resource-nonce
// Holds: rfc9700-2.2.1-sender-constrained-access, rfc9700-4.10.1-proof-of-possession
#[tokio::test]
async fn ledger_36_a_bound_token_needs_its_proof_and_a_bearer_none() {
    on_every_store(applications, async |kit| {
        let (signer, thief) = (Signer::new(), Signer::new());
        let answer = bound_tokens_of(kit, WEB, &signer).await;
        let token = text(&answer, "access_token");
        let bearer = tokens_of(kit, WEB, "openid").await;
        let bearer = text(&bearer, "access_token");
        let nonce = nonce(kit).await;
        let about =
            |jti| About { method: "GET", path: "/userinfo", nonce: &nonce, jti, access_token: Some(token) };
        let dpop = |token: &str| request(&format!("DPoP {token}"));
        let challenge = |error: &str| format!("DPoP error=\"{error}\", {ALGORITHMS}");

        // Stolen: the token alone is worth nothing, however it is presented.
        denied(&ask(kit, token).await, 401, INVALID);
        denied(&kit.send(form_request("/userinfo", &[("access_token", token)])).await, 401, INVALID);
        let answer = kit.send(dpop(token)).await;
        denied(&answer, 401, &challenge("invalid_dpop_proof"));
        assert_eq!(answer.header("dpop-nonce"), nonce);
        let by_thief = thief.proof(kit, about("1"));
        denied(&kit.send(with_proof(dpop(token), &by_thief)).await, 401, &challenge("invalid_token"));
        let proof = signer.proof(kit, about("1"));
        denied(&kit.send(with_proof(request(&format!("Bearer {token}")), &proof)).await, 401, INVALID);
        // A proof of something else.
        for about in [
            About { access_token: Some(bearer), ..about("2") },
            About { access_token: None, ..about("2") },
            About { method: "POST", ..about("2") },
            About { path: "/token", ..about("2") },
        ] {
            let answer = kit.send(with_proof(dpop(token), &signer.proof(kit, about))).await;
            denied(&answer, 401, &challenge("invalid_dpop_proof"));
        }
        let answer =
            kit.send(with_proof(dpop(token), &signer.proof(kit, About { nonce: "", ..about("2") }))).await;
        denied(&answer, 401, &challenge("use_dpop_nonce"));
        assert_eq!(answer.header("dpop-nonce"), nonce);

        let told = kit.send(with_proof(dpop(token), &proof)).await.ok();
        assert_eq!((told.json()["sub"].as_str(), told.header("dpop-nonce")), (Some("ada"), nonce.as_str()));
        denied(&kit.send(with_proof(dpop(token), &proof)).await, 401, &challenge("invalid_dpop_proof"));

        // RFC 9449 section 7.1: a token that is bound to nothing proves nothing by a proof.
        let about = About { access_token: Some(bearer), ..about("3") };
        let answer = kit.send(with_proof(dpop(bearer), &signer.proof(kit, about))).await;
        denied(&answer, 401, &challenge("invalid_token"));
        ask(kit, bearer).await.ok();
    })
    .await;
}

#[tokio::test]
async fn a_store_that_fails_is_no_bad_token() {
    let kit = Kit::with(applications).await;
    let answer = tokens_of(&kit, WEB, "openid").await;
    kit.store().fail(true, false);
    assert_eq!(error(&ask(&kit, text(&answer, "access_token")).await), (500, "server_error".into()));
}
