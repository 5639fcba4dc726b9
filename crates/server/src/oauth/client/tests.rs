use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use doorward_core::application::Application;
use doorward_core::ids::ClientId;
use doorward_store::MemoryStore;
use serde_json::{Value, json};

use super::*;
use crate::oauth::fixtures::{BASE, NOW, Signer, app, application, caller, node, tool};

const SECRET: &str = "s3cret of:the+best%kind";

fn hash(secret: &str) -> String {
    format!("sha256:{}", HEXLOWER.encode(&sha256(secret)))
}

/// What makes a client public.
fn public() -> Value {
    json!({
        "authentication": "none", "grants": ["urn:ietf:params:oauth:grant-type:device_code"], "everybody": true,
    })
}

/// One application of each kind.
fn applications(signer: &Signer) -> Vec<Application> {
    let hashes = json!([hash("the next one"), hash(SECRET)]);
    vec![
        application("basic", &json!({"authentication": "client_secret_basic", "secret_hashes": hashes})),
        application(
            "post",
            &json!({
                "authentication": "client_secret_post", "secret_hashes": hashes,
                "arn": "arn:aws:sso::123456789012:application/ssoins-0123456789abcdef/apl-0123456789abcdef",
            }),
        ),
        application("public", &public()),
        application("signing", &json!({"authentication": "private_key_jwt", "keys": [signer.jwk]})),
        application("unset", &json!({"secret_hashes": [hash("of nobody here")]})),
    ]
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn body(parameters: &[(&str, &str)]) -> Form {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Form::parse(text.as_bytes()).unwrap()
}

fn authorization(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value.parse().unwrap());
    headers
}

fn basic_header(name: &str, secret: &str) -> HeaderMap {
    let joined = format!("{}:{}", encoded(name), encoded(secret));
    authorization(&format!("Basic {}", BASE64.encode(joined.as_bytes())))
}

/// The name of the client, or the refusal.
async fn ask(app: &App, headers: &HeaderMap, parameters: &[(&str, &str)]) -> Result<String, Refusal> {
    match authenticate(app, &caller(0), headers, &body(parameters)).await {
        Ok(Authenticated { client, .. }) => Ok(client.registration().name.to_string()),
        Err(Failure::Refused(refusal)) => Err(refusal),
        Err(Failure::Outage(what)) => panic!("{what}"),
    }
}

fn invalid(why: &str) -> Result<String, Refusal> {
    Err(Refusal::InvalidRequest(why.into()))
}

const UNKNOWN: Result<String, Refusal> = Err(Refusal::InvalidClient);

// Holds: openid-connect-core-9-methods, rfc6749-2.3.1-basic, rfc6749-3.1-empty-is-none
// Holds: rfc9700-2.5-asymmetric-authentication, rfc9700-2.5-client-authentication
#[tokio::test]
async fn every_client_proves_itself_in_the_way_that_it_registered() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let none = HeaderMap::new();
    assert_eq!(ask(&app, &basic_header("basic", SECRET), &[]).await, Ok("basic".into()));
    assert_eq!(ask(&app, &basic_header("basic", "the next one"), &[]).await, Ok("basic".into()));
    let post = [("client_id", "post"), ("client_secret", SECRET)];
    assert_eq!(ask(&app, &none, &post).await, Ok("post".into()));
    assert_eq!(ask(&app, &none, &[("client_id", "public")]).await, Ok("public".into()));
    let assertion = signer.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(ask(&app, &none, &asserted(&assertion)).await, Ok("signing".into()));

    // The same name in the body changes nothing, and an empty parameter is none (RFC 6749 section 3.1).
    let named = [("client_id", "basic"), ("client_secret", ""), ("client_assertion", "")];
    assert_eq!(ask(&app, &basic_header("basic", SECRET), &named).await, Ok("basic".into()));
}

