//! How queues and a job's events are printed.

use std::time::Duration;

use s3sync_proto::model::{Following, Name, Queue, QueueState, Timestamp};
use serde_json::Value;

use super::Show;
use super::resources::{place, run_label};
use super::text::{age, count, now, span, time};
use crate::manifest::queue_document;

/// An agent says twice a minute that a queue is empty. Of one that was said to be so longer ago it is not assumed.
const IDLE: Duration = Duration::from_secs(60);

impl Show for Queue {
    const PLURAL: &'static str = "queues";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) =
        (&["QUEUE", "ENDPOINT", "READ BY", "WAITING", "OLDEST"], &["URL", "AGE"]);

    fn row(&self) -> Vec<String> {
        let none = || "-".to_owned();
        let status = self.status.as_ref();
        let agents = status.map(|status| readers(&status.agents)).filter(|text| !text.is_empty());
        let state = status.map(|status| &status.state).filter(|state| state.is_known());
        let oldest = state.filter(|state| state.waiting > 0).and_then(|state| state.oldest_sent);
        vec![
            self.name.to_string(),
            self.spec.endpoint.to_string(),
            agents.unwrap_or_else(none),
            state.map_or_else(none, |state| count(state.waiting)),
            oldest.map_or_else(none, |oldest| age(oldest, now())),
            self.spec.url.clone(),
            age(self.created, now()),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let line = |label: &str, value: String| (label.to_owned(), value);
        let mut lines = vec![
            line("queue", self.name.to_string()),
            line("url", self.spec.url.clone()),
            line("read by", format!("the credential of endpoint {}", self.spec.endpoint)),
            line("created", time(Some(self.created))),
            line("updated", time(Some(self.updated))),
        ];
        let Some(status) = &self.status else {
            lines.push(line("state", "not read: no job names it".to_owned()));
            return lines;
        };
        lines.push(line(
            "state",
            match (status.agents.len(), status.reason.as_str()) {
                (0, "") => "waits for an agent".to_owned(),
                (0, reason) => format!("not read: {reason}"),
                (few, reason) => {
                    let wanted = self.spec.receivers;
                    let mut text = match few {
                        1 => format!("read by agent {}", status.agents[0]),
                        _ => format!("read by agents {}", readers(&status.agents)),
                    };
                    if few < wanted as usize {
                        text.push_str(&format!("; {few} of {wanted} receivers"));
                        if !reason.is_empty() {
                            text.push_str(&format!(": {reason}"));
                        }
                    }
                    text
                }
            },
        ));
        lines.push(line("waiting", waiting(&status.state, now())));
        lines.push(line(
            "received",
            format!(
                "{} messages, {} a minute now: {} events for jobs, {} for none, {} of other kinds; {} could not be read",
                count(status.messages),
                count(status.messages_per_minute),
                count(status.events),
                count(status.unmatched),
                count(status.ignored),
                count(status.unreadable),
            ),
        ));
        for message in &status.last_unreadable {
            let end = if message.removed { "removed" } else { "left to the redrive policy" };
            lines.push(line(
                "unreadable",
                format!(
                    "{}: {} ({end}): {:?}",
                    time(Some(message.received)),
                    message.reason,
                    message.excerpt
                ),
            ));
        }
        lines
    }

    fn document(&self) -> Value {
        queue_document(&self.name, &self.spec)
    }
}

/// What waits in a queue, and what to do before it is dropped.
fn waiting(state: &QueueState, now: Timestamp) -> String {
    if !state.is_known() {
        let why =
            "the queue was not looked at yet, or for want of the permission sqs:GetQueueAttributes";
        return format!("not known: {why}");
    }
    let mut text =
        format!("{} messages, {} in flight", count(state.waiting), count(state.in_flight));
    let Some(oldest) = state.oldest_sent.filter(|_| state.waiting > 0) else { return text };
    text.push_str(&format!("; those received now are {} old", age(oldest, now)));
    if let Some(kept) = state.retention.filter(|kept| now.since(oldest) >= *kept / 2) {
        let kept = span(kept.as_secs());
        let advice = "give it more receivers, or a longer retention";
        text.push_str(&format!(", and the queue drops them when they are {kept} old: {advice}"));
    }
    text
}

/// Who receives; an agent that is several receivers is named as often.
fn readers(agents: &[Name]) -> String {
    let names: Vec<&str> = agents.iter().map(Name::as_str).collect();
    names.join(", ")
}

/// The longest lag of a job's destinations, in a word.
pub(super) fn lag(following: &Following, now: Timestamp) -> String {
    if following.gap.is_some() {
        return "needs a scan".to_owned();
    }
    let oldest = following.destinations.iter().filter_map(|one| one.oldest).min();
    behind(oldest, following.told_until, now)
}

/// How old the oldest change is that is not in place: it was told and is not worked off, or waits in the queue.
fn behind(oldest: Option<Timestamp>, told_until: Option<Timestamp>, now: Timestamp) -> String {
    let age = |since: Timestamp| span(now.since(since).as_secs());
    let Some(told) = told_until else {
        let least = oldest.map(|oldest| format!("{} or longer", age(oldest)));
        return least.unwrap_or_else(|| "not known".to_owned());
    };
    let waits = (now.since(told) > IDLE).then_some(told);
    oldest.into_iter().chain(waits).min().map_or_else(|| "0s".to_owned(), age)
}

/// How a job's events stand, for people.
pub(super) fn following_lines(following: &Following, now: Timestamp) -> Vec<(String, String)> {
    let line = |label: &str, value: String| (label.to_owned(), value);
    let run = following
        .run
        .as_ref()
        .map_or_else(String::new, |run| format!(", worked off in run {}", run_label(run)));
    let mut lines = vec![line("events", format!("{}{run}", count(following.events)))];
    for one in &following.destinations {
        let lag = behind(one.oldest, following.told_until, now);
        let keys = match one.keys {
            1 => "1 key waits".to_owned(),
            keys => format!("{} keys wait", count(keys)),
        };
        let mut text = format!("{}: lag {lag}, {keys}", place(&one.location));
        if one.put_off > 0 {
            text.push_str(&format!(", {} of them put off", count(one.put_off)));
        }
        if one.told_per_minute > 0 || one.settled_per_minute > 0 {
            let (told, settled) = (count(one.told_per_minute), count(one.settled_per_minute));
            text.push_str(&format!(", {told} told and {settled} settled a minute"));
        }
        lines.push(line("", text));
        if one.awaiting > 0
            && let Some(run) = &following.run
        {
            let keys = count(one.awaiting);
            let how = format!("s3syncctl run approve {}", run_label(run));
            lines.push(line("", format!("{keys} deletes wait for an approval: {how}")));
        }
    }
    if !following.reason.is_empty() {
        lines.push(line("waits", following.reason.clone()));
    }
    if let Some(gap) = &following.gap {
        let scan = gap.scan.as_ref().map_or_else(
            || "a scan begins when no other run of the job is going on".to_owned(),
            |run| format!("run {} looks at everything", run_label(run)),
        );
        let since = time(Some(gap.since));
        lines.push(line("missing", format!("events since {since}: {}; {scan}", gap.reason)));
    }
    if following.lost > 0 {
        let last = following.last_lost.as_ref().map(ToString::to_string).unwrap_or_default();
        let lost = count(following.lost);
        lines.push(line("alarm", format!("S3 lost {lost} objects of the source, {last:?} last")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use s3sync_proto::model::{
        Dirty, Gap, Key, Location, QueueSpec, QueueStatus, UnreadableMessage,
    };

    use super::*;

    fn text(lines: Vec<(String, String)>) -> String {
        lines.iter().map(|(label, value)| format!("{label}: {value}\n")).collect()
    }

    #[test]
    fn how_events_stand_is_told_in_lines() {
        let at = |seconds: i64| Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000);
        let location = Location {
            endpoint: "cnn1".parse().unwrap(),
            bucket: "b".into(),
            prefix: "to/".into(),
        };
        let mut following = Following {
            run: Some("jobs/media/runs/4".parse().unwrap()),
            destinations: vec![Dirty {
                location,
                keys: 1_200,
                put_off: 2,
                oldest: Some(at(0)),
                awaiting: 0,
                told_per_minute: 12_000,
                settled_per_minute: 11_900,
            }],
            events: 5_000,
            lost: 1,
            last_lost: Some(Key::from("a/b")),
            gap: None,
            reason: "no agent is connected".into(),
            told_until: Some(at(60)),
        };
        assert_eq!(lag(&following, at(75)), "1m15s");
        assert_eq!(
            text(following_lines(&following, at(75))),
            "events: 5,000, worked off in run media/4\n\
             : cnn1:b/to/: lag 1m15s, 1,200 keys wait, 2 of them put off, 12,000 told and 11,900 settled a minute\n\
             waits: no agent is connected\n\
             alarm: S3 lost 1 objects of the source, \"a/b\" last\n"
        );
        following.gap = Some(Gap { since: at(0), reason: "too many".into(), scan: None });
        assert_eq!(lag(&following, at(75)), "needs a scan");
        let told = text(following_lines(&following, at(75)));
        assert!(told.contains("too many; a scan begins when"), "{told}");
    }

    #[test]
    fn how_a_queue_stands_is_told_in_lines() {
        let received = Timestamp::from_micros(1_800_000_000_000_000);
        let mut queue = Queue {
            name: "q".parse().unwrap(),
            spec: QueueSpec {
                url: "https://sqs/1/q".into(),
                endpoint: "usw2".parse().unwrap(),
                receivers: 1,
            },
            etag: String::new(),
            created: received,
            updated: received,
            status: None,
        };
        assert!(text(queue.details()).contains("state: not read: no job names it"));
        assert_eq!(queue.row()[2..5], ["-", "-", "-"]);
        let unreadable = UnreadableMessage {
            reason: "is not JSON".into(),
            excerpt: "x\ny".into(),
            receives: 5,
            removed: true,
            received,
        };
        queue.status = Some(QueueStatus {
            reason: "AccessDenied: ReceiveMessage: no".into(),
            state: QueueState { waiting: 1_500, in_flight: 2, ..QueueState::default() },
            messages: 7,
            messages_per_minute: 5,
            unreadable: 1,
            last_unreadable: vec![unreadable],
            ..QueueStatus::default()
        });
        let status = queue.status.as_mut().unwrap();
        let reason = std::mem::take(&mut status.reason);
        status.agents = vec!["us-1".parse().unwrap()];
        assert!(text(queue.details()).contains("state: read by agent us-1\n"));
        queue.spec.receivers = 3;
        queue.status.as_mut().unwrap().agents.push("cn-1".parse().unwrap());
        assert_eq!(queue.row()[2], "us-1, cn-1");
        let told = text(queue.details());
        assert!(told.contains("state: read by agents us-1, cn-1; 2 of 3 receivers\n"), "{told}");
        queue.status.as_mut().unwrap().reason = reason;
        let told = text(queue.details());
        assert!(told.contains("2 of 3 receivers: AccessDenied: ReceiveMessage: no\n"), "{told}");
        queue.status.as_mut().unwrap().agents.clear();
        let told = text(queue.details());
        for part in [
            "state: not read: AccessDenied: ReceiveMessage: no\n",
            "waiting: 1,500 messages, 2 in flight\n",
            "received: 7 messages, 5 a minute now: 0 events for jobs, 0 for none, 0 of other kinds; 1 could not be read\n",
            "is not JSON (removed): \"x\\ny\"\n",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }

    #[test]
    fn a_backlog_that_is_about_to_be_dropped_comes_with_advice() {
        let at = |hours: i64| Timestamp::from_micros(hours * 3_600_000_000);
        let hours = |hours: u64| std::time::Duration::from_secs(hours * 3_600);
        let state = QueueState {
            waiting: 1_500,
            retention: Some(hours(96)),
            oldest_sent: Some(at(1)),
            ..QueueState::default()
        };
        let told = waiting(&state, at(48));
        assert!(told.ends_with(" old") && !told.contains("drops"), "{told}");
        let told = waiting(&state, at(49));
        let advice = "and the queue drops them when they are 4d old: give it more receivers, or a longer retention";
        assert!(told.ends_with(advice), "{told}");
        let state = QueueState { waiting: 0, ..state };
        assert_eq!(waiting(&state, at(90)), "0 messages, 0 in flight");
    }

    #[test]
    fn what_is_not_known_is_not_good() {
        let at = |seconds: i64| Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000);
        let cases = [
            (None, Some(at(40)), "0s"),
            (Some(at(97)), Some(at(40)), "3s"),
            (None, Some(at(39)), "1m01s"),
            (Some(at(97)), Some(at(30)), "1m10s"),
            (Some(at(20)), Some(at(30)), "1m20s"),
            (None, None, "not known"),
            (Some(at(97)), None, "3s or longer"),
        ];
        for (oldest, told, text) in cases {
            assert_eq!(behind(oldest, told, at(100)), text, "{oldest:?} {told:?}");
        }
        let told = waiting(&QueueState::default(), at(0));
        assert!(told.starts_with("not known: "), "{told}");
    }
}
