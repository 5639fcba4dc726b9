//! What clients and browsers carry for the server, and nothing stores: registrations, codes, tokens, cookies.
//!
//! | value | form |
//! | --- | --- |
//! | `clientId` | the registration, sealed |
//! | `clientSecret` | the MAC of the client id |
//! | device code | the request's id, authenticated |
//! | authorization code | what was approved, sealed |
//! | refresh token | session id and generation, authenticated |
//! | access token | session, person, scopes, expiry, sealed |
//! | browser cookie | session id, authenticated |
//! | DPoP nonce | a window of time, authenticated |
//!
//! A reader of any of them gets `None` for everything that this server did not make, whatever is wrong with it.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::client::{GrantTypes, KnownClient, Registration};
use doorward_core::credentials::SharedEntropy;
use doorward_core::grant::authorization_code::Code;
use doorward_core::ids::{ClientId, CodeId, DeviceRequestId, PersonId, SessionId};
use doorward_core::redirect::RedirectUri;
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::{
    AccessToken, AuthorizationCode, ClientSecret, CodeChallenge, CodeVerifier, DeviceCode, RefreshToken,
    UserCode, UserCodeHash,
};
use doorward_core::session::Terms;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Issued;
use doorward_keys::{KeyRing, Mac, Sealer, TAG_BYTES};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subtle::Choice;

use crate::ambient::draw;

/// Let secret scanners recognise what leaked, and people what they hold.
const ACCESS_PREFIX: &str = "dwa_";
const REFRESH_PREFIX: &str = "dwr_";
/// The longest value that is looked at, in bytes: a registration with ten redirect URIs stays below.
const LONGEST: usize = 16 * 1024;

/// The makers and readers of those values.
#[derive(Debug)]
pub struct Tokens {
    registrations: Sealer,
    client_secrets: Mac,
    device_codes: Mac,
    user_codes: Mac,
    codes: Sealer,
    refresh: Mac,
    access: Sealer,
    browsers: Mac,
    forms: Mac,
    device_asks: Sealer,
    authorization_asks: Sealer,
    resumptions: Sealer,
    pushed: Sealer,
    logouts: Sealer,
    source_sign_ins: Sealer,
    pages: Sealer,
    dpop_nonces: Mac,
    entropy: SharedEntropy,
}

/// What is under way in a browser.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    /// A device request.
    Device,
    /// An authorization request.
    Authorization,
    /// An authorization request, while the person signs in.
    Resumption,
    /// An authorization request that a client pushed.
    Pushed,
    /// A sign-out that an application asked for.
    Logout,
    /// A sign-in through an identity source.
    SourceSignIn,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The session it came from.
    pub session: SessionId,
    /// Whose it is.
    pub person: PersonId,
    /// What it may do.
    pub scopes: Scopes,
    /// When it expires.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SealedRegistration {
    id: ClientId,
    name: Arc<str>,
    scopes: Scopes,
    redirect_uris: Vec<RedirectUri>,
    grants: GrantTypes,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct SealedCode {
    id: CodeId,
    client: ClientId,
    redirect_uri: String,
    challenge: CodeChallenge,
    scopes: Scopes,
    person: PersonId,
    authenticated_at: Timestamp,
    expires_at: Timestamp,
    terms: Option<Arc<Terms>>,
    nonce: Option<String>,
}

impl Tokens {
    /// Makers and readers under `keys`.
    #[must_use]
    pub fn new(keys: &KeyRing, entropy: SharedEntropy) -> Self {
        Self {
            registrations: keys.sealer("registration"),
            client_secrets: keys.mac("client secret"),
            device_codes: keys.mac("device code"),
            user_codes: keys.mac("user code"),
            codes: keys.sealer("authorization code"),
            refresh: keys.mac("refresh token"),
            access: keys.sealer("access token"),
            browsers: keys.mac("browser session"),
            forms: keys.mac("form"),
            device_asks: keys.sealer("device decision"),
            authorization_asks: keys.sealer("authorization decision"),
            resumptions: keys.sealer("authorization request"),
            pushed: keys.sealer("pushed authorization request"),
            logouts: keys.sealer("logout decision"),
            source_sign_ins: keys.sealer("sign-in through a source"),
            pages: keys.sealer("page of a list"),
            dpop_nonces: keys.mac("DPoP nonce"),
            entropy,
        }
    }