// Holds: openid-connect-core-3.1.3.1-client-authenticated, openid-connect-core-9-methods
// Holds: rfc9700-2.5-client-authentication
#[tokio::test]
async fn any_other_way_and_any_other_secret_is_refused_alike() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let none = HeaderMap::new();
    for name in ["basic", "post", "signing", "unset", "nobody", "", "ba sic"] {
        assert_eq!(ask(&app, &none, &[("client_id", name)]).await, UNKNOWN, "{name} by its name");
    }
    for name in ["post", "public", "signing", "unset", "nobody", ""] {
        assert_eq!(ask(&app, &basic_header(name, SECRET), &[]).await, UNKNOWN, "{name} by header");
    }
    for name in ["basic", "public", "signing", "unset", "nobody"] {
        let parameters = [("client_id", name), ("client_secret", SECRET)];
        assert_eq!(ask(&app, &none, &parameters).await, UNKNOWN, "{name} by body");
    }
    for name in ["basic", "post", "public", "unset", "nobody"] {
        let mut said = claims();
        (said["iss"], said["sub"]) = (json!(name), json!(name));
        let assertion = signer.sign(&json!({"alg": "ES256"}), &said);
        assert_eq!(ask(&app, &none, &asserted(&assertion)).await, UNKNOWN, "{name} by assertion");
    }
    for secret in ["", "wrong", "s3cret", &hash(SECRET), &SECRET.to_uppercase()] {
        assert_eq!(ask(&app, &basic_header("basic", secret), &[]).await, UNKNOWN, "{secret}");
        let parameters = [("client_id", "post"), ("client_secret", secret)];
        assert_eq!(ask(&app, &none, &parameters).await, UNKNOWN, "{secret}");
    }
    assert_eq!(ask(&app, &none, &[]).await, UNKNOWN);
    assert_eq!(ask(&app, &none, &[("client_secret", SECRET)]).await, UNKNOWN);
}

#[tokio::test]
async fn an_arn_is_no_client_id_here() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let arn = "arn:aws:sso::123456789012:application/ssoins-0123456789abcdef/apl-0123456789abcdef";
    let parameters = [("client_id", arn), ("client_secret", SECRET)];
    assert_eq!(ask(&app, &HeaderMap::new(), &parameters).await, UNKNOWN);
}

// Holds: rfc6749-2.3-one-method
#[tokio::test]
async fn one_way_and_no_more() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let twice = "a client must authenticate in one way only";
    let header = basic_header("basic", SECRET);
    let assertion = signer.sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(ask(&app, &header, &[("client_secret", SECRET)]).await, invalid(twice));
    assert_eq!(ask(&app, &header, &asserted(&assertion)).await, invalid(twice));
    assert_eq!(ask(&app, &header, &[("client_assertion_type", JWT_BEARER)]).await, invalid(twice));
    let mut both = asserted(&assertion).to_vec();
    both.push(("client_secret", SECRET));
    assert_eq!(ask(&app, &HeaderMap::new(), &both).await, invalid(twice));

    let mut two = header.clone();
    two.append(header::AUTHORIZATION, header[header::AUTHORIZATION].clone());
    let why = "there is more than one Authorization header";
    assert_eq!(ask(&app, &two, &[]).await, invalid(why));
    let why = "client_id is not the client of the Authorization header";
    assert_eq!(ask(&app, &header, &[("client_id", "post")]).await, invalid(why));
}

// Holds: rfc6749-2.3.1-decoded
#[tokio::test]
async fn a_header_that_cannot_be_read_is_no_client() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let of = |text: &str| format!("Basic {}", BASE64.encode(text.as_bytes()));
    let good = of(&format!("basic:{}", encoded(SECRET)));
    assert_eq!(ask(&app, &authorization(&good), &[]).await, Ok("basic".into()));
    assert_eq!(ask(&app, &authorization(&good.replace("Basic", "bAsIc")), &[]).await, Ok("basic".into()));
    for bad in [
        "Basic".to_owned(),
        "Basic !".to_owned(),
        good.replace("Basic", "Bearer"),
        good.replace("Basic ", ""),
        good[..good.len() - 1].to_owned(),
        format!("Basic {}", BASE64.encode(b"basic:\xff")),
        of("basic"),
        of("basic:%ff"),
        // What was not encoded is decoded all the same.
        of(&format!("basic:{SECRET}")),
    ] {
        assert_eq!(ask(&app, &authorization(&bad), &[]).await, UNKNOWN, "{bad}");
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, http::HeaderValue::from_bytes(b"Basic \xff").unwrap());
    assert_eq!(ask(&app, &headers, &[("client_id", "public")]).await, UNKNOWN);
}

