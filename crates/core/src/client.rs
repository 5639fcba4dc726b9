//! Registered clients.
//!
//! A registration is stored nowhere: the client carries it, sealed, as its `clientId`. What arrives here has
//! already been unsealed; [`Registration::authenticate`] is the only maker of a [`KnownClient`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use subtle::Choice;

use crate::application::{Application, ClientAuthentication};
use crate::ids::ClientId;
use crate::redirect::RedirectUri;
use crate::refusal::Refusal;
use crate::scope::{ACCOUNT_ACCESS, LEGACY_PORTAL, Scopes};
use crate::time::{Lifetime, Lifetimes, Timestamp};

/// A grant type, by the names CreateToken and RegisterClient use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum GrantType {
    /// `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628).
    #[serde(rename = "urn:ietf:params:oauth:grant-type:device_code")]
    DeviceCode,
    /// `authorization_code` (RFC 6749 section 4.1), always with PKCE.
    #[serde(rename = "authorization_code")]
    AuthorizationCode,
    /// `refresh_token` (RFC 6749 section 6).
    #[serde(rename = "refresh_token")]
    RefreshToken,
    /// `client_credentials` (RFC 6749 section 4.4); for applications.
    #[serde(rename = "client_credentials")]
    ClientCredentials,
    /// `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693); for applications.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:token-exchange")]
    TokenExchange,
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer` (RFC 7523 section 2.1); for applications.
    #[serde(rename = "urn:ietf:params:oauth:grant-type:jwt-bearer")]
    JwtBearer,
}

impl GrantType {
    /// Parses the wire name, exactly.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedGrantType`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "urn:ietf:params:oauth:grant-type:device_code" => Ok(Self::DeviceCode),
            "authorization_code" => Ok(Self::AuthorizationCode),
            "refresh_token" => Ok(Self::RefreshToken),
            "client_credentials" => Ok(Self::ClientCredentials),
            "urn:ietf:params:oauth:grant-type:token-exchange" => Ok(Self::TokenExchange),
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => Ok(Self::JwtBearer),
            _ => Err(Refusal::UnsupportedGrantType),
        }
    }

    /// The wire name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }

    /// Whether a tool may register for it by itself (RegisterClient); the others are an administrator's to give.
    #[must_use]
    pub const fn is_registrable(self) -> bool {
        matches!(self, Self::DeviceCode | Self::AuthorizationCode | Self::RefreshToken)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::DeviceCode => 1,
            Self::AuthorizationCode => 2,
            Self::RefreshToken => 4,
            Self::ClientCredentials => 8,
            Self::TokenExchange => 16,
            Self::JwtBearer => 32,
        }
    }
}

/// The grants a client registered for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GrantTypes(u8);

impl GrantTypes {
    /// What RegisterClient means by no `grantTypes`: the device flow and its refreshes. Every older client, and
    /// the device flow of the AWS CLI, sends none.
    pub const DEFAULT: Self = Self(GrantType::DeviceCode.bit() | GrantType::RefreshToken.bit());

    /// Whether `grant` is among them.
    #[must_use]
    pub const fn contains(self, grant: GrantType) -> bool {
        self.0 & grant.bit() != 0
    }
}

impl FromIterator<GrantType> for GrantTypes {
    fn from_iter<I: IntoIterator<Item = GrantType>>(grants: I) -> Self {
        Self(grants.into_iter().fold(0, |bits, grant| bits | grant.bit()))
    }
}

/// What a client registered (RegisterClient), and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The client's name inside this server.
    pub id: ClientId,
    /// `clientName`, shown to people who approve.
    pub name: Arc<str>,
    /// `scopes`; empty for a legacy client.
    pub scopes: Scopes,
    /// `redirectUris`.
    pub redirect_uris: Vec<RedirectUri>,
    /// `grantTypes`.
    pub grants: GrantTypes,
    /// `clientIdIssuedAt`.
    pub issued_at: Timestamp,
    /// `clientSecretExpiresAt`.
    pub expires_at: Timestamp,
    /// The application, if an administrator registered it.
    pub application: Option<Arc<Application>>,
}

