//! An OpenID Connect provider as an identity source: the authorization code flow with PKCE (RFC 7636), a nonce and a
//! `state`, and asking again with a refresh token.
//!
//! [`Source::begin`] gives the address to send a browser to, and [`Source::finish`] takes what it brings back: together
//! they say who that is. [`Source::ask_again`] asks the source, without the person, whether that still holds. What
//! `state`, nonce and verifier are, and that they belong to this browser, is the caller's to know.
//!
//! Everything that a source says passes: the TLS of its issuer, limits on size and time, the issuer's name to the letter,
//! the signature (all of them in `provider/`), and every claim of the ID token (`id_token.rs`).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::secret::SourceRefreshToken;
use doorward_core::time::Timestamp;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;
use subtle::ConstantTimeEq as _;

mod claims;
mod document;
mod id_token;
mod probe;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub use claims::{Described, Proof};
pub use probe::Finding;
pub use settings::Settings;

pub use crate::provider::error::{Kind, OidcError, Step};

use crate::provider::claims::Claims;
use crate::provider::discovery::{self, Discovery};
use crate::provider::error::quoted;
use crate::provider::http::{Http, send};
use document::Document;
use id_token::Expected;
use token::Tokens;

type Known = discovery::Known<Document>;

/// A source.
pub struct Source {
    settings: Settings,
    http: Http,
    discovery: Arc<Discovery<Document>>,
}

/// What is drawn for one sign-in, each with 128 bits of chance at least.
#[derive(Clone, Copy)]
pub struct Drawn<'a> {
    /// Comes back with the browser.
    pub state: &'a str,
    /// Comes back inside the ID token.
    pub nonce: &'a str,
    /// Proves to the token endpoint that this server began (RFC 7636 section 4.1).
    pub verifier: &'a str,
    /// When the person must have proved who they are at the earliest, if it matters.
    pub since: Option<Timestamp>,
}

/// Somebody who has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who that is at the source, for ever.
    pub subject: String,
    /// Who that is here.
    pub described: Described,
    /// How they proved it.
    pub proof: Proof,
    /// What to ask again with, if the source gave something.
    pub refresh_token: Option<SourceRefreshToken>,
}

/// What a source answered to a refresh token.
#[derive(Debug)]
pub struct Answer {
    /// What to ask with next time, if it is another. It must be kept whatever the rest says: the source may take the
    /// old one for stolen.
    pub refresh_token: Option<SourceRefreshToken>,
    /// Who that is here now; none when the source confirmed them without a word on who they are. An error of the kind
    /// [`Kind::Denied`] when it does not stand by them any more, and of another when that cannot be told.
    pub said: Result<Option<Described>, OidcError>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.settings).finish()
    }
}

