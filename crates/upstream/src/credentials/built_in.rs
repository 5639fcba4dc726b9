//! The built-in source: credentials that only this server's own development STS accepts.
//!
//! For development and tests. The session token holds, sealed, whose credentials they are and the secret key, so
//! that nothing is stored and GetCallerIdentity can still check a signature made with them.

use async_trait::async_trait;
use data_encoding::{BASE32, BASE64URL_NOPAD};
use doorward_core::credentials::{
    BrokerError, BrokerStep, CredentialBroker, RoleCredentials, RoleRequest, SharedEntropy,
};
use doorward_core::ids::{AccountId, PersonId, RoleName};
use doorward_core::secret::{SecretAccessKey, SessionToken};
use doorward_core::time::Timestamp;
use doorward_keys::{KeyRing, NONCE_BYTES, Sealer};
use serde::{Deserialize, Serialize};

/// The built-in source.
#[derive(Debug)]
pub struct BuiltIn {
    sealer: Sealer,
    entropy: SharedEntropy,
}

/// Whom credentials of this source stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The role.
    pub role: RoleName,
    /// The person.
    pub person: PersonId,
    /// The key id they were issued under.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: SecretAccessKey,
    /// When they stop working.
    pub expires_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Inside {
    account: AccountId,
    role: RoleName,
    person: PersonId,
    access_key_id: String,
    secret_access_key: String,
    expires_at: Timestamp,
}

impl BuiltIn {
    /// A source that seals its session tokens under `keys`.
    #[must_use]
    pub fn new(keys: &KeyRing, entropy: SharedEntropy) -> Self {
        Self { sealer: keys.sealer("built-in session token"), entropy }
    }

    /// Whom a session token of this source stands for.
    #[must_use]
    pub fn caller(&self, token: &SessionToken) -> Option<Caller> {
        let inside: Inside = postcard::from_bytes(&self.sealer.open(token.reveal())?).ok()?;
        Some(Caller {
            account: inside.account,
            role: inside.role,
            person: inside.person,
            access_key_id: inside.access_key_id,
            secret_access_key: SecretAccessKey::new(inside.secret_access_key),
            expires_at: inside.expires_at,
        })
    }

    fn draw<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }
}

#[async_trait]
impl CredentialBroker for BuiltIn {
    fn kind(&self) -> &'static str {
        "built-in"
    }

    async fn role_credentials(&self, request: &RoleRequest) -> Result<RoleCredentials, BrokerError> {
        // The lengths and letters of real ones: `ASIA` and 16 of base32; 40 of base64.
        let access_key_id = format!("ASIA{}", BASE32.encode(&self.draw::<10>()));
        let secret_access_key = BASE64URL_NOPAD.encode(&self.draw::<30>());
        let expires_at = request.now.plus(request.set.session_duration);
        let inside = Inside {
            account: request.account.clone(),
            role: request.set.name.clone(),
            person: request.person.clone(),
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.clone(),
            expires_at,
        };
        let inside = postcard::to_stdvec(&inside).map_err(|error| BrokerError {
            denied: false,
            step: BrokerStep::Answer,
            detail: error.to_string(),
        })?;
        let session_token = self.sealer.seal(&inside, self.draw::<NONCE_BYTES>());
        Ok(RoleCredentials {
            access_key_id,
            secret_access_key: SecretAccessKey::new(secret_access_key),
            session_token: SessionToken::new(session_token),
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use doorward_core::credentials::Entropy;
    use doorward_core::directory::PermissionSet;
    use doorward_core::time::Lifetime;

    use super::*;

    #[derive(Debug)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    #[tokio::test]
    async fn a_session_token_says_whose_credentials_they_are() {
        let source = BuiltIn::new(&KeyRing::new(&[1; 32]), Arc::new(Counting(AtomicU8::new(0))));
        let request = RoleRequest {
            person: PersonId::parse("ada").unwrap(),
            account: AccountId::parse("111122223333").unwrap(),
            set: PermissionSet {
                session_duration: Lifetime::from_seconds(900),
                ..PermissionSet::named(RoleName::parse("ReadOnly").unwrap())
            },
            now: Timestamp::from_seconds(1_000),
        };
        let first = source.role_credentials(&request).await.unwrap();
        assert_eq!(first.expires_at, Timestamp::from_seconds(1_900));
        assert_eq!((first.access_key_id.len(), first.secret_access_key.reveal().len()), (20, 40));
        let caller = source.caller(&first.session_token).unwrap();
        assert_eq!(
            (caller.person, caller.role, caller.account),
            (request.person.clone(), request.set.name.clone(), request.account.clone())
        );
        assert_eq!(caller.secret_access_key, first.secret_access_key);
        let second = source.role_credentials(&request).await.unwrap();
        assert_ne!(first.secret_access_key, second.secret_access_key);
        assert_ne!(first.access_key_id, second.access_key_id);
        assert!(source.caller(&SessionToken::new("forged")).is_none());
    }
}
