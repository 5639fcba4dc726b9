//! The token endpoint (RFC 6749 sections 4.1.3 and 6).

use data_encoding::BASE64;
use doorward_core::secret::SourceRefreshToken;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde::Deserialize;

use super::Source;
use super::document::Document;
use crate::provider::error::{Kind, OidcError, Step, quoted};
use crate::provider::http::send;

/// The longest token that is kept, in bytes. Entra's refresh tokens have some two thousand.
const LONGEST_TOKEN: usize = 16 * 1024;

pub(super) const NO_METHOD: &str =
    "the source takes neither client_secret_basic nor client_secret_post, and there is a client_secret_file";

/// What it answers.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of RFC 6749")]
pub(super) struct Tokens {
    pub(super) access_token: Option<String>,
    pub(super) id_token: Option<String>,
    refresh_token: Option<String>,
}

impl Tokens {
    pub(super) fn refresh_token(&self) -> Option<SourceRefreshToken> {
        let token = self.refresh_token.as_deref()?;
        (!token.is_empty() && token.len() <= LONGEST_TOKEN).then(|| SourceRefreshToken::new(token))
    }
}

/// What it answers when it does not (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Fault {
    error: String,
    error_description: Option<String>,
}

/// The errors of a refresh by which a source says that it does not stand by the person any more, or not without seeing
/// them: RFC 6749 sections 4.1.2.1 and 5.2, OpenID Connect Core section 3.1.2.6.
const NO_LONGER: [&str; 6] = [
    "invalid_grant",
    // Dex's word for a refresh token that has expired or was used twice.
    "invalid_request",
    "access_denied",
    "interaction_required",
    "login_required",
    "consent_required",
];

impl Source {
    /// Redeems an authorization code.
    pub(super) async fn redeem(
        &self,
        document: &Document,
        code: &str,
        verifier: &str,
    ) -> Result<Tokens, OidcError> {
        let redirect_uri = self.settings.redirect_uri.as_str();
        let grant = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ];
        self.ask_for_tokens(document, &grant).await?.map_err(|fault| {
            let reason = format!("the source did not take its code back: {}", fault.told());
            OidcError::invalid(Step::TokenEndpoint, reason)
        })
    }

    /// Exchanges a refresh token.
    pub(super) async fn refresh(
        &self,
        document: &Document,
        token: &SourceRefreshToken,
    ) -> Result<Tokens, OidcError> {
        let grant = [("grant_type", "refresh_token"), ("refresh_token", token.reveal())];
        self.ask_for_tokens(document, &grant)
            .await?
            .map_err(|fault| OidcError::denied(Step::TokenEndpoint, fault.told()))
    }

    /// Tokens, or the fault if it is about the grant and not about us or the source.
    async fn ask_for_tokens(
        &self,
        document: &Document,
        grant: &[(&str, &str)],
    ) -> Result<Result<Tokens, Fault>, OidcError> {
        let url = &document.token_endpoint;
        let step = Step::TokenEndpoint;
        let failed = |kind, why: String| OidcError { kind, step, reason: format!("{url}: {why}") };
        let id = self.settings.client_id.as_str();
        let mut form = grant.to_vec();
        let mut request = self.http.post(url).header(ACCEPT, "application/json");
        match &self.settings.client_secret {
            None => form.push(("client_id", id)),
            Some(secret) if document.takes_basic() => {
                request = request.header(AUTHORIZATION, basic(id, secret.reveal()));
            }
            Some(secret) if document.takes_post() => {
                form.extend([("client_id", id), ("client_secret", secret.reveal())]);
            }
            Some(_) => return Err(failed(Kind::Unusable, NO_METHOD.to_owned())),
        }
        let answer = send(request.form(&form)).await.map_err(|no| no.at(step, url))?;
        if answer.status.is_success() {
            // No word of the answer goes into the reason: there are tokens in it.
            return match serde_json::from_slice(&answer.body) {
                Ok(tokens) => Ok(Ok(tokens)),
                Err(_) => Err(failed(Kind::Unusable, "the answer is not the JSON it should be".to_owned())),
            };
        }
        let kind = answer.failure();
        match serde_json::from_slice::<Fault>(&answer.body) {
            Ok(fault) if answer.status.is_client_error() && NO_LONGER.contains(&fault.error.as_str()) => {
                Ok(Err(fault))
            }
            Ok(fault) => Err(failed(kind, format!("the answer is {}: {}", answer.status, fault.told()))),
            Err(_) => Err(failed(kind, format!("the answer is {}", answer.status))),
        }
    }
}

impl Fault {
    fn told(&self) -> String {
        let Self { error, error_description } = self;
        match error_description {
            Some(description) => format!("{}: {}", quoted(error), quoted(description)),
            None => quoted(error),
        }
    }
}

/// Both halves are encoded as in a form before they are joined (RFC 6749 section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    format!("Basic {}", BASE64.encode(format!("{}:{}", encoded(id), encoded(secret)).as_bytes()))
}
