//! Recorded requests and answers in `testdata/wire`, one folder for each operation.
//!
//! A request has places for what a server draws (`${clientId}`); in an answer such values are masked (`<clientId>`).
//! Everything else, times included, is compared to the letter. What a request needs beforehand follows from its name.
//!
//! To record anew, after adding a request or changing an answer on purpose:
//! `DOORWARD_RECORD=1 cargo nextest run -p doorward-conformance --test recorded`

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use doorward_testkit::{Answer, Choice, Ending, Kit, Pkce, REDIRECT_URI, chunked};
use doorward_wire::model::OPERATIONS;
use http::Request;

/// What these operations model but this server never answers.
const NEVER: [(&str, &str); 8] = [
    // Nothing is stored.
    ("RegisterClient", "InternalServerException"),
    // What is not there is not assigned, and that is what the caller hears.
    ("GetRoleCredentials", "ResourceNotFoundException"),
    ("ListAccounts", "ResourceNotFoundException"),
    ("ListAccountRoles", "ResourceNotFoundException"),
    ("Logout", "ResourceNotFoundException"),
    // The list is of what is assigned, so it can be empty but not forbidden.
    ("ListAccounts", "ForbiddenException"),
    // It has no parameters, belongs to everybody, and is not limited.
    ("Logout", "ForbiddenException"),
    ("Logout", "InvalidRequestException"),
];
/// Its requests are signed: `sdk/iam.rs` has the real SDK make them anew.
const SIGNED: &str = "CreateTokenWithIAM";
/// As above.
const NEVER_LIMITED: (&str, &str) = ("Logout", "TooManyRequestsException");

/// Members whose values are drawn.
const MASKED: [&str; 10] = [
    "clientId",
    "clientSecret",
    "deviceCode",
    "userCode",
    "accessToken",
    "refreshToken",
    "nextToken",
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
];
/// Headers that matter, in the order in which they are written.
const HEADERS: [&str; 6] =
    ["content-type", "cache-control", "x-amzn-errortype", "x-amzn-requestid", "requestid", "location"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/wire")
}

/// Operation, name and file of every recorded request.
fn recorded() -> Vec<(String, String, PathBuf)> {
    let mut found = Vec::new();
    for operation in fs::read_dir(folder()).expect("testdata/wire") {
        let operation = operation.expect("a folder").path();
        for file in fs::read_dir(&operation).expect("a folder of recordings") {
            let file = file.expect("a file").path();
            let text = |part: Option<&std::ffi::OsStr>| {
                part.and_then(std::ffi::OsStr::to_str).expect("a name in UTF-8").to_owned()
            };
            if file.extension().is_some_and(|extension| extension == "request") {
                found.push((text(operation.file_name()), text(file.file_stem()), file));
            }
        }
    }
    found.sort();
    found
}

/// A server, and what a request may name.
struct World {
    kit: Kit,
    values: BTreeMap<&'static str, String>,
}

impl World {
    async fn new() -> Self {
        let kit = Kit::with(|setup| {
            setup.rate_limits = true;
            setup.poll_interval = 5;
        })
        .await;
        let (client, browser_client) = (kit.device_client().await, kit.pkce_client().await);
        let expired = kit.start_device(&client).await;
        kit.advance(600);
        let mut browser = kit.browser().signed_in("ada").await;
        let (pending, denied) = (kit.start_device(&client).await, kit.start_device(&client).await);
        browser.decide_device(&denied.user_code, Choice::Deny).await.ok();
        let approved = kit.start_device(&client).await;
        browser.decide_device(&approved.user_code, Choice::Approve).await.ok();
        let used = kit.start_device(&client).await;
        browser.decide_device(&used.user_code, Choice::Approve).await.ok();
        let tokens = doorward_testkit::Tokens::of(kit.poll(&client, &used.code).await);
        let sent = browser.decide_authorize(&kit.authorize_target(&browser_client), Choice::Approve).await;
        let values = BTreeMap::from([
            ("startUrl", kit.start_url()),
            ("clientId", client.id.clone()),
            ("clientSecret", client.secret.clone()),
            ("browserClientId", browser_client.id.clone()),
            ("browserClientSecret", browser_client.secret.clone()),
            ("expiredDeviceCode", expired.code),
            ("pendingDeviceCode", pending.code),
            ("deniedDeviceCode", denied.code),
            ("approvedDeviceCode", approved.code),
            ("usedDeviceCode", used.code),
            ("accessToken", tokens.access.clone()),
            ("refreshToken", tokens.refresh().to_owned()),
            ("code", sent.location_parameter("code").expect("a code")),
            ("redirectUri", REDIRECT_URI.to_owned()),
            ("codeVerifier", Pkce::VERIFIER.to_owned()),
            ("codeChallenge", Pkce::CHALLENGE.to_owned()),
            ("tooLong", " ".repeat(70_000)),
        ]);
        Self { kit, values }
    }

