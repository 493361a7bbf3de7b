//! Pure. Whether a destination object is in step with its source, from what listings say, and from the stamp that a
//! copy leaves behind where listings cannot say it.

pub mod drift;

use std::time::Duration;

use s3sync_proto::model::{CompareMode, EtagKind, Key, Timestamp};

use crate::s3::StoredChecksum;

/// Name of the user metadata that says what a destination object is a copy of.
pub const STAMP: &str = "s3sync-source";

/// A destination newer than its source by more than this is in step although their ETags cannot be compared. S3 takes
/// a multipart upload's time at its beginning, and an upload may be open for 7 days before the usual lifecycle rule
/// aborts it; a day more for clocks and patience.
pub const SETTLED_AFTER: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// An object as a listing shows it; the key is relative to the prefix of its side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Key without prefix.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// ETag without quotes.
    pub etag: String,
    /// When it was last changed.
    pub modified: Timestamp,
    /// Storage class; empty means STANDARD.
    pub storage_class: String,
    /// Whether it must be restored before it can be read, as far as is known: an archive tier of Intelligent-Tiering
    /// shows only when it is read.
    pub archived: bool,
}

/// What is known of the ETags on both sides. `None`: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Of the source bucket.
    pub source: Option<EtagKind>,
    /// Of the destination bucket.
    pub destination: Option<EtagKind>,
}

/// What to do with a key that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    InStep,
    /// Copy it.
    Copy,
    /// The listings do not tell; ask.
    Ask(Ask),
}

/// What to ask when listings do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The destination for its stamp: in step when it matches, else copy.
    Stamp,
    /// Both sides for their stored checksums. Where those cannot be compared the stamp tells, and else it is copied:
    /// who asks for checksums is not content with the time of the copy.
    Checksums,
    /// Both sides for what they carry; the bytes are in step.
    Carried,
}

/// Why a pair was decided as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Sizes differ.
    SizesDiffer,
    /// Sizes are equal, and nothing else is looked at.
    SameSize,
    /// ETags are equal.
    SameEtag,
    /// ETags differ, whatever they are.
    EtagsDiffer,
    /// Both ETags are MD5s and differ.
    Md5sDiffer,
    /// Both are empty.
    BothEmpty,
    /// ETags cannot be compared, and the destination is newer by so much that no upload can have begun before.
    SettledByTime,
    /// ETags cannot be compared.
    EtagsCannotBeCompared,
    /// It is not known yet whether ETags can be compared.
    EtagKindsUnknown,
    /// Stored checksums are to be asked for.
    AsksChecksums,
    /// The destination is stamped as a copy of this source, or has its ETag by now.
    Stamped,
    /// The destination is not stamped as a copy of this source.
    NotStamped,
    /// Stored checksums are equal.
    SameChecksum,
    /// Stored checksums differ.
    ChecksumsDiffer,
    /// There are no checksums to compare, but the ETag or the stamp is that of the source.
    SettledWithoutChecksum,
    /// There is nothing to compare.
    NoCommonChecksum,
}

impl Why {
    /// For a person: the middle of a sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SizesDiffer => "their sizes differ",
            Self::SameSize => "their sizes are equal, and the job compares nothing else",
            Self::SameEtag => "their ETags are equal",
            Self::EtagsDiffer => "their ETags differ, and the job compares nothing else",
            Self::Md5sDiffer => "their ETags are MD5s of the bytes and differ",
            Self::BothEmpty => "both are empty",
            Self::SettledByTime => {
                "their ETags cannot be compared, and the destination was written more than 8 days after the source"
            }
            Self::EtagsCannotBeCompared => "their ETags cannot be compared",
            Self::EtagKindsUnknown => {
                "their ETags differ, and it is not known yet whether these are MD5s of the bytes in both buckets"
            }
            Self::AsksChecksums => "the job compares stored checksums",
            Self::Stamped => "the destination is stamped as a copy of this very source",
            Self::NotStamped => "the destination is not stamped as a copy of this very source",
            Self::SameChecksum => "they are equal",
            Self::ChecksumsDiffer => "they differ",
            Self::SettledWithoutChecksum => {
                "both sides have none in common, but the destination has the ETag or the stamp of the source"
            }
            Self::NoCommonChecksum => {
                "both sides have none in common, and nothing else shows that they are equal"
            }
        }
    }
}

