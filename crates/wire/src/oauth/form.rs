//! Form-encoded requests (RFC 6749 appendix B), strictly: UTF-8, every parameter once, and not without limit.

use std::fmt;

use doorward_core::refusal::Refusal;

/// The parameters that may occur more than once (RFC 8707 section 2, RFC 8693 section 2.1).
const REPEATABLE: [&str; 2] = ["resource", "audience"];
/// At most so many parameters in one request.
const MOST_PARAMETERS: usize = 64;

/// The parameters of a request.
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body, or a query string.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] for what is not UTF-8, too many parameters, or one that occurs twice (RFC 6749 section
    /// 3.2). Values are never repeated.
    pub fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text) {
            // What is not UTF-8 was replaced by this character, which nobody has reason to send.
            if name.contains('\u{fffd}') || value.contains('\u{fffd}') {
                return Err(Refusal::InvalidRequest("the parameters must be UTF-8".into()));
            }
            if parameters.len() == MOST_PARAMETERS {
                return Err(Refusal::InvalidRequest("there are too many parameters".into()));
            }
            if !REPEATABLE.contains(&&*name) && parameters.iter().any(|(known, _)| *known == name) {
                // A name that is not known may be anything, a secret included.
                let known =
                    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && name.len() <= 40;
                let name = if known { &*name } else { "a parameter" };
                return Err(Refusal::InvalidRequest(format!("{name} occurs twice")));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// A parameter, if it is there and not empty (RFC 6749 section 3.1: without a value it is as if it were not there).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// A parameter that must be there.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] naming it.
    pub fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::InvalidRequest(format!("{name} is required")))
    }

    /// All values of a parameter that may occur more than once.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Most of what a form holds is secret.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        match Form::parse(text.as_bytes()) {
            Err(Refusal::InvalidRequest(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    // Holds: rfc6749-3.1-once
    #[test]
    fn ledger_12_a_parameter_occurs_once() {
        let form = Form::parse(b"grant_type=refresh_token&scope=a+b&state=&resource=x&resource=y").unwrap();
        assert_eq!(form.get("scope"), Some("a b"));
        assert_eq!((form.get("state"), form.get("code")), (None, None));
        assert_eq!(form.all("resource").collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(form.required("code").unwrap_err(), Refusal::InvalidRequest("code is required".into()));
        assert_eq!(refused("code=a&code=b"), "code occurs twice");
        assert_eq!(refused("subject_token=&subject_token=b"), "subject_token occurs twice");
        assert_eq!(refused("Secret%20x=1&Secret%20x=2"), "a parameter occurs twice");
    }

    #[test]
    fn what_is_not_text_or_too_much_is_refused() {
        assert_eq!(refused("scope=%ff"), "the parameters must be UTF-8");
        let many = "p=1&".repeat(65).replace("p=", "resource=");
        assert_eq!(refused(&many), "there are too many parameters");
    }

    #[test]
    fn a_form_does_not_print_its_values() {
        let form = Form::parse(b"client_secret=hunter2").unwrap();
        assert_eq!(format!("{form:?}"), r#"["client_secret"]"#);
    }
}
