//! What a client asks for: read, and found right.
//!
//! Tools are read as leniently as ever. For applications the rules are those of RFC 6749 section 3.1, and of OpenID
//! Connect Core 1.0 section 3.1.2.1, to the letter.

use std::borrow::Cow;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::application::Application;
use doorward_core::client::{GrantType, Registration};
use doorward_core::ids::{ApplicationId, ClientId, CodeId, PersonId};
use doorward_core::refusal::Refusal;
use doorward_core::scope::Scopes;
use doorward_core::secret::{CodeChallenge, KeyThumbprint};
use doorward_core::store::Outage;
use doorward_core::time::Timestamp;
use doorward_wire::oauth::authorization::AuthorizationFault;
use doorward_wire::oauth::form::Form;
use serde::{Deserialize, Serialize};

use super::answer::Destination;
use crate::app::App;
use crate::web::hint::Hint;

/// The longest `state` that is carried for a client, in bytes.
pub(crate) const LONGEST_STATE: usize = 2048;
/// The longest `nonce`, in bytes.
const LONGEST_NONCE: usize = 512;

/// The parameters of a request, read as tools may spell them. A parameter that occurs twice is an error (RFC 6749 section
/// 3.1), but for the scopes, which they spell in every way there is.
pub(super) struct Parameters<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn parse(query: &'a [u8]) -> Self {
        Self(form_urlencoded::parse(query).collect())
    }

    pub(super) fn once(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
            _ => Err(Refusal::InvalidRequest(format!("{name} occurs twice"))),
        }
    }

    /// `state`, if it can be carried.
    pub(super) fn state(&self) -> Result<Option<&str>, Refusal> {
        match self.once("state") {
            Ok(state) if state.is_none_or(|state| state.len() <= LONGEST_STATE) => Ok(state),
            _ => Err(Refusal::InvalidRequest("state occurs twice or is longer than 2048 bytes".into())),
        }
    }

    /// `scope` or `scopes`, separated by spaces or commas, once or repeated.
    fn scopes(&self) -> Result<Scopes, Refusal> {
        let texts = self.0.iter().filter(|(key, _)| key == "scope" || key == "scopes").map(|(_, text)| text);
        Scopes::parse(texts.flat_map(|text| text.split(',')))
    }
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The id of the code, if it was drawn when the request was pushed (RFC 9126): a request that is used twice makes one
    /// session, not two.
    pub(crate) code: Option<CodeId>,
    pub(super) client: ClientId,
    /// The application; none for a registered tool.
    pub(crate) application: Option<ApplicationId>,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) challenge: CodeChallenge,
    pub(super) scopes: Scopes,
    /// `resource` (RFC 8707).
    pub(super) audiences: Vec<String>,
    pub(super) nonce: Option<String>,
    /// `dpop_jkt` (RFC 9449 section 10).
    pub(crate) dpop_key: Option<KeyThumbprint>,
    pub(super) prompt: Prompt,
    pub(super) max_age: Option<u32>,
    pub(super) login_hint: Option<String>,
    pub(super) expected: Expected,
}

/// How the person may and must be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "`prompt` is a set of independent words")]
pub(super) struct Prompt {
    /// Not at all.
    pub(super) none: bool,
    /// To sign in anew.
    pub(super) login: bool,
    /// To agree anew.
    pub(super) consent: bool,
    /// To choose who they are, which is to sign in anew.
    pub(super) select_account: bool,
}

/// Who must be signed in, by `id_token_hint`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Expected {
    #[default]
    Anybody,
    Person(PersonId),
    /// It was no ID token of this client's, so nobody will do without being asked.
    Nobody,
}

impl Prompt {
    fn parse(text: &str) -> Result<Self, AuthorizationFault> {
        let mut prompt = Self::default();
        for word in text.split(' ') {
            match word {
                "none" => prompt.none = true,
                "login" => prompt.login = true,
                "consent" => prompt.consent = true,
                "select_account" => prompt.select_account = true,
                _ => {
                    return Err(AuthorizationFault::invalid(
                        "prompt must be none, login, consent or select_account",
                    ));
                }
            }
        }
        if prompt.none && (prompt.login || prompt.consent || prompt.select_account) {
            return Err(AuthorizationFault::invalid("prompt must be none alone, or without none"));
        }
        Ok(prompt)
    }
}

