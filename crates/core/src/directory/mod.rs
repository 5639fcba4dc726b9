//! The directory: people, groups, accounts, permission sets and assignments.
//!
//! [`DirectoryFile`] is what operators write; [`Directory`] is the checked and indexed form, immutable, replaced as
//! a whole. A store keeps the file's content, a version, and who has left.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::application::Application;
use crate::ids::{AccountId, ApplicationId, ClientId, GroupName, PersonId, RoleName};
use crate::time::{Lifetime, Timestamp};
use crate::verdict::Change;

mod check;
mod file;
mod plan;

pub use check::{DirectoryProblem, DirectoryProblems, MOST_ASSIGNMENTS, Place, nearest};
pub use file::{Account, Assignment, DirectoryFile, Group, PermissionSet, Person};
pub use plan::{Assignee, Counts, Edit, Plan, Single, gathered};

/// Whose name was taken from somebody, and when: who was removed from the directory, and who was added to it for whom no
/// identity source stands, since one may have let in somebody of that name before. Whatever was signed in under the name
/// until then has ended, and stays so.
pub type Departures = BTreeMap<PersonId, Timestamp>;

/// The longest that a session can last: whoever left longer ago is forgotten.
const LONGEST_SESSION: Lifetime = Lifetime::from_seconds(7_776_000);

/// The directory, checked and indexed.
#[derive(Debug, Default)]
pub struct Directory {
    version: u64,
    file: DirectoryFile,
    departed: Departures,
    people: HashMap<PersonId, usize>,
    /// Accounts by number: the position here is their *rank*.
    accounts: Vec<usize>,
    permission_sets: HashMap<RoleName, usize>,
    groups_of: HashMap<PersonId, Vec<GroupName>>,
    of_person: HashMap<PersonId, Access>,
    of_group: HashMap<GroupName, Access>,
    /// By client id, and by ARN.
    applications: HashMap<ApplicationId, Arc<Application>>,
    clients: HashMap<ClientId, Arc<Application>>,
}

/// What assignments give to one person or group: the rank of an account and the position of an assignment, in order
/// and each pair once.
pub(crate) type Access = Vec<(u32, u32)>;

impl Directory {
    /// Checks a file and indexes it as version `version`.
    ///
    /// # Errors
    /// All that is wrong with it, each line naming the entry.
    pub fn new(file: DirectoryFile, departed: Departures, version: u64) -> Result<Self, DirectoryProblems> {
        let problems = file.problems();
        if !problems.is_empty() {
            return Err(DirectoryProblems(problems));
        }
        Ok(Self::index(file, departed, version))
    }

    /// Indexes a file that was checked when it was written, by this doorward or one before. What it says must fit
    /// together; limits that have come since are for whoever writes the next one.
    ///
    /// # Errors
    /// All that does not fit together, each line naming the entry.
    pub fn stored(
        file: DirectoryFile,
        departed: Departures,
        version: u64,
    ) -> Result<Self, DirectoryProblems> {
        let problems = check::contradictions(&file);
        if !problems.is_empty() {
            return Err(DirectoryProblems(problems));
        }
        Ok(Self::index(file, departed, version))
    }

    fn index(file: DirectoryFile, departed: Departures, version: u64) -> Self {
        let mut accounts: Vec<usize> = (0..file.accounts.len()).collect();
        accounts.sort_by(|one, other| file.accounts[*one].id.cmp(&file.accounts[*other].id));
        let ranks: HashMap<&AccountId, u32> =
            accounts.iter().zip(0..).map(|(&at, rank)| (&file.accounts[at].id, rank)).collect();
        let mut groups_of: HashMap<PersonId, Vec<GroupName>> = HashMap::new();
        for group in &file.groups {
            for member in &group.members {
                groups_of.entry(member.clone()).or_default().push(group.name.clone());
            }
        }
        let mut of_person: HashMap<PersonId, Access> = HashMap::new();
        let mut of_group: HashMap<GroupName, Access> = HashMap::new();
        for (assignment, nth) in file.assignments.iter().zip(0..) {
            if assignment.permission_sets.is_empty() {
                continue;
            }
            let gives = || {
                let ranked = assignment.accounts.iter().filter_map(|account| ranks.get(account));
                ranked.map(|rank| (*rank, nth))
            };
            for person in &assignment.people {
                of_person.entry(person.clone()).or_default().extend(gives());
            }
            for group in &assignment.groups {
                of_group.entry(group.clone()).or_default().extend(gives());
            }
        }
        for access in of_person.values_mut().chain(of_group.values_mut()) {
            access.sort_unstable();
            access.dedup();
        }
        let people =
            file.people.iter().enumerate().map(|(at, person)| (person.user_name.clone(), at)).collect();
        let permission_sets =
            file.permission_sets.iter().enumerate().map(|(at, set)| (set.name.clone(), at)).collect();
        let (mut applications, mut clients) = (HashMap::new(), HashMap::new());
        for application in &file.applications {
            let shared = Arc::new(application.clone());
            clients.insert(ClientId::of_application(&application.client_id), Arc::clone(&shared));
            if let Some(arn) = &application.arn {
                applications.insert(arn.clone(), Arc::clone(&shared));
            }
            applications.insert(application.client_id.clone(), shared);
        }
        Self {
            version,
            file,
            departed,
            people,
            accounts,
            permission_sets,
            groups_of,
            of_person,
            of_group,
            applications,
            clients,
        }
    }