    /// Random bytes.
    pub(crate) fn draw<const N: usize>(&self) -> [u8; N] {
        draw(&*self.entropy)
    }

    fn seal(&self, sealer: &Sealer, value: &impl Serialize) -> String {
        // Postcard fails for sequences of unknown length and for its caller's own errors; derived types have neither.
        let plain = postcard::to_stdvec(value).expect("a derived type");
        sealer.seal(&plain, self.draw())
    }

    fn open<T: DeserializeOwned>(sealer: &Sealer, text: &str) -> Option<T> {
        if text.len() > LONGEST {
            return None;
        }
        match postcard::take_from_bytes(&sealer.open(text)?) {
            Ok((value, [])) => Some(value),
            _ => None,
        }
    }

    /// `clientId` and `clientSecret` of a registration.
    #[must_use]
    pub fn client(&self, registration: &Registration) -> (String, ClientSecret) {
        // An application is never sealed: its client id is its own.
        let Registration { id, name, scopes, redirect_uris, grants, issued_at, expires_at, application: _ } =
            registration.clone();
        let sealed = SealedRegistration { id, name, scopes, redirect_uris, grants, issued_at, expires_at };
        let client_id = self.seal(&self.registrations, &sealed);
        let (key, tag) = self.client_secrets.tag(client_id.as_bytes());
        let mut secret = [0; 1 + TAG_BYTES];
        secret[0] = key;
        secret[1..].copy_from_slice(&tag);
        (client_id, ClientSecret::new(BASE64URL_NOPAD.encode(&secret)))
    }

    /// The registration behind a `clientId`. Whoever presents it has proved nothing yet, and it may have expired.
    #[must_use]
    pub fn registration(&self, client_id: &str) -> Option<Registration> {
        let sealed: SealedRegistration = Self::open(&self.registrations, client_id)?;
        let SealedRegistration { id, name, scopes, redirect_uris, grants, issued_at, expires_at } = sealed;
        Some(Registration {
            id,
            name,
            scopes,
            redirect_uris,
            grants,
            issued_at,
            expires_at,
            application: None,
        })
    }

    /// The client that presents `clientId` and `clientSecret`.
    ///
    /// # Errors
    /// [`Refusal::InvalidClient`] if either is wrong, or the registration has expired.
    pub fn authenticate(
        &self,
        client_id: &str,
        secret: &ClientSecret,
        now: Timestamp,
    ) -> Result<KnownClient, Refusal> {
        let registration = self.registration(client_id).ok_or(Refusal::InvalidClient)?;
        let right = BASE64URL_NOPAD.decode(secret.reveal().as_bytes()).is_ok_and(|secret| {
            secret
                .split_first()
                .is_some_and(|(key, tag)| self.client_secrets.verify(*key, client_id.as_bytes(), tag))
        });
        registration.authenticate(Choice::from(u8::from(right)), now)
    }

    /// The device code of a request.
    #[must_use]
    pub fn device_code(&self, id: DeviceRequestId) -> DeviceCode {
        DeviceCode::new(self.device_codes.wrap(id.as_bytes()))
    }

    /// The request behind a device code.
    #[must_use]
    pub fn device_request(&self, code: &DeviceCode) -> Option<DeviceRequestId> {
        self.device_codes.unwrap(code.reveal()).map(DeviceRequestId::from_bytes)
    }

