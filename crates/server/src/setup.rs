//! The lines that point AWS clients at this server.

use std::fmt::Write as _;

use doorward_core::assignment::Principal;

use crate::site::Site;

/// The name of the session in the sample configuration.
const SESSION: &str = "doorward";

/// The services whose endpoint a client must know. The Rust SDK spells `sso-oidc` with a hyphen, all the others with
/// an underscore.
const SERVICES: [&str; 3] = ["sso", "sso_oidc", "sso-oidc"];

/// The lines for `~/.aws/config`: a session, a profile, and the endpoints of both services; of STS too if this server
/// has one, as a development server does.
#[must_use]
pub fn config_file(site: &Site, account: &str, role: &str, has_sts: bool) -> String {
    let (base, region, start_url) = (site.base(), site.region(), site.configured_start_url());
    let mut text = format!(
        "[sso-session {SESSION}]\n\
         sso_start_url = {start_url}\n\
         sso_region = {region}\n\
         sso_registration_scopes = sso:account:access\n\
         \n\
         [profile {SESSION}]\n\
         sso_session = {SESSION}\n\
         sso_account_id = {account}\n\
         sso_role_name = {role}\n\
         region = {region}\n\
         services = {SESSION}\n\
         \n\
         [services {SESSION}]\n"
    );
    for service in SERVICES.into_iter().chain(has_sts.then_some("sts")) {
        // Writing into a string cannot fail.
        let _ = write!(text, "{service} =\n  endpoint_url = {base}\n");
    }
    text
}

/// An account and a role that the person really has, for a sample configuration; placeholders for who has none.
#[must_use]
pub fn first_role(principal: Option<&Principal>) -> (String, String) {
    principal
        .and_then(|principal| {
            let account = *principal.accounts().first()?;
            let role = *principal.roles(&account.id).first()?;
            Some((account.id.to_string(), role.name.to_string()))
        })
        .unwrap_or_else(|| ("111122223333".to_owned(), "ROLE".to_owned()))
}