#[tokio::test]
async fn a_registered_tool_has_its_secret_in_either_place() {
    let app = app(Vec::new()).await;
    let (id, secret) = app.tokens.client(&tool());
    let none = HeaderMap::new();
    assert_eq!(ask(&app, &basic_header(&id, secret.reveal()), &[]).await, Ok("tool".into()));
    let right = [("client_id", id.as_str()), ("client_secret", secret.reveal())];
    assert_eq!(ask(&app, &none, &right).await, Ok("tool".into()));
    assert_eq!(ask(&app, &basic_header(&id, "wrong"), &[]).await, UNKNOWN);
    assert_eq!(ask(&app, &none, &[("client_id", &id)]).await, UNKNOWN);
    let later = authenticate(&app, &caller(3600), &none, &body(&right)).await;
    assert!(matches!(later, Err(Failure::Refused(Refusal::InvalidClient))));
}

#[tokio::test]
async fn the_client_is_the_one_that_sessions_know() {
    let app = app(vec![application("public", &public())]).await;
    let known = authenticate(&app, &caller(0), &HeaderMap::new(), &body(&[("client_id", "public")])).await;
    let client = known.unwrap().client;
    assert_eq!(client.id(), ClientId::of_application(&ApplicationId::parse("public").unwrap()));
    assert!(client.is_public());
}

// Holds: openid-connect-core-16.12-guessing, rfc6749-2.3.1-guessing, rfc7009-5-limits
#[tokio::test]
async fn whoever_fails_too_often_is_slowed_down_and_nobody_else() {
    let signer = Signer::new();
    let quick = app(applications(&signer)).await;
    let limited = node(Arc::clone(&quick.store), true);
    let (right, wrong) = (basic_header("basic", SECRET), basic_header("basic", "wrong"));
    for _ in 0..2000 {
        assert_eq!(ask(&limited, &right, &[]).await, Ok("basic".into()));
    }
    for how in [wrong, authorization("Basic !")] {
        let mut slowed = false;
        for _ in 0..1000 {
            slowed |= ask(&limited, &how, &[]).await == Err(Refusal::SlowDown);
        }
        assert!(slowed);
    }
}

// What an assertion says.

fn claims() -> Value {
    let now = NOW.seconds();
    json!({"iss": "signing", "sub": "signing", "aud": BASE, "exp": now + 60, "iat": now, "jti": "1"})
}

fn asserted(assertion: &str) -> [(&str, &str); 2] {
    [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)]
}

// Holds: rfc7523-3-exp, rfc7523-3-nbf
#[tokio::test]
async fn assertions_that_hold() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let now = NOW.seconds();
    let cases = [
        ("aud", json!(format!("{BASE}/token"))),
        ("aud", json!(format!("{BASE}/par"))),
        ("aud", json!([BASE])),
        ("exp", json!(now + 630)),
        ("exp", json!(now - 29)),
        ("iat", json!(now + 30)),
        ("iat", json!(now - 3600)),
        ("nbf", json!(now + 30)),
        ("iat", json!(f64::from(1_800_000_000) + 0.5)),
        ("jti", json!("x".repeat(256))),
    ];
    for (at, (name, value)) in cases.into_iter().enumerate() {
        let mut said = claims();
        said["jti"] = json!(at.to_string());
        said[name] = value.clone();
        let assertion = signer.sign(&json!({"alg": "ES256", "typ": "JWT"}), &said);
        assert_eq!(
            ask(&app, &HeaderMap::new(), &asserted(&assertion)).await,
            Ok("signing".into()),
            "{name} {value}"
        );
    }
    for header in [
        json!({"alg": "ES256", "typ": "jwt"}),
        json!({"alg": "ES256", "typ": "client-authentication+jwt"}),
        // The key that was registered has no name, so it may have any.
        json!({"alg": "ES256", "kid": "any"}),
    ] {
        let mut said = claims();
        said["jti"] = json!(header.to_string());
        let assertion = signer.sign(&header, &said);
        let mut named = asserted(&assertion).to_vec();
        named.push(("client_id", "signing"));
        assert_eq!(ask(&app, &HeaderMap::new(), &named).await, Ok("signing".into()), "{header}");
    }
}

