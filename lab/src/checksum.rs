//! Digests: what S3 stores, verifies and combines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::text::{element, hex};

/// Algorithms with a header of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Crc64Nvme,
    Crc32,
    Crc32C,
    Sha256,
}

/// Whether a checksum is of all bytes or of the parts' checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    FullObject,
    Composite,
}

/// A stored checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    /// Base64, with `-N` when it is composite.
    pub(crate) value: String,
    pub(crate) kind: Kind,
}

pub(crate) const ALL: [Algorithm; 4] =
    [Algorithm::Crc64Nvme, Algorithm::Crc32, Algorithm::Crc32C, Algorithm::Sha256];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

impl Checksum {
    /// Of all bytes.
    pub(crate) fn full(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, value: algorithm.of(bytes), kind: Kind::FullObject }
    }

    /// The XML elements that tell it.
    pub(crate) fn elements(&self) -> String {
        element(&self.algorithm.element(), &self.value) + &element("ChecksumType", self.kind.name())
    }
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32C => "CRC32C",
            Self::Sha256 => "SHA256",
        }
    }

    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32C => "x-amz-checksum-crc32c",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Name of the XML element.
    pub(crate) fn element(self) -> String {
        format!("Checksum{}", self.name())
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32C => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Sha256 => None,
        }
    }

    /// The checksum of bytes, base64.
    pub(crate) fn of(self, bytes: &[u8]) -> String {
        match self.crc() {
            Some(crc) => self.encode(crc_fast::checksum(crc, bytes)),
            None => STANDARD.encode(Sha256::digest(bytes)),
        }
    }

    pub(crate) fn encode(self, value: u64) -> String {
        match self {
            Self::Crc64Nvme => STANDARD.encode(value.to_be_bytes()),
            Self::Crc32 | Self::Crc32C | Self::Sha256 => STANDARD.encode(&value.to_be_bytes()[4..]),
        }
    }

    /// The checksum of all bytes, from the parts' checksums and lengths; only CRCs can be combined.
    pub(crate) fn combined(self, parts: &[(String, u64)]) -> Option<String> {
        let crc = self.crc()?;
        let mut whole = 0;
        for (index, (text, length)) in parts.iter().enumerate() {
            let part = STANDARD.decode(text).ok()?;
            let part = part.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
            whole = if index == 0 {
                part
            } else {
                crc_fast::checksum_combine(crc, whole, part, *length)
            };
        }
        Some(self.encode(whole))
    }

    /// The checksum of the parts' checksums.
    pub(crate) fn composite(self, parts: &[(String, u64)]) -> Option<String> {
        let mut all = Vec::new();
        for (text, _) in parts {
            all.extend(STANDARD.decode(text).ok()?);
        }
        Some(format!("{}-{}", self.of(&all), parts.len()))
    }
}

/// The MD5 of bytes.
pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// A multipart object's ETag: the MD5 of the parts' MD5s, and their number.
pub(crate) fn multipart_etag(parts: &[[u8; 16]]) -> String {
    format!("{}-{}", hex(&md5(&parts.concat())), parts.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard_check_string() {
        // The catalogue's check values of "123456789" (reveng.sourceforge.io/crc-catalogue).
        assert_eq!(
            Algorithm::Crc32.of(b"123456789"),
            STANDARD.encode(0xcbf4_3926_u32.to_be_bytes())
        );
        assert_eq!(
            Algorithm::Crc32C.of(b"123456789"),
            STANDARD.encode(0xe306_9283_u32.to_be_bytes())
        );
        assert_eq!(
            Algorithm::Crc64Nvme.of(b"123456789"),
            STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())
        );
    }

    #[test]
    fn combined_checksums_are_those_of_all_bytes() {
        let parts: [&[u8]; 4] = [b"hello ", b"", b"wor", b"ld"];
        for algorithm in [Algorithm::Crc64Nvme, Algorithm::Crc32, Algorithm::Crc32C] {
            let known = parts.map(|part| (algorithm.of(part), part.len() as u64));
            assert_eq!(algorithm.combined(&known), Some(algorithm.of(&parts.concat())));
        }
        assert_eq!(Algorithm::Sha256.combined(&[(Algorithm::Sha256.of(b""), 0)]), None);
    }

    #[test]
    fn a_composite_checksum_tells_the_number_of_parts() {
        let known = [b"a", b"b"].map(|part| (Algorithm::Sha256.of(part), 1));
        let both = [Sha256::digest(b"a"), Sha256::digest(b"b")].concat();
        assert_eq!(
            Algorithm::Sha256.composite(&known),
            Some(format!("{}-2", Algorithm::Sha256.of(&both)))
        );
    }

    #[test]
    fn a_multipart_etag_is_the_md5_of_the_parts() {
        let etag = multipart_etag(&[md5(b"a"), md5(b"b")]);
        assert_eq!(etag, format!("{}-2", hex(&md5(&[md5(b"a"), md5(b"b")].concat()))));
    }
}
