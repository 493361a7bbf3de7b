//! Pure. Running checksums of a body, and whether they are what S3 said they would be.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};

use crate::compare::is_md5_like;
use crate::s3::{Algorithm, Checksum};

/// Checksums of a body that is passing by.
pub struct Running {
    length: u64,
    crc: Option<(Algorithm, crc_fast::Digest)>,
    md5: Option<Md5>,
}

/// Checksums of a body that has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digested {
    /// Bytes.
    pub length: u64,
    /// The checksum that was asked for.
    pub checksum: Option<Crc>,
    /// The MD5, when it was asked for.
    pub md5: Option<[u8; 16]>,
}

/// A CRC with its algorithm, which can be combined with that of the bytes that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc {
    algorithm: Algorithm,
    value: u64,
}

/// What a body must turn out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Bytes.
    pub length: u64,
    /// Checksum.
    pub checksum: Option<Checksum>,
    /// ETag that should be the MD5.
    pub md5_etag: Option<String>,
}

/// Why a body is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Too short or too long.
    #[error("{0} bytes came instead of {1}")]
    Length(u64, u64),
    /// Other bytes.
    #[error("the bytes have the checksum {0} instead of {1}")]
    Checksum(String, String),
    /// Other bytes, or an ETag that is no MD5.
    #[error(
        "the bytes have the MD5 {hex} instead of {1}; if ETags of this endpoint are not MD5s, set `etags: opaque`",
        hex = hex(.0)
    )]
    Md5([u8; 16], String),
}

// === impl Running ===

impl Running {
    /// Computes what is asked for.
    #[must_use]
    pub fn new(algorithm: Option<Algorithm>, md5: Option<()>) -> Self {
        let crc = algorithm.map(|algorithm| (algorithm, crc_fast::Digest::new(crc_of(algorithm))));
        Self { length: 0, crc, md5: md5.map(|()| Md5::new()) }
    }

    /// Computes what is needed to check a body.
    #[must_use]
    pub fn for_check(expected: &Expected) -> Self {
        let algorithm = expected.checksum.as_ref().map(|checksum| checksum.algorithm);
        Self::new(algorithm, expected.md5_etag.as_ref().map(|_| ()))
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if let Some((_, crc)) = &mut self.crc {
            crc.update(bytes);
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The checksums of all bytes.
    #[must_use]
    pub fn finish(self) -> Digested {
        let checksum = self.crc.map(|(algorithm, crc)| Crc { algorithm, value: crc.finalize() });
        Digested { length: self.length, checksum, md5: self.md5.map(|md5| md5.finalize().into()) }
    }
}

// === impl Crc ===

impl Crc {
    /// Of these bytes.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        Self { algorithm, value: crc_fast::checksum(crc_of(algorithm), bytes) }
    }

    /// Of these bytes and the `length` bytes behind them.
    #[must_use]
    pub fn followed_by(self, next: Self, length: u64) -> Self {
        assert!(self.algorithm == next.algorithm, "one algorithm for all parts");
        let combined =
            crc_fast::checksum_combine(crc_of(self.algorithm), self.value, next.value, length);
        Self { value: combined, ..self }
    }

    /// Which kind it is.
    #[must_use]
    pub fn algorithm(self) -> Algorithm {
        self.algorithm
    }

    /// From what S3 writes.
    #[must_use]
    pub fn decode(written: &Checksum) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(&written.value).ok()?;
        let length = match written.algorithm {
            Algorithm::Crc64Nvme => 8,
            Algorithm::Crc32 | Algorithm::Crc32C => 4,
        };
        let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        (bytes.len() == length).then_some(Self { algorithm: written.algorithm, value })
    }

    /// As S3 writes it.
    #[must_use]
    pub fn encode(self) -> Checksum {
        let bytes = self.value.to_be_bytes();
        let bytes = match self.algorithm {
            Algorithm::Crc64Nvme => &bytes[..],
            Algorithm::Crc32 | Algorithm::Crc32C => &bytes[4..],
        };
        Checksum { algorithm: self.algorithm, value: BASE64_STANDARD.encode(bytes) }
    }
}

