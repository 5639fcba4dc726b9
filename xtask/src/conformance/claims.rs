//! What tests say they hold: `// Holds: id, id` on the lines before a test's attribute, `# Holds: id` before a Python test, and the
//! lines of the ledger by the names of their tests.

use std::path::Path;

/// A test that holds a requirement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) id: String,
    /// `path::name`.
    pub(super) test: String,
}

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) claims: Vec<Claim>,
    pub(super) problems: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
}

/// What has been read of a function before its name.
#[derive(Default)]
struct Heading {
    /// The line of the first claim, and all of them.
    claims: Option<(usize, Vec<String>)>,
    is_test: bool,
    is_skipped: bool,
    /// How many brackets of an attribute or decorator are open at the end of the line.
    open_brackets: i32,
}

pub(super) fn scan(file: &Path, text: &str) -> Scan {
    let language = match file.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => Language::Rust,
        Some("py") => Language::Python,
        _ => return Scan::default(),
    };
    let mut scan = Scan::default();
    let mut heading = Heading::default();
    for (at, line) in text.lines().map(str::trim).enumerate() {
        let line_number = at + 1;
        if let Some(ids) = claimed(language, line) {
            let (_, claims) = heading.claims.get_or_insert_with(|| (line_number, Vec::new()));
            claims.extend(ids.split(',').map(str::trim).map(str::to_owned));
        } else if let Some(name) = function(language, line) {
            heading.end(language, file, name, &mut scan);
            heading = Heading::default();
        } else if heading.open_brackets > 0 || is_attribute(language, line) {
            heading.attribute(line);
        } else if !is_comment(language, line) {
            if let Some((claim, _)) = heading.claims {
                scan.problems.push(format!("{}:{claim}: a claim that is above no test", file.display()));
            }
            heading = Heading::default();
        }
    }
    if let Some((claim, _)) = heading.claims {
        scan.problems.push(format!("{}:{claim}: a claim that is above no test", file.display()));
    }
    scan
}

impl Heading {
    fn attribute(&mut self, line: &str) {
        let count = |letters: &str| {
            i32::try_from(line.chars().filter(|letter| letters.contains(*letter)).count()).unwrap_or(i32::MAX)
        };
        if self.open_brackets == 0 {
            self.is_test |= ["#[test]", "#[tokio::test]", "#[tokio::test("]
                .iter()
                .any(|attribute| line.starts_with(attribute));
            self.is_skipped |= ["#[ignore", "@pytest.mark.skip", "@pytest.mark.xfail"]
                .iter()
                .any(|attribute| line.starts_with(attribute));
        }
        self.open_brackets = (self.open_brackets + count("([{") - count(")]}")).max(0);
    }

    /// Comes to the function `name`.
    fn end(&mut self, language: Language, file: &Path, name: &str, scan: &mut Scan) {
        let file = file.display();
        let is_test = match language {
            Language::Rust => self.is_test,
            Language::Python => name.starts_with("test_"),
        };
        let (line, mut ids) = self.claims.take().unwrap_or_default();
        if !is_test || self.is_skipped {
            if !ids.is_empty() {
                let what = if is_test { "a test that is not run" } else { "no test" };
                scan.problems.push(format!("{file}:{line}: a claim of {name}, which is {what}"));
            }
            return;
        }
        ids.extend(ledger_lines(name));
        scan.claims.extend(ids.into_iter().map(|id| Claim { id, test: format!("{file}::{name}") }));
    }
}

/// The ids of a line that is a claim.
fn claimed(language: Language, line: &str) -> Option<&str> {
    let mark = match language {
        Language::Rust => "// Holds:",
        Language::Python => "# Holds:",
    };
    line.strip_prefix(mark)
}

/// The name of the function that begins on a line.
fn function(language: Language, line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let rest = line.strip_prefix(match language {
        Language::Rust => "fn ",
        Language::Python => "def ",
    })?;
    rest.split(['(', '<']).next().map(str::trim)
}

