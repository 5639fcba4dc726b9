//! Posted forms, strictly: each field once, in UTF-8, and not without limit.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::HeaderMap;
use doorward_wire::fault::Unservable;

use super::Stop;
use crate::http::api;

/// Whether a body is a form.
pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded"
}

/// The fields of a form.
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a posted form.
    pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Stop> {
        if !is_form(headers) {
            return Err(Stop::Unservable(Unservable::UnsupportedMediaType));
        }
        let body = api::read(body).await.map_err(Stop::Unservable)?;
        Self::parse(&body).ok_or(Stop::Unservable(Unservable::Incomplete))
    }

    /// `None` if a field occurs twice.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut fields = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(fields))
    }

    /// A field; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_12_a_field_that_occurs_twice_is_an_error() {
        let form = Form::parse(b"decision=deny&request=a%2Bb").unwrap();
        assert_eq!((form.get("decision"), form.get("request"), form.get("absent")), ("deny", "a+b", ""));
        assert!(Form::parse(b"decision=deny&decision=approve").is_none());
    }
}
