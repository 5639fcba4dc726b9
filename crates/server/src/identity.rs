//! The identity sources, and asking them about a person again.
//!
//! `Identity::recheck` comes before every use of a person's name: before a grant by a refresh token, an operation of the
//! portal, and a page. It asks nobody as long as the last word of the person's source is young. When it is not, one of all
//! that come at that moment asks, in a task of its own that ends even if whoever began it goes away: by then the source
//! may have exchanged the refresh token. While the last word still holds nobody waits for that longer than `PATIENCE`,
//! and a source that could not be reached is left in peace for `PEACE`.
//!
//! What then decides is the gate, as always. Only a source that should have been asked and could not be is an outage here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use doorward_core::credentials::SharedEntropy;
use doorward_core::federated::recheck::{Claim, Conclude, Due, Particulars, SourceAnswer};
use doorward_core::federated::{FederatedPerson, Sources, Trust};
use doorward_core::grant::settle;
use doorward_core::ids::{PersonId, SessionId, SourceName};
use doorward_core::secret::SourceRefreshToken;
use doorward_core::store::{Outage, Store};
use doorward_core::time::{Lifetime, Timestamp};
use doorward_keys::{KeyRing, Sealer};
use doorward_upstream::identity::oidc::{Answer, Kind, OidcError, Source};
use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, warn};

use crate::ambient::{Clock, draw};
use crate::audit;
use crate::op::Caller;

/// How long a request waits for a source whose last word holds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a request waits for somebody else who asks, when nothing holds; then it is an outage.
const WAIT: Duration = Duration::from_secs(10);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(200);
/// How long a source that could not be reached is left in peace.
const PEACE: Lifetime = Lifetime::from_seconds(5);
/// How long one may take who tries whether it can be reached again.
const TRIAL: Lifetime = Lifetime::from_seconds(30);

/// The identity sources.
pub struct Identity {
    known: BTreeMap<SourceName, Arc<Known>>,
    trust: Arc<Sources>,
    asker: Arc<Asker>,
}

/// A source, and whether it could be reached.
struct Known {
    source: Source,
    /// Until when nobody asks it, in milliseconds since the epoch; 0 when the last one who asked reached it.
    unreachable_until: AtomicI64,
}

/// What asking needs, also when whoever began it has gone.
struct Asker {
    store: Arc<dyn Store>,
    clock: Arc<Clock>,
    entropy: SharedEntropy,
    sealer: Sealer,
}

/// A refresh token as it is stored: with whose it is, so that nobody can put it into another row.
#[derive(Serialize, Deserialize)]
struct Sealed {
    source: SourceName,
    subject: String,
    token: String,
}

impl Identity {
    /// The sources of a server, whose refresh tokens are sealed under `keys`.
    #[must_use]
    pub fn new(
        sources: Vec<Source>,
        store: Arc<dyn Store>,
        clock: Arc<Clock>,
        entropy: SharedEntropy,
        keys: &KeyRing,
    ) -> Self {
        let known = |source: Source| {
            let name = source.settings().name.clone();
            (name, Arc::new(Known { source, unreachable_until: AtomicI64::new(0) }))
        };
        let known: BTreeMap<_, _> = sources.into_iter().map(known).collect();
        let trust = |known: &Known| {
            let settings = known.source.settings();
            Trust { just_in_time: settings.just_in_time, recheck: settings.recheck, holds: settings.trust }
        };
        let trust = known.iter().map(|(name, known)| (name.clone(), trust(known))).collect();
        let sealer = keys.sealer("upstream refresh token");
        Self { known, trust: Arc::new(trust), asker: Arc::new(Asker { store, clock, entropy, sealer }) }
    }

    /// The sources there are, and how far they are trusted.
    #[must_use]
    pub fn trust(&self) -> &Sources {
        &self.trust
    }

    /// The source of this name.
    pub(crate) fn source(&self, name: &str) -> Option<&Source> {
        let name = SourceName::parse(name).ok()?;
        self.known.get(&name).map(|known| &known.source)
    }