impl Registration {
    /// What an administrator registered, which holds for as long as it is in the directory. The scopes were checked when
    /// the directory was.
    #[must_use]
    pub fn of(application: &Arc<Application>) -> Self {
        let redirect_uris = application.redirect_uris.iter().map(|uri| RedirectUri::listed(uri));
        Self {
            id: ClientId::of_application(&application.client_id),
            name: application.name.as_str().into(),
            scopes: application.scopes.clone(),
            redirect_uris: redirect_uris.collect(),
            grants: application.grants.iter().copied().collect(),
            issued_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_millis(i64::MAX),
            application: Some(Arc::clone(application)),
        }
    }

    /// The client, if the presented secret was found right and the registration still holds.
    ///
    /// # Errors
    /// [`Refusal::InvalidClient`] otherwise, whatever the reason.
    pub fn authenticate(self, secret_is_right: Choice, now: Timestamp) -> Result<KnownClient, Refusal> {
        if bool::from(secret_is_right) && now < self.expires_at {
            Ok(KnownClient(self))
        } else {
            Err(Refusal::InvalidClient)
        }
    }

    /// Whether this client may be redirected to `presented`.
    #[must_use]
    pub fn may_redirect_to(&self, presented: &str) -> bool {
        self.redirect_uris.iter().any(|registered| registered.matches(presented))
    }
}

/// Which members of a registration this server accepts.
#[derive(Clone, Debug)]
pub struct RegistrationPolicy {
    /// Redirect URIs accepted beside loopback ones, byte for byte.
    pub redirect_uris: Vec<String>,
    /// Scopes that may be registered; `None` accepts every well-formed scope.
    pub scopes: Option<Scopes>,
    /// How long a registration lasts.
    pub lifetime: Lifetime,
}

/// What RegisterClient asks for, in core's types.
#[derive(Clone, Debug)]
pub struct RegistrationRequest<'a> {
    /// `clientName`.
    pub name: &'a str,
    /// `clientType`.
    pub kind: &'a str,
    /// `scopes`.
    pub scopes: &'a [String],
    /// `redirectUris`.
    pub redirect_uris: &'a [String],
    /// `grantTypes`; `None` when absent.
    pub grants: Option<&'a [String]>,
}

/// The longest client name, in characters.
const LONGEST_NAME: usize = 256;
/// The most redirect URIs of one registration (AWS: 10).
const MOST_REDIRECT_URIS: usize = 10;

