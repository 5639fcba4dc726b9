//! How a provider is asked: briefly, without redirects or proxies, and with an end to every answer.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE};
use reqwest::{Certificate, Client, RequestBuilder, StatusCode};
use url::{Host, Url};

use super::error::{Kind, OidcError, Step, quoted};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one answer may take, to its last byte.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer, in bytes. Entra's key set, the longest there is, has some twenty thousand.
const LONGEST_ANSWER: usize = 512 * 1024;

/// A client for one provider.
#[derive(Clone, Debug)]
pub(crate) struct Http(Client);

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// The media type, without parameters.
    pub(crate) media_type: String,
    /// What `Date` says, as it came.
    pub(crate) date: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Http {
    /// A client that believes in the certificates of `authorities`, in PEM, and in no others; in those of the system when
    /// none are given.
    ///
    /// # Errors
    /// Why the certificates cannot be used.
    pub(crate) fn new(authorities: Option<&[u8]>) -> Result<Self, String> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // On a connection that was kept, and that the source closes at this moment, nobody could tell whether it has seen
            // a refresh token.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("doorward/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = authorities {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|error| told(&error))?;
            if authorities.is_empty() {
                return Err("there is no certificate in it: it must hold one or more in PEM".to_owned());
            }
            builder = builder.tls_certs_only(authorities);
        }
        builder.build().map(Self).map_err(|error| told(&error))
    }

    pub(crate) fn get(&self, url: &Url) -> RequestBuilder {
        self.0.get(url.clone())
    }

    pub(crate) fn post(&self, url: &Url) -> RequestBuilder {
        self.0.post(url.clone())
    }
}

/// Why there is no answer, or none of use.
pub(crate) struct NoAnswer {
    kind: Kind,
    pub(crate) why: String,
}

impl NoAnswer {
    /// It was asked for at `url`.
    pub(crate) fn at(self, step: Step, url: &Url) -> OidcError {
        OidcError { kind: self.kind, step, reason: format!("{url}: {}", self.why) }
    }
}

fn unreachable(error: &reqwest::Error) -> NoAnswer {
    NoAnswer { kind: Kind::Unreachable, why: told(error) }
}

fn unusable(why: String) -> NoAnswer {
    NoAnswer { kind: Kind::Unusable, why }
}

/// Sends a request, and reads its whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let mut response = request.send().await.map_err(|error| unreachable(&error))?;
    let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (status, date) = (response.status(), text(DATE));
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + part.len() > LONGEST_ANSWER {
            return Err(unusable(format!("the answer is longer than {LONGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, media_type, date, body })
}

impl Answer {
    /// What it means that this is no answer of success.
    pub(crate) fn failure(&self) -> Kind {
        let overloaded = self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS;
        if overloaded { Kind::Unreachable } else { Kind::Unusable }
    }

    /// The JSON of an answer of success.
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, NoAnswer> {
        if self.status.is_redirection() {
            return Err(unusable(format!("the answer is {}, and no redirect is followed", self.status)));
        }
        if !self.status.is_success() {
            let beginning = String::from_utf8_lossy(&self.body[..self.body.len().min(800)]);
            let why = format!("the answer is {}: {}", self.status, quoted(&beginning));
            return Err(NoAnswer { kind: self.failure(), why });
        }
        // What it is instead stays unsaid: it may hold tokens, or what is known of a person.
        serde_json::from_slice(&self.body).map_err(|error| {
            unusable(format!(
                "the answer, of type {}, is not the JSON it should be: {error}",
                quoted(&self.media_type)
            ))
        })
    }
}

/// An error with all its causes, and without the address.
fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
    }
    let mut causes: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat what their cause says.
        if causes.last().is_none_or(|last| !last.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { "the request failed".to_owned() } else { causes.join(": ") }
}

/// Whether a URL may be asked, or people sent to: by TLS, or on this machine, where nobody listens in.
pub(crate) fn is_acceptable(url: &Url) -> bool {
    let on_this_machine = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && on_this_machine)
}
