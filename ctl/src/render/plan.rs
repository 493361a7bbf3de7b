//! What a run would do, for people.

use s3sync_proto::json::Resource as _;
use s3sync_proto::model::{CopyWay, DestinationPlan, Difference, JobPlan, PlanTally, PlannedKeys};

use super::resources::place;
use super::text::{count, plain, size};
use super::{details, value};
use crate::args::Output;

type Lines = Vec<(String, String)>;

/// A plan.
pub(crate) fn plan(plan: &JobPlan, output: Output) -> String {
    match output {
        Output::Table | Output::Wide => details(&lines(plan)),
        Output::Json | Output::Jsonl | Output::Yaml => value(&plan.to_json(), output),
    }
}

/// How far a plan is, in one line.
pub(crate) fn plan_progress(plan: &JobPlan) -> String {
    let mut all = PlanTally::default();
    plan.destinations.iter().for_each(|destination| all += destination.tally.clone());
    let copied = all.copied();
    format!(
        "{}: {} keys looked at, {} in step, {} to copy ({})",
        plan.job,
        count(all.listed + all.filtered),
        count(all.in_step),
        count(copied.objects),
        size(copied.bytes)
    )
}

/// One difference, as a line of JSON.
pub(crate) fn difference(difference: &Difference) -> String {
    format!("{}\n", difference.to_json())
}

fn line(label: &str, value: impl Into<String>) -> (String, String) {
    (label.to_owned(), value.into())
}

fn lines(plan: &JobPlan) -> Lines {
    let JobPlan { job, complete: _, destinations, not_carried } = plan;
    let mut lines = vec![line("job", job.to_string())];
    for destination in destinations {
        destination_lines(destination, &mut lines);
    }
    if !not_carried.is_empty() {
        let what: Vec<_> = not_carried.iter().map(|what| plain(what)).collect();
        lines.push(line("", ""));
        lines.push(line("not carried", what.join(", ")));
    }
    lines
}

fn destination_lines(plan: &DestinationPlan, lines: &mut Lines) {
    let DestinationPlan { index: _, location, problem, tally, list_requests, extra_fate } = plan;
    lines.push(line("", ""));
    lines.push(line("to", place(location)));
    if let Some(problem) = problem {
        lines.push(line("PROBLEM", format!("not every key was looked at: {}", plain(problem))));
    }
    lines.push(line("in step", count(tally.in_step)));
    let copied = tally.copied();
    lines.push(line("to copy", amount(&copied)));
    for (way, keys) in &tally.copies {
        lines.push((format!("  {}", way_text(*way)), with_samples(keys)));
    }
    let mut some = |label: &str, keys: &PlannedKeys, note: &str| {
        if keys.objects > 0 {
            lines.push(line(label, format!("{}; {note}", with_samples(keys))));
        }
    };
    some("archived", &tally.archived, "must be restored at the source before a run can copy them");
    some("failing", &tally.failing, "a run would list them as failures");
    some("extra", &tally.extra, &plain(extra_fate));
    for (label, number) in [("filtered", tally.filtered), ("vanished", tally.vanished)] {
        if number > 0 {
            lines.push(line(label, count(number)));
        }
    }
    lines.push(line(
        "requests",
        format!(
            "about {} that list, {} that read, {} that write",
            count(*list_requests),
            count(tally.read_requests),
            count(tally.write_requests)
        ),
    ));
}

fn way_text(way: CopyWay) -> &'static str {
    match way {
        CopyWay::ServerSide => "inside S3",
        CopyWay::ServerSideParts => "inside S3, in parts",
        CopyWay::Single => "one GET, one PUT",
        CopyWay::Parts => "in parts",
        CopyWay::Repair => "repaired",
    }
}

fn amount(keys: &PlannedKeys) -> String {
    match keys.objects {
        0 => "0".to_owned(),
        1 => format!("1 object, {}", size(keys.bytes)),
        objects => format!("{} objects, {}", count(objects), size(keys.bytes)),
    }
}

fn with_samples(keys: &PlannedKeys) -> String {
    let mut samples: Vec<_> = keys.samples.iter().map(ToString::to_string).collect();
    if keys.objects > samples.len() as u64 {
        samples.push("…".to_owned());
    }
    format!("{}: {}", amount(keys), samples.join(", "))
}
