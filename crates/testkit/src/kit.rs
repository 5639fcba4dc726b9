//! The server, put together for a test.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use doorward::ambient::{Clock, OsEntropy};
use doorward::app::{App, DeviceGrant, DeviceRequestQuota, Parts, Policy};
use doorward::brokers;
use doorward::dev::{Development, Faults, seed};
use doorward::http::server::Server;
use doorward::iam::Callers;
use doorward::identity::Identity;
use doorward::issuers::Issuers;
use doorward::signing::{KeyPolicy, Signing};
use doorward::site::Site;
use doorward_core::client::RegistrationPolicy;
use doorward_core::credentials::SharedEntropy;
use doorward_core::directory::DirectoryFile;
use doorward_core::ids::PersonId;
use doorward_core::secret::SecretAccessKey;
use doorward_core::signing_key::SigningAlgorithm;
use doorward_core::store::Store as _;
use doorward_core::time::{Lifetime, Lifetimes, Timestamp};
use doorward_keys::KeyRing;
use doorward_store::{Closer, Location, Opened};
use doorward_upstream::credentials::brokers::Brokers;
use doorward_upstream::credentials::built_in::BuiltIn;
use doorward_upstream::iam::caller_identity::CallerIdentities;
use doorward_upstream::identity::assertions::IssuerSettings;
use doorward_upstream::identity::oidc::{Settings, Source};
use http::Request;
use http_body_util::BodyExt as _;
use tokio::sync::Barrier;

use crate::{Answer, Browser, WatchedStore};

/// When a kit's clock starts: 10 January 2027.
pub const START: Timestamp = Timestamp::from_seconds(1_799_539_200);

/// What a test decides about its server. The defaults are those of production, but nobody is limited in how often
/// they ask.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The server's origin.
    pub public_url: String,
    /// Start URLs it answers to beside its own.
    pub aliases: Vec<String>,
    /// Where a `HEAD` of the start URL is sent on to.
    pub start_url_redirect: Option<String>,
    /// People, accounts and roles; those of `doorward dev` at first.
    pub directory: DirectoryFile,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// Where people sign in beside the passwords of the directory.
    pub identity_sources: Vec<Settings>,
    /// Whose assertions applications may present.
    pub trusted_issuers: Vec<IssuerSettings>,
    /// Access keys that may sign CreateTokenWithIAM: id, secret, and the ARN of the owner.
    pub access_keys: Vec<[String; 3]>,
    /// The STS that is asked who calls, and what this server is called there.
    pub caller_identities: Option<[String; 2]>,
    /// Scopes that may be registered; all if `None`.
    pub scopes: Option<doorward_core::scope::Scopes>,
    /// Redirect URIs accepted beside those on 127.0.0.1.
    pub redirect_uris: Vec<String>,
    /// Seconds between polls; 0 for any speed.
    pub poll_interval: u32,
    /// Who may approve a device request.
    pub device_grant: DeviceGrant,
    /// How many device requests are kept.
    pub device_requests: DeviceRequestQuota,
    /// Where role credentials come from; the built-in broker if `None`.
    pub brokers: Option<Brokers>,
    /// Whether callers are limited in how often they may ask.
    pub rate_limits: bool,
    /// Whether it is a development server.
    pub development: bool,
    /// Who approves everything without being asked, on a development server.
    pub auto_approve: Option<PersonId>,
    /// How signing keys take turns.
    pub signing_keys: KeyPolicy,
    /// The master key.
    pub master_key: [u8; 32],
    /// What the clock says at first.
    pub now: Timestamp,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            public_url: "http://127.0.0.1:8377".to_owned(),
            aliases: Vec::new(),
            start_url_redirect: None,
            directory: seed::directory().expect("the seeded directory is right"),
            lifetimes: Lifetimes::default(),
            identity_sources: Vec::new(),
            trusted_issuers: Vec::new(),
            access_keys: Vec::new(),
            caller_identities: None,
            scopes: None,
            redirect_uris: Vec::new(),
            poll_interval: 1,
            device_grant: DeviceGrant::On,
            device_requests: DeviceRequestQuota::default(),
            brokers: None,
            rate_limits: false,
            development: false,
            auto_approve: None,
            signing_keys: KeyPolicy::default(),
            master_key: [7; 32],
            now: START,
        }
    }
}

