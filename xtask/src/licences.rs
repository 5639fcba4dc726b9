//! Every dependency's licence against the list in `deny.toml`, and every banned crate.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
}

pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let deny: Deny =
        toml::from_str(&std::fs::read_to_string(root.join("deny.toml"))?).context("deny.toml")?;
    // The tree and not the lock file, which also lists what no feature asks for.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--edges",
            "all",
            "--prefix",
            "none",
            "--locked",
            "--format",
            "{p}|{l}",
        ])
        .current_dir(root)
        .output()
        .context("cannot run cargo tree")?;
    ensure!(output.status.success(), "cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    let packages: BTreeSet<&str> = std::str::from_utf8(&output.stdout)?
        .lines()
        // A second mention of a package ends in a star.
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect();
    ensure!(!packages.is_empty(), "cargo tree lists nothing");
    let mut problems = Vec::new();
    for (package, licence) in packages.iter().filter_map(|line| line.split_once('|')) {
        if !is_allowed(licence, &deny.licenses.allow) {
            problems.push(format!("{package}: its licence is not in deny.toml: {licence}"));
        }
        let name = package.split(' ').next().unwrap_or_default();
        if deny.bans.deny.iter().any(|ban| ban.name == name) {
            problems.push(format!("{package}: banned by deny.toml"));
        }
    }
    Ok(problems)
}

/// Whether an SPDX expression can be satisfied by the list. `/` is an old spelling of `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let known = |licence: &str| allowed.iter().any(|known| known == licence.trim());
    // `AND` binds tighter than `OR`, but authors write `(A OR B) AND C`: every part between `AND`s needs an alternative.
    expression.split(" AND ").all(|part| part.split(" OR ").any(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_needs_one_alternative_of_each_part() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR X",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["GPL-3.0", "MIT AND GPL-3.0", "none", ""] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }
}
