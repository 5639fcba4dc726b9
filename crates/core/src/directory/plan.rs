//! What the replacement of a directory changes.
//!
//! The order of the entries is of no account, and neither is how assignments are gathered into lists: two files that
//! say the same have an empty plan between them.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Account, Assignment, DirectoryFile, Group, PermissionSet, Person};
use crate::application::{Application, ScopeDescription};
use crate::ids::{AccountId, GroupName, PersonId, RoleName};

/// What changes when one directory takes the place of another; each list by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// People.
    pub people: Vec<Edit<'a, Person>>,
    /// Groups, their members included.
    pub groups: Vec<Edit<'a, Group>>,
    /// Accounts.
    pub accounts: Vec<Edit<'a, Account>>,
    /// Permission sets.
    pub permission_sets: Vec<Edit<'a, PermissionSet>>,
    /// What is assigned from now on.
    pub assigned: Vec<Single<'a>>,
    /// What is no longer assigned.
    pub unassigned: Vec<Single<'a>>,
    /// Descriptions of scopes.
    pub scopes: Vec<Edit<'a, ScopeDescription>>,
    /// Applications.
    pub applications: Vec<Edit<'a, Application>>,
}

/// What becomes of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a, T> {
    /// It is new.
    Added(&'a T),
    /// There is one of this name, and it is not the same.
    Changed {
        /// As it was.
        from: &'a T,
        /// As it will be.
        to: &'a T,
    },
    /// It goes.
    Removed(&'a T),
}

/// One person or group, one account, one permission set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Single<'a> {
    /// Who may use it.
    pub assignee: Assignee<'a>,
    /// In which account.
    pub account: &'a AccountId,
    /// What may be used.
    pub permission_set: &'a RoleName,
}

/// Who something is assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignee<'a> {
    /// A group.
    Group(&'a GroupName),
    /// A person.
    Person(&'a PersonId),
}

/// How many entries change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that are new.
    pub added: usize,
    /// Entries that are changed.
    pub changed: usize,
    /// Entries that go.
    pub removed: usize,
}

impl<'a> Plan<'a> {
    /// What changes when `new` takes the place of `old`.
    #[must_use]
    pub fn new(old: &'a DirectoryFile, new: &'a DirectoryFile) -> Self {
        let (before, after) = (singles(&old.assignments), singles(&new.assignments));
        Self {
            people: edits(&old.people, &new.people, |person| &person.user_name, PartialEq::eq),
            groups: edits(
                &old.groups,
                &new.groups,
                |group| &group.name,
                |one, other| one.members == other.members || members(one) == members(other),
            ),
            accounts: edits(&old.accounts, &new.accounts, |account| &account.id, PartialEq::eq),
            permission_sets: edits(
                &old.permission_sets,
                &new.permission_sets,
                |set| &set.name,
                PartialEq::eq,
            ),
            assigned: missing(&after, &before),
            unassigned: missing(&before, &after),
            scopes: edits(&old.scopes, &new.scopes, |scope| &scope.name, PartialEq::eq),
            applications: edits(
                &old.applications,
                &new.applications,
                |application| &application.client_id,
                |one, other| one == other || one.canonical() == other.canonical(),
            ),
        }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many entries change; of assignments, each [`Single`] counts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { added: self.assigned.len(), changed: 0, removed: self.unassigned.len() };
        counts.add(&self.people);
        counts.add(&self.groups);
        counts.add(&self.accounts);
        counts.add(&self.permission_sets);
        counts.add(&self.scopes);
        counts.add(&self.applications);
        counts
    }

    /// Who is removed: whatever they have signed in ends.
    pub fn departing(&self) -> impl Iterator<Item = &'a PersonId> {
        self.people.iter().filter_map(|edit| match edit {
            Edit::Removed(person) => Some(&person.user_name),
            Edit::Added(_) | Edit::Changed { .. } => None,
        })
    }
}

