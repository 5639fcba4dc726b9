//! Who is let in on a source's word, and under which name.
//!
//! A source names its people as it likes, and many let them choose. So a name is first come, first served: the first
//! subject (`sub`) who comes with it keeps it, until the source has said that they are gone, or has not been heard of them
//! for [`FORGOTTEN_AFTER`]. Whoever comes with it then begins anew: nothing that was signed in before is theirs. And no name
//! is given that the directory gives to somebody else.

use std::fmt;

use crate::directory::{Directory, Person};
use crate::federated::{FederatedPerson, Sources};
use crate::grant::Decision;
use crate::ids::{PersonId, SourceName};
use crate::session::Session;
use crate::store::{Outage, Store};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::{Change, Event, Verdict};

/// How long a name is kept for somebody of whom nothing is heard any more: the longest that a session can last.
pub const FORGOTTEN_AFTER: Lifetime = Lifetime::from_seconds(7_776_000);

/// Somebody has signed in through a source.
#[derive(Debug)]
pub struct SignIn<'a> {
    /// What the source has just said, as it is kept of somebody new.
    pub person: FederatedPerson,
    /// The sources there are.
    pub sources: &'a Sources,
    /// The browser's session. Its id was drawn when the sign-in began, so that coming back twice collides.
    pub session: Session,
}

/// Why somebody is not let in. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLetIn {
    /// There is no such source.
    UnknownSource,
    /// The directory has a person of that name who signs in with a password.
    LocalName,
    /// The directory has a person of that name who signs in through another source.
    NameOfSource(SourceName),
    /// The directory has a name that differs in the case of letters alone.
    Alike(PersonId),
    /// The directory disables this person.
    Disabled,
    /// The directory does not have this person, and the source may not bring new ones.
    NotInDirectory,
    /// The name belongs to another subject of this source.
    OtherSubject,
    /// The name belongs to somebody of another source.
    OtherSource(SourceName),
    /// The sign-in was finished before.
    Repeated,
}

impl fmt::Display for NotLetIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSource => f.write_str("there is no such identity source any more"),
            Self::LocalName => {
                f.write_str("the directory has a person of that name, without identity_source: the name is theirs")
            }
            Self::NameOfSource(source) => {
                write!(f, "the directory has a person of that name whose identity_source is {source}")
            }
            Self::Alike(alike) => {
                write!(f, "the directory has {alike}, which differs in the case of letters alone")
            }
            Self::Disabled => f.write_str("the directory disables this person"),
            Self::NotInDirectory => {
                f.write_str("the directory does not have this person, and just_in_time is false")
            }
            Self::OtherSubject => f.write_str(
                "the name belongs to another subject of this source, who is not known to be gone: is user_name_claim one \
                 that people can change?",
            ),
            Self::OtherSource(source) => write!(f, "the name belongs to somebody of the identity source {source}"),
            Self::Repeated => f.write_str("this sign-in was finished before"),
        }
    }
}

/// What a sign-in depends on.
#[derive(Debug)]
pub struct Found {
    directory: std::sync::Arc<Directory>,
    version: u64,
    person: Option<FederatedPerson>,
    is_repeated: bool,
}

impl Decision for SignIn<'_> {
    type Snapshot = Found;
    type Reply = Result<(), NotLetIn>;

    async fn load(&self, store: &dyn Store) -> Result<Found, Outage> {
        let (version, person) = store.federated_person(&self.person.id).await?;
        let is_repeated = store.session(self.session.id).await?.is_some();
        Ok(Found { directory: store.directory().await?, version, person, is_repeated })
    }

    fn decide(&self, found: &Found) -> Verdict<Self::Reply> {
        let since = match self.check(found) {
            Ok(since) => since,
            Err(why) => return Verdict::answer(Err(why)),
        };
        let person = Box::new(FederatedPerson { since, ..self.person.clone() });
        let (session, id) = (self.session.id, person.id.clone());
        let source = Some(person.source.clone());
        Verdict {
            reply: Ok(()),
            changes: vec![
                Change::PutFederatedPerson { from: found.version, person },
                Change::StartSession(self.session.clone()),
            ],
            event: Some(Event::SignedIn { session, person: id, source }),
        }
    }
}

