//! Names of resources, as people type them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name, in characters: that of a DNS label, so that a name can become a host name or a metric label.
pub const MAX_NAME_CHARS: usize = 63;

/// Name of an endpoint, job, queue or agent: 1 to 63 of `a-z`, `0-9` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit")]
pub struct NotAName(pub String);

/// Name of a run: its job and its number, counted from 1. Written `jobs/{job}/runs/{number}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    /// The job it is a run of.
    pub job: Name,
    /// Its number among the runs of the job.
    pub number: u64,
}

// === impl Name ===

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = !text.is_empty() && text.len() <= MAX_NAME_CHARS;
        if fits && !text.starts_with('-') && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAName(text.chars().take(MAX_NAME_CHARS + 1).collect()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl RunName ===

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jobs/{}/runs/{}", self.job, self.number)
    }
}

impl FromStr for RunName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let refuse = || NotAName(text.chars().take(MAX_NAME_CHARS + 1).collect());
        let rest = text.strip_prefix("jobs/").ok_or_else(refuse)?;
        let (job, number) = rest.split_once("/runs/").ok_or_else(refuse)?;
        // Only as written by `Display`: `+1` and `01` would be second names of the same run.
        let canonical = |n: &u64| *n > 0 && n.to_string() == number;
        let number = number.parse().ok().filter(canonical).ok_or_else(refuse)?;
        Ok(Self { job: job.parse()?, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_shape_and_a_limit() {
        for good in ["a", "0", "usw2", "a-b-", &"x".repeat(MAX_NAME_CHARS)] {
            assert_eq!(good.parse::<Name>().map(String::from), Ok(good.to_owned()));
        }
        for bad in ["", "-a", "A", "a_b", "a/b", "ä", " ", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_run_name_round_trips() {
        let name: RunName = "jobs/media/runs/12".parse().unwrap();
        assert_eq!((name.job.as_str(), name.number), ("media", 12));
        assert_eq!(name.to_string(), "jobs/media/runs/12");
        for bad in
            ["media/12", "jobs/media", "jobs/media/runs/0", "jobs/media/runs/01", "jobs//runs/1"]
        {
            assert!(bad.parse::<RunName>().is_err(), "{bad:?}");
        }
    }
}