/// Decides from listings alone.
///
/// As long as the kind of a side's ETags is unknown, two different MD5-like ETags prove neither way: the buckets may
/// be encrypted with KMS. Then the stamp is asked for, also of an old object, and a missing stamp means copy. The
/// first few such copies teach the kinds, so the price of not knowing is a few copies and HEADs, never a missed edit.
#[must_use]
pub fn decide(mode: CompareMode, source: &Found, destination: &Found, kinds: Kinds) -> Decision {
    decide_why(mode, source, destination, kinds).0
}

/// The same, and why.
#[must_use]
pub fn decide_why(
    mode: CompareMode,
    source: &Found,
    destination: &Found,
    kinds: Kinds,
) -> (Decision, Why) {
    if source.size != destination.size {
        return (Decision::Copy, Why::SizesDiffer);
    }
    let same_etag = !source.etag.is_empty() && source.etag == destination.etag;
    match mode {
        CompareMode::Size => (Decision::InStep, Why::SameSize),
        CompareMode::Etag if same_etag => (Decision::InStep, Why::SameEtag),
        CompareMode::Etag => (Decision::Copy, Why::EtagsDiffer),
        CompareMode::Default if same_etag => (Decision::InStep, Why::SameEtag),
        CompareMode::Default => by_kind(source, destination, kinds),
        // No bytes are equal to no bytes.
        CompareMode::Checksum if source.size == 0 => (Decision::InStep, Why::BothEmpty),
        CompareMode::Checksum => (Decision::Ask(Ask::Checksums), Why::AsksChecksums),
        CompareMode::Full if same_etag => (Decision::Ask(Ask::Carried), Why::SameEtag),
        CompareMode::Full => match by_kind(source, destination, kinds) {
            (Decision::InStep, why) => (Decision::Ask(Ask::Carried), why),
            // A stamp that matches leads on to what is carried.
            differs @ (Decision::Copy | Decision::Ask(_), _) => differs,
        },
    }
}

/// Decides by what was answered to `ask`: whether the destination, of the size of the source, has its ETag or its stamp
/// (`in_step`), and what the stored checksums show when they were asked for.
#[must_use]
pub fn answered(
    mode: CompareMode,
    ask: Ask,
    in_step: bool,
    checksums: Option<bool>,
) -> (Decision, Why) {
    match ask {
        Ask::Stamp if !in_step => (Decision::Copy, Why::NotStamped),
        Ask::Stamp if mode == CompareMode::Full => (Decision::Ask(Ask::Carried), Why::Stamped),
        Ask::Stamp => (Decision::InStep, Why::Stamped),
        Ask::Checksums => match checksums {
            Some(true) => (Decision::InStep, Why::SameChecksum),
            Some(false) => (Decision::Copy, Why::ChecksumsDiffer),
            None if in_step => (Decision::InStep, Why::SettledWithoutChecksum),
            None => (Decision::Copy, Why::NoCommonChecksum),
        },
        Ask::Carried => (Decision::Ask(Ask::Carried), Why::SameEtag),
    }
}

/// Whether stored checksums show two objects to be equal or different. `None`: they cannot be compared. One that is
/// combined of parts can show that they are equal; that it differs may be due to the parts.
#[must_use]
pub fn by_checksums(source: &[StoredChecksum], destination: &[StoredChecksum]) -> Option<bool> {
    let mut equal = None;
    for one in source {
        for other in destination.iter().filter(|other| other.algorithm == one.algorithm) {
            if one.value == other.value {
                equal = Some(true);
            } else if one.whole && other.whole {
                return Some(false);
            }
        }
    }
    equal
}

