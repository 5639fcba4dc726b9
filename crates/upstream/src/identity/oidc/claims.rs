//! From a source's claims to a person.

use std::collections::BTreeSet;

use doorward_core::ids::{GroupName, PersonId};
use doorward_core::time::Timestamp;
use serde_json::Value;
use tracing::debug;

use super::settings::Settings;
use crate::provider::claims::{self, Claims, email_verified};
use crate::provider::error::{OidcError, Step, quoted};

/// The most groups of one person.
const MOST_GROUPS: usize = 2000;
/// The longest display name, in characters, and the longest e-mail address.
const LONGEST_NAME: usize = 1024;
const LONGEST_EMAIL: usize = 254;
/// The most methods of one sign-in, and the longest name of one or of a class, in bytes.
const MOST_METHODS: usize = 16;
const LONGEST_METHOD: usize = 64;

/// A person as the claims describe them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Their user name here.
    pub user_name: PersonId,
    /// How they are greeted.
    pub display_name: Option<String>,
    /// Their e-mail address, unless the source says that it may not be theirs.
    pub email: Option<String>,
    /// Their groups, by their names here.
    pub groups: BTreeSet<GroupName>,
}

/// How somebody proved who they are, as far as the source says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// `amr` (RFC 8176): the methods.
    pub methods: Vec<String>,
    /// `acr` (OpenID Connect Core section 2): the class.
    pub class: Option<String>,
    /// `auth_time`: when.
    pub at: Option<Timestamp>,
}

impl Proof {
    /// What the claims of an ID token say. Nothing is decided by it here, so what makes no sense is left out.
    pub(super) fn of(claims: &Claims) -> Self {
        let named = |value: &Value| {
            let text = value.as_str()?;
            let fits = (1..=LONGEST_METHOD).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic());
            fits.then(|| text.to_owned())
        };
        let several = claims.get("amr").and_then(Value::as_array);
        Self {
            methods: several.into_iter().flatten().filter_map(named).take(MOST_METHODS).collect(),
            class: claims.get("acr").and_then(named),
            at: claims::time(claims, "auth_time").ok().flatten(),
        }
    }
}

impl Settings {
    /// Whether something is asked for that is not among `claims`: the userinfo endpoint may know it.
    pub(super) fn misses_something(&self, claims: &Claims) -> bool {
        let mut needed =
            [&self.user_name_claim, &self.groups_claim].into_iter().chain(self.required_claims.keys());
        let address = self.user_name_claim == "email" && !claims.contains_key("email_verified");
        address || needed.any(|name| !claims.contains_key(name)) && !self.has_overage(claims)
    }

    /// Entra leaves the groups out when there are more than fit into a token, and says where to ask for them.
    fn has_overage(&self, claims: &Claims) -> bool {
        let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
        elsewhere.is_some_and(|names| names.contains_key(&self.groups_claim))
    }

    /// The person whom `claims` describe.
    pub(super) fn describe(&self, claims: &Claims) -> Result<Described, OidcError> {
        for (name, needed) in &self.required_claims {
            if !claims.get(name).is_some_and(|value| says(value, needed)) {
                let given =
                    claims.get(name).map_or_else(|| "absent".to_owned(), |it| quoted(&it.to_string()));
                let reason = format!("required_claims: {name} is {given}, and not {}", quoted(needed));
                return Err(OidcError::denied(Step::Claims, reason));
            }
        }
        Ok(Described {
            user_name: self.user_name(claims)?,
            display_name: short(claims, "name", LONGEST_NAME),
            email: short(claims, "email", LONGEST_EMAIL).filter(|_| email_verified(claims) != Some(false)),
            groups: self.groups(claims)?,
        })
    }

    fn user_name(&self, claims: &Claims) -> Result<PersonId, OidcError> {
        let name = &self.user_name_claim;
        let failed = |why: &str| OidcError::unusable(Step::Claims, format!("user_name_claim: {name} {why}"));
        let text = match claims.get(name) {
            Some(Value::String(text)) => text.as_str(),
            Some(_) => return Err(failed("is not a text")),
            None => {
                return Err(failed(
                    "is not among the claims: is the scope asked for, and does the source send it?",
                ));
            }
        };
        // Whoever can write any address into their own profile could be anybody.
        if name == "email" && email_verified(claims) != Some(true) {
            return Err(OidcError::denied(
                Step::Claims,
                "user_name_claim: email is not verified (email_verified)",
            ));
        }
        PersonId::parse(text).map_err(|bad| {
            OidcError::denied(Step::Claims, format!("user_name_claim: {name} is {}: {bad}", quoted(text)))
        })
    }

    fn groups(&self, claims: &Claims) -> Result<BTreeSet<GroupName>, OidcError> {
        let claim = &self.groups_claim;
        let failed = |why: &str| OidcError::unusable(Step::Claims, format!("groups_claim: {claim} {why}"));
        let texts: Vec<&str> = match claims.get(claim) {
            None if self.has_overage(claims) => {
                return Err(failed(
                    "is left out, because the person is in more groups than the source puts into a token: have it send \
                     only the groups that are assigned to this application, or app roles",
                ));
            }
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => {
                let texts: Option<Vec<&str>> = several.iter().map(Value::as_str).collect();
                texts.ok_or_else(|| failed("holds something that is not a text"))?
            }
            Some(_) => return Err(failed("is neither a text nor a list of texts")),
        };
        let groups: BTreeSet<GroupName> = texts.into_iter().filter_map(|text| self.group(text)).collect();
        if groups.len() > MOST_GROUPS {
            return Err(failed(&format!(
                "holds {} groups, and {MOST_GROUPS} are taken: set only_mapped_groups, or have the source send fewer",
                groups.len()
            )));
        }
        Ok(groups)
    }

    /// Our name for a group of the source.
    fn group(&self, text: &str) -> Option<GroupName> {
        if let Some(ours) = self.group_names.get(text) {
            return Some(ours.clone());
        }
        if self.only_mapped_groups {
            return None;
        }
        let Ok(group) = GroupName::parse(text) else {
            debug!(source = %self.name, group = quoted(text), "a group is left out: no group here can have its name");
            return None;
        };
        // Whoever may make groups at the source must not be able to make the one that another is mapped to.
        (!self.group_names.values().any(|mapped| *mapped == group)).then_some(group)
    }
}

/// Whether `value` is `needed`, or a list that holds it.
fn says(value: &Value, needed: &str) -> bool {
    match value {
        Value::String(text) => text == needed,
        Value::Bool(truth) => needed == if *truth { "true" } else { "false" },
        Value::Number(number) => number.to_string() == needed,
        Value::Array(several) => several.iter().any(|one| !one.is_array() && says(one, needed)),
        Value::Null | Value::Object(_) => false,
    }
}

/// A text to show. One that could not be in the directory is left out.
fn short(claims: &Claims, name: &str, longest: usize) -> Option<String> {
    let text = claims.get(name)?.as_str()?.trim();
    let fits = !text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
