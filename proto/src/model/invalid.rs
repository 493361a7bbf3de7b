//! What is wrong with a value that came in.

use std::fmt;

/// All that is wrong with a message; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Each problem, in the order of the fields.
    pub violations: Vec<Violation>,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, such as `destinations[1].bucket`.
    pub field: String,
    /// What is wrong, what is allowed, what to do.
    pub description: String,
}

impl Violation {
    /// A problem with a field.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

impl Invalid {
    /// A single problem.
    pub fn one(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { violations: vec![Violation::new(field, description)] }
    }

    /// The same problems for a field that a request calls otherwise.
    #[must_use]
    pub fn at(mut self, field: &str) -> Self {
        for violation in &mut self.violations {
            field.clone_into(&mut violation.field);
        }
        self
    }

    /// `Ok` when there is no problem.
    ///
    /// # Errors
    /// All problems, when there are any.
    pub fn check(violations: Vec<Violation>) -> Result<(), Self> {
        if violations.is_empty() { Ok(()) } else { Err(Self { violations }) }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}