fn by_kind(source: &Found, destination: &Found, kinds: Kinds) -> (Decision, Why) {
    let opaque = |etag: &str, kind| kind == Some(EtagKind::Opaque) || !is_md5_like(etag);
    if opaque(&source.etag, kinds.source) || opaque(&destination.etag, kinds.destination) {
        let newer_by = destination.modified.since(source.modified);
        return if newer_by > SETTLED_AFTER {
            (Decision::InStep, Why::SettledByTime)
        } else {
            (Decision::Ask(Ask::Stamp), Why::EtagsCannotBeCompared)
        };
    }
    if kinds.source.is_some() && kinds.destination.is_some() {
        (Decision::Copy, Why::Md5sDiffer)
    } else {
        (Decision::Ask(Ask::Stamp), Why::EtagKindsUnknown)
    }
}

/// Whether an ETag can be the MD5 of the bytes: 32 hex digits. That of a multipart object has `-N` behind.
#[must_use]
pub fn is_md5_like(etag: &str) -> bool {
    etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The number of parts an ETag speaks of, when it is one of a multipart object.
#[must_use]
pub fn parts_of(etag: &str) -> Option<u32> {
    let (digest, parts) = etag.split_once('-')?;
    if is_md5_like(digest) { parts.parse().ok().filter(|parts| *parts > 0) } else { None }
}

/// The stamp of a copy of this source: its ETag and its time in whole seconds, since a HEAD tells no finer.
#[must_use]
pub fn stamp(etag: &str, modified: Timestamp) -> String {
    format!("{etag}/{}", modified.as_micros().div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";
    const MULTI: &str = "0cc175b9c0f1b6a831c399e269772661-3";
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn found(size: u64, etag: &str, days: u32) -> Found {
        Found {
            key: Key::from("k"),
            size,
            etag: etag.into(),
            modified: Timestamp::default().plus(DAY * days),
            storage_class: String::new(),
            archived: false,
        }
    }

    fn kinds(source: Option<EtagKind>, destination: Option<EtagKind>) -> Kinds {
        Kinds { source, destination }
    }

    #[test]
    fn the_rule_case_by_case() {
        use Decision::{Copy, InStep};
        let ask_stamp = Decision::Ask(Ask::Stamp);
        let md5 = Some(EtagKind::Md5);
        let opaque = Some(EtagKind::Opaque);
        let cases = [
            ("sizes differ", found(2, A, 0), found(1, A, 99), kinds(md5, md5), Copy),
            ("same ETag", found(1, A, 9), found(1, A, 0), kinds(None, opaque), InStep),
            (
                "same multipart ETag",
                found(1, MULTI, 9),
                found(1, MULTI, 0),
                kinds(md5, md5),
                InStep,
            ),
            ("MD5s differ, however old", found(1, A, 0), found(1, B, 99), kinds(md5, md5), Copy),
            ("multipart, fresh", found(1, MULTI, 0), found(1, B, 8), kinds(md5, md5), ask_stamp),
            ("multipart, settled", found(1, MULTI, 0), found(1, B, 9), kinds(md5, md5), InStep),
            ("multipart, older", found(1, MULTI, 9), found(1, B, 0), kinds(md5, md5), ask_stamp),
            ("KMS here", found(1, A, 0), found(1, B, 1), kinds(md5, opaque), ask_stamp),
            ("KMS there, settled", found(1, A, 0), found(1, B, 9), kinds(opaque, md5), InStep),
            ("kind unknown", found(1, A, 0), found(1, B, 0), kinds(None, md5), ask_stamp),
            ("kind unknown, old", found(1, A, 0), found(1, B, 99), kinds(md5, None), ask_stamp),
            ("no ETag at all", found(1, "", 0), found(1, "", 0), kinds(None, None), ask_stamp),
        ];
        for (name, source, destination, kinds, expected) in cases {
            let decision = decide(CompareMode::Default, &source, &destination, kinds);
            assert_eq!(decision, expected, "{name}");
        }
    }

    #[test]
    fn other_modes_look_at_what_they_name() {
        let (one, other) = (found(1, A, 0), found(1, B, 0));
        let decide = |mode| decide(mode, &one, &other, Kinds::default());
        assert_eq!(decide(CompareMode::Size), Decision::InStep);
        assert_eq!(decide(CompareMode::Etag), Decision::Copy);
        assert_eq!(decide(CompareMode::Checksum), Decision::Ask(Ask::Checksums));
        assert_eq!(decide(CompareMode::Full), Decision::Ask(Ask::Stamp));
    }

    #[test]
    fn checksums_are_asked_for_whatever_listings_say_of_the_same_size() {
        let kinds = kinds(Some(EtagKind::Md5), Some(EtagKind::Md5));
        let decide = |one: &Found, other: &Found| decide(CompareMode::Checksum, one, other, kinds);
        let same = decide(&found(1, A, 0), &found(1, A, 99));
        assert_eq!(same, Decision::Ask(Ask::Checksums));
        assert_eq!(decide(&found(1, A, 0), &found(2, A, 99)), Decision::Copy);
        assert_eq!(decide(&found(0, A, 0), &found(0, B, 0)), Decision::InStep);
    }

    #[test]
    fn what_is_carried_is_asked_for_when_the_bytes_are_in_step() {
        let md5 = kinds(Some(EtagKind::Md5), Some(EtagKind::Md5));
        let decide = |one: &Found, other: &Found| decide(CompareMode::Full, one, other, md5);
        assert_eq!(decide(&found(1, A, 0), &found(1, A, 0)), Decision::Ask(Ask::Carried));
        assert_eq!(decide(&found(1, MULTI, 0), &found(1, B, 9)), Decision::Ask(Ask::Carried));
        assert_eq!(decide(&found(1, MULTI, 0), &found(1, B, 8)), Decision::Ask(Ask::Stamp));
        assert_eq!(decide(&found(1, A, 0), &found(1, B, 9)), Decision::Copy);
    }

    #[test]
    fn stored_checksums_show_equal_different_or_nothing() {
        let of = |algorithm: &'static str, value: &str, whole| StoredChecksum {
            algorithm,
            value: value.to_owned(),
            whole,
        };
        let (crc, sha) = (|value| of("CRC64NVME", value, true), |value| of("SHA256", value, true));
        let parts = |value| of("SHA256", value, false);
        let table = [
            (vec![crc("a")], vec![crc("a")], Some(true)),
            (vec![crc("a")], vec![crc("b")], Some(false)),
            (vec![crc("a")], vec![sha("a")], None),
            (vec![], vec![crc("a")], None),
            (vec![], vec![], None),
            (vec![parts("a-2")], vec![parts("a-2")], Some(true)),
            (vec![parts("a-2")], vec![parts("b-3")], None),
            (vec![parts("a-2")], vec![sha("b")], None),
            (vec![crc("a"), sha("x")], vec![sha("y"), crc("a")], Some(false)),
        ];
        for (one, other, expected) in table {
            assert_eq!(by_checksums(&one, &other), expected, "{one:?} {other:?}");
            assert_eq!(by_checksums(&other, &one), expected, "{other:?} {one:?}");
        }
    }

    #[test]
    fn etags_of_multipart_objects_tell_their_parts() {
        assert_eq!(parts_of(MULTI), Some(3));
        for etag in [A, "", "x-1", "0cc175b9c0f1b6a831c399e269772661-0"] {
            assert_eq!(parts_of(etag), None, "{etag}");
        }
    }

    fn etag() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just(A), Just(B), Just(MULTI), Just("opaque"), Just("")]
    }

    fn kind() -> impl Strategy<Value = Option<EtagKind>> {
        prop_oneof![Just(None), Just(Some(EtagKind::Md5)), Just(Some(EtagKind::Opaque))]
    }

    proptest! {
        /// A fresh edit of the same size is never taken for in step on the word of a listing alone.
        #[test]
        fn a_fresh_difference_is_never_in_step(
            (a, b) in (etag(), etag()), (s, d) in (kind(), kind()), days in 0..=8_u32,
        ) {
            prop_assume!(a != b);
            let decision =
                decide(CompareMode::Default, &found(1, a, 0), &found(1, b, days), kinds(s, d));
            prop_assert_ne!(decision, Decision::InStep);
            let decision =
                decide(CompareMode::Full, &found(1, a, 0), &found(1, b, days), kinds(s, d));
            prop_assert!(matches!(decision, Decision::Copy | Decision::Ask(Ask::Stamp)));
        }
    }
}
