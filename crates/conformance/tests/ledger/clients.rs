//! Registrations and what clients send: lines 12, 14 to 16, 19, 30.

use doorward_core::scope::Scopes;
use doorward_testkit::{Answer, Choice, Client, Kit, Pkce, REDIRECT_URI, on_every_store};
use serde_json::{Value, json};

fn redemption(client: &Client, code: &str) -> Value {
    json!({
        "clientId": client.id, "clientSecret": client.secret, "grantType": "authorization_code", "code": code,
        "redirectUri": REDIRECT_URI, "codeVerifier": Pkce::VERIFIER,
    })
}

#[track_caller]
fn assert_invalid_request(answer: &Answer) {
    answer.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
}

// Holds: rfc6749-3.1-once
#[tokio::test]
async fn ledger_12_what_occurs_twice_or_not_at_all_is_an_error() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let code = kit.code(&client, "ada").await;
    let good = redemption(&client, &code);
    for name in ["clientId", "clientSecret", "grantType", "code", "redirectUri", "codeVerifier"] {
        let text = good.to_string();
        let twice = format!(r#"{},"{name}":{}}}"#, &text[..text.len() - 1], good[name]);
        assert_invalid_request(&kit.post_bytes("/token", twice).await);
        let mut missing = good.clone();
        missing.as_object_mut().unwrap().remove(name);
        assert_invalid_request(&kit.post("/token", &missing).await);
    }
    let target = kit.authorize_target(&client);
    let mut browser = kit.browser().signed_in("ada").await;
    for name in
        ["client_id", "redirect_uri", "state", "response_type", "code_challenge", "code_challenge_method"]
    {
        let (_, value) = target.split_once(&format!("{name}=")).unwrap();
        let value = value.split('&').next().unwrap();
        for twice in [format!("{target}&{name}={value}"), format!("{target}&{name}=")] {
            let answer = browser.get(&twice).await;
            assert!(answer.status.is_client_error() || answer.status == 302, "{name}: {}", answer.status);
            assert_eq!(answer.location_parameter("code"), None);
        }
    }
    // A form with a field twice decides nothing.
    let page = browser.get(&target).await.ok();
    let mut form = doorward_testkit::Form::find(page.text(), "/authorize/decision").unwrap();
    form.fields
        .extend([("decision".to_owned(), "deny".to_owned()), ("decision".to_owned(), "approve".to_owned())]);
    assert_eq!(browser.submit(&form).await.status, 400);
    kit.post("/token", &good).await.ok();
}

// Holds: rfc8252-8.2-no-implicit, rfc9700-2.1.2-no-implicit, rfc9700-2.4-no-password-grant
// Holds: rfc9700-4.3.2-no-token-in-query, rfc9700-4.6.1-no-token-injection
#[tokio::test]
async fn ledger_14_there_is_no_password_grant_and_no_implicit_one() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let body = json!({"grantType": "password", "username": "ada", "password": "analytical-engine"});
    let answer = kit.create_token(&client, body).await;
    answer.assert_oidc_error(400, "UnsupportedGrantTypeException", "unsupported_grant_type");
    let mut browser = kit.browser().signed_in("ada").await;
    for kind in ["token", "id_token", "code+token", "none"] {
        let target =
            kit.authorize_target(&client).replace("response_type=code", &format!("response_type={kind}"));
        let answer = browser.get(&target).await;
        assert_eq!(
            answer.location_parameter("error").as_deref(),
            Some("unsupported_response_type"),
            "{kind}"
        );
        assert!(!answer.location().contains('#') && !answer.location().contains("access_token"));
    }
}

// Holds: rfc7636-4.6-compare, rfc9700-2.1.1-enforce-verifier
#[tokio::test]
async fn ledger_15_a_code_without_its_verifier_is_worth_nothing() {
    on_every_store(
        |_| {},
        async |kit| {
            let client = kit.pkce_client().await;
            let code = kit.code(&client, "ada").await;
            for verifier in [json!(null), json!("")] {
                let mut body = redemption(&client, &code);
                body["codeVerifier"] = verifier;
                assert_invalid_request(&kit.post("/token", &body).await);
            }
            let mut body = redemption(&client, &code);
            body["codeVerifier"] = "x".repeat(43).into();
            let answer = kit.post("/token", &body).await;
            answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
            kit.redeem(&client, &code).await.ok();
        },
    )
    .await;
}

// Holds: rfc7636-7.2-no-plain, rfc8252-8.1-refuse-without-pkce, rfc9700-2.1.1-no-downgrade
// Holds: rfc9700-2.1.1-public-clients-pkce, rfc9700-4.8.2-refuse-without-challenge
#[tokio::test]
async fn ledger_16_without_a_challenge_there_is_no_code() {
    let kit = Kit::new().await;
    let client = kit.pkce_client().await;
    let target = kit.authorize_target(&client);
    let mut browser = kit.browser().signed_in("ada").await;
    let challenge = format!("code_challenge={}", Pkce::CHALLENGE);
    for (from, to) in [
        (challenge.as_str(), ""),
        (&challenge, "code_challenge="),
        (&challenge, "code_challenge=x"),
        ("code_challenge_method=S256", ""),
        ("code_challenge_method=S256", "code_challenge_method="),
        ("code_challenge_method=S256", "code_challenge_method=plain"),
        ("code_challenge_method=S256", "code_challenge_method=s256"),
    ] {
        let answer = browser.get(&target.replace(from, to)).await;
        assert_eq!(answer.location_parameter("error").as_deref(), Some("invalid_request"), "{from} -> {to}");
    }
}

