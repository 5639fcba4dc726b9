//! The column `terms` of a session: what was agreed on beside its scopes, as JSON whose names are short, because there is
//! one for each session of an application. A tool's session has none, and its column is NULL.

use data_encoding::BASE64URL_NOPAD;
use doorward_core::ids::{IssuerName, SessionId};
use doorward_core::secret::KeyThumbprint;
use doorward_core::session::Terms;
use doorward_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::columns::BadColumn;

/// The names are those of the tokens' claims. They are stored, so they never change.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aud: Vec<String>,
    /// Base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jkt: Option<String>,
    /// As ids are displayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    /// The name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    /// In milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<i64>,
}

/// Terms as the column; [`read`] reads them back.
pub(crate) fn column(terms: &Terms) -> String {
    let column = Column {
        aud: terms.audiences.clone(),
        jkt: terms.dpop_key.map(|key| BASE64URL_NOPAD.encode(key.as_bytes())),
        sid: terms.browser.map(|id| id.to_string()),
        amr: terms.amr.clone(),
        acr: terms.acr.clone(),
        iss: terms.issuer.as_ref().map(|issuer| issuer.as_str().to_owned()),
        at: terms.proved_at.map(Timestamp::millis),
    };
    // Texts and lists of texts are JSON whatever they say.
    serde_json::to_string(&column).expect("terms are JSON")
}

/// Terms from the column.
pub(crate) fn read(text: &str) -> Result<Terms, BadColumn> {
    let bad = |why: &dyn std::fmt::Display| BadColumn::new("terms", why);
    // Or serde would take an array for its members.
    if !text.starts_with('{') {
        return Err(bad(&"it is no JSON object"));
    }
    let column: Column = serde_json::from_str(text).map_err(|error| bad(&error))?;
    Ok(Terms {
        audiences: column.aud,
        dpop_key: match column.jkt {
            Some(key) => Some(thumbprint(&key).ok_or_else(|| bad(&"jkt is no thumbprint"))?),
            None => None,
        },
        browser: match column.sid {
            Some(id) => Some(id.parse::<SessionId>().map_err(|error| bad(&format!("sid: {error}")))?),
            None => None,
        },
        amr: column.amr,
        acr: column.acr,
        issuer: match column.iss {
            Some(name) => Some(IssuerName::parse(name).map_err(|error| bad(&format!("iss: {error}")))?),
            None => None,
        },
        proved_at: column.at.map(Timestamp::from_millis),
    })
}

fn thumbprint(text: &str) -> Option<KeyThumbprint> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok().map(KeyThumbprint::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::fixtures::terms;

    #[test]
    fn terms_are_stored_under_names_that_never_change() {
        let text = r#"{"aud":["https://api.example.com/"],"jkt":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk","sid":"42f3a9364c476be30000000000000063","amr":["pwd","otp"],"acr":"urn:example:gold","iss":"corp","at":1767225600250}"#;
        assert_eq!(column(&terms()), text);
        assert_eq!(read(text).unwrap(), terms());
        assert_eq!(column(&Terms::default()), "{}");
        assert_eq!(read("{}").unwrap(), Terms::default());
    }

    #[test]
    fn what_is_no_terms_is_told() {
        for (text, why) in [
            ("", "no JSON object"),
            ("[]", "no JSON object"),
            ("null", "no JSON object"),
            ("{", "EOF"),
            ("{} {}", "trailing"),
            (r#"{"aud":"https://api.example.com/"}"#, "invalid type"),
            (r#"{"audience":[]}"#, "unknown field"),
            (r#"{"acr":"a","acr":"b"}"#, "duplicate field"),
            (r#"{"jkt":"AA"}"#, "jkt"),
            (r#"{"jkt":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQl"}"#, "jkt"),
            (r#"{"jkt":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="}"#, "jkt"),
            (r#"{"iss":"Corp"}"#, "iss"),
            (r#"{"sid":"42F3A9364C476BE30000000000000063"}"#, "sid"),
        ] {
            let told = read(text).unwrap_err().to_string();
            assert!(told.starts_with("column terms: ") && told.contains(why), "{text}: {told}");
        }
    }
}
