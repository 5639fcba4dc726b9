//! From claims to people.

use doorward_core::ids::GroupName;
use serde_json::{Value, json};

use super::super::{Described, Kind, OidcError, Settings, Step};
use super::provider::{NOW, Provider, Said, USERINFO};

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

/// Whom the provider describes with the claims of `claim`, under the settings of `setting`.
async fn described(
    provider: &Provider,
    claim: impl FnOnce(&mut Value),
    setting: impl FnOnce(&mut Settings),
) -> Result<Described, OidcError> {
    let mut claims = provider.claims();
    claim(&mut claims);
    provider.gives(&claims);
    let signed_in = provider.sign_in(&provider.source(setting), NOW).await;
    signed_in.map(|somebody| somebody.described)
}

fn groups(described: &Described) -> Vec<&str> {
    described.groups.iter().map(GroupName::as_str).collect()
}

#[tokio::test]
async fn a_person_is_described_by_name_address_and_groups() {
    let provider = Provider::start().await;
    let ada = described(&provider, |_| {}, |_| {}).await.unwrap();
    assert_eq!(ada.user_name.as_str(), "ada");
    assert_eq!(ada.display_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(ada.email.as_deref(), Some("ada@example.org"));
    assert_eq!(groups(&ada), ["/eng/admins", "staff"]);
    // What is shown to others must not be able to play tricks, or be without end.
    for name in [json!("a\u{0}b"), json!("x".repeat(2000)), json!(7), json!("  ")] {
        assert_eq!(
            described(&provider, |claims| claims["name"] = name, |_| {}).await.unwrap().display_name,
            None
        );
    }
}

#[tokio::test]
async fn an_address_that_is_not_the_persons_is_left_out_and_is_nobodys_name() {
    let provider = Provider::start().await;
    let by_address = |settings: &mut Settings| settings.user_name_claim = "email".into();
    for (verified, shown, name) in [
        (Some(json!(true)), true, true),
        (Some(json!("true")), true, true),
        (Some(json!(false)), false, false),
        (Some(json!("false")), false, false),
        (Some(json!(1)), false, false),
        (None, true, false),
    ] {
        let with = |claims: &mut Value| {
            if let Some(verified) = verified.clone() {
                claims["email_verified"] = verified;
            }
        };
        // There is nothing more at userinfo.
        provider.says(USERINFO, Said::json(&json!({"sub": "s-1"})));
        assert_eq!(described(&provider, with, |_| {}).await.unwrap().email.is_some(), shown, "{verified:?}");
        match described(&provider, with, by_address).await {
            Ok(person) => assert!(name && person.user_name.as_str() == "ada@example.org", "{verified:?}"),
            Err(error) => {
                assert!(!name, "{verified:?}: {error}");
                assert_eq!((error.kind, error.step), (Kind::Denied, Step::Claims));
                assert!(error.reason.contains("email is not verified"), "{error}");
            }
        }
    }
    // Or userinfo says that it is.
    provider.says(USERINFO, Said::json(&json!({"sub": "s-1", "email_verified": true})));
    assert!(described(&provider, |_| {}, by_address).await.is_ok());
}

#[tokio::test]
async fn a_name_that_nobody_can_have_lets_nobody_in() {
    let provider = Provider::start().await;
    for (name, kind, told) in [
        (json!(""), Kind::Denied, "the user name must be"),
        (json!("ada lovelace"), Kind::Denied, "the user name must be"),
        (json!("ada\u{202e}"), Kind::Denied, "the user name must be"),
        (json!("ada\u{200b}"), Kind::Denied, "the user name must be"),
        (json!("ada\n"), Kind::Denied, "the user name must be"),
        (json!("x".repeat(129)), Kind::Denied, "the user name must be"),
        (json!(["ada"]), Kind::Unusable, "is not a text"),
        (Value::Null, Kind::Unusable, "is not a text"),
    ] {
        let error = described(&provider, |claims| claims["preferred_username"] = name.clone(), |_| {})
            .await
            .unwrap_err();
        assert_eq!((error.kind, error.step), (kind, Step::Claims), "{name}");
        assert!(error.reason.contains(told), "{error}");
    }
    provider.says(USERINFO, Said::json(&json!({"sub": "s-1"})));
    let without = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("preferred_username"));
    let error = described(&provider, without, |_| {}).await.unwrap_err();
    assert!(error.reason.contains("preferred_username is not among the claims"), "{error}");
    // Case is kept, as it is everywhere.
    let ada =
        described(&provider, |claims| claims["preferred_username"] = json!("Ada"), |_| {}).await.unwrap();
    assert_eq!(ada.user_name.as_str(), "Ada");
}

#[tokio::test]
async fn groups_come_as_a_list_or_as_one_text_and_nothing_is_guessed() {
    let provider = Provider::start().await;
    provider.says(USERINFO, Said::json(&json!({"sub": "s-1"})));
    for (given, expected) in [
        (json!(["b", "a", "b"]), vec!["a", "b"]),
        (json!("only one"), vec!["only one"]),
        (json!([]), vec![]),
        (Value::Null, vec![]),
        // No group here can have such a name.
        (json!(["a", "", "\u{202e}", "two  spaces"]), vec!["a"]),
    ] {
        let person = described(&provider, |claims| claims["groups"] = given.clone(), |_| {}).await.unwrap();
        assert_eq!(groups(&person), expected, "{given}");
    }
    for (given, told) in [
        (json!([{"name": "a"}]), "holds something that is not a text"),
        (json!({"a": true}), "is neither a text nor a list of texts"),
        (
            json!((0..3000).map(|n| format!("g{n}")).collect::<Vec<_>>()),
            "holds 3000 groups, and 2000 are taken",
        ),
    ] {
        let error = described(&provider, |claims| claims["groups"] = given, |_| {}).await.unwrap_err();
        assert_eq!((error.kind, error.step), (Kind::Unusable, Step::Claims));
        assert!(error.reason.contains(told), "{error}");
    }
}

