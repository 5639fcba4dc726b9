//! The lines that point AWS clients at this server.

use std::fmt::Write as _;

use crate::site::Site;

/// The name of the session in the sample configuration.
const SESSION: &str = "doorward";

/// The lines for `~/.aws/config`: a session, a profile, and the endpoints of both services. The Rust SDK spells
/// `sso-oidc` with a hyphen, all the others with an underscore.
#[must_use]
pub fn config_file(site: &Site, account: &str, role: &str) -> String {
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
    for service in ["sso", "sso_oidc", "sso-oidc"] {
        // Writing into a string cannot fail.
        let _ = write!(text, "{service} =\n  endpoint_url = {base}\n");
    }
    text
}
