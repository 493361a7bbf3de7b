//! Bodies of any size that are not stored: made when they are read, or verified when they arrive and dropped.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum, checksum_combine};

/// Bytes are made in blocks of this size. Each begins with its number, so that none can stand for another.
const BLOCK: u64 = 8 << 20;

/// Bytes of a block that are its own: the seed and the number.
const HEAD: usize = 16;

const CRC: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;

/// Bytes that are not stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unstored {
    /// Made when they are read.
    Made(Giant),
    /// This many came, and were dropped.
    Sunk(u64),
}

/// A body that is made when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Giant {
    seed: u64,
    size: u64,
}

/// What all blocks end with, and its checksum.
fn filler() -> &'static (Bytes, u64) {
    static FILLER: OnceLock<(Bytes, u64)> = OnceLock::new();
    FILLER.get_or_init(|| {
        let mut bytes = vec![0; usize::try_from(BLOCK).unwrap_or_default() - HEAD];
        fastrand::Rng::with_seed(1).fill(&mut bytes);
        let crc = checksum(CRC, &bytes);
        (bytes.into(), crc)
    })
}

// === impl Unstored ===

impl Unstored {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::Made(giant) => giant.size,
            Self::Sunk(size) => size,
        }
    }
}

// === impl Giant ===

impl Giant {
    pub(crate) fn new(seed: u64, size: u64) -> Self {
        Self { seed, size }
    }

    /// Its pieces between two places: head or filler of one block each, as far as they are inside.
    fn pieces(self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let range = range.start.min(self.size)..range.end.min(self.size);
        let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let inside = move |from: u64, to: u64| {
            let (from, to) = (from.max(range.start), to.min(range.end));
            (from < to).then_some(from..to)
        };
        let cut = |range: Range<u64>, base: u64| {
            let place = |at: u64| usize::try_from(at - base).unwrap_or_default();
            place(range.start)..place(range.end)
        };
        blocks.flat_map(move |number| {
            let begin = number * BLOCK;
            let middle = begin + HEAD as u64;
            let mut head = [0; HEAD];
            head[..8].copy_from_slice(&self.seed.to_be_bytes());
            head[8..].copy_from_slice(&number.to_be_bytes());
            let head = inside(begin, middle).map(|range| Piece::Head(head, cut(range, begin)));
            let rest = inside(middle, begin + BLOCK).map(|range| Piece::Rest(cut(range, middle)));
            [head, rest].into_iter().flatten()
        })
    }

    /// The bytes of a range.
    pub(crate) fn read(self, range: Range<u64>) -> Bytes {
        let length = range.end.min(self.size).saturating_sub(range.start);
        let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or_default());
        for piece in self.pieces(range) {
            piece.with(|part| bytes.extend_from_slice(part));
        }
        bytes.freeze()
    }

    /// The CRC-64/NVME of a range, without making more of it than its ends.
    pub(crate) fn crc(self, range: Range<u64>) -> u64 {
        let whole = filler().0.len();
        self.pieces(range).fold(0, |crc, piece| {
            let (next, length) = match &piece {
                Piece::Rest(rest) if rest.len() == whole => (filler().1, whole),
                Piece::Head(..) | Piece::Rest(_) => {
                    piece.with(|part| (checksum(CRC, part), part.len()))
                }
            };
            if crc == 0 { next } else { checksum_combine(CRC, crc, next, length as u64) }
        })
    }
}

/// A part of a block.
enum Piece {
    Head([u8; HEAD], Range<usize>),
    Rest(Range<usize>),
}

impl Piece {
    fn with<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Head(head, range) => f(&head[range.clone()]),
            Self::Rest(range) => f(&filler().0[range.clone()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_has_its_bytes_and_their_checksum() {
        let size = 3 * BLOCK + 5;
        let giant = Giant::new(7, size);
        let all = giant.read(0..size);
        assert_eq!(all.len() as u64, size);
        let places = [0, 1, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 9, 2 * BLOCK, size - 1, size];
        for from in places {
            for to in places.into_iter().filter(|to| *to >= from) {
                let at = |place: u64| usize::try_from(place).unwrap();
                let part = &all[at(from)..at(to)];
                assert!(giant.read(from..to) == part, "{from}..{to}");
                let crc = if part.is_empty() { 0 } else { checksum(CRC, part) };
                assert_eq!(giant.crc(from..to), crc, "{from}..{to}");
            }
        }
        assert_eq!(giant.read(size - 1..size + 9).len(), 1, "it ends where it ends");
    }

    #[test]
    fn no_block_is_as_another_and_no_giant_as_another() {
        let block = |seed, number: u64| {
            Giant::new(seed, 9 * BLOCK).crc(number * BLOCK..(number + 1) * BLOCK)
        };
        assert_ne!(block(1, 0), block(1, 1));
        assert_ne!(block(1, 0), block(2, 0));
    }
}