// === impl Expected ===

impl Expected {
    /// Whether a body is what it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, digested: &Digested) -> Result<(), Mismatch> {
        if digested.length != self.length {
            return Err(Mismatch::Length(digested.length, self.length));
        }
        if let (Some(expected), Some(crc)) = (&self.checksum, digested.checksum) {
            let is = crc.encode();
            if is != *expected {
                return Err(Mismatch::Checksum(is.value, expected.value.clone()));
            }
        }
        if let (Some(etag), Some(md5)) = (&self.md5_etag, digested.md5)
            && !etag.eq_ignore_ascii_case(&hex(&md5))
        {
            return Err(Mismatch::Md5(md5, etag.clone()));
        }
        Ok(())
    }
}

/// What a destination tells of the bytes it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// They are those that were sent.
    Same,
    /// They are others.
    Other,
    /// Nothing: it may not even have looked at the checksum.
    Nothing,
}

/// What an answer tells by its checksum, else by an ETag that is known to be, or may be, the MD5. Only an ETag that is
/// known to be one tells that bytes are others.
#[must_use]
pub fn told(sent: &Digested, checksum: Option<&Checksum>, etag: &str, md5s: Option<bool>) -> Told {
    let sent_checksum = sent.checksum.map(Crc::encode);
    let of_kind = checksum
        .filter(|told| sent_checksum.as_ref().is_some_and(|sent| sent.algorithm == told.algorithm));
    if let Some(told) = of_kind {
        return if Some(told) == sent_checksum.as_ref() { Told::Same } else { Told::Other };
    }
    match sent.md5 {
        Some(md5) if md5s != Some(false) && is_md5_like(etag) => {
            if etag.eq_ignore_ascii_case(&hex(&md5)) {
                Told::Same
            } else if md5s == Some(true) {
                Told::Other
            } else {
                Told::Nothing
            }
        }
        Some(_) | None => Told::Nothing,
    }
}

/// Hexadecimal, as in an ETag.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a `Content-MD5` header that says what an MD5 ETag says.
#[must_use]
pub fn content_md5_of_etag(etag: &str) -> Option<String> {
    is_md5_like(etag).then(|| unhex(etag)).flatten().map(|md5| BASE64_STANDARD.encode(md5))
}

/// The MD5 that an ETag says.
#[must_use]
pub fn md5_of_etag(etag: &str) -> Option<[u8; 16]> {
    is_md5_like(etag).then(|| unhex(etag)).flatten()?.try_into().ok()
}

/// The value of a `Content-MD5` header for these bytes.
#[must_use]
pub fn content_md5(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(Md5::digest(bytes))
}

