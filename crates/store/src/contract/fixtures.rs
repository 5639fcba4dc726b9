//! Values to write.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use doorward_core::client::{GrantType, KnownClient, Registration};
use doorward_core::consent::{Consent, Consents};
use doorward_core::device::{DeviceRequest, DeviceState, Requester};
use doorward_core::directory::{Departures, Directory, DirectoryFile, Person};
use doorward_core::federated::{FederatedPerson, Sources};
use doorward_core::grant::TokenRequest;
use doorward_core::ids::{
    ApplicationId, ClientId, DeviceRequestId, GroupName, IssuerName, OnceId, PersonId, SessionId, SourceName,
};
use doorward_core::scope::Scopes;
use doorward_core::secret::{KeyThumbprint, UserCodeHash};
use doorward_core::session::{Holder, Session, SessionState, Terms};
use doorward_core::signing_key::{SigningAlgorithm, SigningKey, SigningKeys};
use doorward_core::store::{CommitError, Store};
use doorward_core::time::{Lifetime, Lifetimes, Timestamp};
use doorward_core::verdict::Change;
use subtle::Choice;

/// When everything here happens; not a whole second, so that a store which keeps only those is found out.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_123);

/// `seconds` after [`NOW`].
#[must_use]
pub const fn later(seconds: u32) -> Timestamp {
    NOW.plus(Lifetime::from_seconds(seconds))
}

/// Sixteen bytes for `n`, spread as random ids are, so that a store sees them in no order.
#[must_use]
pub fn bytes(n: u64) -> [u8; 16] {
    // The finalizer of SplitMix64: it maps no two numbers to one.
    let mut mixed = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    bytes
}

/// The `n`th session id.
#[must_use]
pub fn session_id(n: u64) -> SessionId {
    SessionId::from_bytes(bytes(n))
}

/// The `n`th device request id.
#[must_use]
pub fn request_id(n: u64) -> DeviceRequestId {
    DeviceRequestId::from_bytes(bytes(n))
}

/// The `n`th thing that may be used once.
#[must_use]
pub fn once_id(n: u64) -> OnceId {
    OnceId::from_bytes(bytes(n))
}

/// The `n`th user code.
#[must_use]
pub fn user_code(n: u64) -> UserCodeHash {
    UserCodeHash::from_bytes(bytes(!n))
}

/// The person with this user name.
#[must_use]
pub fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

/// These scopes.
#[must_use]
pub fn scopes(text: &str) -> Scopes {
    Scopes::parse([text]).unwrap()
}

/// The `n`th session: of alice, held by a client, eight hours from [`NOW`].
#[must_use]
pub fn session(n: u64) -> Session {
    Session {
        id: session_id(n),
        person: person("alice"),
        holder: Holder::Client { id: CLIENT, name: "aws-cli ☁".into() },
        scopes: scopes("sso:account:access"),
        created_at: NOW,
        authenticated_at: later(1),
        expires_at: later(28_800),
        generation: 0,
        rotated_at: later(2),
        state: SessionState::Live,
        terms: None,
    }
}

/// What a session can be agreed on beside its scopes: something of everything.
#[must_use]
pub fn terms() -> Terms {
    Terms {
        audiences: vec!["https://api.example.com/".into()],
        dpop_key: Some(KeyThumbprint::from_bytes([9; 32])),
        browser: Some(session_id(99)),
        amr: vec!["pwd".into(), "otp".into()],
        acr: Some("urn:example:gold".into()),
        issuer: Some(IssuerName::parse("corp").expect("a name")),
        proved_at: Some(Timestamp::from_millis(1_767_225_600_250)),
    }
}

/// The `n`th session, with [`terms`].
#[must_use]
pub fn session_with_terms(n: u64) -> Session {
    Session { terms: Some(Arc::new(terms())), ..session(n) }
}

