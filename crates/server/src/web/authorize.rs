//! The authorization endpoint (RFC 6749 section 4.1, RFC 7636): `GET /authorize`.
//!
//! 1. Who asks, and where does the answer go? Until both are certain, nobody is redirected anywhere.
//! 2. What is asked? From here on errors go to the client, by redirect.
//! 3. A signed-in person sees the question; nothing is stored while they think.
//! 4. The decision travels back to the client: a code, or `access_denied`.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::assignment::Standing;
use doorward_core::client::{GrantType, Registration};
use doorward_core::grant::authorization_code::Code;
use doorward_core::ids::{ClientId, CodeId, PersonId, SessionId};
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::CodeChallenge;
use doorward_core::time::{Lifetime, Timestamp};
use doorward_wire::fault::OidcFault;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::device::approves;
use super::page::Consent;
use super::visit::{Browser, Visit};
use super::{Answered, Notice, Page, Stop, html, redirect, scope_lines, serve};
use crate::app::App;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::Caller;
use crate::tokens::About;

/// How long a person may think.
const DECISION_LIFETIME: Lifetime = Lifetime::from_seconds(600);
/// The longest `state` that is carried for a client, in bytes.
const LONGEST_STATE: usize = 2048;

/// What a person is being asked, carried by the form and bound to client, redirect URI, challenge, scopes and
/// browser. The code's id is drawn here already: a form that is posted twice makes one session, not two.
#[derive(Serialize, Deserialize)]
struct Asked {
    code: CodeId,
    client: ClientId,
    redirect_uri: String,
    challenge: CodeChallenge,
    scopes: Scopes,
    state: Option<String>,
    browser: Option<SessionId>,
    expires_at: Timestamp,
}

/// The parameters of a request. A parameter that occurs twice is an error (RFC 6749 section 3.1), but for the scopes,
/// which clients spell in every way there is.
struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    fn parse(query: &'a str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    fn once(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
            _ => Err(Refusal::InvalidRequest(format!("{name} occurs twice"))),
        }
    }

    /// `scope` or `scopes`, separated by spaces or commas, once or repeated.
    fn scopes(&self) -> Result<Scopes, Refusal> {
        let texts = self.0.iter().filter(|(key, _)| key == "scope" || key == "scopes").map(|(_, text)| text);
        Scopes::parse(texts.flat_map(|text| text.split(',')))
    }
}

/// `GET /authorize`.
pub(crate) async fn show(received: Received) -> Response {
    serve(received, async |page, _| {
        let Page { app, caller, visit, .. } = page;
        if app.limits.call(Call::Anonymous(caller.address)).is_err() {
            let notice = Notice::failed(
                "Too many requests",
                "Wait a minute, then start the sign-in again from the tool.",
            );
            return Err(Stop::Page(StatusCode::TOO_MANY_REQUESTS, notice));
        }
        let parameters = Parameters::parse(page.query());
        let (registration, redirect_uri) = certain_client(app, caller, &parameters)?;
        let state = match parameters.once("state") {
            Ok(state) if state.is_none_or(|state| state.len() <= LONGEST_STATE) => state,
            _ => {
                let refusal =
                    Refusal::InvalidRequest("state occurs twice or is longer than 2048 bytes".into());
                return Ok(send_error(redirect_uri, None, &OidcFault::Refused(refusal)));
            }
        };
        let (challenge, scopes) = match asked_for(&registration, &parameters) {
            Ok(asked) => asked,
            Err(fault) => return Ok(send_error(redirect_uri, state, &fault)),
        };
        let mut asked = Asked {
            code: CodeId::drawn(caller.now, app.tokens.draw()),
            client: registration.id,
            redirect_uri: redirect_uri.to_owned(),
            challenge,
            scopes,
            state: state.map(str::to_owned),
            browser: None,
            expires_at: caller.now.plus(DECISION_LIFETIME),
        };
        if let Some(person) = app.auto_approver() {
            return approve(app, caller, &asked, person, caller.now).await;
        }
        let browser = page.signed_in()?;
        asked.browser = Some(browser.session.id);
        Ok(consent(app, visit, browser, &registration, &asked))
    })
    .await
}

/// Step 1.
fn certain_client<'p>(
    app: &App,
    caller: &Caller,
    parameters: &'p Parameters<'_>,
) -> Result<(Registration, &'p str), Stop> {
    let refuse =
        |status, text: &'static str| Stop::Page(status, Notice::failed("This request cannot be used", text));
    let unknown = || {
        refuse(
            StatusCode::UNAUTHORIZED,
            "The tool that sent you here is not registered with this server, or its registration has expired. Start \
             the sign-in again from the tool.",
        )
    };
    let client_id = parameters.once("client_id").ok().flatten().ok_or_else(unknown)?;
    let registration = app.tokens.registration(client_id).ok_or_else(unknown)?;
    if caller.now >= registration.expires_at {
        return Err(unknown());
    }
    let redirect_uri = parameters.once("redirect_uri").ok().flatten();
    let redirect_uri = redirect_uri.filter(|uri| registration.may_redirect_to(uri)).ok_or_else(|| {
        info!(address = %caller.address, "refused a redirect_uri that the client did not register");
        refuse(
            StatusCode::BAD_REQUEST,
            "The tool wants its answer at an address that it did not register. You were not sent there.",
        )
    })?;
    Ok((registration, redirect_uri))
}

