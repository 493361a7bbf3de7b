//! Pure. What is wrong with a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1, where the file says it; `None` when it says nothing or a flag does.
    pub place: Option<(usize, usize)>,
    /// Path of the setting, such as `endpoints.usw2.allow[0].verbs`.
    pub field: String,
    /// What is wrong, what is allowed, what to do.
    pub message: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file was read.
    #[error("{}", lines(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it, in order of lines; never empty.
        problems: Vec<Problem>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

fn lines(path: &std::path::Path, problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let separator = if problem.place.is_some() { ":" } else { ": " };
        format!("{}{separator}{problem}", path.display())
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
