//! Faults that can be switched on. Which request they hit is decided by a seeded generator, so a run can be repeated.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 503 SlowDown, without an effect.
    SlowDown,
    /// 500 InternalError, without an effect.
    InternalError,
    /// 403 AccessDenied, without an effect.
    AccessDenied,
    /// 404 NoSuchBucket, without an effect.
    NoSuchBucket,
    /// 404 without a body, as a proxy may answer, without an effect.
    EmptyNotFound,
    /// The answer's body is left out.
    EmptyBody,
    /// The connection breaks before the request has an effect.
    ResetBefore,
    /// The request has its effect and the connection breaks before the answer.
    ResetAfter,
    /// An answer's body ends early.
    CutBody,
    /// A byte of an answer's body is another one.
    WrongByteDown,
    /// A byte of a request's body is another one when it arrives, before anything of it is verified.
    WrongByteUp,
    /// A byte of a PutObject's or UploadPart's body is another one after its signature was verified and before its
    /// checksum is: without a checksum, the wrong bytes are stored.
    WrongByteStored,
    /// 409 ConditionalRequestConflict, without an effect.
    Conflict,
    /// 200 with an error in the body, without an effect (CopyObject, UploadPartCopy, CompleteMultipartUpload).
    ErrorIn200,
    /// Nothing is done with the request for this many milliseconds.
    Delay(u64),
    /// The answer leaves this many milliseconds after the effect.
    DelayAnswer(u64),
    /// Nothing is done with the request until the faults are changed.
    Hold,
    /// The answer leaves when the faults are changed, long after the effect.
    HoldAnswer,
    /// The first entry of a batch, to a queue or of DeleteObjects, fails without an effect; the others do not.
    FailEntry,
    /// Received messages stay visible, so they are received again.
    Duplicate,
}

/// Which requests are hit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Each with this probability.
    Rate(f64),
    /// The k-th that matches, counted from 1.
    Nth(u64),
    /// All.
    Always,
}

/// One fault and when it strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Only this operation, by S3's name; `None` for all.
    #[serde(default)]
    pub operation: Option<String>,
    /// Only this bucket (or queue); `None` for all.
    #[serde(default)]
    pub bucket: Option<String>,
    /// Only keys (or listed prefixes) that begin with this.
    #[serde(default)]
    pub prefix: String,
    /// What goes wrong.
    pub fault: Fault,
    /// Which requests are hit.
    pub when: When,
}

/// All rules of an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<(Rule, u64)>,
    random: Option<fastrand::Rng>,
}

/// Where requests wait that are held, until the faults are changed.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    changed: watch::Sender<()>,
    held: AtomicUsize,
}

/// What a request waits with that may be held.
pub(crate) struct Ticket(watch::Receiver<()>);

impl Gate {
    /// To be taken under the lock under which faults strike, so that no change is missed.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.changed.subscribe())
    }

    /// Lets all go on that wait.
    pub(crate) fn open(&self) {
        self.changed.send_replace(());
    }

    /// How many wait.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Waits, if one of the faults says so.
    pub(crate) async fn pass(&self, hold: Fault, faults: &[Fault], ticket: &mut Ticket) {
        /// Counts one that waits, also when it goes away meanwhile.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if faults.contains(&hold) {
            self.held.fetch_add(1, Ordering::SeqCst);
            let _waiting = Waiting(&self.held);
            // An error: the lab ends.
            drop(ticket.0.changed().await);
        }
    }
}

impl Rule {
    /// A fault of every operation.
    #[must_use]
    pub fn every(fault: Fault, when: When) -> Self {
        Self { operation: None, bucket: None, prefix: String::new(), fault, when }
    }

    /// A fault of one operation.
    #[must_use]
    pub fn of(operation: &str, fault: Fault, when: When) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::every(fault, when) }
    }

    /// Only of a place: keys of a bucket that begin with a prefix.
    #[must_use]
    pub fn at(mut self, bucket: &str, prefix: &str) -> Self {
        (self.bucket, self.prefix) = (Some(bucket.to_owned()), prefix.to_owned());
        self
    }
}

impl Faults {
    /// Rules with a seed.
    #[must_use]
    pub fn new(seed: u64, rules: Vec<Rule>) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Self { rules, random: Some(fastrand::Rng::with_seed(seed)) }
    }

    /// The rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|(rule, _)| rule)
    }

    /// How many requests each rule has matched, in the order of the rules.
    #[must_use]
    pub fn matched(&self) -> Vec<u64> {
        self.rules.iter().map(|(_, seen)| *seen).collect()
    }

    /// What strikes a request. Each rule counts the requests that match it.
    pub(crate) fn strike(&mut self, operation: &str, bucket: &str, key: &[u8]) -> Vec<Fault> {
        let Some(random) = &mut self.random else { return Vec::new() };
        let mut struck = Vec::new();
        for (rule, seen) in &mut self.rules {
            let matches = rule.operation.as_deref().is_none_or(|name| name == operation)
                && rule.bucket.as_deref().is_none_or(|name| name == bucket)
                && key.starts_with(rule.prefix.as_bytes());
            if !matches {
                continue;
            }
            *seen += 1;
            let hit = match rule.when {
                When::Rate(rate) => random.f64() < rate,
                When::Nth(nth) => *seen == nth,
                When::Always => true,
            };
            if hit {
                struck.push(rule.fault);
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kth_matching_request_is_hit_and_no_other() {
        let mut faults = Faults::new(1, vec![Rule::of("GetObject", Fault::SlowDown, When::Nth(2))]);
        let hits: Vec<_> = ["GetObject", "PutObject", "GetObject", "GetObject"]
            .map(|operation| faults.strike(operation, "b", b"k").len())
            .to_vec();
        assert_eq!((hits, faults.matched()), (vec![0, 0, 1, 0], vec![3]));
    }

    #[test]
    fn a_rule_of_a_place_leaves_others_alone() {
        let rule = Rule::every(Fault::AccessDenied, When::Always).at("b", "p/");
        let mut faults = Faults::new(1, vec![rule]);
        let mut hits = |bucket, key: &[u8]| faults.strike("GetObject", bucket, key).len();
        assert_eq!([hits("b", b"p/k"), hits("b", b"q"), hits("c", b"p/k")], [1, 0, 0]);
    }

    #[test]
    fn the_same_seed_hits_the_same_requests() {
        let run = |seed| {
            let mut faults =
                Faults::new(seed, vec![Rule::every(Fault::ResetAfter, When::Rate(0.3))]);
            (0..50).map(|_| faults.strike("PutObject", "b", b"k").len()).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
        assert!((5..30).contains(&run(5).iter().sum::<usize>()));
    }
}
