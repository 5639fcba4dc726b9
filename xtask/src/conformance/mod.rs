//! `docs/conformance.md`: what the specifications require, and the tests that hold it.
//!
//! The requirements are the files in `docs/conformance/`; the tests say themselves what they hold. The page is made of both, and
//! a check says when it is not what would be made, or when somebody has promised what no test holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

mod claims;
mod list;
mod page;

use claims::{Claim, Scan};
use list::{Specification, Status};

/// Where the page is, from the root of the repository.
const PAGE: &str = "docs/conformance.md";
/// Where the requirements are: one file for each specification, and its name begins their ids.
const LISTS: &str = "docs/conformance";
/// Where tests are looked for. Not in `xtask`: its own tests are about claims, and make none.
const TESTED: [&str; 3] = ["bench", "crates", "tests"];

/// The tests that hold each requirement, as `path::name`.
type Held = BTreeMap<String, BTreeSet<String>>;

/// What is wrong with the lists, the claims or the page.
pub(crate) fn check(texts: &[(PathBuf, String)]) -> anyhow::Result<Vec<String>> {
    let (page, mut problems) = make(texts)?;
    let written = texts.iter().find(|(file, _)| file == Path::new(PAGE)).map(|(_, text)| text.as_str());
    if written != Some(page.as_str()) {
        problems.push(format!("{PAGE}: not what would be written: run cargo run -p xtask -- conformance"));
    }
    Ok(problems)
}

/// Writes the page and returns what is wrong with the rest.
pub(crate) fn write(root: &Path, texts: &[(PathBuf, String)]) -> anyhow::Result<Vec<String>> {
    let (page, problems) = make(texts)?;
    std::fs::write(root.join(PAGE), page).context(PAGE)?;
    Ok(problems)
}

fn make(texts: &[(PathBuf, String)]) -> anyhow::Result<(String, Vec<String>)> {
    let mut problems = Vec::new();
    let mut specifications = Vec::new();
    let mut held = Held::new();
    for (file, text) in texts {
        if file.starts_with(LISTS) && file.extension().is_some_and(|extension| extension == "toml") {
            specifications.push(list::read(file, text)?);
        }
        if TESTED.iter().any(|folder| file.starts_with(folder)) {
            let Scan { claims, problems: wrong } = claims::scan(file, text);
            problems.extend(wrong);
            for Claim { id, test } in claims {
                held.entry(id).or_default().insert(test);
            }
        }
    }
    specifications.sort_by(|one, other| one.title.cmp(&other.title));
    problems.extend(judge(&specifications, &held));
    Ok((page::write(&specifications, &held), problems))
}

/// Requirements that nobody answers for, and claims of what nobody requires.
fn judge(specifications: &[Specification], held: &Held) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for specification in specifications {
        for requirement in &specification.requirements {
            let id = requirement.id.as_str();
            let file = &specification.file;
            if !known.insert(id) {
                problems.push(format!("{file}: {id}: occurs twice"));
            }
            match (&requirement.status, held.get(id)) {
                (Status::Held, None) => problems.push(format!("{file}: {id}: no test holds it")),
                (Status::Open(_) | Status::NotApplicable(_), Some(tests)) => problems
                    .push(format!("{file}: {id}: said not to be held, and {} holds it", listed(tests))),
                (Status::Held | Status::Divergence(_), Some(_))
                | (Status::Divergence(_) | Status::Open(_) | Status::NotApplicable(_), None) => {}
            }
        }
    }
    for (id, tests) in held {
        if !known.contains(id.as_str()) {
            problems.push(format!("{}: holds {id}, which is no requirement", listed(tests)));
        }
    }
    problems
}

fn listed(tests: &BTreeSet<String>) -> String {
    tests.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "docs/conformance/rfc1.toml";
    const TEST: &str = "crates/x/tests/it.rs";

    fn files(list: &str, test: &str) -> Vec<(PathBuf, String)> {
        let list = format!("title = \"RFC 1\"\nurl = \"https://example.org/\"\n{list}");
        vec![(PathBuf::from(LIST), list), (PathBuf::from(TEST), test.to_owned())]
    }

    fn requirement(id: &str, rest: &str) -> String {
        format!("[[requirement]]\nid = \"{id}\"\nmust = \"do so\"\n{rest}\n")
    }

    /// What is wrong beside the page, which is made anew.
    #[track_caller]
    fn problems(list: &str, test: &str) -> Vec<String> {
        let mut texts = files(list, test);
        let (page, problems) = make(&texts).expect("a list that can be read");
        texts.push((PathBuf::from(PAGE), page));
        assert_eq!(check(&texts).expect("a list that can be read"), problems);
        problems
    }

    fn test_of(claim: &str) -> String {
        format!("// Holds: {claim}\n#[test]\nfn it_does_so() {{}}\n")
    }

    #[test]
    fn a_requirement_has_a_test_or_a_reason() {
        let bare = requirement("rfc1-2-so", "");
        assert_eq!(problems(&bare, ""), [format!("{LIST}: rfc1-2-so: no test holds it")]);
        assert!(problems(&bare, &test_of("rfc1-2-so")).is_empty());
        for reason in ["divergence", "not_applicable", "open"] {
            assert!(problems(&requirement("rfc1-2-so", &format!("{reason} = \"x\"")), "").is_empty());
        }
    }

    #[test]
    fn what_is_said_not_to_be_held_has_no_test() {
        for (reason, wrong) in [("divergence", 0), ("not_applicable", 1), ("open", 1)] {
            let list = requirement("rfc1-2-so", &format!("{reason} = \"x\""));
            assert_eq!(problems(&list, &test_of("rfc1-2-so")).len(), wrong, "{reason}");
        }
    }

    #[test]
    fn a_claim_is_of_something_in_a_list() {
        let said = problems(&requirement("rfc1-2-so", ""), &test_of("rfc1-2-so, rfc1-2-such"));
        assert_eq!(said, [format!("{TEST}::it_does_so: holds rfc1-2-such, which is no requirement")]);
    }

    #[test]
    fn an_id_occurs_once() {
        let twice = requirement("rfc1-2-so", "").repeat(2);
        assert_eq!(problems(&twice, &test_of("rfc1-2-so")), [format!("{LIST}: rfc1-2-so: occurs twice")]);
    }

    #[test]
    fn a_page_that_is_not_what_would_be_written_is_told() {
        let mut texts = files(&requirement("rfc1-2-so", ""), &test_of("rfc1-2-so"));
        let (page, _) = make(&texts).unwrap();
        assert_eq!(check(&texts).unwrap().len(), 1, "there is none");
        texts.push((PathBuf::from(PAGE), page.clone()));
        assert!(check(&texts).unwrap().is_empty());
        texts[2].1.push('\n');
        assert_eq!(check(&texts).unwrap().len(), 1, "it was edited");
        texts[2].1 = page;
        texts[1].1 = texts[1].1.replace("it_does_so", "it_still_does_so");
        assert_eq!(check(&texts).unwrap().len(), 1, "a test got another name");
    }

    #[test]
    fn tests_are_looked_for_where_tests_are() {
        let mut texts = files(&requirement("rfc1-2-so", ""), "");
        texts[1] = (PathBuf::from("xtask/src/it.rs"), test_of("rfc1-2-so"));
        assert_eq!(make(&texts).unwrap().1.len(), 1);
    }
}
