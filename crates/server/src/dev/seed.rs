//! The people, accounts, roles and applications that `doorward dev` starts with.

use doorward_core::directory::DirectoryFile;

use crate::config::{self, ConfigError};

/// The directory, as an operator would write it.
const DIRECTORY: &str = include_str!("seed.toml");

/// The seeded people's passwords, which are public. Their hashes in `seed.toml` were made once, so that a start need
/// not hash them.
const PASSWORDS: [(&str, &str); 3] =
    [("ada", "analytical-engine"), ("grace", "flow-matic"), ("linus", "penguins")];

/// The secrets of the seeded applications that have one, which are public too.
const SECRETS: [(&str, &str); 1] = [("demo-web", "demo-web-secret")];

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

/// The `client_id`s of seeded applications and their secrets.
#[must_use]
pub fn secrets() -> Vec<(String, String)> {
    SECRETS.iter().map(|(id, secret)| ((*id).to_owned(), (*secret).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA256, digest};
    use doorward_core::application::ClientAuthentication;
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

    #[test]
    fn the_seeded_applications_have_the_secrets_that_are_told() {
        let file = super::directory().unwrap();
        assert_eq!(file.problems(), []);
        assert_eq!(file.applications.len(), 2);
        for application in &file.applications {
            let told = SECRETS.iter().find(|(id, _)| *id == application.client_id.as_str());
            assert_eq!(told.is_none(), application.authentication == ClientAuthentication::None);
            if let Some((_, secret)) = told {
                let hash = digest(&SHA256, secret.as_bytes()).as_ref().try_into().unwrap();
                assert!(bool::from(application.secret_hashes[0].is(&hash)), "{}", application.client_id);
            }
        }
    }
}