    /// Brings about what the request's name says.
    async fn prepare(&self, name: &str, request: &str) {
        match name {
            "slow_down" | "too_many_requests" => {
                for _ in 0..1100 {
                    let answer = self.kit.send(self.request(name, request)).await;
                    if matches!(answer.exception(), "SlowDownException" | "TooManyRequestsException") {
                        break;
                    }
                }
            }
            "internal_server_error" => self.kit.store().fail(true, true),
            "timed_out" => self.kit.store().hang(),
            _ => {}
        }
    }

    fn request(&self, name: &str, text: &str) -> Request<Body> {
        let mut text = text.to_owned();
        for (value, filled) in &self.values {
            text = text.replace(&format!("${{{value}}}"), filled);
        }
        assert!(!text.contains("${"), "{name} names what there is not: {text}");
        let (head, body) = text.split_once("\n\n").expect("a head");
        let mut lines = head.lines();
        let (method, target) = lines.next().and_then(|line| line.split_once(' ')).expect("a request line");
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        let body = match name {
            "incomplete" => chunked([Bytes::from_static(b"{")], Ending::Never),
            _ => Body::from(body.trim_end_matches('\n').to_owned()),
        };
        request.body(body).expect("a request")
    }
}

/// An answer as it is recorded.
fn written(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status.as_u16());
    for name in HEADERS.into_iter().filter(|name| answer.headers.contains_key(*name)) {
        let value = if name.ends_with("requestid") { "<uuid>" } else { answer.header(name) };
        text.extend([name, ": ", value, "\n"]);
    }
    text.extend(["\n", answer.text(), "\n"]);
    if let Ok(body) = serde_json::from_slice(&answer.body) {
        mask(&body, &mut text);
    }
    text
}

/// Masks in `text` what is drawn among the members of `body`.
fn mask(body: &serde_json::Value, text: &mut String) {
    match body {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(drawn) if MASKED.contains(&name.as_str()) => {
                        *text = text.replace(drawn, &format!("<{name}>"));
                    }
                    _ => mask(value, text),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| mask(item, text)),
        _ => {}
    }
}

/// Tokio's clock stands, and jumps when nothing else is left to do: two of the recordings wait.
#[tokio::test(start_paused = true)]
async fn every_recorded_request_is_answered_as_recorded() {
    let record = std::env::var_os("DOORWARD_RECORD").is_some();
    let mut problems = Vec::new();
    for (operation, name, file) in recorded() {
        let world = World::new().await;
        let request = fs::read_to_string(&file).unwrap();
        world.prepare(&name, &request).await;
        let got = written(&world.kit.send(world.request(&name, &request)).await);
        let file = file.with_extension("response");
        if record {
            fs::write(&file, &got).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if got != expected {
            problems.push(format!("{operation}/{name}\n--- recorded\n{expected}--- answered\n{got}"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_exception_of_every_operation_is_recorded() {
    let mut seen = BTreeSet::new();
    for (operation, _, file) in recorded() {
        let answer = fs::read_to_string(file.with_extension("response")).unwrap();
        let exception = answer.lines().find_map(|line| line.strip_prefix("x-amzn-errortype: "));
        seen.insert((operation, exception.unwrap_or("none").to_owned()));
    }
    for operation in OPERATIONS.iter().filter(|operation| operation.name != SIGNED) {
        for exception in operation.exceptions.iter().chain(&["none"]) {
            let this = (operation.name, *exception);
            let never = NEVER.contains(&this) || this == NEVER_LIMITED;
            let recorded = seen.contains(&(operation.name.to_owned(), (*exception).to_owned()));
            assert_eq!(recorded, !never, "{} {exception}", operation.name);
        }
    }
}

#[test]
fn no_recording_holds_a_secret() {
    for (operation, name, file) in recorded() {
        let answer = fs::read_to_string(file.with_extension("response")).unwrap();
        for token in answer.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-') {
            assert!(token.len() < 40, "{operation}/{name} holds {token}");
        }
    }
}
