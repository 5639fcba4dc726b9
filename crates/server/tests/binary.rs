//! The binary as it is started. Because of these tests Cargo builds it for a test run of the workspace, in which
//! `crates/history` starts it too.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which clippy does not know for tests")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::{fs, io};

use doorward::ambient::{Clock, OsEntropy};
use doorward::signing::{KeyPolicy, Signing};
use doorward_core::signing_key::SigningAlgorithm;
use doorward_keys::KeyRing;
use doorward_store::{EmbeddedStore, Location, Opened};

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

#[test]
fn an_applications_secret_is_new_each_time_and_comes_with_its_hash() {
    let draw = || {
        let output = doorward(&["application", "secret", "web"]);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stderr).unwrap().contains("The secret of web"));
        let said = String::from_utf8(output.stdout).unwrap();
        let (secret, line) = said.split_once('\n').unwrap();
        assert_eq!(secret.len(), 43, "256 bits");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
        let hash = data_encoding::HEXLOWER.encode(hash.as_ref());
        assert_eq!(line, format!("secret_hashes = [\"sha256:{hash}\"]\n"));
        secret.to_owned()
    };
    assert_ne!(draw(), draw());
    assert!(!doorward(&["application", "secret", "no name"]).status.success());
}

/// The brokers' own audiences are for no one else: the service behind one would take an application's tokens.
#[test]
fn an_application_that_a_broker_would_serve_is_refused_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let directory = |id: &str| {
        format!(
            "[[applications]]\nclient_id = '{id}'\nname = 'x'\ngrants = []\nresource = 'urn:x:{id}'\nscopes = ['openid']\n\
             secret_hashes = ['sha256:{}']\n",
            "0".repeat(64)
        )
    };
    let broker = "[brokers.minio]\nkind = \"web-identity\"\nsts_endpoint = \"http://127.0.0.1:9\"\naudience = \"storage\"\n";
    let plain = format!("{CONFIG}data_dir = \"{}\"\n", at("data")).replace("data_dir = \"data\"\n", "");
    let config = format!("{plain}{broker}");
    fs::write(at("doorward.toml"), &config).unwrap();
    fs::write(at("given.toml"), format!("directory = \"{}\"\n{config}", at("storage.toml"))).unwrap();
    fs::write(at("storage.toml"), directory("storage")).unwrap();
    let why = "application storage: client_id is the audience of broker minio, whose service would give role credentials";
    let refused = |words: &[&str]| {
        let output = doorward(words);
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(why), "{words:?}: {said}");
        said
    };
    let said = refused(&["directory", "plan", "-c", &at("doorward.toml"), &at("storage.toml")]);
    assert!(said.contains("storage.toml: line 2, column 13: "), "{said}");
    refused(&["directory", "apply", "-c", &at("doorward.toml"), &at("storage.toml"), "--yes"]);
    refused(&["check", "-c", &at("given.toml")]);
    refused(&["serve", "-c", &at("given.toml")]);
    // What was applied before there was such a broker is in the store.
    fs::write(at("before.toml"), plain).unwrap();
    let applied = doorward(&["directory", "apply", "-c", &at("before.toml"), &at("storage.toml"), "--yes"]);
    let said = String::from_utf8(applied.stderr).unwrap();
    assert!(said.contains("the directory is at version 1"), "nothing was applied until now: {said}");
    refused(&["check", "-c", &at("doorward.toml")]);
    refused(&["serve", "-c", &at("doorward.toml")]);
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

/// A folder with a configuration, and a data directory whose signing key is sealed under this master key.
async fn folder_with_a_signing_key(master: u8) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("doorward.toml"),
        "listen = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:8080\"\ndata_dir = \"data\"\n\
         [brokers.storage]\nkind = \"web-identity\"\nsts_endpoint = \"http://127.0.0.1:9\"\naudience = \"storage\"\n",
    )
    .unwrap();
    let location = Location::Embedded(folder.path().join("data"));
    let Opened { store, closer } = doorward_store::open(&location).unwrap();
    let keys = KeyRing::new(&[master; 32]);
    let (clock, entropy) = (Arc::new(Clock::system()), Arc::new(OsEntropy::default()));
    let signing = Signing::new(store, clock, entropy, &keys, KeyPolicy::default());
    signing.start(&[SigningAlgorithm::Rs256]).await.unwrap();
    drop(signing);
    closer.close().await.unwrap();
    set_master_key(folder.path(), master);
    folder
}

fn set_master_key(folder: &Path, master: u8) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join("data/master.key");
    std::fs::write(&file, format!("{master:02x}").repeat(32)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// What `doorward check` says of this.
fn checked(folder: &Path, what: &str) -> String {
    let output = doorward(&["check", "-c", folder.join("doorward.toml").to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said.lines().find(|line| line.contains(&format!(" {what}: ")));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[tokio::test]
async fn a_signing_key_whose_master_key_is_lost_can_be_replaced() {
    let folder = folder_with_a_signing_key(1).await;
    let before = checked(folder.path(), "signing keys");
    assert!(before.starts_with("ok "), "{before}");
    set_master_key(folder.path(), 2);
    let lost = checked(folder.path(), "signing keys");
    assert!(lost.starts_with("WRONG ") && lost.contains("`doorward key replace`"), "{lost}");
    let output = doorward(&["key", "replace", "-c", folder.path().join("doorward.toml").to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && said.contains("servers that run look for new keys every 10 seconds"),
        "{said}{:?}",
        output.stderr
    );
    let after = checked(folder.path(), "signing keys");
    assert!(after.starts_with("ok ") && after != before, "{after}");
}

#[tokio::test]
async fn check_makes_the_brokers_as_a_server_would() {
    let folder = folder_with_a_signing_key(1).await;
    assert_eq!(checked(folder.path(), "brokers"), "ok    brokers: storage");
    let config = folder.path().join("doorward.toml");
    let text = std::fs::read_to_string(&config).unwrap() + "ca_file = \"missing.pem\"\n";
    std::fs::write(&config, text).unwrap();
    let wrong = checked(folder.path(), "brokers");
    assert!(wrong.starts_with("WRONG ") && wrong.contains("brokers.storage: "), "{wrong}");
    assert!(wrong.contains("missing.pem"), "{wrong}");
}

/// Otherwise the signing key would be lost with the old master key, and be missed once a broker needs it.
#[tokio::test]
async fn a_start_without_a_broker_that_needs_the_signing_key_looks_after_it() {
    let folder = folder_with_a_signing_key(1).await;
    let config = folder.path().join("doorward.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let without = text.split("[brokers").next().unwrap();
    std::fs::write(&config, format!("insecure_built_in_credentials = true\n{without}")).unwrap();
    let both = format!("{}\n{}\n", "02".repeat(32), "01".repeat(32));
    std::fs::write(folder.path().join("data/master.key"), both).unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_doorward"));
    let serve = server.arg("serve").arg("-c").arg(&config).current_dir(folder.path());
    let mut server = serve.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ready = lines.any(|line| line.contains("ready"));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(ready, "the server does not start");
    set_master_key(folder.path(), 2);
    let kept = checked(folder.path(), "signing keys");
    assert!(kept.starts_with("ok "), "{kept}");
}
