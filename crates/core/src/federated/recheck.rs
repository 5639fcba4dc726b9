//! When a source is asked about a person again, without the person.
//!
//! 1. [`Claim`]: somebody wants something, and the source's word is older than it is taken for. One of all that ask at
//!    that moment, on whichever node, writes down that it asks the source; a source may end a session whose refresh
//!    token comes twice.
//! 2. It asks, with nothing loaded and nothing locked.
//! 3. [`Conclude`]: what the source said is written down, unless somebody has written since.

use std::collections::BTreeSet;

use crate::federated::{FederatedPerson, Sources};
use crate::grant::Decision;
use crate::ids::{GroupName, PersonId, SourceName};
use crate::store::{Outage, Store};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Change, Event, Verdict};

/// How long one who asks has for it. More than asking can take, or a second one would ask meanwhile.
pub const ASKING: Lifetime = Lifetime::from_seconds(60);
/// How long nobody asks about a person after it did not work.
pub const PAUSE: Lifetime = Lifetime::from_seconds(5);

/// Step 1.
#[derive(Debug)]
pub struct Claim<'a> {
    /// Who wants something.
    pub person: &'a PersonId,
    /// The sources there are.
    pub sources: &'a Sources,
    /// Those that could not be reached a moment ago. They are left in peace as long as their last word holds.
    pub unreachable: &'a BTreeSet<SourceName>,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: what is known holds, or says that the person is nobody's.
    Nothing,
    /// The source is to be asked, by the caller alone.
    Ask(Box<FederatedPerson>),
    /// Somebody else asks, or has just done so in vain, and what is known does not hold any more: wait.
    Wait,
}

impl Decision for Claim<'_> {
    type Snapshot = (u64, Option<FederatedPerson>);
    type Reply = Due;

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        if store.directory().await?.is_local(self.person) {
            return Ok((0, None));
        }
        let (version, person) = store.federated_person(self.person).await?;
        Ok((version, person.and_then(|person| person.trusted(self.sources))))
    }

    fn decide(&self, (version, person): &Self::Snapshot) -> Verdict<Due> {
        let Some(person) = person.as_ref().filter(|person| !person.gone && person.refresh_token.is_some())
        else {
            return Verdict::answer(Due::Nothing);
        };
        let Some(trust) = self.sources.get(&person.source) else { return Verdict::answer(Due::Nothing) };
        if self.now < person.confirmed_at.plus(trust.recheck) {
            return Verdict::answer(Due::Nothing);
        }
        let holds = person.is_good(self.now);
        if holds && self.unreachable.contains(&person.source) {
            return Verdict::answer(Due::Nothing);
        }
        if person.asking_until.is_some_and(|until| self.now < until) {
            return Verdict::answer(if holds { Due::Nothing } else { Due::Wait });
        }
        let asked = FederatedPerson { asking_until: Some(self.now.plus(ASKING)), ..person.clone() };
        Verdict {
            changes: vec![Change::PutFederatedPerson { from: *version, person: Box::new(asked.clone()) }],
            reply: Due::Ask(Box::new(asked)),
            event: None,
        }
    }
}

/// Step 3.
#[derive(Debug)]
pub struct Conclude<'a> {
    /// Of whom the source was asked: what [`Claim`] gave.
    pub asked: &'a FederatedPerson,
    /// What it said.
    pub answer: SourceAnswer,
    /// What to ask with next time, sealed, if that is another.
    pub refresh_token: Option<String>,
    /// The sources there are.
    pub sources: &'a Sources,
    /// The time.
    pub now: Timestamp,
}

/// What a source said of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAnswer {
    /// They are there. With what is known of them now, if it said more than that.
    Confirmed(Option<Particulars>),
    /// They are not there any more.
    Gone,
    /// It could not be asked, or its answer could not be believed.
    Unknown,
    /// It cannot be asked about them any more: they must sign in again for it to say something.
    Unaskable,
}

/// What may change about a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Particulars {
    /// How the person is greeted.
    pub display_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// The groups that the source names, by their names here.
    pub groups: BTreeSet<GroupName>,
}