    /// Which version of the directory this is; the store counts up with each replacement.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The content as written.
    #[must_use]
    pub const fn file(&self) -> &DirectoryFile {
        &self.file
    }

    /// Who has left.
    #[must_use]
    pub const fn departed(&self) -> &Departures {
        &self.departed
    }

    /// The change that puts `file` in the place of this directory at `now`.
    #[must_use]
    pub fn replaced_by(&self, file: DirectoryFile, now: Timestamp) -> Change {
        let forgotten = now.minus(LONGEST_SESSION);
        let mut departed = self.departed.clone();
        departed.retain(|_, left| *left > forgotten);
        let stays: std::collections::HashSet<&PersonId> =
            file.people.iter().map(|person| &person.user_name).collect();
        let leave = self.file.people.iter().map(|person| &person.user_name);
        let leave = leave.filter(|person| !stays.contains(person)).map(|person| (person, now));
        // They may sign in at this very moment.
        let before = Timestamp::from_millis(now.millis().saturating_sub(1));
        let local = file.people.iter().filter(|person| person.identity_source.is_none());
        let come = local.map(|person| &person.user_name).filter(|person| !self.people.contains_key(*person));
        for (person, at) in leave.chain(come.map(|person| (person, before))) {
            // Whoever replaced it before may have a clock that is ahead.
            departed.entry(person.clone()).and_modify(|known| *known = at.max(*known)).or_insert(at);
        }
        Change::ReplaceDirectory { from: self.version, file: Box::new(file), departed }
    }

    /// The person with this user name.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.people.get(id).map(|&at| &self.file.people[at])
    }

    /// A user name that differs from `id` in the case of letters alone.
    pub(crate) fn alike(&self, id: &PersonId) -> Option<&PersonId> {
        let folded = id.as_str().to_lowercase();
        let names = self.file.people.iter().map(|person| &person.user_name);
        names.into_iter().find(|name| *name != id && name.as_str().to_lowercase() == folded)
    }

    /// Whether `id` is the name of a person for whom this directory alone stands: no identity source has anything to say.
    #[must_use]
    pub fn is_local(&self, id: &PersonId) -> bool {
        self.person(id).is_some_and(|person| person.identity_source.is_none())
    }

    /// The account with this number.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.rank(id).map(|rank| self.ranked(rank))
    }

    /// The permission set with this role name.
    #[must_use]
    pub fn permission_set(&self, name: &RoleName) -> Option<&PermissionSet> {
        self.permission_sets.get(name).map(|&at| &self.file.permission_sets[at])
    }

    /// The person with this e-mail address, to the letter; nobody if several have it.
    #[must_use]
    pub fn person_with_email(&self, email: &str) -> Option<&Person> {
        let mut found = self.file.people.iter().filter(|person| person.email.as_deref() == Some(email));
        found.next().filter(|_| found.next().is_none())
    }

    /// The application with this client id, or this ARN.
    #[must_use]
    pub fn application(&self, id: &ApplicationId) -> Option<&Arc<Application>> {
        self.applications.get(id)
    }

    /// The application that sessions know by this id.
    #[must_use]
    pub fn application_of(&self, client: ClientId) -> Option<&Arc<Application>> {
        self.clients.get(&client)
    }

    /// What people are told that a scope lets an application do.
    #[must_use]
    pub fn scope_description(&self, scope: &str) -> Option<&str> {
        let described = self.file.scopes.iter().find(|described| described.name == scope);
        described.map(|described| described.description.as_str())
    }

    /// The groups that list this person.
    pub(crate) fn groups_of(&self, person: &PersonId) -> &[GroupName] {
        self.groups_of.get(person).map_or(&[], Vec::as_slice)
    }

    /// What is assigned to `person` directly, and to each of `groups`.
    pub(crate) fn access<'a>(
        &'a self,
        person: &PersonId,
        groups: impl Iterator<Item = &'a GroupName>,
    ) -> Vec<&'a Access> {
        let through_groups = groups.filter_map(|group| self.of_group.get(group));
        self.of_person.get(person).into_iter().chain(through_groups).collect()
    }

    /// The rank of the account with this number.
    pub(crate) fn rank(&self, id: &AccountId) -> Option<u32> {
        let rank = self.accounts.binary_search_by(|&at| self.file.accounts[at].id.cmp(id)).ok()?;
        u32::try_from(rank).ok()
    }

    /// The account of this rank, which must be one.
    pub(crate) fn ranked(&self, rank: u32) -> &Account {
        &self.file.accounts[self.accounts[rank as usize]]
    }

    /// The assignment at this position, which must be one.
    pub(crate) fn assignment(&self, nth: u32) -> &Assignment {
        &self.file.assignments[nth as usize]
    }
}