/// The `n`th device request: pending, ten minutes from [`NOW`].
#[must_use]
pub fn device_request(n: u64) -> DeviceRequest {
    DeviceRequest {
        id: request_id(n),
        user_code: user_code(n),
        client: CLIENT,
        client_name: "aws-cli ☁".into(),
        scopes: scopes("sso:account:access"),
        requester: Requester { address: address(1), user_agent: Some("aws-cli/2.31".into()) },
        created_at: NOW,
        expires_at: later(600),
        state: DeviceState::Pending,
    }
}

/// The `n`th address.
#[must_use]
pub const fn address(n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))
}

/// The state of a device request that alice approved.
#[must_use]
pub fn approved() -> DeviceState {
    DeviceState::Approved { by: person("alice"), authenticated_at: later(3) }
}

/// The client of every fixture.
pub const CLIENT: ClientId = ClientId::from_bytes(*b"client-of-tests!");

/// The client, registered for every grant.
#[must_use]
pub fn known_client() -> KnownClient {
    let registration = Registration {
        id: CLIENT,
        name: "aws-cli ☁".into(),
        scopes: scopes("sso:account:access"),
        redirect_uris: Vec::new(),
        grants: [GrantType::DeviceCode, GrantType::AuthorizationCode, GrantType::RefreshToken]
            .into_iter()
            .collect(),
        issued_at: NOW,
        expires_at: later(7_776_000),
        application: None,
    };
    registration.authenticate(Choice::from(1), NOW).unwrap()
}

/// There are no identity sources.
pub static NO_SOURCES: Sources = Sources::new();

/// A request of CreateToken at `now`.
#[must_use]
pub fn token_request<'a>(
    client: &'a KnownClient,
    lifetimes: &'a Lifetimes,
    now: Timestamp,
) -> TokenRequest<'a> {
    TokenRequest {
        client,
        scopes: Scopes::default(),
        now,
        lifetimes,
        sources: &NO_SOURCES,
        audiences: Vec::new(),
        dpop_key: None,
    }
}

/// A directory of people and nothing else.
#[must_use]
pub fn directory_of(names: &[&str]) -> DirectoryFile {
    let person =
        |name: &&str| Person { display_name: Some(format!("{name} ☺")), ..Person::named(person(name)) };
    DirectoryFile { people: names.iter().map(person).collect(), ..DirectoryFile::default() }
}

/// The change to a directory of people.
#[must_use]
pub fn replace_directory(from: u64, names: &[&str]) -> Change {
    Change::ReplaceDirectory { from, file: Box::new(directory_of(names)), departed: Departures::new() }
}

/// What the source `corp` says of the person with this user name: they are there, an hour from [`NOW`].
#[must_use]
pub fn federated_person(name: &str) -> FederatedPerson {
    FederatedPerson {
        id: person(name),
        source: SourceName::parse("corp").unwrap(),
        subject: format!("subject of {name}"),
        display_name: Some(format!("{name} ☺")),
        email: Some("somebody@example.com".into()),
        groups: [GroupName::parse("ops").unwrap()].into(),
        since: NOW,
        confirmed_at: later(1),
        good_until: later(3600),
        gone: false,
        refresh_token: Some("sealed".into()),
        asking_until: None,
    }
}

/// The `n`th signing key.
#[must_use]
pub fn signing_key(n: u8) -> SigningKey {
    SigningKey {
        id: format!("key {n}"),
        algorithm: SigningAlgorithm::Rs256,
        made_at: later(n.into()),
        signs_from: later(n.into()),
        sealed: "sealed".into(),
        certificate: vec![n; 3],
    }
}

/// The change that puts [`federated_person`].
#[must_use]
pub fn put_person(from: u64, name: &str) -> Change {
    Change::PutFederatedPerson { from, person: Box::new(federated_person(name)) }
}

/// What somebody agreed to: the same scopes for each of these applications, without asking again.
#[must_use]
pub fn consents(applications: &[&str]) -> Consents {
    let consent = || Consent {
        scopes: scopes("openid profile"),
        audiences: vec!["https://api.example.com/".into()],
        given_at: later(4),
    };
    applications.iter().map(|name| (ApplicationId::parse(*name).unwrap(), consent())).collect()
}

