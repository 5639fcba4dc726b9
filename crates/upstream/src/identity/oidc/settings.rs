//! What an operator says of a source.

use std::collections::BTreeMap;
use std::fmt;

use doorward_core::ids::{GroupName, SourceName};
use doorward_core::secret::ClientSecret;
use doorward_core::time::Lifetime;
use url::Url;

use crate::provider::http::is_acceptable;

/// What an operator says of a source.
#[derive(Clone)]
pub struct Settings {
    /// Its name in the configuration, and in what is stored of its people.
    pub name: SourceName,
    /// Its issuer identifier, to the letter.
    pub issuer: String,
    /// Who this server is there.
    pub client_id: String,
    /// How it proves that; without one it is a public client.
    pub client_secret: Option<ClientSecret>,
    /// What people call it.
    pub label: String,
    /// Where it sends people back to.
    pub redirect_uri: String,
    /// What it is asked for; `openid` among it.
    pub scopes: Vec<String>,
    /// Parameters of the authorization request beside those of the protocol, such as Google's `access_type`.
    pub authorization_parameters: BTreeMap<String, String>,
    /// The claim that is the user name here.
    pub user_name_claim: String,
    /// The claim with the groups.
    pub groups_claim: String,
    /// The source's names of groups, and ours. A name of ours that is in here is given for no other reason.
    pub group_names: BTreeMap<String, GroupName>,
    /// Whether groups without a name of ours are left out; else they keep their own.
    pub only_mapped_groups: bool,
    /// What claims must say, or hold as one of several. Numbers and truth values by their text.
    pub required_claims: BTreeMap<String, String>,
    /// Who must be among the audience beside this client.
    pub additional_audience: Option<String>,
    /// Whether people may come who are not in the directory.
    pub just_in_time: bool,
    /// How long its word is taken without asking again.
    pub recheck: Lifetime,
    /// How long its word holds when it cannot be asked.
    pub trust: Lifetime,
    /// By how much its clock may differ.
    pub clock_skew: Lifetime,
    /// The certificates of the authorities that may vouch for its servers, in PEM; those of the system when absent.
    pub certificate_authorities: Option<Vec<u8>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Parameters of the authorization request that are this server's to say.
const OWN_PARAMETERS: [&str; 11] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

impl Settings {
    /// What is wrong with them, in the words of the configuration file.
    ///
    /// # Errors
    /// The key, and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let issuer = Url::parse(&self.issuer).map_err(|error| format!("issuer: {error}"))?;
        if !is_acceptable(&issuer) {
            return Err("issuer must begin with https://".to_owned());
        }
        if issuer.query().is_some() || issuer.fragment().is_some() || !issuer.username().is_empty() {
            return Err("issuer must have no query, fragment or user name".to_owned());
        }
        for (key, text) in [
            ("client_id", &self.client_id),
            ("label", &self.label),
            ("user_name_claim", &self.user_name_claim),
            ("groups_claim", &self.groups_claim),
        ] {
            if text.is_empty() {
                return Err(format!("{key} must not be empty"));
            }
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err("scopes must hold \"openid\"".to_owned());
        }
        // RFC 6749 section 3.3.
        let is_scope = |scope: &String| {
            !scope.is_empty()
                && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
        };
        if !self.scopes.iter().all(is_scope) {
            return Err("scopes: not a scope".to_owned());
        }
        if let Some(own) = OWN_PARAMETERS.iter().find(|own| self.authorization_parameters.contains_key(**own))
        {
            return Err(format!("authorization_parameters: {own} is not for the configuration to say"));
        }
        if self.recheck > self.trust {
            return Err(format!(
                "recheck = {} must not be more than trust = {}: nobody would be asked in time",
                self.recheck.seconds(),
                self.trust.seconds()
            ));
        }
        Ok(())
    }
}
