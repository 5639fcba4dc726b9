//! One client: a tool, and a person with a browser. Each of its calls goes to a node that it is told, and is written
//! down with what came of it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use doorward_testkit::{Answer, Form, Pkce};
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::cluster::{ACCOUNT, PASSWORD, ROLE, START_URL, person};
use crate::history::{Call, Gave, Journal, Name, Op, Outcome, Reason};
use crate::wire::{Broken, Wire};

const SCOPE: &str = "sso:account:access";
const REDIRECT_URI: &str = "http://127.0.0.1:45343/oauth/callback";
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const FORM: &str = "application/x-www-form-urlencoded";

/// A secret, and how the history calls it.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) name: Name,
    text: String,
}

/// A registered client.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    id: String,
    secret: String,
    name: String,
}

/// What CreateToken gave.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) refresh: Secret,
    pub(crate) access: Secret,
}

/// A device request.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) code: Secret,
    user_code: String,
}

/// A browser that somebody signed in with.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    pub(crate) name: Name,
    cookie: String,
}

/// What came of a call, with what the client keeps of it.
pub(crate) enum Came<T> {
    Ok(T),
    Refused,
    /// Unknown, unsent, or too soon: nobody knows more than before.
    Nothing,
}

impl<T> Came<T> {
    pub(crate) fn ok(self) -> Option<T> {
        if let Self::Ok(value) = self { Some(value) } else { None }
    }
}

/// Where a call with several requests stopped before its end.
enum Stop {
    Refused(Reason),
    /// With the node that failed.
    Unknown(usize, String),
    Unsent(usize),
}

impl Stop {
    fn of(node: usize, broken: Broken) -> Self {
        match broken {
            Broken::Unsent => Self::Unsent(node),
            Broken::Connection | Broken::Silence => Self::Unknown(node, format!("{broken:?}")),
        }
    }
}

pub(crate) struct Client {
    number: usize,
    wire: Wire,
    journal: Arc<Journal>,
}

impl Client {
    pub(crate) const fn new(number: usize, wire: Wire, journal: Arc<Journal>) -> Self {
        Self { number, wire, journal }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.wire.nodes()
    }

    // --- The tool

    pub(crate) async fn register(&self, node: usize, name: &str) -> Came<Registration> {
        let body = json!({
            "clientName": name, "clientType": "public", "scopes": [SCOPE],
            "grantTypes": [DEVICE_GRANT, "authorization_code", "refresh_token"],
            "redirectUris": ["http://127.0.0.1/oauth/callback"], "issuerUrl": START_URL,
        });
        self.record(node, Call::Register, async {
            let answer = self.post(node, "/client/register", &body).await?;
            let (id, secret) = (answer.member("clientId"), answer.member("clientSecret"));
            Ok((Registration { id, secret, name: name.to_owned() }, Gave::Nothing))
        })
        .await
    }

    pub(crate) async fn start_device(&self, node: usize, registration: &Registration) -> Came<Device> {
        let body = json!({
            "clientId": registration.id, "clientSecret": registration.secret, "startUrl": START_URL,
        });
        self.record(node, Call::StartDevice, async {
            let answer = self.post(node, "/device_authorization", &body).await?;
            let code = self.secret(answer.member("deviceCode"));
            let gave = Gave::Device(code.name);
            Ok((Device { code, user_code: answer.member("userCode") }, gave))
        })
        .await
    }

    pub(crate) async fn poll(&self, node: usize, of: &Registration, device: &Device) -> Came<Tokens> {
        let members = json!({"grantType": DEVICE_GRANT, "deviceCode": device.code.text});
        self.create_token(node, Call::Poll { device: device.code.name }, of, members).await
    }

    pub(crate) async fn redeem(&self, node: usize, of: &Registration, code: &Secret) -> Came<Tokens> {
        let members = json!({
            "grantType": "authorization_code", "code": code.text, "redirectUri": REDIRECT_URI,
            "codeVerifier": Pkce::VERIFIER,
        });
        self.create_token(node, Call::Redeem { code: code.name }, of, members).await
    }

