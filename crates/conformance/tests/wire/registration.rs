//! Registration: T01 to T13.

use doorward_testkit::{Answer, Kit, START};
use serde_json::{Value, json};

async fn register(kit: &Kit, edit: impl FnOnce(&mut Value)) -> Answer {
    let mut body = json!({
        "clientName": "botocore-client-corp", "clientType": "public", "scopes": ["sso:account:access"],
        "grantTypes": ["authorization_code", "refresh_token"],
        "redirectUris": ["http://127.0.0.1/oauth/callback"], "issuerUrl": kit.start_url(),
    });
    edit(&mut body);
    kit.post("/client/register", &body).await
}

#[tokio::test]
async fn t01_a_name_and_a_type_are_enough_and_times_are_in_seconds() {
    let kit = Kit::new().await;
    let body = json!({"clientName": "botocore-client-corp", "clientType": "public"});
    let answer = kit.post("/client/register", &body).await.ok();
    assert!(!answer.member("clientId").is_empty() && !answer.member("clientSecret").is_empty());
    assert_eq!(answer.json()["clientIdIssuedAt"], START.seconds());
    assert!(answer.json()["clientSecretExpiresAt"].as_i64().is_some_and(|at| at > START.seconds()));
    assert_eq!(answer.header("content-type"), "application/json");
}

#[tokio::test]
async fn t02_a_registration_lasts_90_days() {
    let body = register(&Kit::new().await, |_| {}).await.ok().json();
    let lifetime =
        body["clientSecretExpiresAt"].as_i64().unwrap() - body["clientIdIssuedAt"].as_i64().unwrap();
    assert_eq!(lifetime, 7_776_000);
}

#[tokio::test]
async fn t03_the_aws_clis_registration_for_the_browser_is_accepted() {
    register(&Kit::new().await, |_| {}).await.ok();
}

#[tokio::test]
async fn t04_the_authorization_endpoint_is_where_the_browser_finds_us() {
    let kit = Kit::with(|setup| setup.public_url = "https://sso.example.org".to_owned()).await;
    let answer = register(&kit, |_| {}).await.ok();
    assert_eq!(answer.member("authorizationEndpoint"), "https://sso.example.org/authorize");
    assert_eq!(answer.member("tokenEndpoint"), "https://sso.example.org/token");
}

// Holds: rfc8252-8.4-public-unless-own, rfc8628-5.6-public-clients
#[tokio::test]
async fn t05_a_confidential_client_is_invalid_metadata() {
    let kit = Kit::new().await;
    for kind in ["confidential", "PUBLIC", "public "] {
        let answer = register(&kit, |body| body["clientType"] = kind.into()).await;
        answer.assert_oidc_error(400, "InvalidClientMetadataException", "invalid_client_metadata");
    }
}

#[tokio::test]
async fn t06_a_missing_name_or_type_or_a_body_that_is_no_object_is_an_invalid_request() {
    let kit = Kit::new().await;
    for body in [
        json!({"clientType": "public"}),
        json!({"clientName": "x"}),
        json!([]),
        json!("x"),
        json!(null),
        json!(5),
    ] {
        let answer = kit.post("/client/register", &body).await;
        answer.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
    }
}

// Holds: rfc9700-2.4-no-password-grant
#[tokio::test]
async fn t07_the_password_grant_is_unsupported() {
    let kit = Kit::new().await;
    let answer = register(&kit, |body| body["grantTypes"] = json!(["password"])).await;
    answer.assert_oidc_error(400, "UnsupportedGrantTypeException", "unsupported_grant_type");
}

#[tokio::test]
async fn t08_the_authorization_code_grant_needs_scopes() {
    let kit = Kit::new().await;
    for scopes in [json!(null), json!([]), json!([""]), json!([" "])] {
        let answer = register(&kit, |body| body["scopes"] = scopes).await;
        answer.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
    }
}

// Holds: openid-connect-core-3.1.2.1-no-plain-http, rfc8252-8.3-localhost
// Holds: rfc9700-2.6-no-plain-http-redirects
#[tokio::test]
async fn t09_a_redirect_uri_beyond_loopback_is_refused_unless_it_is_configured() {
    let listed = "https://app.example/cb";
    let kit = Kit::with(|setup| setup.redirect_uris = vec![listed.to_owned()]).await;
    for uri in
        ["http://evil.example/cb", "http://[::1]/cb", "http://localhost/cb", "https://app.example/other"]
    {
        let answer = register(&kit, |body| body["redirectUris"] = json!([uri])).await;
        answer.assert_oidc_error(400, "InvalidRedirectUriException", "invalid_redirect_uri");
    }
    register(&kit, |body| body["redirectUris"] = json!([listed])).await.ok();
}

#[tokio::test]
async fn t10_a_loopback_uri_may_have_no_path_or_a_port() {
    let kit = Kit::new().await;
    for uri in ["http://127.0.0.1", "http://127.0.0.1:45343/oauth/callback", "http://127.0.0.1:8080"] {
        register(&kit, |body| body["redirectUris"] = json!([uri])).await.ok();
    }
}

#[tokio::test]
async fn t11_scopes_may_be_joined_by_spaces_or_of_the_older_kind() {
    let kit = Kit::new().await;
    register(&kit, |body| body["scopes"] = json!(["a b"])).await.ok();
    register(&kit, |body| body["scopes"] = json!(["sso-portal:*"])).await.ok();
    let odd = register(&kit, |body| body["scopes"] = json!(["\u{1F600}"])).await;
    odd.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
}

#[tokio::test]
async fn t12_unknown_members_are_ignored() {
    let kit = Kit::new().await;
    register(&kit, |body| body["future"] = json!({"deep": [1, null, {"x": true}]})).await.ok();
}

#[tokio::test]
async fn t13_both_grants_may_be_registered_together() {
    let kit = Kit::new().await;
    let grants =
        json!(["urn:ietf:params:oauth:grant-type:device_code", "authorization_code", "refresh_token"]);
    register(&kit, |body| body["grantTypes"] = grants).await.ok();
}

#[tokio::test]
async fn the_entitled_application_is_accepted_as_text_alone() {
    let kit = Kit::new().await;
    let arn = "arn:aws:sso::123456789012:application/x/y";
    register(&kit, |body| body["entitledApplicationArn"] = arn.into()).await.ok();
    let wrong = register(&kit, |body| body["entitledApplicationArn"] = json!([arn])).await;
    wrong.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
}
