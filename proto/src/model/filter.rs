//! Pure. Which objects a filter lets through. The same for scans, for key work, and for whoever explains.
//!
//! Patterns are globs over the key without the source prefix, as bytes and case sensitive: `*` and `?` stop at `/`,
//! `**` does not, `[a-z]` and `{a,b}` choose, `\` takes the next character as it is. `docs/filters.md` has examples.

use globset::GlobBuilder;
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::{Filter, Invalid, Key, Timestamp, Violation};

/// Most patterns of an include or exclude list.
pub const MAX_PATTERNS: usize = 100;
/// Longest pattern in bytes: as long as a key may be.
pub const MAX_PATTERN_BYTES: usize = 1024;

/// Characters that are more than themselves in a pattern.
const SPECIAL: [char; 6] = ['*', '?', '[', ']', '{', '\\'];

/// A filter, ready to be asked.
#[derive(Clone, Debug)]
pub struct Matcher {
    filter: Filter,
    include: RegexSet,
    exclude: RegexSet,
    prefix: Key,
}

/// What the patterns of a filter say of a key. The numbers are places in the lists of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyMatch {
    /// It is let through; by which include pattern, unless there is none.
    Included(Option<usize>),
    /// There are include patterns, and none matches.
    NotIncluded,
    /// This exclude pattern matches.
    Excluded(usize),
}

// === impl Matcher ===

impl Matcher {
    /// Makes a filter ready.
    ///
    /// # Errors
    /// Every pattern that is none.
    pub fn new(filter: &Filter) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        for (field, patterns) in [("include", &filter.include), ("exclude", &filter.exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                if let Some(problem) = pattern_problem(pattern) {
                    let field = format!("filter.{field}[{index}]");
                    problems.push(Violation::new(field, format!("{pattern:?} {problem}")));
                }
            }
        }
        Invalid::check(problems)?;
        let set = |field: &str, patterns: &[String]| {
            let regexes = patterns.iter().filter_map(|pattern| regex_of(pattern).ok());
            let set =
                RegexSetBuilder::new(regexes).unicode(false).dot_matches_new_line(true).build();
            set.map_err(|_| Invalid::one(format!("filter.{field}"), "is too large taken together"))
        };
        Ok(Self {
            include: set("include", &filter.include)?,
            exclude: set("exclude", &filter.exclude)?,
            prefix: Key::from(common_prefix(&filter.include).into_bytes()),
            filter: filter.clone(),
        })
    }

    /// What the patterns say of a key (without the source prefix).
    #[must_use]
    pub fn key(&self, key: &Key) -> KeyMatch {
        let first = |set: &RegexSet| set.matches(key.as_bytes()).iter().next();
        if !self.exclude.is_empty()
            && let Some(index) = first(&self.exclude)
        {
            return KeyMatch::Excluded(index);
        }
        if self.include.is_empty() {
            return KeyMatch::Included(None);
        }
        first(&self.include).map_or(KeyMatch::NotIncluded, |index| KeyMatch::Included(Some(index)))
    }

    /// Whether the patterns let a key through. Only these count for what exists at a destination alone: a deleted
    /// object has no size or time to ask for.
    #[must_use]
    pub fn lets_key(&self, key: &Key) -> bool {
        !self.exclude.is_match(key.as_bytes())
            && (self.include.is_empty() || self.include.is_match(key.as_bytes()))
    }

    /// Whether an object is let through.
    #[must_use]
    pub fn lets(&self, key: &Key, size: u64, modified: Timestamp) -> bool {
        self.bounds(size, modified).is_none() && self.lets_key(key)
    }

    /// The field of the filter whose bound on size or time leaves an object out, if any does.
    #[must_use]
    pub fn bounds(&self, size: u64, modified: Timestamp) -> Option<&'static str> {
        let filter = &self.filter;
        if size < filter.min_size {
            Some("min_size")
        } else if filter.max_size.is_some_and(|max| size > max) {
            Some("max_size")
        } else if filter.modified_after.is_some_and(|after| modified < after) {
            Some("modified_after")
        } else if filter.modified_before.is_some_and(|before| modified >= before) {
            Some("modified_before")
        } else {
            None
        }
    }

    /// What every key that is let through begins with; a listing needs no others.
    #[must_use]
    pub fn prefix(&self) -> &Key {
        &self.prefix
    }
}

/// What is wrong with a pattern, if anything.
#[must_use]
pub fn pattern_problem(pattern: &str) -> Option<String> {
    if pattern.is_empty() {
        return Some("is empty; leave it out".to_owned());
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return Some(format!("is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    if has_wide_class(pattern) {
        return Some(
            "has a character outside ASCII between [ and ]; write {a,b} instead".to_owned(),
        );
    }
    regex_of(pattern).err().map(|error| format!("is not a pattern: {}", error.kind()))
}

/// The pattern as a regular expression over bytes. Not matched by `globset` itself, which treats a path's last part and
/// ending in ways that keys do not have.
fn regex_of(pattern: &str) -> Result<String, globset::Error> {
    let glob = GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()?;
    Ok(glob.regex().to_owned())
}

/// Whether a class holds a character of several bytes: it would match any one of the bytes.
fn has_wide_class(pattern: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    for c in pattern.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if !inside => escaped = true,
            '[' => inside = true,
            ']' => inside = false,
            _ if inside && !c.is_ascii() => return true,
            _ => {}
        }
    }
    false
}

