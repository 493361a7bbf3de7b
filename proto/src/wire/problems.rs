//! Collects what is wrong with a message.

use crate::model::{Invalid, Name, Violation};

/// Everything found wrong so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Violation>);

impl Problems {
    /// Records a problem.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// The value, unless there was any problem.
    ///
    /// # Errors
    /// All problems.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Invalid> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ if self.0.is_empty() => Err(Invalid::one("", "is not complete")),
            _ => Err(Invalid { violations: self.0 }),
        }
    }

    /// A required name.
    pub fn name(&mut self, field: &str, text: &str) -> Option<Name> {
        if text.is_empty() {
            self.add(field, "is missing");
            return None;
        }
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.add(field, error.to_string());
                None
            }
        }
    }

    /// A number that must not be negative.
    pub fn count(&mut self, field: &str, number: i64) -> u64 {
        u64::try_from(number).unwrap_or_else(|_| {
            self.add(field, format!("{number} is negative; use 0 or more"));
            0
        })
    }

    /// A number where 0 means: not set.
    pub fn optional_count(&mut self, field: &str, number: i64) -> Option<u64> {
        Some(self.count(field, number)).filter(|number| *number > 0)
    }

    /// A known enum value, 0 included when `zero` says what it stands for.
    pub fn choice<W: TryFrom<i32>, M>(
        &mut self,
        field: &str,
        number: i32,
        decide: impl FnOnce(W) -> Option<M>,
    ) -> Option<M> {
        let known = W::try_from(number).ok().and_then(decide);
        if known.is_none() {
            self.add(field, format!("{number} is not a known value"));
        }
        known
    }
}

/// A path below another.
pub(super) fn path(parent: &str, field: &str) -> String {
    if parent.is_empty() { field.to_owned() } else { format!("{parent}.{field}") }
}
