//! Checks of this repository that no compiler makes: `cargo run -p xtask`. With `conformance`, writes `docs/conformance.md` anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};

mod conformance;
mod licences;

/// The longest source file, in lines.
const LONGEST_FILE: usize = 900;
/// What `core` may depend on: nothing with a runtime, HTTP, SQL, a clock, randomness or cryptography in it.
const CORE_DEPENDENCIES: [&str; 6] = ["async-trait", "serde", "strsim", "subtle", "thiserror", "uuid"];

fn main() -> anyhow::Result<ExitCode> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the repository")?;
    let files = Repository::read(root)?;
    let mut problems = match std::env::args().nth(1).as_deref() {
        None => conformance::check(&files.texts)?,
        Some("conformance") => conformance::write(root, &files.texts)?,
        Some(task) => bail!("there is no task {task}: say nothing to check everything, or conformance"),
    };
    problems.extend(files.long_sources());
    problems.extend(files.words());
    problems.extend(files.dead_links());
    problems.extend(core_dependencies(root)?);
    problems.extend(licences::check(root)?);
    for problem in &problems {
        eprintln!("{problem}");
    }
    println!("{} files checked, {} problems", files.texts.len(), problems.len());
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files that git tracks, those of them that are text.
struct Repository {
    root: PathBuf,
    texts: Vec<(PathBuf, String)>,
}

impl Repository {
    fn read(root: &Path) -> anyhow::Result<Self> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("cannot run git")?;
        ensure!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
        let listed = String::from_utf8(listed.stdout)?;
        // In the middle of a merge git lists a file once for each side.
        let names: BTreeSet<&str> = listed.split('\0').filter(|name| !name.is_empty()).collect();
        let texts: Vec<(PathBuf, String)> = names
            .into_iter()
            .filter_map(|name| Some((PathBuf::from(name), std::fs::read_to_string(root.join(name)).ok()?)))
            .collect();
        ensure!(!texts.is_empty(), "git tracks no file in {}", root.display());
        Ok(Self { root: root.to_owned(), texts })
    }

    fn long_sources(&self) -> impl Iterator<Item = String> {
        self.texts
            .iter()
            .filter(|(file, _)| {
                file.extension().is_some_and(|extension| extension == "rs" || extension == "py")
            })
            .map(|(file, text)| (file, text.lines().count()))
            .filter(|(_, lines)| *lines > LONGEST_FILE)
            .map(|(file, lines)| format!("{}: {lines} lines, more than {LONGEST_FILE}", file.display()))
    }

    /// Words that no file of ours may hold. They are put together here, so that this file does not hold them.
    fn words(&self) -> impl Iterator<Item = String> {
        let hosts = ["crates", "pythonhosted", "npmjs", "pypi"].map(|name| match name {
            "crates" => format!("index.{name}.io"),
            "pythonhosted" => format!("files.{name}.org"),
            "npmjs" => format!("registry.{name}.org"),
            _ => format!("{name}.org/simple"),
        });
        let forbidden: Vec<(String, &str)> = hosts
            .into_iter()
            .map(|host| (host, "the host of a package registry"))
            .chain([
                (format!("#[{}(", "allow"), "an allow: say #[expect(…, reason)] instead"),
                (format!("{}!(", "todo"), "something unfinished"),
                (format!("/{}/", "home"), "a path of one machine"),
                (format!("/{}/", "root"), "a path of one machine"),
            ])
            .collect();
        self.texts.iter().filter(|(file, _)| !file.ends_with("Cargo.lock")).flat_map(move |(file, text)| {
            let mut found = Vec::new();
            for (at, line) in text.lines().enumerate() {
                for (word, what) in &forbidden {
                    if line.contains(word.as_str()) {
                        found.push(format!("{}:{}: {what}: {word}", file.display(), at + 1));
                    }
                }
            }
            found
        })
    }

    /// Links in Markdown to files that are not there.
    fn dead_links(&self) -> impl Iterator<Item = String> {
        self.texts
            .iter()
            .filter(|(file, _)| file.extension().is_some_and(|extension| extension == "md"))
            .flat_map(|(file, text)| {
                let folder = self.root.join(file).parent().map(Path::to_owned).unwrap_or_default();
                let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
                targets
                    .map(|(target, _)| target.split('#').next().unwrap_or_default())
                    .filter(|target| !target.is_empty() && !target.contains("://"))
                    .filter(|target| !folder.join(target).exists())
                    .map(|target| format!("{}: there is no {target}", file.display()))
                    .collect::<Vec<_>>()
            })
    }
}

fn core_dependencies(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(root.join("crates/core/Cargo.toml"))?)?;
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    let dependencies = dependencies.context("crates/core/Cargo.toml has no dependencies")?;
    Ok(dependencies
        .keys()
        .filter(|name| !CORE_DEPENDENCIES.contains(&name.as_str()))
        .map(|name| format!("crates/core/Cargo.toml: {name}: core is pure; see ARCHITECTURE.md"))
        .collect())
}
