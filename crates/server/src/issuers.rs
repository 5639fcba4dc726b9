//! The issuers whose assertions applications may present (RFC 7523 section 2.1).

use doorward_core::application::Application;
use doorward_core::refusal::Refusal;
use doorward_core::time::Timestamp;
use doorward_upstream::identity::assertions::{Asserted, IssuerSettings, TrustedIssuer, issuer_of};
use doorward_upstream::identity::oidc::Kind;
use tracing::info;

use crate::config::Config;
use crate::op::Failure;

/// The issuers of the configuration.
#[derive(Debug, Default)]
pub struct Issuers(Vec<TrustedIssuer>);

impl Issuers {
    /// Those of the configuration.
    ///
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn configured(config: &Config) -> Result<Self, String> {
        let mut issuers = Vec::new();
        for (name, issuer) in &config.trusted_issuers {
            let issuer = issuer.issuer(name).map_err(|why| format!("trusted_issuers.{name}.{why}"))?;
            issuers.push(issuer);
        }
        Ok(Self(issuers))
    }

    /// Those that are described so.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(settings: impl IntoIterator<Item = IssuerSettings>) -> Result<Self, String> {
        settings.into_iter().map(TrustedIssuer::new).collect::<Result<_, _>>().map(Self)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedIssuer> {
        self.0.iter()
    }

    /// What an assertion says that holds, of an issuer that `application` accepts, and of which issuer that is.
    ///
    /// # Errors
    /// [`Refusal::InvalidGrant`] when it does not hold; an outage when the issuer is at fault.
    pub(crate) async fn verify(
        &self,
        application: &Application,
        assertion: &str,
        now: Timestamp,
    ) -> Result<(&TrustedIssuer, Asserted), Failure<Refusal>> {
        let said = issuer_of(assertion);
        // Which issuer it says it is from decides by whose keys it is checked; an application that does not accept that one
        // learns no more than if nobody knew it.
        let found = self.0.iter().find_map(|trusted| {
            let settings = trusted.settings();
            let accepted =
                application.trusted_issuers.iter().find(|accepted| accepted.issuer == settings.name)?;
            (said.as_ref() == Some(&settings.issuer)).then_some((trusted, accepted))
        });
        let Some((trusted, accepted)) = found else {
            info!(client_id = %application.client_id, "an assertion is refused: it is of no issuer that the application accepts");
            return Err(Refusal::InvalidGrant.into());
        };
        let name = &trusted.settings().name;
        match trusted.verify(assertion, &accepted.audiences, now).await {
            Ok(asserted) => Ok((trusted, asserted)),
            Err(error) => match error.kind {
                Kind::Invalid | Kind::Denied => {
                    info!(client_id = %application.client_id, issuer = %name, %error, "an assertion is refused");
                    Err(Refusal::InvalidGrant.into())
                }
                Kind::Unusable | Kind::Unreachable => {
                    Err(Failure::Outage(format!("trusted issuer {name}: {error}")))
                }
            },
        }
    }
}