impl Request {
    /// Where its answer goes.
    pub(crate) fn destination(&self) -> Destination<'_> {
        Destination { redirect_uri: &self.redirect_uri, state: self.state.as_deref() }
    }

    /// Whether the person must sign in anew, whoever is signed in.
    pub(super) fn wants_login(&self) -> bool {
        self.prompt.login || self.prompt.select_account || self.max_age == Some(0)
    }

    /// Since when the person may have been signed in, if not for ever.
    pub(super) fn since(&self, now: Timestamp) -> Option<Timestamp> {
        if self.wants_login() {
            return Some(now);
        }
        let age = self.max_age?;
        Some(Timestamp::from_millis(now.millis().saturating_sub(i64::from(age) * 1000)))
    }

    /// What a registered tool asks for.
    pub(super) fn of_tool(
        registration: &Registration,
        parameters: &Parameters<'_>,
        destination: Destination<'_>,
    ) -> Result<Self, AuthorizationFault> {
        Self::check_response_type(parameters.once("response_type")?)?;
        if !registration.grants.contains(GrantType::AuthorizationCode) {
            return Err(Refusal::UnauthorizedClient.into());
        }
        let method = parameters.once("code_challenge_method")?;
        let challenge = challenge(method, || parameters.once("code_challenge"))?;
        let scopes = parameters.scopes().and_then(|asked| registration.scopes.narrow(&asked))?;
        Ok(Self {
            code: None,
            client: registration.id,
            application: None,
            redirect_uri: destination.redirect_uri.to_owned(),
            state: destination.state.map(str::to_owned),
            challenge,
            scopes,
            audiences: Vec::new(),
            nonce: None,
            dpop_key: None,
            prompt: Prompt::default(),
            max_age: None,
            login_hint: None,
            expected: Expected::Anybody,
        })
    }

    /// What an application asks for. Its redirect URI was found to be one of its own.
    pub(crate) async fn of_application(
        app: &App,
        application: &Application,
        registration: &Registration,
        form: &Form,
        destination: Destination<'_>,
    ) -> Result<Result<Self, AuthorizationFault>, Outage> {
        let expected = match form.get("id_token_hint") {
            None => Expected::Anybody,
            Some(token) => match Hint::read(app, token).await? {
                Some(hint) if hint.is_for(application.client_id.as_str()) => Expected::Person(hint.person),
                _ => Expected::Nobody,
            },
        };
        Ok(Self::read(application, registration, form, destination, expected))
    }

    fn read(
        application: &Application,
        registration: &Registration,
        form: &Form,
        destination: Destination<'_>,
        expected: Expected,
    ) -> Result<Self, AuthorizationFault> {
        let invalid = |why: &str| Err(AuthorizationFault::invalid(why));
        if form.get("request").is_some() {
            return Err(AuthorizationFault::RequestNotSupported);
        }
        if form.get("request_uri").is_some() {
            return Err(AuthorizationFault::RequestUriNotSupported);
        }
        if form.get("registration").is_some() {
            return Err(AuthorizationFault::RegistrationNotSupported);
        }
        Self::check_response_type(form.get("response_type"))?;
        if form.get("response_mode").is_some_and(|mode| mode != "query") {
            return invalid("response_mode must be query");
        }
        if !registration.grants.contains(GrantType::AuthorizationCode) {
            return Err(Refusal::UnauthorizedClient.into());
        }
        let challenge = challenge(form.get("code_challenge_method"), || Ok(form.get("code_challenge")))?;
        let scopes = Scopes::parse(form.get("scope")).and_then(|asked| registration.scopes.narrow(&asked))?;
        let mut audiences: Vec<String> = form.all("resource").map(str::to_owned).collect();
        audiences.sort_unstable();
        audiences.dedup();
        application.audiences(&[], &audiences)?;
        let nonce = form.get("nonce");
        if nonce.is_some_and(|nonce| nonce.len() > LONGEST_NONCE) {
            return invalid("nonce must not be longer than 512 bytes");
        }
        let dpop_key = match form.get("dpop_jkt").map(thirty_two_bytes) {
            None => None,
            Some(Some(bytes)) => Some(KeyThumbprint::from_bytes(bytes)),
            Some(None) => return invalid("dpop_jkt must be 43 characters of base64url (RFC 7638)"),
        };
        let max_age = match form.get("max_age") {
            None => None,
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                // Longer than anybody stays signed in is as good as for ever.
                Some(text.parse().unwrap_or(u32::MAX))
            }
            Some(_) => return invalid("max_age must be a number of seconds"),
        };
        Ok(Self {
            code: None,
            client: registration.id,
            application: Some(application.client_id.clone()),
            redirect_uri: destination.redirect_uri.to_owned(),
            state: destination.state.map(str::to_owned),
            challenge,
            scopes,
            audiences,
            nonce: nonce.map(str::to_owned),
            dpop_key,
            prompt: form.get("prompt").map(Prompt::parse).transpose()?.unwrap_or_default(),
            max_age,
            // Only what can be a user name is put into the field: the address may hold anything.
            login_hint: form
                .get("login_hint")
                .filter(|hint| PersonId::parse(*hint).is_ok())
                .map(str::to_owned),
            expected,
        })
    }

    fn check_response_type(response_type: Option<&str>) -> Result<(), AuthorizationFault> {
        match response_type {
            Some("code") => Ok(()),
            None => Err(AuthorizationFault::invalid("response_type is required")),
            Some(_) => Err(AuthorizationFault::UnsupportedResponseType),
        }
    }

    /// Whom the sign-in form should expect.
    pub(crate) fn user_name(&self) -> Option<&str> {
        match &self.expected {
            Expected::Person(person) => Some(person.as_str()),
            Expected::Anybody | Expected::Nobody => self.login_hint.as_deref(),
        }
    }
}

