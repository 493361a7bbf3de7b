//! The report of a run: what it did, in which way, what that took, and what happened to it.

use std::collections::BTreeSet;
use std::time::Duration;

use s3sync_proto::model::{
    Counters, Happening, Operation, RequestSide, RequestUsage, RunReport, RunStage, TimelineEntry,
    Usage, WaitReason,
};

use super::resources::{place, run_label, started_by, state, took};
use super::text::{count, now, plain, size, span, time};
use super::{failures, many};
use crate::args::Output;

/// The report for people.
pub(crate) fn report(report: &RunReport) -> String {
    let run = &report.run;
    let mut lines = vec![("run", run_label(&run.name)), ("state", state(run.state).to_owned())];
    if !run.reason.is_empty() {
        lines.push(("reason", plain(&run.reason)));
    }
    lines.extend([
        ("trigger", started_by(run)),
        ("created", time(Some(run.created))),
        ("took", took(run)),
        ("from", place(&report.source)),
    ]);
    let lines: Vec<_> = lines.into_iter().map(|(label, text)| (label.to_owned(), text)).collect();
    let mut text = super::details(&lines);
    for part in [totals(report), ways(&run.totals()), requests(report), waits(report)] {
        text.push_str(&part);
    }
    text.push_str(&timeline(report));
    text.push_str(&failed(report));
    text
}