    pub(crate) async fn refresh(&self, node: usize, of: &Registration, token: &Secret) -> Came<Tokens> {
        let members = json!({"grantType": "refresh_token", "refreshToken": token.text});
        self.create_token(node, Call::Refresh { token: token.name }, of, members).await
    }

    async fn create_token(&self, node: usize, call: Call, of: &Registration, members: Value) -> Came<Tokens> {
        let mut body = json!({"clientId": of.id, "clientSecret": of.secret});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.record(node, call, async {
            let answer = self.post(node, "/token", &body).await?;
            let refresh = self.secret(answer.member("refreshToken"));
            let access = self.secret(answer.member("accessToken"));
            let gave = Gave::Tokens { refresh: refresh.name, access: access.name };
            Ok((Tokens { refresh, access }, gave))
        })
        .await
    }

    // --- The portal

    pub(crate) async fn list(&self, node: usize, access: &Secret) -> Came<()> {
        let call = Call::List { access: access.name };
        self.portal(node, call, access, Method::GET, "/assignment/accounts").await
    }

    pub(crate) async fn credentials(&self, node: usize, access: &Secret) -> Came<()> {
        let target = format!("/federation/credentials?account_id={ACCOUNT}&role_name={ROLE}");
        let call = Call::Credentials { access: access.name };
        self.portal(node, call, access, Method::GET, &target).await
    }

    pub(crate) async fn logout(&self, node: usize, access: &Secret) -> Came<()> {
        let call = Call::Logout { access: access.name };
        self.portal(node, call, access, Method::POST, "/logout").await
    }

    async fn portal(
        &self,
        node: usize,
        call: Call,
        access: &Secret,
        method: Method,
        target: &str,
    ) -> Came<()> {
        let request = Request::builder().method(method).uri(target);
        let request = request.header("x-amz-sso_bearer_token", &access.text).body(Bytes::new()).unwrap();
        let given = match call {
            Call::List { .. } => ACCOUNT,
            Call::Credentials { .. } => "secretAccessKey",
            _ => "",
        };
        self.record(node, call, async {
            let answer = self.api(node, request).await?;
            if answer.text().contains(given) { Ok(((), Gave::Nothing)) } else { Err(unexpected(&answer)) }
        })
        .await
    }

    // --- The person

    pub(crate) async fn sign_in(&self, node: usize) -> Came<Browser> {
        self.record(node, Call::SignIn, async {
            let page = self.page(node, "", Method::GET, "/sign-in?next=%2Fstart", None).await?;
            let visitor = cookie(&page).ok_or_else(|| unexpected(&page))?;
            let form = find(&page, "/sign-in")?;
            let form = form.with("user_name", &person(self.number)).with("password", PASSWORD);
            let answer = self.submit(node, &visitor, &form).await?;
            match (answer.status.as_u16(), answer.location(), cookie(&answer)) {
                (303, "/start", Some(cookie)) => {
                    let name = self.journal.name(&cookie);
                    Ok((Browser { name, cookie }, Gave::Browser(name)))
                }
                (200, ..) if answer.text().contains("Too many people are signing in") => {
                    Err(Stop::Refused(Reason::SlowDown))
                }
                _ => Err(unexpected(&answer)),
            }
        })
        .await
    }

    pub(crate) async fn visit(&self, node: usize, browser: &Browser) -> Came<()> {
        self.record(node, Call::Visit { browser: browser.name }, async {
            self.page(node, &browser.cookie, Method::GET, "/start", None).await?;
            Ok(((), Gave::Nothing))
        })
        .await
    }

