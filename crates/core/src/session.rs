//! Sessions: heads of refresh chains, and signed-in browsers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ClientId, IssuerName, PersonId, SessionId};
use crate::scope::Scopes;
use crate::secret::KeyThumbprint;
use crate::time::Timestamp;

/// A session. No token is stored: a refresh token is this session's id and a generation under a key of the
/// server, so the row says which one is current and nothing in it can be used to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id: that of the device request or authorization code it came from, or drawn for a browser.
    pub id: SessionId,
    /// Whose it is.
    pub person: PersonId,
    /// What holds it.
    pub holder: Holder,
    /// The scopes the person approved; they never change afterwards.
    pub scopes: Scopes,
    /// When it began.
    pub created_at: Timestamp,
    /// When the person signed in here; [`Session::auth_time`] says when they proved who they are.
    pub authenticated_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Which refresh token is current, counted from zero.
    pub generation: u32,
    /// When the current generation was issued.
    pub rotated_at: Timestamp,
    /// Whether it still holds.
    pub state: SessionState,
    /// What was agreed on beside the scopes; a registered tool's session has none.
    pub terms: Option<Arc<Terms>>,
}

/// What a session was agreed on beside its scopes. Like those it never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The resources that were asked for and approved (RFC 8707); empty for those that the application has anyway.
    pub audiences: Vec<String>,
    /// The key that must be proved with every refresh (RFC 9449 section 5).
    pub dpop_key: Option<KeyThumbprint>,
    /// The browser's session in which the person approved: `sid` of OpenID Connect Back-Channel Logout 1.0.
    pub browser: Option<SessionId>,
    /// How the person proved who they are (RFC 8176); empty when that is not known.
    pub amr: Vec<String>,
    /// The `acr` of OpenID Connect Core 1.0 section 2, if there is something to say.
    pub acr: Option<String>,
    /// Whose assertion it began with (RFC 7523); it goes on as long as the application takes that issuer's word.
    pub issuer: Option<IssuerName>,
    /// When the person proved who they are, where it is known: `auth_time` of OpenID Connect Core 1.0 section 2. Through an
    /// identity source it may be long before they came here ([`Session::authenticated_at`]).
    pub proved_at: Option<Timestamp>,
}

/// `auth_time` of what was authenticated at this time on these terms. What has no terms was approved by whoever was here.
#[must_use]
pub fn auth_time(terms: Option<&Terms>, authenticated_at: Timestamp) -> Option<Timestamp> {
    let Some(terms) = terms else { return Some(authenticated_at) };
    terms.proved_at.map(|at| at.min(authenticated_at))
}

/// Who holds a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// The person's own browser.
    Browser,
    /// A registered client.
    Client {
        /// Which one.
        id: ClientId,
        /// Its `clientName`, to be shown to the person.
        name: Arc<str>,
    },
}

impl Holder {
    /// The client, unless a browser holds the session.
    #[must_use]
    pub const fn client(&self) -> Option<ClientId> {
        match self {
            Self::Browser => None,
            Self::Client { id, .. } => Some(*id),
        }
    }
}

/// Whether a session still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionState {
    /// It does.
    Live,
    /// It was ended, for good.
    Ended {
        /// When.
        at: Timestamp,
        /// Why.
        why: EndReason,
    },
}

/// Why a session was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// The tool signed out (portal operation Logout, or RFC 7009).
    Logout,
    /// The person ended it on the portal page, or signed out of their browser.
    EndedByPerson,
    /// A refresh token that was used up long ago was presented again.
    RefreshTokenReplayed,
    /// Its authorization code was presented again.
    CodeReplayed,
}

impl EndReason {
    /// The name used in audit records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::EndedByPerson => "ended_by_person",
            Self::RefreshTokenReplayed => "refresh_token_replayed",
            Self::CodeReplayed => "code_replayed",
        }
    }
}

impl Session {
    /// Whether it was neither ended nor has expired.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == SessionState::Live && now < self.expires_at
    }

    /// When the person proved who they are, if it is known.
    #[must_use]
    pub fn auth_time(&self) -> Option<Timestamp> {
        auth_time(self.terms.as_deref(), self.authenticated_at)
    }
}