/// The challenge (RFC 7636), without which there is no code for anybody.
fn challenge<'a>(
    method: Option<&str>,
    challenge: impl FnOnce() -> Result<Option<&'a str>, Refusal>,
) -> Result<CodeChallenge, AuthorizationFault> {
    if method != Some("S256") {
        return Err(AuthorizationFault::invalid("code_challenge_method must be S256"));
    }
    let bytes = challenge()?.and_then(thirty_two_bytes);
    bytes.map(CodeChallenge::from_bytes).ok_or_else(|| {
        AuthorizationFault::invalid("code_challenge must be 43 characters of base64url (RFC 7636)")
    })
}

fn thirty_two_bytes(text: &str) -> Option<[u8; 32]> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t32_scopes_are_read_in_every_spelling() {
        let expected = Scopes::parse(["a b"]).unwrap();
        for query in [
            "scopes=a%20b",
            "scopes=a%2Cb",
            "scopes=a+b",
            "scope=a%20b",
            "scope=a+b",
            "scope=a&scope=b",
            "scope=a&scopes=b",
        ] {
            assert_eq!(Parameters::parse(query.as_bytes()).scopes().as_ref(), Ok(&expected), "{query}");
        }
        assert!(Parameters::parse(b"state=x").scopes().unwrap().is_empty());
    }

    // Holds: openid-connect-core-3.1.2.1-prompt-none-alone
    #[test]
    fn a_prompt_is_none_or_other_words() {
        let login = Prompt { login: true, consent: true, ..Prompt::default() };
        assert_eq!(Prompt::parse("consent login"), Ok(login));
        assert_eq!(Prompt::parse("none"), Ok(Prompt { none: true, ..Prompt::default() }));
        for bad in ["none login", "consent none", "create", "Login", "login  consent", ""] {
            assert!(matches!(Prompt::parse(bad), Err(AuthorizationFault::Refused(_))), "{bad:?}");
        }
    }
}