    /// All sources, by name.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.known.values().map(|known| &known.source)
    }

    /// Reads what the sources say of themselves, and says in the log which cannot be read. Nobody waits for it.
    pub fn warm(&self) {
        for known in self.known.values() {
            let (known, now) = (Arc::clone(known), self.asker.clock.now());
            tokio::spawn(async move {
                let name = &known.source.settings().name;
                match known.source.warm(now).await {
                    Ok(()) => info!(source = %name, "the identity source is ready"),
                    Err(error) => {
                        error!(source = %name, %error, "nobody can sign in through this identity source");
                    }
                }
            });
        }
    }

    /// A refresh token of a person's, to be stored.
    pub(crate) fn seal(&self, source: &SourceName, subject: &str, token: &SourceRefreshToken) -> String {
        self.asker.seal(source, subject, token)
    }

    /// [`Identity::recheck`] of whoever's session this is. Without sources it does not even look.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn recheck_session(&self, id: SessionId, caller: &Caller) -> Result<(), Outage> {
        if self.known.is_empty() {
            return Ok(());
        }
        match self.asker.store.session(id).await? {
            Some(session) => self.recheck(&session.person, caller).await,
            None => Ok(()),
        }
    }

    /// Has what is known of `person` confirmed by their source, if that is due.
    ///
    /// # Errors
    /// [`Outage`] when the store fails, or when the source should have been asked, cannot be, and its last word does not
    /// hold any more.
    pub(crate) async fn recheck(&self, person: &PersonId, caller: &Caller) -> Result<(), Outage> {
        if self.known.is_empty() {
            return Ok(());
        }
        let (now, mut waited) = (caller.now, Duration::ZERO);
        loop {
            let unreachable: BTreeSet<SourceName> = self
                .known
                .iter()
                .filter(|(_, known)| known.is_unreachable(now))
                .map(|(name, _)| name.clone())
                .collect();
            let claim = Claim {
                person,
                sources: &self.trust,
                unreachable: &unreachable,
                now: now.plus(seconds(waited)),
            };
            match settle(&*self.asker.store, &claim).await?.reply {
                Due::Nothing => return Ok(()),
                Due::Wait if waited >= WAIT => {
                    return Err(Outage(format!(
                        "nobody has heard from the identity source of {person} for too long"
                    )));
                }
                Due::Wait => {
                    tokio::time::sleep(LOOK).await;
                    waited += LOOK;
                }
                Due::Ask(asked) => return self.ask(*asked, caller).await,
            }
        }
    }

    async fn ask(&self, asked: FederatedPerson, caller: &Caller) -> Result<(), Outage> {
        let Some(known) = self.known.get(&asked.source).map(Arc::clone) else { return Ok(()) };
        let (inquirer, trust) = (Arc::clone(&self.asker), Arc::clone(&self.trust));
        let holds = asked.is_good(caller.now);
        let (source, person, caller) = (asked.source.clone(), asked.id.clone(), caller.clone());
        let asking = tokio::spawn(async move { inquirer.ask(&known, &trust, &asked, &caller).await });
        let outcome = if holds {
            match tokio::time::timeout(PATIENCE, asking).await {
                Ok(outcome) => outcome,
                Err(_) => return Ok(()),
            }
        } else {
            asking.await
        };
        match outcome {
            Ok(Ok(told)) if told || holds => Ok(()),
            Ok(Ok(_)) => Err(cannot_be_asked(&source, &person)),
            Ok(Err(outage)) => Err(outage),
            Err(panicked) => Err(Outage(panicked.to_string())),
        }
    }
}

fn cannot_be_asked(source: &SourceName, person: &PersonId) -> Outage {
    Outage(format!(
        "the identity source {source} cannot be asked about {person}, and its last word does not hold any more"
    ))
}

fn seconds(waited: Duration) -> Lifetime {
    Lifetime::from_seconds(u32::try_from(waited.as_secs()).unwrap_or(u32::MAX))
}

impl Known {
    fn is_unreachable(&self, now: Timestamp) -> bool {
        now.millis() < self.unreachable_until.load(Ordering::Relaxed)
    }

