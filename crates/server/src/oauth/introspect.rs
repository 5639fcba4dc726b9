//! `POST /introspect` (RFC 7662): a resource server asks what a token is worth, at this moment.
//!
//! An application may ask about its own tokens, and about those that are for the resource it is. About any other it learns
//! what it would learn about a word that is no token. An answer that is a signed JWT (RFC 9701) can be shown to others.

use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::refusal::Refusal;
use doorward_core::secret::RefreshToken;
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_wire::oauth::form::Form;
use serde::Serialize;

use super::access::{self, Good, good};
use super::claims::{Actor, Audience, Confirmation};
use super::client::{self, Authenticated};
use super::serve;
use crate::app::App;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::Call;
use crate::op::{Caller, Failure};

/// `typ` of an answer that is a JWT (RFC 9701 section 5).
const TYPE: &str = "token-introspection+jwt";
/// The media type of one.
const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// What an application is told of a token (RFC 7662 section 2.2).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Told {
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// RFC 9470 section 6.2, as the one below.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor>,
}

/// `POST /introspect`.
pub(crate) async fn tell(received: Received) -> Response {
    serve(received, run).await
}

async fn run(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response, Failure<Refusal>> {
    let asker = client::authenticate(app, caller, headers, form).await?;
    if asker.client.is_public() {
        // Anybody can say that they are a public client, and then try words.
        return Err(Refusal::InvalidClient.into());
    }
    if asker.client.application().is_none() {
        // Anybody can register a tool.
        app.limits.call(Call::Token(caller.address))?;
    }
    let told = look(app, caller, &asker, form.required("token")?).await?;
    let mut response = if wants_jwt(headers) {
        let mut response = Response::new(signed(app, caller, &asker, &told).await?.into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        answer::keep_from_caches(&mut response);
        response
    } else {
        // Text, numbers and lists of them.
        answer::json(StatusCode::OK, serde_json::to_vec(&told).expect("JSON"))
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// What `asker` is told of a token. Of which kind it is the token says itself, so that `token_type_hint` changes nothing.
async fn look(app: &App, caller: &Caller, asker: &Authenticated, token: &str) -> Result<Told, Outage> {
    if let Some((session, generation)) = app.tokens.refresh(&RefreshToken::new(token)) {
        let Some((session, holder, principal)) = access::live(app, caller, session).await? else {
            return Ok(Told::default());
        };
        // One that was used up is still answered for a while, when it is presented again; but it is not one to rely on.
        if holder != asker.client.id() || generation < session.generation {
            return Ok(Told::default());
        }
        let key = session.terms.as_ref().and_then(|terms| terms.dpop_key);
        let person = principal.id().as_str();
        return Ok(Told {
            active: true,
            scope: Some(session.scopes.to_string()),
            client_id: Some(asker.client_id.clone()),
            username: Some(person.to_owned()),
            exp: Some(session.expires_at.seconds()),
            iat: Some(session.rotated_at.seconds()),
            nbf: Some(session.rotated_at.seconds()),
            sub: Some(person.to_owned()),
            iss: Some(app.site.base().to_owned()),
            auth_time: session.auth_time().map(Timestamp::seconds),
            cnf: key.map(|key| Confirmation { jkt: BASE64URL_NOPAD.encode(key.as_bytes()) }),
            ..Told::default()
        });
    }
    let token = good(app, caller, token).await?.filter(|token| may_see(asker, token));
    Ok(token.map(|token| of_access_token(app, asker, token)).unwrap_or_default())
}

/// Whether a token is the asker's, or for the resource that the asker is.
fn may_see(asker: &Authenticated, token: &Good) -> bool {
    let resource = asker.client.application().and_then(|application| application.resource.as_deref());
    token.client == asker.client.id() || resource.is_some_and(|resource| token.audience.contains(resource))
}

fn of_access_token(app: &App, asker: &Authenticated, token: Good) -> Told {
    let own = token.client == asker.client.id();
    let claims = token.claims;
    let issued = claims.as_ref().map(|claims| claims.iat);
    Told {
        active: true,
        scope: Some(token.scopes.to_string()),
        client_id: token.client_id.or_else(|| own.then(|| asker.client_id.clone())),
        username: token.principal.as_ref().map(|principal| principal.id().as_str().to_owned()),
        token_type: Some(if token.key.is_some() { "DPoP" } else { "Bearer" }),
        exp: Some(token.expires_at.seconds()),
        iat: issued,
        nbf: issued,
        sub: Some(token.subject),
        aud: Some(token.audience),
        iss: Some(app.site.base().to_owned()),
        jti: claims.as_ref().map(|claims| claims.jti.clone()),
        auth_time: claims.as_ref().and_then(|claims| claims.auth_time),
        acr: claims.as_ref().and_then(|claims| claims.acr.clone()),
        cnf: token.key.map(|jkt| Confirmation { jkt }),
        act: claims.and_then(|claims| claims.act),
    }
}

/// Whether the answer is to be a JWT: only if that is asked for by its name.
fn wants_jwt(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        let types = value.split(',').map(|item| item.split(';').next().unwrap_or_default().trim());
        types.into_iter().any(|media_type| media_type.eq_ignore_ascii_case(MEDIA_TYPE))
    })
}

/// The answer as a JWT for the asker (RFC 9701 section 5). It has no `sub` or `exp`, so that it is no token itself.
async fn signed(app: &App, caller: &Caller, asker: &Authenticated, told: &Told) -> Result<String, Outage> {
    #[derive(Serialize)]
    struct Claims<'a> {
        iss: &'a str,
        aud: &'a str,
        iat: i64,
        token_introspection: &'a Told,
    }
    let claims = Claims {
        iss: app.site.base(),
        aud: &asker.client_id,
        iat: caller.now.seconds(),
        token_introspection: told,
    };
    app.signing.sign_jwt(asker.signing_algorithm(), TYPE, &claims).await
}
