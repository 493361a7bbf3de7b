//! What each kind shows.

use s3sync_proto::model::{
    Agent, AgentState, CompareMode, Counters, DeleteMode, Endpoint, Filter, Job, Limits, Location,
    Run, RunName, RunState, Timing, Trigger,
};
use serde_json::Value;

use super::Show;
use super::deletes::review_lines;
use super::events::{following_lines, lag};
use super::facts::bucket_facts;
use super::text::{age, count, labels, now, size, span, time, until};
use crate::manifest::{endpoint_document, job_document};

/// A run as people name it.
pub(crate) fn run_label(name: &RunName) -> String {
    format!("{}/{}", name.job, name.number)
}

/// How a run stands, in one line.
pub(crate) fn progress_line(run: &Run) -> String {
    let open: u32 = run.destinations.iter().map(|destination| destination.open_ranges).sum();
    let leased: u32 = run.destinations.iter().map(|destination| destination.leased_ranges).sum();
    let mut line =
        format!("{} {}: {}", run_label(&run.name), state(run.state), work(&run.totals()));
    if !run.state.is_terminal() {
        line.push_str(&format!("; {open} ranges open, {leased} being worked on"));
    }
    if !run.reason.is_empty() {
        line.push_str(&format!("; {}", run.reason));
    }
    line
}

fn work(counters: &Counters) -> String {
    let mut parts = vec![
        format!("{} listed", count(counters.listed)),
        format!("{} in step", count(counters.in_step)),
        format!("{} copied ({})", count(counters.copied), size(counters.copied_bytes)),
    ];
    for (number, what) in [
        (counters.failed, "failed"),
        (counters.vanished, "vanished"),
        (counters.archived, "archived"),
        (counters.deleted, "deleted"),
        (counters.not_deleted, "not deleted"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    parts.join(", ")
}

/// What else is worth saying of a run, where there is something to say.
fn notes(totals: &Counters) -> impl Iterator<Item = (String, String)> {
    let notes = [
        (totals.copied_server_side, "inside S3", "of the copied"),
        (
            totals.server_side_refused,
            "refused",
            "of the copied could not be copied inside S3, which refused it; their bytes went through an agent",
        ),
        (
            totals.repaired,
            "repaired",
            "of the copied had the right bytes; only what they carry was not in step",
        ),
        (totals.tags_unread, "warning", "keys may lack tags, which could not be read"),
        (totals.archived, "archived", "must be restored at the source before a run can copy them"),
        (totals.extra, "extra", "destination keys the source does not have"),
    ];
    notes
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, label, text)| (label.to_owned(), format!("{} {text}", count(number))))
}

pub(crate) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Pending => "pending",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::AwaitingApproval => "awaiting approval",
        RunState::Cancelling => "cancelling",
        RunState::Succeeded => "succeeded",
        RunState::FinishedWithFailures => "finished with failures",
        RunState::Incomplete => "incomplete",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

fn limits(limits: &Limits) -> String {
    let Limits { bandwidth, requests_per_second } = limits;
    let bandwidth = bandwidth.map(|bytes| format!("{} a second", size(bytes)));
    let requests =
        requests_per_second.map(|requests| format!("{} requests a second", count(requests)));
    let all: Vec<_> = bandwidth.into_iter().chain(requests).collect();
    format!("{}, over all agents together", all.join(", "))
}

fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Manual => "manual",
        Trigger::Schedule => "schedule",
        Trigger::Start => "start",
        Trigger::Events => "events",
        Trigger::Retry => "retry",
        Trigger::Plan => "plan",
    }
}

/// What started a run, with the time its schedule meant.
pub(super) fn started_by(run: &Run) -> String {
    match run.nominal {
        Some(nominal) => format!("{} of {}", trigger(run.trigger), time(Some(nominal))),
        None => trigger(run.trigger).to_owned(),
    }
}

pub(super) fn place(location: &Location) -> String {
    let Location { endpoint, bucket, prefix } = location;
    format!("{endpoint}:{bucket}/{prefix}")
}

/// How long a run took, or has taken so far; `-` when it has not started, or never did.
pub(super) fn took(run: &Run) -> String {
    let Some(started) = run.started else { return "-".to_owned() };
    span(run.ended.unwrap_or_else(now).since(started).as_secs())
}

