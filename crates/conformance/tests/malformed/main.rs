//! A table of malformed requests over all API routes. Each row says which answer is expected; all of them share what
//! [`check`] asks of any answer, and together they must change nothing.

mod artefacts;
mod bodies;
mod members;
mod queries;
mod routes;
mod world;

use doorward_testkit::{Answer, Tokens};
use world::{Expected, Row, World};

/// How many rows there are: a test that loses some on the way would be no test.
const ROWS: usize = 1005;

// Holds: ledger-32
#[tokio::test]
async fn every_malformed_request_is_answered_as_the_table_says() {
    let world = World::new().await;
    let mut rows = Vec::new();
    rows.extend(bodies::rows());
    rows.extend(members::rows(&world));
    rows.extend(artefacts::rows(&world));
    rows.extend(queries::rows(&world));
    rows.extend(routes::rows());
    assert_eq!(rows.len(), ROWS);

    let commits = world.kit.store().commits();
    let mut problems = Vec::new();
    for Row { name, request, expected } in rows {
        let answer = world.kit.send(request).await;
        if let Err(problem) = check(&world, &answer, &expected) {
            problems.push(format!("{name}: {problem}"));
        }
    }
    assert!(problems.is_empty(), "{} rows:\n{}", problems.len(), problems.join("\n"));

    assert_eq!(world.kit.store().commits(), commits, "a malformed request wrote something");
    world.kit.list_accounts(&world.tokens.access).await.ok();
    Tokens::of(world.kit.refresh(&world.client, world.tokens.refresh()).await);
    Tokens::of(world.kit.poll(&world.client, &world.device_code).await);
    Tokens::of(world.kit.redeem(&world.client, &world.code).await);
}

/// Apart from the table, for it is the one path whose parameter is decoded before any handler of ours runs.
#[tokio::test]
async fn an_asset_whose_name_is_no_utf_8_is_not_found() {
    let world = World::new().await;
    let request = http::Request::get("/assets/%FF").body(axum::body::Body::empty()).unwrap();
    let answer = world.kit.send(request).await;
    assert_eq!(check(&world, &answer, &Expected::Oidc(404, "InvalidRequestException")), Ok(()));
}

/// What is wrong with an answer.
fn check(world: &World, answer: &Answer, expected: &Expected) -> Result<(), String> {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let wrong = |what: &str| Err(format!("{what}: {} {} {body}", answer.status, answer.exception()));
    let (status, exception) = expected.status_and_exception();
    if answer.status != status || answer.exception() != exception {
        return wrong(&format!("not {status} {exception}"));
    }
    if answer.header("x-amzn-requestid").len() != 36 || answer.header("x-content-type-options") != "nosniff" {
        return wrong("incomplete headers");
    }
    let repeated = |text: &str| world.secrets.iter().any(|secret| text.contains(secret.as_str()));
    if repeated(&body)
        || answer.headers.values().any(|value| repeated(&String::from_utf8_lossy(value.as_bytes())))
    {
        return wrong("repeats a secret");
    }
    if answer.header("content-type") != "application/json" || answer.header("cache-control") != "no-store" {
        return wrong("not JSON, or it may be cached");
    }
    let expected_members = match expected {
        Expected::Head(..) if answer.body.is_empty() => return Ok(()),
        Expected::Head(..) => return wrong("an answer to HEAD with a body"),
        Expected::Oidc(_, exception) => {
            vec![("error", error_of(exception)), ("error_description", String::new())]
        }
        Expected::Signature(..) => vec![("message", String::new())],
        Expected::Portal(_, exception) => {
            let kind = format!("com.amazonaws.switchboard.portal#{exception}");
            vec![("__type", kind), ("message", String::new())]
        }
    };
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(&body) else {
        return wrong("not a JSON object");
    };
    for (name, value) in &expected_members {
        match members.get(*name).and_then(serde_json::Value::as_str) {
            Some(text) if !text.is_empty() && (value.is_empty() || text == value) => {}
            _ => return wrong(&format!("{name} is wrong")),
        }
    }
    if members.len() == expected_members.len() { Ok(()) } else { wrong("more members than that") }
}

/// `invalid_request` for `InvalidRequestException`.
fn error_of(exception: &str) -> String {
    let mut error = String::new();
    for letter in exception.trim_end_matches("Exception").chars() {
        if letter.is_ascii_uppercase() && !error.is_empty() {
            error.push('_');
        }
        error.push(letter.to_ascii_lowercase());
    }
    error
}