/// The change that puts the [`consents`] of the person with this user name.
#[must_use]
pub fn put_consents(from: u64, name: &str, applications: &[&str]) -> Change {
    Change::PutConsents { from, person: person(name), consents: Box::new(consents(applications)) }
}

/// The change that uses the `n`th of what may be used once; a minute later it may be forgotten.
#[must_use]
pub fn use_once(n: u64) -> Change {
    Change::Use { id: once_id(n), until: later(60), durable: false }
}

/// The change that replaces the signing keys by these.
#[must_use]
pub fn replace_keys(from: u64, keys: &[u8]) -> Change {
    Change::ReplaceSigningKeys { from, keys: keys.iter().map(|n| signing_key(*n)).collect() }
}

/// The change that starts the `n`th session.
#[must_use]
pub fn start(n: u64) -> Change {
    Change::StartSession(session(n))
}

/// The change that rotates the `n`th session to the generation after `from`.
#[must_use]
pub fn rotate(n: u64, from: u32) -> Change {
    Change::Rotate { id: session_id(n), from, to: from + 1, at: later(60 + from) }
}

/// The change that ends the `n`th session.
#[must_use]
pub fn end(n: u64) -> Change {
    use doorward_core::session::EndReason;
    Change::EndSession { id: session_id(n), at: later(120), why: EndReason::Logout }
}

/// The change that opens the `n`th device request.
#[must_use]
pub fn open_request(n: u64) -> Change {
    Change::OpenDeviceRequest(device_request(n))
}

/// The change that moves the `n`th device request.
#[must_use]
pub fn move_request(n: u64, from: DeviceState, to: DeviceState) -> Change {
    Change::MoveDeviceRequest { id: request_id(n), from, to }
}

/// Commits, which must succeed.
pub async fn commit(store: &Arc<dyn Store>, changes: impl IntoIterator<Item = Change>) {
    store.commit(changes.into_iter().collect()).await.unwrap();
}

/// Commits, which must be a conflict.
#[track_caller]
pub fn conflicts(
    store: &Arc<dyn Store>,
    changes: impl IntoIterator<Item = Change>,
) -> impl Future<Output = ()> {
    let (changes, place) = (changes.into_iter().collect(), std::panic::Location::caller());
    async move {
        let outcome = store.commit(changes).await;
        assert_eq!(outcome, Err(CommitError::Conflict), "the commit at {place}");
    }
}

/// The `n`th session as the store has it, which must be there.
pub async fn stored(store: &Arc<dyn Store>, n: u64) -> Session {
    store.session(session_id(n)).await.unwrap().expect("the session is kept")
}

/// The `n`th device request as the store has it, which must be there.
pub async fn stored_request(store: &Arc<dyn Store>, n: u64) -> DeviceRequest {
    store.device_request(request_id(n)).await.unwrap().expect("the device request is kept")
}

/// The directory as the store has it.
pub async fn stored_directory(store: &Arc<dyn Store>) -> Arc<Directory> {
    store.directory().await.unwrap()
}

/// What the store has of the person with this user name, and its version.
pub async fn stored_federated(store: &Arc<dyn Store>, name: &str) -> (u64, Option<FederatedPerson>) {
    store.federated_person(&person(name)).await.unwrap()
}

/// The signing keys as the store has them.
pub async fn stored_keys(store: &Arc<dyn Store>) -> SigningKeys {
    store.signing_keys().await.unwrap()
}

/// The consents that the store has of the person with this user name, and their version.
pub async fn stored_consents(store: &Arc<dyn Store>, name: &str) -> (u64, Consents) {
    store.consents(&person(name)).await.unwrap()
}

/// Whether the store says that the `n`th of what may be used once was used.
pub async fn is_used(store: &Arc<dyn Store>, n: u64) -> bool {
    store.used(once_id(n)).await.unwrap()
}
