//! Protocol and operation: T62 to T66, T71, T72.

use std::collections::BTreeSet;

use axum::body::Body;
use bytes::Bytes;
use doorward_testkit::{Answer, Choice, Ending, Kit, Tokens, WatchedStore, capture_logs, chunked};
use http::{Method, Request};
use serde_json::{Value, json};

const API_ROUTES: [(&str, &str); 7] = [
    ("POST", "/client/register"),
    ("POST", "/device_authorization"),
    ("POST", "/token"),
    ("GET", "/federation/credentials"),
    ("GET", "/assignment/accounts"),
    ("GET", "/assignment/roles"),
    ("POST", "/logout"),
];

#[track_caller]
fn assert_json_error(answer: &Answer) {
    assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{}", answer.status);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(!answer.exception().is_empty());
    assert!(answer.json().is_object());
}

/// One request for each status that an error can have, for each route. They ask for HTML, and must not get it.
// Holds: rfc6749-3.2-post
#[tokio::test]
async fn t62_every_error_of_every_api_route_is_json() {
    let kit = Kit::new().await;
    let mut seen = BTreeSet::new();
    for (right, path) in API_ROUTES {
        for method in ["GET", "POST", "PUT", "TRACE", "OPTIONS", "BREW"] {
            // Scripts of applications ask these two before they post a form.
            if method == "OPTIONS" && ["/device_authorization", "/token"].contains(&path) {
                continue;
            }
            let request = Request::builder().method(method).uri(path).header("accept", "text/html");
            let answer = kit.send(request.body(Body::from("{")).unwrap()).await;
            assert_json_error(&answer);
            assert_eq!(answer.status == 405, method != right, "{method} {path}");
            seen.insert(answer.status.as_u16());
        }
        let unknown = Request::get(format!("{path}/x")).body(Body::empty()).unwrap();
        let answer = kit.send(unknown).await;
        assert_json_error(&answer);
        seen.insert(answer.status.as_u16());
    }
    for path in ["/client/register", "/device_authorization", "/token"] {
        for (kind, body) in [("text/plain", "{}".to_owned()), ("application/json", "x".repeat(70_000))] {
            let request = Request::post(path).header("accept", "text/html").header("content-type", kind);
            let answer = kit.send(request.body(Body::from(body)).unwrap()).await;
            assert_json_error(&answer);
            seen.insert(answer.status.as_u16());
        }
    }
    assert_eq!(seen, BTreeSet::from([400, 401, 404, 405, 413, 415]));
}

#[tokio::test]
async fn t62_an_outage_is_500_in_json_and_says_nothing() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    let device = kit.start_device(&client).await;
    kit.store().fail(true, true);
    for answer in [
        kit.try_start_device(&client, &kit.start_url()).await,
        kit.refresh(&client, tokens.refresh()).await,
        kit.poll(&client, &device.code).await,
    ] {
        answer.assert_oidc_error(500, "InternalServerException", "server_error");
        assert_eq!(answer.member("error_description"), "Internal server error");
    }
    for answer in [kit.list_accounts(&tokens.access).await, kit.logout(&tokens.access).await] {
        let message = answer.assert_portal_error(500, "InternalServerException");
        assert_eq!(message, "Internal server error");
    }
    let health = kit.send(Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!((health.status.as_u16(), health.json()), (503, json!({"status": "store unavailable"})));
    kit.store().fail(false, false);
    let health = kit.send(Request::get("/healthz").body(Body::empty()).unwrap()).await;
    assert_eq!((health.status.as_u16(), health.json()), (200, json!({"status": "ok"})));
}

/// A client that sends half a request must not hold a handler for ever. Tokio's clock jumps ahead by itself.
#[tokio::test(start_paused = true)]
async fn t62_a_body_that_never_ends_is_answered() {
    let kit = Kit::new().await;
    for path in ["/client/register", "/device_authorization", "/token"] {
        let answer = kit.post_bytes(path, chunked([Bytes::from_static(b"{")], Ending::Never)).await;
        answer.assert_oidc_error(400, "InvalidRequestException", "invalid_request");
    }
}

type Trouble = fn(&WatchedStore);

