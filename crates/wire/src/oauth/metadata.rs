//! What verifiers of this server's tokens fetch: its discovery document (OpenID Connect Discovery 1.0 section 3) and
//! where its keys are.

use serde::Serialize;

use crate::fault::json;

/// The path of the discovery document, below the issuer.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// The path of the JSON Web Key Set, below the issuer.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The discovery document of the issuer at `base`, an origin.
#[must_use]
pub fn configuration(base: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Configuration<'a> {
        issuer: &'a str,
        authorization_endpoint: String,
        token_endpoint: String,
        jwks_uri: String,
        response_types_supported: [&'static str; 1],
        subject_types_supported: [&'static str; 1],
        id_token_signing_alg_values_supported: [&'static str; 1],
        claims_supported: [&'static str; 6],
    }
    json(&Configuration {
        issuer: base,
        authorization_endpoint: format!("{base}/authorize"),
        token_endpoint: format!("{base}/token"),
        jwks_uri: format!("{base}{JWKS_PATH}"),
        response_types_supported: ["code"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: ["RS256"],
        claims_supported: ["iss", "sub", "aud", "exp", "iat", "jti"],
    })
}

/// A JSON Web Key Set (RFC 7517 section 5) of `keys`, each of them a JSON object.
#[must_use]
pub fn key_set(keys: &[impl Serialize]) -> Vec<u8> {
    #[derive(Serialize)]
    struct KeySet<'a, T> {
        keys: &'a [T],
    }
    json(&KeySet { keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t79_the_issuer_is_the_origin_to_the_letter() {
        let document: serde_json::Value =
            serde_json::from_slice(&configuration("https://sso.example.org")).unwrap();
        assert_eq!(document["issuer"], "https://sso.example.org");
        assert_eq!(document["jwks_uri"], "https://sso.example.org/.well-known/jwks.json");
    }
}