impl Show for Run {
    const PLURAL: &'static str = "runs";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &[
            "RUN", "STATE", "TRIGGER", "LISTED", "IN STEP", "COPIED", "BYTES", "FAILED", "AGE",
            "TOOK",
        ],
        &["LIST REQ", "READ REQ", "WRITE REQ", "REASON"],
    );

    fn row(&self) -> Vec<String> {
        let totals = self.totals();
        vec![
            run_label(&self.name),
            state(self.state).to_owned(),
            trigger(self.trigger).to_owned(),
            count(totals.listed),
            count(totals.in_step),
            count(totals.copied),
            size(totals.copied_bytes),
            count(totals.failed),
            age(self.created, now()),
            took(self),
            count(totals.list_requests),
            count(totals.read_requests),
            count(totals.write_requests),
            self.reason.clone(),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let line = |label: &str, value: String| (label.to_owned(), value);
        let totals = self.totals();
        let mut lines =
            vec![line("run", run_label(&self.name)), line("state", state(self.state).to_owned())];
        if !self.reason.is_empty() {
            lines.push(line("reason", self.reason.clone()));
        }
        lines.extend([
            line("trigger", started_by(self)),
            line("created", time(Some(self.created))),
            line("started", time(self.started)),
            line("ended", time(self.ended)),
            line("took", took(self)),
            line("work", work(&totals)),
            line(
                "requests",
                format!(
                    "{} list, {} read, {} write",
                    count(totals.list_requests),
                    count(totals.read_requests),
                    count(totals.write_requests)
                ),
            ),
        ]);
        lines.extend(notes(&totals));
        for (index, text) in self.deletes.iter().flat_map(|all| review_lines(self, all)).enumerate()
        {
            lines.push(line(if index == 0 { "to delete" } else { "" }, text));
        }
        for destination in &self.destinations {
            let ranges = format!(
                "{} ranges done, {} open, {} being worked on",
                destination.done_ranges, destination.open_ranges, destination.leased_ranges
            );
            lines.push(line(
                "to",
                format!("{}: {}", place(&destination.location), work(&destination.counters)),
            ));
            if !self.state.is_terminal() {
                lines.push(line("", ranges));
            }
        }
        if self.state == RunState::AwaitingApproval
            && let Some(review) = &self.deletes
        {
            let label = run_label(&self.name);
            lines.push(line("etag", review.etag.clone()));
            lines.push(line(
                "next",
                format!("s3syncctl run approve {label}, or run cancel {label}"),
            ));
        }
        if totals.not_in_step() > 0 {
            lines.push(line("next", format!("s3syncctl run failures {}", run_label(&self.name))));
        }
        lines
    }
}

impl Show for Job {
    const PLURAL: &'static str = "jobs";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &["JOB", "LAST RUN", "NEXT", "LAG", "SCHEDULE"],
        &["SOURCE", "DESTINATIONS", "DELETES", "GENERATION", "AGE"],
    );

    fn row(&self) -> Vec<String> {
        let destinations: Vec<_> =
            self.spec.destinations.iter().map(|one| place(&one.location)).collect();
        vec![
            self.name.to_string(),
            last_run(self),
            self.next_starts.first().map_or_else(|| "-".to_owned(), |next| until(*next, now())),
            self.following.as_ref().map_or_else(|| "-".to_owned(), |one| lag(one, now())),
            schedule(self),
            place(&self.spec.source),
            destinations.join("\n"),
            deletes(self).to_owned(),
            self.generation.to_string(),
            age(self.created, now()),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let line = |label: &str, value: String| (label.to_owned(), value);
        let mut lines =
            vec![line("job", self.name.to_string()), line("from", place(&self.spec.source))];
        for destination in &self.spec.destinations {
            let mut text = place(&destination.location);
            if let Some(class) = &destination.storage_class {
                text.push_str(&format!(" as {class}"));
            }
            if !destination.agent_labels.is_empty() {
                text.push_str(&format!(" by agents with {}", labels(&destination.agent_labels)));
            }
            lines.push(line("to", text));
        }
        if self.spec.filter != Filter::default() {
            lines.push(line("objects", filter(&self.spec.filter)));
        }
        if self.spec.compare != CompareMode::Default {
            lines.push(line("compare", format!("{:?}", self.spec.compare).to_lowercase()));
        }
        if self.spec.limits != Limits::default() {
            lines.push(line("limits", limits(&self.spec.limits)));
        }
        lines.extend([
            line("schedule", schedule(self)),
            line("deletes", deletes(self).to_owned()),
            line("generation", self.generation.to_string()),
            line("created", time(Some(self.created))),
            line("updated", time(Some(self.updated))),
            line("last run", last_run(self)),
        ]);
        for (index, next) in self.next_starts.iter().enumerate() {
            let label = if index == 0 { "next" } else { "then" };
            lines.push(line(label, time(Some(*next))));
        }
        if let Some(following) = &self.following {
            lines.extend(following_lines(following, now()));
        }
        for warning in &self.warnings {
            lines.push(line("warning", format!("{}: {}", warning.field, warning.description)));
        }
        lines
    }

    fn document(&self) -> Value {
        job_document(&self.name, &self.spec)
    }
}

/// The newest run of a job: how it stands, and since when.
fn last_run(job: &Job) -> String {
    match (&job.last, &job.latest_run) {
        (Some(last), _) => {
            let since = age(last.ended.unwrap_or(last.created), now());
            let ago = if last.ended.is_some() { " ago" } else { "" };
            format!("{} {} {since}{ago}", last.name.number, state(last.state))
        }
        (None, Some(name)) => run_label(name),
        (None, None) => "-".to_owned(),
    }
}

