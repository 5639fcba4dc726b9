//! The server's keys.
//!
//! One master key, from which a key is derived for each purpose (HKDF-SHA256, RFC 5869), so that a value made for
//! one purpose is worthless for another. A [`Sealer`] hides and authenticates what clients carry for the server
//! (AES-256-GCM-SIV, RFC 8452); a [`Mac`] authenticates what need not be hidden (HMAC-SHA256).
//!
//! A ring holds older master keys beside the current one: what they made is still read, and nothing new is made with
//! them. Every value begins with one byte that names its key.
//!
//! Nothing here draws a random byte: a nonce is an argument.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{hkdf, hmac};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

pub mod signing;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a MAC's tag.
pub const TAG_BYTES: usize = 32;
/// Bytes of a master key.
pub const MASTER_BYTES: usize = 32;
/// Bytes that authenticate a sealed value (RFC 8452 section 4).
const SEAL_TAG_BYTES: usize = 16;

/// The master keys of a server, the current one first.
pub struct KeyRing(Vec<Master>);

struct Master {
    /// Derived from the key, so that nobody has to number keys.
    name: u8,
    extracted: hkdf::Prk,
}

/// Why a key file cannot be used. The text never holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// A line that is no key.
    #[error("line {0} is not a key: a key is 64 hexadecimal digits")]
    NotAKey(usize),
    /// There is no key.
    #[error("there is no key: a key is a line of 64 hexadecimal digits")]
    Empty,
    /// Two keys have the same one-byte name (or are the same).
    #[error(
        "the keys of line {0} and an earlier line cannot be told apart: replace the newer one by another"
    )]
    Ambiguous(usize),
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(master: &[u8; MASTER_BYTES]) -> Self {
        Self(vec![Master::new(master)])
    }

    /// Reads a key file: one key a line, in hexadecimal, the current one first; blank lines and lines that begin
    /// with `#` do not count.
    ///
    /// # Errors
    /// [`BadKeys`], naming the line.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let mut masters: Vec<Master> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let decoded = Zeroizing::new(
                HEXLOWER_PERMISSIVE.decode(line.as_bytes()).map_err(|_| BadKeys::NotAKey(at + 1))?,
            );
            let master = Master::new(decoded.as_slice().try_into().map_err(|_| BadKeys::NotAKey(at + 1))?);
            if masters.iter().any(|known| known.name == master.name) {
                return Err(BadKeys::Ambiguous(at + 1));
            }
            masters.push(master);
        }
        if masters.is_empty() { Err(BadKeys::Empty) } else { Ok(Self(masters)) }
    }

    /// Whether everything that was made with a key of `other` is read with this ring.
    #[must_use]
    pub fn reads(&self, other: &Self) -> bool {
        let known = |master: &Master| {
            let compared = master.derive("compare");
            self.0
                .iter()
                .any(|own| verify_slices_are_equal(&own.derive("compare")[..], &compared[..]).is_ok())
        };
        other.0.iter().all(known)
    }

    /// A sealer for one purpose.
    #[must_use]
    pub fn sealer(&self, purpose: &'static str) -> Sealer {
        let key = |master: &Master| {
            // The derived key has exactly the length that the algorithm demands.
            let key = UnboundKey::new(&AES_256_GCM_SIV, &master.derive(purpose)[..]).expect("a 32-byte key");
            (master.name, LessSafeKey::new(key))
        };
        Sealer(self.0.iter().map(key).collect())
    }

    /// A MAC for one purpose.
    #[must_use]
    pub fn mac(&self, purpose: &'static str) -> Mac {
        let key =
            |master: &Master| (master.name, hmac::Key::new(hmac::HMAC_SHA256, &master.derive(purpose)[..]));
        Mac(self.0.iter().map(key).collect())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing(… {} keys)", self.0.len())
    }
}

impl Master {
    fn new(master: &[u8; MASTER_BYTES]) -> Self {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"doorward").extract(master);
        let name = derive(&extracted, "name")[0];
        Self { name, extracted }
    }

    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        derive(&self.extracted, purpose)
    }
}

