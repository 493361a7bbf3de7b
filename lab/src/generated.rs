//! Key spaces that are made when they are looked at, so that millions of keys cost no memory.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::checksum::md5;
use crate::text::hex;

/// Objects `{prefix}{number}` with ten digits, from 0 up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// What every key begins with.
    pub prefix: String,
    /// How many there are; at most 10¹⁰.
    pub count: u64,
    /// Every so many-th object has other bytes; 0 for none.
    #[serde(default)]
    pub differs_every: u64,
    /// When they were changed, in microseconds since 1970.
    pub modified: i64,
}

impl Generated {
    /// The key of an object.
    pub(crate) fn key(&self, index: u64) -> Bytes {
        Bytes::from(format!("{}{index:010}", self.prefix))
    }

    /// Its bytes.
    pub(crate) fn body(&self, index: u64) -> Bytes {
        let differs = self.differs_every > 0 && index.is_multiple_of(self.differs_every);
        Bytes::from(format!("{index:015}{}", u8::from(differs)))
    }

    /// Size of each.
    pub(crate) const SIZE: u64 = 16;

    /// Its ETag.
    pub(crate) fn etag(&self, index: u64) -> String {
        hex(&md5(&self.body(index)))
    }

    /// The first object whose key is at or above a key.
    pub(crate) fn first_from(&self, key: &[u8]) -> u64 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.key(middle).as_ref() < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The object of a key, if it is one of these.
    pub(crate) fn index_of(&self, key: &[u8]) -> Option<u64> {
        let digits = std::str::from_utf8(key.strip_prefix(self.prefix.as_bytes())?).ok()?;
        let index: u64 = digits.parse().ok().filter(|index| *index < self.count)?;
        (digits.len() == 10).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_from_any_place() {
        let space = Generated { prefix: "d/".into(), count: 1_000, differs_every: 10, modified: 0 };
        assert_eq!(space.first_from(b""), 0);
        assert_eq!(space.first_from(b"d/0000000500"), 500);
        assert_eq!(space.first_from(b"d/0000000500\0"), 501);
        assert_eq!(space.first_from(b"e"), 1_000);
        assert_eq!(space.index_of(b"d/0000000999"), Some(999));
        assert_eq!(space.index_of(b"d/0000001000"), None);
        assert_eq!(space.index_of(b"d/999"), None);
        assert_ne!(space.body(10), space.body(11));
        assert_eq!(space.body(10).len() as u64, Generated::SIZE);
    }
}
