//! What identity sources said of people, what people have agreed to, and the signing keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use doorward_core::consent::{Consent, Consents};
use doorward_core::federated::FederatedPerson;
use doorward_core::ids::{ApplicationId, GroupName};
use doorward_core::scope::Scopes;
use doorward_core::signing_key::{SigningKey, SigningKeys};
use doorward_core::store::Store;
use doorward_core::time::Timestamp;
use doorward_core::verdict::Change;
use tokio::task::JoinSet;

use super::fixtures::{
    commit, conflicts, consents, federated_person, later, person, put_consents, put_person, replace_keys,
    signing_key, start, stored_consents, stored_federated, stored_keys,
};

pub(super) async fn rules(open: &impl AsyncFn() -> Arc<dyn Store>) {
    at_first_there_are_none(&open().await).await;
    a_person_comes_back_whole(&open().await).await;
    consents_come_back_whole(&open().await).await;
    consents_of_two_people_are_apart(&open().await).await;
    signing_keys_come_back_whole_and_in_their_order(&open().await).await;
    a_record_is_put_only_over_the_version_it_was_made_from(&open().await).await;
    later_changes_of_a_commit_see_the_records_of_the_earlier(&open().await).await;
    whoever_was_answered_reads_the_record_they_put(&open().await).await;
}

async fn at_first_there_are_none(store: &Arc<dyn Store>) {
    assert_eq!(stored_federated(store, "alice").await, (0, None));
    assert_eq!(stored_consents(store, "alice").await, (0, Consents::new()));
    assert_eq!(stored_keys(store).await, SigningKeys::default());
}

async fn a_person_comes_back_whole(store: &Arc<dyn Store>) {
    let whole = FederatedPerson {
        subject: "a\0b '☁\" \\u0000 \u{1F600}".into(),
        display_name: Some("\0\n\u{2028}".into()),
        email: Some(String::new()),
        groups: [GroupName::parse("/ops/on call").unwrap(), GroupName::parse("Ärzte").unwrap()].into(),
        since: Timestamp::from_millis(i64::MIN),
        confirmed_at: Timestamp::from_millis(-1),
        good_until: Timestamp::from_millis(i64::MAX),
        gone: true,
        refresh_token: Some("sealed".into()),
        asking_until: Some(later(9)),
        ..federated_person("alice\"'\\%_Ω")
    };
    let bare = FederatedPerson {
        display_name: None,
        email: None,
        groups: BTreeSet::new(),
        refresh_token: None,
        ..federated_person("alice")
    };
    for person in [whole, bare] {
        commit(store, [Change::PutFederatedPerson { from: 0, person: Box::new(person.clone()) }]).await;
        assert_eq!(store.federated_person(&person.id).await, Ok((1, Some(person))));
    }
    // User names are what they are, down to the case.
    assert_eq!(stored_federated(store, "Alice").await, (0, None));
}

async fn consents_come_back_whole(store: &Arc<dyn Store>) {
    let odd = Consent {
        scopes: Scopes::default(),
        audiences: vec!["urn:a\0b '☁\"".into(), String::new()],
        given_at: Timestamp::from_millis(i64::MIN),
    };
    let mut all = consents(&["shop", "arn:aws:sso::111122223333:application/a/apl-1"]);
    all.insert(ApplicationId::parse("~:/._-").unwrap(), odd);
    let put =
        |from, consents| Change::PutConsents { from, person: person("Ω\"'"), consents: Box::new(consents) };
    commit(store, [put(0, all.clone())]).await;
    assert_eq!(stored_consents(store, "Ω\"'").await, (1, all));
    // What was withdrawn is gone.
    commit(store, [put(1, consents(&["shop"]))]).await;
    assert_eq!(stored_consents(store, "Ω\"'").await, (2, consents(&["shop"])));
    commit(store, [put(2, Consents::new())]).await;
    assert_eq!(stored_consents(store, "Ω\"'").await, (3, Consents::new()));
}

