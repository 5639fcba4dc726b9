//! What people agreed to: which application may have which scopes without asking again.
//!
//! Consent is kept by user name, and a name may change hands: what somebody agreed to who had the name before counts for
//! nothing, and goes with the next thing that is written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::assignment::{Principal, Standing};
use crate::federated::Sources;
use crate::grant::Decision;
use crate::ids::{ApplicationId, PersonId};
use crate::scope::Scopes;
use crate::store::{Outage, Store};
use crate::time::Timestamp;
use crate::verdict::{Change, Event, Verdict};

/// What one person agreed to, by application.
pub type Consents = BTreeMap<ApplicationId, Consent>;

/// What one person agreed to for one application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The scopes, of all times that the person was asked.
    pub scopes: Scopes,
    /// The resources beside the application's own (RFC 8707).
    pub audiences: Vec<String>,
    /// When the person agreed last.
    pub given_at: Timestamp,
}

impl Consent {
    /// Whether all of this was agreed to.
    #[must_use]
    pub fn covers(&self, scopes: &Scopes, audiences: &[String]) -> bool {
        scopes.is_subset(&self.scopes) && audiences.iter().all(|audience| self.audiences.contains(audience))
    }

    /// Whether `principal` gave it, and not somebody who had the name before.
    #[must_use]
    pub fn is_of(&self, principal: &Principal, now: Timestamp) -> bool {
        principal.owns(self.given_at, now)
    }
}

/// What somebody agrees to.
#[derive(Clone, Copy, Debug)]
pub struct Agreed<'a> {
    /// The scopes that they were shown.
    pub scopes: &'a Scopes,
    /// The resources that they were shown.
    pub audiences: &'a [String],
}

/// What is kept of a person's consents, and the version of that.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    version: u64,
    consents: Consents,
}

impl Kept {
    /// Reads what `person` agreed to.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    pub async fn load(store: &dyn Store, person: &PersonId) -> Result<Self, Outage> {
        let (version, consents) = store.consents(person).await?;
        Ok(Self { version, consents })
    }

    /// What `principal` agreed to, by application.
    pub fn of<'a>(
        &'a self,
        principal: &'a Principal,
        now: Timestamp,
    ) -> impl Iterator<Item = (&'a ApplicationId, &'a Consent)> {
        self.consents.iter().filter(move |(_, consent)| consent.is_of(principal, now))
    }

    /// Whether `principal` agreed to all of this before.
    #[must_use]
    pub fn covers(
        &self,
        application: &ApplicationId,
        asked: &Agreed<'_>,
        principal: &Principal,
        now: Timestamp,
    ) -> bool {
        self.consents.get(application).is_some_and(|consent| {
            consent.is_of(principal, now) && consent.covers(asked.scopes, asked.audiences)
        })
    }

    /// The change that adds what `principal` agrees to at `now`. What nobody can use any more goes with it: what was agreed
    /// to by somebody else, or for an application that is no more.
    #[must_use]
    pub(crate) fn with(
        &self,
        application: &ApplicationId,
        agreed: &Agreed<'_>,
        principal: &Principal,
        now: Timestamp,
    ) -> Change {
        let mut consents = self.consents.clone();
        consents.retain(|application, consent| {
            consent.is_of(principal, now) && principal.directory().application(application).is_some()
        });
        let consent = consents.entry(application.clone()).or_insert_with(|| Consent {
            scopes: Scopes::default(),
            audiences: Vec::new(),
            given_at: now,
        });
        consent.scopes = consent.scopes.union(agreed.scopes);
        for audience in agreed.audiences {
            if !consent.audiences.contains(audience) {
                consent.audiences.push(audience.clone());
            }
        }
        consent.given_at = now;
        Change::PutConsents {
            from: self.version,
            person: principal.id().clone(),
            consents: Box::new(consents),
        }
    }
}

/// A person agrees that an application may have something.
#[derive(Debug)]
pub struct Give<'a> {
    /// Who.
    pub person: &'a PersonId,
    /// When that person had proved who they are.
    pub authenticated_at: Timestamp,
    /// The identity sources whose word counts.
    pub sources: &'a Sources,
    /// Which application.
    pub application: &'a ApplicationId,
    /// What they agree to.
    pub agreed: Agreed<'a>,
    /// When.
    pub now: Timestamp,
}

/// Somebody does not pass the gate ([`Standing`]), and can agree to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUsable;

