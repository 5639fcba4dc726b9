//! What clients find out by themselves: the metadata, and what an endpoint says to those who ask it wrongly.

use axum::body::Body;
use doorward_testkit::{Answer, Form, Kit, WEB};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::token::applications;
use crate::verifier::get;

const PLACES: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

/// The addresses in a metadata document, with their names.
fn addresses(metadata: &Value) -> Vec<(&str, &str)> {
    let members = metadata.as_object().expect("an object").iter();
    let named = members.filter(|(name, _)| name.ends_with("_endpoint") || name.ends_with("_uri"));
    named.map(|(name, value)| (name.as_str(), value.as_str().expect("an address"))).collect()
}

async fn send(kit: &Kit, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    kit.send(request.body(Body::empty()).expect("a request")).await
}

// Holds: oidcc-discovery-endpoint-verification, openid-connect-core-15.2-discovery, rfc8414-2-endpoints
// Holds: rfc8414-2-issuer, rfc8414-2-no-empty-lists, rfc8414-3-location, rfc8414-3.2-answer, rfc8414-3.3-same-issuer
// Holds: rfc9700-2.6-metadata
#[tokio::test]
async fn the_metadata_is_of_this_issuer_and_leads_to_what_there_is() {
    let kit = Kit::with(applications).await;
    for path in PLACES {
        let answer = get(&kit, path).await;
        assert_eq!(answer.header("content-type"), "application/json");
        let metadata = answer.json();
        assert_eq!(metadata["issuer"], kit.base(), "to the letter");
        for (name, value) in metadata.as_object().expect("an object") {
            assert!(![json!(null), json!([]), json!("")].contains(value), "{name} has nothing to say");
        }
        let addresses = addresses(&metadata);
        for needed in [
            "authorization_endpoint",
            "device_authorization_endpoint",
            "end_session_endpoint",
            "introspection_endpoint",
            "jwks_uri",
            "pushed_authorization_request_endpoint",
            "revocation_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
        ] {
            assert!(addresses.iter().any(|(name, _)| *name == needed), "{needed}");
        }
        for (name, address) in addresses {
            let path = address.strip_prefix(kit.base()).expect("an address of this server");
            assert_ne!(send(&kit, Method::GET, path, &[]).await.status, 404, "{name}");
        }
    }
    let kit = Kit::with(|setup| setup.public_url = "https://sso.example.org".to_owned()).await;
    let metadata = get(&kit, PLACES[0]).await.json();
    assert_eq!(metadata["issuer"], "https://sso.example.org");
    for (name, address) in addresses(&metadata) {
        assert!(address.starts_with("https://sso.example.org/"), "{name}: {address}");
    }
}

// Holds: backchannel-logout-2.1-metadata, openid-connect-core-8-subject-types, rfc8414-2-auth-signing-algs
// Holds: rfc8414-2-introspection-auth, rfc8414-2-response-types, rfc8628-4-metadata, rfc9126-5-metadata
// Holds: rfc9207-3-metadata, rfc9449-5.1-metadata, rfc9700-2.1.1-pkce-detectable, rfc9701-7-metadata
// Holds: rp-initiated-logout-2.1-metadata
#[tokio::test]
async fn the_metadata_says_what_clients_must_know() {
    let kit = Kit::with(applications).await;
    let metadata = get(&kit, PLACES[0]).await.json();
    for (name, only) in [
        ("code_challenge_methods_supported", "S256"),
        ("response_types_supported", "code"),
        ("subject_types_supported", "public"),
    ] {
        assert_eq!(metadata[name], json!([only]), "{name}");
    }
    for name in [
        "authorization_response_iss_parameter_supported",
        "backchannel_logout_session_supported",
        "backchannel_logout_supported",
    ] {
        assert_eq!(metadata[name], true, "{name}");
    }
    for (name, path) in [
        ("device_authorization_endpoint", "/device_authorization"),
        ("end_session_endpoint", "/oauth/logout"),
        ("pushed_authorization_request_endpoint", "/par"),
    ] {
        assert_eq!(metadata[name], format!("{}{path}", kit.base()), "{name}");
    }
    let list = |name: &str| -> Vec<&str> {
        let list = metadata[name].as_array().unwrap_or_else(|| panic!("there is no {name}"));
        list.iter().map(|value| value.as_str().expect("a text")).collect()
    };
    // Who may authenticate with an assertion must know with which algorithms, and nobody may do it with none.
    for endpoint in ["token", "introspection", "revocation"] {
        assert!(list(&format!("{endpoint}_endpoint_auth_methods_supported")).contains(&"private_key_jwt"));
        let algorithms = list(&format!("{endpoint}_endpoint_auth_signing_alg_values_supported"));
        assert!(algorithms.contains(&"RS256") && algorithms.contains(&"ES256"), "{endpoint}");
    }
    assert!(!list("introspection_endpoint_auth_methods_supported").contains(&"none"));
    for name in ["id_token_signing_alg_values_supported", "introspection_signing_alg_values_supported"] {
        assert!(list(name).contains(&"RS256"), "{name}");
    }
    assert!(list("dpop_signing_alg_values_supported").contains(&"ES256"));
    for (name, value) in metadata.as_object().expect("an object") {
        if name.contains("_alg_") {
            assert!(!list(name).iter().any(|it| *it == "none" || it.starts_with("HS")), "{name}: {value}");
        }
    }
    assert!(list("scopes_supported").contains(&"openid") && list("scopes_supported").contains(&"api.read"));
    assert!(list("claims_supported").contains(&"sub"));
}

