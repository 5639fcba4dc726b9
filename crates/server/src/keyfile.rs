//! The file of the master key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use data_encoding::HEXLOWER;
use doorward_core::credentials::Entropy;
use doorward_keys::{KeyRing, MASTER_BYTES};
use zeroize::Zeroizing;

use crate::ambient::draw;

/// Reads the master keys; makes the file, with a key drawn at random, if there is none and the data directory is new.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn load_or_create(file: &Path, entropy: &dyn Entropy) -> anyhow::Result<KeyRing> {
    match load(file) {
        Err(error) if is_missing(&error) => {
            missing_from_used_directory(file)?;
            create(file, entropy).with_context(|| format!("cannot make the key file {}", file.display()))?;
            load(file)
        }
        outcome => outcome,
    }
}

/// Reads the master keys.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn load(file: &Path) -> anyhow::Result<KeyRing> {
    let text = Zeroizing::new(
        fs::read_to_string(file).with_context(|| format!("cannot read the key file {}", file.display()))?,
    );
    for_us_alone(file, "forge every token with it")?;
    KeyRing::parse(&text).with_context(|| format!("cannot use the key file {}", file.display()))
}

/// Refuses a key file that others can read; `harm` is what they could do then.
///
/// # Errors
/// Which file, and what to do.
pub fn for_us_alone(file: &Path, harm: &str) -> anyhow::Result<()> {
    let mode = fs::metadata(file).with_context(|| file.display().to_string())?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let file = file.display();
        bail!("others can read the key file {file} (mode {mode:o}), and {harm}: chmod 600 {file}");
    }
    Ok(())
}

/// A key that is gone while its database is there was lost, and a new one in its place would sign everybody out without
/// a word.
///
/// # Errors
/// What to do.
pub fn missing_from_used_directory(file: &Path) -> anyhow::Result<()> {
    if file.with_file_name("doorward.db").exists() {
        bail!(
            "the key file {} is gone, but its database is there: restore the key from your copy; or, if it is lost, make \
             another with `openssl rand -hex 32` (mode 600), and everybody registers and signs in again; where there are \
             web-identity brokers, `doorward key replace` then makes another signing key",
            file.display()
        );
    }
    Ok(())
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .root_cause()
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Makes the file whole or not at all: a crash leaves no empty one behind, and another server's is not written over.
fn create(file: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let master = Zeroizing::new(draw::<MASTER_BYTES>(entropy));
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(&master[..])));
    let unfinished = file.with_extension("unfinished");
    let mut written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    written.write_all(text.as_bytes())?;
    // Whatever is sealed from now on is worth nothing without this key.
    written.sync_all()?;
    fs::hard_link(&unfinished, file)?;
    fs::remove_file(&unfinished)?;
    if let Some(folder) = file.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    tracing::info!(file = %file.display(), "made a master key; keep a copy of it apart from the database");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::OsEntropy;

    #[test]
    fn a_key_file_is_made_once_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        assert!(load(&file).is_err());
        load_or_create(&file, &OsEntropy::default()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read(&file).unwrap();
        load_or_create(&file, &OsEntropy::default()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_lost_key_is_not_replaced_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("doorward.db"), "").unwrap();
        let file = folder.path().join("master.key");
        let error = load_or_create(&file, &OsEntropy::default()).unwrap_err();
        assert!(error.to_string().contains("is gone, but its database is there"), "{error}");
        assert!(!file.exists());
    }
}