    pub(crate) async fn sign_out(&self, node: usize, browser: &Browser) -> Came<()> {
        self.record(node, Call::SignOut { browser: browser.name }, async {
            let page = self.page(node, &browser.cookie, Method::GET, "/start", None).await?;
            self.submit(node, &browser.cookie, &find(&page, "/sign-out")?).await?;
            Ok(((), Gave::Nothing))
        })
        .await
    }

    /// Ends the session of `registration`, which must have only this one.
    pub(crate) async fn end(
        &self,
        node: usize,
        browser: &Browser,
        registration: &Registration,
        code: &Secret,
    ) -> Came<()> {
        self.record(node, Call::End { browser: browser.name, code: code.name }, async {
            let page = self.page(node, &browser.cookie, Method::GET, "/start", None).await?;
            let named = format!("<bdi>{}</bdi>", registration.name);
            let Some((_, line)) = page.text().split_once(&named) else {
                return Err(Stop::Refused(Reason::NotListed));
            };
            let form = Form::find(line, "/start/sessions/end").ok_or_else(|| unexpected(&page))?;
            let answer = self.submit(node, &browser.cookie, &form).await?;
            if answer.status == 303 { Ok(((), Gave::Nothing)) } else { Err(unexpected(&answer)) }
        })
        .await
    }

    pub(crate) async fn approve(&self, nodes: [usize; 3], browser: &Browser, device: &Device) -> Came<()> {
        // Its last request is the one that decides; the others change nothing, and stop the call when they fail.
        let call = Call::Approve { browser: browser.name, device: device.code.name };
        let before = async {
            let target = format!("/device?user_code={}", device.user_code);
            let page = self.page(nodes[0], &browser.cookie, Method::GET, &target, None).await?;
            let form = find(&page, "/device")?.with("user_code", &device.user_code);
            let page = self.submit(nodes[1], &browser.cookie, &form).await?;
            if page.text().contains("No tool is waiting with that code") {
                return Err(Stop::Refused(Reason::NotOpen));
            }
            find(&page, "/device/decision")
        };
        self.record(nodes[2], call, async {
            let form = before.await?.with("decision", "approve");
            let told = self.submit(nodes[2], &browser.cookie, &form).await?;
            match told.text() {
                text if text.contains("Your tool is signed in.") => Ok(((), Gave::Nothing)),
                text if text.contains("That request is no longer open") => {
                    Err(Stop::Refused(Reason::NotOpen))
                }
                _ => Err(unexpected(&told)),
            }
        })
        .await
    }

