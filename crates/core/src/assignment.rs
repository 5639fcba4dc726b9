//! The one gate that every grant passes, and who may use which role in which account.
//!
//! Assignments can be asked for by a [`Principal`] alone, and only the gate makes one: [`Standing::principal`].

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::directory::{Account, Directory, PermissionSet, Person};
use crate::federated::{FederatedPerson, Sources};
use crate::ids::{AccountId, GroupName, PersonId, RoleName, SourceName};
use crate::store::{Outage, Store};
use crate::time::Timestamp;

/// What is known of a person when something is decided for them: the directory, and what their identity source said.
#[derive(Clone, Debug)]
pub struct Standing {
    directory: Arc<Directory>,
    federated: Option<FederatedPerson>,
}

impl Standing {
    /// What is known of somebody: the directory, and what their identity source said, if it is one of `sources`.
    #[must_use]
    pub fn new(directory: Arc<Directory>, sources: &Sources, federated: Option<FederatedPerson>) -> Self {
        let federated = federated
            .and_then(|person| person.trusted(sources))
            // The directory has given the name to somebody of whom no source has anything to say.
            .filter(|person| !directory.is_local(&person.id));
        Self { directory, federated }
    }

    /// Reads what is known of `person`; of nobody but the directory when it is not known yet who it will be. `sources` are
    /// those whose word counts.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell.
    pub async fn load(
        store: &dyn Store,
        sources: &Sources,
        person: Option<&PersonId>,
    ) -> Result<Self, Outage> {
        let directory = store.directory().await?;
        let federated = match person {
            // One read less for those whom no source has anything to say about.
            Some(person) if !sources.is_empty() && !directory.is_local(person) => {
                store.federated_person(person).await?.1
            }
            Some(_) | None => None,
        };
        Ok(Self::new(directory, sources, federated))
    }

    /// The directory.
    #[must_use]
    pub const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What the person's identity source has said, whether or not it still holds.
    #[must_use]
    pub const fn federated(&self) -> Option<&FederatedPerson> {
        self.federated.as_ref()
    }

    /// The gate: whether `id` names a person who may be given anything at `now`, having proved who they are at
    /// `authenticated_at`. Every grant passes it at approval and again at redemption, and so does every use of a token.
    #[must_use]
    pub fn is_usable(&self, id: &PersonId, authenticated_at: Timestamp, now: Timestamp) -> bool {
        // Of two people who had the same name one after the other, the second gets nothing of the first.
        if self.directory.departed().get(id).is_some_and(|left| authenticated_at <= *left) {
            return false;
        }
        let stands = |source: Option<&SourceName>| {
            self.federated.as_ref().is_some_and(|person| {
                person.id == *id
                    && source.is_none_or(|source| person.source == *source)
                    && authenticated_at >= person.since
                    && person.is_good(now)
            })
        };
        match self.directory.person(id) {
            Some(person) if person.disabled => false,
            Some(Person { identity_source: Some(source), .. }) => stands(Some(source)),
            Some(_) => true,
            None => stands(None),
        }
    }

    /// The person who passed the gate.
    #[must_use]
    pub fn principal(&self, id: &PersonId, authenticated_at: Timestamp, now: Timestamp) -> Option<Principal> {
        self.is_usable(id, authenticated_at, now).then(|| {
            let listed = self.directory.groups_of(id);
            let named = self.federated.iter().flat_map(|person| &person.groups);
            Principal {
                groups: listed.iter().chain(named.filter(|group| !listed.contains(group))).cloned().collect(),
                standing: self.clone(),
                id: id.clone(),
            }
        })
    }
}

/// A person who may be given what is assigned to them.
#[derive(Clone, Debug)]
pub struct Principal {
    standing: Standing,
    id: PersonId,
    groups: Vec<GroupName>,
}

impl Principal {
    /// The user name.
    #[must_use]
    pub const fn id(&self) -> &PersonId {
        &self.id
    }

    /// Whether what was signed in at `authenticated_at` is this person's, and not that of somebody who had the name before.
    #[must_use]
    pub fn owns(&self, authenticated_at: Timestamp, now: Timestamp) -> bool {
        self.standing.is_usable(&self.id, authenticated_at, now)
    }