// Holds: rfc7009-2.1-token-required, rfc7662-4-not-in-query, rfc9126-2-post-form, rfc9126-2.3-errors
// Holds: rfc6749-2.3.1-not-in-uri, rfc6749-3.2-post
#[tokio::test]
async fn what_is_secret_is_posted_and_is_not_without_end() {
    let kit = Kit::with(applications).await;
    for path in ["/token", "/introspect", "/revoke", "/par", "/device_authorization"] {
        let answer = send(&kit, Method::GET, &format!("{path}?token=x"), &[]).await;
        assert_eq!(answer.status, 405, "{path}");
        let long = "x".repeat(70_000);
        let answer = kit.post_form(WEB, path, &[("token", &long)]).await;
        assert_eq!(answer.status, 413, "{path}");
    }
    // Nor does the address count for anything when the form is posted.
    for path in ["/token?grant_type=client_credentials", "/introspect?token=x", "/revoke?token=x"] {
        let answer = kit.post_form(WEB, path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.member("error")),
            (400, "invalid_request".into()),
            "{path}"
        );
    }
}

// Holds: rfc9700-2.6-no-cors-at-authorization
#[tokio::test]
async fn no_script_of_another_origin_reads_what_the_authorization_endpoint_says() {
    let kit = Kit::with(applications).await;
    let origin = [("origin", "https://evil.example"), ("access-control-request-method", "GET")];
    let target = "/authorize?client_id=web&response_type=code";
    for path in [target, "/authorize/decision", "/sign-in", "/start", "/device"] {
        for method in [Method::GET, Method::OPTIONS] {
            let answer = send(&kit, method.clone(), path, &origin).await;
            assert!(answer.headers.get("access-control-allow-origin").is_none(), "{method} {path}");
        }
    }
}

// Holds: openid-connect-core-3.1.2.3-no-csrf, rfc9700-4.16-csp, rfc9700-4.16-no-framing, rfc9700-4.2.4-referrer
#[tokio::test]
async fn no_page_is_framed_or_tells_others_where_one_was() {
    let kit = Kit::with(applications).await;
    let client = kit.pkce_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let consent = browser.get(&kit.authorize_target(&client)).await.ok();
    assert!(Form::find(consent.text(), "/authorize/decision").is_some());
    let pages = [
        consent,
        kit.browser().get("/sign-in").await.ok(),
        browser.get("/device").await.ok(),
        browser.get("/start").await.ok(),
        browser.get("/authorize").await,
        browser.get("/nothing/here").await,
    ];
    for page in pages {
        assert!(page.header("content-type").starts_with("text/html"), "{}", page.text());
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
            "{policy}"
        );
        assert_eq!(page.header("x-frame-options"), "DENY");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
}
