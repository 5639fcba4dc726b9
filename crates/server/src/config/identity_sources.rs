//! `[identity_sources.NAME]`: where people sign in beside the passwords of the directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorward_core::federated::Trust;
use doorward_core::ids::{GroupName, SourceName};
use doorward_core::secret::ClientSecret;
use doorward_core::time::Lifetime;
use doorward_upstream::identity::oidc::{Settings, Source};
use serde::Deserialize;

use super::read_text;

/// `[identity_sources.NAME]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySourceConfig {
    /// What it speaks.
    pub kind: IdentitySourceKind,
    /// Its issuer identifier, to the letter.
    issuer: String,
    /// Who this server is there.
    client_id: String,
    /// A file with this server's secret there; without one it is a public client.
    pub client_secret_file: Option<PathBuf>,
    /// What people call it; its name when absent.
    label: Option<String>,
    /// What it is asked for.
    #[serde(default = "default_scopes")]
    scopes: Vec<String>,
    /// More parameters of the authorization request.
    #[serde(default)]
    authorization_parameters: BTreeMap<String, String>,
    /// The claim that is the user name.
    #[serde(default = "default_user_name_claim")]
    user_name_claim: String,
    /// The claim with the groups.
    #[serde(default = "default_groups_claim")]
    groups_claim: String,
    /// The source's names of groups, and ours.
    #[serde(default)]
    group_names: BTreeMap<String, GroupName>,
    /// Whether groups without a name of ours are left out.
    #[serde(default)]
    only_mapped_groups: bool,
    /// What claims must say.
    #[serde(default)]
    required_claims: BTreeMap<String, String>,
    /// Who else must be among the audience.
    additional_audience: Option<String>,
    /// Whether people may come who are not in the directory.
    #[serde(default = "yes")]
    just_in_time: bool,
    /// How long its word is taken without asking again, in seconds.
    #[serde(default = "default_recheck")]
    recheck: u32,
    /// How long its word holds when it cannot be asked, in seconds.
    #[serde(default = "default_trust")]
    trust: u32,
    /// By how much clocks may differ, in seconds.
    #[serde(default = "default_clock_skew")]
    clock_skew: u32,
    /// Certificates, in PEM, of the authorities that its certificate may come from, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// What a source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentitySourceKind {
    /// OpenID Connect.
    Oidc,
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile", "email", "offline_access"].map(str::to_owned).to_vec()
}

fn default_user_name_claim() -> String {
    "preferred_username".to_owned()
}

fn default_groups_claim() -> String {
    "groups".to_owned()
}

const fn yes() -> bool {
    true
}

const fn default_recheck() -> u32 {
    900
}

const fn default_trust() -> u32 {
    14_400
}

const fn default_clock_skew() -> u32 {
    60
}

impl IdentitySourceConfig {
    /// How far it is trusted.
    #[must_use]
    pub const fn trust(&self) -> Trust {
        Trust {
            just_in_time: self.just_in_time,
            recheck: Lifetime::from_seconds(self.recheck),
            holds: Lifetime::from_seconds(self.trust),
        }
    }

    /// The source that is called `name`, of a server that browsers find at `base`.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn source(&self, name: &SourceName, base: &str) -> Result<Source, String> {
        let given = self.clone();
        let settings = Settings {
            name: name.clone(),
            issuer: given.issuer,
            client_id: given.client_id,
            client_secret: given.client_secret_file.as_deref().map(secret).transpose()?,
            label: given.label.unwrap_or_else(|| name.to_string()),
            redirect_uri: format!("{base}/sign-in/{name}/callback"),
            scopes: given.scopes,
            authorization_parameters: given.authorization_parameters,
            user_name_claim: given.user_name_claim,
            groups_claim: given.groups_claim,
            group_names: given.group_names,
            only_mapped_groups: given.only_mapped_groups,
            required_claims: given.required_claims,
            additional_audience: given.additional_audience,
            just_in_time: given.just_in_time,
            recheck: seconds("recheck", given.recheck, 5..=86_400)?,
            trust: seconds("trust", given.trust, 10..=604_800)?,
            clock_skew: seconds("clock_skew", given.clock_skew, 0..=600)?,
            certificate_authorities: given.ca_file.as_deref().map(bytes).transpose()?,
        };
        Source::new(settings)
    }
}

fn seconds(key: &str, given: u32, bounds: std::ops::RangeInclusive<u32>) -> Result<Lifetime, String> {
    if !bounds.contains(&given) {
        return Err(format!("{key} must be {} to {} seconds", bounds.start(), bounds.end()));
    }
    Ok(Lifetime::from_seconds(given))
}

fn secret(file: &Path) -> Result<ClientSecret, String> {
    let text = read_text(file).map_err(|error| format!("client_secret_file: {error}"))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(format!("client_secret_file: {}: it is empty", file.display()));
    }
    Ok(ClientSecret::new(text))
}

fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("ca_file: {}: {error}", file.display()))
}