    /// Somebody asks. When the last one did not reach it, the others leave it in peace until it is known whether this one does.
    fn is_asked(&self, now: Timestamp) {
        if self.unreachable_until.load(Ordering::Relaxed) != 0 {
            self.unreachable_until.store(now.plus(TRIAL).millis(), Ordering::Relaxed);
        }
    }

    fn was_reached(&self) {
        self.unreachable_until.store(0, Ordering::Relaxed);
    }

    fn was_not_reached(&self, now: Timestamp) {
        self.unreachable_until.store(now.plus(PEACE).millis(), Ordering::Relaxed);
    }
}

impl Asker {
    /// Asks the source, and writes down what it says. Whether it said anything.
    async fn ask(
        &self,
        known: &Known,
        trust: &Sources,
        asked: &FederatedPerson,
        caller: &Caller,
    ) -> Result<bool, Outage> {
        let (answer, refresh_token) = self.answer(known, asked, caller.now).await;
        let told = answer != SourceAnswer::Unknown;
        let conclude = Conclude { asked, answer, refresh_token, sources: trust, now: self.clock.now() };
        let settled = settle(&*self.store, &conclude).await?;
        audit::record(settled.event.as_ref(), caller.address);
        Ok(told)
    }

    async fn answer(
        &self,
        known: &Known,
        asked: &FederatedPerson,
        now: Timestamp,
    ) -> (SourceAnswer, Option<String>) {
        let (person, source) = (&asked.id, &asked.source);
        let Some(token) = self.open(asked) else {
            warn!(%person, %source, "what an identity source is asked with was sealed under another master key");
            return (SourceAnswer::Unaskable, None);
        };
        known.is_asked(now);
        let Answer { refresh_token, said } = match known.source.ask_again(&asked.subject, &token, now).await {
            Ok(answer) => answer,
            Err(error) => Answer { refresh_token: None, said: Err(error) },
        };
        let refresh_token = refresh_token.map(|token| self.seal(source, &asked.subject, &token));
        let answer = match said {
            Ok(Some(described)) if described.user_name != *person => {
                let name = &described.user_name;
                info!(%person, %source, %name, "an identity source gives a person another name: they must sign in again");
                SourceAnswer::Gone
            }
            Ok(described) => {
                debug!(%person, %source, "an identity source confirmed a person");
                SourceAnswer::Confirmed(described.map(|described| Particulars {
                    display_name: described.display_name,
                    email: described.email,
                    groups: described.groups,
                }))
            }
            Err(error @ OidcError { kind: Kind::Denied, .. }) => {
                info!(%person, %source, %error, "an identity source does not stand by a person any more");
                SourceAnswer::Gone
            }
            Err(error) => {
                error!(%person, %source, %error, "an identity source could not be asked about a person");
                if error.kind == Kind::Unreachable {
                    known.was_not_reached(self.clock.now());
                    return (SourceAnswer::Unknown, refresh_token);
                }
                SourceAnswer::Unknown
            }
        };
        known.was_reached();
        (answer, refresh_token)
    }

    fn seal(&self, source: &SourceName, subject: &str, token: &SourceRefreshToken) -> String {
        let sealed =
            Sealed { source: source.clone(), subject: subject.to_owned(), token: token.reveal().to_owned() };
        // Postcard fails for sequences of unknown length and for its caller's own errors; derived types have neither.
        let plain = zeroize::Zeroizing::new(postcard::to_stdvec(&sealed).expect("a derived type"));
        self.sealer.seal(&plain, draw(&*self.entropy))
    }

    fn open(&self, person: &FederatedPerson) -> Option<SourceRefreshToken> {
        let plain = zeroize::Zeroizing::new(self.sealer.open(person.refresh_token.as_ref()?)?);
        let sealed: Sealed = postcard::from_bytes(&plain).ok()?;
        let theirs = sealed.source == person.source && sealed.subject == person.subject;
        theirs.then(|| SourceRefreshToken::new(sealed.token))
    }
}
