//! A plan for people and for machines.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use doorward_core::directory::{
    Assignee, Assignment, Counts, Directory, DirectoryFile, Plan, Single, gathered,
};
use doorward_core::ids::{AccountId, GroupName, PersonId, RoleName};
use serde::Serialize;
use serde_json::Value;

use crate::directory_changes::{Action, EntryChange, Kind, MemberChange, entry_changes};

/// Values longer than this have a line of their own.
const SHORT: usize = 50;

const HEADING: Style = Style::new().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// A plan as JSON.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the directory that the plan was made for.
    version: u64,
    changes: Vec<Change<'a>>,
    signed_out: Vec<&'a PersonId>,
    summary: Summary,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Change<'a> {
    Entry(EntryChange<'a>),
    Assignment(AssignmentChange<'a>),
}

#[derive(Serialize)]
struct AssignmentChange<'a> {
    action: Action,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a GroupName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<&'a PersonId>,
    account: &'a AccountId,
    permission_set: &'a RoleName,
}

#[derive(Serialize)]
struct Summary {
    added: usize,
    changed: usize,
    removed: usize,
}

impl<'a> AssignmentChange<'a> {
    fn new(action: Action, single: &Single<'a>) -> Self {
        let Single { assignee, account, permission_set } = *single;
        let (group, person) = match assignee {
            Assignee::Group(group) => (Some(group), None),
            Assignee::Person(person) => (None, Some(person)),
        };
        Self { action, kind: "assignment", group, person, account, permission_set }
    }
}

/// The plan as one JSON value and a line break.
pub(super) fn json(current: &Directory, plan: &Plan<'_>) -> serde_json::Result<String> {
    let mut changes: Vec<Change<'_>> = entry_changes(plan)?.into_iter().map(Change::Entry).collect();
    for (action, singles) in [(Action::Add, &plan.assigned), (Action::Remove, &plan.unassigned)] {
        changes
            .extend(singles.iter().map(|single| Change::Assignment(AssignmentChange::new(action, single))));
    }
    let Counts { added, changed, removed } = plan.counts();
    let document = Document {
        version: current.version(),
        changes,
        signed_out: plan.departing().collect(),
        summary: Summary { added, changed, removed },
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

/// The plan for people, with colours.
pub(super) fn text(
    current: &Directory,
    file: &DirectoryFile,
    plan: &Plan<'_>,
    path: &Path,
) -> anyhow::Result<String> {
    if plan.is_empty() {
        let (version, path) = (current.version(), path.display());
        return Ok(format!("Nothing to do: version {version} of the directory is what {path} says.\n"));
    }
    let mut text = Text(String::new());
    let changes = entry_changes(plan)?;
    for (kind, heading) in HEADINGS {
        text.entries(kind, heading, &changes);
    }
    if !plan.assigned.is_empty() || !plan.unassigned.is_empty() {
        text.heading("Assignments");
        let accounts = current.file().accounts.iter().chain(&file.accounts);
        let names = accounts.map(|account| (&account.id, account.name.as_str())).collect();
        text.assignments(Action::Add, &plan.assigned, &names);
        text.assignments(Action::Remove, &plan.unassigned, &names);
    }
    for (kind, heading) in LAST_HEADINGS {
        text.entries(kind, heading, &changes);
    }
    text.summary(plan);
    Ok(text.0)
}

const HEADINGS: [(Kind, &str); 4] = [
    (Kind::Person, "People"),
    (Kind::Group, "Groups"),
    (Kind::Account, "Accounts"),
    (Kind::PermissionSet, "Permission sets"),
];
/// What comes after the assignments, as in a file.
const LAST_HEADINGS: [(Kind, &str); 2] = [(Kind::Scope, "Scopes"), (Kind::Application, "Applications")];

/// The text so far. Every text of the directory is quoted, which escapes what a terminal might obey; names cannot hold
/// such a thing.
struct Text(String);

impl Text {
    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn heading(&mut self, heading: &str) {
        self.line(format_args!("{HEADING}{heading}{HEADING:#}"));
    }

    fn entries(&mut self, kind: Kind, heading: &str, changes: &[EntryChange<'_>]) {
        let mut of_kind = changes.iter().filter(|change| change.kind == kind).peekable();
        if of_kind.peek().is_some() {
            self.heading(heading);
        }
        of_kind.for_each(|change| self.entry(change));
    }

    fn entry(&mut self, change: &EntryChange<'_>) {
        let EntryChange { action, name, members, joined, left, .. } = change;
        self.line(format_args!("  {} {name}", Sign(*action)));
        for member in members {
            self.member(member);
        }
        for (action, people) in [(Action::Add, joined), (Action::Remove, left)] {
            for person in people {
                self.line(format_args!("      member {} {person}", Sign(action)));
            }
        }
    }

    fn member(&mut self, change: &MemberChange) {
        let MemberChange { member, from, to, secret } = change;
        if let Some(secret) = secret {
            return self.line(format_args!("      {member} {secret}"));
        }
        let [from, to] = [from, to].map(|value| value.as_ref().map(quoted));
        match (from, to) {
            (None, Some(to)) => self.line(format_args!("      {member}: {to}")),
            (Some(from), None) => self.line(format_args!("      {member}: {from} -> not set")),
            (Some(from), Some(to)) if from.chars().count().max(to.chars().count()) <= SHORT => {
                self.line(format_args!("      {member}: {from} -> {to}"));
            }
            (from, to) => {
                self.line(format_args!("      {member}:"));
                for (action, value) in [(Action::Remove, from), (Action::Add, to)] {
                    if let Some(value) = value {
                        self.line(format_args!("        {} {value}", Sign(action)));
                    }
                }
            }
        }
    }

    fn assignments(&mut self, action: Action, singles: &[Single<'_>], names: &HashMap<&AccountId, &str>) {
        for Assignment { people, groups, accounts, permission_sets } in gathered(singles) {
            let who = [("group", list(&groups)), ("person", list(&people))];
            let who: Vec<String> = who
                .into_iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(what, names)| format!("{what} {names}"))
                .collect();
            self.line(format_args!("  {} {}: {}", Sign(action), who.join("; "), list(&permission_sets)));
            for account in &accounts {
                let name = names.get(account).map(|name| format!(" {name:?}")).unwrap_or_default();
                self.line(format_args!("      in {account}{name}"));
            }
        }
    }

    fn summary(&mut self, plan: &Plan<'_>) {
        let Counts { added, changed, removed } = plan.counts();
        self.line(format_args!(
            "{HEADING}{added} to add, {changed} to change, {removed} to remove.{HEADING:#}"
        ));
        let departing: Vec<&PersonId> = plan.departing().collect();
        if !departing.is_empty() {
            let (count, names) = (departing.len(), list(&departing));
            let people = if count == 1 { "person is" } else { "people are" };
            self.line(format_args!(
                "{WARNING}{count} {people} signed out at once, because they are removed:{WARNING:#} {names}"
            ));
        }
    }
}

fn list(names: &[impl fmt::Display]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A value as people read it, on one line.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(list) => format!("[{}]", list.iter().map(quoted).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name:?}: {}", quoted(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// The sign of an action, in its colour.
struct Sign(Action);

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, colour) = match self.0 {
            Action::Add => ('+', AnsiColor::Green),
            Action::Change => ('~', AnsiColor::Yellow),
            Action::Remove => ('-', AnsiColor::Red),
        };
        let style = colour.on_default();
        write!(f, "{style}{sign}{style:#}")
    }
}
