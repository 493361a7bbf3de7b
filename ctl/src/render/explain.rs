//! How a key stands, and how an endpoint's buckets are, for people.

use s3sync_proto::json::Resource as _;
use s3sync_proto::model::{
    CheckState, DestinationExplanation, DirtyKey, DirtyState, Endpoint, EndpointProbe, EtagKind,
    Explanation, KeyExplanation, KeyVerdict, NextStep, ObjectState, PlaceProbe, Presence,
    ProbeCheck,
};

use super::facts::bucket_facts;
use super::failures::class;
use super::resources::{place, run_label, state};
use super::text::{age, now, plain, size, time};
use super::{details, value};
use crate::args::Output;

type Lines = Vec<(String, String)>;

/// How a key stands.
pub(crate) fn explanation(explanation: &Explanation, output: Output) -> String {
    match output {
        Output::Table | Output::Wide => details(&explanation_lines(explanation)),
        Output::Json | Output::Jsonl | Output::Yaml => value(&explanation.to_json(), output),
    }
}

fn line(label: &str, value: impl Into<String>) -> (String, String) {
    (label.to_owned(), value.into())
}

fn explanation_lines(explanation: &Explanation) -> Lines {
    let Explanation { job, key, destinations, failures, latest_run } = explanation;
    let mut lines = vec![line("job", job.to_string()), line("key", key.to_string())];
    let encoded = encoded(key.as_bytes());
    if encoded.as_bytes() != key.as_bytes() {
        lines.push(line("encoded", encoded));
    }
    lines.push(match latest_run {
        None => line("last run", "none yet"),
        Some((run, stands, ended)) => {
            let when = ended.map(|ended| format!(", {} ago", age(ended, now())));
            let when = when.unwrap_or_default();
            line("last run", format!("{} {}{when}", run_label(run), state(*stands)))
        }
    });
    if failures.is_empty() {
        lines.push(line("failures", "none is recorded of the newest runs"));
    }
    for (run, failure) in failures {
        let to = destinations.get(failure.destination as usize).map(|one| place(&one.location));
        lines.push(line(
            "failed",
            format!(
                "in {} to {}: {} {} after {} attempts, {} ago: {}",
                run_label(run),
                to.unwrap_or_else(|| format!("destination {}", failure.destination)),
                class(failure.class),
                plain(&failure.code),
                failure.attempts,
                age(failure.last, now()),
                plain(&failure.message)
            ),
        ));
    }
    for destination in destinations {
        destination_lines(destination, &mut lines);
    }
    lines
}

fn destination_lines(destination: &DestinationExplanation, lines: &mut Lines) {
    lines.push(line("", ""));
    lines.push(line("to", place(&destination.location)));
    if let Some(dirty) = &destination.dirty {
        dirty_lines(dirty, lines);
    }
    let (agent, found) = match &destination.found {
        Ok(found) => found,
        Err(why) => {
            lines.push(line("not looked", plain(why)));
            return;
        }
    };
    let KeyExplanation {
        source,
        destination: there,
        filter_reason,
        passes_filter,
        verdict,
        reason,
        next,
        next_reason,
        way: _,
    } = found;
    lines.push(line("seen by", agent.to_string()));
    object_lines("source", source, lines);
    object_lines("there", there, lines);
    let filter = if *passes_filter { "lets it through" } else { "leaves it out" };
    lines.push(line("filter", format!("{filter}: {}", plain(filter_reason))));
    let verdict = match verdict {
        KeyVerdict::InStep => "in step",
        KeyVerdict::Differs => "not in step",
        KeyVerdict::Extra => "extra",
        KeyVerdict::Absent => "absent",
        KeyVerdict::Filtered => "filtered",
        KeyVerdict::Unknown => "unknown",
    };
    let reason = plain(reason);
    // Some reasons begin with the verdict.
    let told = reason.starts_with(verdict);
    lines.push(line("verdict", if told { reason } else { format!("{verdict}: {reason}") }));
    let next = match next {
        NextStep::Nothing => "nothing",
        NextStep::Copy => "copy",
        NextStep::Archived => "list as archived",
        NextStep::Fail => "list as a failure",
        NextStep::Delete => "delete",
    };
    lines.push(line("next", format!("{next}: {}", plain(next_reason))));
}