/// The longest text that every key matching one of the patterns begins with.
fn common_prefix(patterns: &[String]) -> String {
    let literal = |pattern: &String| {
        let end = pattern.find(SPECIAL).unwrap_or(pattern.len());
        pattern[..end].to_owned()
    };
    let mut prefixes = patterns.iter().map(literal);
    let first = prefixes.next().unwrap_or_default();
    prefixes.fold(first, |common, next| {
        let same = common.chars().zip(next.chars()).take_while(|(a, b)| a == b);
        same.map(|(c, _)| c).collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(include: &[&str], exclude: &[&str]) -> Matcher {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let filter = Filter { include: own(include), exclude: own(exclude), ..Filter::default() };
        Matcher::new(&filter).unwrap()
    }

    /// The table of the documentation: pattern, what it matches, what it does not.
    #[test]
    fn patterns_match_what_the_documentation_says() {
        let text = include_str!("../../../docs/filters.md");
        let mut rows = 0;
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let quoted = |cell: &str| -> Vec<String> {
                let parts = cell.split('`').skip(1).step_by(2);
                parts.map(|part| part.replace("&#124;", "|")).collect()
            };
            let [pattern, yes, no] = cells[..] else { panic!("{line}") };
            let pattern = quoted(pattern).remove(0);
            let one = matcher(&[&pattern], &[]);
            for key in quoted(yes) {
                assert!(one.lets_key(&Key::from(key.as_str())), "{pattern} matches {key}");
            }
            for key in quoted(no) {
                assert!(!one.lets_key(&Key::from(key.as_str())), "{pattern} does not match {key}");
            }
            rows += 1;
        }
        assert!(rows >= 12, "only {rows} rows");
    }

    #[test]
    fn an_exclude_wins_and_each_says_which_it_was() {
        let one = matcher(&["a/**", "**/*.jpg"], &["**/tmp/**", "a/x"]);
        let says = |key: &str| one.key(&Key::from(key));
        assert_eq!(says("a/b"), KeyMatch::Included(Some(0)));
        assert_eq!(says("b/c.jpg"), KeyMatch::Included(Some(1)));
        assert_eq!(says("a/x"), KeyMatch::Excluded(1));
        assert_eq!(says("a/tmp/b"), KeyMatch::Excluded(0));
        assert_eq!(says("b/c.png"), KeyMatch::NotIncluded);
        assert_eq!(matcher(&[], &[]).key(&Key::from("x")), KeyMatch::Included(None));
    }

    #[test]
    fn bounds_hold_at_their_limits() {
        let at = Timestamp::from_micros;
        let filter = Filter {
            min_size: 2,
            max_size: Some(4),
            modified_after: Some(at(10)),
            modified_before: Some(at(20)),
            ..Filter::default()
        };
        let one = Matcher::new(&filter).unwrap();
        let cases = [
            (1, 10, Some("min_size")),
            (2, 10, None),
            (4, 19, None),
            (5, 10, Some("max_size")),
            (3, 9, Some("modified_after")),
            (3, 20, Some("modified_before")),
        ];
        for (size, modified, field) in cases {
            assert_eq!(one.bounds(size, at(modified)), field, "{size} {modified}");
            assert_eq!(one.lets(&Key::from("k"), size, at(modified)), field.is_none());
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let long = "x".repeat(MAX_PATTERN_BYTES + 1);
        for (pattern, problem) in [
            ("", "is empty"),
            ("[a", "is not a pattern"),
            ("{a", "is not a pattern"),
            ("a\\", "is not a pattern"),
            ("[é]", "outside ASCII"),
            (long.as_str(), "is longer"),
        ] {
            let found = pattern_problem(pattern).unwrap_or_default();
            assert!(found.contains(problem), "{pattern}: {found}");
        }
        let filter = Filter { exclude: vec!["ok".into(), "[".into()], ..Filter::default() };
        assert_eq!(Matcher::new(&filter).unwrap_err().violations[0].field, "filter.exclude[1]");
    }

    #[test]
    fn the_common_beginning_stops_at_what_is_special() {
        let prefix = |patterns: &[&str]| matcher(patterns, &[]).prefix().to_string();
        assert_eq!(prefix(&[]), "");
        assert_eq!(prefix(&["a/b/*.jpg"]), "a/b/");
        assert_eq!(prefix(&["a/b/*.jpg", "a/c/**"]), "a/");
        assert_eq!(prefix(&["é/1", "è/1"]), "");
        assert_eq!(prefix(&["a/b"]), "a/b");
        assert_eq!(prefix(&["a\\*b"]), "a");
        assert_eq!(prefix(&["{a,b}c", "x"]), "");
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("*"),
            Just("**"),
            Just("?"),
            Just("/"),
            Just("a"),
            Just("b"),
            Just("é"),
            Just("[ab]"),
            Just("{a,b}"),
            Just("\\*"),
            Just("."),
        ];
        prop::collection::vec(part, 1..7).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_is_let_through_begins_with_the_common_beginning(
            patterns in prop::collection::vec(pattern(), 1..4),
            key in "[ab/é.*\n]{0,8}",
        ) {
            let filter = Filter { include: patterns, ..Filter::default() };
            let one = Matcher::new(&filter).unwrap();
            let key = Key::from(key.as_str());
            if one.lets_key(&key) {
                prop_assert!(key.as_bytes().starts_with(one.prefix().as_bytes()));
            }
            let named = matches!(one.key(&key), KeyMatch::Included(_));
            prop_assert_eq!(named, one.lets_key(&key), "both ways to ask agree");
        }

        #[test]
        fn any_text_is_a_pattern_or_says_why_not(text in ".{0,40}", key in prop::collection::vec(any::<u8>(), 0..40)) {
            let filter = Filter { include: vec![text], ..Filter::default() };
            if let Ok(one) = Matcher::new(&filter) {
                let _same = one.lets_key(&Key::from(key));
            }
        }
    }
}