impl Counts {
    fn add<T>(&mut self, edits: &[Edit<'_, T>]) {
        for edit in edits {
            *match edit {
                Edit::Added(_) => &mut self.added,
                Edit::Changed { .. } => &mut self.changed,
                Edit::Removed(_) => &mut self.removed,
            } += 1;
        }
    }
}

impl Group {
    /// Who is a member of this group and not of `other`, by name.
    #[must_use]
    pub fn members_not_of<'a>(&'a self, other: &'a Self) -> Vec<&'a PersonId> {
        members(self).difference(&members(other)).copied().collect()
    }
}

impl Application {
    /// The same application, with everything in order.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut application = self.clone();
        let Self {
            redirect_uris,
            post_logout_redirect_uris,
            grants,
            audiences,
            people,
            groups,
            iam_principals,
            secret_hashes,
            keys,
            token_exchange,
            trusted_issuers,
            ..
        } = &mut application;
        for list in [redirect_uris, post_logout_redirect_uris, audiences, iam_principals] {
            list.sort();
        }
        grants.sort();
        people.sort();
        people.dedup();
        groups.sort();
        groups.dedup();
        secret_hashes.sort_by_cached_key(|hash| String::from(*hash));
        keys.sort_by(|one, other| one.kid.cmp(&other.kid));
        if let Some(policy) = token_exchange {
            policy.subjects_of.sort();
            policy.audiences.sort();
        }
        trusted_issuers.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        for accepted in trusted_issuers {
            accepted.audiences.sort();
        }
        application
    }
}

impl DirectoryFile {
    /// The same directory, with everything in order and the assignments gathered: two files that say the same look
    /// the same.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut file = Self { assignments: gathered(&singles(&self.assignments)), ..self.clone() };
        file.people.sort_by(|one, other| one.user_name.cmp(&other.user_name));
        file.groups.sort_by(|one, other| one.name.cmp(&other.name));
        for group in &mut file.groups {
            group.members.sort();
            group.members.dedup();
        }
        file.accounts.sort_by(|one, other| one.id.cmp(&other.id));
        file.permission_sets.sort_by(|one, other| one.name.cmp(&other.name));
        file.scopes.sort_by(|one, other| one.name.cmp(&other.name));
        file.applications.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        for application in &mut file.applications {
            *application = application.canonical();
        }
        file
    }
}

