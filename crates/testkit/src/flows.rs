//! A tool: it registers, starts a sign-in, and turns what a person approved into tokens.

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::{Answer, Choice, Kit};

/// The redirect URI that [`Kit::pkce_client`] uses, with the port that it chose.
pub const REDIRECT_URI: &str = "http://127.0.0.1:45343/oauth/callback";
/// The `state` that [`Kit::authorize_target`] sends.
pub const STATE: &str = "0e8dbd5d-2b4c-4bb0-9d4e-6f0f4d6d6c1e";
const ACCOUNT_ACCESS: &str = "sso:account:access";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A registered client.
#[derive(Clone, Debug)]
pub struct Client {
    /// `clientId`.
    pub id: String,
    /// `clientSecret`.
    pub secret: String,
}

impl Client {
    /// A request of CreateToken with these members beside the client's.
    #[must_use]
    pub fn token_request(&self, members: Value) -> Request<Body> {
        let mut body = json!({"clientId": self.id, "clientSecret": self.secret});
        let Value::Object(members) = members else { panic!("members are an object") };
        body.as_object_mut().expect("an object").extend(members);
        json_request("/token", body.to_string())
    }

    /// A request that polls with a device code.
    #[must_use]
    pub fn poll_request(&self, device_code: &str) -> Request<Body> {
        self.token_request(json!({"grantType": DEVICE_GRANT, "deviceCode": device_code}))
    }

    /// A request that refreshes.
    #[must_use]
    pub fn refresh_request(&self, refresh_token: &str) -> Request<Body> {
        self.token_request(json!({"grantType": "refresh_token", "refreshToken": refresh_token}))
    }

    /// A request that redeems a code that [`Kit::authorize_target`] asked for.
    #[must_use]
    pub fn redeem_request(&self, code: &str) -> Request<Body> {
        self.token_request(json!({
            "grantType": "authorization_code", "code": code, "redirectUri": REDIRECT_URI,
            "codeVerifier": Pkce::VERIFIER,
        }))
    }
}

/// A started device sign-in.
#[derive(Clone, Debug)]
pub struct Device {
    /// `deviceCode`.
    pub code: String,
    /// `userCode`.
    pub user_code: String,
}

/// What CreateToken gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// `accessToken`.
    pub access: String,
    /// `refreshToken`, if there was one.
    pub refresh: Option<String>,
    /// `expiresIn`.
    pub expires_in: i64,
}

/// A verifier and its challenge.
pub struct Pkce;

impl Pkce {
    /// The verifier of RFC 7636 appendix B.
    pub const VERIFIER: &'static str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    /// Its challenge.
    pub const CHALLENGE: &'static str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
}

impl Tokens {
    /// The tokens in an answer of CreateToken, which must be 200.
    #[track_caller]
    pub fn of(answer: Answer) -> Self {
        let body = answer.ok().json();
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Self {
            access: text("accessToken").expect("accessToken"),
            refresh: text("refreshToken"),
            expires_in: body["expiresIn"].as_i64().expect("expiresIn"),
        }
    }

    /// The refresh token, which must be there.
    #[track_caller]
    #[must_use]
    pub fn refresh(&self) -> &str {
        self.refresh.as_deref().expect("a refresh token")
    }
}

/// A query string.
fn query<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

/// A request that posts JSON.
pub fn json_request(target: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(target).header(CONTENT_TYPE, "application/json").body(body.into());
    request.expect("a request of a test")
}

impl Kit {
    /// Posts JSON.
    pub async fn post(&self, target: &str, body: &Value) -> Answer {
        self.post_bytes(target, body.to_string()).await
    }

    /// Posts bytes as if they were JSON.
    pub async fn post_bytes(&self, target: &str, body: impl Into<Body>) -> Answer {
        self.send(json_request(target, body)).await
    }

    /// Calls the portal with a token.
    pub async fn portal(&self, method: Method, target: &str, access_token: &str) -> Answer {
        let request = Request::builder().method(method).uri(target);
        let request = request.header("x-amz-sso_bearer_token", access_token).body(Body::empty());
        self.send(request.expect("a request of a test")).await
    }

    /// ListAccounts.
    pub async fn list_accounts(&self, access_token: &str) -> Answer {
        self.portal(Method::GET, "/assignment/accounts", access_token).await
    }

    /// GetRoleCredentials.
    pub async fn role_credentials(&self, access_token: &str, account: &str, role: &str) -> Answer {
        let query = query([("role_name", role), ("account_id", account)]);
        self.portal(Method::GET, &format!("/federation/credentials?{query}"), access_token).await
    }

