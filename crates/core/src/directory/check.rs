//! What is wrong with a directory file.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt;
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::file::{DirectoryFile, PermissionSet};
use crate::ids::{BrokerName, IssuerName, SourceName};
use crate::template::{self, BadTemplate};

mod applications;
mod keys;
mod uris;

/// What is wrong with a directory file: everything, each line naming its entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct DirectoryProblems(pub Vec<DirectoryProblem>);

/// One thing that is wrong with a directory file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryProblem {
    /// Where it is.
    pub at: Place,
    /// What it is; names its entry.
    pub what: String,
}

impl fmt::Display for DirectoryProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// A place in a directory file, such as `assignments[3].groups[0]` or `applications[0].keys[1].kid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the list.
    pub list: &'static str,
    /// The position of the entry in it.
    pub entry: usize,
    /// The name of the entry's member; none for the whole entry.
    pub member: Option<&'static str>,
    /// The position in that member, if it is a list.
    pub element: Option<usize>,
    /// Inside of that, a member, and the position in it if it is a list.
    pub inner: Option<(&'static str, Option<usize>)>,
}

impl Place {
    /// An entry of a list.
    #[must_use]
    pub const fn entry(list: &'static str, entry: usize) -> Self {
        Self { list, entry, member: None, element: None, inner: None }
    }

    /// A member of it.
    #[must_use]
    pub const fn member(self, member: &'static str) -> Self {
        Self { member: Some(member), ..self }
    }

    /// An element of that member; of the inner one, when there is one.
    #[must_use]
    pub const fn element(self, element: usize) -> Self {
        match self.inner {
            Some((member, _)) => Self { inner: Some((member, Some(element))), ..self },
            None => Self { element: Some(element), ..self },
        }
    }

    /// A member inside of what this is.
    #[must_use]
    pub const fn inner(self, member: &'static str) -> Self {
        Self { inner: Some((member, None)), ..self }
    }
}

/// How alike two names must be for one to be suggested for the other (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// After so many problems no more names are suggested: each suggestion looks at every name there is.
const MOST_SUGGESTIONS: usize = 100;

/// The most assignments, counted as one person or group, one account and one permission set each. A line of four lists
/// can make billions of them.
pub const MOST_ASSIGNMENTS: usize = 1_000_000;

/// The lists of a directory file, in the order in which their problems are told.
const LISTS: [&str; 7] =
    ["people", "groups", "accounts", "permission_sets", "assignments", "scopes", "applications"];

/// Everything that is wrong with `file`.
pub(super) fn problems(file: &DirectoryFile) -> Vec<DirectoryProblem> {
    let mut found = Found(contradictions(file));
    for (nth, person) in file.people.iter().enumerate() {
        let (at, name) = (Place::entry("people", nth), format!("person {}", person.user_name));
        found.text(at, &name, "display_name", person.display_name.as_deref(), 1..=1024);
        found.text(at, &name, "email", person.email.as_deref(), 3..=254);
        if person.password_hash.is_some() && person.identity_source.is_some() {
            let why = "signs in with a password_hash or through an identity_source, and not both";
            found.add(at.member("identity_source"), format!("{name}: {why}"));
        }
    }
    for (nth, account) in file.accounts.iter().enumerate() {
        let (at, name) = (Place::entry("accounts", nth), format!("account {}", account.id));
        found.text(at, &name, "name", Some(&account.name), 1..=50);
        found.text(at, &name, "email", account.email.as_deref(), 6..=64);
        found.role_arn(at, &name, account.role_arn.as_deref());
    }
    for (nth, set) in file.permission_sets.iter().enumerate() {
        found.permission_set(Place::entry("permission_sets", nth), set);
    }
    let mut combinations = 0_usize;
    for (nth, assignment) in file.assignments.iter().enumerate() {
        let fitted = combinations <= MOST_ASSIGNMENTS;
        combinations = combinations.saturating_add(assignment.combinations());
        if fitted && combinations > MOST_ASSIGNMENTS {
            let why = "with it there are more than a million combinations of one person or group, one account and one \
                       permission set: assign to groups";
            found.add(Place::entry("assignments", nth), format!("assignment {}: {why}", nth + 1));
        }
    }
    applications::problems(&mut found, file);
    // A list's problems together, whichever of the two found them.
    found.0.sort_by_key(|problem| LISTS.iter().position(|list| *list == problem.at.list));
    found.0
}

