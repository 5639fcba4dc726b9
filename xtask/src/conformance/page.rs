//! The page, in Markdown.

use std::fmt::Write as _;

use super::list::{Requirement, Specification, Status};
use super::{Held, LISTS};

const HEAD: &str = "\
<!-- Written by `cargo run -p xtask -- conformance`: change the lists or the tests, not this page. -->

# Conformance

What the specifications require of a server like this one, and the tests that hold it. The requirements are in
[`docs/conformance/`](conformance), in our words; where a word of theirs matters, read the section itself. A test says what it
holds in a comment above it:

    // Holds: rfc9700-2.1.1-pkce, rfc7636-4.6-mismatch-invalid-grant
    #[tokio::test]
    async fn a_code_without_its_verifier_is_worth_nothing() {

and in Python `# Holds: …` above its decorators or its `def`. A claim means that the test fails when the requirement is broken. The
tests of the security ledger, which is what went wrong in other servers of this kind, have the number of its line in their name instead:
`ledger_07_…`.

A requirement without a test has a reason: it is **not ours** (of a role or a feature that is not here), it is a **divergence**
(done otherwise on purpose), or it is **open**. `cargo run -p xtask`, which CI runs, fails when a requirement has neither,
when a claim is of nothing in the lists, and when this page is not what it would write.
";

pub(super) fn write(specifications: &[Specification], held: &Held) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n| specification | held by tests | divergences | not ours | open |\n| --- | --- | --- | --- | --- |\n");
    let mut total = Count::default();
    for specification in specifications {
        let count = Count::of(specification);
        let title = &specification.title;
        row(&mut page, &format!("[{title}](#{})", anchor(title)), count);
        total = total.plus(count);
    }
    row(&mut page, "all", total);
    for Specification { name, title, url, note, requirements, .. } in specifications {
        // Writing to a String cannot fail.
        let address = url.as_ref().map_or("Listed".to_owned(), |url| format!("<{url}>, listed"));
        let _ = write!(page, "\n## {title}\n\n{address} in [`{name}.toml`]({}/{name}.toml).", folder());
        if let Some(note) = note {
            let _ = write!(page, " {}", note.trim());
        }
        page.push_str("\n\n| id | what | held by |\n| --- | --- | --- |\n");
        for requirement in requirements {
            let Requirement { id, text, .. } = requirement;
            let _ = writeln!(page, "| `{id}` | {} | {} |", cell(text), answer(requirement, held));
        }
    }
    page
}

/// The folder of the lists, from the page.
fn folder() -> &'static str {
    LISTS.rsplit('/').next().unwrap_or(LISTS)
}

fn answer(requirement: &Requirement, held: &Held) -> String {
    let tests = held.get(&requirement.id).into_iter().flatten().map(|test| format!("`{test}`"));
    let reason = match &requirement.status {
        Status::Held => None,
        Status::NotApplicable(reason) => Some(("not ours", reason)),
        Status::Divergence(reason) => Some(("divergence", reason)),
        Status::Open(reason) => Some(("open", reason)),
    };
    let reason = reason.map(|(word, reason)| format!("**{word}**: {}", cell(reason)));
    reason.into_iter().chain(tests).collect::<Vec<_>>().join("<br>")
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// What a heading's link is, as the usual renderers make it.
fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-'))
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// How many requirements have which answer.
#[derive(Clone, Copy, Default)]
struct Count {
    held: usize,
    divergences: usize,
    not_ours: usize,
    open: usize,
}

impl Count {
    fn of(specification: &Specification) -> Self {
        let mut count = Self::default();
        for requirement in &specification.requirements {
            match requirement.status {
                Status::Held => count.held += 1,
                Status::Divergence(_) => count.divergences += 1,
                Status::NotApplicable(_) => count.not_ours += 1,
                Status::Open(_) => count.open += 1,
            }
        }
        count
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            held: self.held + other.held,
            divergences: self.divergences + other.divergences,
            not_ours: self.not_ours + other.not_ours,
            open: self.open + other.open,
        }
    }
}

fn row(page: &mut String, title: &str, count: Count) {
    let Count { held, divergences, not_ours, open } = count;
    let _ = writeln!(page, "| {title} | {held} | {divergences} | {not_ours} | {open} |");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn each_requirement_is_a_row_with_its_tests_or_its_reason() {
        let list = r#"
            title = "RFC 1: Host"
            url = "https://example.org/"
            note = "Hosts only."

            [[requirement]]
            id = "rfc1-2-held"
            must = "say a|b"

            [[requirement]]
            id = "rfc1-2-other"
            should = "say so"
            divergence = "we do not"

            [[requirement]]
            id = "rfc1-2-open"
            should = "say more"
            open = "not built"
        "#;
        let list = super::super::list::read(Path::new("docs/conformance/rfc1.toml"), list).unwrap();
        let tests = ["crates/x.rs::b".to_owned(), "crates/x.rs::a".to_owned()];
        let held = Held::from([("rfc1-2-held".to_owned(), tests.into())]);
        let page = write(&[list], &held);
        for line in [
            "| [RFC 1: Host](#rfc-1-host) | 1 | 1 | 0 | 1 |",
            "| all | 1 | 1 | 0 | 1 |",
            "## RFC 1: Host",
            "<https://example.org/>, listed in [`rfc1.toml`](conformance/rfc1.toml). Hosts only.",
            "| `rfc1-2-held` | MUST: say a\\|b | `crates/x.rs::a`<br>`crates/x.rs::b` |",
            "| `rfc1-2-other` | SHOULD: say so | **divergence**: we do not |",
            "| `rfc1-2-open` | SHOULD: say more | **open**: not built |",
        ] {
            assert!(page.lines().any(|of| of == line), "{line}\n{page}");
        }
    }
}
