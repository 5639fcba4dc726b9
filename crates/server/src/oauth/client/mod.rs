//! Who asks: client authentication of the form-encoded endpoints (RFC 6749 section 2.3).
//!
//! A client proves who it is in one way, and that is the one its application registered. Whatever is wrong with the
//! proof, the answer is the same: whether there is such a client is nobody's business.

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;
use doorward_core::application::{Application, ClientAuthentication};
use doorward_core::client::{KnownClient, Registration};
use doorward_core::ids::ApplicationId;
use doorward_core::refusal::Refusal;
use doorward_core::secret::ClientSecret;
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_wire::oauth::form::Form;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use subtle::Choice;

use crate::app::App;
use crate::limits::Call;
use crate::op::{Caller, Failure};

mod assertion;
#[cfg(test)]
mod tests;

/// `client_assertion_type` of a JWT (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that has proved who it is, as far as it can: [`KnownClient::is_public`] says of whom nothing was asked.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    /// The client.
    pub(crate) client: KnownClient,
    /// `client_id`: what it is called in tokens.
    pub(crate) client_id: String,
}

impl Authenticated {
    fn of(client: KnownClient, presented: &str) -> Self {
        let client_id = client.application().map_or(presented, |application| application.client_id.as_str());
        Self { client_id: client_id.to_owned(), client }
    }

    /// An application for which somebody else has proved that they may speak.
    pub(crate) fn vouched_for(application: &Arc<Application>, now: Timestamp) -> Result<Self, Refusal> {
        let client = Registration::of(application).authenticate(Choice::from(1), now)?;
        Ok(Self::of(client, application.client_id.as_str()))
    }

    /// What its tokens are signed with.
    pub(crate) fn signing_algorithm(&self) -> SigningAlgorithm {
        self.client.application().map(|application| application.signing_algorithm).unwrap_or_default()
    }
}

/// What a request says of its client, before any of it is believed.
enum Presented<'a> {
    /// A name and a secret, in the header or in the body.
    Secret { client_id: Cow<'a, str>, secret: ClientSecret, method: ClientAuthentication },
    /// A signed JWT, and perhaps a name beside it.
    Assertion { client_id: Option<&'a str>, assertion: &'a str },
    /// A name alone.
    Name { client_id: &'a str },
}

/// Authenticates the client of a request.
///
/// # Errors
/// [`Refusal::InvalidRequest`] when it says in two ways who it is, or in one that is not complete;
/// [`Refusal::InvalidClient`] for an unknown client, a wrong proof, or one of another kind than was registered, without any
/// difference; [`Refusal::SlowDown`] for whoever fails too often. [`Failure::Outage`] when the store fails.
pub(crate) async fn authenticate(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Authenticated, Failure<Refusal>> {
    let known = match presented(headers, form)? {
        Some(presented) => check(app, caller, presented).await?,
        None => None,
    };
    if let Some(authenticated) = known {
        return Ok(authenticated);
    }
    app.limits.call(Call::Token(caller.address))?;
    Err(Refusal::InvalidClient.into())
}

/// What a request says of its client; none if that is nothing, or cannot be read.
fn presented<'a>(headers: &'a HeaderMap, form: &'a Form) -> Result<Option<Presented<'a>>, Refusal> {
    let invalid = |why: &str| Err(Refusal::InvalidRequest(why.into()));
    let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
    let (authorization, another) = (authorizations.next(), authorizations.next());
    if another.is_some() {
        return invalid("there is more than one Authorization header");
    }
    let (client_id, secret) = (form.get("client_id"), form.get("client_secret"));
    let (assertion, kind) = (form.get("client_assertion"), form.get("client_assertion_type"));
    let ways = [authorization.is_some(), secret.is_some(), assertion.is_some() || kind.is_some()];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        return invalid("a client must authenticate in one way only");
    }
    if let Some(authorization) = authorization {
        let Some((name, secret)) = authorization.to_str().ok().and_then(basic) else { return Ok(None) };
        if client_id.is_some_and(|client_id| client_id != name) {
            return invalid("client_id is not the client of the Authorization header");
        }
        let method = ClientAuthentication::ClientSecretBasic;
        return Ok(Some(Presented::Secret { client_id: name.into(), secret, method }));
    }
    match (assertion, kind) {
        (Some(assertion), Some(JWT_BEARER)) => {
            return Ok(Some(Presented::Assertion { client_id, assertion }));
        }
        (Some(_), None) => return invalid("client_assertion_type is required with client_assertion"),
        (None, Some(_)) => return invalid("client_assertion is required with client_assertion_type"),
        (Some(_), Some(_)) => return invalid(&format!("client_assertion_type must be {JWT_BEARER}")),
        (None, None) => {}
    }
    let Some(client_id) = client_id else { return Ok(None) };
    Ok(Some(match secret {
        Some(secret) => Presented::Secret {
            client_id: client_id.into(),
            secret: ClientSecret::new(secret),
            method: ClientAuthentication::ClientSecretPost,
        },
        None => Presented::Name { client_id },
    }))
}

/// Name and secret of an `Authorization` header: each was form-encoded before they were joined (RFC 6749 section 2.3.1).
fn basic(authorization: &str) -> Option<(String, ClientSecret)> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let joined = String::from_utf8(BASE64.decode(credentials.trim().as_bytes()).ok()?).ok()?;
    let (name, secret) = joined.split_once(':')?;
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
    };
    Some((decode(name)?, ClientSecret::new(decode(secret)?)))
}

