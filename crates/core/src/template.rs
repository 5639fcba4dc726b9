//! Texts with placeholders in braces, such as `arn:aws:iam::{account}:role/{role}`.

use crate::directory::nearest;

/// The placeholders of a role ARN.
pub const ROLE_ARN: [&str; 2] = ["account", "role"];
/// The placeholders of a session tag's value.
pub const SESSION_TAG: [&str; 3] = ["person", "account", "role"];

/// What is wrong with a template, to follow the name of what it is for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// A placeholder that is none.
    #[error("{{{found}}} is no placeholder; there are {known}{alike}")]
    Unknown {
        /// The name between the braces.
        found: String,
        /// Those that there are.
        known: String,
        /// The one that was meant, as a question.
        alike: String,
    },
    /// A brace that is not one of a pair.
    #[error("a brace has no counterpart")]
    Unpaired,
}

/// Whether every placeholder of `template` is one of `known`.
///
/// # Errors
/// [`BadTemplate`].
pub fn check(template: &str, known: &[&str]) -> Result<(), BadTemplate> {
    let nothing: Vec<(&str, &str)> = known.iter().map(|name| (*name, "")).collect();
    fill(template, &nothing).map(drop)
}

/// `template` with each placeholder replaced by its value. What a value contains is never taken for a placeholder.
///
/// # Errors
/// [`BadTemplate`] when a placeholder has no value here.
pub fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, BadTemplate> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let inside = rest[at..].strip_prefix('{').ok_or(BadTemplate::Unpaired)?;
        let (name, after) = inside.split_once('}').ok_or(BadTemplate::Unpaired)?;
        let (_, value) =
            values.iter().find(|(known, _)| *known == name).ok_or_else(|| unknown(name, values))?;
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn unknown(found: &str, values: &[(&str, &str)]) -> BadTemplate {
    let known = || values.iter().map(|(known, _)| format!("{{{known}}}"));
    let alike = nearest(&format!("{{{found}}}"), known());
    BadTemplate::Unknown {
        found: found.to_owned(),
        known: known().collect::<Vec<_>>().join(" and "),
        alike: alike.map(|alike| format!("; did you mean {alike}?")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let values = [("person", "{role}"), ("account", "111122223333"), ("role", "Read")];
        assert_eq!(
            fill("arn:aws:iam::{account}:role/x-{role}", &values).unwrap(),
            "arn:aws:iam::111122223333:role/x-Read"
        );
        assert_eq!(fill("{person}{person}", &values).unwrap(), "{role}{role}");
        assert_eq!(fill("", &values).unwrap(), "");
    }

    #[test]
    fn what_is_no_placeholder_is_named_with_the_nearest_that_is() {
        let error = |text| check(text, &ROLE_ARN).unwrap_err().to_string();
        assert_eq!(
            error("{acount}"),
            "{acount} is no placeholder; there are {account} and {role}; did you mean {account}?"
        );
        assert_eq!(error("{xyz}"), "{xyz} is no placeholder; there are {account} and {role}");
        assert_eq!(error("{person}"), "{person} is no placeholder; there are {account} and {role}");
        for unpaired in ["{account", "account}", "}{", "{role}}"] {
            assert_eq!(error(unpaired), "a brace has no counterpart", "{unpaired}");
        }
        assert!(error("{{role}}").starts_with("{{role} is no placeholder"));
        assert!(check("{person}/{account}/{role}", &SESSION_TAG).is_ok());
    }
}
