//! Pure. Whether a bucket tells the queue what jobs need to hear, and what it would have to be told.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use s3sync_proto::model::{
    CheckState, CompareMode, DeleteMode, JobSpec, Name, Notification, NotificationTarget,
    Notifications, ProbeCheck,
};

use super::policy::{Sender, Sends, may_send};
use super::{Ground, check};

/// What every job needs.
const CREATED: &str = "s3:ObjectCreated:*";
const REMOVED: &str = "s3:ObjectRemoved:*";
const EXPIRED: &str = "s3:LifecycleExpiration:*";
const RESTORED: &str = "s3:ObjectRestore:Completed";
const TAGGED: &str = "s3:ObjectTagging:*";

/// The kinds that a kind with a star stands for (S3 User Guide, "Supported event types for SQS, SNS, and Lambda").
const STARS: &[(&str, &[&str])] = &[
    (CREATED, &["Put", "Post", "Copy", "CompleteMultipartUpload"]),
    (REMOVED, &["Delete", "DeleteMarkerCreated"]),
    (EXPIRED, &["Delete", "DeleteMarkerCreated"]),
    (TAGGED, &["Put", "Delete"]),
];

/// On which way events come to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The bucket tells the queue.
    Queue,
    /// The bucket tells a topic, whose ARN this is.
    Topic(String),
    /// The bucket tells EventBridge.
    EventBridge,
}

/// What was found at a bucket, and what is missing.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// What was found.
    pub(super) checks: Vec<ProbeCheck>,
    /// How events come, or would best.
    pub(super) way: Way,
    /// The queue's policy lacks the right to send on that way.
    pub(super) lacks_right: bool,
    /// What the bucket is to tell, as a whole, when that is not what it tells.
    pub(super) wanted: Option<Notifications>,
}

/// A job, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) job: &'a Name,
    pub(super) spec: &'a JobSpec,
}

/// Judges a bucket that tells this. `aws`: it is one of AWS, not of another server.
pub(super) fn judge(
    bucket: &str,
    told: &Notifications,
    wishes: &[Wish<'_>],
    aws: bool,
    ground: &Ground<'_>,
) -> Judged {
    let look = Look { told, aws, queue: ground.arn.to_string() };
    let may = |way: &Way| ground.may(bucket, way);
    let way = look.way(wishes, &may);
    let mut checks: Vec<_> = wishes.iter().map(|wish| look.job(*wish, &way)).collect();
    let right = may(&way);
    checks.push(right_check(bucket, &way, &right));
    let lacks_right = matches!(right, Some(Sends::No));
    let wanted = look.wanted(wishes, &way);
    checks.extend(wanted.as_ref().and_then(|wanted| look.conflict(wanted)));
    Judged { checks, way, lacks_right, wanted }
}

fn right_check(bucket: &str, way: &Way, right: &Option<Sends>) -> ProbeCheck {
    let who = match way {
        Way::Queue => format!("s3.amazonaws.com for {bucket}"),
        Way::Topic(arn) => format!("sns.amazonaws.com for {arn}"),
        Way::EventBridge => "events.amazonaws.com".to_owned(),
    };
    let (state, detail) = match right {
        None => (
            CheckState::Unknown,
            format!("the queue's policy could not be read; it must let {who} send"),
        ),
        Some(Sends::Yes) => (CheckState::Ok, format!("the queue's policy lets {who} send")),
        Some(Sends::Perhaps(why)) => (
            CheckState::Unknown,
            format!("whether the queue's policy lets {who} send cannot be told: {why}"),
        ),
        Some(Sends::No) => (
            CheckState::Failed,
            format!("the queue's policy does not let {who} send: no event arrives"),
        ),
        Some(Sends::Denied(name)) => (
            CheckState::Failed,
            format!("the queue's policy forbids {who} to send, by its statement {name}"),
        ),
    };
    check("may send", state, detail)
}

struct Look<'a> {
    told: &'a Notifications,
    aws: bool,
    queue: String,
}

/// How far a notification reaches into a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    Part,
    Nothing,
}