// Holds: oidcc-ensure-registered-redirect-uri, openid-connect-core-3.1.2.1-redirect-uri
// Holds: rfc6749-3.1.2.2-registered, rfc6749-3.1.2.4-no-redirect, rfc9700-2.1-exact-redirect-uri
// Holds: rfc9700-4.11.2-trusted-redirects-only
#[tokio::test]
async fn ledger_19_redirect_uris_are_compared_as_text_and_never_learned() {
    let listed = "https://app.example/cb";
    let kit = Kit::with(|setup| setup.redirect_uris = vec![listed.to_owned()]).await;
    let register = async |uri: &str| {
        let body = json!({
            "clientName": "x", "clientType": "public", "scopes": ["openid"], "redirectUris": [uri],
            "grantTypes": ["authorization_code"],
        });
        kit.post("/client/register", &body).await
    };
    let registered = register(listed).await.ok();
    let client = Client { id: registered.member("clientId"), secret: registered.member("clientSecret") };
    let target = |uri: &str| {
        let uri = uri
            .replace('%', "%25")
            .replace(':', "%3A")
            .replace('/', "%2F")
            .replace('?', "%3F")
            .replace('#', "%23");
        let target = kit.authorize_target_with(&client, &[]);
        target.replace("http%3A%2F%2F127.0.0.1%3A45343%2Foauth%2Fcallback", &uri)
    };
    let mut browser = kit.browser().signed_in("ada").await;
    for uri in [
        // Where a dot is no dot, and a beginning or an end is enough.
        "https://appXexample/cb",
        "https://app.example/cbx",
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://app.example/cb#x",
        "https://app.example/x/../cb",
        "https://app.example:443/cb",
        "https://evil.example/?https://app.example/cb",
        "https://app.example@evil.example/cb",
        "https://APP.example/cb",
        "https://app.example/CB",
        "http://app.example/cb",
        "https://app.example/c%62",
        // Loopback relaxes the port of what was registered, and nothing was.
        "http://127.0.0.1/cb",
    ] {
        for _ in 0..2 {
            let answer = browser.get(&target(uri)).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (400, ""), "{uri}");
        }
        if !uri.starts_with("http://127.0.0.1") {
            register(uri).await.assert_oidc_error(400, "InvalidRedirectUriException", "invalid_redirect_uri");
        }
    }
    let sent = browser.decide_authorize(&target(listed), Choice::Approve).await;
    assert!(sent.location().starts_with("https://app.example/cb?code="), "{}", sent.location());
}

// Holds: rfc8628-5.3-device-not-trusted, rfc9068-5-sub-not-chosen, rfc9700-2.6-client-names-not-persons
// Holds: rfc9700-4.2.4-no-third-parties
#[tokio::test]
async fn ledger_30_a_registration_is_inert() {
    let kit = Kit::new().await;
    // Nothing that it names is fetched, trusted or shown as markup.
    let name = "<script>alert(1)</script>\u{202e}'\"&{{7*7}}";
    let client = kit
        .register(&json!({
            "clientName": name, "clientType": "public", "scopes": ["sso:account:access"],
            "grantTypes": ["authorization_code"], "redirectUris": ["http://127.0.0.1/oauth/callback"],
            "jwksUri": "http://169.254.169.254/latest/", "logoUri": "javascript:alert(1)",
            "issuerUrl": "file:///etc/passwd", "tokenEndpointAuthMethod": "none", "clientId": "chosen",
        }))
        .await;
    assert_ne!(client.id, "chosen");
    let target = kit.authorize_target(&client);
    let form = kit.browser().get(&target).await;
    let page = kit.browser().get(form.location()).await.ok();
    let mut browser = kit.browser().signed_in("ada").await;
    for page in [page, browser.get(&target).await.ok()] {
        assert!(
            !page.text().contains("<script>alert") && !page.text().contains('\u{202e}'),
            "{}",
            page.text()
        );
        assert!(page.text().contains("&#60;script&#62;alert(1)"), "{}", page.text());
        assert!(!page.text().contains("javascript:"));
        let policy = page.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    for uri in
        ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "http://169.254.169.254/", "x:y"]
    {
        let body = json!({"clientName": "x", "clientType": "public", "redirectUris": [uri]});
        let answer = kit.post("/client/register", &body).await;
        answer.assert_oidc_error(400, "InvalidRedirectUriException", "invalid_redirect_uri");
    }

    let allowed = Scopes::parse(["sso:account:access"]).unwrap();
    let kit = Kit::with(|setup| setup.scopes = Some(allowed.clone())).await;
    kit.device_client().await;
    for scopes in [json!(["admin"]), json!(["sso:account:access admin"]), json!(["sso:account:access", "x"])]
    {
        let body = json!({"clientName": "x", "clientType": "public", "scopes": scopes});
        let answer = kit.post("/client/register", &body).await;
        answer.assert_oidc_error(400, "InvalidScopeException", "invalid_scope");
    }
}
