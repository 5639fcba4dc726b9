//! `/userinfo` (OpenID Connect Core 1.0 section 5.3): who somebody is, for whoever holds an access token of theirs that is for
//! this server and has the scope `openid`.
//!
//! A token that is bound to a key is taken with a proof of that key and in no other way (RFC 9449 section 7.1), and one that
//! is not only as a bearer.

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use data_encoding::BASE64URL_NOPAD;
use doorward_core::refusal::Refusal;
use doorward_core::store::Outage;
use doorward_wire::fault::OidcFault;
use doorward_wire::oauth::metadata::USERINFO_PATH;
use serde::Serialize;

use super::access::{Good, good};
use super::claims::PersonClaims;
use super::{dpop, failed, is_form, open_to_scripts, read, refuse};
use crate::app::App;
use crate::http::answer;
use crate::http::received::Received;
use crate::limits::{Call, TooOften};
use crate::op::{Caller, Failure};

/// How a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 section 7.1.
    Dpop,
}

/// Why nobody is told anything.
#[derive(Debug)]
enum Denied {
    /// There is no token.
    NoToken,
    /// It is not clear which token is meant; the text says why.
    Unclear(&'static str),
    /// The token is not good, not for this server, or presented in the wrong way.
    InvalidToken(Scheme),
    /// The token has not the scope `openid`.
    InsufficientScope(Scheme),
    /// The proof does not hold; the text says why.
    InvalidProof(String),
    /// The proof needs a nonce.
    UseNonce,
    /// Something that has nothing to do with the token.
    Refused(OidcFault),
}

impl From<TooOften> for Failure<Denied> {
    fn from(_: TooOften) -> Self {
        Self::Refused(Denied::Refused(OidcFault::Refused(Refusal::SlowDown)))
    }
}

/// What is told of a person.
#[derive(Serialize)]
struct Told {
    sub: String,
    #[serde(flatten)]
    person: PersonClaims,
}

/// What is wrong.
#[derive(Serialize)]
struct Problem<'a> {
    error: &'static str,
    error_description: &'a str,
}

/// `GET /userinfo` and `POST /userinfo`.
pub(crate) async fn show(received: Received) -> Response {
    let Received { app, id, caller, parts, body } = received;
    let mut response = match tell(&app, &caller, &parts, body).await {
        // Text and lists of it.
        Ok(told) => answer::json(StatusCode::OK, serde_json::to_vec(&told).expect("JSON")),
        Err(Failure::Refused(denied)) => {
            let wants_proof = matches!(denied, Denied::UseNonce | Denied::InvalidProof(_));
            let mut response = denied.answer();
            if wants_proof {
                dpop::give_nonce(&app, &caller, response.headers_mut());
            }
            response
        }
        Err(Failure::Outage(what)) => failed(Failure::Outage(what), id),
    };
    dpop::offer_nonce(&app, &caller, &parts.headers, response.headers_mut());
    open_to_scripts(&mut response);
    response
}

async fn tell(app: &App, caller: &Caller, parts: &Parts, body: Body) -> Result<Told, Failure<Denied>> {
    let (scheme, token) = presented(parts, body).await?.ok_or(Failure::Refused(Denied::NoToken))?;
    let invalid = || Failure::Refused(Denied::InvalidToken(scheme));
    let token = &token;
    let Good { principal, session, scopes, audience, key, .. } =
        good(app, caller, token).await?.ok_or_else(invalid)?;
    if !audience.contains(app.site.base()) {
        return Err(invalid());
    }
    if let Some(session) = session {
        app.limits.call(Call::Portal(session))?;
    }
    match (scheme, key) {
        (Scheme::Bearer, None) => {}
        (Scheme::Dpop, Some(bound)) => prove(app, caller, parts, token, &bound).await?,
        (Scheme::Bearer, Some(_)) | (Scheme::Dpop, None) => return Err(invalid()),
    }
    // An application that acts for itself is nobody.
    let principal = principal.ok_or_else(invalid)?;
    if !scopes.contains("openid") {
        return Err(Failure::Refused(Denied::InsufficientScope(scheme)));
    }
    Ok(Told { sub: principal.id().as_str().to_owned(), person: PersonClaims::of(&principal, &scopes) })
}

