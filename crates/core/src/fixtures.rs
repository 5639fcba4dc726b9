//! What the tests of this crate share: a moment, people, clients, artefacts, and a store that can be made to fail.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use subtle::Choice;

use crate::application::{Application, ClientAuthentication, SecretHash};
use crate::assignment::Standing;
use crate::client::{GrantType, KnownClient, Registration};
use crate::consent::Consents;
use crate::device::{DeviceRequest, DeviceState, Requester};
use crate::directory::{Departures, Directory, DirectoryFile, Person};
use crate::federated::{FederatedPerson, Sources, Trust};
use crate::grant::TokenRequest;
use crate::grant::authorization_code::Code;
use crate::ids::{
    ApplicationId, ClientId, CodeId, DeviceRequestId, GroupName, OnceId, PersonId, SessionId, SourceName,
};
use crate::redirect::RedirectUri;
use crate::scope::Scopes;
use crate::secret::{CodeChallenge, UserCodeHash};
use crate::session::{Holder, Session, SessionState};
use crate::signing_key::{SigningAlgorithm, SigningKeys};
use crate::store::{Allowance, CommitError, KeptRequests, Outage, Store};
use crate::time::{Lifetime, Lifetimes, Timestamp};
use crate::verdict::Change;

/// The time of every request that does not say otherwise.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
/// The scopes that were approved: fewer than the client registered.
pub(crate) const GRANTED: &str = "openid sso:account:access";
/// The scopes that the client registered.
pub(crate) const REGISTERED: &str = "email openid sso:account:access";
/// The client that every artefact belongs to.
pub(crate) const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
/// Any other client.
pub(crate) const OTHER_CLIENT: ClientId = ClientId::from_bytes([2; 16]);
pub(crate) const CODE: CodeId = CodeId::from_bytes([3; 16]);
pub(crate) const REQUEST: DeviceRequestId = DeviceRequestId::from_bytes([4; 16]);
pub(crate) const SESSION: SessionId = SessionId::from_bytes([5; 16]);
pub(crate) const USER_CODE: UserCodeHash = UserCodeHash::from_bytes([6; 16]);
/// The challenge of every code, which the right verifier meets.
pub(crate) const CHALLENGE: CodeChallenge = CodeChallenge::from_bytes([7; 32]);
/// What a wrong verifier amounts to; it differs in the last bit alone.
pub(crate) const WRONG_PROOF: CodeChallenge = {
    let mut bytes = [7; 32];
    bytes[31] = 6;
    CodeChallenge::from_bytes(bytes)
};
/// Where every code was sent.
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1:45343/oauth/callback";

pub(crate) fn later(seconds: u32) -> Timestamp {
    NOW.plus(Lifetime::from_seconds(seconds))
}

/// One millisecond earlier: just inside a bound.
pub(crate) fn just_before(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.millis() - 1)
}

pub(crate) fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

pub(crate) fn scopes(text: &str) -> Scopes {
    Scopes::parse([text]).unwrap()
}

/// Ann may be given tokens; bob is disabled; nobody else exists.
pub(crate) fn directory() -> Arc<Directory> {
    let entry = |name: &str, disabled| Person { disabled, ..Person::named(person(name)) };
    let people = vec![entry("ann", false), entry("bob", true)];
    let file = DirectoryFile { people, ..DirectoryFile::default() };
    Arc::new(Directory::new(file, Departures::new(), 1).unwrap())
}

/// What is known of any of them.
pub(crate) fn standing() -> Standing {
    block_on(Standing::load(&TestStore::new(Rows::with_people()), &sources(), None)).unwrap()
}

