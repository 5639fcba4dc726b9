//! The binary as it is started. Because of these tests Cargo builds it for a test run of the workspace, in which
//! `crates/history` starts it too.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::process::{Command, Output};

fn doorward(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorward")).args(words).output().unwrap()
}

#[test]
fn the_binary_says_its_version() {
    let output = doorward(&["--version"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.trim(), concat!("doorward ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_server_without_its_configuration_names_the_file_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("doorward.toml");
    let output = doorward(&["serve", "-c", missing.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(missing.to_str().unwrap()), "{said}");
}