    /// The groups the person is in, those that the directory does not know included.
    #[must_use]
    pub fn groups(&self) -> &[GroupName] {
        &self.groups
    }

    /// The directory in which the person was found.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.standing.directory
    }

    /// The name to greet the person with.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        let listed = self.directory().person(&self.id).and_then(|person| person.display_name.as_deref());
        let said = || self.standing.federated.as_ref()?.display_name.as_deref();
        listed.or_else(said).unwrap_or(self.id.as_str())
    }

    /// The e-mail address, and whether it is the directory that says so.
    #[must_use]
    pub fn email(&self) -> Option<(&str, bool)> {
        let listed = self.directory().person(&self.id).and_then(|person| person.email.as_deref());
        let said = || self.standing.federated.as_ref()?.email.as_deref();
        listed.map(|email| (email, true)).or_else(|| said().map(|email| (email, false)))
    }

    /// The accounts in which the person has a role, by account number.
    #[must_use]
    pub fn accounts(&self) -> Vec<&Account> {
        let directory = self.directory();
        let access = directory.access(&self.id, self.groups.iter());
        let mut ranks: Vec<u32> = access.into_iter().flatten().map(|(rank, _)| *rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        ranks.into_iter().map(|rank| directory.ranked(rank)).collect()
    }

    /// The roles that the person has in `account`, by name.
    #[must_use]
    pub fn roles(&self, account: &AccountId) -> Vec<&PermissionSet> {
        let names: BTreeSet<&RoleName> = self.names(account).collect();
        names.into_iter().filter_map(|name| self.directory().permission_set(name)).collect()
    }

    /// The permission set behind `role`, if the person may use it in `account`.
    #[must_use]
    pub fn role(&self, account: &AccountId, role: &RoleName) -> Option<&PermissionSet> {
        self.names(account).any(|name| name == role).then(|| self.directory().permission_set(role))?
    }

    /// The names of the roles that the person has in `account`, some of them more than once.
    fn names(&self, account: &AccountId) -> impl Iterator<Item = &RoleName> {
        let directory = self.directory();
        let rank = directory.rank(account);
        let access = directory.access(&self.id, self.groups.iter());
        let here = access.into_iter().flat_map(move |access| {
            let from = rank.map_or(access.len(), |rank| access.partition_point(|(at, _)| *at < rank));
            access[from..].iter().take_while(move |(at, _)| Some(*at) == rank)
        });
        here.flat_map(|(_, nth)| &directory.assignment(*nth).permission_sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Assignment, Departures, DirectoryFile, DirectoryProblems, Group};
    use crate::fixtures::{NOW, Rows, TestStore, block_on, corp, federated, later, person, sources};
    use crate::time::Lifetime;
    use crate::verdict::Change;

    fn account(id: &str) -> AccountId {
        AccountId::parse(id).unwrap()
    }

    fn role(name: &str) -> RoleName {
        RoleName::parse(name).unwrap()
    }

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    fn sample() -> DirectoryFile {
        let an_account = |id: &str| Account {
            id: account(id),
            name: "x".into(),
            email: None,
            broker: None,
            role_arn: None,
        };
        DirectoryFile {
            people: vec![
                Person::named(person("ann")),
                Person { disabled: true, ..Person::named(person("bob")) },
                Person::named(person("cy")),
                Person { identity_source: Some(corp()), ..Person::named(person("dee")) },
            ],
            groups: vec![
                Group { name: group("ops"), members: vec![person("ann"), person("bob")] },
                Group { name: group("guests"), members: vec![] },
            ],
            accounts: vec![an_account("222222222222"), an_account("111111111111")],
            permission_sets: vec![PermissionSet::named(role("Read")), PermissionSet::named(role("Admin"))],
            assignments: vec![
                Assignment {
                    people: vec![],
                    groups: vec![group("ops")],
                    accounts: vec![account("222222222222"), account("111111111111")],
                    permission_sets: vec![role("Read")],
                },
                Assignment {
                    people: vec![person("ann")],
                    groups: vec![group("guests")],
                    accounts: vec![account("111111111111")],
                    permission_sets: vec![role("Admin"), role("Read")],
                },
                Assignment {
                    people: vec![person("cy")],
                    groups: vec![],
                    accounts: vec![account("111111111111")],
                    permission_sets: vec![],
                },
            ],
            ..DirectoryFile::default()
        }
    }

    fn standing(federated: Option<FederatedPerson>) -> Standing {
        standing_in(Directory::new(sample(), Departures::new(), 1).unwrap(), federated)
    }

    fn standing_in(directory: Directory, federated: Option<FederatedPerson>) -> Standing {
        Standing::new(Arc::new(directory), &sources(), federated)
    }

    fn usable(standing: &Standing, name: &str) -> bool {
        standing.is_usable(&person(name), NOW, NOW)
    }

    #[test]
    fn assignments_reach_people_directly_and_through_groups() {
        let standing = standing(None);
        let principal = |name: &str| standing.principal(&person(name), NOW, NOW).unwrap();
        let ids = |name: &str| -> Vec<String> {
            principal(name).accounts().iter().map(|account| account.id.to_string()).collect()
        };
        assert_eq!(ids("ann"), ["111111111111", "222222222222"]);
        assert_eq!(ids("cy"), [""; 0]);
        let (ann, cy) = (principal("ann"), principal("cy"));
        let roles: Vec<&str> =
            ann.roles(&account("111111111111")).iter().map(|set| set.name.as_str()).collect();
        assert_eq!(roles, ["Admin", "Read"]);
        assert_eq!(ann.roles(&account("999999999999")), [] as [&PermissionSet; 0]);
        assert!(ann.role(&account("222222222222"), &role("Admin")).is_none());
        assert!(ann.role(&account("111111111111"), &role("Admin")).is_some());
        assert!(ann.role(&account("999999999999"), &role("Read")).is_none());
        assert!(cy.role(&account("111111111111"), &role("Read")).is_none());
    }

    #[test]
    fn a_disabled_or_unknown_person_does_not_pass_the_gate() {
        let standing = standing(None);
        assert!(usable(&standing, "ann"));
        assert!(!usable(&standing, "bob"));
        assert!(!usable(&standing, "nobody"));
        assert!(!usable(&standing, "dee"), "only the source can vouch for her");
    }

    #[test]
    fn a_source_vouches_for_its_own_people_and_for_a_time() {
        for name in ["dee", "zoe"] {
            let with = |edit: fn(&mut FederatedPerson)| {
                let mut person = federated(name);
                edit(&mut person);
                standing(Some(person))
            };
            assert!(usable(&with(|_| {}), name));
            assert!(!usable(&with(|person| person.gone = true), name));
            assert!(!usable(&with(|person| person.good_until = NOW), name));
            assert!(!usable(&with(|person| person.since = later(1)), name), "that was somebody else");
        }
        let elsewhere = FederatedPerson { source: SourceName::parse("other").unwrap(), ..federated("dee") };
        assert!(!usable(&standing(Some(elsewhere)), "dee"), "another source does not vouch for her");
        assert!(!usable(&standing(Some(federated("bob"))), "bob"), "the directory disabled him");
        assert!(!usable(&standing(Some(federated("zoe"))), "zed"));
    }

    #[test]
    fn a_source_has_no_say_about_a_name_that_the_directory_has_since_given_away() {
        let standing = standing(Some(federated("cy")));
        let cy = standing.principal(&person("cy"), NOW, NOW).unwrap();
        assert!(cy.groups().is_empty() && cy.role(&account("111111111111"), &role("Admin")).is_none());
        assert_eq!(cy.shown_name(), "cy");
    }

    #[test]
    fn the_groups_of_a_source_count_beside_those_of_the_directory() {
        let standing = standing(Some(federated("zoe")));
        let zoe = standing.principal(&person("zoe"), NOW, NOW).unwrap();
        assert_eq!(zoe.shown_name(), "Somebody");
        assert!(zoe.role(&account("111111111111"), &role("Admin")).is_some());
        assert!(zoe.role(&account("222222222222"), &role("Read")).is_none());
    }

    #[test]
    fn whoever_takes_the_name_of_one_who_left_gets_nothing_of_theirs() {
        let replace = |directory: &Directory, file: DirectoryFile, now| {
            let Change::ReplaceDirectory { file, departed, from } = directory.replaced_by(file, now) else {
                panic!("another change");
            };
            Directory::new(*file, departed, from + 1).unwrap()
        };
        let first = Directory::new(sample(), Departures::new(), 1).unwrap();
        let mut without = sample();
        without.people.retain(|entry| entry.user_name.as_str() != "cy");
        without.assignments.pop();
        let second = replace(&first, without, later(10));
        let third = replace(&second, sample(), later(20));
        // Somebody of that name may have come through a source between 10 and 20.
        for (signed_in, holds) in [(0, false), (10, false), (19, false), (20, true), (30, true)] {
            let standing = standing_in(replace(&third, sample(), later(25)), None);
            assert_eq!(standing.is_usable(&person("cy"), later(signed_in), later(40)), holds, "{signed_in}");
            assert!(standing.is_usable(&person("ann"), NOW, later(40)));
        }
        let long_after = later(20).plus(Lifetime::from_seconds(7_776_000));
        assert!(replace(&third, sample(), long_after).departed().is_empty());
    }

    #[test]
    fn a_local_person_who_is_added_gets_nothing_of_a_federated_one_of_that_name() {
        let Change::ReplaceDirectory { file, departed, .. } =
            Directory::default().replaced_by(sample(), later(10))
        else {
            panic!("another change")
        };
        let standing = standing_in(Directory::new(*file, departed, 1).unwrap(), None);
        assert!(!standing.is_usable(&person("ann"), later(9), later(20)));
        assert!(standing.is_usable(&person("ann"), later(10), later(20)));
        // Whom a source stands for may have been there before.
        assert!(!standing.directory().departed().contains_key(&person("dee")));
    }

    #[test]
    fn ledger_07_a_source_that_is_no_more_vouches_for_nobody() {
        let store = TestStore::new(Rows::default().with_federated(federated("zoe")));
        let usable = |sources: &Sources, now| {
            let standing = block_on(Standing::load(&store, sources, Some(&person("zoe")))).unwrap();
            standing.is_usable(&person("zoe"), NOW, now)
        };
        assert!(usable(&sources(), later(14_399)) && !usable(&sources(), later(14_400)));
        assert!(!usable(&Sources::new(), NOW));
        let renamed =
            sources().into_values().map(|trust| (SourceName::parse("new").unwrap(), trust)).collect();
        assert!(!usable(&renamed, NOW));
        // Nor for longer than the operator trusts it now.
        let mut less = sources();
        less.get_mut(&corp()).unwrap().holds = Lifetime::from_seconds(60);
        assert!(usable(&less, later(59)) && !usable(&less, later(60)));
    }

    #[test]
    fn every_mistake_in_a_directory_is_named_at_once() {
        let mut file = sample();
        file.people.push(file.people[0].clone());
        file.groups[0].members.push(person("cyy"));
        file.assignments[1].accounts.push(account("999999999999"));
        file.permission_sets[0].session_duration = Lifetime::from_seconds(60);
        file.permission_sets[1].relay_state = Some("javascript:alert(1)".into());
        file.permission_sets[1].role_arn = Some("arn:aws:iam::{acount}:role/Admin".into());
        file.permission_sets[1].session_tags = [("team".into(), "{person".into())].into();
        file.people[3].password_hash = Some("$argon2id$".into());
        let DirectoryProblems(problems) = Directory::new(file, Departures::new(), 1).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "person ann occurs twice",
                "person dee: signs in with a password_hash or through an identity_source, and not both",
                "group ops: there is no person cyy; did you mean cy?",
                "permission set Read: session_duration must be 900 to 43200 seconds",
                "permission set Admin: relay_state must begin with https:// and a host",
                "permission set Admin: role_arn: {acount} is no placeholder; there are {account} and {role}; did you mean {account}?",
                "permission set Admin: session_tags: a brace has no counterpart",
                "assignment 2: there is no account 999999999999",
            ]
        );
    }
}
