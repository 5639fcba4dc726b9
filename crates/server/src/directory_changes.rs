//! A plan by the entry and by the member, as people and machines are shown it and as the audit trail keeps it.

use doorward_core::application::Application;
use doorward_core::directory::{Edit, Group, Plan};
use doorward_core::ids::PersonId;
use serde::Serialize;
use serde_json::{Map, Value};

/// What becomes of one person, group, account, permission set, scope or application.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct EntryChange<'a> {
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    /// Members that differ, or that a new entry has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<MemberChange>,
    /// Of a group: who is in it from now on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) joined: Vec<&'a PersonId>,
    /// Of a group: who is in it no longer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<&'a PersonId>,
}

/// What becomes of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Add,
    Change,
    Remove,
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "&'static str")]
pub(crate) enum Kind {
    Person,
    Group,
    Account,
    PermissionSet,
    Scope,
    Application,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Group => "group",
            Self::Account => "account",
            Self::PermissionSet => "permission_set",
            Self::Scope => "scope",
            Self::Application => "application",
        }
    }

    /// The member that is the name.
    const fn name_member(self) -> &'static str {
        match self {
            Self::Person => "user_name",
            Self::Group | Self::PermissionSet | Self::Scope => "name",
            Self::Account => "id",
            Self::Application => "client_id",
        }
    }
}

impl From<Kind> for &'static str {
    fn from(kind: Kind) -> Self {
        kind.as_str()
    }
}

/// What becomes of one member of an entry.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct MemberChange {
    pub(crate) member: String,
    /// Its value before, as a file has it, if it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Value>,
    /// Its value from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Value>,
    /// Of a secret, what becomes of it, and no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<&'static str>,
}

/// Members that are shown to nobody.
const SECRETS: [&str; 2] = ["password_hash", "secret_hashes"];

/// The changes of a plan, entry by entry, without the assignments.
///
/// # Errors
/// Never: every entry can be written as JSON.
pub(crate) fn entry_changes<'a>(plan: &Plan<'a>) -> serde_json::Result<Vec<EntryChange<'a>>> {
    let mut changes = Vec::new();
    for edit in &plan.people {
        changes.push(change(Kind::Person, edit, |person| person.user_name.as_str())?);
    }
    for edit in &plan.groups {
        changes.push(EntryChange {
            members: Vec::new(),
            joined: joined(edit),
            left: left(edit),
            ..change(Kind::Group, edit, |group| group.name.as_str())?
        });
    }
    for edit in &plan.accounts {
        changes.push(change(Kind::Account, edit, |account| account.id.as_str())?);
    }
    for edit in &plan.permission_sets {
        changes.push(change(Kind::PermissionSet, edit, |set| set.name.as_str())?);
    }
    for edit in &plan.scopes {
        changes.push(change(Kind::Scope, edit, |scope| scope.name.as_str())?);
    }
    for edit in &plan.applications {
        changes.push(application(edit)?);
    }
    Ok(changes)
}

fn change<'a, T: Serialize>(
    kind: Kind,
    edit: &Edit<'a, T>,
    name: impl Fn(&'a T) -> &'a str,
) -> serde_json::Result<EntryChange<'a>> {
    let (action, of, members) = match *edit {
        Edit::Added(new) => (Action::Add, new, member_changes(&Map::new(), &members(new)?)),
        Edit::Changed { from, to } => (Action::Change, to, member_changes(&members(from)?, &members(to)?)),
        Edit::Removed(old) => (Action::Remove, old, Vec::new()),
    };
    let members = members.into_iter().filter(|change| change.member != kind.name_member()).collect();
    Ok(EntryChange { action, kind, name: name(of), members, joined: Vec::new(), left: Vec::new() })
}

/// What becomes of an application; its lists are compared in order, so that another order is no difference.
fn application<'a>(edit: &Edit<'a, Application>) -> serde_json::Result<EntryChange<'a>> {
    let named = change(Kind::Application, edit, |application| application.client_id.as_str())?;
    let Edit::Changed { from, to } = edit else { return Ok(named) };
    let members = member_changes(&members(&from.canonical())?, &members(&to.canonical())?);
    Ok(EntryChange { members, ..named })
}

/// The members of an entry as a file has them.
fn members(entry: &impl Serialize) -> serde_json::Result<Map<String, Value>> {
    serde_json::from_value(serde_json::to_value(entry)?)
}

fn member_changes(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<MemberChange> {
    let gone = from.keys().filter(|name| !to.contains_key(*name));
    let differ = to.keys().chain(gone).filter(|name| from.get(*name) != to.get(*name));
    let change = |name: &String| {
        let (member, from, to) = (name.clone(), from.get(name), to.get(name));
        if !SECRETS.contains(&name.as_str()) {
            return MemberChange { member, from: from.cloned(), to: to.cloned(), secret: None };
        }
        let secret = match (from, to) {
            (None, _) => "set",
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
        };
        MemberChange { member, from: None, to: None, secret: Some(secret) }
    };
    differ.map(change).collect()
}

fn joined<'a>(edit: &Edit<'a, Group>) -> Vec<&'a PersonId> {
    match *edit {
        Edit::Added(group) => group.members.iter().collect(),
        Edit::Changed { from, to } => to.members_not_of(from),
        Edit::Removed(_) => Vec::new(),
    }
}

fn left<'a>(edit: &Edit<'a, Group>) -> Vec<&'a PersonId> {
    match *edit {
        Edit::Changed { from, to } => from.members_not_of(to),
        // They leave with it, which says enough.
        Edit::Added(_) | Edit::Removed(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::directory::DirectoryFile;

    use super::*;

    fn directory(lists: &str) -> DirectoryFile {
        let application = format!("[[applications]]\nclient_id = 'web'\nname = 'Web'\ngrants = []\n{lists}");
        toml::from_str(&application).unwrap()
    }

    #[test]
    fn of_a_secret_hash_nothing_is_shown_and_of_the_order_of_a_list_neither() {
        let hash = |digit: &str| format!("'sha256:{}'", digit.repeat(64));
        let lists = |redirects: &str, hash: &str| {
            directory(&format!("scopes = []\nredirect_uris = [{redirects}]\nsecret_hashes = [{hash}]\n"))
        };
        let old = lists("'b', 'a'", &hash("1"));
        let new = lists("'a', 'b'", &hash("2"));
        let plan = Plan::new(&old, &new);
        let hashes = MemberChange {
            member: "secret_hashes".to_owned(),
            from: None,
            to: None,
            secret: Some("changed"),
        };
        let changes = entry_changes(&plan).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].kind, changes[0].name), (Kind::Application, "web"));
        assert_eq!(changes[0].members, [hashes]);
        let none = DirectoryFile::default();
        for (plan, secret) in
            [(Plan::new(&none, &new), "set"), (Plan::new(&new, &directory("scopes = []")), "removed")]
        {
            let changes = entry_changes(&plan).unwrap();
            let shown = serde_json::to_string(&changes).unwrap();
            assert!(
                shown.contains(&format!("\"secret\":\"{secret}\"")) && !shown.contains("sha256"),
                "{shown}"
            );
        }
    }
}
