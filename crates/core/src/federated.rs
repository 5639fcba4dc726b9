//! People who sign in through an identity source: what the source has last said of them, who is let in on its word
//! ([`sign_in`]), and when it is asked again ([`recheck`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, PersonId, SourceName};
use crate::time::{Lifetime, Timestamp};

pub mod recheck;
pub mod sign_in;

/// The identity sources that the operator has, and how far each is trusted. Nobody else's word counts.
pub type Sources = BTreeMap<SourceName, Trust>;

/// How far an identity source is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether people may come who are not in the directory.
    pub just_in_time: bool,
    /// How long its word is taken without asking again.
    pub recheck: Lifetime,
    /// How long its word holds when it cannot be asked.
    pub holds: Lifetime,
}

/// A person as their identity source has last described them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedPerson {
    /// The user name here.
    pub id: PersonId,
    /// Which source.
    pub source: SourceName,
    /// Who that is at the source: `sub` of its ID tokens (OpenID Connect Core section 2). A user name belongs to one
    /// subject.
    pub subject: String,
    /// How the person is greeted; the user name when absent.
    pub display_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// The groups that the source names, by their names here. Some may not be in the directory.
    pub groups: BTreeSet<GroupName>,
    /// When this person first came here under this name. What was signed in before is not theirs.
    pub since: Timestamp,
    /// When the source last said that the person is there.
    pub confirmed_at: Timestamp,
    /// Until when that holds, if the source says nothing more.
    pub good_until: Timestamp,
    /// Whether the source has said that the person is not there any more.
    pub gone: bool,
    /// What to ask the source with: its refresh token, sealed. None when it gave none, and the person must sign in
    /// again for it to confirm them.
    pub refresh_token: Option<String>,
    /// Until when somebody else is asking the source. A source may end a session whose refresh token comes twice.
    pub asking_until: Option<Timestamp>,
}

impl FederatedPerson {
    /// Whether the source stands by this person at `now`.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        !self.gone && now < self.good_until
    }

    /// What is left of this where `sources` are the sources there are: nothing of one that is no more, and no more time
    /// than is given to one now, whatever was given to it then.
    #[must_use]
    pub fn trusted(mut self, sources: &Sources) -> Option<Self> {
        let trust = sources.get(&self.source)?;
        self.good_until = self.good_until.min(self.confirmed_at.plus(trust.holds));
        Some(self)
    }
}

impl fmt::Debug for FederatedPerson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FederatedPerson")
            .field("id", &self.id)
            .field("source", &self.source)
            .field("subject", &self.subject)
            .field("good_until", &self.good_until)
            .field("gone", &self.gone)
            .finish_non_exhaustive()
    }
}