// Holds: openid-connect-core-9-jwt-claims, rfc7523-3-algorithm, rfc7523-3-aud-is-us, rfc7523-3-client-iss-sub
// Holds: rfc7523-3-exp, rfc7523-3-far-exp, rfc7523-3-iss-sub-aud-exp, rfc7523-3-nbf, rfc7523-3-signature
// Holds: rfc7523-3.2-invalid-client
#[tokio::test]
async fn ledger_05_an_assertion_with_one_thing_wrong_is_none() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let now = NOW.seconds();
    let null = Value::Null;
    let cases = [
        ("iss", json!("public")),
        ("iss", null.clone()),
        ("sub", json!("public")),
        ("sub", null.clone()),
        ("aud", json!("https://sso.example.com")),
        ("aud", json!(format!("{BASE}/"))),
        ("aud", json!(format!("{BASE}/token/x"))),
        ("aud", json!([BASE, "https://other.example.org"])),
        ("aud", json!([BASE, BASE])),
        ("aud", json!([])),
        ("aud", json!([7])),
        ("aud", null.clone()),
        ("exp", null.clone()),
        ("exp", json!("soon")),
        ("exp", json!(now - 30)),
        ("exp", json!(now + 631)),
        ("iat", json!(now + 31)),
        ("iat", json!("now")),
        ("nbf", json!(now + 31)),
        ("nbf", null.clone()),
        ("jti", null),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(257))),
        ("padding", json!("x".repeat(8 * 1024))),
    ];
    for (name, value) in cases {
        let mut said = claims();
        if value.is_null() && name != "nbf" {
            said.as_object_mut().unwrap().remove(name);
        } else {
            said[name] = value.clone();
        }
        let assertion = signer.sign(&json!({"alg": "ES256"}), &said);
        let mut named = asserted(&assertion).to_vec();
        // A name in the body makes up for nothing.
        named.push(("client_id", "signing"));
        assert_eq!(ask(&app, &HeaderMap::new(), &named).await, UNKNOWN, "{name} {value}");
    }
    for header in [
        json!({}),
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RS256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "ES256", "typ": "dpop+jwt"}),
        json!({"alg": "ES256", "typ": 7}),
        json!({"alg": "ES256", "crit": ["exp"]}),
    ] {
        let assertion = signer.sign(&header, &claims());
        assert_eq!(ask(&app, &HeaderMap::new(), &asserted(&assertion)).await, UNKNOWN, "{header}");
    }
    let good = signer.sign(&json!({"alg": "ES256"}), &claims());
    let unsigned = good.rsplit_once('.').unwrap().0;
    for bad in
        ["", "a.b.c", unsigned, &format!("{unsigned}."), &format!("{good}A"), &format!("{good}.{good}")]
    {
        let parameters = [("client_id", "signing"), asserted(bad)[0], ("client_assertion", bad)];
        let answer = ask(&app, &HeaderMap::new(), &parameters).await;
        if bad.is_empty() {
            assert_eq!(answer, invalid("client_assertion is required with client_assertion_type"));
        } else {
            assert_eq!(answer, UNKNOWN, "{bad}");
        }
    }
    let mallory = Signer::new().sign(&json!({"alg": "ES256"}), &claims());
    assert_eq!(ask(&app, &HeaderMap::new(), &asserted(&mallory)).await, UNKNOWN);
    // None of it has used up the jti.
    assert_eq!(ask(&app, &HeaderMap::new(), &asserted(&good)).await, Ok("signing".into()));
}