impl Look<'_> {
    /// The way that is there, else the one that can be added.
    fn way(&self, wishes: &[Wish<'_>], may: &dyn Fn(&Way) -> Option<Sends>) -> Way {
        let reaches = |one: &Notification| {
            wishes.iter().any(|wish| self.reach(one, &wish.spec.source.prefix) != Reach::Nothing)
        };
        let creates = |one: &Notification| one.events.iter().any(|event| is_of(event, CREATED));
        let mut others = self.told.all.iter().filter(|one| !self.is_ours(one) && reaches(one));
        if self.told.all.iter().any(|one| self.is_ours(one) && reaches(one)) {
            return Way::Queue;
        }
        let allowed = |way: &Way| matches!(may(way), Some(Sends::Yes | Sends::Perhaps(_)));
        let topics =
            self.told.all.iter().filter(|one| {
                one.target == NotificationTarget::Topic && creates(one) && reaches(one)
            });
        let topics: Vec<_> = topics.map(|one| Way::Topic(one.arn.clone())).collect();
        if let Some(way) = topics.iter().find(|way| allowed(way)) {
            return way.clone();
        }
        if self.told.event_bridge && allowed(&Way::EventBridge) {
            return Way::EventBridge;
        }
        // S3 refuses two configurations that overlap for one kind of event.
        match topics.into_iter().next() {
            Some(topic) => topic,
            None if others.any(creates) && self.aws => Way::EventBridge,
            None => Way::Queue,
        }
    }

    fn is_ours(&self, one: &Notification) -> bool {
        one.target == NotificationTarget::Queue && one.arn == self.queue
    }

    fn is_on(&self, one: &Notification, way: &Way) -> bool {
        match way {
            Way::Queue => self.is_ours(one),
            Way::Topic(arn) => one.target == NotificationTarget::Topic && one.arn == *arn,
            Way::EventBridge => false,
        }
    }

    fn reach(&self, one: &Notification, prefix: &str) -> Reach {
        let below = self.decoded(&one.prefix);
        match prefix.starts_with(&below) {
            true if one.suffix.is_empty() => Reach::Whole,
            true => Reach::Part,
            false if below.starts_with(prefix) => Reach::Part,
            false => Reach::Nothing,
        }
    }

    /// A part of a key as S3 keeps it in a filter: in AWS encoded as in a URL, elsewhere as it is.
    fn decoded(&self, text: &str) -> String {
        if !self.aws {
            return text.to_owned();
        }
        percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
    }

    fn encoded(&self, text: &str) -> String {
        if self.aws { encoded(text) } else { text.to_owned() }
    }

    /// Whether a job hears of what it needs.
    fn job(&self, wish: Wish<'_>, way: &Way) -> ProbeCheck {
        let name = format!("job {}", wish.job);
        let prefix = &wish.spec.source.prefix;
        let below =
            if prefix.is_empty() { "of any key".to_owned() } else { format!("below {prefix}") };
        if *way == Way::EventBridge {
            return match self.told.event_bridge {
                true => check(
                    &name,
                    CheckState::Unknown,
                    "the bucket tells EventBridge of every change; that a rule sends them to the queue cannot be seen \
                     from here",
                ),
                false => check(
                    &name,
                    CheckState::Failed,
                    format!("nothing tells the queue of changes {below}"),
                ),
            };
        }
        let on_it: Vec<_> = self.told.all.iter().filter(|one| self.is_on(one, way)).collect();
        let reach = |wanted: Reach| {
            on_it.iter().copied().filter(move |one| self.reach(one, prefix) == wanted)
        };
        let heard: BTreeSet<&str> =
            reach(Reach::Whole).flat_map(|one| &one.events).map(String::as_str).collect();
        let (must, should) = needs(wish.spec, self.aws);
        let missing = |needs: &[&'static str]| -> Vec<&'static str> {
            needs.iter().copied().filter(|need| !covered(&heard, need)).collect()
        };
        let lacks = missing(&must);
        if !lacks.is_empty() {
            let parts: Vec<_> = reach(Reach::Part)
                .map(|one| {
                    format!("keys {}*{}", self.decoded(&one.prefix), self.decoded(&one.suffix))
                })
                .collect();
            let detail = match (parts.is_empty(), heard.is_empty()) {
                (false, _) => {
                    format!("the queue hears of {} only, not of all {below}", parts.join(" and "))
                }
                (true, true) => format!("nothing tells the queue of changes {below}"),
                (true, false) => format!("the queue does not hear of {} {below}", lacks.join(", ")),
            };
            return check(&name, CheckState::Failed, detail);
        }
        let lacks = missing(&should);
        if !lacks.is_empty() {
            let detail = format!(
                "the queue hears of writes {below}, but not of {}: those are left to the job's scans",
                lacks.join(", ")
            );
            return check(&name, CheckState::Warning, detail);
        }
        match way {
            Way::Topic(arn) => check(
                &name,
                CheckState::Unknown,
                format!(
                    "the topic {arn} hears of changes {below}; that the queue is subscribed to it cannot be seen from here"
                ),
            ),
            Way::Queue | Way::EventBridge => {
                check(&name, CheckState::Ok, format!("the queue hears of changes {below}"))
            }
        }
    }

    /// The bucket's configuration as it should be, when that is another.
    fn wanted(&self, wishes: &[Wish<'_>], way: &Way) -> Option<Notifications> {
        let mut wanted = self.told.clone();
        match way {
            Way::Topic(_) => return None,
            Way::EventBridge => wanted.event_bridge = true,
            Way::Queue => {
                let mut sorted: Vec<_> = wishes.iter().collect();
                sorted.sort_by_key(|wish| &wish.spec.source.prefix);
                for wish in sorted {
                    let prefix = &wish.spec.source.prefix;
                    let (must, should) = needs(wish.spec, self.aws);
                    let needed = [must, should].concat();
                    self.add(&mut wanted.all, prefix, &needed, &events(wishes, prefix, self.aws));
                }
            }
        }
        (wanted != *self.told).then_some(wanted)
    }

    /// Lets the queue hear of these events of all keys with the prefix, unless it hears of all that is needed.
    fn add(&self, all: &mut Vec<Notification>, prefix: &str, needed: &[&str], events: &[&str]) {
        let is_ours = |one: &Notification| self.is_ours(one);
        let heard: BTreeSet<String> = all
            .iter()
            .filter(|one| is_ours(one) && self.reach(one, prefix) == Reach::Whole)
            .flat_map(|one| one.events.clone())
            .collect();
        let heard: BTreeSet<&str> = heard.iter().map(String::as_str).collect();
        if needed.iter().all(|need| covered(&heard, need)) {
            return;
        }
        let lacks: Vec<_> = events.iter().copied().filter(|need| !covered(&heard, need)).collect();
        let whole =
            all.iter_mut().find(|one| is_ours(one) && self.reach(one, prefix) == Reach::Whole);
        if let Some(one) = whole {
            extend(&mut one.events, &lacks);
            return;
        }
        // Narrower ones of ours would overlap with the one that has it all.
        let mut id = None;
        let mut kept = Vec::new();
        all.retain(|one| {
            let narrower = is_ours(one) && self.reach(one, prefix) == Reach::Part;
            if narrower {
                id.get_or_insert_with(|| one.id.clone());
                kept.extend(one.events.clone());
            }
            !narrower
        });
        extend(&mut kept, events);
        all.push(Notification {
            id: id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.new_id(all)),
            target: NotificationTarget::Queue,
            arn: self.queue.clone(),
            events: kept,
            prefix: self.encoded(prefix),
            suffix: String::new(),
        });
    }

    /// What S3 would refuse the configuration for: no kind of event of a key goes to two places.
    fn conflict(&self, wanted: &Notifications) -> Option<ProbeCheck> {
        let ours = || wanted.all.iter().filter(|one| self.is_ours(one));
        let meets = |other: &Notification| {
            ours().any(|one| {
                let (a, b) = (self.decoded(&one.prefix), self.decoded(&other.prefix));
                let kinds =
                    || one.events.iter().flat_map(|x| other.events.iter().map(move |y| (x, y)));
                (a.starts_with(&b) || b.starts_with(&a))
                    && kinds().any(|(x, y)| is_of(x, y) || is_of(y, x))
            })
        };
        let other = wanted.all.iter().find(|one| !self.is_ours(one) && meets(one))?;
        let detail = format!(
            "{} already goes to {} below {:?} (id {}), and S3 refuses a second place for the same: let that one go to a topic \
             of SNS to which both are subscribed",
            other.events.join(", "),
            other.arn,
            self.decoded(&other.prefix),
            other.id
        );
        Some(check("other events", CheckState::Failed, detail))
    }

    /// An id that no other has.
    fn new_id(&self, all: &[Notification]) -> String {
        let name = self.queue.rsplit(':').next().unwrap_or_default();
        let mut id = format!("s3sync-{name}");
        let mut number = 1;
        while all.iter().any(|one| one.id == id) {
            number += 1;
            id = format!("s3sync-{name}-{number}");
        }
        id
    }
}

/// What a job must hear of, and what it should.
fn needs(spec: &JobSpec, aws: bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut should = Vec::new();
    if spec.deletes.mode == DeleteMode::Mirror {
        should.push(REMOVED);
        // Other servers do not know these kinds, and refuse them.
        if aws {
            should.push(EXPIRED);
        }
    }
    if aws {
        should.push(RESTORED);
    }
    if spec.compare == CompareMode::Full {
        should.push(TAGGED);
    }
    (vec![CREATED], should)
}

/// What a bucket is to tell of a prefix.
fn events(wishes: &[Wish<'_>], prefix: &str, aws: bool) -> Vec<&'static str> {
    let mut events = vec![CREATED, REMOVED];
    if aws {
        events.extend([EXPIRED, RESTORED]);
    }
    let tags = |wish: &Wish<'_>| {
        wish.spec.compare == CompareMode::Full && wish.spec.source.prefix.starts_with(prefix)
    };
    if wishes.iter().any(tags) {
        events.push(TAGGED);
    }
    events
}

/// Whether a kind of event is told of, by itself, by one with a star, or by all that its own star stands for.
fn covered(heard: &BTreeSet<&str>, need: &str) -> bool {
    if heard.contains(need) {
        return true;
    }
    let family = need.rsplit_once(':').map_or(need, |(family, _)| family);
    if heard.contains(format!("{family}:*").as_str()) {
        return true;
    }
    let kinds = STARS.iter().find(|(star, _)| *star == need).map(|(_, kinds)| *kinds);
    kinds.is_some_and(|kinds| {
        kinds.iter().all(|kind| heard.contains(format!("{family}:{kind}").as_str()))
    })
}

fn is_of(event: &str, star: &str) -> bool {
    event.starts_with(star.trim_end_matches('*'))
}

/// Adds kinds of events; those that a star stands for give way to it, since S3 refuses both.
fn extend(events: &mut Vec<String>, more: &[&str]) {
    for new in more {
        let family = new.strip_suffix('*');
        events.retain(|old| old != new && !family.is_some_and(|family| old.starts_with(family)));
        events.push((*new).to_owned());
    }
    let mut seen = BTreeSet::new();
    events.retain(|event| seen.insert(event.clone()));
}

/// As AWS wants a part of a key in a filter.
fn encoded(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEPT: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

impl Ground<'_> {
    /// Whether the queue's policy lets who sends on this way send; `None` when it could not be read.
    fn may(&self, bucket: &str, way: &Way) -> Option<Sends> {
        let policy = self.policy.as_ref()?;
        let arn = self.arn.to_string();
        let source = match way {
            Way::Queue => Some(self.arn.bucket(bucket)),
            Way::Topic(topic) => Some(topic.clone()),
            Way::EventBridge => None,
        };
        let service = match way {
            Way::Queue => "s3.amazonaws.com",
            Way::Topic(_) => "sns.amazonaws.com",
            Way::EventBridge => "events.amazonaws.com",
        };
        let sender = Sender { service, source: source.as_deref() };
        Some(may_send(policy, &arn, &self.arn.account, sender))
    }
}
