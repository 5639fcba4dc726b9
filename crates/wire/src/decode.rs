//! Reading requests: JSON bodies and query strings, strictly.
//!
//! Known members must have their type and occur once; unknown ones are ignored, as restJson1 wants it. `null` is
//! the same as absent. Every complaint names the member.

use std::borrow::Cow;

use doorward_core::refusal::{PortalRefusal, Refusal};
use serde::Deserialize;
use serde_json::Value;

/// The JSON type a member has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A list of strings.
    TextList,
}

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            _ if value.is_null() => true,
            Self::Text => value.is_string(),
            Self::TextList => value.as_array().is_some_and(|items| items.iter().all(Value::is_string)),
        }
    }

    const fn rule(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::TextList => "a list of strings",
        }
    }
}

/// A request body: a JSON object with these members.
pub trait Body: for<'de> Deserialize<'de> {
    /// Its members and their types, in the model's order.
    const MEMBERS: &'static [(&'static str, Kind)];
}

/// Reads a request body.
///
/// # Errors
/// [`Refusal::InvalidRequest`] saying what is wrong and with which member; values are never repeated.
pub fn body<T: Body>(bytes: &[u8]) -> Result<T, Refusal> {
    // Members that are not known are skipped without being looked at, so what they hold is not known to be text.
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(Refusal::InvalidRequest("the request body must be UTF-8".to_owned()));
    };
    // serde would read a struct from an array too.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let what = if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
            "object"
        } else {
            "document"
        };
        return Err(Refusal::InvalidRequest(format!("the request body must be a JSON {what}")));
    }
    serde_json::from_str(text).map_err(|error| Refusal::InvalidRequest(complaint::<T>(bytes, &error)))
}

/// What to say of a body that could not be read. Slow, and only ever run for a refusal.
fn complaint<T: Body>(bytes: &[u8], error: &serde_json::Error) -> String {
    let Ok(Value::Object(members)) = serde_json::from_slice(bytes) else {
        return format!(
            "the request body is not valid JSON, at line {} column {}",
            error.line(),
            error.column()
        );
    };
    let wrong =
        T::MEMBERS.iter().find(|(name, kind)| members.get(*name).is_some_and(|value| !kind.fits(value)));
    match wrong {
        Some((name, kind)) => format!("{name} must be {}", kind.rule()),
        None => "a member of the request body occurs twice".to_owned(),
    }
}

/// A member that must be there; empty is not there.
///
/// # Errors
/// [`Refusal::InvalidRequest`] naming the member.
pub fn required(member: Option<String>, name: &'static str) -> Result<String, Refusal> {
    member
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refusal::InvalidRequest(format!("{name} is required")))
}

/// The parameters of a query string.
#[derive(Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The query string, without its question mark.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The parameter `name`, if it is there and not empty.
    ///
    /// # Errors
    /// [`PortalRefusal::InvalidRequest`] when it occurs twice.
    pub fn get(&self, name: &str) -> Result<Option<Cow<'a, str>>, PortalRefusal> {
        let mut values =
            form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value);
        let value = values.next();
        if values.next().is_some() {
            return Err(PortalRefusal::InvalidRequest(format!("{name} occurs twice")));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// The parameter `name`, which must be there.
    ///
    /// # Errors
    /// [`PortalRefusal::InvalidRequest`] naming it.
    pub fn required(&self, name: &str) -> Result<Cow<'a, str>, PortalRefusal> {
        self.get(name)?.ok_or_else(|| PortalRefusal::InvalidRequest(format!("{name} is required")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sample {
        client_id: Option<String>,
        scopes: Option<Vec<String>>,
    }

    impl Body for Sample {
        const MEMBERS: &'static [(&'static str, Kind)] =
            &[("clientId", Kind::Text), ("scopes", Kind::TextList)];
    }

    fn refused(text: &str) -> String {
        match body::<Sample>(text.as_bytes()) {
            Err(Refusal::InvalidRequest(why)) => why,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("accepted {text}"),
        }
    }

    #[test]
    fn null_is_absent_and_unknown_members_are_ignored() {
        let sample: Sample = body(br#" {"clientId":null,"more":{"deep":[1]},"scopes":["a"]} "#).unwrap();
        assert!(sample.client_id.is_none());
        assert_eq!(sample.scopes, Some(vec!["a".to_owned()]));
    }

    #[test]
    fn every_complaint_names_the_member_and_repeats_no_value() {
        assert_eq!(refused(r#"{"clientId":5}"#), "clientId must be a string");
        assert_eq!(refused(r#"{"clientId":{"secret":1}}"#), "clientId must be a string");
        assert_eq!(refused(r#"{"scopes":"a"}"#), "scopes must be a list of strings");
        assert_eq!(refused(r#"{"scopes":["a",null]}"#), "scopes must be a list of strings");
        assert_eq!(
            refused(r#"{"clientId":"a","clientId":"b"}"#),
            "a member of the request body occurs twice"
        );
        assert_eq!(refused(r#"{"clientId":"#), "the request body is not valid JSON, at line 1 column 12");
        assert_eq!(refused("{} {}"), "the request body is not valid JSON, at line 1 column 4");
        assert_eq!(refused(r#"["a",["b"]]"#), "the request body must be a JSON object");
        assert_eq!(refused(""), "the request body must be a JSON document");
        assert_eq!(refused("clientId=a"), "the request body must be a JSON document");
    }

    #[test]
    fn a_parameter_that_occurs_twice_is_refused() {
        let query = Query::new("role_name=a%20b&account_id=1&account_id=2&empty=");
        assert_eq!(query.required("role_name").unwrap(), "a b");
        assert!(query.get("account_id").is_err());
        assert_eq!(query.get("empty").unwrap(), None);
        assert!(query.required("empty").is_err());
    }
}
