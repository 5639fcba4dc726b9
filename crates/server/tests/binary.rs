//! The binary as it is started. Because of these tests Cargo builds it for a test run of the workspace, in which
//! `crates/history` starts it too.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::fs;
use std::io;
use std::process::{Command, Output};

use doorward_store::EmbeddedStore;

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

const CONFIG: &str = "listen = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:8443\"\ndata_dir = \"data\"\n\
                      insecure_built_in_credentials = true\n";

#[tokio::test]
async fn a_restore_says_what_to_do_about_people_who_were_removed_since() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("doorward.toml"), CONFIG).unwrap();
    EmbeddedStore::open(at("data").as_ref()).unwrap().close().await.unwrap();
    assert!(doorward(&["backup", "-c", &at("doorward.toml"), &at("backup")]).status.success());
    for (more, what) in [
        ("", "`doorward directory apply` the one of today"),
        ("directory = \"directory.toml\"\n", "the directory file takes its place"),
    ] {
        fs::remove_dir_all(at("data")).unwrap();
        fs::write(at("doorward.toml"), format!("{CONFIG}{more}")).unwrap();
        let output = doorward(&["restore", "-c", &at("doorward.toml"), &at("backup")]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains(what), "{said}");
    }
}

#[test]
fn a_check_whose_reader_has_seen_enough_goes_on_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorward.toml");
    fs::write(&file, CONFIG).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let check = Command::new(env!("CARGO_BIN_EXE_doorward"))
        .arg("check")
        .arg("-c")
        .arg(&file)
        .stdout(writer)
        .output();
    let output = check.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // No start URL that AWS CLIs take is among what is wrong.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said, "");
}