/// Step 2.
fn asked_for(
    registration: &Registration,
    parameters: &Parameters<'_>,
) -> Result<(CodeChallenge, Scopes), OidcFault> {
    let invalid = |why: &str| Err(OidcFault::Refused(Refusal::InvalidRequest(why.to_owned())));
    match parameters.once("response_type").map_err(OidcFault::Refused)? {
        Some("code") => {}
        None => return invalid("response_type is required"),
        Some(_) => return Err(OidcFault::UnsupportedResponseType),
    }
    if !registration.grants.contains(GrantType::AuthorizationCode) {
        return Err(OidcFault::Refused(Refusal::UnauthorizedClient));
    }
    if parameters.once("code_challenge_method").map_err(OidcFault::Refused)? != Some("S256") {
        return invalid("code_challenge_method must be S256");
    }
    let challenge = parameters
        .once("code_challenge")
        .map_err(OidcFault::Refused)?
        .and_then(|text| BASE64URL_NOPAD.decode(text.as_bytes()).ok())
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    let Some(challenge) = challenge else {
        return invalid("code_challenge must be 43 characters of base64url (RFC 7636)");
    };
    let scopes = parameters.scopes().and_then(|asked| registration.scopes.narrow(&asked));
    Ok((CodeChallenge::from_bytes(challenge), scopes.map_err(OidcFault::Refused)?))
}

/// Step 3.
fn consent(
    app: &App,
    visit: &Visit,
    browser: &Browser,
    registration: &Registration,
    asked: &Asked,
) -> Response {
    let host = url::Url::parse(&asked.redirect_uri).ok().and_then(|url| {
        let host = url.host_str()?.to_owned();
        Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    let template = Consent {
        chrome: visit.chrome(app),
        action: "/authorize/decision".to_owned(),
        request: app.tokens.ask(About::Authorization, asked),
        client_name: registration.name.clone(),
        user_code: None,
        scopes: scope_lines(&asked.scopes),
        address: None,
        user_agent: None,
        asked: None,
        returns_to: host,
        person: browser.principal.shown_name().to_owned(),
    };
    html(app, StatusCode::OK, &template, Some(&asked.redirect_uri))
}

/// `POST /authorize/decision`: step 4.
pub(crate) async fn decide(received: Received) -> Response {
    serve(received, async |page, body| {
        let Page { app, caller, .. } = page;
        let browser = page.signed_in()?;
        let posted = page.form(body).await?;
        let out_of_date = || Stop::Page(StatusCode::FORBIDDEN, Notice::out_of_date());
        let asked: Asked = app.tokens.asked(About::Authorization, posted.get("request")).ok_or_else(out_of_date)?;
        if asked.browser != Some(browser.session.id) || caller.now >= asked.expires_at {
            return Err(out_of_date());
        }
        let (session, state) = (&browser.session, asked.state.as_deref());
        if approves(posted.get("decision"))? {
            approve(app, caller, &asked, &session.person, session.authenticated_at).await
        } else {
            info!(target: "audit", event = "authorization_denied", person = %session.person, address = %caller.address);
            Ok(send_error(&asked.redirect_uri, state, &OidcFault::Refused(Refusal::AccessDenied)))
        }
    })
    .await
}

async fn approve(
    app: &App,
    caller: &Caller,
    asked: &Asked,
    person: &PersonId,
    authenticated_at: Timestamp,
) -> Answered {
    let state = asked.state.as_deref();
    let standing = Standing::load(&*app.store, app.identity.trust(), Some(person)).await?;
    if !standing.is_usable(person, authenticated_at, caller.now) {
        return Ok(send_error(&asked.redirect_uri, state, &OidcFault::Refused(Refusal::AccessDenied)));
    }
    let code = app.tokens.authorization_code(&Code {
        id: asked.code,
        client: asked.client,
        redirect_uri: asked.redirect_uri.clone(),
        challenge: asked.challenge,
        scopes: asked.scopes.clone(),
        person: person.clone(),
        authenticated_at,
        expires_at: caller.now.plus(app.policy.lifetimes.authorization_code),
        terms: None,
        nonce: None,
    });
    info!(target: "audit", event = "authorization_approved", %person, address = %caller.address);
    Ok(send(&asked.redirect_uri, &[("code", code.reveal())], state))
}

fn send_error(redirect_uri: &str, state: Option<&str>, fault: &OidcFault) -> Response {
    let description = fault.description();
    send(redirect_uri, &[("error", fault.error()), ("error_description", &description)], state)
}

/// Sends the browser to the client, with `state` as it came.
fn send(redirect_uri: &str, answer: &[(&str, &str)], state: Option<&str>) -> Response {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(answer);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    redirect(StatusCode::FOUND, &format!("{redirect_uri}{separator}{}", query.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t32_scopes_are_read_in_every_spelling() {
        let expected = Scopes::parse(["a b"]).unwrap();
        for query in [
            "scopes=a%20b",
            "scopes=a%2Cb",
            "scopes=a+b",
            "scope=a%20b",
            "scope=a+b",
            "scope=a&scope=b",
            "scope=a&scopes=b",
        ] {
            assert_eq!(Parameters::parse(query).scopes().as_ref(), Ok(&expected), "{query}");
        }
        assert!(Parameters::parse("state=x").scopes().unwrap().is_empty());
    }

    #[test]
    fn the_answer_keeps_the_redirect_uri_and_the_state_to_the_letter() {
        let location = |uri: &str, state: &str| {
            let response = send(uri, &[("code", "c+/=")], Some(state));
            response.headers()["location"].to_str().unwrap().to_owned()
        };
        assert_eq!(
            location("http://127.0.0.1:5/oauth/callback", "a b&c=d"),
            "http://127.0.0.1:5/oauth/callback?code=c%2B%2F%3D&state=a+b%26c%3Dd"
        );
        assert_eq!(
            location("http://127.0.0.1:5/?x=1", "s"),
            "http://127.0.0.1:5/?x=1&code=c%2B%2F%3D&state=s"
        );
    }
}
