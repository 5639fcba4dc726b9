//! A server with one identity source, `corp`, and what a person does in front of both.

use doorward_core::ids::SourceName;
use doorward_core::secret::ClientSecret;
use doorward_core::time::Lifetime;
use doorward_testkit::{Answer, Browser, Form, Kit, Setup};
use doorward_testkit_oidc::{JWKS, Provider, Said, TOKEN};
use doorward_upstream::identity::oidc::Settings;
use http::Method;
use serde_json::{Value, json};

/// How long the source's word is taken without asking, and how long it holds when it cannot be asked, in seconds.
pub(crate) const RECHECK: u32 = 900;
pub(crate) const TRUST: u32 = 14_400;

/// A provider and a server that has it as its source.
pub(crate) struct World {
    pub(crate) kit: Kit,
    pub(crate) provider: Provider,
}

/// What is on its way to the provider with a browser.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) state: String,
    pub(crate) nonce: String,
}

pub(crate) fn settings(provider: &Provider) -> Settings {
    Settings {
        name: SourceName::parse("corp").expect("a name"),
        issuer: provider.issuer.clone(),
        client_id: "doorward".into(),
        client_secret: Some(ClientSecret::new("s3cret-of-the-client")),
        label: "Company account".into(),
        redirect_uri: "http://127.0.0.1:8377/sign-in/corp/callback".into(),
        scopes: vec!["openid".into()],
        authorization_parameters: [].into(),
        user_name_claim: "preferred_username".into(),
        groups_claim: "groups".into(),
        group_names: [].into(),
        only_mapped_groups: false,
        required_claims: [].into(),
        additional_audience: None,
        just_in_time: true,
        recheck: Lifetime::from_seconds(RECHECK),
        trust: Lifetime::from_seconds(TRUST),
        clock_skew: Lifetime::from_seconds(60),
        certificate_authorities: None,
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut Setup)) -> Self {
        let provider = Provider::start().await;
        let source = settings(&provider);
        let kit = Kit::with(|setup| {
            setup.identity_sources = vec![source];
            edit(setup);
        })
        .await;
        Self { kit, provider }
    }

    /// What the provider says of the subject `s-zoe`, who is `zoe` and a developer.
    pub(crate) fn claims(&self, nonce: &str) -> Value {
        let now = self.kit.now().seconds();
        json!({
            "iss": self.provider.issuer, "aud": "doorward", "sub": "s-zoe", "nonce": nonce,
            "iat": now, "exp": now + 300, "preferred_username": "zoe", "name": "Zoe Example",
            "groups": ["developers"],
        })
    }

    /// What the token endpoint gives from now on: these claims and this refresh token.
    pub(crate) fn gives(&self, claims: &Value, refresh_token: Option<&str>) {
        let token = self.provider.key.sign(&json!({"alg": "RS256", "kid": "k1"}), claims);
        let mut tokens = json!({"access_token": "at-of-the-source", "id_token": token});
        if let Some(refresh_token) = refresh_token {
            tokens["refresh_token"] = json!(refresh_token);
        }
        self.provider.says(TOKEN, Said::json(&tokens));
    }

    /// The provider answers with `status` wherever it is asked.
    pub(crate) fn breaks(&self, status: u16) {
        for path in [TOKEN, JWKS, doorward_testkit_oidc::DISCOVERY] {
            self.provider.says(path, Said::json(&json!({})).status(status));
        }
    }

    /// It is as it was.
    pub(crate) fn mends(&self) {
        self.provider.says(doorward_testkit_oidc::DISCOVERY, Said::json(&self.provider.document()));
        self.provider.says(JWKS, Said::json(&json!({"keys": [self.provider.key.jwk("k1")]})));
    }

    /// A person presses the source's button on the sign-in page.
    pub(crate) async fn press(&self, browser: &mut Browser<'_>, next: &str) -> Answer {
        let form = browser.sign_in_form(next).await;
        let page = browser.get("/sign-in").await.ok();
        let button = Form::find(page.text(), "/sign-in/corp").expect("a button for the source");
        browser.submit(&button.with("next", form.get("next").unwrap_or_default())).await
    }

    /// And is sent to the provider.
    pub(crate) async fn go(&self, browser: &mut Browser<'_>, next: &str) -> Sent {
        sent(&self.press(browser, next).await.ok())
    }

    /// The browser comes back with a code.
    pub(crate) async fn come_back(&self, browser: &mut Browser<'_>, sent: &Sent) -> Answer {
        browser.get(&callback(sent)).await
    }

    /// Zoe signs in, and is on her way to `next`.
    pub(crate) async fn sign_in(&self, browser: &mut Browser<'_>, next: &str) {
        let sent = self.go(browser, next).await;
        self.gives(&self.claims(&sent.nonce), Some("rt-1"));
        let answer = self.come_back(browser, &sent).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, next), "{}", answer.text());
    }

    /// Zoe's tokens, by the authorization code grant, of a person who signs in for it.
    pub(crate) async fn tokens(&self) -> (doorward_testkit::Client, doorward_testkit::Tokens) {
        let client = self.kit.pkce_client().await;
        let target = self.kit.authorize_target(&client);
        let mut browser = self.kit.browser();
        self.sign_in(&mut browser, &target).await;
        let decided = browser.decide_authorize(&target, doorward_testkit::Choice::Approve).await;
        let code = decided.location_parameter("code").expect("a code");
        let tokens = doorward_testkit::Tokens::of(self.kit.redeem(&client, &code).await);
        (client, tokens)
    }

    /// How many times the token endpoint was asked with a refresh token, and with which.
    pub(crate) fn asked_again(&self) -> Vec<String> {
        let asked = self.provider.asked(TOKEN).into_iter();
        asked.filter_map(|asked| asked.form.get("refresh_token").cloned()).collect()
    }
}

/// What the page that leads to the provider sends along.
pub(crate) fn sent(page: &Answer) -> Sent {
    let text = page.text();
    let (_, rest) = text.split_once("content=\"0;url=").expect("a page that leads on");
    let address = rest.split('"').next().expect("an address").replace("&#38;", "&");
    let (_, query) = address.split_once('?').expect("a query");
    let value = |name: &str| {
        let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pair.expect("a parameter").to_owned()
    };
    Sent { state: value("state"), nonce: value("nonce") }
}

pub(crate) fn callback(sent: &Sent) -> String {
    format!("/sign-in/corp/callback?code=c-1&state={}", sent.state)
}

/// A browser's request with another method.
pub(crate) async fn head(browser: &mut Browser<'_>, target: &str) -> Answer {
    browser.send(Method::HEAD, target, &[], axum::body::Body::empty()).await
}
