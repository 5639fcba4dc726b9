//! The portal: T50 to T61.

use axum::body::Body;
use doorward_testkit::{Answer, Kit, large_directory};
use http::{Method, Request};
use serde_json::json;

const ACCOUNT: &str = "111122223333";
const ROLE: &str = "AdministratorAccess";
/// Every portal operation, with parameters that are right for ada.
const OPERATIONS: [(Method, &str); 4] = [
    (Method::GET, "/federation/credentials?role_name=AdministratorAccess&account_id=111122223333"),
    (Method::GET, "/assignment/accounts"),
    (Method::GET, "/assignment/roles?account_id=111122223333"),
    (Method::POST, "/logout"),
];

async fn access_token(kit: &Kit) -> String {
    let client = kit.device_client().await;
    kit.device_tokens(&client, "ada").await.access
}

#[track_caller]
fn assert_unauthorized(answer: &Answer) {
    let message = answer.assert_portal_error(401, "UnauthorizedException");
    assert_eq!(message, "Session token not found or invalid");
}

async fn get(kit: &Kit, target: &str, token: &str) -> Answer {
    kit.portal(Method::GET, target, token).await
}

#[tokio::test]
async fn t50_role_credentials_have_four_members_and_expire_in_milliseconds() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    for target in [
        format!("/federation/credentials?role_name={ROLE}&account_id={ACCOUNT}"),
        format!("/federation/credentials?account_id={ACCOUNT}&role_name={ROLE}"),
    ] {
        let body = get(&kit, &target, &token).await.ok().json();
        assert_eq!(body.as_object().unwrap().len(), 1);
        let credentials = body["roleCredentials"].as_object().unwrap();
        assert_eq!(credentials.len(), 4);
        for name in ["accessKeyId", "secretAccessKey", "sessionToken"] {
            assert!(credentials[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
        assert_eq!(credentials["expiration"], kit.now().millis() + 3_600_000);
    }
}

#[tokio::test]
async fn t51_the_token_header_may_have_hyphens_and_any_case() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    for name in ["x-amz-sso_bearer_token", "x-amz-sso-bearer-token", "X-Amz-SSO_Bearer_Token"] {
        let request = Request::get("/assignment/accounts").header(name, &token).body(Body::empty());
        kit.send(request.unwrap()).await.ok();
    }
}

#[tokio::test]
async fn t52_without_a_good_token_everything_is_unauthorized() {
    let kit = Kit::new().await;
    let (token, expired) = (access_token(&kit).await, access_token(&kit).await);
    kit.logout(&token).await.ok();
    for (method, target) in OPERATIONS {
        let request = Request::builder().method(&method).uri(target).body(Body::empty());
        assert_unauthorized(&kit.send(request.unwrap()).await);
        for bad in ["x", "", &token, "dwa_", "null"] {
            assert_unauthorized(&kit.portal(method.clone(), target, bad).await);
        }
    }
    kit.advance(3600);
    for (method, target) in OPERATIONS {
        assert_unauthorized(&kit.portal(method, target, &expired).await);
    }
}

#[tokio::test]
async fn t53_a_role_that_is_not_assigned_is_forbidden() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let linus = kit.device_tokens(&client, "linus").await.access;
    for (account, role) in [
        // Assigned to others; assigned elsewhere; there are no such things.
        (ACCOUNT, ROLE),
        (ACCOUNT, "DeveloperAccess"),
        ("222233334444", ROLE),
        ("999999999999", "DeveloperAccess"),
        ("222233334444", "NoSuchRole"),
        ("222233334444", "developeraccess"),
        ("222233334444", "Developer Access"),
        ("222233334444", "../DeveloperAccess"),
    ] {
        let answer = kit.role_credentials(&linus, account, role).await;
        assert_eq!(answer.assert_portal_error(403, "ForbiddenException"), "No access", "{account} {role}");
    }
    let answer = get(&kit, &format!("/assignment/roles?account_id={ACCOUNT}"), &linus).await;
    assert_eq!(answer.assert_portal_error(403, "ForbiddenException"), "No access");
    kit.role_credentials(&linus, "222233334444", "DeveloperAccess").await.ok();
}

#[tokio::test]
async fn t54_a_missing_parameter_is_an_invalid_request_and_named() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    for (target, name) in [
        ("/federation/credentials?account_id=111122223333", "role_name"),
        ("/federation/credentials?role_name=ReadOnlyAccess", "account_id"),
        ("/federation/credentials?role_name=&account_id=111122223333", "role_name"),
        ("/federation/credentials?role_name=x&account_id=", "account_id"),
        ("/federation/credentials", "role_name"),
        ("/assignment/roles", "account_id"),
    ] {
        let answer = get(&kit, target, &token).await;
        let message = answer.assert_portal_error(400, "InvalidRequestException");
        assert!(message.contains(name), "{target}: {message}");
    }
}

