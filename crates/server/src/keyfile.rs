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

/// Reads the master keys; makes the file, with a key drawn at random, if there is none.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub fn load_or_create(file: &Path, entropy: &dyn Entropy) -> anyhow::Result<KeyRing> {
    match load(file) {
        Err(error) if is_missing(&error) => {
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
    let mode = fs::metadata(file)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "others can read the key file {} (mode {mode:o}), and forge every token with it: chmod 600 {}",
            file.display(),
            file.display()
        );
    }
    KeyRing::parse(&text).with_context(|| format!("cannot use the key file {}", file.display()))
}

fn is_missing(error: &anyhow::Error) -> bool {
    error
        .root_cause()
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn create(file: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let master = Zeroizing::new(draw::<MASTER_BYTES>(entropy));
    let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(&master[..])));
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    created.write_all(text.as_bytes())?;
    // Whatever is sealed from now on is worth nothing without this key.
    created.sync_all()?;
    if let Some(folder) = file.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
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
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(load(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