/// Where `file` does not fit together: names that occur twice, and names of nothing.
pub(super) fn contradictions(file: &DirectoryFile) -> Vec<DirectoryProblem> {
    let mut found = Found(Vec::new());
    let people = found.names("people", "person", file.people.iter().map(|person| &person.user_name));
    let groups = found.names("groups", "group", file.groups.iter().map(|group| &group.name));
    let accounts = found.names("accounts", "account", file.accounts.iter().map(|account| &account.id));
    let sets =
        found.names("permission_sets", "permission set", file.permission_sets.iter().map(|set| &set.name));
    for (nth, group) in file.groups.iter().enumerate() {
        let at = Place::entry("groups", nth).member("members");
        found.known(at, &format!("group {}", group.name), "person", &group.members, &people);
    }
    for (nth, assignment) in file.assignments.iter().enumerate() {
        let (at, name) = (Place::entry("assignments", nth), format!("assignment {}", nth + 1));
        found.known(at.member("people"), &name, "person", &assignment.people, &people);
        found.known(at.member("groups"), &name, "group", &assignment.groups, &groups);
        found.known(at.member("accounts"), &name, "account", &assignment.accounts, &accounts);
        found.known(
            at.member("permission_sets"),
            &name,
            "permission set",
            &assignment.permission_sets,
            &sets,
        );
    }
    applications::contradictions(&mut found, file, &people, &groups);
    found.0
}

/// The applications of `file` whose tokens a broker's service would take for its own.
pub(super) fn taken_audiences(
    file: &DirectoryFile,
    audiences: &HashMap<&str, &BrokerName>,
) -> Vec<DirectoryProblem> {
    let mut found = Found(Vec::new());
    applications::taken_audiences(&mut found, file, audiences);
    found.0
}

/// The brokers, identity sources and trusted issuers that `file` names and that are not among those of the configuration.
pub(super) fn unconfigured(
    file: &DirectoryFile,
    brokers: &HashSet<&BrokerName>,
    sources: &HashSet<&SourceName>,
    issuers: &HashSet<&IssuerName>,
) -> Vec<DirectoryProblem> {
    let mut found = Found(Vec::new());
    for (nth, person) in file.people.iter().enumerate() {
        if let Some(source) = &person.identity_source {
            let at = Place::entry("people", nth).member("identity_source");
            let entry = format!("person {}", person.user_name);
            found.one_known(at, &entry, "identity source", source, sources);
        }
    }
    let of_account = file.accounts.iter().enumerate().filter_map(|(nth, account)| {
        Some((Place::entry("accounts", nth), format!("account {}", account.id), account.broker.as_ref()?))
    });
    let of_set = file.permission_sets.iter().enumerate().filter_map(|(nth, set)| {
        Some((
            Place::entry("permission_sets", nth),
            format!("permission set {}", set.name),
            set.broker.as_ref()?,
        ))
    });
    for (at, entry, broker) in of_account.chain(of_set) {
        found.one_known(at.member("broker"), &entry, "broker", broker, brokers);
    }
    for (nth, application) in file.applications.iter().enumerate() {
        let at = Place::entry("applications", nth).member("trusted_issuers");
        let entry = format!("application {}", application.client_id);
        for (nth, accepted) in application.trusted_issuers.iter().enumerate() {
            let at = at.element(nth).inner("issuer");
            found.one_known(at, &entry, "trusted issuer", &accepted.issuer, issuers);
        }
    }
    found.0
}

struct Found(Vec<DirectoryProblem>);

impl Found {
    fn add(&mut self, at: Place, what: String) {
        self.0.push(DirectoryProblem { at, what });
    }

