//! What clients and verifiers of this server's tokens fetch: its metadata (RFC 8414 section 2, OpenID Connect Discovery 1.0
//! section 3), and its keys.

use doorward_core::client::GrantType;
use serde::Serialize;

use crate::fault::json;

/// The path of the discovery document, below the issuer.
pub const CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// The path of the same document for OAuth clients (RFC 8414 section 3).
pub const AUTHORIZATION_SERVER_PATH: &str = "/.well-known/oauth-authorization-server";
/// The path of the JSON Web Key Set, below the issuer.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The paths of the endpoints that have no other name here.
pub const USERINFO_PATH: &str = "/userinfo";
/// RFC 7662.
pub const INTROSPECTION_PATH: &str = "/introspect";
/// RFC 7009.
pub const REVOCATION_PATH: &str = "/revoke";
/// RFC 9126.
pub const PUSHED_AUTHORIZATION_PATH: &str = "/par";
/// OpenID Connect RP-Initiated Logout 1.0. `/logout` is the portal's.
pub const END_SESSION_PATH: &str = "/oauth/logout";

/// The algorithms that this server signs with, its own choice first.
const SIGNED_WITH: [&str; 3] = ["ES256", "RS256", "EdDSA"];
/// The algorithms in which clients may sign assertions and proofs.
pub const VERIFIED: [&str; 4] = ["ES256", "RS256", "PS256", "EdDSA"];
const CLIENT_AUTHENTICATION: [&str; 4] =
    ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];
/// Who introspects must prove who they are.
const CONFIDENTIAL: [&str; 3] = ["client_secret_basic", "client_secret_post", "private_key_jwt"];

/// The document.
#[expect(clippy::struct_excessive_bools, reason = "metadata has independent flags (RFC 8414 section 2)")]
#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: String,
    device_authorization_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    pushed_authorization_request_endpoint: String,
    end_session_endpoint: String,
    scopes_supported: Vec<&'a str>,
    response_types_supported: [&'static str; 1],
    response_modes_supported: [&'static str; 1],
    grant_types_supported: [&'static str; 6],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 3],
    introspection_signing_alg_values_supported: [&'static str; 3],
    token_endpoint_auth_methods_supported: [&'static str; 4],
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    revocation_endpoint_auth_methods_supported: [&'static str; 4],
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 4],
    dpop_signing_alg_values_supported: [&'static str; 4],
    code_challenge_methods_supported: [&'static str; 1],
    prompt_values_supported: [&'static str; 4],
    claims_supported: [&'static str; 17],
    claims_parameter_supported: bool,
    request_parameter_supported: bool,
    request_uri_parameter_supported: bool,
    authorization_response_iss_parameter_supported: bool,
    backchannel_logout_supported: bool,
    backchannel_logout_session_supported: bool,
}

/// The metadata of the issuer at `base`, an origin, with the scopes that are its own beside the standard ones.
#[must_use]
pub fn configuration<'a>(base: &'a str, scopes: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut scopes_supported = vec!["openid", "profile", "email", "groups", "offline_access"];
    for scope in scopes {
        if !scopes_supported.contains(&scope) {
            scopes_supported.push(scope);
        }
    }
    json(&Configuration {
        issuer: base,
        authorization_endpoint: format!("{base}/authorize"),
        token_endpoint: format!("{base}/token"),
        jwks_uri: format!("{base}{JWKS_PATH}"),
        userinfo_endpoint: format!("{base}{USERINFO_PATH}"),
        device_authorization_endpoint: format!("{base}/device_authorization"),
        introspection_endpoint: format!("{base}{INTROSPECTION_PATH}"),
        revocation_endpoint: format!("{base}{REVOCATION_PATH}"),
        pushed_authorization_request_endpoint: format!("{base}{PUSHED_AUTHORIZATION_PATH}"),
        end_session_endpoint: format!("{base}{END_SESSION_PATH}"),
        scopes_supported,
        response_types_supported: ["code"],
        response_modes_supported: ["query"],
        grant_types_supported: [
            GrantType::AuthorizationCode.as_str(),
            GrantType::RefreshToken.as_str(),
            GrantType::DeviceCode.as_str(),
            GrantType::ClientCredentials.as_str(),
            GrantType::TokenExchange.as_str(),
            GrantType::JwtBearer.as_str(),
        ],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: SIGNED_WITH,
        introspection_signing_alg_values_supported: SIGNED_WITH,
        token_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
        token_endpoint_auth_signing_alg_values_supported: VERIFIED,
        revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
        revocation_endpoint_auth_signing_alg_values_supported: VERIFIED,
        introspection_endpoint_auth_methods_supported: CONFIDENTIAL,
        introspection_endpoint_auth_signing_alg_values_supported: VERIFIED,
        dpop_signing_alg_values_supported: VERIFIED,
        code_challenge_methods_supported: ["S256"],
        prompt_values_supported: ["none", "login", "consent", "select_account"],
        claims_supported: [
            "iss",
            "sub",
            "aud",
            "exp",
            "iat",
            "jti",
            "auth_time",
            "nonce",
            "acr",
            "amr",
            "at_hash",
            "sid",
            "name",
            "preferred_username",
            "email",
            "email_verified",
            "groups",
        ],
        claims_parameter_supported: false,
        request_parameter_supported: false,
        request_uri_parameter_supported: false,
        authorization_response_iss_parameter_supported: true,
        backchannel_logout_supported: true,
        backchannel_logout_session_supported: true,
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
        let scopes = ["api.read", "openid"];
        let document: serde_json::Value =
            serde_json::from_slice(&configuration("https://sso.example.org", scopes.into_iter())).unwrap();
        assert_eq!(document["issuer"], "https://sso.example.org");
        assert_eq!(document["jwks_uri"], "https://sso.example.org/.well-known/jwks.json");
        let scopes: Vec<_> = document["scopes_supported"].as_array().unwrap().iter().collect();
        assert_eq!(scopes.len(), 6, "each scope once: {scopes:?}");
    }
}
