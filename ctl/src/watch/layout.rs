//! Pure. What a window has room for: columns of numbers, and which of several ways to say something fits.

use super::lines::{Row, left, right, width};
use super::tone::Tone;
use crate::render::text::{count, size};

/// A column of numbers: what it is called, and how wide it is.
pub(crate) type Column = (Number, usize);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Listed,
    InStep,
    Copied,
    Failed,
    Bytes,
}

/// Numbers of one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers<T> {
    pub(crate) listed: T,
    pub(crate) in_step: T,
    pub(crate) copied: T,
    pub(crate) failed: T,
    pub(crate) bytes: u64,
}

/// A window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) wide: usize,
    pub(crate) high: usize,
}

/// Every number in full.
const FULL: &[Column] = &[
    (Number::Listed, 13),
    (Number::InStep, 13),
    (Number::Copied, 12),
    (Number::Failed, 9),
    (Number::Bytes, 11),
];
const NARROW: &[Column] = &[
    (Number::Listed, 9),
    (Number::InStep, 9),
    (Number::Copied, 9),
    (Number::Failed, 8),
    (Number::Bytes, 11),
];
/// What is in step is what is left of the others.
const NARROWER: &[Column] =
    &[(Number::Listed, 7), (Number::Copied, 7), (Number::Failed, 7), (Number::Bytes, 11)];
const NARROWEST: &[Column] = &[(Number::Listed, 7), (Number::Copied, 7), (Number::Failed, 7)];

/// What stands before the numbers is at least this wide, and places are shown this wide at most.
const LABELS: (usize, usize) = (8, 60);

// === impl Size ===

impl Size {
    /// What the screen is made for; in a smaller window things are said shorter.
    pub(crate) fn is_narrow(self) -> bool {
        self.wide < 80
    }

    /// From this width on agents are shown with what they do and where they are.
    pub(crate) fn is_wide(self) -> bool {
        self.wide >= 100
    }

    /// So few lines that only what changes is shown.
    pub(crate) fn is_low(self) -> bool {
        self.high < 16
    }

    /// The columns that fit, behind labels.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self.wide {
            80.. => FULL,
            56.. => NARROW,
            40.. => NARROWER,
            _ => NARROWEST,
        }
    }

    /// Width of what stands before the numbers.
    pub(crate) fn labels(self) -> usize {
        let numbers: usize = self.columns().iter().map(|(_, wide)| wide).sum();
        self.wide.saturating_sub(numbers).clamp(LABELS.0, LABELS.1)
    }

    /// The first of these that fits, or else the last.
    pub(crate) fn fitting(self, ways: impl IntoIterator<Item = Row>) -> Row {
        let mut shortest = Row::default();
        for row in ways {
            if row.width() <= self.wide {
                return row;
            }
            shortest = row;
        }
        shortest
    }

    /// Two texts at the two ends of a line.
    pub(crate) fn between(self, first: Row, text: &str, tone: Tone) -> Row {
        let gap = self.wide.saturating_sub(first.width() + width(text)).max(2);
        first.and(" ".repeat(gap), Tone::Plain).and(text, tone)
    }

    /// What the columns are called.
    pub(crate) fn heads(self) -> String {
        let name = |number| match number {
            Number::Listed => "listed",
            Number::InStep => "in step",
            Number::Copied => "copied",
            Number::Failed => "failed",
            Number::Bytes => "bytes",
        };
        let heads = self.columns().iter().map(|(number, wide)| right(name(*number), *wide));
        left("", self.labels()) + &heads.collect::<String>()
    }

    /// A line of numbers. Those that failed are of another tone.
    pub(crate) fn numbers<T: Copy>(
        self,
        label: &str,
        numbers: &Numbers<T>,
        shown: fn(T, usize) -> String,
        (tone, failed): (Tone, Tone),
    ) -> Row {
        let mut row = Row::new(left(label, self.labels()), tone);
        for (number, wide) in self.columns() {
            let cell = |value| shown(value, wide - 1);
            let (text, tone) = match number {
                Number::Listed => (cell(numbers.listed), tone),
                Number::InStep => (cell(numbers.in_step), tone),
                Number::Copied => (cell(numbers.copied), tone),
                Number::Failed => (cell(numbers.failed), failed),
                Number::Bytes => (size(numbers.bytes), tone),
            };
            row = row.and(right(&text, *wide), tone);
        }
        row
    }
}

/// A count with separators, or when that is too wide, in thousands, millions and so on.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
pub(crate) fn short_count(number: u64, wide: usize) -> String {
    let whole = count(number);
    if whole.len() <= wide {
        return whole;
    }
    let mut value = number as f64;
    for unit in ["k", "M", "G", "T", "P"] {
        value /= 1000.0;
        if value < 999.5 || unit == "P" {
            let texts = [2, 1, 0].map(|digits| format!("{value:.digits$}{unit}"));
            let fits = texts.iter().find(|text| text.len() <= wide);
            return fits.unwrap_or(&texts[2]).clone();
        }
    }
    whole
}

/// How many a second; below ten with a digit more.
pub(crate) fn speed(number: f64, wide: usize) -> String {
    if number > 0.0 && number < 9.95 {
        format!("{number:.1}")
    } else {
        short_count(whole(number), wide)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative, and far below 2^52"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_as_exact_as_there_is_room_for() {
        for (number, wide, text) in [
            (0, 3, "0"),
            (999_999, 7, "999,999"),
            (999_999, 6, "1.00M"),
            (123_456, 6, "123.5k"),
            (123_456, 4, "123k"),
            (1_000_000, 8, "1.00M"),
            (999_499, 6, "999.5k"),
            (u64::MAX, 9, "18446.74P"),
            (u64::MAX, 3, "18447P"),
        ] {
            assert_eq!(short_count(number, wide), text, "{number} in {wide}");
        }
    }

    #[test]
    fn columns_and_labels_fit_every_window() {
        for wide in 29..200 {
            let size = Size { wide, high: 24 };
            let numbers: usize = size.columns().iter().map(|(_, wide)| wide).sum();
            assert!(numbers + size.labels() <= wide, "{wide}");
        }
    }
}