impl SignIn<'_> {
    /// Since when the person has been here under this name.
    fn check(&self, found: &Found) -> Result<Timestamp, NotLetIn> {
        let Found { directory, person: known, is_repeated, .. } = found;
        let new = &self.person;
        if *is_repeated {
            return Err(NotLetIn::Repeated);
        }
        let trust = self.sources.get(&new.source).ok_or(NotLetIn::UnknownSource)?;
        match directory.person(&new.id) {
            Some(Person { disabled: true, .. }) => return Err(NotLetIn::Disabled),
            Some(Person { identity_source: None, .. }) => return Err(NotLetIn::LocalName),
            Some(Person { identity_source: Some(source), .. }) if *source != new.source => {
                return Err(NotLetIn::NameOfSource(source.clone()));
            }
            Some(_) => {}
            None => {
                if let Some(alike) = directory.alike(&new.id) {
                    return Err(NotLetIn::Alike(alike.clone()));
                }
                if !trust.just_in_time {
                    return Err(NotLetIn::NotInDirectory);
                }
            }
        }
        let now = new.confirmed_at;
        let Some(known) = known else { return Ok(now) };
        let is_free = known.gone
            || !self.sources.contains_key(&known.source)
            || now >= known.good_until.plus(FORGOTTEN_AFTER);
        if is_free {
            Ok(now)
        } else if known.source != new.source {
            Err(NotLetIn::OtherSource(known.source.clone()))
        } else if known.subject != new.subject {
            Err(NotLetIn::OtherSubject)
        } else {
            Ok(known.since)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Departures, DirectoryFile};
    use crate::fixtures::{
        NOW, Rows, SESSION, TestStore, block_on, corp, federated, later, person, session, sources,
    };
    use crate::grant::{Settled, settle};
    use crate::session::Holder;
    use crate::store::CommitError;

    /// `name` signs in through `corp`, as the subject of [`federated`].
    fn sign_in(name: &str, now: Timestamp) -> FederatedPerson {
        FederatedPerson {
            since: now,
            confirmed_at: now,
            good_until: now.plus(sources()[&corp()].holds),
            ..federated(name)
        }
    }

    fn settled_in(
        store: &TestStore,
        sources: &Sources,
        who: FederatedPerson,
    ) -> Settled<Result<(), NotLetIn>> {
        let now = who.confirmed_at;
        let session =
            Session { person: who.id.clone(), holder: Holder::Browser, authenticated_at: now, ..session() };
        block_on(settle(store, &SignIn { person: who, sources, session })).unwrap()
    }

    fn outcome(rows: &Rows, who: FederatedPerson) -> Result<FederatedPerson, NotLetIn> {
        let (store, id) = (TestStore::new(rows.clone()), who.id.clone());
        let reply = settled_in(&store, &sources(), who).reply;
        if reply.is_err() {
            assert_eq!(store.rows().federated, rows.federated, "who is not let in leaves nothing behind");
            assert_eq!(store.rows().sessions.len(), rows.sessions.len());
        }
        reply.map(|()| store.rows().federated[&id].1.clone())
    }

    fn rows_with(people: Vec<Person>) -> Rows {
        let file = DirectoryFile { people, ..DirectoryFile::default() };
        Rows { directory: Directory::new(file, Departures::new(), 1).unwrap().into(), ..Rows::default() }
    }

    fn other() -> SourceName {
        SourceName::parse("other").unwrap()
    }

    #[test]
    fn somebody_new_is_kept_with_their_session() {
        let store = TestStore::default();
        let settled = settled_in(&store, &sources(), sign_in("zoe", NOW));
        assert_eq!(settled.reply, Ok(()));
        let event = Event::SignedIn { session: SESSION, person: person("zoe"), source: Some(corp()) };
        assert_eq!(settled.event, Some(event));
        assert_eq!(store.rows().federated[&person("zoe")], (1, sign_in("zoe", NOW)));
        assert_eq!(store.rows().sessions[&SESSION].person, person("zoe"));
    }

    #[test]
    fn a_name_of_the_directory_is_given_to_nobody_else() {
        let source =
            |name: &str, source| Person { identity_source: Some(source), ..Person::named(person(name)) };
        let rows = rows_with(vec![
            Person::named(person("ann")),
            Person { disabled: true, ..source("bob", corp()) },
            source("dee", corp()),
            source("eve", other()),
            Person::named(person("Jürgen@example.org")),
        ]);
        for (name, expected) in [
            ("ann", Err(NotLetIn::LocalName)),
            ("bob", Err(NotLetIn::Disabled)),
            ("dee", Ok(())),
            ("eve", Err(NotLetIn::NameOfSource(other()))),
            ("Ann", Err(NotLetIn::Alike(person("ann")))),
            ("EVE", Err(NotLetIn::Alike(person("eve")))),
            ("jÜRGEN@EXAMPLE.ORG", Err(NotLetIn::Alike(person("Jürgen@example.org")))),
            ("anna", Ok(())),
        ] {
            assert_eq!(outcome(&rows, sign_in(name, NOW)).map(drop), expected, "{name}");
        }
        let mut strict = sources();
        strict.get_mut(&corp()).unwrap().just_in_time = false;
        let only = |name: &str| settled_in(&TestStore::new(rows.clone()), &strict, sign_in(name, NOW)).reply;
        assert_eq!(only("anna"), Err(NotLetIn::NotInDirectory));
        assert_eq!(only("dee"), Ok(()));
    }

    #[test]
    fn a_name_stays_with_the_subject_who_came_first() {
        let known = || Rows::default().with_federated(federated("zoe"));
        let second = |now| FederatedPerson { subject: "s-2".into(), ..sign_in("zoe", now) };
        assert_eq!(outcome(&known(), second(later(60))), Err(NotLetIn::OtherSubject));
        // Silence is not a word: it frees the name when no session could be left.
        let free = federated("zoe").good_until.plus(FORGOTTEN_AFTER);
        assert_eq!(
            outcome(&known(), second(free.minus(Lifetime::from_seconds(1)))),
            Err(NotLetIn::OtherSubject)
        );
        assert_eq!(outcome(&known(), second(free)), Ok(second(free)));
        // The same subject of another source is somebody else.
        let elsewhere = FederatedPerson { source: other(), ..federated("zoe") };
        let mut both = sources();
        both.insert(other(), sources()[&corp()]);
        let store = TestStore::new(Rows::default().with_federated(elsewhere));
        assert_eq!(settled_in(&store, &both, sign_in("zoe", NOW)).reply, Err(NotLetIn::OtherSource(other())));
        // Who comes again keeps what they had.
        let again = outcome(&known(), sign_in("zoe", later(60))).unwrap();
        assert_eq!((again.since, again.confirmed_at), (NOW, later(60)));
    }

    #[test]
    fn a_name_that_is_free_begins_anew() {
        for (what, before) in [
            ("gone", FederatedPerson { gone: true, ..federated("zoe") }),
            ("of a source that is no more", FederatedPerson { source: other(), ..federated("zoe") }),
        ] {
            for subject in ["s-2", "248289761001"] {
                let who = FederatedPerson { subject: subject.into(), ..sign_in("zoe", later(60)) };
                let now = outcome(&Rows::default().with_federated(before.clone()), who.clone());
                assert_eq!(now, Ok(who), "{what}");
            }
        }
    }

    #[test]
    fn ledger_23_a_sign_in_is_finished_once() {
        let store = TestStore::default();
        assert_eq!(settled_in(&store, &sources(), sign_in("zoe", NOW)).reply, Ok(()));
        assert_eq!(settled_in(&store, &sources(), sign_in("zoe", later(1))).reply, Err(NotLetIn::Repeated));
        assert_eq!(settled_in(&store, &sources(), sign_in("yan", later(1))).reply, Err(NotLetIn::Repeated));
        // Also when both come at the same moment.
        let who = sign_in("zoe", NOW);
        let theirs = Session { person: person("zoe"), ..session() };
        let rival = vec![Change::StartSession(theirs)];
        let store = TestStore::default().with_rival(rival).failing([CommitError::Conflict]);
        assert_eq!(settled_in(&store, &sources(), who).reply, Err(NotLetIn::Repeated));
    }

    #[test]
    fn of_two_subjects_who_come_at_once_one_gets_the_name() {
        let rival = vec![Change::PutFederatedPerson { from: 0, person: Box::new(federated("zoe")) }];
        let store = TestStore::default().with_rival(rival);
        let second = FederatedPerson { subject: "s-2".into(), ..sign_in("zoe", NOW) };
        assert_eq!(settled_in(&store, &sources(), second).reply, Err(NotLetIn::OtherSubject));
        assert!(store.rows().sessions.is_empty());
    }

    #[test]
    fn a_source_that_is_no_more_lets_nobody_in() {
        let settled = settled_in(&TestStore::default(), &Sources::new(), sign_in("zoe", NOW));
        assert_eq!(settled.reply, Err(NotLetIn::UnknownSource));
    }
}
