//! Tokens, codes and secrets: cut, changed, swapped, of another server, or of another client.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::world::{Expected, MARKER, PORTAL, Row, World, portal, post};

pub(crate) fn rows(world: &World) -> Vec<Row> {
    let mut rows = portal_tokens(world);
    rows.extend(artefacts(world));
    rows.extend(clients(world));
    rows
}

/// What is near to a good value, but is not it.
fn near(good: &str) -> Vec<String> {
    let (last, middle) = (good.len() - 1, good.len() / 2);
    let changed = |at: usize| {
        let other = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
        format!("{}{other}{}", &good[..at], &good[at + 1..])
    };
    let prefix = if good.starts_with("dwa_") || good.starts_with("dwr_") { 4 } else { 0 };
    vec![
        good[..last].to_owned(),
        good[..middle].to_owned(),
        good[..=prefix].to_owned(),
        good[prefix + 1..].to_owned(),
        format!("{good}A"),
        format!("{good}="),
        format!("{good}{good}"),
        changed(prefix),
        changed(prefix + 1),
        changed(middle),
        changed(last - 1),
        good.to_lowercase(),
        good.chars().rev().collect(),
        format!(" {good}x"),
        format!("\"{good}\""),
        format!("Bearer {good}"),
    ]
}

/// A JWT that says everything, signed by nobody.
fn unsigned_jwt() -> String {
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let claims = json!({"sub": "ada", "scope": "sso:account:access", "exp": 4_000_000_000_u32});
    format!("{}.{}.", part(json!({"alg": "none"})), part(claims))
}

fn portal_tokens(world: &World) -> Vec<Row> {
    let tokens = &world.tokens;
    let mut wrong = near(&tokens.access);
    wrong.extend([
        String::new(),
        MARKER.to_owned(),
        "null".to_owned(),
        "dwa_".to_owned(),
        "x".repeat(4097),
        tokens.refresh().to_owned(),
        tokens.refresh().replace("dwr_", "dwa_"),
        world.device_code.clone(),
        format!("dwa_{}", world.device_code),
        format!("dwa_{}", world.code),
        format!("dwa_{}", world.client.id),
        format!("dwa_{}", world.client.secret),
        format!("dwa_{}", world.cookie),
        format!("dwa_{}", world.page),
        world.expired.clone(),
        world.foreign.access.clone(),
        unsigned_jwt(),
    ]);
    let mut rows = Vec::new();
    for (method, target) in &PORTAL {
        for token in &wrong {
            rows.push(portal(method, target, token.as_bytes(), Expected::UNAUTHORIZED));
        }
        rows.push(portal(method, target, b"\xff\xfe", Expected::UNAUTHORIZED));
        // The good token, but twice, or under both of its names.
        for name in ["x-amz-sso_bearer_token", "x-amz-sso-bearer-token"] {
            let mut row = portal(method, target, tokens.access.as_bytes(), Expected::UNAUTHORIZED);
            let value = tokens.access.parse().expect("a header");
            row.request.headers_mut().append(name, value);
            row.name = format!("{method} {target} with {name} beside the good token");
            rows.push(row);
        }
        // The good token where it does not belong.
        for (name, value) in [
            ("authorization", format!("Bearer {}", tokens.access)),
            ("cookie", format!("x={}", tokens.access)),
        ] {
            let mut row = portal(method, target, b"", Expected::UNAUTHORIZED);
            row.request.headers_mut().remove("x-amz-sso_bearer_token");
            row.request.headers_mut().insert(name, value.parse().expect("a header"));
            row.name = format!("{method} {target} with the good token in {name}");
            rows.push(row);
        }
    }
    rows
}

/// Each grant with every artefact but its own.
fn artefacts(world: &World) -> Vec<Row> {
    let all = [
        ("an access token", world.tokens.access.clone()),
        ("a refresh token", world.tokens.refresh().to_owned()),
        ("a device code", world.device_code.clone()),
        ("an authorization code", world.code.clone()),
        ("a client id", world.client.id.clone()),
        ("a client secret", world.client.secret.clone()),
        ("a cookie", world.cookie.clone()),
        ("a page token", world.page.clone()),
        ("another server's refresh token", world.foreign.refresh().to_owned()),
        ("a JWT", unsigned_jwt()),
        ("text", MARKER.to_owned()),
    ];
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let mut rows = Vec::new();
    for (grant, member, good) in [
        ("refresh_token", "refreshToken", world.tokens.refresh()),
        (device, "deviceCode", world.device_code.as_str()),
        ("authorization_code", "code", world.code.as_str()),
    ] {
        let row = |name: &str, client: &doorward_testkit::Client, value: &str| {
            let mut body = json!({
                "clientId": client.id, "clientSecret": client.secret, "grantType": grant,
                "redirectUri": doorward_testkit::REDIRECT_URI, "codeVerifier": doorward_testkit::Pkce::VERIFIER,
            });
            body[member] = value.into();
            post(format!("{member} is {name}"), "/token", body.to_string(), Expected::INVALID_GRANT)
        };
        for (name, value) in &all {
            if value != good {
                rows.push(row(name, &world.client, value));
                rows.push(row(&format!("{name} behind the prefix"), &world.client, &format!("dwr_{value}")));
            }
        }
        for value in near(good) {
            rows.push(row(&value, &world.client, &value));
        }
        rows.push(row("another client's", &world.other, good));
    }
    rows
}

/// Clients that are nearly registered.
fn clients(world: &World) -> Vec<Row> {
    let good = &world.client;
    let mut pairs: Vec<(String, String)> = Vec::new();
    pairs.extend(near(&good.id).into_iter().map(|id| (id, good.secret.clone())));
    pairs.extend(near(&good.secret).into_iter().map(|secret| (good.id.clone(), secret)));
    pairs.extend([
        (good.id.clone(), world.other.secret.clone()),
        (world.other.id.clone(), good.secret.clone()),
        (good.secret.clone(), good.id.clone()),
        (good.id.clone(), good.id.clone()),
        (world.code.clone(), good.secret.clone()),
        (world.page.clone(), good.secret.clone()),
        (good.id.clone(), MARKER.to_owned()),
        (MARKER.to_owned(), MARKER.to_owned()),
        ("\u{1F600}".to_owned(), "\u{1F600}".to_owned()),
    ]);
    let mut rows = Vec::new();
    for (id, secret) in pairs {
        let body = json!({
            "clientId": id, "clientSecret": secret, "startUrl": world.kit.start_url(),
            "grantType": "refresh_token", "refreshToken": world.tokens.refresh(),
        });
        for path in ["/token", "/device_authorization"] {
            let name = format!("{path} as {id} with {secret}");
            rows.push(post(name, path, body.to_string(), Expected::INVALID_CLIENT));
        }
    }
    rows
}
