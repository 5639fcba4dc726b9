//! The requirements of one specification, as they are in its file.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// One file of requirements.
pub(super) struct Specification {
    /// The file, from the root of the repository.
    pub(super) file: String,
    /// The file's name, with which each id begins.
    pub(super) name: String,
    pub(super) title: String,
    /// Where it can be read, if it is public.
    pub(super) url: Option<String>,
    /// What the reader must know of all of them.
    pub(super) note: Option<String>,
    pub(super) requirements: Vec<Requirement>,
}

pub(super) struct Requirement {
    pub(super) id: String,
    /// What is required, in our words.
    pub(super) text: String,
    pub(super) status: Status,
}

/// Who answers for a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Tests do.
    Held,
    /// It is not ours, and why.
    NotApplicable(String),
    /// It is ours, and is done otherwise, and why.
    Divergence(String),
    /// Nobody yet, and why.
    Open(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    url: Option<String>,
    note: Option<String>,
    #[serde(rename = "requirement")]
    requirements: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    must: Option<String>,
    should: Option<String>,
    /// For what has neither word: a test of a suite, a lesson.
    says: Option<String>,
    not_applicable: Option<String>,
    divergence: Option<String>,
    open: Option<String>,
}

pub(super) fn read(file: &Path, text: &str) -> anyhow::Result<Specification> {
    let place = file.display().to_string();
    let name = file.file_stem().and_then(|name| name.to_str()).context("a file has a name")?.to_owned();
    let File { title, url, note, requirements } = toml::from_str(text).with_context(|| place.clone())?;
    let requirements = requirements
        .into_iter()
        .map(|entry| {
            let id = entry.id.clone();
            requirement(&name, entry).with_context(|| format!("{place}: {id}"))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(Specification { file: place, name, title, url, note, requirements })
}

fn requirement(name: &str, entry: Entry) -> anyhow::Result<Requirement> {
    let Entry { id, must, should, says, not_applicable, divergence, open } = entry;
    let rest = id.strip_prefix(name).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    ensure!(!rest.is_empty(), "its id does not begin with {name}-");
    ensure!(
        id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)),
        "an id has small letters, digits, hyphens and dots"
    );
    let texts: Vec<String> =
        [must.map(|text| format!("MUST: {text}")), should.map(|text| format!("SHOULD: {text}")), says]
            .into_iter()
            .flatten()
            .collect();
    let [text] = texts.try_into().ok().context("it has one of must, should and says")?;
    let reasons: Vec<Status> = [
        not_applicable.map(Status::NotApplicable),
        divergence.map(Status::Divergence),
        open.map(Status::Open),
    ]
    .into_iter()
    .flatten()
    .collect();
    ensure!(reasons.len() <= 1, "it has more than one of not_applicable, divergence and open");
    let status = reasons.into_iter().next().unwrap_or(Status::Held);
    Ok(Requirement { id, text, status })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_entry(entry: &str) -> anyhow::Result<Specification> {
        let text = format!("title = \"RFC 1\"\nurl = \"https://example.org/\"\n[[requirement]]\n{entry}");
        read(Path::new("docs/conformance/rfc1.toml"), &text)
    }

    #[test]
    fn a_requirement_has_one_text_and_at_most_one_reason() {
        for (entry, text, status) in [
            ("id = \"rfc1-2.1-a\"\nmust = \"b\"", "MUST: b", Status::Held),
            ("id = \"rfc1-a\"\nshould = \"b\"\nopen = \"c\"", "SHOULD: b", Status::Open("c".to_owned())),
            ("id = \"rfc1-a\"\nsays = \"b\"\ndivergence = \"c\"", "b", Status::Divergence("c".to_owned())),
        ] {
            let read = read_entry(entry).unwrap();
            assert_eq!((read.requirements[0].text.as_str(), &read.requirements[0].status), (text, &status));
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for wrong in [
            "id = \"rfc2-2.1-a\"\nmust = \"b\"",
            "id = \"rfc1-\"\nmust = \"b\"",
            "id = \"rfc1-A\"\nmust = \"b\"",
            "id = \"rfc1-a, b\"\nmust = \"b\"",
            "id = \"rfc1-a\"",
            "id = \"rfc1-a\"\nmust = \"b\"\nshould = \"c\"",
            "id = \"rfc1-a\"\nmust = \"b\"\nopen = \"c\"\ndivergence = \"d\"",
            "id = \"rfc1-a\"\nmust = \"b\"\nmay = \"c\"",
        ] {
            assert!(read_entry(wrong).is_err(), "{wrong}");
        }
    }
}