impl Decision for Conclude<'_> {
    type Snapshot = (u64, Option<FederatedPerson>);
    type Reply = ();

    async fn load(&self, store: &dyn Store) -> Result<Self::Snapshot, Outage> {
        store.federated_person(&self.asked.id).await
    }

    fn decide(&self, (version, stored): &Self::Snapshot) -> Verdict<()> {
        // Who has signed in meanwhile was described later than by this answer, and has another refresh token.
        if stored.as_ref() != Some(self.asked) {
            return Verdict::answer(());
        }
        let mut person = Box::new(self.asked.clone());
        person.asking_until = None;
        if let Some(token) = &self.refresh_token {
            person.refresh_token = Some(token.clone());
        }
        let mut event = None;
        match &self.answer {
            SourceAnswer::Confirmed(particulars) => {
                if let Some(Particulars { display_name, email, groups }) = particulars.clone() {
                    (person.display_name, person.email, person.groups) = (display_name, email, groups);
                }
                person.confirmed_at = self.now;
                let holds =
                    self.sources.get(&person.source).map_or(Lifetime::from_seconds(0), |trust| trust.holds);
                person.good_until = self.now.plus(holds);
            }
            SourceAnswer::Gone => {
                (person.gone, person.refresh_token) = (true, None);
                event = Some(Event::PersonGone { person: person.id.clone(), source: person.source.clone() });
            }
            SourceAnswer::Unknown => person.asking_until = Some(self.now.plus(PAUSE)),
            SourceAnswer::Unaskable => person.refresh_token = None,
        }
        Verdict { reply: (), changes: vec![Change::PutFederatedPerson { from: *version, person }], event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Departures, Directory, DirectoryFile, Person};
    use crate::fixtures::{NOW, Rows, TestStore, block_on, corp, federated, later, person, sources};
    use crate::grant::{Settled, settle};

    fn claim(store: &TestStore, now: Timestamp) -> Due {
        claim_with(store, &sources(), &BTreeSet::new(), now)
    }

    fn claim_with(
        store: &TestStore,
        sources: &Sources,
        unreachable: &BTreeSet<SourceName>,
        now: Timestamp,
    ) -> Due {
        let zoe = person("zoe");
        block_on(settle(store, &Claim { person: &zoe, sources, unreachable, now })).unwrap().reply
    }

    fn conclude(
        store: &TestStore,
        asked: &FederatedPerson,
        answer: SourceAnswer,
        token: Option<&str>,
        now: Timestamp,
    ) -> Settled<()> {
        let refresh_token = token.map(str::to_owned);
        block_on(settle(store, &Conclude { asked, answer, refresh_token, sources: &sources(), now })).unwrap()
    }

    fn store_of(person: FederatedPerson) -> TestStore {
        TestStore::new(Rows::default().with_federated(person))
    }

    fn stored(store: &TestStore) -> FederatedPerson {
        store.rows().federated[&person("zoe")].1.clone()
    }

    fn ask(store: &TestStore, now: Timestamp) -> FederatedPerson {
        match claim(store, now) {
            Due::Ask(person) => *person,
            due => panic!("{due:?}"),
        }
    }

    #[test]
    fn a_source_is_asked_when_its_word_is_old_and_by_one_alone() {
        let store = store_of(federated("zoe"));
        assert_eq!(claim(&store, later(899)), Due::Nothing);
        let asked = ask(&store, later(900));
        assert_eq!(asked.asking_until, Some(later(960)));
        assert_eq!(stored(&store), asked);
        // The others go on with its last word while that holds.
        for now in [900, 959] {
            assert_eq!(claim(&store, later(now)), Due::Nothing);
        }
        // Whoever asked has not come back.
        ask(&store, later(960));
    }

    #[test]
    fn of_two_who_claim_at_once_one_asks() {
        let theirs = FederatedPerson { asking_until: Some(later(960)), ..federated("zoe") };
        let rival = vec![Change::PutFederatedPerson { from: 1, person: Box::new(theirs) }];
        let store = store_of(federated("zoe")).with_rival(rival);
        assert_eq!(claim(&store, later(900)), Due::Nothing);
    }

    #[test]
    fn when_the_last_word_does_not_hold_the_others_wait() {
        let store = store_of(federated("zoe"));
        ask(&store, later(14_400));
        assert_eq!(claim(&store, later(14_401)), Due::Wait);
    }

    #[test]
    fn nobody_is_asked_about_who_is_not_for_a_source_to_say() {
        let gone = FederatedPerson { gone: true, ..federated("zoe") };
        let tokenless = FederatedPerson { refresh_token: None, ..federated("zoe") };
        let elsewhere = FederatedPerson { source: SourceName::parse("other").unwrap(), ..federated("zoe") };
        for person in [gone, tokenless, elsewhere] {
            assert_eq!(claim(&store_of(person), later(20_000)), Due::Nothing);
        }
        assert_eq!(claim(&TestStore::default(), later(20_000)), Due::Nothing);
        // The directory has since given the name to somebody with a password.
        let file = DirectoryFile { people: vec![Person::named(person("zoe"))], ..DirectoryFile::default() };
        let directory = Directory::new(file, Departures::new(), 1).unwrap().into();
        let rows = Rows { directory, ..Rows::default() }.with_federated(federated("zoe"));
        assert_eq!(claim(&TestStore::new(rows), later(20_000)), Due::Nothing);
    }

    #[test]
    fn a_source_that_cannot_be_reached_is_left_in_peace() {
        let store = store_of(federated("zoe"));
        let down = [corp()].into();
        assert_eq!(claim_with(&store, &sources(), &down, later(900)), Due::Nothing);
        assert_eq!(store.commits(), 0);
        // Though one who has nothing to lose may find that it is back.
        assert!(matches!(claim_with(&store, &sources(), &down, later(14_400)), Due::Ask(_)));
    }

    #[test]
    fn a_shorter_trust_counts_at_once() {
        let mut less = sources();
        less.get_mut(&corp()).unwrap().holds = Lifetime::from_seconds(1000);
        let (store, down) = (store_of(federated("zoe")), [corp()].into());
        assert_eq!(claim_with(&store, &less, &down, later(999)), Due::Nothing);
        assert!(matches!(claim_with(&store, &less, &down, later(1000)), Due::Ask(_)));
    }

    #[test]
    fn a_confirmation_renews_all_that_is_known() {
        let store = store_of(federated("zoe"));
        let asked = ask(&store, later(900));
        let groups: BTreeSet<GroupName> = [GroupName::parse("ops").unwrap()].into();
        let particulars = Particulars { display_name: None, email: Some("z@example.org".into()), groups };
        let answer = SourceAnswer::Confirmed(Some(particulars.clone()));
        let settled = conclude(&store, &asked, answer, Some("next"), later(901));
        assert_eq!(settled.event, None);
        let expected = FederatedPerson {
            display_name: None,
            email: particulars.email,
            groups: particulars.groups,
            confirmed_at: later(901),
            good_until: later(901 + 14_400),
            refresh_token: Some("next".into()),
            ..federated("zoe")
        };
        assert_eq!(stored(&store), expected);

        // One that says no more than that leaves them as they were.
        let asked = ask(&store, later(2000));
        conclude(&store, &asked, SourceAnswer::Confirmed(None), None, later(2001));
        let expected =
            FederatedPerson { confirmed_at: later(2001), good_until: later(2001 + 14_400), ..expected };
        assert_eq!(stored(&store), expected);
    }

    #[test]
    fn who_is_gone_is_gone_until_they_sign_in_again() {
        let store = store_of(federated("zoe"));
        let asked = ask(&store, later(900));
        let settled = conclude(&store, &asked, SourceAnswer::Gone, None, later(901));
        assert_eq!(settled.event, Some(Event::PersonGone { person: person("zoe"), source: corp() }));
        let zoe = stored(&store);
        assert!(zoe.gone && zoe.refresh_token.is_none() && !zoe.is_good(later(901)));
        assert_eq!(claim(&store, later(20_000)), Due::Nothing);
    }

    #[test]
    fn what_is_not_known_changes_nothing_but_a_token_that_was_exchanged() {
        let store = store_of(federated("zoe"));
        let asked = ask(&store, later(900));
        conclude(&store, &asked, SourceAnswer::Unknown, None, later(905));
        assert_eq!(stored(&store), FederatedPerson { asking_until: Some(later(910)), ..federated("zoe") });
        assert_eq!(claim(&store, later(909)), Due::Nothing);
        let asked = ask(&store, later(910));
        conclude(&store, &asked, SourceAnswer::Unknown, Some("next"), later(911));
        assert_eq!(stored(&store).refresh_token.as_deref(), Some("next"));
        assert_eq!(stored(&store).confirmed_at, NOW);
    }

    #[test]
    fn who_cannot_be_asked_about_any_more_stays_until_the_last_word_ends() {
        let store = store_of(federated("zoe"));
        let asked = ask(&store, later(900));
        conclude(&store, &asked, SourceAnswer::Unaskable, None, later(900));
        let zoe = stored(&store);
        assert!(zoe.refresh_token.is_none() && zoe.is_good(later(14_399)));
        assert_eq!(claim(&store, later(14_400)), Due::Nothing);
    }

    #[test]
    fn an_answer_that_comes_after_a_new_sign_in_is_of_no_more_use() {
        for answer in [SourceAnswer::Gone, SourceAnswer::Unknown, SourceAnswer::Confirmed(None)] {
            let store = store_of(federated("zoe"));
            let asked = ask(&store, later(900));
            let anew = FederatedPerson {
                refresh_token: Some("of the new sign-in".into()),
                confirmed_at: later(901),
                ..federated("zoe")
            };
            let put = Change::PutFederatedPerson { from: 2, person: Box::new(anew.clone()) };
            block_on(store.commit(vec![put])).unwrap();
            let settled = conclude(&store, &asked, answer, Some("next"), later(902));
            assert_eq!((stored(&store), settled.event), (anew, None));
        }
    }
}