    /// A user code, and how the store knows it.
    #[must_use]
    pub fn draw_user_code(&self) -> (UserCode, UserCodeHash) {
        let code = UserCode::from_entropy(u64::from_le_bytes(self.draw()));
        let (_, tag) = self.user_codes.tag(code.as_bytes());
        (code, cut(tag))
    }

    /// How the store may know a user code that was typed: under the current key, or an older one.
    pub fn user_code_hashes(&self, code: UserCode) -> impl Iterator<Item = UserCodeHash> {
        self.user_codes.all_tags(code.as_bytes()).map(cut).collect::<Vec<_>>().into_iter()
    }

    /// The authorization code that says `code`.
    #[must_use]
    pub fn authorization_code(&self, code: &Code) -> AuthorizationCode {
        let Code {
            id,
            client,
            redirect_uri,
            challenge,
            scopes,
            person,
            authenticated_at,
            expires_at,
            terms,
            nonce,
        } = code.clone();
        let sealed = SealedCode {
            id,
            client,
            redirect_uri,
            challenge,
            scopes,
            person,
            authenticated_at,
            expires_at,
            terms,
            nonce,
        };
        AuthorizationCode::new(self.seal(&self.codes, &sealed))
    }

    /// What an authorization code says.
    #[must_use]
    pub fn code(&self, code: &AuthorizationCode) -> Option<Code> {
        let sealed: SealedCode = Self::open(&self.codes, code.reveal())?;
        let SealedCode {
            id,
            client,
            redirect_uri,
            challenge,
            scopes,
            person,
            authenticated_at,
            expires_at,
            terms,
            nonce,
        } = sealed;
        Some(Code {
            id,
            client,
            redirect_uri,
            challenge,
            scopes,
            person,
            authenticated_at,
            expires_at,
            terms,
            nonce,
        })
    }

    /// The challenge that a verifier amounts to: S256 of RFC 7636 section 4.6.
    #[must_use]
    pub fn proof(verifier: &CodeVerifier) -> CodeChallenge {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.reveal().as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        CodeChallenge::from_bytes(bytes)
    }

    /// The access token of what was issued.
    #[must_use]
    pub fn access_token(&self, issued: &Issued) -> AccessToken {
        let access = Access {
            session: issued.session,
            person: issued.person.clone(),
            scopes: issued.scopes.clone(),
            expires_at: issued.access_expires_at,
        };
        AccessToken::new(format!("{ACCESS_PREFIX}{}", self.seal(&self.access, &access)))
    }

    /// What an access token says. It may have expired, and its session may have ended.
    #[must_use]
    pub fn access(&self, token: &AccessToken) -> Option<Access> {
        Self::open(&self.access, token.reveal().strip_prefix(ACCESS_PREFIX)?)
    }

    /// The refresh token of a session's generation.
    #[must_use]
    pub fn refresh_token(&self, session: SessionId, generation: u32) -> RefreshToken {
        let mut payload = [0; 20];
        payload[..16].copy_from_slice(session.as_bytes());
        payload[16..].copy_from_slice(&generation.to_be_bytes());
        RefreshToken::new(format!("{REFRESH_PREFIX}{}", self.refresh.wrap(&payload)))
    }

    /// The session and generation behind a refresh token.
    #[must_use]
    pub fn refresh(&self, token: &RefreshToken) -> Option<(SessionId, u32)> {
        let payload: [u8; 20] = self.refresh.unwrap(token.reveal().strip_prefix(REFRESH_PREFIX)?)?;
        let (session, generation) = payload.split_first_chunk::<16>()?;
        Some((SessionId::from_bytes(*session), u32::from_be_bytes(generation.try_into().ok()?)))
    }

    /// The cookie of a signed-in browser.
    pub(crate) fn browser_cookie(&self, session: SessionId) -> String {
        self.browsers.wrap(session.as_bytes())
    }