/// What can go wrong with a handler, and the status that follows.
const TROUBLES: [(u16, Trouble); 2] = [(503, WatchedStore::hang), (500, WatchedStore::panic)];

/// A handler that never ends is ended, and one that panics is answered: with the same headers as everything else.
#[tokio::test(start_paused = true)]
async fn t62_a_handler_that_hangs_or_panics_is_answered() {
    for (status, trouble) in TROUBLES {
        let kit = Kit::new().await;
        let client = kit.device_client().await;
        let tokens = kit.device_tokens(&client, "ada").await;
        trouble(kit.store());
        let answer = kit.refresh(&client, tokens.refresh()).await;
        answer.assert_oidc_error(status, "InternalServerException", "server_error");
        assert!(is_uuid(answer.header("x-amzn-requestid")));
        assert_not_cached(&answer);
    }
}

/// The same for the portal, whose errors have members of their own.
#[tokio::test(start_paused = true)]
async fn t62_a_portal_handler_that_hangs_or_panics_is_answered_as_the_portal() {
    for (status, trouble) in TROUBLES {
        let kit = Kit::new().await;
        let client = kit.device_client().await;
        let tokens = kit.device_tokens(&client, "ada").await;
        trouble(kit.store());
        let answer = kit.list_accounts(&tokens.access).await;
        answer.assert_portal_error(status, "InternalServerException");
        assert!(is_uuid(answer.header("requestid")));
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            14 => byte == b'4',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[tokio::test]
async fn t63_every_answer_has_an_id_of_its_own() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    let mut answers = vec![
        kit.list_accounts(&tokens.access).await,
        kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await,
        kit.role_credentials(&tokens.access, "1", "x").await,
        kit.refresh(&client, "x").await,
        kit.logout("x").await,
    ];
    for path in [
        "/",
        "/start",
        "/sign-in",
        "/no/such/path",
        "/assets/doorward.css",
        "/healthz",
        "/token",
        "/authorize",
    ] {
        for _ in 0..2 {
            answers.push(kit.send(Request::get(path).body(Body::empty()).unwrap()).await);
        }
    }
    let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.header("x-amzn-requestid")).collect();
    assert_eq!(ids.len(), answers.len());
    assert!(ids.iter().all(|id| is_uuid(id)), "{ids:?}");
    for portal in &answers[..3] {
        assert_eq!(portal.header("requestid"), portal.header("x-amzn-requestid"));
    }
    // Whatever a caller calls its request, the id is ours.
    let request = Request::get("/healthz").header("x-amzn-requestid", "00000000-0000-4000-8000-000000000000");
    let answer = kit.send(request.body(Body::empty()).unwrap()).await;
    assert_ne!(answer.header("x-amzn-requestid"), "00000000-0000-4000-8000-000000000000");
}

#[track_caller]
fn assert_not_cached(answer: &Answer) {
    assert!(matches!(answer.header("cache-control"), "no-store" | "no-cache"), "{:?}", answer.headers);
}

// Holds: openid-connect-core-3.1.3.3-no-store
#[tokio::test]
async fn t64_nothing_that_has_a_secret_may_be_cached() {
    let kit = Kit::new().await;
    let body = json!({"clientName": "x", "clientType": "public", "scopes": ["sso:account:access"]});
    assert_not_cached(&kit.post("/client/register", &body).await.ok());
    let client = kit.device_client().await;
    assert_not_cached(&kit.try_start_device(&client, &kit.start_url()).await.ok());
    let device = kit.approved_device(&client, "ada").await;
    let answer = kit.poll(&client, &device.code).await.ok();
    assert_not_cached(&answer);
    assert_not_cached(&kit.poll(&client, &device.code).await);
    let tokens = Tokens::of(answer);
    assert_not_cached(&kit.list_accounts(&tokens.access).await.ok());
    let answer = kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await;
    assert_not_cached(&answer.ok());
    let mut browser = kit.browser().signed_in("ada").await;
    for page in
        ["/start", "/start/credentials?account_id=111122223333&role_name=AdministratorAccess", "/device"]
    {
        assert_not_cached(&browser.get(page).await.ok());
    }
    let client = kit.pkce_client().await;
    let sent = browser.decide_authorize(&kit.authorize_target(&client), Choice::Approve).await;
    assert_not_cached(&sent);
}

