//! A server with applications, and people who sign things, for the tests of this door.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::application::Application;
use doorward_core::client::{Registration, RegistrationPolicy, RegistrationRequest};
use doorward_core::credentials::SharedEntropy;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::ClientId;
use doorward_core::store::Store;
use doorward_core::time::{Lifetime, Lifetimes, Timestamp};
use doorward_keys::KeyRing;
use doorward_store::MemoryStore;
use doorward_upstream::credentials::built_in::BuiltIn;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::ambient::{Clock, OsEntropy};
use crate::app::{App, DeviceGrant, DeviceRequestQuota, Parts, Policy};
use crate::brokers;
use crate::identity::Identity;
use crate::op::Caller;
use crate::signing::Signing;
use crate::site::Site;

/// When a test's clock starts.
pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// Where its server is.
pub(super) const BASE: &str = "https://sso.example.org";

/// A node on `store`.
pub(super) fn node(store: Arc<dyn Store>, rate_limits: bool) -> App {
    let keys = KeyRing::new(&[7; 32]);
    let entropy: SharedEntropy = Arc::new(OsEntropy::default());
    let clock = Arc::new(Clock::fixed(NOW));
    let lifetimes = Lifetimes::default();
    App::new(Parts {
        site: Site::new(BASE, Vec::new(), "us-east-1".into()).unwrap(),
        brokers: brokers::built_in(Arc::new(BuiltIn::new(&keys, entropy.clone()))),
        issuers: crate::issuers::Issuers::default(),
        callers: crate::iam::Callers::default(),
        identity: Identity::new(Vec::new(), store.clone(), clock.clone(), entropy.clone(), &keys),
        signing: Arc::new(Signing::new(
            store.clone(),
            clock.clone(),
            entropy.clone(),
            &keys,
            crate::signing::KeyPolicy::default(),
        )),
        policy: Policy {
            registration: RegistrationPolicy {
                redirect_uris: Vec::new(),
                scopes: None,
                lifetime: lifetimes.registration,
            },
            lifetimes,
            poll_interval: 1,
            device_grant: DeviceGrant::On,
            device_requests: DeviceRequestQuota::default(),
            rate_limits,
        },
        development: None,
        store,
        clock,
        keys,
        entropy,
    })
}

/// A server with these applications.
pub(super) async fn app(applications: Vec<Application>) -> App {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let file = DirectoryFile { applications, ..DirectoryFile::default() };
    let change = store.directory().await.unwrap().replaced_by(file, NOW);
    store.commit(vec![change]).await.unwrap();
    node(store, false)
}

/// Somebody, `seconds` after the start.
pub(super) fn caller(seconds: u32) -> Caller {
    Caller { address: [127, 0, 0, 1].into(), now: NOW.plus(Lifetime::from_seconds(seconds)) }
}

/// An application of this name, with `more` members than it must have.
pub(super) fn application(client_id: &str, more: &Value) -> Application {
    let mut written = json!({
        "client_id": client_id, "name": client_id, "grants": ["client_credentials"], "scopes": ["openid"],
    });
    for (name, value) in more.as_object().unwrap() {
        written[name] = value.clone();
    }
    serde_json::from_value(written).unwrap()
}

/// A tool that registered itself.
pub(super) fn tool() -> Registration {
    let policy =
        RegistrationPolicy { redirect_uris: vec![], scopes: None, lifetime: Lifetime::from_seconds(3600) };
    let request =
        RegistrationRequest { name: "tool", kind: "public", scopes: &[], redirect_uris: &[], grants: None };
    policy.register(&request, ClientId::from_bytes([1; 16]), NOW).unwrap()
}

/// Somebody who signs with a P-256 key.
pub(super) struct Signer {
    key: EncodingKey,
    /// The public key.
    pub(super) jwk: Value,
}

impl Signer {
    /// Somebody with a new key.
    pub(super) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": part(x), "y": part(y)});
        Self { key: EncodingKey::from_ec_der(der.as_ref()), jwk }
    }

    /// `claims` under `header`, which may say whatever the test wants.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        signed(header, claims, &self.key, Algorithm::ES256)
    }
}

/// `claims` under `header`, signed with any key.
pub(super) fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let part = |json: &Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}