fn dirty_lines(dirty: &DirtyKey, lines: &mut Lines) {
    let DirtyKey { run, since, latest, sequencer, reasons, looks: _, state, next_look, reason } =
        dirty;
    let state = match state {
        DirtyState::Waiting => "waiting",
        DirtyState::WorkedOn => "worked on",
        DirtyState::PutOff => "put off",
        DirtyState::AwaitingApproval => "awaiting approval",
        DirtyState::Paused => "paused",
    };
    lines.push(line("dirty", format!("{state}: {}", plain(reason))));
    let mut event = format!("since {}, in {}", time(Some(*since)), run_label(run));
    if latest > since {
        event.push_str(&format!(", newest event {}", time(Some(*latest))));
    }
    if *reasons > 1 {
        event.push_str(&format!(", {reasons} reasons to look"));
    }
    if !sequencer.is_empty() {
        event.push_str(&format!(", sequencer {}", plain(sequencer)));
    }
    lines.push(line("", event));
    if let Some(next) = next_look {
        lines.push(line("", format!("looked at again at {}", time(Some(*next)))));
    }
}

fn object_lines(label: &str, object: &ObjectState, lines: &mut Lines) {
    let name = format!("s3://{}/{}", plain(&object.bucket), object.key);
    lines.push(line(label, name));
    match object.presence {
        Presence::Present => present_lines(object, lines),
        Presence::Absent => {
            lines.push(line("", "not there, as a listing of exactly this key shows"))
        }
        Presence::Unknown => {}
    }
    if let Some(problem) = &object.problem {
        let text = format!("{}: {}", plain(&problem.code), plain(&problem.message));
        lines.push(line("", format!("problem: {text}")));
    }
}

fn present_lines(object: &ObjectState, lines: &mut Lines) {
    let kind = match object.etag_kind {
        None => "kind not learned yet",
        Some(EtagKind::Md5) => "MD5",
        Some(EtagKind::Opaque) => "opaque",
    };
    lines.push(line(
        "",
        format!(
            "{} ({} bytes), ETag {} ({kind}), changed {}",
            size(object.size),
            object.size,
            plain(&object.etag),
            time(object.modified)
        ),
    ));
    let mut parts = vec![match object.storage_class.as_str() {
        "" => "STANDARD".to_owned(),
        class => plain(class),
    }];
    if object.archived {
        parts.push("archived".to_owned());
    }
    if !object.content_type.is_empty() {
        parts.push(plain(&object.content_type));
    }
    parts.push(match object.tags {
        None => "tags not known".to_owned(),
        Some(1) => "1 tag".to_owned(),
        Some(tags) => format!("{tags} tags"),
    });
    if !object.encryption.is_empty() {
        parts.push(format!("encrypted with {}", plain(&object.encryption)));
    }
    if !object.version_id.is_empty() {
        parts.push(format!("version {}", plain(&object.version_id)));
    }
    lines.push(line("", parts.join(", ")));
    for checksum in &object.checksums {
        let of = if checksum.whole { "" } else { " (of parts)" };
        let text = format!("{} {}{of}", plain(&checksum.algorithm), plain(&checksum.value));
        lines.push(line("", text));
    }
    if !object.stamp.is_empty() {
        lines.push(line("", format!("stamped as a copy of {}", plain(&object.stamp))));
    }
}

/// The form that `--encoded` takes: letters, digits and `-._~/` as they are, everything else as `%XX`.
pub(super) fn encoded(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// What agents found at an endpoint, and what is known of its buckets since.
pub(crate) fn probe(probe: &EndpointProbe, endpoint: &Endpoint, output: Output) -> String {
    match output {
        Output::Table | Output::Wide => details(&probe_lines(probe, endpoint)),
        Output::Json | Output::Jsonl | Output::Yaml => value(&probe.to_json(), output),
    }
}

fn probe_lines(probe: &EndpointProbe, endpoint: &Endpoint) -> Lines {
    let mut lines = vec![line("endpoint", probe.endpoint.to_string())];
    for agent in &probe.agents {
        lines.push(line("", ""));
        lines.push(line("agent", agent.agent.to_string()));
        match &agent.found {
            Err(why) => lines.push(line("not asked", plain(why))),
            Ok(places) => places.iter().for_each(|place| place_lines(place, &mut lines)),
        }
    }
    if !endpoint.buckets.is_empty() {
        lines.push(line("", ""));
    }
    for facts in &endpoint.buckets {
        lines.extend(bucket_facts(facts));
    }
    lines
}

fn place_lines(place: &PlaceProbe, lines: &mut Lines) {
    lines.push(line("place", format!("s3://{}/{}", plain(&place.bucket), plain(&place.prefix))));
    for check in &place.checks {
        lines.push(check_line(check));
    }
}

/// Label and value of something that was looked at.
pub(super) fn check_line(check: &ProbeCheck) -> (String, String) {
    let mark = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warning => "warning",
        CheckState::Failed => "FAILED",
        CheckState::Unknown => "unknown",
    };
    (format!("  {}", plain(&check.name)), format!("{mark}: {}", plain(&check.detail)))
}