    /// The names of a list; one that occurs twice is a problem.
    fn names<'a, T: Eq + Hash + fmt::Display>(
        &mut self,
        list: &'static str,
        what: &str,
        names: impl Iterator<Item = &'a T>,
    ) -> HashSet<&'a T> {
        let mut first: HashMap<&T, usize> = HashMap::new();
        for (nth, name) in names.enumerate() {
            match first.entry(name) {
                Entry::Occupied(_) => {
                    self.add(Place::entry(list, nth), format!("{what} {name} occurs twice"));
                }
                Entry::Vacant(free) => {
                    free.insert(nth);
                }
            }
        }
        first.into_keys().collect()
    }

    /// Each of `names` must be one of `known`.
    fn known<T: Eq + Hash + fmt::Display>(
        &mut self,
        at: Place,
        entry: &str,
        what: &str,
        names: &[T],
        known: &HashSet<&T>,
    ) {
        for (nth, name) in names.iter().enumerate() {
            self.one_known(at.element(nth), entry, what, name, known);
        }
    }

    /// `name` must be one of `known`.
    fn one_known<T: Eq + Hash + fmt::Display>(
        &mut self,
        at: Place,
        entry: &str,
        what: &str,
        name: &T,
        known: &HashSet<&T>,
    ) {
        if known.contains(name) {
            return;
        }
        let suggested = self.0.len() < MOST_SUGGESTIONS;
        let alike = || nearest(&name.to_string(), known.iter().map(ToString::to_string));
        let alike = suggested.then(alike).flatten();
        let alike = alike.map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
        self.add(at, format!("{entry}: there is no {what} {name}{alike}"));
    }

    fn text(
        &mut self,
        at: Place,
        entry: &str,
        member: &'static str,
        text: Option<&str>,
        length: RangeInclusive<usize>,
    ) {
        let Some(text) = text else { return };
        if !length.contains(&text.chars().count()) {
            let (least, most) = (length.start(), length.end());
            self.add(at.member(member), format!("{entry}: {member} must be {least} to {most} characters"));
        } else if text.chars().any(char::is_control) {
            self.add(at.member(member), format!("{entry}: {member} must not have control characters"));
        }
    }

    fn template(&mut self, at: Place, entry: &str, member: &'static str, checked: Result<(), BadTemplate>) {
        if let Err(why) = checked {
            self.add(at.member(member), format!("{entry}: {member}: {why}"));
        }
    }

    fn role_arn(&mut self, at: Place, entry: &str, role_arn: Option<&str>) {
        self.text(at, entry, "role_arn", role_arn, 20..=2048);
        if let Some(role_arn) = role_arn {
            self.template(at, entry, "role_arn", template::check(role_arn, &template::ROLE_ARN));
            if !role_arn.starts_with("arn:") {
                self.add(at.member("role_arn"), format!("{entry}: role_arn must begin with arn:"));
            }
        }
    }

    /// Limits of the models `sso-admin` (name, description, duration, relay state) and `sts` (the others).
    fn permission_set(&mut self, at: Place, set: &PermissionSet) {
        let name = format!("permission set {}", set.name);
        self.text(at, &name, "name", Some(set.name.as_str()), 1..=32);
        self.text(at, &name, "description", set.description.as_deref(), 1..=700);
        if !(900..=43_200).contains(&set.session_duration.seconds()) {
            let at = at.member("session_duration");
            self.add(at, format!("{name}: session_duration must be 900 to 43200 seconds"));
        }
        self.text(at, &name, "relay_state", set.relay_state.as_deref(), 1..=240);
        // It becomes a link on a page: no other scheme may run there.
        if set.relay_state.as_deref().is_some_and(|url| !is_https(url)) {
            let why = "relay_state must begin with https:// and a host";
            self.add(at.member("relay_state"), format!("{name}: {why}"));
        }
        self.role_arn(at, &name, set.role_arn.as_deref());
        if let Some(policy) = &set.session_policy {
            // Policies are written over several lines.
            if !(1..=2048).contains(&policy.chars().count()) {
                let at = at.member("session_policy");
                self.add(at, format!("{name}: session_policy must be 1 to 2048 characters"));
            } else if !policy.trim_start().starts_with('{') {
                // The rest of it is for whoever has a parser.
                self.add(
                    at.member("session_policy"),
                    format!("{name}: session_policy must be a JSON object"),
                );
            }
        }
        if set.session_policy_arns.len() > 10 {
            let at = at.member("session_policy_arns");
            self.add(at, format!("{name}: session_policy_arns must be 10 at most"));
        }
        for arn in &set.session_policy_arns {
            self.text(at, &name, "session_policy_arns", Some(arn), 20..=2048);
        }
        if set.session_tags.len() > 50 {
            self.add(at.member("session_tags"), format!("{name}: session_tags must be 50 at most"));
        }
        for (key, value) in &set.session_tags {
            self.text(at, &name, "session_tags", Some(key), 1..=128);
            self.text(at, &name, "session_tags", Some(value), 0..=256);
            self.template(at, &name, "session_tags", template::check(value, &template::SESSION_TAG));
        }
        for policy in &set.minio_policies {
            self.text(at, &name, "minio_policies", Some(policy), 1..=128);
        }
    }
}

/// Whether `url` has the scheme `https` and something where the host is.
fn is_https(url: &str) -> bool {
    let nowhere = |first: char| first.is_whitespace() || "/?#:@\\".contains(first);
    url.strip_prefix("https://").is_some_and(|rest| rest.starts_with(|first| !nowhere(first)))
}

