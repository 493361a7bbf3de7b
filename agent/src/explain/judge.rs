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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use s3sync_proto::model::{EtagKind, FailureClass, Timestamp, WorkError};

    use super::*;
    use crate::compare::STAMP;
    use crate::s3::{Attributes, Object, StoredChecksum};

    const A: &str = "0cc175b9c0f1b6a831c399e269772661";
    const B: &str = "92eb5ffee6ae2fec3ad71c777531578f";
    const MULTI: &str = "0cc175b9c0f1b6a831c399e269772661-3";

    fn state(presence: Presence) -> ObjectState {
        ObjectState {
            bucket: "b".into(),
            key: Key::from("p/k"),
            presence,
            problem: None,
            size: 0,
            etag: String::new(),
            etag_kind: None,
            modified: None,
            storage_class: String::new(),
            archived: false,
            encryption: String::new(),
            version_id: String::new(),
            stamp: String::new(),
            checksums: Vec::new(),
            tags: None,
            content_type: String::new(),
        }
    }

    fn absent() -> Looked {
        Looked { state: state(Presence::Absent), found: None, object: None }
    }

    fn unknown() -> Looked {
        let (class, code) = (FailureClass::Permanent, "AccessDenied".to_owned());
        let problem = Some(WorkError { class, code, message: "no".into() });
        let state = ObjectState { problem, ..state(Presence::Unknown) };
        Looked { state, found: None, object: None }
    }

    fn present(size: u64, etag: &str, days: u32) -> Looked {
        let modified = Timestamp::default().plus(Duration::from_secs(24 * 3600) * days);
        let found = Found {
            key: Key::from("k"),
            size,
            etag: etag.into(),
            modified,
            storage_class: String::new(),
            archived: false,
        };
        let object = Object { length: size, etag: etag.into(), modified, ..Object::default() };
        Looked { state: state(Presence::Present), found: Some(found), object: Some(object) }
    }

    fn stamped(looked: Looked, stamp: String) -> Looked {
        let metadata = [(STAMP.to_owned(), stamp)].into();
        let attributes = Attributes { metadata, ..Attributes::default() };
        Looked { object: looked.object.map(|object| Object { attributes, ..object }), ..looked }
    }

    fn summed(looked: Looked, value: &str) -> Looked {
        let (algorithm, value) = ("CRC32", value.to_owned());
        let checksums = vec![StoredChecksum { algorithm, value, whole: true }];
        Looked { object: looked.object.map(|object| Object { checksums, ..object }), ..looked }
    }

    fn archived(mut looked: Looked) -> Looked {
        looked.state.archived = true;
        looked.state.storage_class = "GLACIER".into();
        looked
    }

    /// As a job judges that compares like this and has this filter.
    fn judged(
        mode: CompareMode,
        filter: &Filter,
        (source, destination): (&Looked, &Looked),
        carried: Option<Carried>,
        route: Option<Route>,
    ) -> KeyExplanation {
        let md5 = Some(EtagKind::Md5);
        judge(Evidence {
            key: &Key::from("k"),
            mode,
            kinds: Kinds { source: md5, destination: md5 },
            filter: &Matcher::new(filter).unwrap(),
            patterns: filter,
            source,
            destination,
            carried,
            route,
            max_object: 100,
        })
    }

    type Case = (CompareMode, Looked, Looked, KeyVerdict, &'static str, NextStep);

    fn assert_judged(cases: impl IntoIterator<Item = Case>) {
        for (mode, source, destination, verdict, reason, next) in cases {
            let sides = (&source, &destination);
            let told = judged(mode, &Filter::default(), sides, None, Some(Route::Single));
            assert_eq!((told.verdict, told.next), (verdict, next), "{reason}");
            assert!(told.reason.contains(reason), "{} without {reason}", told.reason);
        }
    }

    #[test]
    fn where_it_is_and_is_not_has_a_verdict_a_reason_and_what_comes_next() {
        use CompareMode::Default as D;
        use KeyVerdict::{Absent, Differs, Extra, Unknown};
        use NextStep::{Archived, Copy, Fail, Nothing};
        let one = || present(1, A, 0);
        let unread = "source cannot be looked at: AccessDenied";
        assert_judged([
            (D, absent(), absent(), Absent, "neither side has it", Nothing),
            (D, absent(), one(), Extra, "only the destination has it", Nothing),
            (D, one(), absent(), Differs, "does not have it", Copy),
            (D, archived(one()), absent(), Differs, "does not have it", Archived),
            (D, unknown(), one(), Unknown, unread, Fail),
            (D, one(), unknown(), Unknown, "destination cannot be looked at", Fail),
        ]);
    }

    #[test]
    fn two_objects_have_a_verdict_and_a_reason_in_each_mode() {
        use CompareMode::{Checksum as C, Default as D, Etag as E, Size as S};
        use KeyVerdict::{Differs, InStep};
        use NextStep::{Copy, Nothing};
        let (one, other, multi) =
            (|| present(1, A, 0), || present(1, B, 0), || present(1, MULTI, 0));
        let sum = |value| summed(one(), value);
        let copy = stamped(other(), crate::compare::stamp(MULTI, Timestamp::default()));
        assert_judged([
            (D, one(), present(2, A, 0), Differs, "their sizes differ", Copy),
            (D, one(), one(), InStep, "their ETags are equal", Nothing),
            (D, one(), present(1, B, 9), Differs, "MD5s of the bytes and differ", Copy),
            (D, multi(), present(1, B, 9), InStep, "more than 8 days", Nothing),
            (D, multi(), other(), Differs, "is not stamped", Copy),
            (D, multi(), copy, InStep, "is stamped", Nothing),
            (S, one(), other(), InStep, "compares nothing else", Nothing),
            (E, one(), other(), Differs, "compares nothing else", Copy),
            (C, sum("x"), summed(other(), "x"), InStep, "checksums; they are equal", Nothing),
            (C, sum("x"), sum("y"), Differs, "stored checksums; they differ", Copy),
            (C, one(), one(), InStep, "none in common, but", Nothing),
            (C, one(), other(), Differs, "none in common, and", Copy),
        ]);
    }

    #[test]
    fn what_would_be_copied_is_told_with_its_way() {
        use CopyWay::{Parts, ServerSide, ServerSideParts, Single};
        let layout = Layout { part_size: 8, parts: 3, as_source: true };
        let (source, destination) = (present(1, A, 0), absent());
        let cases = [
            (Some(Route::Single), NextStep::Copy, Some(Single), "one GET and one PUT"),
            (
                Some(Route::Parts(layout)),
                NextStep::Copy,
                Some(Parts),
                "3 parts of 8 bytes, as those",
            ),
            (Some(Route::ServerSide), NextStep::Copy, Some(ServerSide), "inside S3 by one"),
            (
                Some(Route::ServerSideParts(layout)),
                NextStep::Copy,
                Some(ServerSideParts),
                "inside S3 in 3",
            ),
            (Some(Route::TooLarge), NextStep::Fail, None, "larger than the 100 bytes"),
            (None, NextStep::Fail, None, "meet what stands here"),
        ];
        for (route, next, way, text) in cases {
            let sides = (&source, &destination);
            let told = judged(CompareMode::Default, &Filter::default(), sides, None, route);
            assert_eq!((told.next, told.way), (next, way), "{text}");
            assert!(told.next_reason.contains(text), "{}", told.next_reason);
        }
    }

    #[test]
    fn a_full_comparison_names_what_is_carried_otherwise() {
        let sides = (&present(1, A, 0), &present(1, A, 0));
        let full = |differs: &[&str], unread| {
            let differs = differs.iter().map(|name| (*name).to_owned()).collect();
            let carried = Some(Carried { differs, unread });
            judged(CompareMode::Full, &Filter::default(), sides, carried, Some(Route::Single))
        };
        let same = full(&[], false);
        assert_eq!(same.reason, "in step: their ETags are equal; they carry the same");
        assert!(full(&[], true).reason.ends_with("but for tags, which cannot be read"));
        let other = full(&["content-type", "tags"], false);
        assert_eq!((other.verdict, other.way), (KeyVerdict::Differs, Some(CopyWay::Repair)));
        assert!(other.reason.contains("carry different content-type, tags"), "{}", other.reason);
    }

    #[test]
    fn the_filter_is_told_by_its_pattern_or_bound() {
        let sides = (&present(5, A, 0), &absent());
        let filter = |include: &[&str], exclude: &[&str], max_size| Filter {
            include: include.iter().map(|text| (*text).to_owned()).collect(),
            exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
            max_size,
            ..Filter::default()
        };
        let cases = [
            (filter(&[], &[], None), true, "the job has no patterns"),
            (filter(&[], &["x"], None), true, "it matches no exclude pattern"),
            (filter(&["x", "k"], &[], None), true, "it matches the include pattern \"k\""),
            (filter(&["x"], &[], None), false, "it matches no include pattern"),
            (filter(&["k"], &["x", "?"], None), false, "it matches the exclude pattern \"?\""),
            (filter(&["k"], &[], Some(4)), false, "the bound max_size does not allow it"),
            (filter(&["k"], &[], Some(5)), true, "it matches the include pattern \"k\""),
        ];
        for (filter, passes, reason) in cases {
            let told = judged(CompareMode::Default, &filter, sides, None, Some(Route::Single));
            assert_eq!((told.passes_filter, told.filter_reason.as_str()), (passes, reason));
            let filtered = told.verdict == KeyVerdict::Filtered;
            assert_eq!((filtered, told.next == NextStep::Nothing), (!passes, !passes));
        }
        // A bound says nothing of what only the destination has.
        let sides = (&absent(), &present(5, A, 0));
        let small = filter(&[], &[], Some(4));
        let told = judged(CompareMode::Default, &small, sides, None, None);
        assert_eq!((told.verdict, told.passes_filter), (KeyVerdict::Extra, true));
    }
}
