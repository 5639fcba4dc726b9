//! Credentials that were given, kept to be given again to the same person for the same role.

use doorward_core::credentials::{RoleCredentials, RoleRequest};
use doorward_core::directory::PermissionSet;
use doorward_core::ids::{AccountId, PersonId};
use doorward_core::time::{Lifetime, Timestamp};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// The most memory that one backend's credentials may take, in bytes: some 5 000 of them.
const MOST_BYTES: u64 = 16 * 1024 * 1024;
/// What an entry takes beside its texts.
const ENTRY_BYTES: u64 = 512;

/// Everything that credentials depend on: those of a permission set that was changed since are not found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    person: PersonId,
    account: AccountId,
    set: PermissionSet,
}

impl Key {
    pub(super) fn of(request: &RoleRequest) -> Self {
        let RoleRequest { person, account, set, now: _ } = request.clone();
        Self { person, account, set }
    }

    pub(super) fn is_of(&self, person: &PersonId) -> bool {
        self.person == *person
    }
}

/// The credentials that are kept.
pub(super) struct KeptCredentials {
    /// How long, at most.
    lifetime: Lifetime,
    cache: Cache<Key, Kept, Bytes>,
}

#[derive(Clone)]
struct Kept {
    credentials: RoleCredentials,
    /// When they were given.
    since: Timestamp,
    until: Timestamp,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Kept> for Bytes {
    fn weight(&self, key: &Key, kept: &Kept) -> u64 {
        let set = &key.set;
        let listed = set.session_policy_arns.iter().chain(&set.minio_policies);
        let tags = set.session_tags.iter().flat_map(|(key, value)| [key, value]);
        let written = [&set.description, &set.relay_state, &set.role_arn, &set.session_policy];
        let texts = listed.chain(tags).chain(written.into_iter().flatten()).map(String::len);
        let secrets = [kept.credentials.secret_access_key.reveal(), kept.credentials.session_token.reveal()];
        let bytes: usize = texts.chain(secrets.map(str::len)).sum();
        ENTRY_BYTES + bytes as u64
    }
}

impl KeptCredentials {
    /// Keeps what it is given for `lifetime` at most; nothing if that is zero.
    pub(super) fn new(lifetime: Lifetime) -> Self {
        let entries = usize::try_from(MOST_BYTES / (4 * ENTRY_BYTES)).unwrap_or(usize::MAX);
        Self { lifetime, cache: Cache::with_weighter(entries, MOST_BYTES, Bytes) }
    }

    /// What was kept for `key`, if it may still be given at `now`.
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<RoleCredentials> {
        let kept = self.cache.get(key)?;
        // A clock that was put back must not make them last longer.
        (kept.since <= now && now < kept.until).then_some(kept.credentials)
    }

    /// Keeps `credentials`, which were given at `now`: never past half of their life, so that whoever gets them can use
    /// them for a while.
    pub(super) fn keep(&self, key: Key, credentials: &RoleCredentials, now: Timestamp) {
        let half = Lifetime::from_seconds(now.seconds_until(credentials.expires_at) / 2);
        let until = now.plus(self.lifetime.min(half));
        if until > now {
            self.cache.insert(key, Kept { credentials: credentials.clone(), since: now, until });
        }
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::ids::RoleName;
    use doorward_core::secret::{SecretAccessKey, SessionToken};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn later(seconds: u32) -> Timestamp {
        NOW.plus(Lifetime::from_seconds(seconds))
    }

    fn request(person: &str) -> RoleRequest {
        RoleRequest {
            person: PersonId::parse(person).unwrap(),
            account: AccountId::parse("111122223333").unwrap(),
            set: PermissionSet::named(RoleName::parse("Read").unwrap()),
            now: NOW,
        }
    }

    fn credentials(expires_at: Timestamp) -> RoleCredentials {
        RoleCredentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: SecretAccessKey::new("secret"),
            session_token: SessionToken::new("x".repeat(1000)),
            expires_at,
        }
    }

    fn kept(lifetime: u32, expires_at: Timestamp) -> (KeptCredentials, Key) {
        let kept = KeptCredentials::new(Lifetime::from_seconds(lifetime));
        let key = Key::of(&request("ada"));
        kept.keep(key.clone(), &credentials(expires_at), NOW);
        (kept, key)
    }

    #[test]
    fn they_are_kept_for_their_time_and_never_past_half_of_their_life() {
        for (lifetime, life, until) in
            [(300, 3600, 300), (3600, 3600, 1800), (300, 400, 200), (300, 1, 0), (0, 3600, 0)]
        {
            let (kept, key) = kept(lifetime, later(life));
            assert_eq!(kept.get(&key, NOW).is_some(), until > 0, "{lifetime} {life}");
            assert_eq!(kept.get(&key, later(until.max(1) - 1)).is_some(), until > 0, "{lifetime} {life}");
            assert!(kept.get(&key, later(until)).is_none(), "{lifetime} {life}");
            assert!(kept.get(&key, NOW.minus(Lifetime::from_seconds(1))).is_none(), "the clock was put back");
        }
    }

    #[test]
    fn they_are_given_to_nobody_else_and_for_nothing_else() {
        let (kept, key) = kept(300, later(3600));
        assert!(kept.get(&key, NOW).is_some());
        let other = |edit: fn(&mut RoleRequest)| {
            let mut request = request("ada");
            edit(&mut request);
            kept.get(&Key::of(&request), NOW).is_none()
        };
        assert!(other(|request| request.person = PersonId::parse("Ada").unwrap()));
        assert!(other(|request| request.account = AccountId::parse("999999999999").unwrap()));
        assert!(other(|request| request.set.session_policy = Some("{}".into())));
        assert!(other(|request| request.set.session_duration = Lifetime::from_seconds(900)));
        assert!(!other(|request| request.now = later(9)));
    }

    #[test]
    fn they_take_no_more_memory_than_they_may() {
        let (kept, _) = kept(300, later(3600));
        for nth in 0..50_000 {
            kept.keep(Key::of(&request(&format!("p{nth}"))), &credentials(later(3600)), NOW);
        }
        let count = kept.cache.len() as u64;
        assert!((5_000..=MOST_BYTES / 1500).contains(&count), "{count}");
    }
}