/// An application of everybody, which may sign people in.
pub(crate) fn application() -> Application {
    Application {
        client_id: ApplicationId::parse("wiki").unwrap(),
        name: "Wiki".into(),
        arn: None,
        authentication: ClientAuthentication::ClientSecretBasic,
        secret_hashes: vec![SecretHash::from_bytes([8; 32])],
        keys: vec![],
        redirect_uris: vec!["https://wiki.example/callback".into()],
        post_logout_redirect_uris: vec![],
        backchannel_logout_uri: None,
        grants: vec![GrantType::AuthorizationCode, GrantType::DeviceCode, GrantType::RefreshToken],
        scopes: scopes("openid email offline_access"),
        audiences: vec!["https://api.example".into()],
        resource: None,
        people: vec![],
        groups: vec![],
        everybody: true,
        consent: true,
        access_token_lifetime: None,
        session_lifetime: None,
        signing_algorithm: SigningAlgorithm::default(),
        dpop_bound_access_tokens: false,
        require_pushed_authorization_requests: false,
        token_exchange: None,
        trusted_issuers: vec![],
        iam_principals: vec![],
    }
}

/// What is known of the people where there is this application, too. It is for those whom it names.
pub(crate) fn standing_with(application: Application) -> Standing {
    let everybody = application.people.is_empty() && application.groups.is_empty();
    let application = Application { everybody, ..application };
    let mut file = directory().file().clone();
    file.people.extend(["zed"].map(|name| Person::named(person(name))));
    file.applications.push(application);
    let directory = Directory::new(file, Departures::new(), 1).unwrap();
    Standing::new(Arc::new(directory), &sources(), None)
}

/// One source, `corp`: asked again after a quarter of an hour, and trusted for four hours.
pub(crate) fn sources() -> Sources {
    let trust = Trust {
        just_in_time: true,
        recheck: Lifetime::from_seconds(900),
        holds: Lifetime::from_seconds(14_400),
    };
    [(corp(), trust)].into()
}

pub(crate) fn corp() -> SourceName {
    SourceName::parse("corp").unwrap()
}

/// Somebody of whom `corp` has just spoken.
pub(crate) fn federated(name: &str) -> FederatedPerson {
    FederatedPerson {
        id: person(name),
        source: corp(),
        subject: "248289761001".into(),
        display_name: Some("Somebody".into()),
        email: None,
        groups: ["guests", "nowhere"].map(|name| GroupName::parse(name).unwrap()).into(),
        since: NOW,
        confirmed_at: NOW,
        good_until: later(14_400),
        gone: false,
        refresh_token: Some("sealed".into()),
        asking_until: None,
    }
}

/// A client, the lifetimes under which it asks, and the sources there are.
pub(crate) struct Asker {
    pub(crate) client: KnownClient,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) sources: Sources,
}

impl Asker {
    pub(crate) fn new(edit: impl FnOnce(&mut Registration)) -> Self {
        let mut registration = Registration {
            id: CLIENT,
            name: "cli".into(),
            scopes: scopes(REGISTERED),
            redirect_uris: vec![RedirectUri::register("http://127.0.0.1/oauth/callback", &[]).unwrap()],
            grants: [GrantType::DeviceCode, GrantType::AuthorizationCode, GrantType::RefreshToken]
                .into_iter()
                .collect(),
            issued_at: NOW,
            expires_at: later(7_776_000),
            application: None,
        };
        edit(&mut registration);
        let client = registration.authenticate(Choice::from(1), NOW).unwrap();
        Self { client, lifetimes: Lifetimes::default(), sources: sources() }
    }

    pub(crate) fn asks(&self, scope: &str, now: Timestamp) -> TokenRequest<'_> {
        let Self { client, lifetimes, sources } = self;
        TokenRequest {
            client,
            scopes: scopes(scope),
            now,
            lifetimes,
            sources,
            audiences: Vec::new(),
            dpop_key: None,
        }
    }
}

