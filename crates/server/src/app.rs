//! The server as one value: everything that a request needs, and nothing global.

use std::sync::Arc;
use std::time::Duration;

use doorward_core::client::RegistrationPolicy;
use doorward_core::credentials::SharedEntropy;
use doorward_core::ids::PersonId;
use doorward_core::store::Store;
use doorward_core::time::Lifetimes;
use doorward_keys::KeyRing;
use doorward_upstream::credentials::brokers::Brokers;
use doorward_upstream::identity::local::Passwords;
use serde::Deserialize;

use crate::ambient::Clock;
use crate::backchannel::Backchannel;
use crate::dev::Development;
use crate::guesses::Guesses;
use crate::iam::Callers;
use crate::identity::Identity;
use crate::issuers::Issuers;
use crate::limits::Limits;
use crate::signing::Signing;
use crate::site::Site;
use crate::tokens::Tokens;

/// The server.
pub struct App {
    pub(crate) site: Site,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) tokens: Tokens,
    pub(crate) signing: Arc<Signing>,
    pub(crate) passwords: Passwords,
    pub(crate) identity: Identity,
    pub(crate) issuers: Issuers,
    pub(crate) callers: Callers,
    pub(crate) brokers: Brokers,
    pub(crate) limits: Limits,
    pub(crate) guesses: Guesses,
    pub(crate) backchannel: Backchannel,
    pub(crate) policy: Policy,
    pub(crate) development: Option<Development>,
}

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// What may be registered.
    pub registration: RegistrationPolicy,
    /// Seconds between the polls of one device code; 0 for any speed.
    pub poll_interval: u32,
    /// Who may approve a device request.
    pub device_grant: DeviceGrant,
    /// How many device requests are kept at most.
    pub device_requests: DeviceRequestQuota,
    /// Whether callers are limited in how often they may ask.
    pub rate_limits: bool,
}

/// Who may approve a device request. Whoever starts the device flow may send its code to somebody else, who then signs
/// a stranger's tool in (RFC 8628 section 5.4); no second factor helps against that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceGrant {
    /// Any person, from anywhere.
    #[default]
    On,
    /// Only a browser at the address that the request came from.
    SameAddress,
    /// Nobody: tools must use the authorization code with PKCE.
    Off,
}

/// How many device requests are kept at most: anybody can make them, so the room they take has an end.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRequestQuota {
    /// From one address.
    pub from_address: usize,
    /// From anywhere.
    pub total: usize,
}

impl Default for DeviceRequestQuota {
    /// An office behind one address can sign in at once, and all of it stays below 50 MB.
    fn default() -> Self {
        Self { from_address: 1_000, total: 100_000 }
    }
}

/// What a server is made of.
pub struct Parts {
    /// Where it is found.
    pub site: Site,
    /// Its state.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<Clock>,
    /// Its keys.
    pub keys: KeyRing,
    /// Its random bytes.
    pub entropy: SharedEntropy,
    /// Where role credentials come from.
    pub brokers: Brokers,
    /// Where people come from beside the directory.
    pub identity: Identity,
    /// Whose assertions applications may present.
    pub issuers: Issuers,
    /// Who may call CreateTokenWithIAM.
    pub callers: Callers,
    /// What signs web identity tokens.
    pub signing: Arc<Signing>,
    /// What the operator decides.
    pub policy: Policy,
    /// What only a development server has.
    pub development: Option<Development>,
}

/// How many passwords are checked at once.
const PASSWORDS_AT_ONCE: usize = 2;

impl App {
    /// A server made of `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { site, store, clock, keys, entropy, brokers, identity, issuers, callers, .. } = parts;
        let (signing, policy, development) = (parts.signing, parts.policy, parts.development);
        Self {
            tokens: Tokens::new(&keys, entropy),
            limits: Limits::new(&clock, policy.poll_interval, policy.rate_limits),
            guesses: Guesses::new(&keys, policy.rate_limits),
            passwords: Passwords::new(PASSWORDS_AT_ONCE),
            backchannel: Backchannel::new(),
            site,
            store,
            clock,
            brokers,
            identity,
            issuers,
            callers,
            signing,
            policy,
            development,
        }
    }

    /// Who approves everything without being asked: development only.
    pub(crate) fn auto_approver(&self) -> Option<&PersonId> {
        self.development.as_ref()?.auto_approve.as_ref()
    }

    /// Its state.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits until every application has been told of the sign-outs that it is to be told of, or cannot be told.
    pub async fn applications_are_told(&self) {
        self.backchannel.idle().await;
    }

    /// Forgets what is of no more use, a batch at a time, with pauses in which the store is the requests' alone.
    ///
    /// # Errors
    /// [`doorward_core::store::Outage`] when the store fails.
    pub async fn sweep(&self) -> Result<(), doorward_core::store::Outage> {
        const BATCH: usize = 200;
        // At most twenty thousand rows a second, which is more than can expire in one.
        const PAUSE: Duration = Duration::from_millis(10);
        self.limits.forget();
        while self.store.sweep(self.clock.now(), BATCH).await? >= BATCH {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}
