//! What a provider says of itself (OpenID Connect Discovery 1.0), and its keys: fetched, kept, and fetched again.
//!
//! - Older than [`FRESH`], they are fetched again behind the back of whoever asks, and tried again every [`RETRY`].
//! - Older than [`STALE`], they are not used: until then an outage of these two addresses stops nobody.
//! - A token whose key is not among the keys has them fetched at once, but not more often than [`NEW_KEYS_EVERY`], so
//!   that made-up key ids cause no traffic.
//! - Whoever asks while somebody else is fetching waits for that, and shares what came of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use doorward_core::time::{Lifetime, Timestamp};
use jsonwebtoken::Algorithm;
use serde::de::DeserializeOwned;
use tracing::{debug, warn};
use url::Url;

use super::claims::Claims;
use super::error::{OidcError, Step, quoted};
use super::http::{Http, is_acceptable, send};
use super::keys::{BadSignature, KeySet, Keys};

const FRESH: Lifetime = Lifetime::from_seconds(600);
const STALE: Lifetime = Lifetime::from_seconds(86_400);
const RETRY: Lifetime = Lifetime::from_seconds(10);
const NEW_KEYS_EVERY: Lifetime = Lifetime::from_seconds(10);

/// What a provider says of itself, as far as one who asks it wants to know.
pub(crate) trait Metadata: DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// Its issuer identifier.
    fn issuer(&self) -> &str;
    /// Where its keys are.
    fn jwks_uri(&self) -> &Url;
    /// Where else it may be asked, or people sent, by the names there.
    fn addresses(&self) -> Vec<(&'static str, &Url)>;
}

/// What is known of a provider.
#[derive(Debug)]
pub(crate) struct Known<M> {
    pub(crate) document: Arc<M>,
    pub(crate) keys: Arc<Keys>,
}

impl<M> Clone for Known<M> {
    fn clone(&self) -> Self {
        Self { document: Arc::clone(&self.document), keys: Arc::clone(&self.keys) }
    }
}

struct State<M> {
    known: Option<Known<M>>,
    fetched_at: Option<Timestamp>,
    /// When it was last tried behind somebody's back.
    tried_at: Option<Timestamp>,
    /// When the keys were last fetched, or were to be, because one was missing.
    new_keys_at: Option<Timestamp>,
    /// Counts the attempts to fetch, and keeps what came of the last.
    attempts: u64,
    failure: Option<OidcError>,
}

/// The keeper of what is known of a provider.
pub(crate) struct Discovery<M> {
    issuer: String,
    http: Http,
    state: Mutex<State<M>>,
    /// Held by whoever fetches.
    fetching: tokio::sync::Mutex<()>,
}

impl<M: Metadata> Discovery<M> {
    pub(crate) fn new(issuer: String, http: Http) -> Self {
        let state = State {
            known: None,
            fetched_at: None,
            tried_at: None,
            new_keys_at: None,
            attempts: 0,
            failure: None,
        };
        Self { issuer, http, state: Mutex::new(state), fetching: tokio::sync::Mutex::default() }
    }

