//! Numbers, sizes and times as people read them.

use s3sync_proto::model::{Timestamp, moves_text};

/// The time now, which ages are counted from.
#[expect(clippy::disallowed_methods, reason = "this is the clock of this program")]
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

/// A count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in binary units: `1.2 GiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// How long ago: `3m`, `2h`, `5d`.
pub(crate) fn age(time: Timestamp, now: Timestamp) -> String {
    if time == Timestamp::default() {
        return "-".to_owned();
    }
    span(now.since(time).as_secs())
}

/// How long until then: `in 3m20s`, `due` when it has come.
pub(crate) fn until(time: Timestamp, now: Timestamp) -> String {
    match time.since(now).as_secs() {
        0 => "due".to_owned(),
        seconds => format!("in {}", span(seconds)),
    }
}

/// How long: `45s`, `3m20s`, `2h05m`, `5d`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time to the second; `-` when there is none.
pub(crate) fn time(time: Option<Timestamp>) -> String {
    const SECOND: i64 = 1_000_000;
    let some = time.filter(|time| *time != Timestamp::default());
    some.map_or_else(
        || "-".to_owned(),
        |time| Timestamp::from_micros(time.as_micros().div_euclid(SECOND) * SECOND).to_string(),
    )
}

/// `name=value` pairs.
pub(crate) fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if pairs.is_empty() { "-".to_owned() } else { pairs.join(",") }
}

/// A text that came from elsewhere, as one line without anything that would move a terminal's cursor or turn the text around.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if moves_text(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}
