//! Object keys as the bytes they are, and slices of a key space.

use std::fmt;

use bytes::Bytes;

/// Longest object key in bytes (S3 User Guide, "Naming Amazon S3 objects").
pub const MAX_KEY_BYTES: usize = 1024;

/// An object key, or the part of it after a prefix (then it may be empty). Ordered as S3 lists: by bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

/// A slice of a key space: the keys after `after` up to and including `until`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Keys up to and including this one are before the slice. `None`: nothing is, not even the empty key.
    pub after: Option<Key>,
    /// Keys above this one are behind the slice. `None`: nothing is.
    pub until: Option<Key>,
}

// === impl Key ===

impl Key {
    /// A key of these bytes. Their number is checked where a key comes in, not here.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

/// Whether a character would move a terminal's cursor, end the line or turn the direction of what follows (Unicode,
/// "Bidi_Control"). Such ones are escaped where people read.
#[must_use]
pub fn moves_text(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Prints text as it is and other bytes as `\xNN`, so that every key can be shown and told from others.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || moves_text(c) {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

// === impl KeyRange ===

impl KeyRange {
    /// Whether the key is in the slice.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        self.after.as_ref().is_none_or(|after| key > after)
            && self.until.as_ref().is_none_or(|until| key <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_range_has_the_empty_key_and_a_later_one_begins_after_its_bound() {
        let key = |text: &str| Key::from(text);
        let all = KeyRange::default();
        assert!(all.contains(&key("")) && all.contains(&key("\u{10ffff}")));
        let slice = KeyRange { after: Some(key("b")), until: Some(key("d")) };
        let inside: Vec<_> =
            ["", "a", "b", "b\0", "c", "d", "d\0"].map(|k| slice.contains(&key(k))).to_vec();
        assert_eq!(inside, [false, false, false, true, true, true, false]);
    }

    #[test]
    fn every_key_can_be_shown() {
        assert_eq!(Key::from("a b/ü\n\\").to_string(), "a b/ü\\n\\\\");
        assert_eq!(Key::from("a\u{202e}b\u{9b}").to_string(), "a\\u{202e}b\\u{9b}");
        assert_eq!(Key::from(vec![0xff, b'x']).to_string(), "\\xffx");
    }
}
