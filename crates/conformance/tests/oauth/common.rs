//! What the tests of this door share.

use axum::body::Body;
use doorward_core::application::Application as Written;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::PersonId;
use doorward_core::scope::Scopes;
use doorward_testkit::{API, Answer, Application, Kit, Setup, WEB, add_applications};
use http::{HeaderValue, Request};
use serde_json::{Value, json};

use crate::signer::{About, Signer};

/// The resource server that is [`API`].
pub(crate) const API_SERVER: Application = Application { id: "api-server", secret: WEB.secret };

/// The applications of the testkit, and [`API_SERVER`].
pub(crate) fn applications(setup: &mut Setup) {
    add_applications(&mut setup.directory);
    let mut server = written(&mut setup.directory, WEB).clone();
    server.client_id = serde_json::from_value(json!(API_SERVER.id)).expect("a client id");
    "API".clone_into(&mut server.name);
    server.resource = Some(API.to_owned());
    setup.directory.applications.push(server);
}

/// An application as it is written in the directory.
pub(crate) fn written(file: &mut DirectoryFile, application: Application) -> &mut Written {
    let mut applications = file.applications.iter_mut();
    applications.find(|it| it.client_id.as_str() == application.id).expect("an application of the directory")
}

/// Lets everybody use an application, or somebody else than ada.
pub(crate) fn admit_everybody(file: &mut DirectoryFile, application: Application, everybody: bool) {
    let application = written(file, application);
    application.everybody = everybody;
    let grace = PersonId::parse("grace").expect("a user name");
    application.people = if everybody { Vec::new() } else { vec![grace] };
}

/// Lets an application have account access.
pub(crate) fn allow_account_access(file: &mut DirectoryFile, application: Application) {
    written(file, application).scopes = Scopes::parse(["openid email sso:account:access"]).expect("scopes");
}

/// The answer to an application's first poll after ada approved.
pub(crate) async fn tokens_of(kit: &Kit, application: Application, scope: &str) -> Value {
    let code = kit.approved_application_device(application, &[("scope", scope)], "ada").await;
    kit.poll_application(application, &code, &[]).await.ok().json()
}

/// A text of an answer.
pub(crate) fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("{name} is no text in {answer}"))
}

pub(crate) async fn refresh(kit: &Kit, application: Application, token: &str) -> Answer {
    kit.post_form(application, "/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

/// `request` with a proof.
pub(crate) fn with_proof(mut request: Request<Body>, proof: &str) -> Request<Body> {
    request.headers_mut().insert("DPoP", HeaderValue::from_str(proof).expect("a header"));
    request
}

/// The nonce that the server gives out now.
pub(crate) async fn nonce(kit: &Kit) -> String {
    let request = doorward_testkit::form_request("/token", &[]);
    kit.send(with_proof(request, "x")).await.header("dpop-nonce").to_owned()
}

/// As [`tokens_of`], bound to the key of `signer`.
pub(crate) async fn bound_tokens_of(kit: &Kit, application: Application, signer: &Signer) -> Value {
    let code = kit.approved_application_device(application, &[("scope", "openid email")], "ada").await;
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let request = application.request("/token", &[("grant_type", grant), ("device_code", &code)]);
    let nonce = nonce(kit).await;
    let about = About { method: "POST", path: "/token", nonce: &nonce, jti: &code, access_token: None };
    kit.send(with_proof(request, &signer.proof(kit, about))).await.ok().json()
}

/// Status and `error` of an answer.
pub(crate) fn error(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.member("error"))
}