    pub(crate) async fn authorize(
        &self,
        nodes: [usize; 2],
        browser: &Browser,
        of: &Registration,
    ) -> Came<Secret> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &of.id)
            .append_pair("redirect_uri", REDIRECT_URI)
            .append_pair("state", "of no use here")
            .append_pair("code_challenge_method", "S256")
            .append_pair("code_challenge", Pkce::CHALLENGE)
            .append_pair("scopes", SCOPE)
            .finish();
        self.record(nodes[1], Call::Authorize { browser: browser.name }, async {
            let target = format!("/authorize?{query}");
            let page = self.page(nodes[0], &browser.cookie, Method::GET, &target, None).await?;
            let form = find(&page, "/authorize/decision")?.with("decision", "approve");
            let answer = self.submit(nodes[1], &browser.cookie, &form).await?;
            let code = answer.location_parameter("code").ok_or_else(|| unexpected(&answer))?;
            let code = self.secret(code);
            let gave = Gave::Code(code.name);
            Ok((code, gave))
        })
        .await
    }

    // --- HTTP

    async fn post(&self, node: usize, target: &str, body: &Value) -> Result<Answer, Stop> {
        let request = Request::post(target).header(CONTENT_TYPE, "application/json");
        self.api(node, request.body(body.to_string().into()).unwrap()).await
    }

    /// An answer of the two APIs that is 200, or why not.
    async fn api(&self, node: usize, request: Request<Bytes>) -> Result<Answer, Stop> {
        let answer = self.wire.send(node, request).await.map_err(|broken| Stop::of(node, broken))?;
        let status = answer.status.as_u16();
        let said = (status, answer.exception());
        let reason = match said {
            (200, _) => return Ok(answer),
            (500.., _) => return Err(Stop::Unknown(node, format!("{status}"))),
            (400, "AuthorizationPendingException") => Reason::Pending,
            (400, "SlowDownException") => Reason::SlowDown,
            (400, "InvalidGrantException") if answer.text().contains("Invalid refresh token") => {
                Reason::InvalidRefreshToken
            }
            (400, "InvalidGrantException") => Reason::InvalidGrant,
            (401, "UnauthorizedException") => Reason::Unauthorized,
            _ => return Err(unexpected(&answer)),
        };
        Err(Stop::Refused(reason))
    }

    async fn submit(&self, node: usize, cookie: &str, form: &Form) -> Result<Answer, Stop> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        self.page(node, cookie, Method::POST, &form.action, Some(body)).await
    }

    /// A page, or a redirect to another page than the one to sign in.
    async fn page(
        &self,
        node: usize,
        cookie: &str,
        method: Method,
        target: &str,
        form: Option<String>,
    ) -> Result<Answer, Stop> {
        let mut request = Request::builder().method(method).uri(target).header("accept", "text/html");
        if !cookie.is_empty() {
            request = request.header(COOKIE, cookie);
        }
        if form.is_some() {
            request = request.header(CONTENT_TYPE, FORM);
        }
        let request = request.body(form.unwrap_or_default().into()).unwrap();
        let answer = self.wire.send(node, request).await.map_err(|broken| Stop::of(node, broken))?;
        match answer.status.as_u16() {
            302 | 303 if answer.location().starts_with("/sign-in?") => Err(Stop::Refused(Reason::SignedOut)),
            200 | 302 | 303 => Ok(answer),
            status @ 500.. => Err(Stop::Unknown(node, format!("{status} page"))),
            _ => Err(unexpected(&answer)),
        }
    }

    fn secret(&self, text: String) -> Secret {
        Secret { name: self.journal.name(&text), text }
    }

    async fn record<T>(
        &self,
        node: usize,
        call: Call,
        done: impl Future<Output = Result<(T, Gave), Stop>>,
    ) -> Came<T> {
        let begun = self.journal.now();
        let done = done.await;
        let ended = self.journal.now();
        let (node, outcome, came) = match done {
            Ok((value, gave)) => (node, Outcome::Ok(gave), Came::Ok(value)),
            Err(Stop::Refused(Reason::SlowDown)) => (node, Outcome::Refused(Reason::SlowDown), Came::Nothing),
            Err(Stop::Refused(reason)) => (node, Outcome::Refused(reason), Came::Refused),
            Err(Stop::Unknown(node, what)) => (node, Outcome::Unknown(what), Came::Nothing),
            Err(Stop::Unsent(node)) => (node, Outcome::Unsent, Came::Nothing),
        };
        self.journal.record(Op { client: self.number, node, begun, ended, call, outcome });
        came
    }
}

fn find(page: &Answer, action: &str) -> Result<Form, Stop> {
    Form::find(page.text(), action).ok_or_else(|| unexpected(page))
}

/// The cookie that an answer sets, as it is sent back.
fn cookie(answer: &Answer) -> Option<String> {
    let pairs = answer.headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs: HashMap<_, _> = pairs.filter_map(|line| line.split(';').next()?.split_once('=')).collect();
    pairs.into_iter().find(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}"))
}

/// An answer that nobody should get who does what our clients do. The page's heading and alert say most.
fn unexpected(answer: &Answer) -> Stop {
    let text = answer.text();
    let told = text.split("role=\"alert\"").nth(1).or_else(|| text.split("<h1").nth(1)).unwrap_or(text);
    let told: String = told.chars().take(160).collect();
    Stop::Refused(Reason::Other(format!("{} {} {told}", answer.status, answer.exception())))
}
