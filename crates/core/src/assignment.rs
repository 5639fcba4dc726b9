//! Who may use which role in which account, and the one gate that every grant passes.
//!
//! Assignments say nothing about whether their person may be given anything: that is [`person_usable`], and whoever
//! asks for assignments has asked that first.

use std::collections::BTreeSet;

use crate::directory::{Account, Directory, PermissionSet, Person};
use crate::ids::{AccountId, PersonId, RoleName};

/// The gate: whether `id` names a person who may be given anything now. Every grant passes it at approval and again
/// at redemption, and so does every use of a token.
#[must_use]
pub fn person_usable<'a>(directory: &'a Directory, id: &PersonId) -> Option<&'a Person> {
    directory.person(id).filter(|person| !person.disabled)
}

/// The accounts in which `person` has a role, by account number.
#[must_use]
pub fn accounts_of<'a>(directory: &'a Directory, person: &PersonId) -> Vec<&'a Account> {
    let ids: BTreeSet<&AccountId> = directory
        .assignments_of(person)
        .filter(|assignment| !assignment.permission_sets.is_empty())
        .flat_map(|assignment| &assignment.accounts)
        .collect();
    ids.into_iter().filter_map(|id| directory.account(id)).collect()
}

/// The roles `person` has in `account`, by name.
#[must_use]
pub fn roles_of<'a>(
    directory: &'a Directory,
    person: &PersonId,
    account: &AccountId,
) -> Vec<&'a PermissionSet> {
    let names: BTreeSet<&RoleName> = directory
        .assignments_of(person)
        .filter(|assignment| assignment.accounts.contains(account))
        .flat_map(|assignment| &assignment.permission_sets)
        .collect();
    names.into_iter().filter_map(|name| directory.permission_set(name)).collect()
}

/// The permission set behind `role`, if `person` may use it in `account`.
#[must_use]
pub fn assigned_role<'a>(
    directory: &'a Directory,
    person: &PersonId,
    account: &AccountId,
    role: &RoleName,
) -> Option<&'a PermissionSet> {
    directory
        .assignments_of(person)
        .any(|assignment| assignment.accounts.contains(account) && assignment.permission_sets.contains(role))
        .then(|| directory.permission_set(role))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Assignment, DirectoryFile, DirectoryProblems, Group};
    use crate::ids::GroupName;
    use crate::time::Lifetime;

    fn person(name: &str) -> PersonId {
        PersonId::parse(name).unwrap()
    }

    fn account(id: &str) -> AccountId {
        AccountId::parse(id).unwrap()
    }

    fn role(name: &str) -> RoleName {
        RoleName::parse(name).unwrap()
    }

    fn sample() -> DirectoryFile {
        let a_person = |name: &str, disabled| Person {
            user_name: person(name),
            display_name: None,
            email: None,
            password_hash: None,
            disabled,
        };
        let an_account = |id: &str| Account { id: account(id), name: "x".into(), email: None };
        let a_set = |name: &str| PermissionSet {
            name: role(name),
            description: None,
            session_duration: Lifetime::from_seconds(3600),
        };
        DirectoryFile {
            people: vec![a_person("ann", false), a_person("bob", true), a_person("cy", false)],
            groups: vec![Group {
                name: GroupName::parse("ops").unwrap(),
                members: vec![person("ann"), person("bob")],
            }],
            accounts: vec![an_account("222222222222"), an_account("111111111111")],
            permission_sets: vec![a_set("Read"), a_set("Admin")],
            assignments: vec![
                Assignment {
                    people: vec![],
                    groups: vec![GroupName::parse("ops").unwrap()],
                    accounts: vec![account("222222222222"), account("111111111111")],
                    permission_sets: vec![role("Read")],
                },
                Assignment {
                    people: vec![person("ann")],
                    groups: vec![],
                    accounts: vec![account("111111111111")],
                    permission_sets: vec![role("Admin"), role("Read")],
                },
            ],
        }
    }

    #[test]
    fn assignments_reach_people_directly_and_through_groups() {
        let directory = Directory::new(sample(), 1).unwrap();
        let ids = |name: &str| -> Vec<&str> {
            accounts_of(&directory, &person(name)).iter().map(|account| account.id.as_str()).collect()
        };
        assert_eq!(ids("ann"), ["111111111111", "222222222222"]);
        assert_eq!(ids("cy"), [""; 0]);
        let roles: Vec<&str> = roles_of(&directory, &person("ann"), &account("111111111111"))
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        assert_eq!(roles, ["Admin", "Read"]);
        assert!(
            assigned_role(&directory, &person("ann"), &account("222222222222"), &role("Admin")).is_none()
        );
        assert!(
            assigned_role(&directory, &person("ann"), &account("111111111111"), &role("Admin")).is_some()
        );
        assert!(assigned_role(&directory, &person("cy"), &account("111111111111"), &role("Read")).is_none());
    }

    #[test]
    fn a_disabled_or_unknown_person_does_not_pass_the_gate() {
        let directory = Directory::new(sample(), 1).unwrap();
        assert!(person_usable(&directory, &person("ann")).is_some());
        assert!(person_usable(&directory, &person("bob")).is_none());
        assert!(person_usable(&directory, &person("nobody")).is_none());
    }

    #[test]
    fn every_mistake_in_a_directory_is_named_at_once() {
        let mut file = sample();
        file.people.push(file.people[0].clone());
        file.groups[0].members.push(person("zed"));
        file.assignments[1].accounts.push(account("999999999999"));
        file.permission_sets[0].session_duration = Lifetime::from_seconds(60);
        let DirectoryProblems(problems) = Directory::new(file, 1).unwrap_err();
        assert_eq!(
            problems,
            [
                "person ann occurs twice",
                "permission set Read: session_duration must be 900 to 43200 seconds",
                "group ops: there is no person zed",
                "assignment 2: there is no account 999999999999",
            ]
        );
    }
}