/// Lines of columns: the first to the left, the others to the right. The first line is the head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        // A text alone in its line may be as long as it is.
        let cells = rows.iter().filter(|row| row.len() > 1).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::from("\n");
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            match column {
                0 => line.push_str(&format!("{cell}{gap}")),
                _ => line.push_str(&format!("  {gap}{cell}")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn heads(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Failures by class and code, and what to do about them.
fn failed(report: &RunReport) -> String {
    if report.failures.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", many(&report.failures, Output::Table));
    let classes: BTreeSet<_> = report.failures.iter().map(|group| group.sample.class).collect();
    for class in classes {
        text.push_str(&format!("{}: {}\n", failures::class(class), crate::cmd::advice(class)));
    }
    text + &failures::next_steps(&run_label(&report.run.name))
}

fn totals(report: &RunReport) -> String {
    let row = |label: String, counters: &Counters| {
        let Counters { listed, in_step, copied, failed, .. } = *counters;
        let mut row = vec![label];
        row.extend([listed, in_step, copied, failed].map(count));
        row.push(size(counters.copied_bytes));
        row
    };
    let head = ["DESTINATION", "LISTED", "IN STEP", "COPIED", "FAILED", "BYTES COPIED"];
    let mut rows = vec![heads(&head)];
    for destination in &report.run.destinations {
        rows.push(row(place(&destination.location), &destination.counters));
        rows.extend(also(&destination.counters).map(|also| vec![also]));
    }
    let all = report.run.totals();
    if report.run.destinations.len() > 1 {
        rows.push(row("all".to_owned(), &all));
    }
    let mut text = table(&rows);
    for (name, number, meaning) in SOMETIMES {
        if number(&all) > 0 {
            text.push_str(&format!("{name}: {meaning}\n"));
        }
    }
    text
}

/// A number that most runs do not have: its name, and what it means to who sees it for the first time.
type Rare = (&'static str, fn(&Counters) -> u64, &'static str);

const SOMETIMES: [Rare; 7] = [
    ("vanished", |c| c.vanished, "gone from the source between listing and copying; nothing to do"),
    ("archived", |c| c.archived, "must be restored at the source before a run can copy them"),
    ("filtered", |c| c.filtered, "left out by the job's filter"),
    ("extra", |c| c.extra, "destination keys that the source does not have"),
    ("deleted", |c| c.deleted, "of the extra, deleted at the destination"),
    ("not deleted", |c| c.not_deleted, "of the extra, could not be deleted; listed as failures"),
    ("tags unread", |c| c.tags_unread, "keys that may lack tags, which could not be read"),
];

/// The numbers that most runs do not have, where there are some.
fn also(counters: &Counters) -> Option<String> {
    let some = SOMETIMES.into_iter().filter(|(_, number, _)| number(counters) > 0);
    let some: Vec<_> =
        some.map(|(name, number, _)| format!("{} {name}", count(number(counters)))).collect();
    (!some.is_empty()).then(|| format!("  also {}", some.join(", ")))
}

/// The ways in which objects were copied; nothing when none was.
fn ways(all: &Counters) -> String {
    if all.copied == 0 {
        return String::new();
    }
    let inside = (all.copied_server_side, all.copied_server_side_bytes);
    let inside_parts = (all.copied_server_side_parts, all.copied_server_side_parts_bytes);
    let parts = (all.copied_parts, all.copied_parts_bytes);
    let less = |a: (u64, u64), b: (u64, u64)| (a.0.saturating_sub(b.0), a.1.saturating_sub(b.1));
    let single = less(less((all.copied, all.copied_bytes), inside), parts);
    let mut rows = vec![heads(&["COPIED", "OBJECTS", "BYTES"])];
    for (way, (objects, bytes)) in [
        ("by one GET and one PUT", single),
        ("through an agent, in parts", parts),
        ("inside S3, by one request", less(inside, inside_parts)),
        ("inside S3, in parts", inside_parts),
    ] {
        if objects > 0 {
            rows.push(vec![way.to_owned(), count(objects), size(bytes)]);
        }
    }
    let mut text = table(&rows);
    for (number, what) in [
        (all.repaired, "had the right bytes; only what they carry was not in step"),
        (all.server_side_refused, "could not be copied inside S3, which refused it"),
    ] {
        if number > 0 {
            text.push_str(&format!("{} of these {what}\n", count(number)));
        }
    }
    text
}

/// All destinations' requests and waits.
fn usage(report: &RunReport) -> Usage {
    let mut all = Usage::default();
    for usage in &report.usages {
        all += usage.clone();
    }
    all
}

fn requests(report: &RunReport) -> String {
    let usage = usage(report);
    let head = ["REQUESTS", "SOURCE", "DESTINATIONS", "ASKED TO SLOW DOWN", "FAILED", "MEAN TIME"];
    let mut rows = vec![heads(&head)];
    let row = |label: &str, all: Vec<&RequestUsage>| {
        let made = |side| all.iter().filter(|one| one.side == side).map(|one| one.made).sum();
        let sum = |number: fn(&RequestUsage) -> u64| all.iter().map(|one| number(one)).sum();
        let time: Duration = all.iter().map(|one| one.time).sum();
        let requests: u64 = sum(|one| one.made);
        let mean = u32::try_from(requests).ok().and_then(|requests| time.checked_div(requests));
        vec![
            label.to_owned(),
            count(made(RequestSide::Source)),
            count(made(RequestSide::Destination)),
            count(sum(|one| one.slowed)),
            count(sum(|one| one.failed)),
            mean.map_or_else(|| "-".to_owned(), millis),
        ]
    };
    for operation in Operation::ALL {
        let same = usage.requests.iter().filter(|one| one.operation == operation);
        let same: Vec<_> = same.collect();
        if !same.is_empty() {
            rows.push(row(operation.name(), same));
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    rows.push(row("all", usage.requests.iter().collect()));
    table(&rows)
}

fn waits(report: &RunReport) -> String {
    let usage = usage(report);
    let run = &report.run;
    let ran = run.started.map(|started| run.ended.unwrap_or_else(now).since(started));
    let mut rows = vec![heads(&["WAITED FOR", "IN SUM", "AT A TIME"])];
    for reason in WaitReason::ALL {
        let time = usage.waited(reason);
        if time >= Duration::from_millis(100) {
            rows.push(vec![waited_for(reason).to_owned(), duration(time), at_a_time(time, ran)]);
        }
    }
    if rows.len() == 1 {
        return String::new();
    }
    table(&rows)
        + "in sum: of all keys, parts and listings that waited; at a time: how many waited on average\n"
}

/// How many waited at a time, on average: the sum of their times over the time of the run.
fn at_a_time(sum: Duration, ran: Option<Duration>) -> String {
    match ran.map(|ran| sum.as_secs_f64() / ran.as_secs_f64()).filter(|mean| mean.is_finite()) {
        None => "-".to_owned(),
        Some(mean) if mean < 0.05 => "0.0".to_owned(),
        Some(mean) if mean < 9.95 => format!("{mean:.1}"),
        Some(mean) => format!("{mean:.0}"),
    }
}

fn waited_for(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::SlowDown => "endpoints that asked to slow down",
        WaitReason::Retry => "another try of what failed",
        WaitReason::RequestLimit => "the job's limit of requests",
        WaitReason::BandwidthLimit => "the job's limit of bandwidth",
        WaitReason::RequestSlots => "requests in flight to an endpoint",
        WaitReason::Memory => "memory of agents",
        WaitReason::Lease => "the server, before writes",
        WaitReason::Listing => "listings, with nothing else to do",
    }
}

fn timeline(report: &RunReport) -> String {
    let mut rows = vec![heads(&["TIME", "AFTER", "WHAT HAPPENED"])];
    let mut text = String::new();
    let begin = report.timeline.first().map_or(report.run.created, |entry| entry.time);
    for entry in &report.timeline {
        let after = duration(entry.time.since(begin));
        rows.push(vec![time(Some(entry.time)), after, happening(entry)]);
    }
    if rows.len() > 1 {
        // The last column is a text, so it is not to stand to the right.
        let width = rows.iter().map(|row| row[2].chars().count()).max().unwrap_or_default();
        for row in &mut rows {
            let gap = width - row[2].chars().count();
            row[2].push_str(&" ".repeat(gap));
        }
        text = table(&rows);
    }
    for (number, what) in [
        (report.splits, "ranges cut so that another agent could take a part"),
        (
            report.losses,
            "ranges whose agent died or was cut off, so that another went on with them",
        ),
    ] {
        if number > 0 {
            text.push_str(&format!("{what}: {}\n", count(number)));
        }
    }
    text
}

fn happening(entry: &TimelineEntry) -> String {
    let text = match &entry.what {
        Happening::State(now) => state(*now).to_owned(),
        Happening::Stage(RunStage::Scan) => "it lists and copies".to_owned(),
        Happening::Stage(RunStage::Keys) => "it looks at named keys".to_owned(),
        Happening::Stage(RunStage::Approval) => "its deletes need an approval".to_owned(),
        Happening::Stage(RunStage::Delete) => "it deletes".to_owned(),
        Happening::Stage(RunStage::Recount) => "it counts anew what to delete".to_owned(),
        Happening::Lost(agent) => format!("{agent} died or was cut off"),
    };
    if entry.reason.is_empty() { text } else { format!("{text}: {}", plain(&entry.reason)) }
}

fn millis(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        micros @ 10_000..1_000_000 => format!("{} ms", micros / 1_000),
        _ => duration(time),
    }
}

/// Short times to a tenth of a second.
fn duration(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..60_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        _ => span(time.as_secs()),
    }
}
