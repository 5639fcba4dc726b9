//! What a source says of itself (OpenID Connect Discovery 1.0 section 3).

use serde::Deserialize;
use url::Url;

use crate::provider::discovery::Metadata;

/// The discovery document, as far as it is of use.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Document {
    issuer: String,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    /// `client_secret_basic` alone when absent (OpenID Connect Discovery section 3).
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    pub(super) scopes_supported: Option<Vec<String>>,
    pub(super) code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207 section 3.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

impl Document {
    pub(super) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }

    pub(super) fn takes_post(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        methods.is_some_and(|methods| methods.iter().any(|method| method == "client_secret_post"))
    }
}

impl Metadata for Document {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn jwks_uri(&self) -> &Url {
        &self.jwks_uri
    }

    fn addresses(&self) -> Vec<(&'static str, &Url)> {
        let mut addresses = vec![
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
        ];
        addresses.extend(self.userinfo_endpoint.as_ref().map(|url| ("userinfo_endpoint", url)));
        addresses
    }
}
