//! Posted forms, strictly: each field once, in UTF-8, and not without limit.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use doorward_wire::fault::Unservable;

use super::{Notice, Stop};
use crate::http::api;

/// The fields of a form.
pub(crate) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a posted form.
    pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Stop> {
        let bad = |status| {
            Stop::Page(status, Notice::failed("That form cannot be read", "Reload the page, and try again."))
        };
        let media_type =
            headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        if media_type.split(';').next().unwrap_or_default().trim() != "application/x-www-form-urlencoded" {
            return Err(bad(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let body = api::read(body).await.map_err(|why| match why {
            Unservable::TooLarge => bad(StatusCode::PAYLOAD_TOO_LARGE),
            _ => bad(StatusCode::BAD_REQUEST),
        })?;
        Self::parse(&body).ok_or_else(|| bad(StatusCode::BAD_REQUEST))
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
