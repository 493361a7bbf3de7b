//! Collects what is wrong with a message.

use std::time::Duration;

use super::{duration_from, time_from};
use crate::model::{Invalid, Name, RunName, Timestamp, Violation};

/// Of a wrong text, at most this many characters are said back. Long enough to recognise it, and short enough that a
/// description does not grow with what came in.
const QUOTED_CHARS: usize = 80;

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

    /// A part that was checked by itself; its problems are recorded below `at`.
    pub fn part<T>(&mut self, at: &str, part: Result<T, Invalid>) -> Option<T> {
        let invalid = match part {
            Ok(value) => return Some(value),
            Err(invalid) => invalid,
        };
        for Violation { field, description } in invalid.violations {
            self.add(path(at, &field), description);
        }
        None
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

    /// The name of a run, with its number.
    pub fn run(&mut self, field: &str, text: &str) -> Option<RunName> {
        let run = text.parse().ok();
        if run.is_none() {
            self.add(field, format!("{} is not jobs/JOB/runs/NUMBER", quoted(text)));
        }
        run
    }

    /// A number that must not be negative.
    pub fn count(&mut self, field: &str, number: i64) -> u64 {
        u64::try_from(number).unwrap_or_else(|_| {
            self.add(field, format!("{number} is negative; use 0 or more"));
            0
        })
    }

    /// A small number that must not be negative.
    pub fn small_count(&mut self, field: &str, number: i32) -> u32 {
        u32::try_from(number).unwrap_or_else(|_| {
            self.add(field, format!("{number} is negative; use 0 or more"));
            0
        })
    }

    /// A number where 0 means: not set.
    pub fn optional_count(&mut self, field: &str, number: i64) -> Option<u64> {
        Some(self.count(field, number)).filter(|number| *number > 0)
    }

    /// A known enum value, 0 included when `decide` says what it stands for.
    pub fn choice<W: TryFrom<i32>, M>(
        &mut self,
        field: &str,
        number: i32,
        decide: impl FnOnce(W) -> Option<M>,
    ) -> Option<M> {
        let known = W::try_from(number).ok().and_then(decide);
        if known.is_none() {
            self.add(field, format!("{number} is not a value this version knows"));
        }
        known
    }

    /// A time that may be absent. One that is no time must not pass for absent: a filter would then let more through.
    pub(super) fn time(
        &mut self,
        field: &str,
        time: Option<prost_types::Timestamp>,
    ) -> Option<Timestamp> {
        let time = time?;
        let known = time_from(&time);
        if known.is_none() {
            self.add(field, "is not a time; use one between the years 1 and 9999");
        }
        known
    }

    /// A duration that may be absent.
    pub(super) fn duration(
        &mut self,
        field: &str,
        duration: Option<prost_types::Duration>,
    ) -> Option<Duration> {
        let duration = duration?;
        let known = duration_from(&duration);
        if known.is_none() {
            self.add(field, "is not a duration; use one between 0s and 10,000 years");
        }
        known
    }
}

/// A path below another.
pub(super) fn path(parent: &str, field: &str) -> String {
    if parent.is_empty() { field.to_owned() } else { format!("{parent}.{field}") }
}

/// A text as it is said back in a problem: escaped, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?} and so on", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_said_back_in_part() {
        let at_limit = "ä".repeat(QUOTED_CHARS);
        assert_eq!(quoted(&at_limit), format!("{at_limit:?}"));
        assert_eq!(quoted(&format!("{at_limit}x")), format!("{at_limit:?} and so on"));
    }
}
