//! Members of the wrong type, twice, overlong, or with a value that nothing has.

use serde_json::{Value, json};

use crate::world::{Expected, MARKER, Row, World, post};

const METADATA: Expected = Expected::Oidc(400, "InvalidClientMetadataException");
const SCOPE: Expected = Expected::Oidc(400, "InvalidScopeException");
const REDIRECT_URI: Expected = Expected::Oidc(400, "InvalidRedirectUriException");
const GRANT_TYPE: Expected = Expected::Oidc(400, "UnsupportedGrantTypeException");
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The members of each operation that are texts, and those that are lists of texts.
const MEMBERS: [(&str, &[&str], &[&str]); 3] = [
    (
        "/client/register",
        &["clientName", "clientType", "issuerUrl", "entitledApplicationArn"],
        &["scopes", "redirectUris", "grantTypes"],
    ),
    ("/device_authorization", &["clientId", "clientSecret", "startUrl"], &[]),
    (
        "/token",
        &[
            "clientId",
            "clientSecret",
            "grantType",
            "deviceCode",
            "code",
            "refreshToken",
            "redirectUri",
            "codeVerifier",
        ],
        &["scope"],
    ),
];

pub(crate) fn rows(world: &World) -> Vec<Row> {
    let mut rows = Vec::new();
    for (path, texts, lists) in MEMBERS {
        for name in texts {
            for wrong in [json!(5), json!(true), json!([MARKER]), json!({"value": MARKER})] {
                rows.push(with(world, path, name, wrong, Expected::INVALID_REQUEST));
            }
            rows.push(twice(world, path, name, &json!("x")));
        }
        for name in lists {
            for wrong in
                [json!(MARKER), json!(5), json!({"0": MARKER}), json!([MARKER, null]), json!([[MARKER]])]
            {
                rows.push(with(world, path, name, wrong, Expected::INVALID_REQUEST));
            }
            rows.push(twice(world, path, name, &json!(["x"])));
        }
    }
    rows.extend(registrations(world));
    rows.extend(token_requests(world));
    rows
}

/// A request of an operation that has nothing wrong with it.
fn good(world: &World, path: &str) -> Value {
    let client = &world.client;
    match path {
        "/client/register" => json!({"clientName": "x", "clientType": "public"}),
        "/device_authorization" => {
            let start_url = world.kit.start_url();
            json!({"clientId": client.id, "clientSecret": client.secret, "startUrl": start_url})
        }
        _ => json!({
            "clientId": client.id, "clientSecret": client.secret, "grantType": "refresh_token",
            "refreshToken": "x",
        }),
    }
}

fn with(world: &World, path: &str, name: &str, value: Value, expected: Expected) -> Row {
    let mut body = good(world, path);
    body[name] = value;
    let shown: String = body[name].to_string().chars().take(60).collect();
    post(format!("{path} {name} = {shown}"), path, body.to_string(), expected)
}

