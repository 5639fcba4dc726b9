//! The name of a person's session with a backend (sts model `RoleSessionName`): what its audit log shows.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use doorward_core::ids::PersonId;

/// The longest that a name may be.
const LONGEST: usize = 64;
/// How many characters of the hash are shown: 60 bits.
const HASH: usize = 12;

/// The name of `person`'s session: the user name itself where that is possible.
///
/// Names have 2 to 64 characters of `[\w+=,.@-]`. From a user name that is none, a readable one is made, and a hash of the
/// user name is appended. A user name that itself looks like a made one gets a hash too, so no two people share one.
#[must_use]
pub(super) fn session_name(person: &PersonId) -> String {
    let name = person.as_str();
    let fits = (2..=LONGEST).contains(&name.len()) && name.chars().all(is_allowed);
    if fits && !looks_made(name) {
        return name.to_owned();
    }
    let mut readable: String =
        name.chars().take(LONGEST - HASH - 1).map(|c| if is_allowed(c) { c } else { '_' }).collect();
    let hash = BASE32_NOPAD.encode(digest(&SHA256, name.as_bytes()).as_ref()).to_ascii_lowercase();
    readable.push('-');
    readable.push_str(&hash[..HASH]);
    readable
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_+=,.@-".contains(character)
}

fn looks_made(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, hash)| {
        hash.len() == HASH && hash.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn named(name: &str) -> String {
        session_name(&PersonId::parse(name).unwrap())
    }

    fn is_valid(name: &str) -> bool {
        (2..=64).contains(&name.len()) && name.chars().all(is_allowed)
    }

    #[test]
    fn a_user_name_that_fits_is_the_name() {
        for name in ["ada", "ada@example.org", "x,y+z=1", "io", &"a".repeat(64)] {
            assert_eq!(named(name), name);
        }
    }

    #[test]
    fn any_other_stays_readable_and_gets_a_hash() {
        assert_eq!(named("o'brien"), "o_brien-mw4hc5f6hmnr");
        assert_eq!(named("jürgen"), "j_rgen-dg3sbkir7twv");
        assert_eq!(named("a"), "a-zklycewkdo64");
        assert_eq!(named("大山"), "__-hj3umcrlevf2");
        assert_eq!(named(&"b".repeat(128)), format!("{}-ocxbyuyh6usq", "b".repeat(51)));
    }

    #[test]
    fn nobody_can_take_a_name_that_was_made_for_another() {
        let made = named("o'brien");
        assert_ne!(named(&made), made);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_name_is_valid_and_nobody_shares_one(
            names in prop::collection::hash_set("[a-c'ü/@-]{1,4}|[!-~]{1,70}|[\u{c0}-\u{24f}]{1,128}|[a-z]{0,2}-[a-d2-4]{12}", 1..200)
        ) {
            let mut owners: HashMap<String, PersonId> = HashMap::new();
            let people: Vec<PersonId> = names.into_iter().filter_map(|name| PersonId::parse(name).ok()).collect();
            // Whoever tries to be called like another's session is among them.
            let imitators: Vec<PersonId> =
                people.iter().map(|person| PersonId::parse(session_name(person)).unwrap()).collect();
            for person in people.into_iter().chain(imitators) {
                let name = session_name(&person);
                prop_assert!(is_valid(&name), "{person}: {name}");
                prop_assert_eq!(&name, &session_name(&person));
                if let Some(owner) = owners.insert(name.clone(), person.clone()) {
                    prop_assert_eq!(owner, person, "{}", name);
                }
            }
        }
    }
}
