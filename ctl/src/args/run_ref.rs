//! A run on the command line.

use s3sync_proto::model::Name;

/// A run as people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRef {
    pub(crate) job: Name,
    pub(crate) number: Option<u64>,
}

impl std::str::FromStr for RunRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("{text:?} is not a run; write JOB/NUMBER, or JOB for its newest run");
        let short = text
            .strip_prefix("jobs/")
            .map_or_else(|| text.to_owned(), |rest| rest.replace("/runs/", "/"));
        let (job, number) = match short.split_once('/') {
            None => (short.as_str(), None),
            Some((job, number)) => {
                (job, Some(number.parse().ok().filter(|n| *n > 0).ok_or_else(refuse)?))
            }
        };
        Ok(Self { job: job.parse().map_err(|_| refuse())?, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_in_three_ways() {
        let parsed =
            |text: &str| text.parse::<RunRef>().map(|run| (run.job.to_string(), run.number));
        assert_eq!(parsed("media"), Ok(("media".to_owned(), None)));
        assert_eq!(parsed("media/3"), Ok(("media".to_owned(), Some(3))));
        assert_eq!(parsed("jobs/media/runs/3"), Ok(("media".to_owned(), Some(3))));
        for bad in ["", "media/", "media/0", "media/x", "Media", "a/1/2"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