/// The member once more, behind all the others.
fn twice(world: &World, path: &str, name: &str, value: &Value) -> Row {
    let mut body = good(world, path);
    body[name] = value.clone();
    let text = body.to_string();
    let text = format!(r#"{},"{name}":{value}}}"#, &text[..text.len() - 1]);
    post(format!("{path} {name} twice"), path, text, Expected::INVALID_REQUEST)
}

fn registrations(world: &World) -> Vec<Row> {
    let many = |count: usize, text: &str| (0..count).map(|n| format!("{text}{n}")).collect::<Vec<_>>();
    let loopback = "http://127.0.0.1/";
    let wrong = [
        ("clientName", json!("x".repeat(257)), METADATA),
        ("clientName", json!("ä".repeat(257)), METADATA),
        ("clientName", json!("   "), METADATA),
        ("clientName", json!("x\0"), METADATA),
        ("clientName", json!("x\r\nSet-Cookie: y"), METADATA),
        ("clientName", json!("x\u{7f}"), METADATA),
        ("clientType", json!("confidential"), METADATA),
        ("clientType", json!(MARKER), METADATA),
        ("grantTypes", json!(["password"]), GRANT_TYPE),
        ("grantTypes", json!(["implicit", DEVICE_GRANT]), GRANT_TYPE),
        ("grantTypes", json!(["REFRESH_TOKEN"]), GRANT_TYPE),
        ("grantTypes", json!([""]), GRANT_TYPE),
        ("grantTypes", json!([MARKER]), GRANT_TYPE),
        ("grantTypes", json!(["authorization_code"]), SCOPE),
        ("scopes", json!(["a\"b"]), SCOPE),
        ("scopes", json!(["a\\b"]), SCOPE),
        ("scopes", json!(["a\tb"]), SCOPE),
        ("scopes", json!(["ä"]), SCOPE),
        ("scopes", json!(["x".repeat(129)]), SCOPE),
        ("scopes", json!(many(65, "s")), SCOPE),
        ("scopes", json!([many(65, "s").join(" ")]), SCOPE),
        ("redirectUris", json!(["http://evil.example/cb"]), REDIRECT_URI),
        ("redirectUris", json!(["javascript:alert(1)"]), REDIRECT_URI),
        ("redirectUris", json!(["data:text/html,x"]), REDIRECT_URI),
        ("redirectUris", json!(["/oauth/callback"]), REDIRECT_URI),
        ("redirectUris", json!([""]), REDIRECT_URI),
        ("redirectUris", json!(["http://127.0.0.1/x#fragment"]), REDIRECT_URI),
        ("redirectUris", json!(["http://127.0.0.1@evil.example/"]), REDIRECT_URI),
        ("redirectUris", json!(["http://127.0.0.1.evil.example/"]), REDIRECT_URI),
        ("redirectUris", json!(["http://127.0.0.1/\r\nx: y"]), REDIRECT_URI),
        ("redirectUris", json!(["http://127.0.0.1/ä"]), REDIRECT_URI),
        ("redirectUris", json!([format!("{loopback}{}", "x".repeat(512))]), REDIRECT_URI),
        ("redirectUris", json!([loopback, format!("http://{MARKER}/")]), REDIRECT_URI),
        ("redirectUris", json!(many(11, loopback)), REDIRECT_URI),
    ];
    wrong
        .into_iter()
        .map(|(name, value, expected)| with(world, "/client/register", name, value, expected))
        .collect()
}

fn token_requests(world: &World) -> Vec<Row> {
    let client = &world.client;
    let code = |edit: (&str, Value), expected| {
        let mut body = json!({
            "clientId": client.id, "clientSecret": client.secret, "grantType": "authorization_code",
            "code": world.code, "redirectUri": doorward_testkit::REDIRECT_URI,
            "codeVerifier": doorward_testkit::Pkce::VERIFIER,
        });
        body[edit.0] = edit.1;
        let shown: String = body[edit.0].to_string().chars().take(60).collect();
        post(format!("/token code with {} = {shown}", edit.0), "/token", body.to_string(), expected)
    };
    let long = "x".repeat(20_000);
    let mut rows = vec![
        code(("code", json!(null)), Expected::INVALID_REQUEST),
        code(("redirectUri", json!(null)), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!(null)), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!("")), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!(MARKER)), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!("x".repeat(42))), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!("x".repeat(129))), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!(format!("{}+", "x".repeat(50)))), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!(format!("{}\0", "x".repeat(50)))), Expected::INVALID_REQUEST),
        code(("codeVerifier", json!("x".repeat(43))), Expected::INVALID_GRANT),
        code(("redirectUri", json!(format!("http://{MARKER}/"))), Expected::INVALID_GRANT),
        code(("redirectUri", json!(long)), Expected::INVALID_GRANT),
        code(("code", json!(long)), Expected::INVALID_GRANT),
        code(("scope", json!(["not:registered"])), SCOPE),
        code(("scope", json!(["a\"b"])), SCOPE),
        code(("scope", json!(["x".repeat(129)])), SCOPE),
    ];
    let token = |name: &str, value: Value, expected| with(world, "/token", name, value, expected);
    rows.extend([
        token("grantType", json!(MARKER), GRANT_TYPE),
        token("grantType", json!("password"), GRANT_TYPE),
        token("grantType", json!("client_credentials"), GRANT_TYPE),
        token("grantType", json!("urn:ietf:params:oauth:grant-type:token-exchange"), GRANT_TYPE),
        token("grantType", json!("urn:ietf:params:oauth:grant-type:device-code"), GRANT_TYPE),
        token("grantType", json!("refresh_token "), GRANT_TYPE),
        token("grantType", json!("Refresh_Token"), GRANT_TYPE),
        token("grantType", json!(""), Expected::INVALID_REQUEST),
        token("refreshToken", json!(""), Expected::INVALID_REQUEST),
        token("refreshToken", json!(long), Expected::INVALID_GRANT),
        token("refreshToken", json!("\0"), Expected::INVALID_GRANT),
        token("clientId", json!(long), Expected::INVALID_CLIENT),
        token("clientSecret", json!(long), Expected::INVALID_CLIENT),
        with(world, "/device_authorization", "clientId", json!(long), Expected::INVALID_CLIENT),
        with(world, "/device_authorization", "startUrl", json!(long), Expected::INVALID_REQUEST),
        with(world, "/device_authorization", "startUrl", json!(MARKER), Expected::INVALID_REQUEST),
        with(world, "/device_authorization", "startUrl", json!("http://[::1"), Expected::INVALID_REQUEST),
        with(world, "/device_authorization", "startUrl", json!("\0"), Expected::INVALID_REQUEST),
    ]);
    rows
}