/// All items of a list, page by page, and how large the pages were.
async fn pages(kit: &Kit, target: &str, list: &str, key: &str, token: &str) -> (Vec<String>, Vec<usize>) {
    let (mut keys, mut sizes) = (Vec::new(), Vec::new());
    let mut next = String::new();
    loop {
        let body = get(kit, &format!("{target}{next}"), token).await.ok().json();
        let items = body[list].as_array().expect("a list");
        sizes.push(items.len());
        keys.extend(items.iter().map(|item| item[key].as_str().expect("a key").to_owned()));
        let Some(token) = body["nextToken"].as_str() else { return (keys, sizes) };
        let mut query = String::from("&next_token=");
        query.extend(token.bytes().map(|byte| format!("%{byte:02X}")));
        next = query;
    }
}

#[tokio::test]
async fn t55_pages_list_everything_once() {
    let kit = Kit::with(|setup| setup.directory = large_directory()).await;
    let token = access_token(&kit).await;
    let accounts = "/assignment/accounts";
    let (keys, sizes) =
        pages(&kit, &format!("{accounts}?max_result=100"), "accountList", "accountId", &token).await;
    assert_eq!(sizes, [100, 100, 50]);
    assert_eq!(keys, (1..=250).map(|n| format!("{n:012}")).collect::<Vec<_>>());
    // A whole number of pages, and one item a page.
    let (keys, sizes) =
        pages(&kit, &format!("{accounts}?max_result=50"), "accountList", "accountId", &token).await;
    assert_eq!((keys.len(), sizes), (250, vec![50; 5]));
    let roles = "/assignment/roles?account_id=000000000007&max_result=1";
    let (keys, sizes) = pages(&kit, roles, "roleList", "roleName", &token).await;
    assert_eq!((keys.len(), sizes), (7, vec![1; 7]));
}

#[tokio::test]
async fn t56_max_result_is_1_to_100_and_100_when_absent() {
    let kit = Kit::with(|setup| setup.directory = large_directory()).await;
    let token = access_token(&kit).await;
    let body = get(&kit, "/assignment/accounts", &token).await.ok().json();
    assert_eq!(body["accountList"].as_array().unwrap().len(), 100);
    for list in ["/assignment/accounts?", "/assignment/roles?account_id=000000000001&"] {
        for bad in ["0", "101", "x", "-1", "1.5", "1e1", "0x10", "%2010", "10%00", "99999999999999999999999"]
        {
            let answer = get(&kit, &format!("{list}max_result={bad}"), &token).await;
            answer.assert_portal_error(400, "InvalidRequestException");
        }
    }
}

#[tokio::test]
async fn t56_a_next_token_is_good_for_its_own_list_and_person_alone() {
    let kit = Kit::with(|setup| setup.directory = large_directory()).await;
    let token = access_token(&kit).await;
    let next = |answer: Answer| answer.ok().member("nextToken");
    let accounts = next(get(&kit, "/assignment/accounts", &token).await);
    let roles = next(get(&kit, "/assignment/roles?account_id=000000000001&max_result=2", &token).await);
    for target in [
        format!("/assignment/accounts?next_token={roles}"),
        format!("/assignment/accounts?next_token={}", &accounts[1..]),
        format!("/assignment/accounts?next_token={}", &accounts[..accounts.len() - 1]),
        "/assignment/accounts?next_token=100".to_owned(),
        format!("/assignment/accounts?next_token={token}"),
        format!("/assignment/roles?account_id=000000000001&next_token={accounts}"),
        format!("/assignment/roles?account_id=000000000002&next_token={roles}"),
    ] {
        let answer = get(&kit, &target, &token).await;
        answer.assert_portal_error(400, "InvalidRequestException");
    }
    let client = kit.device_client().await;
    let grace = kit.device_tokens(&client, "grace").await.access;
    let answer = get(&kit, &format!("/assignment/accounts?next_token={accounts}"), &grace).await;
    answer.assert_portal_error(400, "InvalidRequestException");
}

#[tokio::test]
async fn t57_items_have_their_members() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    let body = get(&kit, "/assignment/accounts", &token).await.ok().json();
    assert_eq!(
        body["accountList"][0],
        json!({"accountId": ACCOUNT, "accountName": "Production", "emailAddress": "production@example.com"})
    );
    assert_eq!(body["accountList"].as_array().unwrap().len(), 3);
    let body = get(&kit, "/assignment/roles?account_id=222233334444", &token).await.ok().json();
    assert_eq!(body["roleList"][0], json!({"accountId": "222233334444", "roleName": ROLE}));
    assert_eq!(body["roleList"].as_array().unwrap().len(), 3);

    kit.edit_directory(|file| file.accounts[0].email = None).await;
    let body = get(&kit, "/assignment/accounts", &token).await.ok().json();
    assert_eq!(body["accountList"][0], json!({"accountId": ACCOUNT, "accountName": "Production"}));
}

