//! How often somebody may guess: a password, or the code that a tool shows.
//!
//! These limits are what stands between a guesser and an account, so they are kept in the store: nodes that share one
//! count together, and a node that restarts begins with what was used up before. (An embedded store has them in memory.)
//!
//! # What the table can grow to
//! Whoever guesses chooses what is written down, name and network. Three things keep it small:
//!
//! - A guess that is refused writes nothing, and a network that has used up its own budget is refused whatever name it
//!   comes with. One network keeps some eight hundred rows alive at most: fifty guesses at once and thirty a minute, with
//!   two rows each that are forgotten within twelve minutes.
//! - Names and networks are hashed into a million keys of each kind, so that with all networks there are (an IPv6
//!   provider's, or a botnet's) there are never more than five million rows, half a gigabyte. Two that share a key share
//!   a budget. Nobody can aim at another's, because the hash is keyed; and to hit one in a hundred by chance takes ten
//!   thousand networks that guess all the time.
//! - The sweep forgets an allowance ten minutes after it is whole again.
//!
//! # Clocks
//! Times are the server's own. A node that is d seconds behind the others refuses d seconds too long; one that is ahead
//! gives away what the others would give d seconds later, and then takes it from all. Neither adds up. A clock that is set
//! back, or a node that is far ahead, refuses those who have just guessed for that long. Only a node that is more than ten
//! minutes ahead weakens a limit: its sweep forgets what the others still count.

use std::net::IpAddr;
use std::num::NonZeroU32;

use doorward_core::ids::{PersonId, SessionId};
use doorward_core::store::{Allowance, Outage, Store};
use doorward_core::time::Timestamp;
use doorward_keys::{KeyRing, Mac};

use crate::limits::network;

/// How many keys there are of each kind.
const BUCKETS: u32 = 1 << 20;

/// The limits of guesses, if there are any.
#[derive(Debug)]
pub struct Guesses(Option<Mac>);

/// A guess that somebody is about to make.
#[derive(Clone, Copy, Debug)]
pub enum Guess<'a> {
    /// A password typed for a person, from an address; nobody for a name that nobody can have.
    Password(Option<&'a PersonId>, IpAddr),
    /// A user code typed in a browser's session, from an address.
    UserCode(SessionId, IpAddr),
}

/// What is counted by itself. Its number is a part of the key.
#[derive(Clone, Copy)]
enum Kind {
    PasswordsFrom = 0,
    PasswordsOfFrom = 1,
    PasswordsOf = 2,
    CodesFrom = 3,
    CodesBy = 4,
    Codes = 5,
}

impl Kind {
    /// One every so many milliseconds, and so many at once.
    const fn rate(self) -> (u32, u32) {
        match self {
            // From many networks together more is allowed than from one, or anybody could lock anybody out.
            Self::PasswordsOf => (5_000, 100),
            Self::PasswordsOfFrom => (30_000, 10),
            Self::PasswordsFrom => (2_000, 50),
            // 34.5 bits, ten tries and then one a minute: hopeless, also from many sessions at once.
            Self::CodesBy => (60_000, 10),
            Self::CodesFrom => (5_000, 50),
            Self::Codes => (500, 1_000),
        }
    }
}

impl Guesses {
    /// The limits, or none if not `limited`.
    #[must_use]
    pub fn new(keys: &KeyRing, limited: bool) -> Self {
        Self(limited.then(|| keys.mac("guesses")))
    }

    /// Whether `guess` may be made at `now`. Whoever asks has then made it.
    ///
    /// # Errors
    /// [`Outage`] when the store cannot tell: the guess must not be made.
    pub async fn allow(&self, store: &dyn Store, guess: Guess<'_>, now: Timestamp) -> Result<bool, Outage> {
        let Some(mac) = &self.0 else { return Ok(true) };
        let allowances = match guess {
            Guess::Password(person, from) => {
                let from = octets(from);
                let mut allowances = vec![allowance(mac, Kind::PasswordsFrom, &from)];
                if let Some(person) = person {
                    let person = person.as_str().as_bytes();
                    let of_from = [&from[..], person].concat();
                    allowances.push(allowance(mac, Kind::PasswordsOfFrom, &of_from));
                    allowances.push(allowance(mac, Kind::PasswordsOf, person));
                }
                allowances
            }
            Guess::UserCode(session, from) => vec![
                allowance(mac, Kind::CodesFrom, &octets(from)),
                allowance(mac, Kind::CodesBy, session.as_bytes()),
                allowance(mac, Kind::Codes, &[]),
            ],
        };
        store.take(&allowances, now).await
    }
}

