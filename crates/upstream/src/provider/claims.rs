//! The claims of a token (RFC 7519 section 4), read strictly.

use doorward_core::time::Timestamp;
use serde_json::{Map, Value};

/// Claims by name.
pub(crate) type Claims = Map<String, Value>;

/// The longest subject, in bytes (OpenID Connect Core section 2).
pub(crate) const LONGEST_SUBJECT: usize = 255;

/// A claim that must be there, and be text.
pub(crate) fn text<'a>(claims: &'a Claims, name: &str) -> Result<&'a str, String> {
    claims.get(name).and_then(Value::as_str).ok_or_else(|| format!("it has no text {name}"))
}

/// The audience: a text or several (RFC 7519 section 4.1.3).
pub(crate) fn audience(claims: &Claims) -> Result<Vec<&str>, String> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => {
            let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| "aud holds something that is no text".to_owned())
        }
        Some(_) => Err("aud is neither a text nor a list".to_owned()),
        None => Err("it has no aud".to_owned()),
    }
}

/// A `NumericDate` (RFC 7519 section 2): seconds, perhaps with a fraction.
pub(crate) fn time(claims: &Claims, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().or_else(|| {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, and time at its ends is refused"
        )]
        value.as_f64().map(|seconds| seconds as i64)
    });
    seconds.map(|seconds| Some(Timestamp::from_seconds(seconds))).ok_or_else(|| format!("{name} is no time"))
}

/// `email_verified`, which some write as text.
pub(crate) fn email_verified(claims: &Claims) -> Option<bool> {
    match claims.get("email_verified")? {
        Value::Bool(verified) => Some(*verified),
        Value::String(text) => Some(text == "true"),
        _ => Some(false),
    }
}
