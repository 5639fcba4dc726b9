//! The directory.

use std::sync::Arc;

use doorward_core::directory::{Account, Assignment, Departures, DirectoryFile, Group, PermissionSet};
use doorward_core::ids::{AccountId, GroupName, RoleName};
use doorward_core::store::{CommitError, Store};
use doorward_core::time::Lifetime;
use doorward_core::verdict::Change;

use super::fixtures::{
    NOW, commit, conflicts, directory_of, later, person, replace_directory, session_id, start,
    stored_directory,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    the_first_directory_is_empty(&open().await).await;
    a_directory_comes_back_whole(&open().await).await;
    a_directory_replaces_only_the_version_it_was_made_from(&open().await).await;
    a_directory_that_is_wrong_is_an_outage(&open().await).await;
}

async fn the_first_directory_is_empty(store: &Arc<dyn Store>) {
    let directory = stored_directory(store).await;
    assert_eq!((directory.version(), directory.file()), (0, &DirectoryFile::default()));
}

async fn a_directory_comes_back_whole(store: &Arc<dyn Store>) {
    let mut file = directory_of(&["alice", "bob"]);
    file.people[0].email = Some("alice@example.com".into());
    file.people[0].password_hash = Some("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into());
    file.people[1].disabled = true;
    file.people[1].display_name = None;
    let (group, role) = (GroupName::parse("ops").unwrap(), RoleName::parse("Admin").unwrap());
    let account = AccountId::parse("111122223333").unwrap();
    file.groups.push(Group { name: group.clone(), members: vec![person("bob")] });
    let name = "prod \"☃\"".into();
    file.accounts.push(Account { id: account.clone(), name, email: None, broker: None, role_arn: None });
    file.permission_sets.push(PermissionSet {
        description: Some("every \"role\" ☃".into()),
        session_duration: Lifetime::from_seconds(900),
        ..PermissionSet::named(role.clone())
    });
    file.assignments.push(Assignment {
        people: vec![person("alice")],
        groups: vec![group],
        accounts: vec![account],
        permission_sets: vec![role],
    });
    let departed: Departures = [(person("cy"), NOW), (person("Ω\"'"), later(1))].into();
    let change =
        Change::ReplaceDirectory { from: 0, file: Box::new(file.clone()), departed: departed.clone() };
    commit(store, [change]).await;
    let directory = stored_directory(store).await;
    assert_eq!((directory.version(), directory.file()), (1, &file));
    assert_eq!(directory.departed(), &departed);
    assert!(directory.person(&person("alice")).is_some());
}

async fn a_directory_replaces_only_the_version_it_was_made_from(store: &Arc<dyn Store>) {
    conflicts(store, [replace_directory(1, &["mallory"])]).await;
    commit(store, [replace_directory(0, &["alice"])]).await;
    let before = stored_directory(store).await;
    conflicts(store, [replace_directory(0, &["mallory"])]).await;
    conflicts(store, [replace_directory(2, &["mallory"])]).await;
    assert_eq!(stored_directory(store).await.file(), &directory_of(&["alice"]));
    commit(store, [replace_directory(1, &["bob"])]).await;
    let directory = stored_directory(store).await;
    assert_eq!((directory.version(), directory.file()), (2, &directory_of(&["bob"])));
    // Whoever still holds the one before sees what they saw.
    assert_eq!((before.version(), before.file()), (1, &directory_of(&["alice"])));
}

async fn a_directory_that_is_wrong_is_an_outage(store: &Arc<dyn Store>) {
    let outcome = store.commit(vec![start(1), replace_directory(0, &["alice", "alice"])]).await;
    let Err(CommitError::Outage(outage)) = outcome else { panic!("{outcome:?}") };
    assert!(outage.0.contains("person alice occurs twice"), "{outage}");
    assert_eq!(stored_directory(store).await.version(), 0);
    assert_eq!(store.session(session_id(1)).await, Ok(None));
    commit(store, [replace_directory(0, &["alice"])]).await;
}