impl Default for Asker {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

/// Ann's code, good for five minutes.
pub(crate) fn code() -> Code {
    Code {
        id: CODE,
        client: CLIENT,
        redirect_uri: REDIRECT_URI.into(),
        challenge: CHALLENGE,
        scopes: scopes(GRANTED),
        person: person("ann"),
        authenticated_at: NOW,
        expires_at: later(300),
        terms: None,
        nonce: None,
    }
}

/// A device request, good for ten minutes.
pub(crate) fn device_request(state: DeviceState) -> DeviceRequest {
    DeviceRequest {
        id: REQUEST,
        user_code: USER_CODE,
        client: CLIENT,
        client_name: "cli".into(),
        scopes: scopes(GRANTED),
        requester: requester(),
        created_at: NOW,
        expires_at: later(600),
        state,
    }
}

pub(crate) fn approved_by(name: &str) -> DeviceState {
    DeviceState::Approved { by: person(name), authenticated_at: NOW }
}

pub(crate) fn requester() -> Requester {
    Requester { address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: None }
}

/// Ann's session of eight hours, just rotated to generation 5.
pub(crate) fn session() -> Session {
    Session {
        id: SESSION,
        person: person("ann"),
        holder: Holder::Client { id: CLIENT, name: "cli".into() },
        scopes: scopes(GRANTED),
        created_at: NOW,
        authenticated_at: NOW,
        expires_at: later(28_800),
        generation: 5,
        rotated_at: NOW,
        state: SessionState::Live,
        terms: None,
    }
}

/// What a store keeps, and the guards of its changes in their plainest form.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) requests: HashMap<DeviceRequestId, DeviceRequest>,
    pub(crate) sessions: HashMap<SessionId, Session>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) federated: HashMap<PersonId, (u64, FederatedPerson)>,
    pub(crate) consents: HashMap<PersonId, (u64, Consents)>,
    pub(crate) used: HashSet<OnceId>,
}

impl Rows {
    /// Nothing but the people.
    pub(crate) fn with_people() -> Self {
        Self { directory: directory(), ..Self::default() }
    }

    pub(crate) fn with(mut self, session: Session) -> Self {
        self.sessions.insert(session.id, session);
        self
    }

    pub(crate) fn with_federated(mut self, person: FederatedPerson) -> Self {
        self.federated.insert(person.id.clone(), (1, person));
        self
    }

    pub(crate) fn with_request(mut self, request: DeviceRequest) -> Self {
        self.requests.insert(request.id, request);
        self
    }

    /// Makes all of `changes`, or none.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), CommitError> {
        let mut next = self.clone();
        for change in changes {
            next.apply(change).ok_or(CommitError::Conflict)?;
        }
        *self = next;
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Option<()> {
        match change.clone() {
            Change::OpenDeviceRequest(request) => {
                let taken =
                    self.requests.values().any(|r| r.id == request.id || r.user_code == request.user_code);
                (!taken).then(|| self.requests.insert(request.id, request))?;
            }
            Change::MoveDeviceRequest { id, from, to } => {
                self.requests.get_mut(&id).filter(|request| request.state == from)?.state = to;
            }
            Change::StartSession(session) => {
                (!self.sessions.contains_key(&session.id))
                    .then(|| self.sessions.insert(session.id, session))?;
            }
            Change::Rotate { id, from, to, at } => {
                let session = self.live(id).filter(|session| session.generation == from)?;
                (session.generation, session.rotated_at) = (to, at);
            }
            Change::EndSession { id, at, why } => self.live(id)?.state = SessionState::Ended { at, why },
            Change::ReplaceDirectory { from, file, departed } => {
                (self.directory.version() == from).then_some(())?;
                self.directory = Arc::new(Directory::new(*file, departed, from + 1).ok()?);
            }
            Change::PutFederatedPerson { from, person } => {
                let stored = self.federated.get(&person.id).map_or(0, |(version, _)| *version);
                (stored == from).then(|| self.federated.insert(person.id.clone(), (from + 1, *person)))?;
            }
            Change::PutConsents { from, person, consents } => {
                let stored = self.consents.get(&person).map_or(0, |(version, _)| *version);
                (stored == from).then(|| self.consents.insert(person, (from + 1, *consents)))?;
            }
            Change::Use { id, .. } => self.used.insert(id).then_some(())?,
            // No rule of core knows of keys.
            Change::ReplaceSigningKeys { .. } => return None,
        }
        Some(())
    }

