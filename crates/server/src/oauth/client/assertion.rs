//! `private_key_jwt`: a JWT by which a client says who it is, signed with a key that its administrator wrote down (RFC 7523
//! sections 2.2 and 3, OpenID Connect Core 1.0 section 9).

use std::borrow::Cow;

use doorward_core::application::Application;
use doorward_core::store::Outage;
use doorward_core::time::{Lifetime, Timestamp};
use serde_json::Value;

use crate::app::App;
use crate::oauth::jws::{self, Key, Members, text, time};
use crate::oauth::once::{LONGEST_JTI, Purpose, once_id, use_once};
use crate::op::Caller;

/// How far a client's clock may be off.
const LEEWAY: Lifetime = Lifetime::from_seconds(30);
/// How far ahead an assertion may expire: its `jti` has to be remembered for as long.
const LONGEST: Lifetime = Lifetime::from_seconds(600);
/// The longest assertion that is looked at, in bytes.
const LONGEST_ASSERTION: usize = 8 * 1024;
/// The types that an assertion may have, if it has one: a DPoP proof or an access token is no assertion, whoever signed it
/// (RFC 8725 section 3.11).
const TYPES: [&str; 2] = ["JWT", "client-authentication+jwt"];

/// The client that an assertion names, which nobody has checked.
pub(super) fn subject(assertion: &str) -> Option<Cow<'static, str>> {
    if assertion.len() > LONGEST_ASSERTION {
        return None;
    }
    text(&jws::unverified(assertion)?, "sub").map(|sub| Cow::Owned(sub.to_owned()))
}

/// Whether an assertion is one of this application's, for this server, now, and for the first time.
///
/// # Errors
/// [`Outage`] when the store cannot tell whether it is the first time.
pub(super) async fn holds(
    app: &App,
    caller: &Caller,
    application: &Application,
    assertion: &str,
) -> Result<bool, Outage> {
    let checked = verified(application, assertion)
        .and_then(|claims| check(&claims, application, app.site.base(), caller.now));
    match checked {
        Ok(Checked { jti, until }) => {
            let whose = application.client_id.as_str().as_bytes();
            let first = use_once(app, once_id(Purpose::ClientAssertion, whose, &jti), until).await?;
            if !first {
                refused(application, "its jti was used before");
            }
            Ok(first)
        }
        Err(why) => {
            refused(application, why);
            Ok(false)
        }
    }
}

/// The client is told nothing, and its operator has to find out somewhere.
fn refused(application: &Application, why: &str) {
    tracing::debug!(client = %application.client_id, why, "a client assertion was refused");
}

/// The claims of an assertion that one of the application's keys signed.
fn verified(application: &Application, assertion: &str) -> Result<Members, &'static str> {
    if assertion.len() > LONGEST_ASSERTION {
        return Err("it is too long");
    }
    let header = jws::header(assertion).ok_or("its header cannot be read")?;
    if header.contains_key("crit") {
        return Err("its header has crit, and nothing that it may mean is known here");
    }
    if let Some(kind) = header.get("typ") {
        let known = |kind: &str| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind));
        if !kind.as_str().is_some_and(known) {
            return Err("its typ is that of something else");
        }
    }
    let named = text(&header, "kid");
    let keys = application.keys.iter().filter(|key| match (named, key.kid.as_deref()) {
        (Some(named), Some(kid)) => named == kid,
        _ => true,
    });
    keys.filter_map(|key| Key::of(&serde_json::to_value(key).ok()?))
        .find_map(|key| key.verify(assertion))
        .ok_or("no key of the application's has signed it with an algorithm of that key")
}

/// What is left to be seen of an assertion that says what it must.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    jti: String,
    until: Timestamp,
}

fn check(
    claims: &Members,
    application: &Application,
    base: &str,
    now: Timestamp,
) -> Result<Checked, &'static str> {
    let client_id = application.client_id.as_str();
    if text(claims, "iss") != Some(client_id) || text(claims, "sub") != Some(client_id) {
        return Err("iss and sub must be the client id");
    }
    let audience = match claims.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()),
        // With several, somebody else who is meant could pass it on to here.
        Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
        _ => None,
    };
    // RFC 9126 section 2 has the last one of them.
    let own = |audience: &str| match audience.strip_prefix(base) {
        Some("" | "/token" | "/par") => true,
        Some(_) | None => false,
    };
    if !audience.is_some_and(own) {
        return Err("aud must be the issuer or the token endpoint, and nothing else");
    }
    let expires = time(claims, "exp").ok_or("it has no exp")?;
    if now >= expires.plus(LEEWAY) {
        return Err("it has expired");
    }
    if expires > now.plus(LONGEST).plus(LEEWAY) {
        return Err("exp is more than ten minutes ahead");
    }
    for name in ["iat", "nbf"] {
        if !claims.contains_key(name) {
            continue;
        }
        let from = time(claims, name).ok_or("iat or nbf is no time")?;
        if from > now.plus(LEEWAY) {
            return Err("iat or nbf is ahead: do the clocks agree?");
        }
    }
    let jti = text(claims, "jti").filter(|jti| (1..=LONGEST_JTI).contains(&jti.len()));
    let jti = jti.ok_or("it has no jti, or a very long one")?.to_owned();
    Ok(Checked { jti, until: expires.plus(LEEWAY) })
}