    /// The session behind a browser's cookie.
    pub(crate) fn browser_session(&self, cookie: &str) -> Option<SessionId> {
        self.browsers.unwrap(cookie).map(SessionId::from_bytes)
    }

    /// The anti-forgery value of the forms shown to the browser that holds `cookie`.
    pub(crate) fn form_value(&self, cookie: &str) -> String {
        let (_, tag) = self.forms.tag(cookie.as_bytes());
        BASE64URL_NOPAD.encode(&tag)
    }

    /// Whether a form's anti-forgery value belongs to `cookie`.
    pub(crate) fn form_value_holds(&self, value: &str, cookie: &str) -> bool {
        let Ok(presented) = BASE64URL_NOPAD.decode(value.as_bytes()) else { return false };
        self.forms
            .all_tags(cookie.as_bytes())
            .any(|tag| bool::from(subtle::ConstantTimeEq::ct_eq(&tag[..], &presented[..])))
    }

    /// Seals what a person is being asked, for the form to carry; or another thing that is under way.
    pub(crate) fn ask(&self, about: About, ask: &impl Serialize) -> String {
        self.seal(self.asks(about), ask)
    }

    /// What a person was asked.
    pub(crate) fn asked<T: DeserializeOwned>(&self, about: About, text: &str) -> Option<T> {
        Self::open(self.asks(about), text)
    }

    const fn asks(&self, about: About) -> &Sealer {
        match about {
            About::Device => &self.device_asks,
            About::Authorization => &self.authorization_asks,
            About::Resumption => &self.resumptions,
            About::Pushed => &self.pushed,
            About::Logout => &self.logouts,
            About::SourceSignIn => &self.source_sign_ins,
        }
    }

    /// The nonce of a window of time, for DPoP proofs to hold: the same for everybody.
    pub(crate) fn dpop_nonce(&self, window: i64) -> String {
        self.dpop_nonces.wrap(&window.to_be_bytes())
    }

    /// The window that a nonce was given in.
    pub(crate) fn dpop_nonce_window(&self, nonce: &str) -> Option<i64> {
        self.dpop_nonces.unwrap(nonce).map(i64::from_be_bytes)
    }

    /// Seals where a list goes on.
    pub(crate) fn page(&self, page: &impl Serialize) -> String {
        self.seal(&self.pages, page)
    }

    /// Where a list goes on.
    pub(crate) fn paged<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        Self::open(&self.pages, text)
    }
}

