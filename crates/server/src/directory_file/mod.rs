//! The directory as operators write it, in TOML or YAML: read with every mistake at its line, and written.
//!
//! Each entry is read by itself, so that a mistake in one hides none in another. What the names mean is looked at once
//! all entries can be read.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use doorward_core::directory::{DirectoryFile, DirectoryProblem, Place};
use serde::de::DeserializeOwned;

use crate::config::ConfigError;

mod keys;
mod node;
mod toml;
mod yaml;

use keys::unusable_keys;
use node::{Member, Mistake, Node, Value};

/// The largest file, in bytes: ten times the largest directory that this is tested with.
const LARGEST: u64 = 64 << 20;
/// After so many mistakes the others are counted.
const MOST_MISTAKES: usize = 100;

/// How a directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// TOML 1.1.
    Toml,
    /// YAML 1.2.
    Yaml,
}

impl Format {
    /// The format that the name of `file` ends with.
    ///
    /// # Errors
    /// When it is another.
    pub fn of(file: &Path) -> Result<Self, ConfigError> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            _ => Err(ConfigError::new(format!(
                "{}: the name of a directory file ends with .toml, .yaml or .yml",
                file.display()
            ))),
        }
    }

    fn read(self, text: &str) -> Result<Node, Vec<Mistake>> {
        match self {
            Self::Toml => toml::read(text),
            Self::Yaml => yaml::read(text),
        }
    }

    /// Writes `directory` in this format.
    ///
    /// # Errors
    /// Never: all that a directory may hold can be written in both.
    pub fn write(self, directory: &DirectoryFile) -> anyhow::Result<String> {
        Ok(match self {
            Self::Toml => toml::write(directory)?,
            Self::Yaml => yaml::write(serde_json::to_value(directory)?)?,
        })
    }

    /// The line and column, both from 1, of a position in `text`.
    fn line_and_column(self, text: &str, at: usize) -> (usize, usize) {
        let before = match self {
            Self::Toml => text.get(..at).unwrap_or(text),
            Self::Yaml => text.char_indices().nth(at).map_or(text, |(byte, _)| &text[..byte]),
        };
        let line = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
    }
}

/// A directory file that was read, and where in it things are.
pub struct Written {
    directory: DirectoryFile,
    source: Source,
    root: Node,
}

/// A text and what it is called.
struct Source {
    name: String,
    format: Format,
    text: String,
}

impl Written {
    /// Reads a file and checks all of it: form, names, references, that every password hash and every public key can be
    /// used, and that every session policy is JSON.
    ///
    /// # Errors
    /// Everything that is wrong, a line each, with file, line and column.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let (source, root) = Source::read(file)?;
        Self::checked(source, root)
    }

    /// Reads a file in which people may have a `password` in the clear, as in `doorward dev`, and answers these beside it:
    /// who, and which.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_passwords(file: &Path) -> Result<(Self, Vec<(String, String)>), ConfigError> {
        let (source, mut root) = Source::read(file)?;
        let passwords = take_passwords(&mut root).map_err(|mistake| source.explained(vec![mistake]))?;
        Ok((Self::checked(source, root)?, passwords))
    }

    fn checked(source: Source, root: Node) -> Result<Self, ConfigError> {
        let directory = directory(&root).map_err(|mistakes| source.explained(mistakes))?;
        let written = Self { directory, source, root };
        let mut problems = written.directory.problems();
        problems.extend(unusable_hashes(&written.directory));
        problems.extend(unreadable_policies(&written.directory));
        problems.extend(unusable_keys(&written.directory));
        if problems.is_empty() { Ok(written) } else { Err(written.explained(problems)) }
    }

    /// The directory.
    #[must_use]
    pub const fn directory(&self) -> &DirectoryFile {
        &self.directory
    }

    /// The directory, without the places.
    #[must_use]
    pub fn into_directory(self) -> DirectoryFile {
        self.directory
    }

    /// Problems of this directory with their lines.
    #[must_use]
    pub fn explained(&self, problems: Vec<DirectoryProblem>) -> ConfigError {
        let mistake = |problem: DirectoryProblem| Mistake::new(find(&self.root, problem.at).at, problem.what);
        self.source.explained(problems.into_iter().map(mistake).collect())
    }
}

impl Source {
    /// Reads a file and its form.
    fn read(file: &Path) -> Result<(Self, Node), ConfigError> {
        let format = Format::of(file)?;
        let name = file.display().to_string();
        let text = text(file).map_err(|why| ConfigError::new(format!("{name}: {why}")))?;
        Self { name, format, text }.parsed()
    }

    fn parsed(self) -> Result<(Self, Node), ConfigError> {
        match self.format.read(&self.text) {
            Ok(root) => Ok((self, root)),
            Err(mistakes) => Err(self.explained(mistakes)),
        }
    }

    /// Mistakes as lines for operators, in the order of the text.
    fn explained(&self, mut mistakes: Vec<Mistake>) -> ConfigError {
        let Self { name, format, text } = self;
        mistakes.sort_by_key(|mistake| mistake.at);
        let mut lines: Vec<String> = mistakes
            .iter()
            .take(MOST_MISTAKES)
            .map(|mistake| {
                let (line, column) = format.line_and_column(text, mistake.at.unwrap_or(0));
                format!("{name}: line {line}, column {column}: {}", mistake.what)
            })
            .collect();
        if mistakes.len() > MOST_MISTAKES {
            lines.push(format!("{name}: and {} more mistakes", mistakes.len() - MOST_MISTAKES));
        }
        ConfigError::new(lines.join("\n"))
    }
}

