//! How a queue is set up, and what to add.

use s3sync_proto::json::Resource as _;
use s3sync_proto::model::{CheckState, QueueCheck, SetupStep};

use super::explain::check_line;
use super::text::plain;
use super::{details, value};
use crate::args::Output;

/// What was found and what to add.
pub(crate) fn queue_check(check: &QueueCheck, output: Output) -> String {
    match output {
        Output::Table | Output::Wide => for_people(check),
        Output::Json | Output::Jsonl | Output::Yaml => value(&check.to_json(), output),
    }
}

fn for_people(check: &QueueCheck) -> String {
    let mut lines = Vec::new();
    for place in &check.places {
        let (kind, name) = place.about.split_once(' ').unwrap_or(("", &place.about));
        let agent = place.agent.as_ref().map(|agent| format!(", seen by {agent}"));
        lines.push((kind.to_owned(), plain(name) + &agent.unwrap_or_default()));
        lines.extend(place.checks.iter().map(check_line));
        lines.push((String::new(), String::new()));
    }
    let mut text = details(&lines);
    if check.steps.is_empty() {
        let checks = || check.places.iter().flat_map(|place| &place.checks);
        let failed = checks().any(|check| check.state == CheckState::Failed);
        text.push_str(if failed {
            "What to add cannot be told before the above is in order.\n"
        } else {
            "Nothing has to be added.\n"
        });
        return text;
    }
    text.push_str(
        "What to add. Nothing of it was done. Save each document under its name, and run the commands beside them with a \
         credential that\nmay do it; or have the documents written with --folder.\n",
    );
    for (index, step) in check.steps.iter().enumerate() {
        text.push_str(&format!("\n{}. {}\n", index + 1, plain(&step.title)));
        step_text(step, &mut text);
    }
    text
}

fn step_text(step: &SetupStep, text: &mut String) {
    for (name, content) in &step.files {
        text.push_str(&format!("\n--- {}\n", plain(name)));
        // Documents are JSON, whose texts hold no control characters; their lines are theirs.
        for line in content.lines() {
            text.push_str(&plain(line));
            text.push('\n');
        }
    }
    text.push('\n');
    for command in &step.commands {
        text.push_str(&format!("  {}\n", plain(command)));
    }
}
