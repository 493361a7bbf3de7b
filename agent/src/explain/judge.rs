//! Pure. What follows from what was found on both sides: the same rules as a run's, with their reasons.

use s3sync_proto::model::{
    CompareMode, CopyWay, Filter, Key, KeyExplanation, KeyMatch, KeyVerdict, Matcher, NextStep,
    ObjectState, Presence,
};

use super::look::Looked;
use crate::compare::{self, Decision, Found, Kinds};
use crate::copy;
use crate::copy::choose::{Layout, Route};

/// Everything that was found.
pub(super) struct Evidence<'a> {
    pub(super) key: &'a Key,
    pub(super) mode: CompareMode,
    pub(super) kinds: Kinds,
    pub(super) filter: &'a Matcher,
    pub(super) patterns: &'a Filter,
    pub(super) source: &'a Looked,
    pub(super) destination: &'a Looked,
    pub(super) carried: Option<Carried>,
    /// How the source would travel.
    pub(super) route: Option<Route>,
    pub(super) max_object: u64,
}

/// How what both sides carry compares.
pub(super) struct Carried {
    /// Names of what differs.
    pub(super) differs: Vec<String>,
    /// Tags could not be read.
    pub(super) unread: bool,
}

/// A verdict with its reason, and what to do about it.
struct Judged {
    verdict: KeyVerdict,
    reason: String,
    next: NextStep,
    next_reason: String,
    way: Option<CopyWay>,
}

pub(super) fn judge(evidence: Evidence<'_>) -> KeyExplanation {
    let (passes_filter, filter_reason) = by_filter(&evidence);
    let Judged { verdict, reason, next, next_reason, way } = if passes_filter {
        evidence.judge()
    } else {
        let reason = format!("the job leaves it out: {filter_reason}");
        nothing(KeyVerdict::Filtered, reason, "a run leaves it alone on both sides")
    };
    KeyExplanation {
        source: evidence.source.state.clone(),
        destination: evidence.destination.state.clone(),
        passes_filter,
        filter_reason,
        verdict,
        reason,
        next,
        next_reason,
        way,
    }
}

/// Whether the filter lets the key through, and by what. Bounds count only for what the source has.
fn by_filter(evidence: &Evidence<'_>) -> (bool, String) {
    let Evidence { filter, patterns, key, .. } = evidence;
    let found = evidence.source.found.as_ref();
    let bound = found.and_then(|found| filter.bounds(found.size, found.modified));
    let (passes, reason) = match filter.key(key) {
        KeyMatch::Excluded(index) => {
            (false, format!("it matches the exclude pattern {:?}", patterns.exclude[index]))
        }
        KeyMatch::NotIncluded => (false, "it matches no include pattern".to_owned()),
        KeyMatch::Included(Some(index)) => {
            (true, format!("it matches the include pattern {:?}", patterns.include[index]))
        }
        KeyMatch::Included(None) if patterns.exclude.is_empty() => {
            (true, "the job has no patterns".to_owned())
        }
        KeyMatch::Included(None) => (true, "it matches no exclude pattern".to_owned()),
    };
    match bound {
        Some(field) if passes => (false, format!("the bound {field} does not allow it")),
        _ => (passes, reason),
    }
}

fn nothing(verdict: KeyVerdict, reason: String, next_reason: &str) -> Judged {
    let next = NextStep::Nothing;
    Judged { verdict, reason, next, next_reason: next_reason.to_owned(), way: None }
}

fn problem(state: &ObjectState) -> String {
    match &state.problem {
        Some(problem) => format!("{}: {}", problem.code, problem.message),
        None => "for an unknown reason".to_owned(),
    }
}

