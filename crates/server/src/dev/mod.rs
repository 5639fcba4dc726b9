//! What only a development server has: an approver who is not asked, a clock that can be put forward, faults on
//! demand, and an STS for the built-in credentials. Loopback only, and never another way through a grant.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use doorward_core::consent::Consents;
use doorward_core::device::DeviceRequest;
use doorward_core::directory::Directory;
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::{DeviceRequestId, OnceId, PersonId, SessionId};
use doorward_core::refusal::Refusal;
use doorward_core::secret::UserCodeHash;
use doorward_core::session::Session;
use doorward_core::signing_key::SigningKeys;
use doorward_core::store::{Allowance, CommitError, KeptRequests, Outage, Store};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_core::verdict::Change;
use doorward_upstream::credentials::built_in::BuiltIn;
use doorward_wire::decode::required;
use doorward_wire::fault::{OidcFault, Unservable};
use serde::Deserialize;

use crate::app::App;
use crate::http::received::Received;
use crate::http::{answer, api};

pub mod seed;
pub(crate) mod sts;

/// What only a development server has.
#[derive(Debug)]
pub struct Development {
    /// Who approves everything without being asked.
    pub auto_approve: Option<PersonId>,
    /// User names and passwords to try, shown on the sign-in page.
    pub hints: Vec<(String, String)>,
    /// Faults on demand.
    pub faults: Arc<Faults>,
    /// Whose credentials the STS knows.
    pub built_in: Arc<BuiltIn>,
}

/// Which faults are on.
#[derive(Debug, Default)]
pub struct Faults {
    store_unavailable: AtomicBool,
}

/// A store that fails on demand.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    /// `inner`, failing whenever `faults` says so.
    #[must_use]
    pub const fn new(inner: Arc<dyn Store>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    fn available(&self) -> Result<&dyn Store, Outage> {
        if self.faults.store_unavailable.load(Ordering::Relaxed) {
            return Err(Outage("it was switched off by POST /dev/faults".to_owned()));
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        self.available()?.device_request(id).await
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        self.available()?.device_request_by_code(code).await
    }

    async fn device_requests_kept(&self, address: IpAddr) -> Result<KeptRequests, Outage> {
        self.available()?.device_requests_kept(address).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        self.available()?.session(id).await
    }

    async fn sessions_of(
        &self,
        person: &PersonId,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Session>, Outage> {
        self.available()?.sessions_of(person, now, limit).await
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.available()?.directory().await
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        self.available()?.federated_person(id).await
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        self.available()?.consents(person).await
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        self.available()?.used(id).await
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        self.available()?.signing_keys().await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        self.available()?.commit(changes).await
    }

    async fn take(&self, allowances: &[Allowance], now: Timestamp) -> Result<bool, Outage> {
        self.available()?.take(allowances, now).await
    }

    async fn sweep(&self, now: Timestamp, limit: usize) -> Result<usize, Outage> {
        self.available()?.sweep(now, limit).await
    }
}

/// `GET /dev/clock`.
pub(crate) async fn clock(received: Received) -> Response {
    clock_answer(&received.app)
}

fn clock_answer(app: &App) -> Response {
    let body = format!(r#"{{"now_millis":{}}}"#, app.clock.now().millis());
    answer::json(StatusCode::OK, body.into_bytes())
}

/// `POST /dev/clock` with `{"advance_seconds": N}`.
pub(crate) async fn advance_clock(received: Received) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Advance {
        advance_seconds: u32,
    }
    let app = Arc::clone(&received.app);
    match control::<Advance>(received).await {
        Ok(Advance { advance_seconds }) => {
            app.clock.advance(Lifetime::from_seconds(advance_seconds));
            tracing::warn!(advance_seconds, "the clock was put forward");
            clock_answer(&app)
        }
        Err(refused) => refused,
    }
}

/// `POST /dev/faults` with `{"store": "unavailable"}` or `{"store": "none"}`.
pub(crate) async fn set_faults(received: Received) -> Response {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Set {
        store: Option<String>,
    }
    let app = Arc::clone(&received.app);
    let set = match control::<Set>(received).await {
        Ok(set) => set,
        Err(refused) => return refused,
    };
    let unavailable = match required(set.store, "store").as_deref() {
        Ok("unavailable") => true,
        Ok("none") => false,
        Ok(_) => return refuse("store must be \"unavailable\" or \"none\""),
        Err(_) => return refuse("store is required"),
    };
    if let Some(development) = &app.development {
        development.faults.store_unavailable.store(unavailable, Ordering::Relaxed);
        tracing::warn!(store_unavailable = unavailable, "faults were set");
    }
    answer::json(StatusCode::OK, b"{}".to_vec())
}

fn refuse(why: &str) -> Response {
    answer::oidc_fault(&OidcFault::Refused(Refusal::InvalidRequest(why.to_owned())))
}

/// Reads a control's body. The content type is required here: a page elsewhere cannot send it without asking first.
async fn control<T: for<'de> Deserialize<'de>>(received: Received) -> Result<T, Response> {
    let unservable = |what| answer::oidc_fault(&OidcFault::Unservable(what));
    let Received { parts, body, .. } = received;
    let json =
        |headers: &HeaderMap| headers.get("content-type").is_some_and(|kind| kind == "application/json");
    if !json(&parts.headers) {
        return Err(unservable(Unservable::UnsupportedMediaType));
    }
    let body = api::read(body).await.map_err(unservable)?;
    serde_json::from_slice(&body).map_err(|error| refuse(&error.to_string()))
}
