//! Pure. Takes settings out of a TOML table one by one, collecting every problem instead of stopping at the first.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// All problems of one file.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: Vec<(usize, Problem)>,
}

/// A table of which settings are taken. What is left in the end is unknown.
pub(super) struct Table<'a> {
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// A setting that was taken.
pub(super) struct Taken<T> {
    pub(super) value: T,
    pub(super) field: String,
    pub(super) span: Range<usize>,
}

// === impl Problems ===

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a problem with what stands at `span`.
    pub(super) fn at(&mut self, span: &Range<usize>, field: &str, message: impl Into<String>) {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let problem = Problem {
            place: Some((line, column)),
            field: field.to_owned(),
            message: message.into(),
        };
        self.found.push((span.start, problem));
    }

    /// Notes a problem with what no line of the file says.
    pub(super) fn nowhere(&mut self, field: &str, message: impl Into<String>) {
        let problem = Problem { place: None, field: field.to_owned(), message: message.into() };
        self.found.push((usize::MAX, problem));
    }

    /// All of them, in the order of the file.
    pub(super) fn all(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(start, _)| *start);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

// === impl Table ===

impl<'a> Table<'a> {
    pub(super) fn root(table: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            path: String::new(),
            span: table.span(),
            entries: table.get_ref(),
            known: Vec::new(),
        }
    }

    /// Path of a setting of this table.
    pub(super) fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.push(name);
        self.entries.get(name)
    }

    pub(super) fn text(
        &mut self,
        problems: &mut Problems<'_>,
        name: &'static str,
    ) -> Option<Taken<String>> {
        let value = self.take(name)?;
        text_of(problems, self.field(name), value)
    }

    pub(super) fn flag(&mut self, problems: &mut Problems<'_>, name: &'static str) -> Option<bool> {
        let value = self.take(name)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            wrong_type(problems, &self.field(name), value, "true or false");
        }
        flag
    }

    pub(super) fn number(
        &mut self,
        problems: &mut Problems<'_>,
        name: &'static str,
    ) -> Option<Taken<u64>> {
        let value = self.take(name)?;
        let field = self.field(name);
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(problems, &field, value, "a number");
            return None;
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Some(Taken { value: number, field, span: value.span() }),
            Err(_) => {
                problems.at(&value.span(), &field, "must be a whole number, not negative");
                None
            }
        }
    }

    pub(super) fn table(
        &mut self,
        problems: &mut Problems<'_>,
        name: &'static str,
    ) -> Option<Self> {
        let value = self.take(name)?;
        table_of(problems, self.field(name), value)
    }

    /// The elements of an array, each with its path.
    pub(super) fn array(
        &mut self,
        problems: &mut Problems<'_>,
        name: &'static str,
    ) -> Option<Taken<Vec<Element<'a>>>> {
        let value = self.take(name)?;
        let field = self.field(name);
        let Some(array) = value.get_ref().as_array() else {
            wrong_type(problems, &field, value, "an array");
            return None;
        };
        let elements = array.iter().enumerate();
        let elements = elements.map(|(index, value)| (format!("{field}[{index}]"), value));
        Some(Taken { value: elements.collect(), field, span: value.span() })
    }

    /// All entries, whatever they are called.
    pub(super) fn entries(&self) -> Vec<(&'a str, Range<usize>, Element<'a>)> {
        let entries = self.entries.iter();
        entries
            .map(|(name, value)| {
                let text: &'a str = name.get_ref();
                (text, name.span(), (self.field(text), value))
            })
            .collect()
    }

    /// Notes what was not asked for.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for (name, _) in self.entries {
            if !self.known.contains(&name.get_ref().as_ref()) {
                let message = format!("unknown; known here: {}", self.known.join(", "));
                problems.at(&name.span(), &self.field(name.get_ref()), message);
            }
        }
    }
}

/// A value and its path.
pub(super) type Element<'a> = (String, &'a Spanned<DeValue<'a>>);

/// The value as a text.
pub(super) fn text_of(
    problems: &mut Problems<'_>,
    field: String,
    value: &Spanned<DeValue<'_>>,
) -> Option<Taken<String>> {
    match value.get_ref().as_str() {
        Some(text) => Some(Taken { value: text.to_owned(), field, span: value.span() }),
        None => {
            wrong_type(problems, &field, value, "a text in quotes");
            None
        }
    }
}

/// The value as a table.
pub(super) fn table_of<'a>(
    problems: &mut Problems<'_>,
    path: String,
    value: &'a Spanned<DeValue<'a>>,
) -> Option<Table<'a>> {
    match value.get_ref().as_table() {
        Some(entries) => Some(Table { path, span: value.span(), entries, known: Vec::new() }),
        None => {
            wrong_type(problems, &path, value, "a table");
            None
        }
    }
}

fn wrong_type(
    problems: &mut Problems<'_>,
    field: &str,
    value: &Spanned<DeValue<'_>>,
    wanted: &str,
) {
    // The value itself is not said back: it may be a secret.
    let message = format!("must be {wanted}, not {}", value.get_ref().type_str());
    problems.at(&value.span(), field, message);
}
