//! OAuth clients that an administrator registered, and what they send.

use axum::body::Body;
use data_encoding::BASE64;
use doorward_core::directory::DirectoryFile;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{Answer, Kit, Pkce, STATE};

/// The API that the applications' tokens are for.
pub const API: &str = "https://api.example";
/// Another one.
pub const OTHER_API: &str = "https://other.example";
/// Where applications are sent back to, with the port that they chose.
pub const APPLICATION_REDIRECT_URI: &str = "http://127.0.0.1:45343/callback";

/// An application of [`add_applications`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Application {
    /// `client_id`.
    pub id: &'static str,
    /// Its secret, which it sends in the `Authorization` header; none of a public one.
    pub secret: Option<&'static str>,
}

/// A web application with a secret.
pub const WEB: Application = Application { id: "web", secret: Some("web-secret") };
/// Another one.
pub const OTHER_WEB: Application = Application { id: "other-web", secret: Some("other-web-secret") };
/// A public application that runs in a browser.
pub const SPA: Application = Application { id: "spa", secret: None };

/// `sha256:` and the hash of each secret, computed once.
const WEB_HASH: &str = "sha256:761fed9dbb22427bedbc73c3f0ab93fff41104aa77eb145025d0113be8c035a3";
const OTHER_WEB_HASH: &str = "sha256:20715959191d086df577b006119209aea68ee43a209f0ad467c2c83b63773de9";

/// Adds them to a directory, with the scope `api.read`.
pub fn add_applications(directory: &mut DirectoryFile) {
    let common = json!({
        "redirect_uris": ["http://127.0.0.1/callback", "https://app.example/callback"],
        "grants": [
            "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "scopes": ["openid", "profile", "email", "groups", "offline_access", "api.read"],
        "audiences": [API, OTHER_API],
        "everybody": true,
    });
    let application = |members: Value| {
        let mut whole = common.clone();
        let Value::Object(members) = members else { panic!("members are an object") };
        whole.as_object_mut().expect("an object").extend(members);
        serde_json::from_value(whole).expect("an application as operators write it")
    };
    // Before those of the development server.
    let added = [
        application(json!({"client_id": "web", "name": "Web shop", "secret_hashes": [WEB_HASH]})),
        application(json!({
            "client_id": "other-web", "name": "Other shop", "secret_hashes": [OTHER_WEB_HASH],
        })),
        application(json!({"client_id": "spa", "name": "Browser app", "authentication": "none"})),
    ];
    drop(directory.applications.splice(0..0, added));
    let scope = json!({"name": "api.read", "description": "read your orders"});
    directory.scopes.push(serde_json::from_value(scope).expect("a scope as operators write it"));
}

/// A request that posts a form.
#[must_use]
pub fn form_request(target: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post(target).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    request.body(Body::from(body)).expect("a request of a test")
}

impl Application {
    /// A request that posts a form, and says who sends it.
    #[must_use]
    pub fn request(self, target: &str, fields: &[(&str, &str)]) -> Request<Body> {
        match self.secret {
            None => form_request(target, &[&[("client_id", self.id)], fields].concat()),
            Some(secret) => {
                let mut request = form_request(target, fields);
                let credentials = BASE64.encode(format!("{}:{secret}", self.id).as_bytes());
                let header = format!("Basic {credentials}").parse().expect("a header");
                request.headers_mut().insert(AUTHORIZATION, header);
                request
            }
        }
    }
}

impl Application {
    /// The parameters of an authorization request, each in `more` instead of the usual one. An empty value leaves it out.
    #[must_use]
    pub fn parameters<'a>(self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let usual = [
            ("response_type", "code"),
            ("client_id", self.id),
            ("redirect_uri", APPLICATION_REDIRECT_URI),
            ("scope", "openid api.read"),
            ("state", STATE),
            ("code_challenge_method", "S256"),
            ("code_challenge", Pkce::CHALLENGE),
        ];
        let usual = usual.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        usual.chain(more.iter().copied()).filter(|(_, value)| !value.is_empty()).collect()
    }

    /// The address of an authorization request with these parameters.
    #[must_use]
    pub fn authorize(self, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        format!("/authorize?{}", query.extend_pairs(self.parameters(more)).finish())
    }
}

impl Kit {
    /// Redeems a code that [`Application::authorize`] asked for.
    pub async fn redeem_application(
        &self,
        application: Application,
        code: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", APPLICATION_REDIRECT_URI),
            ("code_verifier", Pkce::VERIFIER),
        ];
        self.post_form(application, "/token", &[&fields, more].concat()).await
    }

    /// Posts a form for an application.
    pub async fn post_form(&self, application: Application, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(application.request(target, fields)).await
    }

    /// A device sign-in of an application that a person has approved: its device code.
    pub async fn approved_application_device(
        &self,
        application: Application,
        fields: &[(&str, &str)],
        person: &str,
    ) -> String {
        let started = self.post_form(application, "/device_authorization", fields).await.ok();
        let mut browser = self.browser().signed_in(person).await;
        let told = browser.decide_device(&started.member("user_code"), crate::Choice::Approve).await.ok();
        assert!(told.text().contains("Approved"), "{}", told.text());
        started.member("device_code")
    }

    /// Polls with a device code.
    pub async fn poll_application(
        &self,
        application: Application,
        device_code: &str,
        more: &[(&str, &str)],
    ) -> Answer {
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        let fields = [&[grant, ("device_code", device_code)], more].concat();
        self.post_form(application, "/token", &fields).await
    }
}
