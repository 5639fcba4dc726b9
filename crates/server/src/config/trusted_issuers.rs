//! `[trusted_issuers.NAME]`: whose assertions applications may present (RFC 7523 section 2.1).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use doorward_core::ids::IssuerName;
use doorward_core::time::Lifetime;
use doorward_upstream::identity::assertions::{Attribute, IssuerSettings, TrustedIssuer};
use serde::Deserialize;

/// `[trusted_issuers.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuerConfig {
    /// Its issuer identifier, to the letter.
    pub issuer: String,
    /// The claim that says who the person is: a name, or a JSON pointer that begins with a slash.
    #[serde(default = "default_subject_claim")]
    subject_claim: String,
    /// What of a person here that is.
    #[serde(default)]
    matched_with: Attribute,
    /// The signature algorithms that are taken.
    #[serde(default = "default_algorithms")]
    algorithms: Vec<String>,
    /// By how much clocks may differ, in seconds.
    #[serde(default = "default_clock_skew")]
    clock_skew: u32,
    /// How old an assertion may be, and how far ahead its end, in seconds.
    #[serde(default = "default_longest_age")]
    longest_age: u32,
    /// Certificates, in PEM, of the authorities that its certificate may come from, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

fn default_subject_claim() -> String {
    "sub".to_owned()
}

fn default_algorithms() -> Vec<String> {
    ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
}

const fn default_clock_skew() -> u32 {
    60
}

const fn default_longest_age() -> u32 {
    3600
}

impl TrustedIssuerConfig {
    /// The issuer that is called `name`.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn issuer(&self, name: &IssuerName) -> Result<TrustedIssuer, String> {
        let given = self.clone();
        let authorities = given.ca_file.map(|file| {
            std::fs::read(&file).map_err(|error| format!("ca_file: {}: {error}", file.display()))
        });
        TrustedIssuer::new(IssuerSettings {
            name: name.clone(),
            issuer: given.issuer,
            subject_claim: given.subject_claim,
            attribute: given.matched_with,
            algorithms: given.algorithms,
            clock_skew: seconds("clock_skew", given.clock_skew, 0..=600)?,
            longest_age: seconds("longest_age", given.longest_age, 60..=86_400)?,
            certificate_authorities: authorities.transpose()?,
        })
    }
}

fn seconds(key: &str, given: u32, bounds: std::ops::RangeInclusive<u32>) -> Result<Lifetime, String> {
    if !bounds.contains(&given) {
        return Err(format!("{key} must be {} to {} seconds", bounds.start(), bounds.end()));
    }
    Ok(Lifetime::from_seconds(given))
}

/// Whether each issuer is there once: an assertion must not be judged by whichever of two comes first.
///
/// # Errors
/// The key, and what it must be.
pub(super) fn check(issuers: &BTreeMap<IssuerName, TrustedIssuerConfig>) -> Result<(), String> {
    let mut known: HashMap<&str, &IssuerName> = HashMap::new();
    for (name, config) in issuers {
        if let Some(first) = known.insert(&config.issuer, name) {
            return Err(format!("trusted_issuers.{name}.issuer is that of trusted_issuers.{first}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn issuers(text: &str) -> BTreeMap<IssuerName, TrustedIssuerConfig> {
        config::parse(text).unwrap()
    }

    #[test]
    fn an_issuer_has_one_name() {
        let one = "[a]\nissuer = \"https://issuer.example\"\n";
        assert_eq!(check(&issuers(one)), Ok(()));
        let twice = format!("{one}{}", one.replace("[a]", "[b]"));
        assert_eq!(
            check(&issuers(&twice)).unwrap_err(),
            "trusted_issuers.b.issuer is that of trusted_issuers.a"
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let made = |more: &str| {
            let issuers = issuers(&format!("[a]\nissuer = \"https://issuer.example\"\n{more}\n"));
            let (name, config) = issuers.first_key_value().unwrap();
            config.issuer(name).map(drop)
        };
        assert_eq!(made(""), Ok(()));
        assert_eq!(made("matched_with = \"email\""), Ok(()));
        assert_eq!(made("longest_age = 59").unwrap_err(), "longest_age must be 60 to 86400 seconds");
        assert_eq!(made("clock_skew = 601").unwrap_err(), "clock_skew must be 0 to 600 seconds");
        assert!(made("algorithms = [\"HS256\"]").unwrap_err().starts_with("algorithms must be of"));
        assert!(made("ca_file = \"/nowhere/ca.pem\"").unwrap_err().starts_with("ca_file: /nowhere/ca.pem: "));
    }
}