impl Evidence<'_> {
    fn judge(&self) -> Judged {
        let (source, destination) = (self.source, self.destination);
        for (side, looked) in [("source", source), ("destination", destination)] {
            if looked.state.presence == Presence::Unknown {
                return Judged {
                    verdict: KeyVerdict::Unknown,
                    reason: format!("the {side} cannot be looked at: {}", problem(&looked.state)),
                    next: NextStep::Fail,
                    next_reason: "a run would meet the same and list it as a failure".to_owned(),
                    way: None,
                };
            }
        }
        match (&source.found, &destination.found) {
            (None, None) => {
                let reason = "neither side has it".to_owned();
                nothing(KeyVerdict::Absent, reason, "there is nothing to do")
            }
            (None, Some(_)) => {
                let reason = "only the destination has it".to_owned();
                nothing(KeyVerdict::Extra, reason, "a run leaves it where it is")
            }
            (Some(_), None) => self.copied("the destination does not have it".to_owned()),
            (Some(from), Some(to)) => self.compared(from, to),
        }
    }

    /// Both sides have it.
    fn compared(&self, source: &Found, destination: &Found) -> Judged {
        let (decision, why) = compare::decide_why(self.mode, source, destination, self.kinds);
        let Decision::Ask(ask) = decision else {
            return self.decided(decision, why.text().to_owned());
        };
        let (Some(from), Some(to)) = (&self.source.object, &self.destination.object) else {
            let side = if self.source.object.is_none() { self.source } else { self.destination };
            return Judged {
                verdict: KeyVerdict::Unknown,
                reason: format!("{}, and it cannot be asked: {}", why.text(), problem(&side.state)),
                next: NextStep::Fail,
                next_reason: "a run would meet the same and list it as a failure".to_owned(),
                way: None,
            };
        };
        let in_step = copy::is_copy_of(to, source);
        let checksums = compare::by_checksums(&from.checksums, &to.checksums);
        let (decision, more) = compare::answered(self.mode, ask, in_step, checksums);
        let reason = if more == why {
            why.text().to_owned()
        } else {
            format!("{}; {}", why.text(), more.text())
        };
        self.decided(decision, reason)
    }

    fn decided(&self, decision: Decision, reason: String) -> Judged {
        match decision {
            Decision::InStep => in_step(reason),
            Decision::Copy => self.copied(reason),
            Decision::Ask(_) => self.carries(reason),
        }
    }

    /// The bytes are in step, and what else there is counts too.
    fn carries(&self, reason: String) -> Judged {
        let Some(Carried { differs, unread }) = &self.carried else {
            return in_step(format!("{reason}; what they carry was not compared"));
        };
        if differs.is_empty() {
            let tags = if *unread { ", but for tags, which cannot be read" } else { "" };
            return in_step(format!("{reason}; they carry the same{tags}"));
        }
        Judged {
            verdict: KeyVerdict::Differs,
            reason: format!(
                "not in step: the bytes are ({reason}), but they carry different {}",
                differs.join(", ")
            ),
            next: NextStep::Copy,
            next_reason: "what it carries is written anew, without moving a byte where the \
                          destination can copy an object onto itself"
                .to_owned(),
            way: Some(CopyWay::Repair),
        }
    }

    /// The source is to be copied.
    fn copied(&self, reason: String) -> Judged {
        let (next, next_reason, way) = self.way();
        let reason = format!("not in step: {reason}");
        Judged { verdict: KeyVerdict::Differs, reason, next, next_reason, way }
    }

    fn way(&self) -> (NextStep, String, Option<CopyWay>) {
        let state = &self.source.state;
        if state.archived {
            let class = match state.storage_class.as_str() {
                "" => "an archive tier",
                class => class,
            };
            let text = format!("it is in {class} and listed as archived until it is restored");
            return (NextStep::Archived, text, None);
        }
        let parts = |Layout { part_size, parts, as_source }| {
            let same = if as_source { ", as those of the source" } else { "" };
            format!("in {parts} parts of {part_size} bytes{same}")
        };
        let (text, way) = match self.route {
            None => {
                let why = problem(state);
                let text = format!("a run would try to read it, and meet what stands here: {why}");
                return (NextStep::Fail, text, None);
            }
            Some(Route::TooLarge) => {
                let text = format!(
                    "it is larger than the {} bytes the destination takes, and listed as a failure",
                    self.max_object
                );
                return (NextStep::Fail, text, None);
            }
            Some(Route::ServerSide) => {
                ("copied inside S3 by one request".to_owned(), CopyWay::ServerSide)
            }
            Some(Route::ServerSideParts(layout)) => {
                (format!("copied inside S3 {}", parts(layout)), CopyWay::ServerSideParts)
            }
            Some(Route::Single) => {
                ("copied through an agent by one GET and one PUT".to_owned(), CopyWay::Single)
            }
            Some(Route::Parts(layout)) => {
                (format!("copied through an agent {}", parts(layout)), CopyWay::Parts)
            }
        };
        (NextStep::Copy, text, Some(way))
    }
}

fn in_step(reason: String) -> Judged {
    nothing(KeyVerdict::InStep, format!("in step: {reason}"), "there is nothing to do")
}