/// The ETag S3 gives a multipart object whose parts have these ETags; `None` when one of them is not an MD5.
#[must_use]
pub fn multipart_etag<'a>(parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
    let count = parts.len();
    let mut all = Md5::new();
    for etag in parts {
        all.update(unhex(etag).filter(|_| is_md5_like(etag))?);
    }
    Some(format!("{}-{count}", hex(&all.finalize())))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn crc_of(algorithm: Algorithm) -> CrcAlgorithm {
    match algorithm {
        Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        Algorithm::Crc32C => CrcAlgorithm::Crc32Iscsi,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn checksums_are_written_as_s3_writes_them() {
        // The check values of the CRC catalogue for "123456789".
        let of = |algorithm| Crc::of(algorithm, b"123456789").encode().value;
        assert_eq!(
            of(Algorithm::Crc64Nvme),
            BASE64_STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())
        );
        assert_eq!(of(Algorithm::Crc32), BASE64_STANDARD.encode(0xcbf4_3926_u32.to_be_bytes()));
        assert_eq!(of(Algorithm::Crc32C), BASE64_STANDARD.encode(0xe306_9283_u32.to_be_bytes()));
        assert_eq!(content_md5_of_etag("d41d8cd98f00b204e9800998ecf8427e"), Some(content_md5(b"")));
        assert_eq!(content_md5_of_etag("d41d8cd98f00b204e9800998ecf8427e-1"), None);
    }

    #[test]
    fn the_etag_of_parts_is_the_md5_of_their_md5s() {
        let part = hex(&Md5::digest(b"a"));
        let twice = Md5::digest([Md5::digest(b"a"), Md5::digest(b"a")].concat());
        let etag = multipart_etag([part.as_str(), part.as_str()].into_iter());
        assert_eq!(etag, Some(format!("{}-2", hex(&twice))));
        assert_eq!(multipart_etag(["opaque"].into_iter()), None);
    }

    #[test]
    fn what_a_destination_tells_is_taken_only_for_what_it_is() {
        let mut running = Running::new(Some(Algorithm::Crc32), Some(()));
        running.update(b"a");
        let sent = running.finish();
        let crc = |algorithm, body| Some(Crc::of(algorithm, body).encode());
        let etag = hex(&Md5::digest(b"a"));
        let other = hex(&Md5::digest(b"b"));
        let table = [
            (crc(Algorithm::Crc32, b"a"), "opaque", None, Told::Same),
            (crc(Algorithm::Crc32, b"b"), etag.as_str(), Some(true), Told::Other),
            // Of another kind it says nothing; then the ETag may.
            (crc(Algorithm::Crc64Nvme, b"a"), "opaque", Some(true), Told::Nothing),
            (crc(Algorithm::Crc64Nvme, b"b"), etag.as_str(), None, Told::Same),
            (None, etag.as_str(), None, Told::Same),
            (None, etag.as_str(), Some(false), Told::Nothing),
            (None, other.as_str(), Some(true), Told::Other),
            (None, other.as_str(), None, Told::Nothing),
            (None, "", None, Told::Nothing),
        ];
        for (checksum, etag, md5s, expected) in table {
            assert_eq!(told(&sent, checksum.as_ref(), etag, md5s), expected, "{checksum:?} {etag}");
        }
        let nothing = Digested::default();
        assert_eq!(
            told(&nothing, crc(Algorithm::Crc32, b"a").as_ref(), &etag, None),
            Told::Nothing
        );
    }

    proptest! {
        #[test]
        fn any_changed_byte_and_any_length_is_noticed(
            body in prop::collection::vec(any::<u8>(), 1..200),
            at in any::<prop::sample::Index>(),
            algorithm in prop::option::of(Just(Algorithm::Crc64Nvme)),
        ) {
            let expected = Expected {
                length: body.len() as u64,
                checksum: algorithm.map(|a| Crc::of(a, &body).encode()),
                md5_etag: algorithm.is_none().then(|| hex(&Md5::digest(&body))),
            };
            let check = |body: &[u8]| {
                let mut running = Running::for_check(&expected);
                body.chunks(7).for_each(|chunk| running.update(chunk));
                expected.check(&running.finish())
            };
            prop_assert!(check(&body).is_ok());
            let mut wrong = body.clone();
            wrong[at.index(body.len())] ^= 1;
            prop_assert!(check(&wrong).is_err());
            prop_assert!(check(&body[1..]).is_err());
        }

        #[test]
        fn parts_combine_to_the_checksum_of_the_whole(
            a in prop::collection::vec(any::<u8>(), 0..100),
            b in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            for algorithm in [Algorithm::Crc64Nvme, Algorithm::Crc32, Algorithm::Crc32C] {
                let parts = Crc::of(algorithm, &a).followed_by(Crc::of(algorithm, &b), b.len() as u64);
                prop_assert_eq!(parts, Crc::of(algorithm, &[a.clone(), b.clone()].concat()));
                prop_assert_eq!(Crc::decode(&parts.encode()), Some(parts));
            }
        }
    }
}
