//! The directory: people, groups, accounts, permission sets and assignments.
//!
//! [`DirectoryFile`] is what operators write; [`Directory`] is the checked and indexed form, immutable, replaced as
//! a whole. A store keeps the file's content and a version.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, GroupName, PersonId, RoleName};
use crate::time::Lifetime;

/// The directory as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryFile {
    /// People who sign in.
    #[serde(default)]
    pub people: Vec<Person>,
    /// Groups of people.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Accounts.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// Permission sets: the roles that can be assigned.
    #[serde(default)]
    pub permission_sets: Vec<PermissionSet>,
    /// Who may use which permission set in which account.
    #[serde(default)]
    pub assignments: Vec<Assignment>,
}

/// A person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What the person types to sign in; also the stable subject of their tokens.
    pub user_name: PersonId,
    /// How the person is greeted; the user name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Argon2id hash in PHC form (`doorward hash-password` prints one). Without it the person cannot sign in with
    /// a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// A disabled person gets nothing: no sign-in, no token, no credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

impl Person {
    /// The name to greet the person with.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(self.user_name.as_str())
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("user_name", &self.user_name)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A group of people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// Its members' user names.
    #[serde(default)]
    pub members: Vec<PersonId>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The account number.
    pub id: AccountId,
    /// Its name, shown to people and by ListAccounts.
    pub name: String,
    /// Its e-mail address, shown by ListAccounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A permission set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionSet {
    /// The role name that people and tools use.
    pub name: RoleName,
    /// Shown on the portal page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How long its role credentials last, in seconds: 900 to 43 200.
    #[serde(default = "default_session_duration")]
    pub session_duration: Lifetime,
}

fn default_session_duration() -> Lifetime {
    Lifetime::from_seconds(3600)
}

/// Who may use which permission sets in which accounts: every combination of the lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// User names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonId>,
    /// Group names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Account numbers.
    pub accounts: Vec<AccountId>,
    /// Permission set names.
    pub permission_sets: Vec<RoleName>,
}

/// The directory, checked and indexed.
#[derive(Debug, Default)]
pub struct Directory {
    version: u64,
    file: DirectoryFile,
    people: BTreeMap<PersonId, usize>,
    accounts: BTreeMap<AccountId, usize>,
    permission_sets: BTreeMap<RoleName, usize>,
    /// For each person, the positions of the assignments that name them or one of their groups.
    assigned: BTreeMap<PersonId, BTreeSet<usize>>,
}

/// What is wrong with a directory file; each line names the entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct DirectoryProblems(pub Vec<String>);

impl Directory {
    /// Checks a file and indexes it as version `version`.
    ///
    /// # Errors
    /// All that is wrong with it, each line naming the entry.
    pub fn new(file: DirectoryFile, version: u64) -> Result<Self, DirectoryProblems> {
        let mut problems = Vec::new();
        let people = index(&file.people, |p| p.user_name.clone(), "person", &mut problems);
        let groups = index(&file.groups, |g| g.name.clone(), "group", &mut problems);
        let accounts = index(&file.accounts, |a| a.id.clone(), "account", &mut problems);
        let permission_sets =
            index(&file.permission_sets, |p| p.name.clone(), "permission set", &mut problems);
        for set in &file.permission_sets {
            if !(900..=43_200).contains(&set.session_duration.seconds()) {
                problems.push(format!(
                    "permission set {}: session_duration must be 900 to 43200 seconds",
                    set.name
                ));
            }
        }
        for account in &file.accounts {
            if account.name.is_empty() || account.name.chars().count() > 50 {
                problems.push(format!("account {}: name must be 1 to 50 characters", account.id));
            }
        }
        let mut groups_of: BTreeMap<&PersonId, Vec<&GroupName>> = BTreeMap::new();
        for group in &file.groups {
            for member in &group.members {
                if !people.contains_key(member) {
                    problems.push(format!("group {}: there is no person {member}", group.name));
                }
                groups_of.entry(member).or_default().push(&group.name);
            }
        }
        let mut of_person: BTreeMap<PersonId, BTreeSet<usize>> = BTreeMap::new();
        let mut of_group: BTreeMap<&GroupName, BTreeSet<usize>> = BTreeMap::new();
        for (at, assignment) in file.assignments.iter().enumerate() {
            let nth = at + 1;
            for person in &assignment.people {
                if !people.contains_key(person) {
                    problems.push(format!("assignment {nth}: there is no person {person}"));
                }
                of_person.entry(person.clone()).or_default().insert(at);
            }
            for group in &assignment.groups {
                if !groups.contains_key(group) {
                    problems.push(format!("assignment {nth}: there is no group {group}"));
                }
                of_group.entry(group).or_default().insert(at);
            }
            for account in assignment.accounts.iter().filter(|account| !accounts.contains_key(account)) {
                problems.push(format!("assignment {nth}: there is no account {account}"));
            }
            for set in assignment.permission_sets.iter().filter(|set| !permission_sets.contains_key(set)) {
                problems.push(format!("assignment {nth}: there is no permission set {set}"));
            }
        }
        for (person, groups) in groups_of {
            let through_groups = groups.iter().filter_map(|group| of_group.get(group)).flatten();
            of_person.entry(person.clone()).or_default().extend(through_groups);
        }
        if problems.is_empty() {
            Ok(Self { version, people, accounts, permission_sets, assigned: of_person, file })
        } else {
            Err(DirectoryProblems(problems))
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

    /// The person with this user name.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.people.get(id).map(|&at| &self.file.people[at])
    }

    /// The account with this number.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id).map(|&at| &self.file.accounts[at])
    }

    /// The permission set with this role name.
    #[must_use]
    pub fn permission_set(&self, name: &RoleName) -> Option<&PermissionSet> {
        self.permission_sets.get(name).map(|&at| &self.file.permission_sets[at])
    }

    /// The assignments that reach `person`, directly or through a group.
    pub(crate) fn assignments_of(&self, person: &PersonId) -> impl Iterator<Item = &Assignment> {
        self.assigned.get(person).into_iter().flatten().map(|&at| &self.file.assignments[at])
    }
}

/// Positions by key; a key that occurs twice is a problem.
fn index<T, K: Ord + fmt::Display>(
    entries: &[T],
    key: impl Fn(&T) -> K,
    what: &str,
    problems: &mut Vec<String>,
) -> BTreeMap<K, usize> {
    let mut positions = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let key = key(entry);
        match positions.entry(key) {
            Entry::Occupied(taken) => problems.push(format!("{what} {} occurs twice", taken.key())),
            Entry::Vacant(free) => {
                free.insert(at);
            }
        }
    }
    positions
}