    fn live(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&id).filter(|session| session.state == SessionState::Live)
    }
}

/// A store over [`Rows`] whose next commits can be made to fail or to lose their race.
#[derive(Default)]
pub(crate) struct TestStore(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    rows: Rows,
    commits: usize,
    failures: VecDeque<CommitError>,
    rivals: VecDeque<Vec<Change>>,
    is_down: bool,
}

impl TestStore {
    pub(crate) fn new(rows: Rows) -> Self {
        Self(Mutex::new(Inner { rows, ..Inner::default() }))
    }

    /// The next commits fail with these, one each, and write nothing.
    pub(crate) fn failing(self, failures: impl IntoIterator<Item = CommitError>) -> Self {
        self.inner().failures.extend(failures);
        self
    }

    /// Just before the next commit, and after what it was decided on was read, somebody else commits these.
    pub(crate) fn with_rival(self, changes: Vec<Change>) -> Self {
        self.inner().rivals.push_back(changes);
        self
    }

    /// Every read fails.
    pub(crate) fn down(self) -> Self {
        self.inner().is_down = true;
        self
    }

    pub(crate) fn rows(&self) -> Rows {
        self.inner().rows.clone()
    }

    /// How many commits were tried.
    pub(crate) fn commits(&self) -> usize {
        self.inner().commits
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn read<T>(&self, of: impl FnOnce(&Rows) -> T) -> Result<T, Outage> {
        let inner = self.inner();
        if inner.is_down { Err(Outage("down".into())) } else { Ok(of(&inner.rows)) }
    }
}

#[async_trait]
impl Store for TestStore {
    async fn device_request(&self, id: DeviceRequestId) -> Result<Option<DeviceRequest>, Outage> {
        self.read(|rows| rows.requests.get(&id).cloned())
    }

    async fn device_request_by_code(&self, code: UserCodeHash) -> Result<Option<DeviceRequest>, Outage> {
        self.read(|rows| rows.requests.values().find(|request| request.user_code == code).cloned())
    }

    async fn device_requests_kept(&self, _: IpAddr) -> Result<KeptRequests, Outage> {
        Err(Outage("no rule of core counts requests".into()))
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Outage> {
        self.read(|rows| rows.sessions.get(&id).cloned())
    }

    async fn sessions_of(&self, _: &PersonId, _: Timestamp, _: usize) -> Result<Vec<Session>, Outage> {
        Err(Outage("no rule of core lists sessions".into()))
    }

    async fn directory(&self) -> Result<Arc<Directory>, Outage> {
        self.read(|rows| rows.directory.clone())
    }

    async fn federated_person(&self, id: &PersonId) -> Result<(u64, Option<FederatedPerson>), Outage> {
        self.read(|rows| match rows.federated.get(id) {
            Some((version, person)) => (*version, Some(person.clone())),
            None => (0, None),
        })
    }

    async fn consents(&self, person: &PersonId) -> Result<(u64, Consents), Outage> {
        self.read(|rows| rows.consents.get(person).cloned().unwrap_or_default())
    }

    async fn used(&self, id: OnceId) -> Result<bool, Outage> {
        self.read(|rows| rows.used.contains(&id))
    }

    async fn signing_keys(&self) -> Result<SigningKeys, Outage> {
        Err(Outage("no rule of core knows of keys".into()))
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        let mut inner = self.inner();
        inner.commits += 1;
        if let Some(rival) = inner.rivals.pop_front() {
            inner.rows.commit(&rival).unwrap();
        }
        match inner.failures.pop_front() {
            Some(failure) => Err(failure),
            None => inner.rows.commit(&changes),
        }
    }

    async fn take(&self, _: &[Allowance], _: Timestamp) -> Result<bool, Outage> {
        Err(Outage("no rule of core takes allowances".into()))
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<usize, Outage> {
        Err(Outage("no rule of core sweeps".into()))
    }
}

/// Runs a future that waits for nothing but a [`TestStore`], hence is ready sooner or later without being woken.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
