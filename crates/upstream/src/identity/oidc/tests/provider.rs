//! The provider that the source of these tests is, and how it should be.

use std::ops::Deref;

use doorward_core::ids::SourceName;
use doorward_core::secret::{ClientSecret, SourceRefreshToken};
use doorward_core::time::{Lifetime, Timestamp};
use serde_json::{Value, json};

pub(super) use doorward_testkit_oidc::{DISCOVERY, JWKS, Key, Said, TOKEN, USERINFO, hmac_signed, unsigned};

use super::super::{Answer, Drawn, OidcError, Settings, SignedIn, Source};

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
pub(super) const DRAWN: Drawn<'static> = Drawn {
    state: "the-state",
    nonce: "the-nonce",
    verifier: "0123456789012345678901234567890123456789012",
    since: None,
};

pub(super) fn later(seconds: u32) -> Timestamp {
    NOW.plus(Lifetime::from_seconds(seconds))
}

/// A provider that speaks of Ada.
pub(super) struct Provider(doorward_testkit_oidc::Provider);

impl Deref for Provider {
    type Target = doorward_testkit_oidc::Provider;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Provider {
    pub(super) async fn start() -> Self {
        let provider = Self(doorward_testkit_oidc::Provider::start().await);
        provider.gives(&provider.claims());
        provider
    }

    /// Claims that are as they should be.
    pub(super) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer, "aud": "doorward", "sub": "s-1", "nonce": DRAWN.nonce,
            "iat": NOW.seconds(), "exp": NOW.seconds() + 300,
            "preferred_username": "ada", "name": "Ada Lovelace", "email": "ada@example.org",
            "groups": ["/eng/admins", "staff"],
        })
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            name: SourceName::parse("corp").unwrap(),
            issuer: self.issuer.clone(),
            client_id: "doorward".into(),
            client_secret: Some(ClientSecret::new("s3cret")),
            label: "Company account".into(),
            redirect_uri: "https://sso.example.org/sign-in/corp/callback".into(),
            scopes: ["openid", "profile", "email", "offline_access"].map(str::to_owned).to_vec(),
            authorization_parameters: [("prompt".to_owned(), "consent".to_owned())].into(),
            user_name_claim: "preferred_username".into(),
            groups_claim: "groups".into(),
            group_names: [].into(),
            only_mapped_groups: false,
            required_claims: [].into(),
            additional_audience: None,
            just_in_time: true,
            recheck: Lifetime::from_seconds(900),
            trust: Lifetime::from_seconds(14_400),
            clock_skew: Lifetime::from_seconds(60),
            certificate_authorities: None,
        }
    }

    pub(super) fn source(&self, edit: impl FnOnce(&mut Settings)) -> Source {
        let mut settings = self.settings();
        edit(&mut settings);
        Source::new(settings).unwrap()
    }

    /// Somebody comes back from the provider, everything being right so far.
    pub(super) async fn sign_in(&self, source: &Source, now: Timestamp) -> Result<SignedIn, OidcError> {
        source.finish("code=c-1&state=the-state", &DRAWN, now).await
    }

    /// The source is asked again.
    pub(super) async fn ask_again(&self, source: &Source, now: Timestamp) -> Result<Answer, OidcError> {
        source.ask_again("s-1", &SourceRefreshToken::new("rt-1"), now).await
    }
}