    /// Logout.
    pub async fn logout(&self, access_token: &str) -> Answer {
        self.portal(Method::POST, "/logout", access_token).await
    }

    /// RegisterClient.
    pub async fn register(&self, body: &Value) -> Client {
        let answer = self.post("/client/register", body).await.ok();
        Client { id: answer.member("clientId"), secret: answer.member("clientSecret") }
    }

    /// A client like the AWS CLI's for the device flow.
    pub async fn device_client(&self) -> Client {
        let scopes = [ACCOUNT_ACCESS];
        self.register(&json!({"clientName": "device-tool", "clientType": "public", "scopes": scopes})).await
    }

    /// A client that registers no scopes.
    pub async fn legacy_client(&self) -> Client {
        self.register(&json!({"clientName": "legacy-tool", "clientType": "public"})).await
    }

    /// A client like the AWS CLI's for the authorization code grant.
    pub async fn pkce_client(&self) -> Client {
        self.pkce_client_with(&[ACCOUNT_ACCESS]).await
    }

    /// The same with other scopes.
    pub async fn pkce_client_with(&self, scopes: &[&str]) -> Client {
        self.register(&json!({
            "clientName": "browser-tool", "clientType": "public", "scopes": scopes,
            "grantTypes": ["authorization_code", "refresh_token"],
            "redirectUris": ["http://127.0.0.1/oauth/callback"], "issuerUrl": self.start_url(),
        }))
        .await
    }

    /// StartDeviceAuthorization, as it answers.
    pub async fn try_start_device(&self, client: &Client, start_url: &str) -> Answer {
        let Client { id, secret } = client;
        let body = json!({"clientId": id, "clientSecret": secret, "startUrl": start_url});
        self.post("/device_authorization", &body).await
    }

    /// StartDeviceAuthorization.
    pub async fn start_device(&self, client: &Client) -> Device {
        let answer = self.try_start_device(client, &self.start_url()).await.ok();
        Device { code: answer.member("deviceCode"), user_code: answer.member("userCode") }
    }

    /// CreateToken with these members beside the client's.
    pub async fn create_token(&self, client: &Client, members: Value) -> Answer {
        self.send(client.token_request(members)).await
    }

    /// A poll with a device code.
    pub async fn poll(&self, client: &Client, device_code: &str) -> Answer {
        self.send(client.poll_request(device_code)).await
    }

    /// A refresh.
    pub async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        self.send(client.refresh_request(refresh_token)).await
    }

    /// A redemption of a code that [`Kit::authorize_target`] asked for.
    pub async fn redeem(&self, client: &Client, code: &str) -> Answer {
        self.send(client.redeem_request(code)).await
    }

    /// The address that the AWS CLI opens, parameters in its order.
    #[must_use]
    pub fn authorize_target(&self, client: &Client) -> String {
        self.authorize_target_with(client, &[("scopes", ACCOUNT_ACCESS)])
    }

    /// The same with other parameters than its scopes.
    #[must_use]
    pub fn authorize_target_with(&self, client: &Client, more: &[(&str, &str)]) -> String {
        let mut parameters = vec![
            ("response_type", "code"),
            ("client_id", client.id.as_str()),
            ("redirect_uri", REDIRECT_URI),
            ("state", STATE),
            ("code_challenge_method", "S256"),
        ];
        parameters.extend_from_slice(more);
        parameters.push(("code_challenge", Pkce::CHALLENGE));
        format!("/authorize?{}", query(parameters))
    }

    /// A device sign-in that a person has approved.
    pub async fn approved_device(&self, client: &Client, person: &str) -> Device {
        let device = self.start_device(client).await;
        let mut browser = self.browser().signed_in(person).await;
        let told = browser.decide_device(&device.user_code, Choice::Approve).await.ok();
        assert!(told.text().contains("Approved"), "{}", told.text());
        device
    }

    /// A person's tokens by the device flow.
    pub async fn device_tokens(&self, client: &Client, person: &str) -> Tokens {
        let device = self.approved_device(client, person).await;
        Tokens::of(self.poll(client, &device.code).await)
    }

    /// A code that a person has approved.
    pub async fn code(&self, client: &Client, person: &str) -> String {
        let mut browser = self.browser().signed_in(person).await;
        let sent = browser.decide_authorize(&self.authorize_target(client), Choice::Approve).await;
        sent.location_parameter("code").unwrap_or_else(|| panic!("no code: {} {}", sent.status, sent.text()))
    }

    /// A person's tokens by the authorization code grant.
    pub async fn pkce_tokens(&self, client: &Client, person: &str) -> Tokens {
        let code = self.code(client, person).await;
        Tokens::of(self.redeem(client, &code).await)
    }
}
