//! What the rows need: a server with good artefacts of every kind, and the form of a row.

use axum::body::Body;
use doorward_testkit::{Choice, Client, Kit, Tokens, large_directory};
use http::{Method, Request};
use serde_json::json;

/// A value that is nobody's to repeat. Rows put it where it does not belong.
pub(crate) const MARKER: &str = "hunter2hunter2";

/// A malformed request.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) request: Request<Body>,
    pub(crate) expected: Expected,
}

/// What must be answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// An error of sso-oidc.
    Oidc(u16, &'static str),
    /// What is wrong with a signature, in the shape of AWS's front.
    Signature(u16, &'static str),
    /// An error of the portal.
    Portal(u16, &'static str),
    /// An error without its body.
    Head(u16, &'static str),
}

impl Expected {
    pub(crate) const INVALID_REQUEST: Self = Self::Oidc(400, "InvalidRequestException");
    pub(crate) const INVALID_GRANT: Self = Self::Oidc(400, "InvalidGrantException");
    pub(crate) const INVALID_CLIENT: Self = Self::Oidc(401, "InvalidClientException");
    pub(crate) const NOT_SIGNED: Self = Self::Signature(403, "MissingAuthenticationTokenException");
    pub(crate) const UNAUTHORIZED: Self = Self::Portal(401, "UnauthorizedException");
    pub(crate) const BAD_PARAMETER: Self = Self::Portal(400, "InvalidRequestException");

    pub(crate) const fn status_and_exception(self) -> (u16, &'static str) {
        match self {
            Self::Oidc(status, exception)
            | Self::Signature(status, exception)
            | Self::Portal(status, exception)
            | Self::Head(status, exception) => (status, exception),
        }
    }
}

/// A row that posts JSON, or what passes for it.
pub(crate) fn post(name: String, path: &str, body: impl Into<Body>, expected: Expected) -> Row {
    let request = Request::post(path).header("content-type", "application/json").body(body.into());
    Row { name, request: request.expect("a request"), expected }
}

/// A row that calls the portal with a token.
pub(crate) fn portal(method: &Method, target: &str, token: &[u8], expected: Expected) -> Row {
    let name = format!("{method} {target} with {}", String::from_utf8_lossy(token));
    let request = Request::builder().method(method).uri(target).header("x-amz-sso_bearer_token", token);
    Row { name, request: request.body(Body::empty()).expect("a request"), expected }
}

/// The POST routes of sso-oidc, and a member that each requires.
pub(crate) const POSTS: [(&str, &str); 3] =
    [("/client/register", "clientName"), ("/device_authorization", "clientId"), ("/token", "clientSecret")];

/// Those of them that are OAuth's too: the content type decides.
pub(crate) const SPOKEN_TWICE: [&str; 2] = ["/device_authorization", "/token"];

/// The operations of the portal, with parameters that are right.
pub(crate) const PORTAL: [(Method, &str); 4] = [
    (Method::GET, "/federation/credentials?role_name=Role1&account_id=000000000001"),
    (Method::GET, "/assignment/accounts"),
    (Method::GET, "/assignment/roles?account_id=000000000001"),
    (Method::POST, "/logout"),
];

/// A server, and good artefacts of every kind.
pub(crate) struct World {
    pub(crate) kit: Kit,
    pub(crate) client: Client,
    pub(crate) other: Client,
    pub(crate) tokens: Tokens,
    /// Approved, and not yet redeemed.
    pub(crate) device_code: String,
    /// Approved, and not yet redeemed.
    pub(crate) code: String,
    pub(crate) cookie: String,
    pub(crate) page: String,
    /// An access token that has expired.
    pub(crate) expired: String,
    /// Tokens of another server, which has another key.
    pub(crate) foreign: Tokens,
    /// What no answer may repeat.
    pub(crate) secrets: Vec<String>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let kit = Kit::with(|setup| setup.directory = large_directory()).await;
        let client = everything(&kit).await;
        let other = everything(&kit).await;
        let expired = kit.device_tokens(&client, "ada").await.access;
        kit.advance(3600);
        let tokens = kit.device_tokens(&client, "ada").await;
        let device_code = kit.approved_device(&client, "ada").await.code;
        let mut browser = kit.browser().signed_in("ada").await;
        let sent = browser.decide_authorize(&kit.authorize_target(&client), Choice::Approve).await;
        let code = sent.location_parameter("code").expect("a code");
        let cookie = browser.cookies().values().last().expect("a cookie").clone();
        let page = kit.list_accounts(&tokens.access).await.ok().member("nextToken");

        let elsewhere = Kit::with(|setup| setup.master_key = [8; 32]).await;
        let foreign = elsewhere.device_tokens(&elsewhere.device_client().await, "ada").await;

        let mut secrets =
            vec![MARKER.to_owned(), client.secret.clone(), other.secret.clone(), cookie.clone()];
        secrets.extend([tokens.access.clone(), tokens.refresh().to_owned()]);
        secrets.extend([device_code.clone(), code.clone(), expired.clone(), page.clone()]);
        secrets.extend([foreign.access.clone(), foreign.refresh().to_owned()]);
        Self { kit, client, other, tokens, device_code, code, cookie, page, expired, foreign, secrets }
    }
}

/// A client that may use every grant.
async fn everything(kit: &Kit) -> Client {
    kit.register(&json!({
        "clientName": "everything", "clientType": "public", "scopes": ["sso:account:access"],
        "grantTypes": ["urn:ietf:params:oauth:grant-type:device_code", "authorization_code", "refresh_token"],
        "redirectUris": ["http://127.0.0.1/oauth/callback"],
    }))
    .await
}