/// The text of a file that is not too large, whatever it was when it was opened.
fn text(file: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    let bytes = read.map_err(|error| error.to_string())?;
    if bytes as u64 > LARGEST {
        return Err(format!("a directory file of more than {} MiB is not read", LARGEST >> 20));
    }
    Ok(text)
}

/// The directory that a document is.
fn directory(root: &Node) -> Result<DirectoryFile, Vec<Mistake>> {
    const LISTS: [&str; 7] =
        ["people", "groups", "accounts", "permission_sets", "assignments", "scopes", "applications"];
    let Value::Table(members) = &root.value else {
        return Err(vec![Mistake::new(root.at, format!("a directory is a table of {}", LISTS.join(", ")))]);
    };
    let unknown = members.iter().filter(|member| !LISTS.contains(&member.name.as_str()));
    let mut mistakes: Vec<Mistake> = unknown
        .map(|member| Mistake { at: Some(member.at), ..Mistake::unknown(&member.name, &LISTS) })
        .collect();
    let [people, groups, accounts, permission_sets, assignments, scopes, applications] =
        LISTS.map(|name| members.iter().find(|member| member.name == name).map(|member| &member.node));
    let directory = DirectoryFile {
        people: entries(people, &mut mistakes),
        groups: entries(groups, &mut mistakes),
        accounts: entries(accounts, &mut mistakes),
        permission_sets: entries(permission_sets, &mut mistakes),
        assignments: entries(assignments, &mut mistakes),
        scopes: entries(scopes, &mut mistakes),
        applications: entries(applications, &mut mistakes),
    };
    if mistakes.is_empty() { Ok(directory) } else { Err(mistakes) }
}

/// The entries of a list that can be read.
fn entries<T: DeserializeOwned>(list: Option<&Node>, mistakes: &mut Vec<Mistake>) -> Vec<T> {
    let Some(list) = list else { return Vec::new() };
    let Value::List(entries) = &list.value else {
        mistakes.push(Mistake::new(list.at, "this must be a list"));
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| T::deserialize(entry).map_err(|mistake| mistakes.push(mistake)).ok())
        .collect()
}

/// Takes each person's `password` out of a document.
fn take_passwords(root: &mut Node) -> Result<Vec<(String, String)>, Mistake> {
    let mut passwords = Vec::new();
    let Value::Table(members) = &mut root.value else { return Ok(passwords) };
    let people = members.iter_mut().filter(|member| member.name == "people");
    let people = people.filter_map(|member| match &mut member.node.value {
        Value::List(people) => Some(people),
        _ => None,
    });
    for person in people.flatten() {
        let Value::Table(members) = &mut person.value else { continue };
        let Some(at) = members.iter().position(|member| member.name == "password") else { continue };
        let password = members.remove(at).node;
        let Value::Text(password) = password.value else {
            return Err(Mistake::new(password.at, "a password must be text, in quotes"));
        };
        let name = members.iter().find(|member| member.name == "user_name");
        if let Some(Member { node: Node { value: Value::Text(name), .. }, .. }) = name {
            passwords.push((name.clone(), password));
        }
    }
    Ok(passwords)
}

/// The value at a place, or the nearest around it: a member may be a default that is not written.
fn find(root: &Node, place: Place) -> &Node {
    let steps = [Step::Member(place.list), Step::Element(place.entry)];
    let more = place.member.map(Step::Member).into_iter().chain(place.element.map(Step::Element));
    let (inner, element) = place.inner.map_or((None, None), |(inner, element)| (Some(inner), element));
    let inside = inner.map(Step::Member).into_iter().chain(element.map(Step::Element));
    let mut node = root;
    for step in steps.into_iter().chain(more).chain(inside) {
        match step.from(node) {
            Some(next) => node = next,
            None => break,
        }
    }
    node
}

/// A step into a value.
enum Step {
    Member(&'static str),
    Element(usize),
}

impl Step {
    fn from(self, node: &Node) -> Option<&Node> {
        match (self, &node.value) {
            (Self::Member(name), Value::Table(members)) => {
                members.iter().find(|member| member.name == name).map(|member| &member.node)
            }
            (Self::Element(nth), Value::List(list)) => list.get(nth),
            _ => None,
        }
    }
}

/// Hashes that no password could be held against.
fn unusable_hashes(directory: &DirectoryFile) -> Vec<DirectoryProblem> {
    let unusable = |(entry, person): (usize, &doorward_core::directory::Person)| {
        let why = doorward_upstream::identity::local::check_hash(person.password_hash.as_ref()?).err()?;
        let (name, member) = (&person.user_name, "password_hash");
        Some(DirectoryProblem {
            at: Place::entry("people", entry).member(member),
            what: format!(
                "person {name}: {member} cannot be used: {why}; `doorward hash-password` makes one"
            ),
        })
    };
    directory.people.iter().enumerate().filter_map(unusable).collect()
}

/// Session policies that begin as JSON objects, as the directory's own check wants, and are none.
fn unreadable_policies(directory: &DirectoryFile) -> Vec<DirectoryProblem> {
    let unreadable = |(entry, set): (usize, &doorward_core::directory::PermissionSet)| {
        let policy = set.session_policy.as_ref().filter(|policy| policy.trim_start().starts_with('{'))?;
        let why = serde_json::from_str::<serde::de::IgnoredAny>(policy).err()?;
        let (name, member) = (&set.name, "session_policy");
        Some(DirectoryProblem {
            at: Place::entry("permission_sets", entry).member(member),
            what: format!("permission set {name}: {member} is no JSON: {why}"),
        })
    };
    directory.permission_sets.iter().enumerate().filter_map(unreadable).collect()
}

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