/// Gathers assignments into few lists, each every combination of what is in it. `singles` must be in order.
#[must_use]
pub fn gathered(singles: &[Single<'_>]) -> Vec<Assignment> {
    // For each assignee, the accounts in which they have the same permission sets; then the assignees with the same of
    // both.
    let mut accounts: BTreeMap<(Assignee<'_>, Vec<&RoleName>), Vec<&AccountId>> = BTreeMap::new();
    for run in singles.chunk_by(|one, next| (one.assignee, one.account) == (next.assignee, next.account)) {
        let sets = run.iter().map(|single| single.permission_set).collect();
        accounts.entry((run[0].assignee, sets)).or_default().push(run[0].account);
    }
    let mut assignees: BTreeMap<(Vec<&AccountId>, Vec<&RoleName>), Vec<Assignee<'_>>> = BTreeMap::new();
    for ((assignee, sets), accounts) in accounts {
        assignees.entry((accounts, sets)).or_default().push(assignee);
    }
    let mut assignments: Vec<Assignment> = assignees
        .into_iter()
        .map(|((accounts, sets), assignees)| {
            let mut assignment = Assignment {
                people: Vec::new(),
                groups: Vec::new(),
                accounts: accounts.into_iter().cloned().collect(),
                permission_sets: sets.into_iter().cloned().collect(),
            };
            for assignee in assignees {
                match assignee {
                    Assignee::Group(group) => assignment.groups.push(group.clone()),
                    Assignee::Person(person) => assignment.people.push(person.clone()),
                }
            }
            assignment
        })
        .collect();
    assignments.sort();
    assignments
}

/// Every combination of the lists, in order and each once.
fn singles(assignments: &[Assignment]) -> Vec<Single<'_>> {
    let mut singles = Vec::with_capacity(assignments.iter().map(Assignment::combinations).sum());
    for assignment in assignments {
        let groups = assignment.groups.iter().map(Assignee::Group);
        for assignee in groups.chain(assignment.people.iter().map(Assignee::Person)) {
            for account in &assignment.accounts {
                let single = |permission_set| Single { assignee, account, permission_set };
                singles.extend(assignment.permission_sets.iter().map(single));
            }
        }
    }
    singles.sort_unstable();
    singles.dedup();
    singles
}

/// The singles that are not among `others`; both in order.
fn missing<'a>(singles: &[Single<'a>], others: &[Single<'_>]) -> Vec<Single<'a>> {
    singles.iter().filter(|single| others.binary_search(single).is_err()).copied().collect()
}

fn members(group: &Group) -> BTreeSet<&PersonId> {
    group.members.iter().collect()
}

/// What becomes of each entry of a list, by name.
fn edits<'a, T, N: Ord + 'a>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&'a T) -> &'a N,
    same: impl Fn(&T, &T) -> bool,
) -> Vec<Edit<'a, T>> {
    let mut entries: BTreeMap<&N, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for entry in old {
        entries.entry(name(entry)).or_default().0 = Some(entry);
    }
    for entry in new {
        entries.entry(name(entry)).or_default().1 = Some(entry);
    }
    let edit = |(from, to)| match (from, to) {
        (Some(from), Some(to)) => (!same(from, to)).then_some(Edit::Changed { from, to }),
        (None, Some(new)) => Some(Edit::Added(new)),
        (Some(old), None) => Some(Edit::Removed(old)),
        (None, None) => None,
    };
    entries.into_values().filter_map(edit).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::application::{
        AcceptedIssuer, ClientAuthentication, PublicKey, SecretHash, TokenExchangePolicy,
    };
    use crate::client::GrantType;
    use crate::directory::{Departures, Directory};
    use crate::ids::{ApplicationId, IssuerName};
    use crate::scope::Scopes;

    /// A directory in which names are few, so that two of them share most.
    fn directory() -> impl Strategy<Value = DirectoryFile> {
        let name = |letters: &'static str| prop::sample::select(letters.split(' ').collect::<Vec<_>>());
        let text = || prop::option::of(prop::sample::select(vec!["one text", "another text"]));
        let people = vec((name("a b c d"), text(), any::<bool>()), 0..5).prop_map(|people| {
            let person = |(name, text, disabled): (_, Option<&str>, _)| Person {
                display_name: text.map(Into::into),
                disabled,
                ..Person::named(PersonId::parse(name).unwrap())
            };
            let people = people.into_iter().map(person).map(|person| (person.user_name.clone(), person));
            shuffled(people.collect())
        });
        let accounts = btree_set(name("111111111111 222222222222 333333333333"), 0..4);
        let sets = vec((name("Read Write Admin"), text()), 0..4);
        let lists = (people, btree_set(name("dev ops sec"), 0..4), accounts, sets);
        let applications = vec(application(), 0..4).prop_map(|applications| {
            let named =
                applications.into_iter().map(|application| (application.client_id.clone(), application));
            shuffled(named.collect())
        });
        let scopes = vec((name("a b c"), name("one another")), 0..4).prop_map(|scopes| {
            let scope =
                |(name, text): (&str, &str)| ScopeDescription { name: name.into(), description: text.into() };
            shuffled(scopes.into_iter().map(scope).map(|scope| (scope.name.clone(), scope)).collect())
        });
        (lists, vec(vec(any::<prop::sample::Index>(), 4), 0..8), applications, scopes).prop_map(
            |((people, groups, accounts, sets), picks, applications, scopes)| {
                let set = |(name, text): (_, Option<&str>)| PermissionSet {
                    description: text.map(Into::into),
                    ..PermissionSet::named(RoleName::parse(name).unwrap())
                };
                let sets = sets.into_iter().map(set).map(|set| (set.name.clone(), set));
                let account = |id| Account {
                    id: AccountId::parse(id).unwrap(),
                    name: "x".into(),
                    email: None,
                    broker: None,
                    role_arn: None,
                };
                let mut file = DirectoryFile {
                    people,
                    accounts: accounts.into_iter().map(account).collect(),
                    permission_sets: shuffled(sets.collect()),
                    scopes,
                    applications,
                    ..DirectoryFile::default()
                };
                // The first picks choose the members of groups, the others what is assigned.
                let names: Vec<PersonId> =
                    file.people.iter().map(|person| person.user_name.clone()).collect();
                file.groups = groups
                    .into_iter()
                    .zip(&picks)
                    .map(|(name, picks)| Group {
                        name: GroupName::parse(name).unwrap(),
                        members: some(&names, picks),
                    })
                    .collect();
                let groups: Vec<GroupName> = file.groups.iter().map(|group| group.name.clone()).collect();
                let accounts: Vec<AccountId> =
                    file.accounts.iter().map(|account| account.id.clone()).collect();
                let sets: Vec<RoleName> = file.permission_sets.iter().map(|set| set.name.clone()).collect();
                // Whom an application is for, now and then twice; everybody when that is nobody.
                for (application, picks) in file.applications.iter_mut().zip(&picks) {
                    application.people = some(&names, picks);
                    application.groups = some(&groups, &picks[1..]);
                    application.everybody = application.people.is_empty() && application.groups.is_empty();
                }
                for application in file.applications.iter_mut().skip(picks.len()) {
                    application.everybody = true;
                }
                let assignment = |picks: &Vec<prop::sample::Index>| Assignment {
                    people: some(&names, &picks[..1]),
                    groups: some(&groups, &picks[1..3]),
                    accounts: some(&accounts, &picks[..2]),
                    permission_sets: some(&sets, &picks[2..]),
                };
                file.assignments = picks.iter().map(assignment).collect();
                file
            },
        )
    }

    /// An application in which every list is in any order.
    fn application() -> impl Strategy<Value = Application> {
        let some_of = |all: &[&str]| {
            let all: Vec<String> = all.iter().map(|&text| text.to_owned()).collect();
            prop::sample::subsequence(all, 1..3).prop_shuffle()
        };
        let uris = some_of(&["https://a.example/", "https://b.example/", "https://c.example/"]);
        let grants = prop::sample::subsequence(
            vec![
                GrantType::AuthorizationCode,
                GrantType::RefreshToken,
                GrantType::TokenExchange,
                GrantType::JwtBearer,
            ],
            4..=4,
        );
        let keys = prop::sample::subsequence(vec!["k", "l", "m"], 1..3).prop_shuffle();
        let id = || prop::sample::select(vec!["web", "cli", "job"]);
        let lists = (uris.clone(), uris.clone(), uris, keys, grants.prop_shuffle(), any::<bool>());
        (id(), lists, some_of(&["x", "y", "z"])).prop_map(|(id, lists, asserted)| {
            let (redirect_uris, post_logout_redirect_uris, audiences, kids, grants, signs) = lists;
            let id = ApplicationId::parse(id).unwrap();
            let key = |kid: &str| PublicKey {
                kty: "OKP".into(),
                kid: Some(kid.into()),
                crv: Some("Ed25519".into()),
                x: Some("x".into()),
                ..PublicKey::default()
            };
            let hash = |kid: &&str| SecretHash::from_bytes([kid.as_bytes()[0]; 32]);
            let accepted = |issuer: &String| AcceptedIssuer {
                issuer: IssuerName::parse(issuer.as_str()).unwrap(),
                audiences: asserted.clone(),
            };
            Application {
                name: "Any".into(),
                arn: None,
                authentication: if signs {
                    ClientAuthentication::PrivateKeyJwt
                } else {
                    ClientAuthentication::ClientSecretPost
                },
                secret_hashes: kids.iter().filter(|_| !signs).map(hash).collect(),
                keys: kids.iter().filter(|_| signs).map(|kid| key(kid)).collect(),
                iam_principals: asserted.iter().map(|name| format!("arn:{name}")).collect(),
                trusted_issuers: asserted.iter().map(accepted).collect(),
                token_exchange: Some(TokenExchangePolicy {
                    subjects_of: vec![id.clone()],
                    audiences: audiences.clone(),
                    impersonation: signs,
                }),
                client_id: id,
                redirect_uris,
                post_logout_redirect_uris,
                backchannel_logout_uri: None,
                grants,
                scopes: Scopes::parse(["openid"]).unwrap(),
                audiences,
                resource: None,
                people: Vec::new(),
                groups: Vec::new(),
                everybody: false,
                consent: true,
                access_token_lifetime: None,
                session_lifetime: None,
                signing_algorithm: crate::signing_key::SigningAlgorithm::default(),
                dpop_bound_access_tokens: false,
                require_pushed_authorization_requests: false,
            }
        })
    }

    /// One entry of each name, not in the order of the names.
    fn shuffled<N, T>(entries: std::collections::HashMap<N, T>) -> Vec<T> {
        entries.into_values().collect()
    }

    /// Some of `all`, some of them twice; now and then none.
    fn some<T: Clone>(all: &[T], picks: &[prop::sample::Index]) -> Vec<T> {
        if all.is_empty() {
            return Vec::new();
        }
        let picked = picks.iter().filter(|pick| pick.index(5) > 0);
        picked.map(|pick| all[pick.index(all.len())].clone()).collect()
    }

    /// Carries out a plan by hand.
    fn carried_out(old: &DirectoryFile, plan: &Plan<'_>) -> DirectoryFile {
        fn list<T: Clone + PartialEq>(list: &mut Vec<T>, edits: &[Edit<'_, T>]) {
            for edit in edits {
                match *edit {
                    Edit::Added(entry) => list.push(entry.clone()),
                    Edit::Removed(entry) => list.retain(|other| other != entry),
                    Edit::Changed { from, to } => {
                        *list.iter_mut().find(|entry| *entry == from).unwrap() = to.clone();
                    }
                }
            }
        }
        let mut file = old.clone();
        list(&mut file.people, &plan.people);
        list(&mut file.groups, &plan.groups);
        list(&mut file.accounts, &plan.accounts);
        list(&mut file.permission_sets, &plan.permission_sets);
        list(&mut file.scopes, &plan.scopes);
        list(&mut file.applications, &plan.applications);
        let mut left: BTreeSet<Single<'_>> = singles(&old.assignments).into_iter().collect();
        for single in &plan.unassigned {
            assert!(left.remove(single));
        }
        for single in &plan.assigned {
            assert!(left.insert(*single));
        }
        file.assignments = gathered(&left.into_iter().collect::<Vec<_>>());
        file
    }

    proptest! {
        #[test]
        fn a_plan_that_is_carried_out_leaves_nothing_to_do(old in directory(), new in directory()) {
            let plan = Plan::new(&old, &new);
            let done = carried_out(&old, &plan);
            prop_assert_eq!(done.canonical(), new.canonical());
            prop_assert!(Plan::new(&done, &new).is_empty());
            prop_assert_eq!(plan.is_empty(), old.canonical() == new.canonical());
            let counts = plan.counts();
            prop_assert_eq!(plan.is_empty(), counts == Counts::default());
        }

        #[test]
        fn the_canonical_form_says_the_same_and_is_a_directory(file in directory()) {
            let canonical = file.canonical();
            prop_assert!(Plan::new(&file, &canonical).is_empty());
            prop_assert_eq!(&canonical.canonical(), &canonical);
            Directory::new(file, Departures::new(), 1).unwrap();
            Directory::new(canonical, Departures::new(), 1).unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_order_of_an_applications_lists_is_of_no_account(application in application()) {
            let mut backwards = application.clone();
            let Application { token_exchange, trusted_issuers, .. } = &mut backwards;
            for accepted in &mut *trusted_issuers {
                accepted.audiences.reverse();
            }
            trusted_issuers.reverse();
            token_exchange.as_mut().unwrap().audiences.reverse();
            let lists = [
                &mut backwards.redirect_uris,
                &mut backwards.post_logout_redirect_uris,
                &mut backwards.audiences,
                &mut backwards.iam_principals,
            ];
            for list in lists {
                list.reverse();
            }
            backwards.grants.reverse();
            backwards.secret_hashes.reverse();
            backwards.keys.reverse();
            let directory = |application: &Application| DirectoryFile {
                applications: vec![application.clone()],
                ..DirectoryFile::default()
            };
            prop_assert!(Plan::new(&directory(&application), &directory(&backwards)).is_empty());
            prop_assert_eq!(application.canonical(), backwards.canonical());
        }
    }

    #[test]
    fn assignments_are_gathered_into_few_lists() {
        let group = |name| GroupName::parse(name).unwrap();
        let account = |n: u8| AccountId::parse(format!("{n:012}")).unwrap();
        let role = |name| RoleName::parse(name).unwrap();
        let person = PersonId::parse("ann").unwrap();
        let assignment = |groups, accounts: &[u8], sets: &[&'static str]| Assignment {
            people: Vec::new(),
            groups,
            accounts: accounts.iter().map(|n| account(*n)).collect(),
            permission_sets: sets.iter().map(|name| role(*name)).collect(),
        };
        let written = [
            assignment(vec![group("ops")], &[1, 2], &["Read"]),
            assignment(vec![group("ops"), group("dev")], &[3], &["Read"]),
            assignment(vec![group("dev")], &[2, 1, 4], &["Read"]),
            assignment(vec![group("dev")], &[4], &["Admin"]),
            Assignment { people: vec![person.clone()], ..assignment(vec![], &[3, 2, 1], &["Read"]) },
        ];
        assert_eq!(
            gathered(&singles(&written)),
            [
                assignment(vec![group("dev")], &[4], &["Admin", "Read"]),
                Assignment {
                    people: vec![person],
                    ..assignment(vec![group("dev"), group("ops")], &[1, 2, 3], &["Read"])
                },
            ]
        );
    }
}
