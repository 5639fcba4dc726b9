//! Local people: passwords, hashed with Argon2id (RFC 9106).
//!
//! A hash takes some 20 ms and 19 MiB by design, so only a few are computed at once, on threads of their own: token
//! traffic never queues behind a password, and a crowd at the sign-in page costs no more memory than that.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use doorward_core::secret::Password;
use tokio::sync::Semaphore;

/// OWASP's and the crate's recommendation for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// Bytes of a salt (RFC 9106 section 3.1).
pub const SALT_BYTES: usize = 16;
/// The longest password, in bytes. More is not hashed.
pub const LONGEST_PASSWORD: usize = 1024;
/// How many may wait for their turn: with two at once and 20 ms each, the last one waits well below a second.
pub const MOST_WAITING: usize = 50;
/// A hash from the directory may ask for more memory than ours, but not for any amount.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;

/// The hash of a password, in PHC form.
///
/// # Errors
/// [`BadPassword`] for an empty or overlong password.
pub fn hash(password: &Password, salt: &[u8; SALT_BYTES]) -> Result<String, BadPassword> {
    if password.reveal().is_empty() || password.reveal().len() > LONGEST_PASSWORD {
        return Err(BadPassword);
    }
    let hashed =
        hasher().hash_password_with_salt(password.reveal().as_bytes(), salt).map_err(|_| BadPassword)?;
    Ok(hashed.to_string())
}

/// Whether `text` is a hash that [`Passwords::verify`] can use: Argon2id in PHC form, within bounds.
///
/// # Errors
/// What is wrong with it.
pub fn check_hash(text: &str) -> Result<(), &'static str> {
    let hash = PasswordHash::new(text).map_err(|_| "it is not a hash in PHC form ($argon2id$v=19$…)")?;
    if hash.algorithm.as_str() != "argon2id" {
        return Err("it is not an Argon2id hash");
    }
    let params = Params::try_from(&hash).map_err(|_| "its Argon2 parameters are invalid")?;
    if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES {
        return Err("it asks for more than 256 MiB or 16 passes");
    }
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err("it has no salt or no hash");
    }
    Ok(())
}

/// A password that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a password has 1 to {LONGEST_PASSWORD} bytes")]
pub struct BadPassword;

/// Checks passwords, a few at a time.
#[derive(Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// How many may wait for a turn, or have one.
    places: Arc<Semaphore>,
    /// Compared with when there is no hash, so that an unknown person takes as long as a wrong password.
    decoy: Arc<str>,
}

/// Why a password was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotCheck {
    /// Too many are waiting already.
    #[error("too many passwords are being checked")]
    Busy,
    /// The process is out of threads, or shutting down.
    #[error("passwords cannot be checked now")]
    Failed,
}

impl Passwords {
    /// Checks at most `at_once` passwords at a time, while [`MOST_WAITING`] more may wait.
    #[must_use]
    pub fn new(at_once: usize) -> Self {
        // 32 zero bytes: no password has that hash.
        let decoy =
            format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$ZG9vcndhcmQtZGVjb3k${}", "A".repeat(43));
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            places: Arc::new(Semaphore::new(at_once + MOST_WAITING)),
            decoy: decoy.into(),
        }
    }

    /// Whether `password` is the one behind `hash`. Without a hash the answer is no, and takes as long.
    ///
    /// # Errors
    /// [`CannotCheck`].
    pub async fn verify(&self, hash: Option<&str>, password: &Password) -> Result<bool, CannotCheck> {
        if password.reveal().len() > LONGEST_PASSWORD {
            return Ok(false);
        }
        let known = hash.is_some();
        let hash: Arc<str> = hash.map_or_else(|| Arc::clone(&self.decoy), Arc::from);
        let password = password.clone();
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| CannotCheck::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| CannotCheck::Failed)?;
        let matches = tokio::task::spawn_blocking(move || {
            let _held = (turn, place);
            check_hash(&hash).is_ok()
                && hasher().verify_password(password.reveal().as_bytes(), &*hash).is_ok()
        })
        .await
        .map_err(|_| CannotCheck::Failed)?;
        Ok(matches && known)
    }
}

fn hasher() -> Argon2<'static> {
    // Constants that the crate's own limits allow.
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).expect("valid Argon2 parameters");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_hash_and_no_other() {
        let passwords = Passwords::new(2);
        let hash = hash(&Password::new("correct horse"), &[1; SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |hash: Option<&str>, text: &str| {
            passwords.verify(hash, &Password::new(text)).await.unwrap()
        };
        assert!(verify(Some(&hash), "correct horse").await);
        assert!(!verify(Some(&hash), "correct horse ").await);
        assert!(!verify(Some(&hash), "").await);
        assert!(!verify(None, "correct horse").await);
        assert!(!verify(Some(&hash), &"x".repeat(LONGEST_PASSWORD + 1)).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crowd_is_turned_away_before_it_waits_for_long() {
        let passwords = Arc::new(Passwords::new(1));
        let checks: Vec<_> = (0..200)
            .map(|_| {
                let passwords = Arc::clone(&passwords);
                tokio::spawn(async move { passwords.verify(None, &Password::new("guess")).await })
            })
            .collect();
        let mut busy = 0;
        for check in checks {
            busy += usize::from(check.await.unwrap() == Err(CannotCheck::Busy));
        }
        assert!((1..=200 - MOST_WAITING).contains(&busy), "{busy}");
    }

    #[test]
    fn a_hash_is_checked_before_anybody_relies_on_it() {
        let good = hash(&Password::new("x"), &[1; SALT_BYTES]).unwrap();
        assert_eq!(check_hash(&good), Ok(()));
        for bad in [
            "",
            "hunter2",
            "$2b$12$abcdefghijklmnopqrstuv",
            &good.replace("argon2id", "argon2i"),
            &good.replace("m=19456", "m=99999999"),
        ] {
            assert!(check_hash(bad).is_err(), "{bad}");
        }
        assert_eq!(
            check_hash(&Passwords::new(1).decoy),
            Ok(()),
            "the decoy must cost as much as a real hash"
        );
    }

    #[test]
    fn an_empty_or_endless_password_is_not_hashed() {
        assert!(hash(&Password::new(""), &[1; SALT_BYTES]).is_err());
        assert!(hash(&Password::new("x".repeat(LONGEST_PASSWORD + 1)), &[1; SALT_BYTES]).is_err());
    }
}