    /// What is known, fetched first if need be.
    pub(crate) async fn known(self: &Arc<Self>, now: Timestamp) -> Result<Known<M>, OidcError> {
        let (known, attempts, is_due) = self.look(|state| {
            let known = state.known.clone().filter(|_| is_younger(state.fetched_at, STALE, now));
            let is_due = !is_younger(state.fetched_at, FRESH, now) && !is_younger(state.tried_at, RETRY, now);
            if is_due {
                state.tried_at = Some(now);
            }
            (known, state.attempts, is_due)
        });
        let Some(known) = known else { return self.fetch(attempts, now).await };
        if is_due {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.fetch(attempts, now).await });
        }
        Ok(known)
    }

    /// Runs `read` on the state.
    fn look<T>(&self, read: impl FnOnce(&mut State<M>) -> T) -> T {
        // No holder of the lock can panic between two halves of a change.
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches document and keys, unless somebody has tried since `attempts` were counted: then what came of that.
    async fn fetch(&self, attempts: u64, now: Timestamp) -> Result<Known<M>, OidcError> {
        let _held = self.fetching.lock().await;
        let since = self
            .look(|state| (state.attempts > attempts).then(|| (state.known.clone(), state.failure.clone())));
        match since {
            Some((_, Some(failure))) => return Err(failure),
            Some((Some(known), None)) => return Ok(known),
            Some((None, None)) | None => {}
        }
        let fetched = self.ask().await;
        self.look(|state| {
            state.attempts += 1;
            match &fetched {
                Ok(known) => {
                    state.failure = None;
                    state.fetched_at = Some(now);
                    state.known = Some(known.clone());
                }
                Err(error) => {
                    warn!(issuer = self.issuer, %error, "an identity source cannot be read");
                    state.failure = Some(error.clone());
                }
            }
        });
        fetched
    }

    /// Asks for document and keys.
    pub(crate) async fn ask(&self) -> Result<Known<M>, OidcError> {
        let document = Arc::new(self.document().await?.0);
        let keys = Arc::new(self.keys(&document).await?);
        Ok(Known { document, keys })
    }

    /// The discovery document, checked, and what time it is at the source.
    pub(crate) async fn document(&self) -> Result<(M, Option<String>), OidcError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let failed = |why: String| OidcError::unusable(Step::Discovery, format!("{address}: {why}"));
        let url = Url::parse(&address).map_err(|error| failed(error.to_string()))?;
        let answer = send(self.http.get(&url)).await.map_err(|no| no.at(Step::Discovery, &url))?;
        let document: M = answer.json().map_err(|no| no.at(Step::Discovery, &url))?;
        if document.issuer() != self.issuer {
            return Err(failed(format!(
                "the issuer there is {}, and {} is configured: they must be the same to the letter, with or without a slash at \
                 the end",
                quoted(document.issuer()),
                quoted(&self.issuer)
            )));
        }
        let keys = ("jwks_uri", document.jwks_uri());
        for (what, url) in document.addresses().into_iter().chain([keys]) {
            if !is_acceptable(url) {
                return Err(failed(format!("{what} does not begin with https://")));
            }
        }
        Ok((document, answer.date))
    }

    /// The signing keys.
    pub(crate) async fn keys(&self, document: &M) -> Result<Keys, OidcError> {
        let url = document.jwks_uri();
        let answer = send(self.http.get(url)).await.map_err(|no| no.at(Step::Keys, url))?;
        let keys = Keys::from(answer.json::<KeySet>().map_err(|no| no.at(Step::Keys, url))?);
        debug!(issuer = self.issuer, keys = keys.len(), skipped = keys.skipped, "fetched signing keys");
        if keys.len() == 0 {
            let why = format!("{url}: none of its {} keys can check a signature", keys.skipped);
            return Err(OidcError::unusable(Step::Keys, why));
        }
        Ok(keys)
    }

    /// The claims of a token whose signature holds. When its key is not known, the keys are fetched again first.
    pub(crate) async fn verify(
        &self,
        known: &Known<M>,
        token: &str,
        step: Step,
        now: Timestamp,
    ) -> Result<(Algorithm, Claims), OidcError> {
        let refused = |why: String| OidcError::invalid(step, why);
        let unknown = match known.keys.verify(token) {
            Ok(verified) => return Ok(verified),
            Err(BadSignature::Wrong(why)) => return Err(refused(why)),
            Err(BadSignature::UnknownKey(id)) => id,
        };
        let keys = self.newer_keys(known, now).await?;
        keys.verify(token).map_err(|bad| match bad {
            BadSignature::Wrong(why) => refused(why),
            BadSignature::UnknownKey(_) => refused(format!("its key {unknown} is not among the source's")),
        })
    }

    /// Keys that are newer than those known, if it is not too soon to ask for them.
    async fn newer_keys(&self, known: &Known<M>, now: Timestamp) -> Result<Arc<Keys>, OidcError> {
        let _held = self.fetching.lock().await;
        let current = self.look(|state| {
            let current = state.known.as_ref().map(|known| Arc::clone(&known.keys));
            // Somebody else fetched them while this one waited.
            let newer = current.clone().filter(|keys| !Arc::ptr_eq(keys, &known.keys));
            let too_soon = is_younger(state.new_keys_at, NEW_KEYS_EVERY, now);
            if newer.is_none() && !too_soon {
                state.new_keys_at = Some(now);
            }
            newer.or(current.filter(|_| too_soon))
        });
        if let Some(keys) = current {
            return Ok(keys);
        }
        let keys = Arc::new(self.keys(&known.document).await?);
        self.look(|state| {
            if let Some(known) = &mut state.known {
                known.keys = Arc::clone(&keys);
            }
        });
        Ok(keys)
    }
}

/// Whether something of `at` is younger than `age`: one that is from the future by more is not, for then the clock was put
/// back, and nobody knows.
fn is_younger(at: Option<Timestamp>, age: Lifetime, now: Timestamp) -> bool {
    at.is_some_and(|at| at.minus(age) < now && now < at.plus(age))
}