/// A network, in as many bytes whichever it is. Of IPv6 it is the 2^80 addresses that a subscriber may have: if their 2^64
/// counted by themselves, one household would be a botnet.
fn octets(address: IpAddr) -> [u8; 16] {
    match network(address) {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => (v6.to_bits() & (u128::MAX << 80)).to_be_bytes(),
    }
}

fn allowance(mac: &Mac, kind: Kind, whose: &[u8]) -> Allowance {
    let (_, tag) = mac.tag(&[&[kind as u8], whose].concat());
    let bucket = u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]) % BUCKETS;
    let (every, burst) = kind.rate();
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    Allowance { key: kind as u32 * BUCKETS + bucket, every, burst }
}

#[cfg(test)]
mod tests {
    use doorward_core::time::Lifetime;
    use doorward_store::MemoryStore;

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    struct Server(Guesses, MemoryStore);

    impl Server {
        fn new() -> Self {
            Self(Guesses::new(&KeyRing::new(&[7; 32]), true), MemoryStore::default())
        }

        /// How many of `tries` guesses are allowed at `now`.
        async fn allowed(&self, tries: u32, now: Timestamp, guess: impl Fn(u32) -> Guess<'static>) -> u32 {
            let mut allowed = 0;
            for n in 0..tries {
                allowed += u32::from(self.0.allow(&self.1, guess(n), now).await.unwrap());
            }
            allowed
        }
    }

    fn person(name: &str) -> &'static PersonId {
        Box::leak(Box::new(PersonId::parse(name).unwrap()))
    }

    #[tokio::test]
    async fn one_network_cannot_lock_a_person_out_for_the_others() {
        let (server, ada) = (Server::new(), person("ada"));
        let from = |last: u8| move |_| Guess::Password(Some(ada), [192, 0, 2, last].into());
        // As long as it likes.
        let mut now = NOW;
        let mut allowed = 0;
        for _ in 0..600 {
            allowed += server.allowed(20, now, from(1)).await;
            now = now.plus(Lifetime::from_seconds(1));
        }
        assert_eq!(allowed, 10 + 599 / 30);
        assert_eq!(server.allowed(20, now, from(2)).await, 10);
    }

    #[tokio::test]
    async fn one_ipv6_subscriber_is_one_network() {
        let (server, ada) = (Server::new(), person("ada"));
        let from = |subnet: u32| {
            let subnet = u128::from(subnet) << 64;
            Guess::Password(Some(ada), IpAddr::V6((0x2001_0db8_0001 << 80 | subnet | 1).into()))
        };
        assert_eq!(server.allowed(300, NOW, from).await, 10);
        let other = |_| Guess::Password(Some(ada), IpAddr::V6((0x2001_0db8_0002_u128 << 80 | 1).into()));
        assert_eq!(server.allowed(20, NOW, other).await, 10);
    }

    #[tokio::test]
    async fn many_networks_share_a_persons_budget_and_one_network_its_own() {
        let (server, ada) = (Server::new(), person("ada"));
        let botnet = |n: u32| Guess::Password(Some(ada), (0x0a00_0000 + n).to_be_bytes().into());
        assert_eq!(server.allowed(300, NOW, botnet).await, 100);
        assert_eq!(server.allowed(300, NOW.plus(Lifetime::from_seconds(50)), botnet).await, 10);
        let people: Vec<_> = (0..300).map(|n| person(&format!("person-{n}"))).collect();
        let sprayed = |n: u32| Guess::Password(Some(people[n as usize]), [203, 0, 113, 9].into());
        assert_eq!(server.allowed(300, NOW, sprayed).await, 50);
    }

    #[test]
    fn every_kind_has_keys_of_its_own_and_no_more_than_it_may() {
        let mac = KeyRing::new(&[7; 32]).mac("guesses");
        let kinds = [
            Kind::PasswordsFrom,
            Kind::PasswordsOfFrom,
            Kind::PasswordsOf,
            Kind::CodesFrom,
            Kind::CodesBy,
            Kind::Codes,
        ];
        for (n, kind) in (0..).zip(kinds) {
            let keys: std::collections::HashSet<u32> =
                (0..1000_u32).map(|whose| allowance(&mac, kind, &whose.to_be_bytes()).key).collect();
            assert!(keys.iter().all(|key| key / BUCKETS == n));
            // A few of a thousand may share one by chance.
            assert!(keys.len() > 990, "{}", keys.len());
        }
    }
}
