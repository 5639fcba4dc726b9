//! What a decision says: the answer, what to write, and what to record.

use std::sync::Arc;

use crate::consent::Consents;
use crate::device::{DeviceRequest, DeviceState};
use crate::directory::{Departures, DirectoryFile};
use crate::federated::FederatedPerson;
use crate::ids::{ApplicationId, DeviceRequestId, OnceId, PersonId, SessionId, SourceName};
use crate::scope::Scopes;
use crate::secret::KeyThumbprint;
use crate::session::{EndReason, Session, Terms};
use crate::signing_key::SigningKey;
use crate::time::Timestamp;

/// The outcome of a decision. A refusal may write too: a replayed refresh token ends its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<R> {
    /// What to answer once the changes are committed.
    pub reply: R,
    /// What to write, all or nothing.
    pub changes: Vec<Change>,
    /// What to record after the commit.
    pub event: Option<Event>,
}

impl<R> Verdict<R> {
    /// An answer that writes nothing.
    pub const fn answer(reply: R) -> Self {
        Self { reply, changes: Vec::new(), event: None }
    }

    /// An answer with one change and the event that tells of it.
    pub fn change(reply: R, change: Change, event: Event) -> Self {
        Self { reply, changes: vec![change], event: Some(event) }
    }
}

/// One guarded write. Each names what must still hold; if it does not, the commit is a conflict and nothing of it
/// is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a device request. Guard: neither its id nor its user code is taken.
    OpenDeviceRequest(DeviceRequest),
    /// Moves a device request on.
    MoveDeviceRequest {
        /// Which.
        id: DeviceRequestId,
        /// Guard: the state it must be in.
        from: DeviceState,
        /// The state it will be in.
        to: DeviceState,
    },
    /// Adds a session. Guard: no session has its id, not even an ended one.
    StartSession(Session),
    /// Makes another refresh token current. Guard: the session is live and at generation `from`.
    Rotate {
        /// Which session.
        id: SessionId,
        /// Guard: its generation.
        from: u32,
        /// Its next generation.
        to: u32,
        /// When.
        at: Timestamp,
    },
    /// Ends a session for good. Guard: it exists and is live.
    EndSession {
        /// Which.
        id: SessionId,
        /// When.
        at: Timestamp,
        /// Why.
        why: EndReason,
    },
    /// Replaces the directory. Guard: the stored version is `from`. The new version is one more.
    ReplaceDirectory {
        /// Guard: the version read before.
        from: u64,
        /// The new content, already checked.
        file: Box<DirectoryFile>,
        /// Who has left, up to and with this replacement.
        departed: Departures,
    },
    /// Keeps what an identity source said of a person. Guard: the stored version is `from`, 0 when nothing is stored. The
    /// new version is one more.
    PutFederatedPerson {
        /// Guard: the version read before.
        from: u64,
        /// The person.
        person: Box<FederatedPerson>,
    },
    /// Keeps what a person has agreed to. Guard: the stored version is `from`, 0 when nothing is stored. The new version
    /// is one more.
    PutConsents {
        /// Guard: the version read before.
        from: u64,
        /// Who.
        person: PersonId,
        /// All that the person agrees to from now on.
        consents: Box<Consents>,
    },
    /// Uses what may be used once. Guard: nobody used it before.
    Use {
        /// What.
        id: OnceId,
        /// When it may be forgotten, since it is of no use to anybody by then.
        until: Timestamp,
        /// Whether it must be on disk before it is answered.
        durable: bool,
    },
    /// Replaces the signing keys. Guard: the stored version is `from`. The new version is one more.
    ReplaceSigningKeys {
        /// Guard: the version read before.
        from: u64,
        /// All keys from now on.
        keys: Vec<SigningKey>,
    },
}

impl Change {
    /// Whether the change must be on disk before it is answered. A pending device request need not be: losing one
    /// with the machine's power costs a person one more try, and anybody can make them. Nor need most
    /// uses be: with the power goes whoever could use it again at once. That a token was revoked must be.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        !matches!(self, Self::OpenDeviceRequest(_) | Self::Use { durable: false, .. })
    }
}

/// Tokens to be made: facts only, the strings are made at the edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Of which session.
    pub session: SessionId,
    /// For whom.
    pub person: PersonId,
    /// What the access token may do.
    pub scopes: Scopes,
    /// When the access token expires; never after the session.
    pub access_expires_at: Timestamp,
    /// `expiresIn`, in seconds.
    pub expires_in: u32,
    /// The generation of the refresh token to return; `None` for a client that gets none.
    pub refresh_generation: Option<u32>,
    /// When the person had proved who they are.
    pub authenticated_at: Timestamp,
    /// The resources that the access token is for (RFC 8707); a registered tool's is for this server alone.
    pub audiences: Vec<String>,
    /// The key that the access token is bound to (RFC 9449 section 6).
    pub dpop_key: Option<KeyThumbprint>,
    /// The terms of the session.
    pub terms: Option<Arc<Terms>>,
}

/// What happened, for the audit log. Written after the commit, so it never tells of something that did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device request was approved.
    DeviceApproved {
        /// Which.
        request: DeviceRequestId,
        /// By whom.
        person: PersonId,
    },
    /// A device request was denied.
    DeviceDenied {
        /// Which.
        request: DeviceRequestId,
        /// By whom.
        person: PersonId,
    },
    /// A person signed in with a browser.
    SignedIn {
        /// The browser's session.
        session: SessionId,
        /// Who.
        person: PersonId,
        /// Through which identity source; none with a password.
        source: Option<SourceName>,
    },
    /// An identity source does not stand by a person any more: what they had signed in is void.
    PersonGone {
        /// Who.
        person: PersonId,
        /// Which source.
        source: SourceName,
    },
    /// A person agreed that an application may have something.
    ConsentGiven {
        /// Who.
        person: PersonId,
        /// Which application.
        application: ApplicationId,
    },
    /// A person took back what they had agreed to.
    ConsentWithdrawn {
        /// Who.
        person: PersonId,
        /// From which application.
        application: ApplicationId,
    },
    /// A session began and its first tokens were issued.
    SessionStarted {
        /// Which.
        session: SessionId,
        /// Whose.
        person: PersonId,
        /// By which grant.
        grant: &'static str,
        /// What the client calls itself.
        client: Arc<str>,
    },
    /// An application got an access token for itself.
    ActedForItself {
        /// Which.
        application: ApplicationId,
    },
    /// An application exchanged an access token for another (RFC 8693).
    TokenExchanged {
        /// Which.
        application: ApplicationId,
        /// To which application the token had been given.
        from: ApplicationId,
        /// Whom both are about.
        subject: Arc<str>,
        /// The session that both die with.
        session: Option<SessionId>,
        /// For which resources the new one is.
        audiences: Vec<String>,
    },
    /// A refresh token was exchanged for the next.
    Refreshed {
        /// Of which session.
        session: SessionId,
        /// The generation now current.
        generation: u32,
    },
    /// An authentic refresh token was newer than the store knew: the store had fallen behind and has caught up.
    StoreWasBehind {
        /// Of which session.
        session: SessionId,
        /// The generation the store had.
        stored: u32,
        /// The generation that was presented.
        presented: u32,
    },
    /// A session was ended.
    SessionEnded {
        /// Which.
        session: SessionId,
        /// Whose.
        person: PersonId,
        /// Why.
        why: EndReason,
    },
}
