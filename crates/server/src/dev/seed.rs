//! The people, accounts and roles that `doorward dev` starts with.

use doorward_core::directory::DirectoryFile;

use crate::config::{self, ConfigError};

/// The directory, as an operator would write it.
const DIRECTORY: &str = include_str!("seed.toml");

/// The seeded people's passwords, which are public. Their hashes in `seed.toml` were made once, so that a start need
/// not hash them.
const PASSWORDS: [(&str, &str); 3] =
    [("ada", "analytical-engine"), ("grace", "flow-matic"), ("linus", "penguins")];

/// The seeded directory.
///
/// # Errors
/// Never: a test holds it.
pub fn directory() -> Result<DirectoryFile, ConfigError> {
    config::parse(DIRECTORY)
}

/// The seeded people's user names and passwords.
#[must_use]
pub fn passwords() -> Vec<(String, String)> {
    PASSWORDS.iter().map(|(name, password)| ((*name).to_owned(), (*password).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use doorward_core::assignment::Standing;
    use doorward_core::directory::Directory;
    use doorward_core::secret::Password;
    use doorward_core::store::Store as _;
    use doorward_core::time::Timestamp;
    use doorward_store::MemoryStore;
    use doorward_upstream::identity::local::Passwords;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[tokio::test]
    async fn everybody_seeded_can_sign_in_and_has_somewhere_to_go() {
        let store = MemoryStore::default();
        store.commit(vec![Directory::default().replaced_by(super::directory().unwrap(), NOW)]).await.unwrap();
        let directory = store.directory().await.unwrap();
        assert_eq!(directory.file().people.len(), PASSWORDS.len());
        assert_eq!(directory.file().accounts.len(), 3);
        let passwords = Passwords::new(3);
        for person in &directory.file().people {
            let (_, password) =
                PASSWORDS.iter().find(|(name, _)| *name == person.user_name.as_str()).unwrap();
            let hash = person.password_hash.as_deref();
            assert!(passwords.verify(hash, &Password::new(*password)).await.unwrap(), "{}", person.user_name);
            let standing =
                Standing::load(&store, &doorward_core::federated::Sources::new(), Some(&person.user_name))
                    .await
                    .unwrap();
            let principal = standing.principal(&person.user_name, NOW, NOW).unwrap();
            assert!(!principal.accounts().is_empty(), "{}", person.user_name);
        }
    }
}