/// The one of `known` that is most like `name`, if any is like it.
#[must_use]
pub fn nearest(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let measured = known.map(|known| (strsim::jaro_winkler(name, &known), known));
    let (alike, known) = measured.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (alike > ALIKE).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{Account, Assignment, Group, PermissionSet, Person};
    use crate::ids::{AccountId, GroupName, PersonId, RoleName};

    fn groups(count: usize) -> Vec<GroupName> {
        (0..count).map(|n| GroupName::parse(format!("group{n}")).unwrap()).collect()
    }

    /// One assignment of one role to so many groups in so many accounts, and another to one group in one account.
    fn large(group_count: usize, account_count: usize) -> DirectoryFile {
        let role = RoleName::parse("Read").unwrap();
        let accounts = |count| -> Vec<AccountId> {
            (0..count).map(|n| AccountId::parse(format!("{n:012}")).unwrap()).collect()
        };
        let assignment = |groups, accounts| Assignment {
            people: Vec::new(),
            groups,
            accounts,
            permission_sets: vec![role.clone()],
        };
        let account = |id| Account { id, name: "x".into(), email: None, broker: None, role_arn: None };
        DirectoryFile {
            groups: groups(group_count).into_iter().map(|name| Group { name, members: Vec::new() }).collect(),
            accounts: accounts(account_count).into_iter().map(account).collect(),
            permission_sets: vec![PermissionSet::named(role.clone())],
            assignments: vec![
                assignment(groups(group_count), accounts(account_count)),
                assignment(groups(1), accounts(1)),
            ],
            ..DirectoryFile::default()
        }
    }

    #[test]
    fn assignments_that_no_store_could_hold_are_refused_where_they_become_too_many() {
        let mut file = large(1000, 1000);
        let found = problems(&file);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].at, Place::entry("assignments", 1));
        assert!(found[0].what.contains("more than a million combinations"), "{}", found[0]);
        file.assignments.pop();
        assert_eq!(file.assignments[0].combinations(), MOST_ASSIGNMENTS);
        assert!(problems(&file).is_empty());
    }

    #[test]
    fn names_are_suggested_for_the_first_mistakes_alone() {
        let mut file = large(2 * MOST_SUGGESTIONS, 1);
        for group in &mut file.groups {
            group.name = GroupName::parse(format!("{}x", group.name)).unwrap();
        }
        let problems = problems(&file);
        assert_eq!(problems.len(), 2 * MOST_SUGGESTIONS + 1);
        let suggested = problems.iter().filter(|problem| problem.what.contains("did you mean group")).count();
        assert_eq!(suggested, MOST_SUGGESTIONS);
        assert_eq!(problems[7].at, Place::entry("assignments", 0).member("groups").element(7));
    }

    #[test]
    fn what_could_only_fail_later_is_refused() {
        let set = |edit: &dyn Fn(&mut PermissionSet)| {
            let mut file = large(1, 1);
            edit(&mut file.permission_sets[0]);
            problems(&file).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for url in
            ["http://example.org", "https://", "https:///x", "https://?x", "https://:443", "https:// x"]
        {
            assert_eq!(
                set(&|set| set.relay_state = Some(url.into())),
                ["permission set Read: relay_state must begin with https:// and a host"],
                "{url}"
            );
        }
        for policy in ["not json", "[]", "\"{}\""] {
            assert_eq!(
                set(&|set| set.session_policy = Some(policy.into())),
                ["permission set Read: session_policy must be a JSON object"],
                "{policy}"
            );
        }
        assert_eq!(
            set(&|set| set.role_arn = Some("x".repeat(21))),
            ["permission set Read: role_arn must begin with arn:"]
        );
        let good = set(&|set| {
            set.relay_state = Some("https://[::1]:8443/x".into());
            set.session_policy = Some("\n{}".into());
            set.role_arn = Some("arn:minio:iam:::role/{role}".into());
        });
        assert!(good.is_empty(), "{good:?}");
    }

    #[test]
    fn what_the_configuration_does_not_have_is_named_with_the_nearest_that_it_has() {
        let broker = |name: &str| BrokerName::parse(name).unwrap();
        let source = |name: &str| SourceName::parse(name).unwrap();
        let mut file = large(1, 1);
        file.accounts[0].broker = Some(broker("aws"));
        file.permission_sets[0].broker = Some(broker("cepf"));
        for (name, from) in [("ann", Some("crop")), ("bob", Some("corp")), ("cy", None)] {
            let named = Person::named(PersonId::parse(name).unwrap());
            file.people.push(Person { identity_source: from.map(source), ..named });
        }
        let (ceph, aws, corp) = (broker("ceph"), broker("aws"), source("corp"));
        let problems = file.unconfigured(&[&ceph, &aws].into(), &[&corp].into(), &HashSet::new());
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "person ann: there is no identity source crop; did you mean corp?",
                "permission set Read: there is no broker cepf; did you mean ceph?",
            ]
        );
        assert_eq!(problems[0].at, Place::entry("people", 0).member("identity_source"));
        assert_eq!(problems[1].at, Place::entry("permission_sets", 0).member("broker"));
    }
}
