//! Cache keys, which stand for credentials wherever a credential must not be stored.

#![forbid(unsafe_code)]

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac, rand};

use crate::error::{Failure, Reason};
use crate::platform::zeroizing_alloc::wipe_stack;

/// A cache key: HMAC-SHA256 (RFC 2104) of kind, service, policy and credential. It reveals no
/// credential. It is displayed as a short digest, the same in the log and in all tools.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; Key::LENGTH]);

impl Key {
    /// The length, in bytes.
    pub const LENGTH: usize = 32;

    /// Creates a key of bytes that have the right length.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Creates a key that differs from those of other numbers.
    #[cfg(any(test, feature = "test-support"))]
    pub fn of_test(number: u32) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut head = [0; 8];
        head[2..].copy_from_slice(&self.0[..6]);
        write!(f, "{:012x}", u64::from_be_bytes(head))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// The secret of the host, created once and shared by all its processes.
pub struct Secret(hmac::Key);

impl Secret {
    /// The length, in bytes.
    pub const LENGTH: usize = 32;

    /// Creates random bytes for a secret.
    ///
    /// # Errors
    /// [`Reason::InternalError`] if the system has no random bytes.
    pub fn random() -> Result<[u8; Self::LENGTH], Failure> {
        let mut bytes = [0; Self::LENGTH];
        rand::fill(&mut bytes)
            .map_err(|_| Failure::new(Reason::InternalError, "no random bytes to be had"))?;
        Ok(bytes)
    }

    /// Creates a secret of these bytes.
    pub fn new(bytes: &[u8; Self::LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key of a list of parts. The length of each part is included, so that different lists
    /// have different keys. A credential must be the last part: the others are copied.
    pub fn key(&self, parts: &[&[u8]]) -> Key {
        let key = self.key_on_the_stack(parts);
        wipe_stack::<2_048>();
        key
    }

    /// Does the work of `key`. The end of the credential remains in a context on the stack, which
    /// the caller overwrites.
    #[inline(never)]
    fn key_on_the_stack(&self, parts: &[&[u8]]) -> Key {
        let mut bytes = [0; Key::LENGTH];
        bytes.copy_from_slice(self.tag(parts).as_ref());
        Key(bytes)
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        if let Some((last, others)) = parts.split_last() {
            // All parts but the last are hashed in one call, because each call has a cost. The last
            // part is the longest, and may be a credential that must not be copied.
            let mut head = Vec::with_capacity(128);
            for part in others {
                head.extend_from_slice(&(part.len() as u64).to_be_bytes());
                head.extend_from_slice(part);
            }
            head.extend_from_slice(&(last.len() as u64).to_be_bytes());
            context.update(&head);
            context.update(last);
        }
        context.sign()
    }

    /// Appends a seal to `record`, by which [`Secret::opened`] recognizes a record that was written
    /// for `key` with this secret.
    pub(crate) fn sealed(&self, key: &Key, mut record: Vec<u8>) -> Vec<u8> {
        let seal = self.tag(&[b"record", key.as_bytes(), &record]);
        record.extend_from_slice(&seal.as_ref()[..SEAL_LENGTH]);
        record
    }

    /// Removes the seal of a record; `None` if the seal is wrong.
    pub(crate) fn opened<'r>(&self, key: &Key, sealed: &'r [u8]) -> Option<&'r [u8]> {
        let (record, seal) = sealed.split_at_checked(sealed.len().checked_sub(SEAL_LENGTH)?)?;
        let expected = self.tag(&[b"record", key.as_bytes(), record]);
        constant_time::verify_slices_are_equal(&expected.as_ref()[..SEAL_LENGTH], seal)
            .is_ok()
            .then_some(record)
    }
}

/// Removes the seal without checking it. Only counts may depend on the result.
pub(crate) fn unsealed(sealed: &[u8]) -> Option<&[u8]> {
    sealed.get(..sealed.len().checked_sub(SEAL_LENGTH)?)
}

/// The length of a seal, in bytes.
const SEAL_LENGTH: usize = 16;

/// A digest of a text that is no secret, of fixed length.
pub fn digest(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new(&[7; 32])
    }

    #[test]
    fn different_parts_have_different_keys() {
        let key = |parts: &[&str]| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            secret().key(&parts)
        };
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab", ""]));
        assert_ne!(key(&["a", "b"]), key(&["", "ab"]));
        assert_ne!(key(&["a"]), key(&["a", ""]));
    }

    #[test]
    fn keys_are_the_same_as_in_the_previous_release() {
        let key = secret().key(&[b"tickets", b"imap://mail.example", b"", b"PT-1"]);
        assert_eq!(key.to_string(), "056928ebed3d");
    }

    #[test]
    fn another_host_has_other_keys() {
        let other = Secret::new(&Secret::random().unwrap());
        assert_ne!(secret().key(&[b"PT-1"]), other.key(&[b"PT-1"]));
    }

    #[test]
    fn modified_record_is_rejected() {
        let key = Key::of_test(1);
        let sealed = secret().sealed(&key, b"alice".to_vec());
        assert_eq!(secret().opened(&key, &sealed), Some(&b"alice"[..]));
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert_eq!(secret().opened(&key, &changed), None);
        }
        assert_eq!(secret().opened(&Key::of_test(2), &sealed), None);
        assert_eq!(secret().opened(&key, &sealed[..15]), None);
        assert_eq!(secret().opened(&key, &[]), None);
    }
}