impl RegistrationPolicy {
    /// Decides a registration.
    ///
    /// # Errors
    /// The refusal that RegisterClient models for the first member found wrong.
    pub fn register(
        &self,
        request: &RegistrationRequest<'_>,
        id: ClientId,
        now: Timestamp,
    ) -> Result<Registration, Refusal> {
        let name_length = request.name.chars().count();
        if request.name.trim().is_empty() || name_length > LONGEST_NAME {
            return Err(Refusal::InvalidClientMetadata("clientName must be 1 to 256 characters".into()));
        }
        if request.name.chars().any(char::is_control) {
            return Err(Refusal::InvalidClientMetadata("clientName must not hold control characters".into()));
        }
        if request.kind != "public" {
            return Err(Refusal::InvalidClientMetadata("clientType must be public".into()));
        }
        let grants = match request.grants {
            None | Some([]) => GrantTypes::DEFAULT,
            Some(names) => names
                .iter()
                .map(|name| {
                    GrantType::parse(name).and_then(|grant| {
                        if grant.is_registrable() { Ok(grant) } else { Err(Refusal::UnsupportedGrantType) }
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        let scopes = Scopes::parse(request.scopes.iter().map(String::as_str))?;
        if self.scopes.as_ref().is_some_and(|allowed| !is_allowed(&scopes, allowed)) {
            return Err(Refusal::InvalidScope);
        }
        // AWS: a client of the authorization code grant must name its scopes (wire: T08).
        if grants.contains(GrantType::AuthorizationCode) && scopes.is_empty() {
            return Err(Refusal::InvalidScope);
        }
        if request.redirect_uris.len() > MOST_REDIRECT_URIS {
            return Err(Refusal::InvalidRedirectUri("at most 10 redirectUris are accepted".into()));
        }
        let redirect_uris = request
            .redirect_uris
            .iter()
            .enumerate()
            .map(|(at, uri)| {
                RedirectUri::register(uri, &self.redirect_uris).map_err(|why| {
                    Refusal::InvalidRedirectUri(format!("redirectUris[{at}] is refused: {why}"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if grants.contains(GrantType::AuthorizationCode) && redirect_uris.is_empty() {
            return Err(Refusal::InvalidRedirectUri("authorization_code needs redirectUris".into()));
        }
        Ok(Registration {
            id,
            name: request.name.into(),
            scopes,
            redirect_uris,
            grants,
            issued_at: now,
            expires_at: now.plus(self.lifetime),
            application: None,
        })
    }
}

/// Whether an operator who allows `allowed` lets `scopes` be registered. None at all are a legacy client's, which
/// mean account access: whoever does not allow that does not allow them.
fn is_allowed(scopes: &Scopes, allowed: &Scopes) -> bool {
    if scopes.is_empty() {
        allowed.contains(ACCOUNT_ACCESS) || allowed.contains(LEGACY_PORTAL)
    } else {
        scopes.is_subset(allowed)
    }
}

/// A client whose secret was checked.
#[derive(Clone, Debug)]
pub struct KnownClient(Registration);

impl KnownClient {
    /// What it registered.
    #[must_use]
    pub const fn registration(&self) -> &Registration {
        &self.0
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.0.id
    }

    /// The application, if an administrator registered it.
    #[must_use]
    pub fn application(&self) -> Option<&Arc<Application>> {
        self.0.application.as_ref()
    }

    /// Whether it cannot prove who it is: an application without authentication. Registered tools have their secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.application().is_some_and(|application| application.authentication == ClientAuthentication::None)
    }

    /// How long its access tokens live; those of a session without scopes are a legacy tool's.
    #[must_use]
    pub fn access_token_lifetime(&self, lifetimes: &Lifetimes) -> Lifetime {
        let own = self.application().and_then(|application| application.access_token_lifetime);
        own.unwrap_or(lifetimes.access_token)
    }

    /// How long its sessions last at most.
    #[must_use]
    pub fn session_lifetime(&self, lifetimes: &Lifetimes) -> Lifetime {
        let own = self.application().and_then(|application| application.session_lifetime);
        own.unwrap_or(lifetimes.session)
    }

    /// Checks that it registered for `grant`.
    ///
    /// # Errors
    /// [`Refusal::UnauthorizedClient`] if it did not.
    pub const fn may_use(&self, grant: GrantType) -> Result<(), Refusal> {
        if self.0.grants.contains(grant) { Ok(()) } else { Err(Refusal::UnauthorizedClient) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn policy() -> RegistrationPolicy {
        RegistrationPolicy {
            redirect_uris: vec![],
            scopes: None,
            lifetime: Lifetime::from_seconds(7_776_000),
        }
    }

    fn register(edit: impl FnOnce(&mut Fields)) -> Result<Registration, Refusal> {
        let mut fields = Fields {
            name: "cli".into(),
            kind: "public".into(),
            scopes: vec!["sso:account:access".into()],
            redirect_uris: vec!["http://127.0.0.1/oauth/callback".into()],
            grants: Some(vec!["authorization_code".into(), "refresh_token".into()]),
        };
        edit(&mut fields);
        let request = RegistrationRequest {
            name: &fields.name,
            kind: &fields.kind,
            scopes: &fields.scopes,
            redirect_uris: &fields.redirect_uris,
            grants: fields.grants.as_deref(),
        };
        policy().register(&request, ClientId::from_bytes([1; 16]), NOW)
    }

    struct Fields {
        name: String,
        kind: String,
        scopes: Vec<String>,
        redirect_uris: Vec<String>,
        grants: Option<Vec<String>>,
    }

    #[test]
    fn a_registration_lasts_90_days() {
        let registration = register(|_| {}).unwrap();
        assert_eq!(registration.expires_at.seconds() - registration.issued_at.seconds(), 7_776_000);
        assert!(registration.clone().authenticate(Choice::from(1), NOW).is_ok());
        let refused = registration.clone().authenticate(Choice::from(0), NOW);
        assert_eq!(refused.unwrap_err(), Refusal::InvalidClient);
        let expires_at = registration.expires_at;
        assert_eq!(
            registration.authenticate(Choice::from(1), expires_at).unwrap_err(),
            Refusal::InvalidClient
        );
    }

    #[test]
    fn each_wrong_member_has_its_own_refusal() {
        let metadata = |text: &str| Refusal::InvalidClientMetadata(text.into());
        assert_eq!(
            register(|f| f.kind = "confidential".into()).unwrap_err(),
            metadata("clientType must be public")
        );
        assert_eq!(
            register(|f| f.name = " ".into()).unwrap_err(),
            metadata("clientName must be 1 to 256 characters")
        );
        assert_eq!(
            register(|f| f.grants = Some(vec!["password".into()])).unwrap_err(),
            Refusal::UnsupportedGrantType
        );
        assert_eq!(register(|f| f.scopes.clear()).unwrap_err(), Refusal::InvalidScope);
        assert!(matches!(
            register(|f| f.redirect_uris = vec!["http://[::1]/cb".into()]),
            Err(Refusal::InvalidRedirectUri(_))
        ));
        assert!(matches!(register(|f| f.redirect_uris.clear()), Err(Refusal::InvalidRedirectUri(_))));
    }

    #[test]
    fn no_grant_types_means_the_device_flow() {
        let registration = register(|f| f.grants = None).unwrap();
        assert!(registration.grants.contains(GrantType::DeviceCode));
        assert!(registration.grants.contains(GrantType::RefreshToken));
        assert!(!registration.grants.contains(GrantType::AuthorizationCode));
    }

    /// What a client with these scopes hears from a server that lets only `allowed` be registered.
    fn registered_under(allowed: &str, scopes: &[&str]) -> Result<Scopes, Refusal> {
        let policy = RegistrationPolicy { scopes: Some(Scopes::parse([allowed]).unwrap()), ..policy() };
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.into()).collect();
        let request = RegistrationRequest {
            name: "cli",
            kind: "public",
            scopes: &scopes,
            redirect_uris: &[],
            grants: None,
        };
        policy.register(&request, ClientId::from_bytes([1; 16]), NOW).map(|registration| registration.scopes)
    }

    #[test]
    fn only_the_scopes_that_the_operator_allows_may_be_registered() {
        let allowed = "openid sso:account:access";
        assert!(registered_under(allowed, &["openid"]).is_ok());
        assert!(registered_under(allowed, &["openid sso:account:access"]).is_ok());
        assert_eq!(registered_under(allowed, &["openid", "email"]), Err(Refusal::InvalidScope));
    }

    #[test]
    fn no_scopes_mean_account_access_and_are_allowed_where_that_is() {
        for allowed in [ACCOUNT_ACCESS, LEGACY_PORTAL] {
            assert!(registered_under(allowed, &[]).unwrap().allow_account_access(), "{allowed}");
        }
        for allowed in ["openid", ""] {
            assert_eq!(registered_under(allowed, &[]), Err(Refusal::InvalidScope), "{allowed}");
        }
    }

    #[test]
    fn a_name_and_a_list_of_uris_have_their_longest() {
        assert!(register(|f| f.name = "é".repeat(256)).is_ok());
        assert!(register(|f| f.name = "é".repeat(257)).is_err());
        assert!(register(|f| f.name = "a\nb".into()).is_err());
        let uris = |count| vec!["http://127.0.0.1/cb".to_owned(); count];
        assert!(register(|f| f.redirect_uris = uris(10)).is_ok());
        assert!(matches!(register(|f| f.redirect_uris = uris(11)), Err(Refusal::InvalidRedirectUri(_))));
    }

    #[test]
    fn grant_type_names_are_read_exactly_and_read_back() {
        for grant in [
            GrantType::DeviceCode,
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
            GrantType::TokenExchange,
            GrantType::JwtBearer,
        ] {
            assert_eq!(GrantType::parse(grant.as_str()), Ok(grant));
            let alone: GrantTypes = [grant].into_iter().collect();
            assert_eq!(alone.contains(GrantType::RefreshToken), grant == GrantType::RefreshToken);
        }
        for bad in ["device_code", "Refresh_Token", "refresh_token ", "password", "implicit", ""] {
            assert_eq!(GrantType::parse(bad), Err(Refusal::UnsupportedGrantType), "{bad}");
        }
    }

    #[test]
    fn ledger_19_a_client_is_redirected_only_where_it_registered() {
        let registration = register(|_| {}).unwrap();
        assert!(registration.may_redirect_to("http://127.0.0.1:5555/oauth/callback"));
        assert!(!registration.may_redirect_to("http://127.0.0.1:5555/other"));
        assert!(
            !register(|f| {
                f.redirect_uris.clear();
                f.grants = None;
            })
            .unwrap()
            .may_redirect_to("http://127.0.0.1/oauth/callback")
        );
    }
}