/// The client, if what it presents holds.
async fn check(
    app: &App,
    caller: &Caller,
    presented: Presented<'_>,
) -> Result<Option<Authenticated>, Outage> {
    match presented {
        Presented::Secret { client_id, secret, method } => {
            let Some(application) = application(app, &client_id).await? else {
                // A tool that registered itself; it was never told to prefer one way or the other.
                let client = app.tokens.authenticate(&client_id, &secret, caller.now).ok();
                return Ok(client.map(|client| Authenticated::of(client, &client_id)));
            };
            let hash = sha256(secret.reveal());
            // All of them, so that the time it takes says nothing.
            let right =
                application.secret_hashes.iter().fold(Choice::from(0), |any, one| any | one.is(&hash));
            Ok(known(&application, method, right, caller))
        }
        Presented::Assertion { client_id, assertion } => {
            let Some(name) = client_id.map(Cow::Borrowed).or_else(|| assertion::subject(assertion)) else {
                return Ok(None);
            };
            let Some(application) = application(app, &name).await? else { return Ok(None) };
            if application.authentication != ClientAuthentication::PrivateKeyJwt {
                return Ok(None);
            }
            let right = assertion::holds(app, caller, &application, assertion).await?;
            Ok(known(
                &application,
                ClientAuthentication::PrivateKeyJwt,
                Choice::from(u8::from(right)),
                caller,
            ))
        }
        Presented::Name { client_id } => {
            let application = application(app, client_id).await?;
            Ok(application.and_then(|it| known(&it, ClientAuthentication::None, Choice::from(1), caller)))
        }
    }
}

/// The application, if its proof is right and of the kind that it registered.
fn known(
    application: &Arc<Application>,
    method: ClientAuthentication,
    right: Choice,
    caller: &Caller,
) -> Option<Authenticated> {
    let registered = Choice::from(u8::from(application.authentication == method));
    let client = Registration::of(application).authenticate(right & registered, caller.now).ok()?;
    Some(Authenticated::of(client, application.client_id.as_str()))
}

/// The application whose `client_id` this is. Its ARN is a name too, but not one that it may go by here.
async fn application(app: &App, client_id: &str) -> Result<Option<Arc<Application>>, Outage> {
    let Ok(id) = ApplicationId::parse(client_id) else { return Ok(None) };
    let directory = app.store.directory().await?;
    Ok(directory.application(&id).filter(|application| application.client_id == id).cloned())
}

fn sha256(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}
