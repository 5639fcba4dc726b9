//! Brokers of role credentials.

use doorward_core::template;

pub mod assume_role;
pub mod built_in;
mod session_name;
pub mod sts;
pub mod web_identity;

use sts::BadOption;

/// The template of the role to assume that a broker has, or the default one.
fn role_arn(configured: Option<String>) -> Result<String, BadOption> {
    let role_arn = configured.unwrap_or_else(|| sts::DEFAULT_ROLE_ARN.to_owned());
    let checked = template::check(&role_arn, &template::ROLE_ARN);
    checked.map_err(|why| BadOption::new("role_arn", why.to_string()))?;
    if role_arn.starts_with("arn:") {
        Ok(role_arn)
    } else {
        Err(BadOption::new("role_arn", "it must begin with `arn:`"))
    }
}
