//! `doorward check`: whether people can sign in through each identity source, and whether each trusted issuer can be read.

use anyhow::{Context as _, anyhow};
use doorward_upstream::identity::oidc::Finding;

use super::check::Report;
use super::{run, serve};
use crate::ambient::Clock;
use crate::config::Config;

/// Asks each source, and each trusted issuer, what it says of itself.
pub(super) fn run(config: &Config, report: &mut Report) {
    for (name, issuer) in &config.trusted_issuers {
        let found = run::block_on(async {
            let issuer = issuer.issuer(name).map_err(|why| anyhow!(why))?;
            issuer.warm(Clock::system().now()).await.context("no assertion of it can be checked")?;
            Ok(format!("{} has keys", issuer.settings().issuer))
        });
        report.line(&format!("trusted issuer {name}"), found);
    }
    let Ok(site) = serve::site(config) else { return };
    for (name, source) in &config.identity_sources {
        let what = format!("identity source {name}");
        let found = run::block_on(async {
            let source = source.source(name, site.base()).map_err(|why| anyhow!(why))?;
            let clock = Clock::system();
            let found = source.probe(|| clock.now()).await.context("nobody can sign in through it")?;
            Ok((source.settings().redirect_uri.clone(), found))
        });
        match found {
            Ok((redirect_uri, findings)) => {
                report.line(&what, Ok::<_, anyhow::Error>(format!("sends people back to {redirect_uri}")));
                for finding in findings {
                    match finding {
                        Finding::Good(found) => report.line(&what, Ok::<_, anyhow::Error>(found)),
                        Finding::Doubtful(found) => report.line(&what, Err::<String, _>(anyhow!(found))),
                    };
                }
            }
            Err(error) => drop(report.line(&what, Err::<String, _>(error))),
        }
    }
}
