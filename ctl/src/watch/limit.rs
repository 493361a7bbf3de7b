//! Pure. What keeps a run from being faster, in a sentence: from what its agents waited for between two looks.

use std::time::Duration;

use s3sync_proto::model::{
    Activity, Operation, RangeState, RequestSide, RunState, RunView, Usage, WaitReason,
};

use super::tone::Tone;
use crate::render::run_state;
use crate::render::text::{count, size};

/// A wait matters when this share of all keys, parts and listings that were under way waited so.
const MATTERS: f64 = 0.2;

/// What agents did between two looks, all of them together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Since {
    /// How long that was.
    pub(crate) time: Duration,
    /// Their requests and waits.
    pub(crate) usage: Usage,
}

/// The sentence, and how grave it is. `None`: there is nothing to say.
pub(crate) fn limited(view: &RunView, since: &Since) -> Option<(String, Tone)> {
    let run = &view.run;
    if run.state != RunState::Running {
        return None;
    }
    if view.agents.is_empty() {
        let why = match view.connected_agents {
            0 => "no agent is connected".to_owned(),
            _ if view.free_places == 0 => {
                "agents are at other runs and hold as much as they take".to_owned()
            }
            _ => format!("it is {} and no agent holds work of it", run_state(run.state)),
        };
        return Some((why, Tone::Warning));
    }
    if let Some(endpoint) = slowed_endpoint(view) {
        return Some((endpoint, Tone::Warning));
    }
    if since.time < Duration::from_secs(1) {
        return None;
    }
    let waits = Waits::of(since);
    let worst =
        WaitReason::ALL.into_iter().max_by(|a, b| waits.share(*a).total_cmp(&waits.share(*b)));
    let worst = worst.filter(|reason| waits.share(*reason) >= MATTERS);
    let too_few = too_few_agents(view);
    match worst {
        Some(WaitReason::SlowDown) => {
            let slowed = requests(since, |one| one.slowed);
            let text = format!("throttled: {} requests were asked to slow down", count(slowed));
            Some((text, Tone::Warning))
        }
        Some(WaitReason::Retry) => {
            let failed = requests(since, |one| one.failed);
            let text =
                format!("{} requests failed and are tried again after a pause", count(failed));
            Some((text, Tone::Warning))
        }
        Some(WaitReason::RequestLimit) => {
            let limit = view.limits.requests_per_second.map(count).unwrap_or_default();
            Some((format!("the job's limit of {limit} requests a second"), Tone::Plain))
        }
        Some(WaitReason::BandwidthLimit) => {
            let limit = view.limits.bandwidth.map(size).unwrap_or_default();
            Some((format!("the job's limit of {limit} a second"), Tone::Plain))
        }
        Some(WaitReason::Lease) => {
            let text = "agents wait for the server before they write".to_owned();
            Some((text, Tone::Warning))
        }
        Some(WaitReason::RequestSlots | WaitReason::Memory) if too_few.is_some() => too_few,
        Some(WaitReason::RequestSlots) => Some((slots(view), Tone::Plain)),
        Some(WaitReason::Memory) => {
            let text = "agents hold as many bytes in memory as they may; more agents would help";
            Some((text.to_owned(), Tone::Plain))
        }
        Some(WaitReason::Listing) => too_few.or_else(|| Some((listing(since), Tone::Plain))),
        None => too_few.or_else(|| answers(since)),
    }
}

/// The endpoint that asks most to slow down.
fn slowed_endpoint(view: &RunView) -> Option<String> {
    let activities = view.agents.iter().filter_map(|agent| agent.activity.as_ref().ok());
    let loads = activities.flat_map(|activity| &activity.loads);
    let slowed = loads.filter(|load| load.allowed < load.most);
    let worst = slowed.min_by_key(|load| load.allowed)?;
    Some(format!(
        "throttled: {} asks to slow down; {} of {} requests may be in flight",
        worst.endpoint, worst.allowed, worst.most
    ))
}

/// Ranges wait, and agents take no more.
fn too_few_agents(view: &RunView) -> Option<(String, Tone)> {
    let states = view.strips.iter().flat_map(|strip| &strip.states);
    let waiting = states.filter(|state| **state == RangeState::Waiting).count();
    let text = format!(
        "too few agents: {} ranges wait, and agents hold as much as they take",
        count(waiting as u64)
    );
    (waiting > 0 && view.free_places == 0).then_some((text, Tone::Plain))
}