fn is_attribute(language: Language, line: &str) -> bool {
    line.starts_with(match language {
        Language::Rust => "#[",
        Language::Python => "@",
    })
}

fn is_comment(language: Language, line: &str) -> bool {
    line.starts_with(match language {
        Language::Rust => "//",
        Language::Python => "#",
    })
}

/// The lines of the ledger in a name: `ledger_23_24_…` is of two.
fn ledger_lines(name: &str) -> impl Iterator<Item = String> {
    let rest = name.strip_prefix("test_").unwrap_or(name).strip_prefix("ledger_").unwrap_or_default();
    rest.split('_')
        .take_while(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
        .map(|line| format!("ledger-{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn claims(file: &str, text: &str) -> Vec<(String, String)> {
        let scan = scan(Path::new(file), text);
        assert!(scan.problems.is_empty(), "{:?}", scan.problems);
        scan.claims.into_iter().map(|claim| (claim.id, claim.test)).collect()
    }

    fn pairs<const N: usize>(all: [(&str, &str); N]) -> Vec<(String, String)> {
        all.into_iter().map(|(id, test)| (id.to_owned(), test.to_owned())).collect()
    }

    #[test]
    fn a_claim_is_of_the_test_below_it() {
        let text = "
            // Holds: rfc1-2-a, rfc1-2-b
            // Holds: rfc1-3-c
            /// What it is about.
            #[tokio::test(flavor = \"multi_thread\")]
            #[expect(
                clippy::too_many_lines,
                reason = \"one story\"
            )]
            async fn one() {
                let x = 1;
            }

            #[test]
            fn other() {}
        ";
        let claimed = claims("crates/x.rs", text);
        let one = "crates/x.rs::one";
        assert_eq!(claimed, pairs([("rfc1-2-a", one), ("rfc1-2-b", one), ("rfc1-3-c", one)]));
    }

    #[test]
    fn a_python_test_is_known_by_its_name() {
        let text = "
# Holds: rfc1-2-a
@pytest.mark.parametrize(
    \"case\",
    [1, 2],
)
def test_one(case):
    pass

# Holds: rfc1-2-b
async def test_other():
    pass
";
        let claimed = claims("tests/x.py", text);
        assert_eq!(
            claimed,
            pairs([("rfc1-2-a", "tests/x.py::test_one"), ("rfc1-2-b", "tests/x.py::test_other")])
        );
    }

    #[test]
    fn a_line_of_the_ledger_is_in_the_name() {
        let text =
            "#[test]\nfn ledger_23_24_x() {}\nfn ledger_25_no_test() {}\n#[test]\nfn ledger_is_short() {}";
        let both = "crates/x.rs::ledger_23_24_x";
        assert_eq!(claims("crates/x.rs", text), pairs([("ledger-23", both), ("ledger-24", both)]));
        let python = claims("tests/x.py", "def test_ledger_02_y():");
        assert_eq!(python, pairs([("ledger-02", "tests/x.py::test_ledger_02_y")]));
    }

    #[test]
    fn a_claim_without_a_test_that_runs_is_a_problem() {
        for (file, text) in [
            ("x.rs", "// Holds: a\nfn helper() {}"),
            ("x.rs", "// Holds: a\n#[cfg(test)]\nmod tests {"),
            ("x.rs", "// Holds: a\n\n#[test]\nfn far_away() {}"),
            ("x.rs", "// Holds: a\n#[test]\n#[ignore = \"slow\"]\nfn ignored() {}"),
            ("x.rs", "#[test]\nfn x() {}\n// Holds: a"),
            ("x.py", "# Holds: a\ndef helper():"),
            ("x.py", "# Holds: a\n@pytest.mark.skip\ndef test_x():"),
            ("x.py", "# Holds: a\nx = 1\ndef test_x():"),
        ] {
            let scan = scan(Path::new(file), text);
            assert_eq!((scan.claims.len(), scan.problems.len()), (0, 1), "{text}");
        }
    }
}
