//! Pure. Which jobs an event of a queue concerns, and what it means to each.

use std::time::Duration;

use s3sync_proto::model::{
    CompareMode, EventKind, FailureClass, Invalid, JobSpec, Key, Matcher, News, ObjectEvent,
    RunState, Timestamp,
};

use super::credential;

/// How old a run of events gets before another takes over: a day's figures and failures stay together.
pub const EVENT_RUN_LASTS: Duration = Duration::from_secs(24 * 3600);

/// Looks at a key in a run of events before it becomes a failure.
const MAX_LOOKS: u32 = 6;
/// Pause after the first look that failed; four times as long after each more. With [`MAX_LOOKS`] that makes half an
/// hour, which outlasts most outages.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(900);

/// A key that is put off is looked at within this after an event tells of it. So a key that changes all the time and fails all
/// the time costs no more than a look in this time.
pub const NEWS_WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// Pause before another scan after one that failed.
const FAILED_SCAN_PAUSE: Duration = Duration::from_secs(600);
/// Pause before another scan after one that was cancelled.
const CANCELLED_SCAN_PAUSE: Duration = Duration::from_secs(3_600);

/// Share of the queue's retention from which on messages that were received say that others expire.
const EXPIRING_SHARE: f64 = 0.9;

/// A job that follows events, ready to be asked.
#[derive(Clone, Debug)]
pub struct Listener {
    bucket: String,
    prefix: String,
    filter: Matcher,
    tags: bool,
}

/// What an event means to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    None,
    /// Look at this key (without the source prefix).
    Look(Key),
    /// S3 lost this object: a person should know. Nothing is done about it, least of all at the destinations, which may
    /// have the last copy.
    Lost(Key),
}

impl Listener {
    /// A job's ear.
    ///
    /// # Errors
    /// When its filter cannot be used.
    pub fn new(job: &JobSpec) -> Result<Self, Invalid> {
        let tags = match job.compare {
            CompareMode::Full => true,
            CompareMode::Default
            | CompareMode::Size
            | CompareMode::Etag
            | CompareMode::Checksum => false,
        };
        Ok(Self {
            bucket: job.source.bucket.clone(),
            prefix: job.source.prefix.clone(),
            filter: Matcher::new(&job.filter)?,
            tags,
        })
    }

    /// What an event means to the job. Bounds on size and time are for whoever looks at the object.
    #[must_use]
    pub fn hears(&self, event: &ObjectEvent) -> Meaning {
        if event.bucket != self.bucket {
            return Meaning::None;
        }
        let Some(key) = event.key.as_bytes().strip_prefix(self.prefix.as_bytes()) else {
            return Meaning::None;
        };
        let key = Key::from(key.to_vec());
        if !self.filter.lets_key(&key) {
            return Meaning::None;
        }
        match event.kind {
            EventKind::Written | EventKind::Removed | EventKind::Restored => Meaning::Look(key),
            // Where tags are not compared nothing would follow from a look.
            EventKind::Tagged if self.tags => Meaning::Look(key),
            EventKind::Tagged => Meaning::None,
            EventKind::Lost => Meaning::Lost(key),
        }
    }
}

/// When a key is looked at again that failed for the `looks`-th time in a run of events. `None`: it is a failure.
#[must_use]
pub fn look_again(
    looks: u32,
    class: FailureClass,
    code: &str,
    now: Timestamp,
) -> Option<Timestamp> {
    let may_pass = match class {
        FailureClass::Throttled | FailureClass::Transient | FailureClass::Changed => true,
        // A credential that expired is exchanged sooner or later, and nobody would know which keys it missed.
        FailureClass::Permanent => credential::is_of_credential(code),
        FailureClass::Archived | FailureClass::Poison => false,
    };
    let pause = FIRST_PAUSE * 4_u32.saturating_pow(looks.saturating_sub(1).min(8));
    (may_pass && looks < MAX_LOOKS).then(|| now.plus(pause.min(LONGEST_PAUSE)))
}

/// Whether somebody must look at everything again after a scan that was to make up for missing events. `None`: nothing
/// is missing any more. A scan that failed is not begun again at once, and one that a person cancelled not soon.
#[must_use]
pub fn scan_again(end: RunState, now: Timestamp) -> Option<Timestamp> {
    match end {
        RunState::Succeeded | RunState::FinishedWithFailures | RunState::Incomplete => None,
        RunState::Cancelled => Some(now.plus(CANCELLED_SCAN_PAUSE)),
        RunState::Failed
        | RunState::Pending
        | RunState::Running
        | RunState::Paused
        | RunState::AwaitingApproval
        | RunState::Cancelling => Some(now.plus(FAILED_SCAN_PAUSE)),
    }
}

/// Why events are missing, if nothing was told of a queue for longer than it keeps messages.
#[must_use]
pub fn silence(
    told: Option<Timestamp>,
    retention: Option<Duration>,
    now: Timestamp,
) -> Option<String> {
    let (silent, kept) = (now.since(told?), retention?);
    (silent > kept).then(|| {
        format!(
            "nothing was received for {} s, and the queue keeps messages for {} s",
            silent.as_secs(),
            kept.as_secs()
        )
    })
}

/// Until when all changes were told of by a receiver that says this. `None`: no more is known than before. What came is as old
/// as what waited longest, and so may be what is still to come; a receive that found nothing tells only where nothing waits.
#[must_use]
pub fn told_until(news: &News, now: Timestamp) -> Option<Timestamp> {
    let state = news.state.as_ref();
    if news.messages > 0 || !news.events.is_empty() {
        // An agent that does not tell how long they waited tells at times when the oldest was sent.
        let sent = news.longest_wait.map(|waited| now.minus(waited));
        return sent.or(state.and_then(|state| state.oldest_sent)).or(Some(now));
    }
    let state = state?;
    let empty = match state.retention {
        Some(_) => state.waiting == 0,
        // It was not looked at, for want of permission.
        None => state.waiting == 0 && state.oldest_sent.is_none(),
    };
    if empty { Some(now) } else { state.oldest_sent.map(|sent| sent.min(now)) }
}

/// Why events are missing, if messages were received that the queue would soon have dropped: as SQS keeps only a loose order,
/// others that are as old are dropped unread.
#[must_use]
pub fn expiring(waited: Option<Duration>, retention: Option<Duration>) -> Option<String> {
    let (waited, kept) = (waited?, retention?);
    (waited.as_secs_f64() >= kept.as_secs_f64() * EXPIRING_SHARE).then(|| {
        format!(
            "messages were received that had waited for {} s, and the queue keeps them for {} s: others expire unread; give it \
             more receivers, or a longer retention",
            waited.as_secs(),
            kept.as_secs()
        )
    })
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