async fn consents_of_two_people_are_apart(store: &Arc<dyn Store>) {
    commit(store, [put_consents(0, "alice", &["shop"])]).await;
    assert_eq!(stored_consents(store, "bob").await, (0, Consents::new()));
    conflicts(store, [put_consents(1, "bob", &["shop"])]).await;
    commit(store, [put_consents(0, "bob", &["chat", "wiki"])]).await;
    commit(store, [put_consents(1, "alice", &[])]).await;
    assert_eq!(stored_consents(store, "bob").await, (1, consents(&["chat", "wiki"])));
    assert_eq!(stored_consents(store, "alice").await, (2, Consents::new()));
    // User names are what they are, down to the case.
    assert_eq!(stored_consents(store, "Alice").await, (0, Consents::new()));
    // What a source says of a person is another record.
    commit(store, [put_person(0, "alice")]).await;
    assert_eq!(stored_consents(store, "alice").await.0, 2);
}

async fn signing_keys_come_back_whole_and_in_their_order(store: &Arc<dyn Store>) {
    let all_bytes = SigningKey { certificate: (0..=255).collect(), ..signing_key(9) };
    let keys = vec![signing_key(2), all_bytes, signing_key(1)];
    commit(store, [Change::ReplaceSigningKeys { from: 0, keys: keys.clone() }]).await;
    assert_eq!(stored_keys(store).await, SigningKeys { version: 1, keys });
    commit(store, [Change::ReplaceSigningKeys { from: 1, keys: Vec::new() }]).await;
    assert_eq!(stored_keys(store).await, SigningKeys { version: 2, keys: Vec::new() });
}

async fn a_record_is_put_only_over_the_version_it_was_made_from(store: &Arc<dyn Store>) {
    for from in [1, 7] {
        conflicts(store, [put_person(from, "alice")]).await;
        conflicts(store, [replace_keys(from, &[1])]).await;
        conflicts(store, [put_consents(from, "alice", &[])]).await;
    }
    commit(store, [put_person(0, "alice"), replace_keys(0, &[1]), put_consents(0, "alice", &["shop"])]).await;
    for from in [0, 2, 7] {
        conflicts(store, [put_person(from, "alice")]).await;
        conflicts(store, [replace_keys(from, &[2])]).await;
        conflicts(store, [put_consents(from, "alice", &[])]).await;
    }
    assert_eq!(stored_consents(store, "alice").await, (1, consents(&["shop"])));
    assert_eq!(stored_federated(store, "alice").await, (1, Some(federated_person("alice"))));
    let gone = FederatedPerson { gone: true, ..federated_person("alice") };
    commit(store, [Change::PutFederatedPerson { from: 1, person: Box::new(gone.clone()) }]).await;
    commit(store, [replace_keys(1, &[1, 2])]).await;
    assert_eq!(stored_federated(store, "alice").await, (2, Some(gone)));
    assert_eq!(
        stored_keys(store).await,
        SigningKeys { version: 2, keys: vec![signing_key(1), signing_key(2)] }
    );
    // Each person has a version of their own.
    assert_eq!(stored_federated(store, "bob").await, (0, None));
    commit(store, [put_person(0, "bob")]).await;
    conflicts(store, [put_person(1, "alice")]).await;
}

async fn later_changes_of_a_commit_see_the_records_of_the_earlier(store: &Arc<dyn Store>) {
    commit(store, [put_person(0, "alice"), put_person(1, "alice"), replace_keys(0, &[1]), start(1)]).await;
    commit(store, [replace_keys(1, &[]), put_person(2, "alice"), replace_keys(2, &[2])]).await;
    assert_eq!(stored_federated(store, "alice").await.0, 3);
    assert_eq!(stored_keys(store).await, SigningKeys { version: 3, keys: vec![signing_key(2)] });
    conflicts(store, [put_person(0, "bob"), put_person(0, "bob")]).await;
    assert_eq!(stored_federated(store, "bob").await, (0, None));
}

async fn whoever_was_answered_reads_the_record_they_put(store: &Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            let name = format!("person-{n}");
            for version in 0..10 {
                // Read before: what was there must not be remembered.
                assert_eq!(store.federated_person(&person(&name)).await.unwrap().0, version);
                commit(&store, [put_person(version, &name)]).await;
                assert_eq!(stored_federated(&store, &name).await.0, version + 1);
                assert_eq!(stored_consents(&store, &name).await.0, version);
                commit(&store, [put_consents(version, &name, &["shop"])]).await;
                assert_eq!(stored_consents(&store, &name).await.0, version + 1);
            }
        });
    }
    tasks.join_all().await;
}