fn slots(view: &RunView) -> String {
    let activities = view.agents.iter().filter_map(|agent| agent.activity.as_ref().ok());
    let loads = activities.flat_map(|activity| &activity.loads);
    match loads.max_by_key(|load| load.in_flight) {
        Some(load) => format!(
            "requests in flight: {} of {} at {} by one agent; more agents would help",
            load.in_flight, load.allowed, load.endpoint
        ),
        None => "requests in flight: as many as may be".to_owned(),
    }
}

fn listing(since: &Since) -> String {
    let of = |side: RequestSide| {
        let same = since
            .usage
            .requests
            .iter()
            .find(|one| one.side == side && one.operation == Operation::List && one.made > 0);
        same.map(|one| one.time / u32::try_from(one.made).unwrap_or(u32::MAX))
    };
    let (source, destination) = (of(RequestSide::Source), of(RequestSide::Destination));
    let (side, time) =
        if destination > source { ("a destination", destination) } else { ("the source", source) };
    match time {
        Some(time) => format!("listing: a page of {side} takes {}", took(time)),
        None => "listing: the next page is waited for".to_owned(),
    }
}

/// Nothing is waited for but the answers.
fn answers(since: &Since) -> Option<(String, Tone)> {
    let made = requests(since, |one| one.made);
    let time: Duration = since.usage.requests.iter().map(|one| one.time).sum();
    let mean = time.checked_div(u32::try_from(made).ok()?)?;
    let in_flight = time.as_secs_f64() / since.time.as_secs_f64();
    let text = format!(
        "the answers of S3: {in_flight:.0} requests are in flight, and one takes {}",
        took(mean)
    );
    Some((text, Tone::Plain))
}

fn requests(since: &Since, what: impl Fn(&s3sync_proto::model::RequestUsage) -> u64) -> u64 {
    since.usage.requests.iter().map(what).sum()
}

fn took(time: Duration) -> String {
    match time.as_millis() {
        0 => "less than 1 ms".to_owned(),
        millis @ 1..10_000 => format!("{millis} ms"),
        millis => format!("{} s", millis / 1_000),
    }
}

/// How many waited for what, on average, and how many requests were under way.
struct Waits<'a> {
    since: &'a Since,
    all: f64,
}

impl<'a> Waits<'a> {
    fn of(since: &'a Since) -> Self {
        let waits: Duration = since.usage.waits.iter().map(|wait| wait.time).sum();
        let requests: Duration = since.usage.requests.iter().map(|one| one.time).sum();
        Self { since, all: (waits + requests).as_secs_f64() }
    }

    /// The share of all that was under way that waited for this.
    fn share(&self, reason: WaitReason) -> f64 {
        if self.all <= 0.0 {
            return 0.0;
        }
        self.since.usage.waited(reason).as_secs_f64() / self.all
    }
}

/// What was done between two of an agent's answers; `None`: it has started anew.
pub(crate) fn between(before: &Activity, now: &Activity) -> Option<Activity> {
    let time = now.time.checked_sub(before.time)?;
    let mut usage = Usage::default();
    for one in &now.usage.requests {
        let same = before.usage.requests.iter();
        let mut same = same.filter(|b| (b.side, b.operation) == (one.side, one.operation));
        let mut one = *one;
        if let Some(before) = same.next() {
            one.made = one.made.checked_sub(before.made)?;
            one.slowed = one.slowed.checked_sub(before.slowed)?;
            one.failed = one.failed.checked_sub(before.failed)?;
            one.time = one.time.checked_sub(before.time)?;
        }
        usage.requests.push(one);
    }
    for one in &now.usage.waits {
        let mut one = *one;
        one.time = one.time.checked_sub(before.usage.waited(one.reason))?;
        usage.waits.push(one);
    }
    Some(Activity {
        time,
        listed: now.listed.checked_sub(before.listed)?,
        copied: now.copied.checked_sub(before.copied)?,
        moved_bytes: now.moved_bytes.checked_sub(before.moved_bytes)?,
        usage,
        loads: now.loads.clone(),
    })
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