/// Which objects a job is about, in a line.
fn filter(filter: &Filter) -> String {
    let Filter { include, exclude, min_size, max_size, modified_after, modified_before } = filter;
    let mut parts = Vec::new();
    if !include.is_empty() {
        parts.push(include.join(", "));
    }
    if !exclude.is_empty() {
        parts.push(format!("not {}", exclude.join(", ")));
    }
    if *min_size > 0 {
        parts.push(format!("from {}", size(*min_size)));
    }
    parts.extend(max_size.map(|max| format!("up to {}", size(max))));
    parts.extend(modified_after.map(|after| format!("changed since {after}")));
    parts.extend(modified_before.map(|before| format!("changed before {before}")));
    parts.join("; ")
}

fn schedule(job: &Job) -> String {
    if job.spec.paused {
        return "paused".to_owned();
    }
    match job.spec.schedule.as_ref().and_then(|schedule| schedule.timing.as_ref()) {
        None => "when asked".to_owned(),
        Some(Timing::Every(every)) => format!("every {}", humantime::format_duration(*every)),
        Some(Timing::Cron { expression, timezone }) => format!("{expression} {timezone}"),
    }
}

fn deletes(job: &Job) -> &'static str {
    match job.spec.deletes.mode {
        DeleteMode::Keep => "keep",
        DeleteMode::Mirror => "mirror",
    }
}

impl Show for Endpoint {
    const PLURAL: &'static str = "endpoints";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) =
        (&["ENDPOINT", "REGION", "URL", "BUCKETS"], &["PATH STYLE", "AGE"]);

    fn row(&self) -> Vec<String> {
        vec![
            self.name.to_string(),
            self.spec.region.clone(),
            self.spec.url.clone().unwrap_or_else(|| "AWS".to_owned()),
            self.buckets.len().to_string(),
            self.spec.path_style.to_string(),
            age(self.created, now()),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let line = |label: &str, value: String| (label.to_owned(), value);
        let mut lines = vec![
            line("endpoint", self.name.to_string()),
            line("region", self.spec.region.clone()),
            line("url", self.spec.url.clone().unwrap_or_else(|| "AWS".to_owned())),
            line("path style", self.spec.path_style.to_string()),
            line("created", time(Some(self.created))),
            line("updated", time(Some(self.updated))),
        ];
        lines.extend(self.buckets.iter().flat_map(bucket_facts));
        lines
    }

    fn document(&self) -> Value {
        endpoint_document(&self.name, &self.spec)
    }
}

impl Show for Agent {
    const PLURAL: &'static str = "agents";
    const COLUMNS: (&'static [&'static str], &'static [&'static str]) = (
        &["AGENT", "STATE", "LABELS", "ENDPOINTS", "HOLDS", "LAST SEEN"],
        &["VERSION", "CONNECTED"],
    );

    fn row(&self) -> Vec<String> {
        let endpoints: Vec<_> = self.endpoints.iter().map(|one| one.endpoint.to_string()).collect();
        vec![
            self.name.to_string(),
            agent_state(self.state).to_owned(),
            labels(&self.labels),
            endpoints.join(","),
            format!("{} of {}", self.held, self.capacity),
            age(self.last_seen, now()),
            self.version.clone(),
            age(self.connected, now()),
        ]
    }

    fn details(&self) -> Vec<(String, String)> {
        let line = |label: &str, value: String| (label.to_owned(), value);
        let mut lines = vec![
            line("agent", self.name.to_string()),
            line("state", agent_state(self.state).to_owned()),
            line("labels", labels(&self.labels)),
            line("holds", format!("{} of {} ranges", self.held, self.capacity)),
            line("version", self.version.clone()),
            line("connected", time(Some(self.connected))),
            line("last seen", time(Some(self.last_seen))),
        ];
        for endpoint in &self.endpoints {
            let mut rules: Vec<_> = endpoint
                .allow
                .iter()
                .map(|rule| {
                    let bucket = rule.bucket.as_deref().unwrap_or("*");
                    let verbs: Vec<_> =
                        rule.verbs.iter().map(|verb| format!("{verb:?}").to_lowercase()).collect();
                    format!("{} in {bucket}/{}*", verbs.join("+"), rule.prefix)
                })
                .collect();
            if rules.is_empty() {
                rules.push("everything but delete".to_owned());
            }
            let text = format!(
                "{} ({}): {}",
                endpoint.endpoint,
                endpoint.credential_kind,
                rules.join("; ")
            );
            lines.push(line("endpoint", text));
        }
        lines
    }
}

fn agent_state(state: AgentState) -> &'static str {
    match state {
        AgentState::Online => "online",
        AgentState::Draining => "draining",
        AgentState::Offline => "offline",
    }
}