// Holds: rfc7523-2.2-client-id-agrees, rfc7523-2.2-type
#[tokio::test]
async fn an_assertion_has_its_type_beside_it_and_the_client_of_the_body() {
    let signer = Signer::new();
    let app = app(applications(&signer)).await;
    let assertion = signer.sign(&json!({"alg": "ES256"}), &claims());
    let none = HeaderMap::new();
    let why = "client_assertion_type is required with client_assertion";
    assert_eq!(ask(&app, &none, &[("client_assertion", &assertion)]).await, invalid(why));
    let why = "client_assertion is required with client_assertion_type";
    assert_eq!(ask(&app, &none, &[("client_assertion_type", JWT_BEARER)]).await, invalid(why));
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let other = [("client_assertion_type", saml), ("client_assertion", &assertion)];
    assert_eq!(
        ask(&app, &none, &other).await,
        invalid(&format!("client_assertion_type must be {JWT_BEARER}"))
    );
    for other in ["public", "basic", "nobody"] {
        let mut named = asserted(&assertion).to_vec();
        named.push(("client_id", other));
        assert_eq!(ask(&app, &none, &named).await, UNKNOWN, "{other}");
    }
}

#[tokio::test]
async fn an_assertion_is_signed_with_the_key_that_it_names() {
    let (one, two) = (Signer::new(), Signer::new());
    let key = |signer: &Signer, kid: &str| {
        let mut jwk = signer.jwk.clone();
        (jwk["kid"], jwk["alg"], jwk["use"]) = (json!(kid), json!("ES256"), json!("sig"));
        jwk
    };
    let keys = json!([key(&one, "one"), key(&two, "two")]);
    let app =
        app(vec![application("signing", &json!({"authentication": "private_key_jwt", "keys": keys}))]).await;
    let mut jti = 0;
    let mut answer = async |signer: &Signer, kid: Value| {
        jti += 1;
        let mut said = claims();
        said["jti"] = json!(jti.to_string());
        let mut header = json!({"alg": "ES256"});
        if !kid.is_null() {
            header["kid"] = kid;
        }
        ask(&app, &HeaderMap::new(), &asserted(&signer.sign(&header, &said))).await
    };
    assert_eq!(answer(&one, json!("one")).await, Ok("signing".into()));
    assert_eq!(answer(&two, json!("two")).await, Ok("signing".into()));
    assert_eq!(answer(&two, Value::Null).await, Ok("signing".into()));
    assert_eq!(answer(&two, json!("one")).await, UNKNOWN);
    assert_eq!(answer(&two, json!("three")).await, UNKNOWN);
}

// Holds: openid-connect-core-9-jwt-once, rfc7523-3-jti, rfc7523-6-replay-across-nodes
#[tokio::test]
async fn ledger_29_an_assertion_is_used_once_on_whichever_node() {
    let signer = Signer::new();
    let mut all = applications(&signer);
    all.push(application("twin", &json!({"authentication": "private_key_jwt", "keys": [signer.jwk]})));
    let first = app(all).await;
    let second = node(Arc::clone(&first.store), false);
    let assertion = signer.sign(&json!({"alg": "ES256"}), &claims());
    let none = HeaderMap::new();
    assert_eq!(ask(&first, &none, &asserted(&assertion)).await, Ok("signing".into()));
    for node in [&first, &second] {
        assert_eq!(ask(node, &none, &asserted(&assertion)).await, UNKNOWN);
        // Signed again, it is the same one.
        let again = signer.sign(&json!({"alg": "ES256", "typ": "JWT"}), &claims());
        assert_eq!(ask(node, &none, &asserted(&again)).await, UNKNOWN);
    }
    // Until it has expired for everybody, whatever a sweep on a node with a clock that is ahead does.
    first.store.sweep(NOW.plus(doorward_core::time::Lifetime::from_seconds(600)), 100).await.unwrap();
    assert_eq!(ask(&second, &none, &asserted(&assertion)).await, UNKNOWN);
    // Another client may use the same word.
    let mut said = claims();
    (said["iss"], said["sub"]) = (json!("twin"), json!("twin"));
    let twin = signer.sign(&json!({"alg": "ES256"}), &said);
    assert_eq!(ask(&first, &none, &asserted(&twin)).await, Ok("twin".into()));
}

#[tokio::test]
async fn without_a_directory_nobody_is_known() {
    let app = node(Arc::new(MemoryStore::default()), false);
    assert_eq!(ask(&app, &HeaderMap::new(), &[("client_id", "public")]).await, UNKNOWN);
}