/// Everything that happens in both flows, with everything logged that the server can log.
// Holds: openid-connect-core-16.4-token-disclosure, rfc9700-4.3.2-no-token-in-query
// Holds: rfc9700-4.9.2-tokens-not-stored
#[tokio::test]
async fn t64_no_secret_is_logged_or_redirected() {
    let (logs, _guard) = capture_logs();
    let kit = Kit::new().await;
    let mut secrets = vec!["analytical-engine".to_owned()];

    let client = kit.device_client().await;
    let device = kit.approved_device(&client, "ada").await;
    let tokens = Tokens::of(kit.poll(&client, &device.code).await);
    let next = Tokens::of(kit.refresh(&client, tokens.refresh()).await);
    let credentials =
        kit.role_credentials(&next.access, "111122223333", "AdministratorAccess").await.ok().json();
    let credentials = &credentials["roleCredentials"];
    let text = |name: &str| credentials[name].as_str().unwrap().to_owned();
    secrets.extend([client.secret.clone(), device.code.clone(), device.user_code.clone()]);
    secrets.extend([tokens.access.clone(), tokens.refresh().to_owned(), next.access.clone()]);
    secrets.extend([next.refresh().to_owned(), text("secretAccessKey"), text("sessionToken")]);

    let pkce = kit.pkce_client().await;
    let mut browser = kit.browser().signed_in("ada").await;
    let target = kit.authorize_target(&pkce);
    let away = kit.browser().get(&target).await;
    let sent = browser.decide_authorize(&target, Choice::Approve).await;
    let code = sent.location_parameter("code").unwrap();
    let granted = Tokens::of(kit.redeem(&pkce, &code).await);
    let _ = kit.redeem(&pkce, &code).await;
    secrets.extend([code.clone(), pkce.secret.clone(), granted.access.clone(), granted.refresh().to_owned()]);
    secrets.extend(browser.cookies().values().cloned());
    // What goes wrong is told without its values, too.
    let _ = kit.post("/token", &json!({"clientId": 5, "clientSecret": client.secret})).await;
    let _ = kit.logout(&next.access).await;
    let _ = kit.list_accounts(&next.access).await;
    let _ = kit.browser().try_sign_in("ada", "hunter2hunter2").await;
    let _ = kit.browser().try_sign_in("hunter2hunter2", "x").await;
    secrets.push("hunter2hunter2".to_owned());
    kit.store().fail(true, true);
    let _ = kit.refresh(&pkce, granted.refresh()).await;
    let _ = browser.get(&target).await;

    let logged = logs.text();
    for event in
        ["device_approved", "session_started", "signed_in", "role_credentials", "session_ended", "answered"]
    {
        assert!(logged.contains(event), "{event} is not in the log, so this test proves nothing");
    }
    for secret in &secrets {
        assert!(secret.len() >= 9, "{secret}");
        assert!(!logged.contains(secret.as_str()), "the log holds {secret}");
        assert!(!away.location().contains(secret.as_str()));
    }
    let parameters: Vec<_> = sent.location().split('?').nth(1).unwrap().split('&').collect();
    assert!(matches!(&parameters[..], [code, state, iss]
            if code.starts_with("code=") && state.starts_with("state=") && iss.starts_with("iss=")));
}

#[tokio::test]
async fn t65_an_authorization_header_changes_nothing() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    let signature = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20270110/us-east-1/awsssoportal/aws4_request, \
                     SignedHeaders=host, Signature=00";
    for authorization in [signature, "Bearer x", "Basic eDp5", ""] {
        let request = Request::get("/assignment/accounts").header("authorization", authorization);
        let good = request.header("x-amz-sso_bearer_token", &tokens.access).body(Body::empty()).unwrap();
        kit.send(good).await.ok();
        let request = Request::post("/client/register").header("authorization", authorization);
        let body = r#"{"clientName":"x","clientType":"public"}"#;
        kit.send(request.body(Body::from(body)).unwrap()).await.ok();
    }
    // And it is no way in.
    let request =
        Request::get("/assignment/accounts").header("authorization", format!("Bearer {}", tokens.access));
    let answer = kit.send(request.body(Body::empty()).unwrap()).await;
    answer.assert_portal_error(401, "UnauthorizedException");
}