impl Source {
    /// A source as an operator describes it. Nothing is asked yet.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: Settings) -> Result<Self, String> {
        settings.check()?;
        let http = Http::new(settings.certificate_authorities.as_deref())
            .map_err(|why| format!("ca_file: {why}"))?;
        let discovery = Arc::new(Discovery::new(settings.issuer.clone(), http.clone()));
        Ok(Self { settings, http, discovery })
    }

    /// What the operator says of it.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Reads what the source says of itself, so that whoever signs in first need not wait for it.
    ///
    /// # Errors
    /// [`OidcError`] when it cannot be read.
    pub async fn warm(&self, now: Timestamp) -> Result<(), OidcError> {
        self.discovery.known(now).await.map(drop)
    }

    /// The address to send a browser to.
    ///
    /// # Errors
    /// [`OidcError`] when the source does not say where that is.
    pub async fn begin(&self, drawn: &Drawn<'_>, now: Timestamp) -> Result<String, OidcError> {
        let Known { document, .. } = self.discovery.known(now).await?;
        let settings = &self.settings;
        let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, drawn.verifier.as_bytes()).as_ref());
        let mut url = document.authorization_endpoint.clone();
        let ours = |name: &str| drawn.since.is_some() && matches!(name, "prompt" | "max_age");
        let operators = settings.authorization_parameters.iter().filter(|(name, _)| !ours(name));
        let mut query = url.query_pairs_mut();
        query
            .extend_pairs(operators)
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &settings.redirect_uri)
            .append_pair("scope", &settings.scopes.join(" "))
            .append_pair("state", drawn.state)
            .append_pair("nonce", drawn.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if let Some(since) = drawn.since {
            // Some sources know the one, and some the other. What they did is in `auth_time`.
            let age = since.seconds_until(now).to_string();
            query.append_pair("prompt", "login").append_pair("max_age", &age);
        }
        drop(query);
        Ok(url.into())
    }

    /// Who has signed in, by the query string with which the browser came back to the redirect URI.
    ///
    /// # Errors
    /// [`OidcError`] when the source does not say, or not in a way that can be believed.
    pub async fn finish(
        &self,
        query: &str,
        drawn: &Drawn<'_>,
        now: Timestamp,
    ) -> Result<SignedIn, OidcError> {
        let refused = |why: String| OidcError::invalid(Step::Callback, why);
        let once = |name: &'static str| {
            let mut values = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|(_, value)| value)),
                _ => Err(refused(format!("{name} occurs twice"))),
            }
        };
        let state = once("state")?.unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(drawn.state.as_bytes())) {
            return Err(refused("state is not the one that was sent".to_owned()));
        }
        let known = self.discovery.known(now).await?;
        // RFC 9207: an answer that some other source gave, or had given, to this browser.
        match once("iss")? {
            Some(issuer) if issuer != self.settings.issuer => {
                let ours = quoted(&self.settings.issuer);
                return Err(refused(format!("iss is {}, and not {ours} (RFC 9207)", quoted(&issuer))));
            }
            None if known.document.authorization_response_iss_parameter_supported => {
                return Err(refused(
                    "iss is missing, and the source says that it sends it (RFC 9207)".to_owned(),
                ));
            }
            _ => {}
        }
        if let Some(error) = once("error")? {
            let description = once("error_description")?.unwrap_or_default();
            let reason = format!("the source answered {}: {}", quoted(&error), quoted(&description));
            let kind = match &*error {
                "server_error" | "temporarily_unavailable" => Kind::Unreachable,
                "invalid_request" | "unauthorized_client" | "unsupported_response_type" | "invalid_scope" => {
                    Kind::Unusable
                }
                _ => Kind::Denied,
            };
            return Err(OidcError { kind, step: Step::Callback, reason });
        }
        let code = once("code")?.ok_or_else(|| refused("there is no code".to_owned()))?;
        let tokens = self.redeem(&known.document, &code, drawn.verifier).await?;
        let refresh_token = tokens.refresh_token();
        match self.read(&known, &tokens, Some(drawn), now).await? {
            Some((subject, described, proof)) => Ok(SignedIn { subject, described, proof, refresh_token }),
            None => Err(OidcError::invalid(
                Step::TokenEndpoint,
                "no ID token came: is it an OpenID Connect provider?",
            )),
        }
    }

    /// Whether the source still stands by `subject`, and what it says of them now.
    ///
    /// # Errors
    /// [`OidcError`], of the kind [`Kind::Denied`] when the source does not take the token any more, and of another when it
    /// cannot be asked.
    pub async fn ask_again(
        &self,
        subject: &str,
        token: &SourceRefreshToken,
        now: Timestamp,
    ) -> Result<Answer, OidcError> {
        let known = self.discovery.known(now).await?;
        let tokens = self.refresh(&known.document, token).await?;
        let said = self.still(&known, &tokens, subject, now).await;
        Ok(Answer { refresh_token: tokens.refresh_token(), said })
    }

    /// What the tokens of a refresh say of `subject`.
    async fn still(
        &self,
        known: &Known,
        tokens: &Tokens,
        subject: &str,
        now: Timestamp,
    ) -> Result<Option<Described>, OidcError> {
        if let Some((same, described, _)) = self.read(known, tokens, None, now).await? {
            if same != subject {
                return Err(OidcError::invalid(Step::IdToken, "sub is another than at sign-in"));
            }
            return Ok(Some(described));
        }
        // A source need not send an ID token again (OpenID Connect Core section 12.2), but may be asked for its claims.
        let mut claims = Claims::new();
        self.add_user_info(known, tokens, subject, &mut claims).await?;
        (!claims.is_empty()).then(|| self.settings.describe(&claims)).transpose()
    }

    /// Whom the ID token is about, if there is one.
    async fn read(
        &self,
        known: &Known,
        tokens: &Tokens,
        drawn: Option<&Drawn<'_>>,
        now: Timestamp,
    ) -> Result<Option<(String, Described, Proof)>, OidcError> {
        let Some(id_token) = &tokens.id_token else { return Ok(None) };
        let (algorithm, mut claims) = self.discovery.verify(known, id_token, Step::IdToken, now).await?;
        let access_token = tokens.access_token.as_deref();
        let expected = Expected { settings: &self.settings, drawn, access_token, now };
        let subject = expected.check(&claims, algorithm)?;
        let proof = Proof::of(&claims);
        if self.settings.misses_something(&claims) {
            self.add_user_info(known, tokens, &subject, &mut claims).await?;
        }
        let described = self.settings.describe(&claims)?;
        Ok(Some((subject, described, proof)))
    }

    /// Adds what the userinfo endpoint says beside `claims` (OpenID Connect Core section 5.3), if there is one.
    async fn add_user_info(
        &self,
        known: &Known,
        tokens: &Tokens,
        subject: &str,
        claims: &mut Claims,
    ) -> Result<(), OidcError> {
        let (Some(url), Some(token)) = (&known.document.userinfo_endpoint, &tokens.access_token) else {
            return Ok(());
        };
        let step = Step::UserInfo;
        let request = self.http.get(url).header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = send(request).await.map_err(|no| no.at(step, url))?;
        if answer.media_type == "application/jwt" {
            let why = format!("{url}: the answer is a signed token: have the source send plain JSON");
            return Err(OidcError::unusable(step, why));
        }
        let more: Claims = answer.json().map_err(|no| no.at(step, url))?;
        // Else it could be about somebody else (section 5.3.2).
        if more.get("sub").and_then(Value::as_str) != Some(subject) {
            return Err(OidcError::invalid(step, "sub is not that of the ID token"));
        }
        for (name, value) in more {
            if !claims.contains_key(&name) {
                claims.insert(name, value);
            }
        }
        Ok(())
    }
}