#[tokio::test]
async fn t58_the_wrong_method_is_405_in_json() {
    let kit = Kit::new().await;
    let token = access_token(&kit).await;
    for (right, target) in OPERATIONS {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS]
        {
            if method == right {
                continue;
            }
            let answer = kit.portal(method, target, &token).await;
            answer.assert_portal_error(405, "MethodNotAllowedException");
        }
    }
    // A failed attempt to log out logs nobody out.
    kit.list_accounts(&token).await.ok();
}

// Holds: openid-connect-core-16.18-token-lifetimes, rfc9700-4.14.2-revoked-at-logout
#[tokio::test]
async fn t59_logout_ends_the_session_and_all_its_tokens() {
    let kit = Kit::new().await;
    let client = kit.device_client().await;
    let tokens = kit.device_tokens(&client, "ada").await;
    let other = kit.device_tokens(&client, "ada").await;
    let request =
        Request::post("/logout").header("x-amz-sso_bearer_token", &tokens.access).body(Body::empty());
    let answer = kit.send(request.unwrap()).await.ok();
    assert!(matches!(answer.text(), "" | "{}"), "{}", answer.text());
    for (method, target) in OPERATIONS {
        assert_unauthorized(&kit.portal(method, target, &tokens.access).await);
    }
    let answer = kit.refresh(&client, tokens.refresh()).await;
    answer.assert_oidc_error(400, "InvalidGrantException", "invalid_grant");
    assert_eq!(answer.member("error_description"), "Invalid refresh token provided");
    // Another session of the same person and client goes on.
    kit.list_accounts(&other.access).await.ok();
}

#[tokio::test]
async fn t60_role_credentials_outlive_the_logout() {
    let kit = Kit::with(|setup| setup.development = true).await;
    let token = access_token(&kit).await;
    let credentials = kit.role_credentials(&token, ACCOUNT, ROLE).await.ok().json();
    kit.logout(&token).await.ok();
    // The built-in source seals whose credentials they are and until when: nothing that a logout touches. Its STS,
    // which the tests in tests/e2e ask, needs a signature.
    assert!(credentials["roleCredentials"]["expiration"].as_i64().unwrap() > kit.now().millis());
    let session_token = credentials["roleCredentials"]["sessionToken"].as_str().unwrap();
    let source = doorward_upstream::credentials::built_in::BuiltIn::new(
        &doorward_keys::KeyRing::new(&[7; 32]),
        std::sync::Arc::new(doorward::ambient::OsEntropy::default()),
    );
    let caller = source.caller(&doorward_core::secret::SessionToken::new(session_token)).unwrap();
    assert_eq!((caller.account.as_str(), caller.role.as_str()), (ACCOUNT, ROLE));
}

#[tokio::test]
async fn t61_throttled_calls_have_their_services_own_exception() {
    let kit = Kit::with(|setup| setup.rate_limits = true).await;
    let client = kit.device_client().await;
    let device = kit.start_device(&client).await;
    let token = access_token(&kit).await;

    let mut portal = Vec::new();
    for _ in 0..1100 {
        portal.push(kit.list_accounts(&token).await);
    }
    let throttled = portal.iter().find(|answer| answer.status == 429).expect("a throttled call");
    throttled.assert_portal_error(429, "TooManyRequestsException");
    assert_eq!(portal[0].status, 200);

    for (target, body) in [
        ("/client/register", json!({"clientName": "x", "clientType": "public"})),
        (
            "/token",
            json!({"clientId": client.id, "clientSecret": client.secret, "grantType": "refresh_token",
                   "refreshToken": "x"}),
        ),
    ] {
        let mut last = kit.post(target, &body).await;
        for _ in 0..600 {
            last = kit.post(target, &body).await;
        }
        last.assert_oidc_error(400, "SlowDownException", "slow_down");
    }
    kit.try_start_device(&client, &kit.start_url()).await.assert_oidc_error(
        400,
        "SlowDownException",
        "slow_down",
    );

    // A poll that keeps its interval is not counted among them.
    let answer = kit.poll(&client, &device.code).await;
    answer.assert_oidc_error(400, "AuthorizationPendingException", "authorization_pending");
    // And time heals all.
    kit.advance(60);
    kit.list_accounts(&token).await.ok();
    let _ = kit.device_client().await;
}