#[tokio::test]
async fn t66_head_of_the_start_url_has_no_body() {
    let kit = Kit::new().await;
    for path in ["/start", "/start/"] {
        let answer = kit.send(Request::head(path).body(Body::empty()).unwrap()).await;
        assert!(answer.body.is_empty());
        assert!(answer.status.is_success() || answer.status.is_redirection(), "{}", answer.status);
    }
}

#[tokio::test]
async fn t66_in_vanity_mode_head_leads_to_an_aws_name_in_one_hop() {
    let target = "https://local.doorward.awsapps.com/start";
    let kit = Kit::with(|setup| {
        setup.public_url = "https://sso.example.org".to_owned();
        setup.start_url_redirect = Some(target.to_owned());
    })
    .await;
    for path in ["/start", "/start/"] {
        let answer = kit.send(Request::head(path).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (302, target));
        assert!(answer.body.is_empty());
    }
    // A person is not sent away, and the target is a start URL of ours.
    let mut browser = kit.browser();
    let page = browser.get("/start").await;
    assert!(page.location().starts_with("/sign-in"), "{}", page.location());
    let client = kit.device_client().await;
    kit.try_start_device(&client, target).await.ok();
}

fn names(body: &Value) -> Vec<&str> {
    body.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn t71_member_names_are_exactly_as_modelled() {
    let kit = Kit::new().await;
    let body = json!({"clientName": "x", "clientType": "public", "scopes": ["sso:account:access"]});
    let registered = kit.post("/client/register", &body).await.ok().json();
    assert_eq!(
        names(&registered),
        [
            "authorizationEndpoint",
            "clientId",
            "clientIdIssuedAt",
            "clientSecret",
            "clientSecretExpiresAt",
            "tokenEndpoint"
        ]
    );
    let client = kit.device_client().await;
    let started = kit.try_start_device(&client, &kit.start_url()).await.ok().json();
    assert_eq!(
        names(&started),
        ["deviceCode", "expiresIn", "interval", "userCode", "verificationUri", "verificationUriComplete"]
    );
    let device = kit.approved_device(&client, "ada").await;
    let answer = kit.poll(&client, &device.code).await.ok();
    assert_eq!(names(&answer.json()), ["accessToken", "expiresIn", "idToken", "refreshToken", "tokenType"]);
    let tokens = Tokens::of(answer);
    let failed = kit.refresh(&client, "x").await.json();
    assert_eq!(names(&failed), ["error", "error_description"]);
    let listed = kit.list_accounts(&tokens.access).await.ok().json();
    assert_eq!(names(&listed), ["accountList", "nextToken"]);
    let failed = kit.list_accounts("x").await.json();
    assert_eq!(names(&failed), ["__type", "message"]);
    let roles = kit.portal(Method::GET, "/assignment/roles?account_id=111122223333", &tokens.access).await;
    assert_eq!(names(&roles.ok().json()), ["nextToken", "roleList"]);
    let lent = kit.role_credentials(&tokens.access, "111122223333", "AdministratorAccess").await.ok().json();
    assert_eq!(
        names(&lent["roleCredentials"]),
        ["accessKeyId", "expiration", "secretAccessKey", "sessionToken"]
    );
}

#[tokio::test]
async fn t72_the_signed_token_operation_is_not_the_unsigned_one() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    let commits = kit.store().commits();
    let body = json!({
        "clientId": client.id, "clientSecret": client.secret, "grantType": "refresh_token",
        "refreshToken": tokens.refresh(),
    });
    for target in ["/token?aws_iam=t", "/token?aws_iam", "/token?aws_iam=", "/token?x=y&aws%5Fiam=t"] {
        let answer = kit.post(target, &body).await;
        assert!(answer.status.is_client_error(), "{target}: {}", answer.status);
        assert_json_error(&answer);
    }
    assert_eq!(kit.store().commits(), commits);
    kit.post("/token", &body).await.ok();
}