#[tokio::test]
async fn too_many_groups_for_a_token_are_no_groups_of_none() {
    let provider = Provider::start().await;
    let overage = |claims: &mut Value| {
        claims.as_object_mut().unwrap().remove("groups");
        claims["_claim_names"] = json!({"groups": "src1"});
        claims["_claim_sources"] = json!({"src1": {"endpoint": "https://graph.example/getMemberObjects"}});
    };
    let error = described(&provider, overage, |_| {}).await.unwrap_err();
    assert_eq!((error.kind, error.step), (Kind::Unusable, Step::Claims));
    assert!(error.reason.contains("in more groups than the source puts into a token"), "{error}");
    assert!(provider.asked(USERINFO).is_empty());
}

#[tokio::test]
async fn groups_get_our_names_and_nobody_makes_one_of_ours_at_the_source() {
    let provider = Provider::start().await;
    let mapped = |settings: &mut Settings| {
        settings.group_names =
            [("/eng/admins".to_owned(), group("admins")), ("x".to_owned(), group("ops"))].into();
    };
    let all = |claims: &mut Value| claims["groups"] = json!(["/eng/admins", "staff"]);
    assert_eq!(groups(&described(&provider, all, mapped).await.unwrap()), ["admins", "staff"]);
    let only = |settings: &mut Settings| {
        mapped(settings);
        settings.only_mapped_groups = true;
    };
    assert_eq!(groups(&described(&provider, all, only).await.unwrap()), ["admins"]);
    let made = |claims: &mut Value| claims["groups"] = json!(["admins", "ops", "staff"]);
    assert_eq!(groups(&described(&provider, made, mapped).await.unwrap()), ["staff"]);
    let same =
        |settings: &mut Settings| settings.group_names = [("admins".to_owned(), group("admins"))].into();
    assert_eq!(groups(&described(&provider, made, same).await.unwrap()), ["admins", "ops", "staff"]);
}

#[tokio::test]
async fn whoever_lacks_a_required_claim_does_not_come_in() {
    let provider = Provider::start().await;
    provider.says(USERINFO, Said::json(&json!({"sub": "s-1"})));
    for (given, taken) in [
        (json!("example.org"), true),
        (json!(["a", "example.org"]), true),
        (json!("example.org.evil.example"), false),
        (json!("Example.org"), false),
        (json!([]), false),
        (json!([["example.org"]]), false),
        (json!({"example.org": true}), false),
        (Value::Null, false),
    ] {
        let required = |settings: &mut Settings| {
            settings.required_claims = [("hd".to_owned(), "example.org".to_owned())].into();
        };
        let outcome = described(&provider, |claims| claims["hd"] = given.clone(), required).await;
        assert_eq!(outcome.is_ok(), taken, "{given}");
        if let Err(error) = outcome {
            assert_eq!((error.kind, error.step), (Kind::Denied, Step::Claims));
            assert!(error.reason.starts_with("required_claims: hd is "), "{error}");
        }
        let absent = described(&provider, |_| {}, required).await.unwrap_err();
        assert!(absent.reason.contains("hd is absent"), "{absent}");
    }
    let number = |settings: &mut Settings| {
        settings.required_claims =
            [("level".to_owned(), "2".to_owned()), ("mfa".to_owned(), "true".to_owned())].into();
    };
    let has = |claims: &mut Value| {
        claims["level"] = json!(2);
        claims["mfa"] = json!(true);
    };
    assert!(described(&provider, has, number).await.is_ok());
}

#[tokio::test]
async fn userinfo_adds_what_is_missing_and_changes_nothing() {
    let provider = Provider::start().await;
    let without = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("groups"));
    provider.says(
        USERINFO,
        Said::json(&json!({"sub": "s-1", "groups": ["guests"], "preferred_username": "root", "iss": "x"})),
    );
    let ada = described(&provider, without, |_| {}).await.unwrap();
    assert_eq!((ada.user_name.as_str(), groups(&ada)), ("ada", vec!["guests"]));
    // Nobody is asked when nothing is missing.
    assert_eq!(provider.asked(USERINFO).len(), 1);
    described(&provider, |_| {}, |_| {}).await.unwrap();
    assert_eq!(provider.asked(USERINFO).len(), 1);
    for (said, kind, told) in [
        (
            Said::json(&json!({"sub": "s-2", "groups": ["admins"]})),
            Kind::Invalid,
            "sub is not that of the ID token",
        ),
        (Said::json(&json!({"groups": ["admins"]})), Kind::Invalid, "sub is not that of the ID token"),
        (
            Said::json(&json!("x")).media_type("application/jwt"),
            Kind::Unusable,
            "have the source send plain JSON",
        ),
        (Said::json(&json!({})).status(401), Kind::Unusable, "401 Unauthorized"),
    ] {
        provider.says(USERINFO, said);
        let error = described(&provider, without, |_| {}).await.unwrap_err();
        assert_eq!((error.kind, error.step), (kind, Step::UserInfo));
        assert!(error.reason.contains(told), "{error}");
    }
}
