//! Key spaces that are made when they are looked at, so that millions of keys cost no memory.

use bytes::Bytes;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::text::hex;

/// Digits of the number at the end of each key.
const DIGITS: usize = 10;

/// Objects `{prefix}{number}` with ten digits, from 0 up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// What every key begins with.
    pub prefix: String,
    /// How many there are; at most 10¹⁰.
    pub count: u64,
    /// Bytes of each; at least 16, which is also what it is when left out.
    #[serde(default = "Generated::tail_size")]
    pub size: usize,
    /// Every so many-th object has other bytes; 0 for none.
    #[serde(default)]
    pub differs_every: u64,
    /// When they were changed, in microseconds since 1970.
    pub modified: i64,
}

/// A key space with what all its objects share.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    declared: Generated,
    /// What every body begins with. The object's number is at its end, so that an ETag costs one more block.
    head: Vec<u8>,
    digest: Md5,
}

impl Generated {
    /// Bytes of a body that are its own: the number, and whether it differs.
    const TAIL: usize = 16;

    fn tail_size() -> usize {
        Self::TAIL
    }
}

impl Space {
    pub(crate) fn new(declared: Generated) -> Self {
        let filler = declared.size.saturating_sub(Generated::TAIL);
        let head: Vec<u8> = (b'a'..=b'z').cycle().take(filler).collect();
        let digest = Md5::new().chain_update(&head);
        Self { declared, head, digest }
    }

    /// How many objects there are.
    pub(crate) fn count(&self) -> u64 {
        self.declared.count
    }

    /// When they were changed.
    pub(crate) fn modified(&self) -> i64 {
        self.declared.modified
    }

    /// Size of each.
    pub(crate) fn size(&self) -> u64 {
        (self.head.len() + Generated::TAIL) as u64
    }

    /// The key of an object.
    pub(crate) fn key(&self, index: u64) -> Bytes {
        Bytes::from(format!("{}{index:0width$}", self.declared.prefix, width = DIGITS))
    }

    fn tail(&self, index: u64) -> String {
        let every = self.declared.differs_every;
        format!("{index:015}{}", u8::from(every > 0 && index.is_multiple_of(every)))
    }

    /// Its bytes.
    pub(crate) fn body(&self, index: u64) -> Bytes {
        let mut body = Vec::with_capacity(self.head.len() + Generated::TAIL);
        body.extend_from_slice(&self.head);
        body.extend_from_slice(self.tail(index).as_bytes());
        Bytes::from(body)
    }

    /// Its ETag.
    pub(crate) fn etag(&self, index: u64) -> String {
        hex(&self.digest.clone().chain_update(self.tail(index)).finalize())
    }

    /// The first object whose key is at or above a key.
    pub(crate) fn first_from(&self, key: &[u8]) -> u64 {
        let (mut low, mut high) = (0, self.declared.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle).as_ref() < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The object of a key, if it is one of these.
    pub(crate) fn index_of(&self, key: &[u8]) -> Option<u64> {
        let digits =
            std::str::from_utf8(key.strip_prefix(self.declared.prefix.as_bytes())?).ok()?;
        if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().filter(|index| *index < self.declared.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::md5;

    fn space(size: usize) -> Space {
        let declared =
            Generated { prefix: "d/".into(), count: 1_000, size, differs_every: 10, modified: 0 };
        Space::new(declared)
    }

    #[test]
    fn keys_are_found_from_any_place() {
        let space = space(16);
        assert_eq!(space.first_from(b""), 0);
        assert_eq!(space.first_from(b"d/0000000500"), 500);
        assert_eq!(space.first_from(b"d/0000000500\0"), 501);
        assert_eq!(space.first_from(b"e"), 1_000);
        assert_eq!(space.index_of(b"d/0000000999"), Some(999));
        assert_eq!(space.index_of(b"d/0000001000"), None);
        assert_eq!(space.index_of(b"d/999"), None);
        assert_eq!(space.index_of(b"d/+000000999"), None);
    }

    #[test]
    fn bodies_have_the_size_and_the_etag_that_listings_tell() {
        for size in [16, 17, 64, 4_096] {
            let space = space(size);
            for index in [0, 1, 10, 999] {
                assert_eq!(space.body(index).len(), size);
                assert_eq!(space.etag(index), hex(&md5(&space.body(index))), "{size} {index}");
            }
            assert_ne!(space.body(10), space.body(11));
        }
    }

    #[test]
    fn only_every_so_many_th_differs_from_a_space_without_differences() {
        let plain = Generated { differs_every: 0, ..space(16).declared };
        let (plain, other) = (Space::new(plain), space(16));
        let differing: Vec<_> = (0..30).filter(|n| plain.etag(*n) != other.etag(*n)).collect();
        assert_eq!(differing, [0, 10, 20]);
    }
}