fn derive(extracted: &hkdf::Prk, purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    // HKDF-SHA256 gives up to 8160 bytes; 32 are asked for, and the buffer has that length.
    extracted
        .expand(&[purpose.as_bytes()], Bytes32)
        .and_then(|okm| okm.fill(&mut key[..]))
        .expect("32 bytes");
    key
}

struct Bytes32;

impl hkdf::KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// Hides and authenticates values for one purpose.
pub struct Sealer(Vec<(u8, LessSafeKey)>);

impl Sealer {
    /// Seals `plain` under the current key, as base64url: key name, nonce, ciphertext, tag. The nonce must be drawn
    /// at random; a repeated one would reveal that two values are equal, and nothing else.
    #[must_use]
    pub fn seal(&self, plain: &[u8], nonce: [u8; NONCE_BYTES]) -> String {
        let (name, key) = &self.0[0];
        let mut sealed = Vec::with_capacity(1 + NONCE_BYTES + plain.len() + SEAL_TAG_BYTES);
        sealed.push(*name);
        sealed.extend_from_slice(&nonce);
        let mut hidden = plain.to_vec();
        // Fails only for plaintexts of many gigabytes.
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from([*name]), &mut hidden)
            .expect("a small plaintext");
        sealed.extend_from_slice(&hidden);
        BASE64URL_NOPAD.encode(&sealed)
    }

    /// Whether a sealed value was made with the current key, and not with an older one that may be taken away.
    #[must_use]
    pub fn is_current(&self, text: &str) -> bool {
        BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|sealed| sealed.first() == Some(&self.0[0].0))
    }

    /// Opens what [`Sealer::seal`] made with this or an older key. `None` for anything else, cut or changed values
    /// included.
    #[must_use]
    pub fn open(&self, text: &str) -> Option<Vec<u8>> {
        let mut sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (name, rest) = sealed.split_first_mut()?;
        let (nonce, hidden) = rest.split_at_mut_checked(NONCE_BYTES)?;
        let (_, key) = self.0.iter().find(|(known, _)| known == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        key.open_in_place(nonce, Aad::from([*name]), hidden).ok().map(|plain| plain.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

/// Authenticates values for one purpose.
pub struct Mac(Vec<(u8, hmac::Key)>);

impl Mac {
    /// The tag of `message` under the current key, with the key's name.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> (u8, [u8; TAG_BYTES]) {
        let (name, key) = &self.0[0];
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(hmac::sign(key, message).as_ref());
        (*name, tag)
    }

    /// Whether `tag` is that of `message` under the key `name`; in constant time.
    #[must_use]
    pub fn verify(&self, name: u8, message: &[u8], tag: &[u8]) -> bool {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .is_some_and(|(_, key)| hmac::verify(key, message, tag).is_ok())
    }

    /// The tags of `message` under every key, the current one first: for values that are looked up by their tag.
    pub fn all_tags(&self, message: &[u8]) -> impl Iterator<Item = [u8; TAG_BYTES]> {
        self.0.iter().map(move |(_, key)| {
            let mut tag = [0; TAG_BYTES];
            tag.copy_from_slice(hmac::sign(key, message).as_ref());
            tag
        })
    }

    /// Authenticates `payload` as base64url: key name, payload, tag.
    #[must_use]
    pub fn wrap(&self, payload: &[u8]) -> String {
        let (name, tag) = self.tag(payload);
        let mut wrapped = Vec::with_capacity(1 + payload.len() + TAG_BYTES);
        wrapped.push(name);
        wrapped.extend_from_slice(payload);
        wrapped.extend_from_slice(&tag);
        BASE64URL_NOPAD.encode(&wrapped)
    }

    /// The payload of what [`Mac::wrap`] made with this or an older key, if it has exactly `N` bytes.
    #[must_use]
    pub fn unwrap<const N: usize>(&self, text: &str) -> Option<[u8; N]> {
        // Compared before anything is decoded: a text of another length is no such value.
        if text.len() != BASE64URL_NOPAD.encode_len(1 + N + TAG_BYTES) {
            return None;
        }
        let wrapped = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (name, rest) = wrapped.split_first()?;
        let (payload, tag) = rest.split_at_checked(N)?;
        self.verify(*name, payload, tag).then(|| payload.try_into().ok())?
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> KeyRing {
        KeyRing::new(&[7; 32])
    }

    #[test]
    fn a_ring_reads_what_its_own_keys_made_and_no_more() {
        let file = |keys: &[u8]| {
            let lines = keys.iter().map(|key| HEXLOWER_PERMISSIVE.encode(&[*key; MASTER_BYTES]));
            KeyRing::parse(&lines.collect::<Vec<_>>().join("\n")).unwrap()
        };
        assert!(
            file(&[7]).reads(&ring()) && file(&[8, 7]).reads(&ring()) && file(&[8, 7]).reads(&file(&[7, 8]))
        );
        assert!(!file(&[8]).reads(&ring()) && !file(&[7]).reads(&file(&[8, 7])));
    }

    #[test]
    fn a_sealed_value_opens_whole_and_for_its_purpose_only() {
        let sealer = ring().sealer("a");
        let text = sealer.seal(b"registration", [3; NONCE_BYTES]);
        assert_eq!(sealer.open(&text).as_deref(), Some(&b"registration"[..]));
        assert_eq!(ring().sealer("b").open(&text), None);
        assert_eq!(KeyRing::new(&[8; 32]).sealer("a").open(&text), None);
        for cut in 0..text.len() {
            assert_eq!(sealer.open(&text[..cut]), None, "cut to {cut}");
        }
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sealer.open(std::str::from_utf8(&bytes).unwrap()), None, "changed at {at}");
        }
        assert_eq!(sealer.open(&format!("{text}A")), None);
    }

    #[test]
    fn an_authenticated_value_unwraps_whole_and_for_its_purpose_only() {
        let mac = ring().mac("a");
        let wrapped = mac.wrap(&[5; 20]);
        assert_eq!(mac.unwrap::<20>(&wrapped), Some([5; 20]));
        assert_eq!(mac.unwrap::<16>(&wrapped), None);
        assert_eq!(ring().mac("b").unwrap::<20>(&wrapped), None);
        for at in 0..wrapped.len() {
            let mut bytes = wrapped.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(mac.unwrap::<20>(std::str::from_utf8(&bytes).unwrap()), None, "changed at {at}");
        }
    }

    #[test]
    fn an_older_key_still_reads_and_no_longer_writes() {
        let (old, new) = ("0b".repeat(32), "0c".repeat(32));
        let before = KeyRing::parse(&old).unwrap();
        let after = KeyRing::parse(&format!("# rotated\n{new}\n\n{old}\n")).unwrap();
        let sealed = before.sealer("a").seal(b"x", [1; NONCE_BYTES]);
        let wrapped = before.mac("a").wrap(&[1; 4]);
        assert!(after.sealer("a").open(&sealed).is_some());
        assert!(before.sealer("a").is_current(&sealed) && !after.sealer("a").is_current(&sealed));
        assert!(after.mac("a").unwrap::<4>(&wrapped).is_some());
        assert!(before.sealer("a").open(&after.sealer("a").seal(b"x", [1; NONCE_BYTES])).is_none());
        assert!(before.mac("a").unwrap::<4>(&after.mac("a").wrap(&[1; 4])).is_none());
    }

    #[test]
    fn a_bad_key_file_is_refused_by_line() {
        let good = "0b".repeat(32);
        assert_eq!(KeyRing::parse("").unwrap_err(), BadKeys::Empty);
        assert_eq!(KeyRing::parse(&format!("{good}\nabc")).unwrap_err(), BadKeys::NotAKey(2));
        assert_eq!(KeyRing::parse(&"0b".repeat(31)).unwrap_err(), BadKeys::NotAKey(1));
        assert_eq!(KeyRing::parse(&format!("{good}\n{good}")).unwrap_err(), BadKeys::Ambiguous(2));
    }
}
