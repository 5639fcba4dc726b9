//! Pushed authorization requests (RFC 9126): `POST /par`.
//!
//! Nothing is stored: what was pushed travels on as `request_uri`, sealed. The id of the code that it leads to is drawn when
//! it is pushed, so using it twice makes one session, and the second use ends it.

use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use doorward_core::client::Registration;
use doorward_core::ids::CodeId;
use doorward_core::refusal::Refusal;
use doorward_core::time::{Lifetime, Timestamp};
use doorward_wire::oauth::authorization::{AuthorizationFault, Pushed as Output};
use doorward_wire::oauth::form::Form;
use doorward_wire::oauth::metadata::PUSHED_AUTHORIZATION_PATH;
use serde::{Deserialize, Serialize};

use super::authorize::answer::Destination;
use super::authorize::request::{LONGEST_STATE, Request};
use crate::app::App;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::oauth::{client, dpop, serve};
use crate::op::{Caller, Failure};
use crate::tokens::About;

/// What every `request_uri` of ours begins with (section 2.2); what follows is the request, sealed.
pub(crate) const REQUEST_URI_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// How long the browser may take to come with it.
const LIFETIME: Lifetime = Lifetime::from_seconds(60);

/// A request that was pushed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pushed {
    pub(crate) request: Request,
    pub(crate) expires_at: Timestamp,
}

impl Pushed {
    /// Reads what follows [`REQUEST_URI_PREFIX`].
    pub(crate) fn open(app: &App, sealed: &str) -> Option<Self> {
        app.tokens.asked(About::Pushed, sealed)
    }
}

/// `POST /par`.
pub(crate) async fn push(received: Received) -> Response {
    serve(received, async |app, caller, headers, form| match read(app, caller, headers, form).await? {
        Ok(request) => {
            let pushed = Pushed { request, expires_at: caller.now.plus(LIFETIME) };
            let sealed = app.tokens.ask(About::Pushed, &pushed);
            let request_uri = format!("{REQUEST_URI_PREFIX}{sealed}");
            let output = Output { request_uri: &request_uri, expires_in: LIFETIME.seconds() };
            Ok(answer::json(StatusCode::CREATED, output.encode()))
        }
        Err(AuthorizationFault::Refused(refusal)) => Err(refusal.into()),
        Err(fault) => Ok(answer::json(StatusCode::BAD_REQUEST, fault.body())),
    })
    .await
}

/// The request, checked as if the browser had brought it (section 2.1).
async fn read(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Result<Request, AuthorizationFault>, Failure<Refusal>> {
    let authenticated = client::authenticate(app, caller, headers, form).await?;
    app.limits.call(Call::Anonymous(caller.address))?;
    let Some(application) = authenticated.client.application() else {
        return Err(Refusal::UnauthorizedClient.into());
    };
    let invalid = |why: &str| Refusal::InvalidRequest(why.into());
    if form.get("request_uri").is_some() {
        return Err(invalid("request_uri cannot be pushed").into());
    }
    let registration = Registration::of(application);
    let redirect_uri = form.required("redirect_uri")?;
    if !registration.may_redirect_to(redirect_uri) {
        return Err(invalid("redirect_uri is not one that the client registered").into());
    }
    let state = form.get("state");
    if state.is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(invalid("state is longer than 2048 bytes").into());
    }
    let destination = Destination { redirect_uri, state };
    let mut request =
        match Request::of_application(app, application, &registration, form, destination).await? {
            Ok(request) => request,
            Err(fault) => return Ok(Err(fault)),
        };
    // Checked last, since a proof is used up by it.
    let url = format!("{}{PUSHED_AUTHORIZATION_PATH}", app.site.base());
    if let Some(key) = dpop::proof(app, caller, headers, &Method::POST, &url, None).await? {
        if request.dpop_key.is_some_and(|named| named != key) {
            let why = "it proves another key than dpop_jkt names (RFC 9449 section 10.1)";
            return Err(Refusal::InvalidDpopProof(why.into()).into());
        }
        request.dpop_key = Some(key);
    }
    request.code = Some(CodeId::drawn(caller.now, app.tokens.draw()));
    Ok(Ok(request))
}
