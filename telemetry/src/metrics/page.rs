//! For tests: what a text of metrics has in it, and what a page of documentation says that there is.

use std::collections::{BTreeMap, BTreeSet};

/// A metric: its type, and the names of its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Labels that its series have.
    pub labels: BTreeSet<String>,
}

/// One series and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// The series of a text (Prometheus, "Exposition formats").
///
/// # Panics
/// When a line is not of the format.
#[must_use]
pub fn samples(text: &str) -> Vec<Sample> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a series: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, value) = rest.split_once("=\"")?;
            let (value, behind) = quoted(value)?;
            labels.insert(key.to_owned(), value);
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = match rest.trim() {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A value up to its closing quote, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// The metrics of a text.
///
/// # Panics
/// When it has a series without a type, or a metric without a help.
#[must_use]
pub fn shapes(text: &str) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type has a name");
        let help = format!("# HELP {name} ");
        let helped =
            text.lines().any(|line| line.strip_prefix(&help).is_some_and(|h| !h.is_empty()));
        assert!(helped, "{name} has no help");
        shapes.insert(name.to_owned(), Shape { kind: kind.to_owned(), ..Shape::default() });
    }
    for sample in samples(text) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let base = sample.name.strip_suffix(end)?;
            shapes.get(base).is_some_and(|shape| shape.kind == "histogram").then_some(base)
        });
        let name = base.unwrap_or(&sample.name);
        let shape = shapes.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
        shape.labels.extend(sample.labels.into_keys().filter(|label| label != "le"));
    }
    shapes
}

/// What a page says that there is, under the headings that begin with one of these: a row of a table for each metric, its
/// name, its type, its labels, and what it is.
///
/// # Panics
/// When a row is not like that, or a metric stands there twice.
#[must_use]
pub fn documented(page: &str, headings: &[&str]) -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::new();
    let mut within = false;
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            within = headings.iter().any(|wanted| heading.starts_with(wanted));
        }
        let Some(row) = line.strip_prefix("| `").filter(|_| within) else { continue };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("not a row of four: {line}") };
        assert!(!meaning.is_empty(), "{name} means nothing");
        let labels = labels.split(',').map(|label| label.trim().trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty() && *label != "–");
        let shape = Shape { kind: kind.to_owned(), labels: labels.map(str::to_owned).collect() };
        let before = shapes.insert(name.trim_end_matches('`').to_owned(), shape);
        assert!(before.is_none(), "{name} stands there twice");
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_pages_are_read() {
        let text = "# HELP a_total as\n# TYPE a_total counter\na_total{x=\"1 \\\"{},\\\\\\n\",y=\"\"} 2\n\
                    # HELP h hs\n# TYPE h histogram\nh_bucket{z=\"q\",le=\"+Inf\"} 1\nh_sum{z=\"q\"} 0.5\nh_count{z=\"q\"} 1\n";
        assert_eq!(samples(text)[0].labels["x"], "1 \"{},\\\n");
        let page = "## Other\n| `b` | gauge | – | no |\n## This and that\n| name | type | labels | what |\n|---|---|---|---|\n\
                    | `a_total` | counter | `x`, `y` | as |\n| `h` | histogram | `z` | hs |\n";
        assert_eq!(shapes(text), documented(page, &["This"]));
        assert_eq!(documented(page, &["Other"])["b"].labels.len(), 0);
    }
}