impl Decision for Give<'_> {
    type Snapshot = (Standing, Kept);
    type Reply = Result<(), NotUsable>;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        let standing = Standing::load(store, self.sources, Some(self.person)).await?;
        Ok((standing, Kept::load(store, self.person).await?))
    }

    fn decide(&self, (standing, kept): &Self::Snapshot) -> Verdict<Self::Reply> {
        let Some(principal) = standing.principal(self.person, self.authenticated_at, self.now) else {
            return Verdict::answer(Err(NotUsable));
        };
        let change = kept.with(self.application, &self.agreed, &principal, self.now);
        let event =
            Event::ConsentGiven { person: self.person.clone(), application: self.application.clone() };
        Verdict::change(Ok(()), change, event)
    }
}

/// A person takes back what they agreed to. Ending the application's sessions is the caller's.
#[derive(Debug)]
pub struct Withdraw<'a> {
    /// Who.
    pub person: &'a PersonId,
    /// From which application.
    pub application: &'a ApplicationId,
}

impl Decision for Withdraw<'_> {
    type Snapshot = Kept;
    /// Whether there was something to take back.
    type Reply = bool;

    async fn load(&self, store: &dyn Store) -> Result<Kept, Outage> {
        Kept::load(store, self.person).await
    }

    fn decide(&self, kept: &Kept) -> Verdict<bool> {
        let mut consents = kept.consents.clone();
        if consents.remove(self.application).is_none() {
            return Verdict::answer(false);
        }
        let (person, application) = (self.person.clone(), self.application.clone());
        let change =
            Change::PutConsents { from: kept.version, person: person.clone(), consents: Box::new(consents) };
        Verdict::change(true, change, Event::ConsentWithdrawn { person, application })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::Application;
    use crate::fixtures::{
        NOW, Rows, TestStore, application, block_on, directory, federated, just_before, later, person,
        scopes, sources, standing_with,
    };
    use crate::grant::settle;

    const API: &str = "https://api.example";

    fn wiki() -> ApplicationId {
        application().client_id
    }

    fn other() -> ApplicationId {
        ApplicationId::parse("other").unwrap()
    }

    fn audiences(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.into()).collect()
    }

    fn kept(of: &[(ApplicationId, &str, &[&str])]) -> Kept {
        let consent = |(id, text, resources): &(ApplicationId, &str, &[&str])| {
            let consent =
                Consent { scopes: scopes(text), audiences: audiences(resources), given_at: later(10) };
            (id.clone(), consent)
        };
        Kept { version: 7, consents: of.iter().map(consent).collect() }
    }

    /// What is kept after ann gave this at `now`, and from which version.
    fn given(text: &str, resources: &[&str], now: Timestamp, before: &Kept) -> Consents {
        let (ann, wiki, text, resources) = (person("ann"), wiki(), scopes(text), audiences(resources));
        let give = Give {
            person: &ann,
            authenticated_at: NOW,
            sources: &sources(),
            application: &wiki,
            agreed: Agreed { scopes: &text, audiences: &resources },
            now,
        };
        let verdict = give.decide(&(standing_with(application()), before.clone()));
        assert_eq!(verdict.reply, Ok(()));
        assert_eq!(
            verdict.event,
            Some(Event::ConsentGiven { person: ann.clone(), application: wiki.clone() })
        );
        match &*verdict.changes {
            [Change::PutConsents { from, person, consents }] => {
                assert_eq!((*from, person), (before.version, &ann));
                (**consents).clone()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_agreed_to_adds_up() {
        let first = given("openid", &[], later(20), &Kept::default());
        let expected = Consent { scopes: scopes("openid"), audiences: vec![], given_at: later(20) };
        assert_eq!(first, [(wiki(), expected)].into());
        let more = given("email", &[API], later(30), &kept(&[(wiki(), "openid", &["https://x.example"])]));
        let expected = Consent {
            scopes: scopes("openid email"),
            audiences: audiences(&["https://x.example", API]),
            given_at: later(30),
        };
        assert_eq!(more, [(wiki(), expected)].into());
    }

    #[test]
    fn what_is_kept_of_an_application_that_is_no_more_goes() {
        let after = given("openid", &[], later(20), &kept(&[(other(), "openid", &[])]));
        assert_eq!(after.into_keys().collect::<Vec<_>>(), [wiki()]);
    }

    // Holds: openid-connect-core-3.1.2.4-consent
    #[test]
    fn more_than_was_agreed_to_is_not_covered() {
        let standing = standing_with(application());
        let ann = standing.principal(&person("ann"), NOW, later(20)).unwrap();
        let kept = kept(&[(wiki(), "openid email", &[API])]);
        let covers = |id: &ApplicationId, text: &str, resources: &[&str]| {
            let (scopes, audiences) = (scopes(text), audiences(resources));
            kept.covers(id, &Agreed { scopes: &scopes, audiences: &audiences }, &ann, later(20))
        };
        assert!(covers(&wiki(), "openid", &[API]) && covers(&wiki(), "email openid", &[]));
        assert!(!covers(&wiki(), "openid offline_access", &[]));
        assert!(!covers(&wiki(), "openid", &["https://other.example"]));
        assert!(!covers(&other(), "openid", &[]));
    }

    /// Zoe came to her name at `NOW`.
    #[test]
    fn what_somebody_agreed_to_who_had_the_name_before_counts_for_nothing() {
        let mut file = directory().file().clone();
        file.applications.push(Application { everybody: true, ..application() });
        let directory = crate::directory::Directory::new(file, [].into(), 1).unwrap();
        let standing = Standing::new(directory.into(), &sources(), Some(federated("zoe")));
        let zoe = standing.principal(&person("zoe"), NOW, later(20)).unwrap();
        let (none, openid) = (audiences(&[]), scopes("openid"));
        let asked = Agreed { scopes: &openid, audiences: &none };
        for (given_at, counts) in [(just_before(NOW), false), (NOW, true)] {
            let mut kept = kept(&[(wiki(), "openid email", &[])]);
            kept.consents.get_mut(&wiki()).unwrap().given_at = given_at;
            assert_eq!(kept.covers(&wiki(), &asked, &zoe, later(20)), counts);
            assert_eq!(kept.of(&zoe, later(20)).count(), usize::from(counts));
            // Nor is it added to.
            let Change::PutConsents { consents, .. } = kept.with(&wiki(), &asked, &zoe, later(20)) else {
                panic!("another change");
            };
            assert_eq!(consents[&wiki()].scopes.contains("email"), counts);
        }
    }

    #[test]
    fn whoever_does_not_pass_the_gate_agrees_to_nothing() {
        for name in ["bob", "nobody"] {
            let (person, wiki, none, openid) = (person(name), wiki(), audiences(&[]), scopes("openid"));
            let give = Give {
                person: &person,
                authenticated_at: NOW,
                sources: &sources(),
                application: &wiki,
                agreed: Agreed { scopes: &openid, audiences: &none },
                now: NOW,
            };
            let verdict = give.decide(&(standing_with(application()), Kept::default()));
            assert_eq!(verdict, Verdict::answer(Err(NotUsable)), "{name}");
        }
    }

    #[test]
    fn what_is_withdrawn_is_gone_and_the_rest_stays() {
        let ann = person("ann");
        let kept = kept(&[(wiki(), "openid", &[]), (other(), "email", &[])]);
        let wiki = wiki();
        let verdict = Withdraw { person: &ann, application: &wiki }.decide(&kept);
        let rest: Consents = [(other(), kept.consents[&other()].clone())].into();
        let change = Change::PutConsents { from: 7, person: ann.clone(), consents: Box::new(rest) };
        let event = Event::ConsentWithdrawn { person: ann.clone(), application: wiki.clone() };
        assert_eq!(verdict, Verdict::change(true, change, event));
        let nothing = Withdraw { person: &ann, application: &wiki }.decide(&Kept::default());
        assert_eq!(nothing, Verdict::answer(false));
    }

    #[test]
    fn two_that_are_given_at_once_are_both_kept() {
        let (ann, wiki, none) = (person("ann"), wiki(), audiences(&[]));
        let (openid, email) = (scopes("openid"), scopes("email"));
        let give = |scopes| Give {
            person: &ann,
            authenticated_at: NOW,
            sources: &*Box::leak(Box::new(sources())),
            application: &wiki,
            agreed: Agreed { scopes, audiences: &none },
            now: later(20),
        };
        let mut file = directory().file().clone();
        file.applications.push(application());
        let directory = crate::directory::Directory::new(file, [].into(), 1).unwrap();
        let rows = Rows { directory: directory.into(), ..Rows::default() };
        let (standing, kept) = (Standing::new(rows.directory.clone(), &sources(), None), Kept::default());
        let store = TestStore::new(rows).with_rival(give(&email).decide(&(standing, kept)).changes);
        block_on(settle(&store, &give(&openid))).unwrap().reply.unwrap();
        assert_eq!(store.rows().consents[&ann].1[&wiki].scopes, scopes("openid email"));
    }
}