fn cut(tag: [u8; TAG_BYTES]) -> UserCodeHash {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&tag[..16]);
    UserCodeHash::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorward_core::client::{RegistrationPolicy, RegistrationRequest};
    use doorward_core::time::Lifetime;

    use super::*;
    use crate::ambient::OsEntropy;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn tokens() -> Tokens {
        Tokens::new(&KeyRing::new(&[9; 32]), Arc::new(OsEntropy::default()))
    }

    fn registration(uris: &[String]) -> Registration {
        let policy =
            RegistrationPolicy { redirect_uris: vec![], scopes: None, lifetime: Lifetime::from_seconds(60) };
        let request = RegistrationRequest {
            name: "cli",
            kind: "public",
            scopes: &["sso:account:access".to_owned()],
            redirect_uris: uris,
            grants: None,
        };
        policy.register(&request, ClientId::from_bytes([1; 16]), NOW).unwrap()
    }

    // Holds: rfc8252-8.5-no-shared-secret, rfc9700-2.5-client-authentication
    #[test]
    fn a_client_id_carries_its_registration_and_its_secret_opens_nothing_else() {
        let (tokens, uris) = (tokens(), vec!["http://127.0.0.1/oauth/callback".to_owned()]);
        let (id, secret) = tokens.client(&registration(&uris));
        let (other_id, other_secret) = tokens.client(&registration(&uris));
        assert_eq!(tokens.registration(&id), Some(registration(&uris)));
        assert!(tokens.authenticate(&id, &secret, NOW).is_ok());
        for (id, secret) in [(&id, &other_secret), (&other_id, &secret), (&id, &ClientSecret::new(""))] {
            assert_eq!(tokens.authenticate(id, secret, NOW).unwrap_err(), Refusal::InvalidClient);
        }
        assert!(id.len() < 256, "a client id travels in addresses: {}", id.len());
    }

    /// A registration with every limit of `core` at its end.
    fn largest() -> Registration {
        let policy =
            RegistrationPolicy { redirect_uris: vec![], scopes: None, lifetime: Lifetime::from_seconds(60) };
        let uris: Vec<String> = (0..10).map(|n| format!("http://127.0.0.1/{n}{}", "x".repeat(494))).collect();
        let scopes: Vec<String> = (0..16).map(|n| format!("{n:0>128}")).collect();
        let name = "大".repeat(256);
        let request = RegistrationRequest {
            name: &name,
            kind: "public",
            scopes: &scopes,
            redirect_uris: &uris,
            grants: Some(&["authorization_code".to_owned()]),
        };
        policy.register(&request, ClientId::from_bytes([1; 16]), NOW).unwrap()
    }

    #[test]
    fn whatever_may_be_registered_can_be_used() {
        let (tokens, registration) = (tokens(), largest());
        let (id, secret) = tokens.client(&registration);
        assert!(id.len() < LONGEST, "{}", id.len());
        assert!(tokens.authenticate(&id, &secret, NOW).is_ok());
        let issued = Issued {
            session: SessionId::from_bytes([3; 16]),
            person: PersonId::parse("x".repeat(128)).unwrap(),
            scopes: registration.scopes,
            access_expires_at: NOW,
            expires_in: 0,
            refresh_generation: None,
            authenticated_at: NOW,
            audiences: Vec::new(),
            dpop_key: None,
            terms: None,
        };
        let access = tokens.access_token(&issued);
        // The portal's limit, and what any server takes as a header.
        assert!(access.reveal().len() < 4096, "{}", access.reveal().len());
        assert!(tokens.access(&access).is_some());
    }

    #[test]
    fn tokens_read_back_and_travel_as_visible_ascii() {
        let tokens = tokens();
        let session = SessionId::from_bytes([3; 16]);
        let refresh = tokens.refresh_token(session, 7);
        assert_eq!(tokens.refresh(&refresh), Some((session, 7)));
        let issued = Issued {
            session,
            person: PersonId::parse("ada").unwrap(),
            scopes: Scopes::parse(["a b"]).unwrap(),
            access_expires_at: NOW,
            expires_in: 0,
            refresh_generation: Some(7),
            authenticated_at: NOW,
            audiences: Vec::new(),
            dpop_key: None,
            terms: None,
        };
        let access = tokens.access_token(&issued);
        let said = tokens.access(&access).unwrap();
        assert_eq!((said.session, said.person, said.expires_at), (session, issued.person, NOW));
        for text in [refresh.reveal(), access.reveal()] {
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        }
        assert!(tokens.access(&AccessToken::new(refresh.reveal())).is_none());
        assert!(tokens.refresh(&RefreshToken::new(access.reveal())).is_none());
    }

    // Holds: rfc7636-4.2-s256, rfc7636-4.6-compare
    #[test]
    fn the_proof_of_rfc_7636_appendix_b() {
        let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let challenge = BASE64URL_NOPAD.decode(b"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert_eq!(Tokens::proof(&verifier), CodeChallenge::from_bytes(challenge.try_into().unwrap()));
    }

    #[test]
    fn a_form_value_belongs_to_one_cookie() {
        let tokens = tokens();
        let value = tokens.form_value("cookie");
        assert!(tokens.form_value_holds(&value, "cookie"));
        assert!(!tokens.form_value_holds(&value, "another"));
        assert!(!tokens.form_value_holds("", "cookie"));
    }
}