/// A server in this process, and the way to it.
pub struct Kit {
    app: Arc<App>,
    server: Server,
    clock: Arc<Clock>,
    store: Arc<WatchedStore>,
    closer: Closer,
    signing: Arc<Signing>,
    base: String,
}

/// Where the requests of a kit come from.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Kit {
    /// A server with its state in memory.
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server with its state in memory, and `edit` decided.
    pub async fn with(edit: impl FnOnce(&mut Setup)) -> Self {
        Self::open(&Location::Memory, edit).await
    }

    /// A server with its state in a database in `dir`, where another kit may have been before.
    pub async fn embedded(dir: &Path, edit: impl FnOnce(&mut Setup)) -> Self {
        Self::open(&Location::Embedded(dir.to_owned()), edit).await
    }

    async fn open(location: &Location, edit: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::default();
        edit(&mut setup);
        let opened = doorward_store::open(location).expect("the store can be opened");
        let clock = Arc::new(Clock::fixed(setup.now));
        let kit = Self::on(opened, clock, &setup);
        kit.replace_directory(setup.directory).await;
        kit
    }

    /// Another node on the same store, with the same clock. The store is the first one's to close.
    #[must_use]
    pub fn beside(&self, edit: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup { public_url: self.base.clone(), ..Setup::default() };
        edit(&mut setup);
        let nothing = doorward_store::open(&Location::Memory).expect("memory can be opened");
        let shared = Opened { store: self.store.shared(), ..nothing };
        Self::on(shared, Arc::clone(&self.clock), &setup)
    }

    fn on(opened: Opened, clock: Arc<Clock>, setup: &Setup) -> Self {
        let store = Arc::new(WatchedStore::new(opened.store));
        let keys = KeyRing::new(&setup.master_key);
        let entropy: SharedEntropy = Arc::new(OsEntropy::default());
        let built_in = Arc::new(BuiltIn::new(&keys, Arc::clone(&entropy)));
        let development = setup.development.then(|| Development {
            auto_approve: setup.auto_approve.clone(),
            hints: seed::passwords(),
            faults: Arc::new(Faults::default()),
            built_in: Arc::clone(&built_in),
        });
        let mut site = Site::new(&setup.public_url, setup.aliases.clone(), "us-east-1".to_owned())
            .expect("the test's public URL and aliases are right");
        if let Some(target) = setup.start_url_redirect.clone() {
            site = site.with_start_url_redirect(target).expect("the test's redirect is right");
        }
        let base = site.base().to_owned();
        let signing =
            Arc::new(Signing::new(store.clone(), clock.clone(), entropy.clone(), &keys, setup.signing_keys));
        let sources = setup.identity_sources.iter().cloned().map(Source::new);
        let sources = sources.collect::<Result<_, _>>().expect("the test's identity sources are right");
        let identity = Identity::new(sources, store.clone(), clock.clone(), entropy.clone(), &keys);
        let app = Arc::new(App::new(Parts {
            site,
            store: Arc::clone(&store) as Arc<dyn doorward_core::store::Store>,
            clock: Arc::clone(&clock),
            keys,
            entropy,
            brokers: setup.brokers.clone().unwrap_or_else(|| brokers::built_in(built_in)),
            identity,
            issuers: Issuers::new(setup.trusted_issuers.clone()).expect("the test's issuers are right"),
            callers: callers(setup),
            signing: Arc::clone(&signing),
            policy: Policy {
                registration: RegistrationPolicy {
                    redirect_uris: setup.redirect_uris.clone(),
                    scopes: setup.scopes.clone(),
                    lifetime: setup.lifetimes.registration,
                },
                lifetimes: setup.lifetimes.clone(),
                poll_interval: setup.poll_interval,
                device_grant: setup.device_grant,
                device_requests: setup.device_requests,
                rate_limits: setup.rate_limits,
            },
            development,
        }));
        Self { server: Server::new(&app), app, clock, store, closer: opened.closer, base, signing }
    }

    /// The server.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The server, ready to answer.
    #[must_use]
    pub fn server(&self) -> Server {
        self.server.clone()
    }

    /// Its store.
    #[must_use]
    pub fn store(&self) -> &WatchedStore {
        &self.store
    }

    /// Makes the key that signs web identity tokens, as a server with a broker that needs it does when it starts.
    pub async fn make_signing_key(&self) {
        self.signing.start(&[SigningAlgorithm::Rs256]).await.expect("a key can be made");
    }

    /// What signs for it, and verifies that.
    #[must_use]
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Its origin.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its start URL.
    #[must_use]
    pub fn start_url(&self) -> String {
        format!("{}/start", self.base)
    }

    /// What its clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Puts its clock forward.
    pub fn advance(&self, seconds: u32) {
        self.clock.advance(Lifetime::from_seconds(seconds));
    }

    /// Puts another directory in place of the server's.
    pub async fn replace_directory(&self, file: DirectoryFile) {
        let directory = self.store.directory().await.expect("the directory can be read");
        let change = directory.replaced_by(file, self.now());
        self.store.commit(vec![change]).await.expect("a directory that can be applied");
    }

    /// Changes the server's directory.
    pub async fn edit_directory(&self, edit: impl FnOnce(&mut DirectoryFile)) {
        let mut file = self.store.directory().await.expect("the directory can be read").file().clone();
        edit(&mut file);
        self.replace_directory(file).await;
    }

    /// Disables or enables a person.
    pub async fn set_disabled(&self, person: &str, disabled: bool) {
        self.edit_directory(|file| {
            let found = file.people.iter_mut().find(|entry| entry.user_name.as_str() == person);
            found.expect("a person of the directory").disabled = disabled;
        })
        .await;
    }

    /// Stops the server, and closes its store.
    pub async fn close(self) {
        let Self { closer, app, server, store, .. } = self;
        drop((app, server, store));
        closer.close().await.expect("the store can be closed");
    }

    /// Sends a request, and reads the whole answer.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        ask(&self.server, request).await
    }

    /// Sends requests at the same time, each from a task of its own.
    pub async fn send_in_parallel(&self, requests: Vec<Request<Body>>) -> Vec<Answer> {
        let barrier = Arc::new(Barrier::new(requests.len()));
        let tasks: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let (server, barrier) = (self.server.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    ask(&server, request).await
                })
            })
            .collect();
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            answers.push(task.await.expect("a handler that does not panic"));
        }
        answers
    }

    /// Somebody's browser.
    #[must_use]
    pub fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }
}

fn callers(setup: &Setup) -> Callers {
    let keys = setup.access_keys.iter().fold(Callers::default(), |callers, [id, secret, arn]| {
        callers.with_key(id, SecretAccessKey::new(secret), arn)
    });
    match &setup.caller_identities {
        None => keys,
        Some([endpoint, server_id]) => {
            keys.with_sts(CallerIdentities::new(endpoint, server_id, None).expect("the test's STS is right"))
        }
    }
}

async fn ask(server: &Server, request: Request<Body>) -> Answer {
    let response = server.answer(ADDRESS, request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("an answer that is in memory").to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// Runs a test on every store there is.
pub async fn on_every_store(edit: impl Fn(&mut Setup), test: impl AsyncFn(&Kit)) {
    let kit = Kit::with(&edit).await;
    test(&kit).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kit = Kit::embedded(dir.path(), &edit).await;
    test(&kit).await;
    kit.close().await;
}
