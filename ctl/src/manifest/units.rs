//! Texts with units: sizes, rates, durations, places.

use std::time::Duration;

use s3sync_proto::model::Location;

/// Size units. As elsewhere in storage, `MB` is 1000² and `MiB` is 1024² bytes.
const UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// A size such as `5TB`, `16MiB` or `100` (bytes).
///
/// # Errors
/// What is allowed.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || {
        format!(
            "{text:?} is not a size; write a whole number and B, KB, KiB, MB, MiB, GB, GiB, TB or TiB"
        )
    };
    let trimmed = text.trim();
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| trimmed.strip_suffix(suffix).map(|digits| (digits, *unit)))
        .unwrap_or((trimmed, 1));
    let number: u64 = digits.trim_end().parse().map_err(|_| refuse())?;
    number.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(refuse)
}

/// A rate such as `200MiB/s`.
///
/// # Errors
/// What is allowed.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let size = text
        .trim()
        .strip_suffix("/s")
        .ok_or_else(|| format!("{text:?} is not a rate; write 200MiB/s"))?;
    parse_size(size)
}

/// A duration such as `6h` or `1m 30s`.
///
/// # Errors
/// What is allowed.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration; write 30s, 15m, 6h or 1day"))
}

/// A place as the command line has it: `ENDPOINT:BUCKET/PREFIX`.
///
/// # Errors
/// What is allowed.
pub(crate) fn parse_location(text: &str) -> Result<Location, String> {
    let refuse =
        || format!("{text:?} is not a place; write ENDPOINT:BUCKET or ENDPOINT:BUCKET/PREFIX");
    let (endpoint, rest) = text.split_once(':').ok_or_else(refuse)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(refuse());
    }
    Ok(Location {
        endpoint: endpoint.parse().map_err(|error| format!("in {text:?}: {error}"))?,
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        let sizes = [
            ("0", 0),
            ("100", 100),
            ("5TB", 5_000_000_000_000),
            ("16MiB", 16 << 20),
            ("1 KB", 1_000),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "1.5GB", "-1", "5mb", "99999999999TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_rate("200MiB/s"), Ok(200 << 20));
        assert!(parse_rate("200MiB").is_err());
    }

    #[test]
    fn a_place_may_have_a_prefix() {
        let place =
            |text| parse_location(text).map(|l| (l.endpoint.to_string(), l.bucket, l.prefix));
        let is = |e: &str, b: &str, p: &str| Ok((e.to_owned(), b.to_owned(), p.to_owned()));
        assert_eq!(place("usw2:media/a/b/"), is("usw2", "media", "a/b/"));
        assert_eq!(place("usw2:media"), is("usw2", "media", ""));
        for bad in ["media/a", "usw2:", "usw2:/a", "US:media"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
