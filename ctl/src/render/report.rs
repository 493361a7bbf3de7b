//! The report of a run: what it did, in which way, what that took, and what happened to it.

use std::time::Duration;

use s3sync_proto::model::{
    Counters, Happening, Operation, RequestSide, RequestUsage, RunReport, RunStage, TimelineEntry,
    Usage, WaitReason,
};

use super::resources::{place, run_label, started_by, state, took};
use super::text::{count, plain, size, span, time};
use super::{failures, many};
use crate::args::Output;

/// The report for people.
pub(crate) fn report(report: &RunReport) -> String {
    let run = &report.run;
    let mut text = super::details(&[
        ("run".to_owned(), run_label(&run.name)),
        ("state".to_owned(), state(run.state).to_owned()),
        ("trigger".to_owned(), started_by(run)),
        ("created".to_owned(), time(Some(run.created))),
        ("took".to_owned(), took(run)),
        ("from".to_owned(), place(&report.source)),
    ]);
    for part in [totals(report), ways(&run.totals()), requests(report), waits(report)] {
        text.push_str(&part);
    }
    text.push_str(&timeline(report));
    if !report.failures.is_empty() {
        text.push('\n');
        text.push_str(&many(&report.failures, Output::Table));
        for group in &report.failures {
            let class = failures::class(group.sample.class);
            let advice = format!("{class}: {}\n", crate::cmd::advice(group.sample.class));
            if !text.contains(&advice) {
                text.push_str(&advice);
            }
        }
    }
    text
}

/// Lines of columns: the first to the left, the others to the right. The first line is the head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
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

fn totals(report: &RunReport) -> String {
    type Column = (&'static str, fn(&Counters) -> u64);
    const ALWAYS: [Column; 4] = [
        ("LISTED", |c| c.listed),
        ("IN STEP", |c| c.in_step),
        ("COPIED", |c| c.copied),
        ("FAILED", |c| c.failed),
    ];
    const SOMETIMES: [Column; 7] = [
        ("VANISHED", |c| c.vanished),
        ("ARCHIVED", |c| c.archived),
        ("FILTERED", |c| c.filtered),
        ("EXTRA", |c| c.extra),
        ("DELETED", |c| c.deleted),
        ("NOT DELETED", |c| c.not_deleted),
        ("TAGS UNREAD", |c| c.tags_unread),
    ];
    let all = report.run.totals();
    let sometimes = SOMETIMES.into_iter().filter(|(_, number)| number(&all) > 0);
    let columns: Vec<Column> = ALWAYS.into_iter().chain(sometimes).collect();
    let row = |label: String, counters: &Counters| {
        let mut row = vec![label];
        row.extend(columns.iter().map(|(_, number)| count(number(counters))));
        row.push(size(counters.copied_bytes));
        row
    };
    let mut head = heads(&["DESTINATION"]);
    head.extend(columns.iter().map(|(head, _)| (*head).to_owned()));
    head.push("BYTES COPIED".to_owned());
    let mut rows = vec![head];
    for destination in &report.run.destinations {
        rows.push(row(place(&destination.location), &destination.counters));
    }
    if report.run.destinations.len() > 1 {
        rows.push(row("all".to_owned(), &all));
    }
    table(&rows)
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
    let mut rows = vec![heads(&["WAITED FOR", "ALL THAT WAITED, TOGETHER"])];
    for reason in WaitReason::ALL {
        let time = usage.waited(reason);
        if time >= Duration::from_millis(100) {
            rows.push(vec![waited_for(reason).to_owned(), duration(time)]);
        }
    }
    if rows.len() > 1 { table(&rows) } else { String::new() }
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
    let mut rows = vec![heads(&["TIME", "AFTER", ""])];
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
        (report.splits, "times a range was cut for another agent"),
        (report.losses, "times the holder of a range died or was cut off"),
    ] {
        if number > 0 {
            text.push_str(&format!("{} {what}\n", count(number)));
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
        micros => format!("{} ms", micros / 1_000),
    }
}

/// Short times to a tenth of a second.
fn duration(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..60_000 => format!("{}.{}s", millis / 1_000, millis % 1_000 / 100),
        _ => span(time.as_secs()),
    }
}