/// The token of a request, and how it is presented: in the header, or in the form that is posted (RFC 6750 sections 2.1 and
/// 2.2). Addresses end up in logs, and so a token in one is refused.
async fn presented(parts: &Parts, body: Body) -> Result<Option<(Scheme, String)>, Failure<Denied>> {
    let unclear = |why| Err(Failure::Refused(Denied::Unclear(why)));
    let query = parts.uri.query().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token") {
        return unclear("access_token must not be in the address");
    }
    let in_body = if parts.method == Method::POST && is_form(&parts.headers) {
        let form = read(&parts.headers, body).await;
        let form = form.map_err(|fault| Failure::Refused(Denied::Refused(fault)))?;
        form.get("access_token").map(str::to_owned)
    } else {
        None
    };
    let mut authorizations = parts.headers.get_all(AUTHORIZATION).iter();
    let (authorization, another) = (authorizations.next(), authorizations.next());
    if another.is_some() {
        return unclear("there is more than one Authorization header");
    }
    match (authorization, in_body) {
        (Some(_), Some(_)) => unclear("there is a token in the Authorization header and another in the body"),
        (None, in_body) => Ok(in_body.map(|token| (Scheme::Bearer, token))),
        (Some(authorization), None) => Ok(authorization.to_str().ok().and_then(in_header)),
    }
}

fn in_header(authorization: &str) -> Option<(Scheme, String)> {
    let (scheme, token) = authorization.split_once(' ')?;
    let scheme = if scheme.eq_ignore_ascii_case("Bearer") {
        Scheme::Bearer
    } else if scheme.eq_ignore_ascii_case("DPoP") {
        Scheme::Dpop
    } else {
        return None;
    };
    Some((scheme, token.trim().to_owned()))
}

/// Whether the request proves the key that its token is bound to.
async fn prove(
    app: &App,
    caller: &Caller,
    parts: &Parts,
    token: &str,
    bound: &str,
) -> Result<(), Failure<Denied>> {
    let url = format!("{}{USERINFO_PATH}", app.site.base());
    let proved = dpop::proof(app, caller, &parts.headers, &parts.method, &url, Some(token)).await;
    let denied = match proved {
        Ok(Some(key)) if BASE64URL_NOPAD.encode(key.as_bytes()) == bound => return Ok(()),
        Ok(Some(_)) => Denied::InvalidToken(Scheme::Dpop),
        Ok(None) => Denied::InvalidProof("there is no DPoP header".into()),
        Err(Failure::Refused(Refusal::InvalidDpopProof(why))) => Denied::InvalidProof(why),
        Err(Failure::Refused(Refusal::UseDpopNonce)) => Denied::UseNonce,
        Err(Failure::Refused(refusal)) => Denied::Refused(OidcFault::Refused(refusal)),
        Err(Failure::Outage(what)) => return Err(Outage(what).into()),
    };
    Err(Failure::Refused(denied))
}

impl Denied {
    /// The answer: what is wrong, and how to do it right (RFC 6750 section 3, RFC 9449 section 7.1).
    fn answer(self) -> Response {
        let (status, scheme, error, why) = match self {
            Self::Refused(fault) => return refuse(&fault),
            // Whoever did not know that a token is needed is told no more than that.
            Self::NoToken => {
                let mut response = answer::json(StatusCode::UNAUTHORIZED, b"{}".to_vec());
                challenge(response.headers_mut(), Scheme::Bearer, None);
                challenge(response.headers_mut(), Scheme::Dpop, None);
                return response;
            }
            Self::Unclear(why) => {
                (StatusCode::BAD_REQUEST, Scheme::Bearer, "invalid_request", why.to_owned())
            }
            Self::InvalidToken(scheme) => {
                let why = "the access token is not good here, or not presented as it must be";
                (StatusCode::UNAUTHORIZED, scheme, "invalid_token", why.to_owned())
            }
            Self::InsufficientScope(scheme) => {
                let why = "the access token has not the scope openid";
                (StatusCode::FORBIDDEN, scheme, "insufficient_scope", why.to_owned())
            }
            Self::InvalidProof(why) => (StatusCode::UNAUTHORIZED, Scheme::Dpop, "invalid_dpop_proof", why),
            Self::UseNonce => {
                let why = "the DPoP proof must hold the nonce of the header DPoP-Nonce";
                (StatusCode::UNAUTHORIZED, Scheme::Dpop, "use_dpop_nonce", why.to_owned())
            }
        };
        // Two texts.
        let body = serde_json::to_vec(&Problem { error, error_description: &why }).expect("JSON");
        let mut response = answer::json(status, body);
        challenge(response.headers_mut(), scheme, Some(error));
        response
    }
}

fn challenge(headers: &mut HeaderMap, scheme: Scheme, error: Option<&'static str>) {
    let mut parameters: Vec<String> = error.map(|error| format!("error=\"{error}\"")).into_iter().collect();
    if error == Some("insufficient_scope") {
        parameters.push("scope=\"openid\"".to_owned());
    }
    let scheme = match scheme {
        Scheme::Bearer => "Bearer",
        Scheme::Dpop => {
            parameters.push(format!("algs=\"{}\"", dpop::ALGORITHMS.join(" ")));
            "DPoP"
        }
    };
    let text = format!("{scheme} {}", parameters.join(", "));
    // Words of this file.
    headers.append(WWW_AUTHENTICATE, HeaderValue::try_from(text.trim_end()).expect("visible ASCII"));
}
