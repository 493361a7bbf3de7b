//! Jobs.

use std::mem;
use std::time::Duration;

use super::problems::{path, quoted};
use super::{Problems, duration_to, int64, names, status, time_to};
use crate::model::{
    CompareMode, DeleteMode, DeletePolicy, Destination, Encryption, Filter, Invalid, Job, JobSpec,
    Limits, Location, MAX_DESTINATIONS, MAX_KEY_BYTES, MAX_PATTERNS, OverlapPolicy, Schedule,
    Timing, Warning, pattern_problem,
};
use crate::pb::v1 as pb;

/// Shortest interval of a schedule: below it a queue of events is the better way.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Fields of a cron expression: minute, hour, day, month, weekday. There are none for seconds or years.
const CRON_FIELDS: usize = 5;

/// A job's settings from a request; what is output only is ignored.
///
/// # Errors
/// Every problem of the fields.
pub fn job_spec(job: pb::Job) -> Result<JobSpec, Invalid> {
    let mut problems = Problems::default();
    let spec = spec(job, &mut problems);
    problems.finish(spec)
}

/// A job as a server sent it.
///
/// # Errors
/// Every problem of the fields.
pub fn job_from(mut job: pb::Job) -> Result<Job, Invalid> {
    let mut problems = Problems::default();
    let name = problems.part("", names::job_name(&job.name));
    let (uid, etag) = (mem::take(&mut job.uid), mem::take(&mut job.etag));
    let generation = problems.count("generation", job.generation);
    let created = problems.time("create_time", job.create_time).unwrap_or_default();
    let updated = problems.time("update_time", job.update_time).unwrap_or_default();
    let latest_run = Some(mem::take(&mut job.latest_run)).filter(|run| !run.is_empty());
    let latest_run = latest_run.and_then(|run| problems.run("latest_run", &run));
    let mut next_starts = Vec::new();
    for (index, time) in mem::take(&mut job.next_start_times).into_iter().enumerate() {
        next_starts.extend(problems.time(&format!("next_start_times[{index}]"), Some(time)));
    }
    let warnings = mem::take(&mut job.warnings)
        .into_iter()
        .map(|pb::Warning { field, description }| Warning { field, description })
        .collect();
    let following = mem::take(&mut job.following);
    let following =
        following.and_then(|following| problems.part("following", status::following(following)));
    let last = mem::take(&mut job.last_run);
    let last = last.and_then(|last| status::last_run("last_run", last, &mut problems));
    let spec = spec(job, &mut problems);
    problems.finish(name.zip(spec).map(|(name, spec)| Job {
        name,
        uid,
        spec,
        etag,
        generation,
        created,
        updated,
        latest_run,
        next_starts,
        warnings,
        following,
        last,
    }))
}

/// A job for the wire.
#[must_use]
pub fn job_to(job: Job) -> pb::Job {
    let Job {
        name,
        uid,
        spec,
        etag,
        generation,
        created,
        updated,
        latest_run,
        next_starts,
        warnings,
        following,
        last,
    } = job;
    let JobSpec {
        source,
        destinations,
        filter,
        compare,
        deletes,
        schedule,
        events,
        limits,
        paused,
    } = spec;
    pb::Job {
        name: names::format_job(&name),
        uid,
        source: Some(location_to(source)),
        destinations: destinations.into_iter().map(destination_to).collect(),
        filter: Some(filter).filter(|filter| *filter != Filter::default()).map(filter_to),
        compare: compare_to(compare),
        deletes: Some(deletes)
            .filter(|deletes| *deletes != DeletePolicy::default())
            .map(deletes_to),
        schedule: schedule.map(schedule_to),
        events: events.map(|queue| pb::EventSource { queue: queue.into() }),
        limits: Some(limits).filter(|limits| *limits != Limits::default()).map(limits_to),
        paused,
        etag,
        generation: int64(generation),
        create_time: time_to(created),
        update_time: time_to(updated),
        latest_run: latest_run.map(|run| run.to_string()).unwrap_or_default(),
        warnings: warnings
            .into_iter()
            .map(|Warning { field, description }| pb::Warning { field, description })
            .collect(),
        next_start_times: next_starts.into_iter().filter_map(time_to).collect(),
        following: following.map(status::following_to),
        last_run: last.map(status::last_run_to),
    }
}

fn spec(job: pb::Job, problems: &mut Problems) -> Option<JobSpec> {
    let pb::Job {
        name: _,
        uid: _,
        source,
        destinations,
        filter,
        compare,
        deletes,
        schedule,
        events,
        limits,
        paused,
        etag: _,
        generation: _,
        create_time: _,
        update_time: _,
        latest_run: _,
        last_run: _,
        warnings: _,
        next_start_times: _,
        following: _,
    } = job;
    let source = location("source", source, problems);
    if destinations.is_empty() {
        problems.add("destinations", "is empty; name at least one destination");
    }
    if destinations.len() > MAX_DESTINATIONS {
        problems.add(
            "destinations",
            format!(
                "has {}; at most {MAX_DESTINATIONS} are allowed, write several jobs",
                destinations.len()
            ),
        );
    }
    let destinations: Vec<_> = destinations
        .into_iter()
        .enumerate()
        .map(|(index, one)| destination(&format!("destinations[{index}]"), one, problems))
        .collect();
    let filter = filter.map(|filter| self::filter(filter, problems)).unwrap_or_default();
    let compare = self::compare(compare, problems).unwrap_or_default();
    let deletes = deletes.map(|deletes| self::deletes(&deletes, problems)).unwrap_or_default();
    let schedule = schedule.map(|schedule| self::schedule(schedule, problems));
    let events = match events {
        None => None,
        Some(events) => problems.name("events.queue", &events.queue),
    };
    let limits = limits.map(|limits| self::limits(limits, problems)).unwrap_or_default();
    Some(JobSpec {
        source: source?,
        destinations: destinations.into_iter().collect::<Option<_>>()?,
        filter,
        compare,
        deletes,
        schedule,
        events,
        limits,
        paused,
    })
}

pub(super) fn location(
    at: &str,
    location: Option<pb::Location>,
    problems: &mut Problems,
) -> Option<Location> {
    let Some(pb::Location { endpoint, bucket, prefix }) = location else {
        problems.add(at, "is missing");
        return None;
    };
    let endpoint = problems.name(&path(at, "endpoint"), &endpoint);
    if let Some(problem) = bucket_problem(&bucket) {
        problems.add(path(at, "bucket"), problem);
    }
    if prefix.len() > MAX_KEY_BYTES {
        problems.add(
            path(at, "prefix"),
            format!("has {} bytes; at most {MAX_KEY_BYTES} are allowed", prefix.len()),
        );
    }
    Some(Location { endpoint: endpoint?, bucket, prefix })
}

/// What is wrong with a bucket's name, if anything. Wider than S3's own rules ("Bucket naming rules" in the S3 User
/// Guide), since older buckets and other servers have upper case and `_`; what could leave the path is refused.
fn bucket_problem(bucket: &str) -> Option<String> {
    if bucket.is_empty() {
        return Some("is missing".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let odd =
        !(3..=255).contains(&bucket.len()) || !bucket.chars().all(fits) || bucket.contains("..");
    (odd || bucket.starts_with(['.', '-'])).then(|| {
        format!(
            "{} is not a bucket name; use 3 to 255 of letters, digits, '-', '.' and '_'",
            quoted(bucket)
        )
    })
}

pub(super) fn location_to(location: Location) -> pb::Location {
    let Location { endpoint, bucket, prefix } = location;
    pb::Location { endpoint: endpoint.into(), bucket, prefix }
}

pub(super) fn destination(
    at: &str,
    destination: pb::Destination,
    problems: &mut Problems,
) -> Option<Destination> {
    let pb::Destination { location, storage_class, agent_labels, encryption } = destination;
    let location = self::location(at, location, problems);
    // Other servers have classes of their own, so there is no list of them here.
    let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !storage_class.chars().all(upper) {
        problems.add(
            path(at, "storage_class"),
            format!(
                "{} is not a storage class; they are written in capitals, such as STANDARD_IA",
                quoted(&storage_class)
            ),
        );
    }
    let encryption = encryption.map(|pb::Encryption { algorithm, kms_key_id }| {
        if !["AES256", "aws:kms", "aws:kms:dsse"].contains(&algorithm.as_str()) {
            let text =
                format!("{} is not known; use AES256, aws:kms or aws:kms:dsse", quoted(&algorithm));
            problems.add(path(at, "encryption.algorithm"), text);
        } else if algorithm == "AES256" && !kms_key_id.is_empty() {
            problems.add(
                path(at, "encryption.kms_key_id"),
                "goes with aws:kms or aws:kms:dsse, not with AES256",
            );
        }
        Encryption { algorithm, kms_key_id: Some(kms_key_id).filter(|id| !id.is_empty()) }
    });
    Some(Destination {
        location: location?,
        storage_class: Some(storage_class).filter(|class| !class.is_empty()),
        agent_labels: agent_labels.into_iter().collect(),
        encryption,
    })
}

pub(super) fn destination_to(destination: Destination) -> pb::Destination {
    let Destination { location, storage_class, agent_labels, encryption } = destination;
    pb::Destination {
        location: Some(location_to(location)),
        storage_class: storage_class.unwrap_or_default(),
        agent_labels: agent_labels.into_iter().collect(),
        encryption: encryption.map(|Encryption { algorithm, kms_key_id }| pb::Encryption {
            algorithm,
            kms_key_id: kms_key_id.unwrap_or_default(),
        }),
    }
}

pub(super) fn filter(filter: pb::Filter, problems: &mut Problems) -> Filter {
    let pb::Filter { include, exclude, min_size, max_size, modified_after, modified_before } =
        filter;
    for (field, patterns) in [("filter.include", &include), ("filter.exclude", &exclude)] {
        if patterns.len() > MAX_PATTERNS {
            let text =
                format!("has {} patterns; at most {MAX_PATTERNS} are allowed", patterns.len());
            problems.add(field, text);
            continue;
        }
        for (index, pattern) in patterns.iter().enumerate() {
            if let Some(problem) = pattern_problem(pattern) {
                problems.add(format!("{field}[{index}]"), format!("{} {problem}", quoted(pattern)));
            }
        }
    }
    let min_size = problems.count("filter.min_size", min_size);
    let max_size = problems.optional_count("filter.max_size", max_size);
    if max_size.is_some_and(|max| max < min_size) {
        problems.add("filter.max_size", "is below filter.min_size; no object could match");
    }
    let modified_after = problems.time("filter.modified_after", modified_after);
    let modified_before = problems.time("filter.modified_before", modified_before);
    if modified_after.zip(modified_before).is_some_and(|(after, before)| after >= before) {
        problems.add(
            "filter.modified_before",
            "is not later than filter.modified_after; no object could match",
        );
    }
    Filter { include, exclude, min_size, max_size, modified_after, modified_before }
}

pub(super) fn filter_to(filter: Filter) -> pb::Filter {
    let Filter { include, exclude, min_size, max_size, modified_after, modified_before } = filter;
    pb::Filter {
        include,
        exclude,
        min_size: int64(min_size),
        max_size: int64(max_size.unwrap_or_default()),
        modified_after: modified_after.and_then(time_to),
        modified_before: modified_before.and_then(time_to),
    }
}

pub(super) fn compare(number: i32, problems: &mut Problems) -> Option<CompareMode> {
    problems.choice("compare", number, |mode| {
        Some(match mode {
            pb::CompareMode::Unspecified | pb::CompareMode::Default => CompareMode::Default,
            pb::CompareMode::Size => CompareMode::Size,
            pb::CompareMode::Etag => CompareMode::Etag,
            pb::CompareMode::Checksum => CompareMode::Checksum,
            pb::CompareMode::Full => CompareMode::Full,
        })
    })
}

pub(super) fn compare_to(mode: CompareMode) -> i32 {
    match mode {
        CompareMode::Default => pb::CompareMode::Default,
        CompareMode::Size => pb::CompareMode::Size,
        CompareMode::Etag => pb::CompareMode::Etag,
        CompareMode::Checksum => pb::CompareMode::Checksum,
        CompareMode::Full => pb::CompareMode::Full,
    }
    .into()
}

fn deletes(deletes: &pb::DeletePolicy, problems: &mut Problems) -> DeletePolicy {
    let pb::DeletePolicy { mode, max_percent, max_count, unconditional, max_per_hour } = *deletes;
    let mode = problems.choice("deletes.policy", mode, |mode| {
        Some(match mode {
            pb::DeleteMode::Unspecified | pb::DeleteMode::Keep => DeleteMode::Keep,
            pb::DeleteMode::Mirror => DeleteMode::Mirror,
        })
    });
    if let Some(percent) = max_percent.filter(|percent| !(0.0..=100.0).contains(percent)) {
        problems.add("deletes.max_percent", format!("{percent} is not a percentage; use 0 to 100"));
    }
    DeletePolicy {
        mode: mode.unwrap_or_default(),
        max_percent,
        max_count: max_count.map(|count| problems.count("deletes.max_count", count)),
        max_per_hour: max_per_hour.map(|count| problems.count("deletes.max_per_hour", count)),
        unconditional,
    }
}

fn deletes_to(deletes: DeletePolicy) -> pb::DeletePolicy {
    let DeletePolicy { mode, max_percent, max_count, max_per_hour, unconditional } = deletes;
    let mode = match mode {
        DeleteMode::Keep => pb::DeleteMode::Keep,
        DeleteMode::Mirror => pb::DeleteMode::Mirror,
    };
    pb::DeletePolicy {
        mode: mode.into(),
        max_percent,
        max_count: max_count.map(int64),
        unconditional,
        max_per_hour: max_per_hour.map(int64),
    }
}

fn schedule(schedule: pb::Schedule, problems: &mut Problems) -> Schedule {
    let pb::Schedule { every, cron, timezone, at_start, jitter, overlap } = schedule;
    let (has_every, at_start) = (every.is_some(), at_start.unwrap_or(true));
    let every = problems.duration("schedule.every", every);
    if every.is_some_and(|every| every < MIN_INTERVAL) {
        problems.add("schedule.every", "is too short; use 1s or more");
    }
    if has_every && !cron.is_empty() {
        problems.add("schedule.cron", "goes not together with schedule.every; use one of them");
    }
    if !has_every && cron.is_empty() && !at_start {
        problems.add("schedule", "starts nothing; set every or cron, or leave schedule out");
    }
    if !cron.is_empty() && cron.split_whitespace().count() != CRON_FIELDS {
        problems.add(
            "schedule.cron",
            format!(
                "{} is not a cron expression; write five fields, such as 0 3 * * *",
                quoted(&cron)
            ),
        );
    }
    let in_zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if cron.is_empty() && !timezone.is_empty() {
        problems.add("schedule.timezone", "goes with schedule.cron");
    } else if !timezone.chars().all(in_zone) {
        problems.add(
            "schedule.timezone",
            format!("{} is not a time zone; use a name such as Asia/Shanghai", quoted(&timezone)),
        );
    }
    let jitter = problems.duration("schedule.jitter", jitter).unwrap_or_default();
    let overlap = problems.choice("schedule.overlap", overlap, |overlap| {
        Some(match overlap {
            pb::OverlapPolicy::Unspecified | pb::OverlapPolicy::Skip => OverlapPolicy::Skip,
            pb::OverlapPolicy::QueueOne => OverlapPolicy::QueueOne,
        })
    });
    let cron = (!cron.is_empty()).then(|| Timing::Cron {
        expression: cron,
        timezone: if timezone.is_empty() { "UTC".to_owned() } else { timezone },
    });
    Schedule {
        timing: every.map(Timing::Every).or(cron),
        at_start,
        jitter,
        overlap: overlap.unwrap_or_default(),
    }
}

fn schedule_to(schedule: Schedule) -> pb::Schedule {
    let Schedule { timing, at_start, jitter, overlap } = schedule;
    let (every, cron, timezone) = match timing {
        None => (None, String::new(), String::new()),
        Some(Timing::Every(every)) => (duration_to(every), String::new(), String::new()),
        Some(Timing::Cron { expression, timezone }) => (None, expression, timezone),
    };
    let overlap = match overlap {
        OverlapPolicy::Skip => pb::OverlapPolicy::Skip,
        OverlapPolicy::QueueOne => pb::OverlapPolicy::QueueOne,
    };
    pb::Schedule {
        every,
        cron,
        timezone,
        at_start: Some(at_start),
        jitter: Some(jitter).filter(|jitter| !jitter.is_zero()).and_then(duration_to),
        overlap: overlap.into(),
    }
}

fn limits(limits: pb::Limits, problems: &mut Problems) -> Limits {
    let pb::Limits { bandwidth, requests_per_second } = limits;
    Limits {
        bandwidth: problems.optional_count("limits.bandwidth", bandwidth),
        requests_per_second: problems
            .optional_count("limits.requests_per_second", requests_per_second),
    }
}

fn limits_to(limits: Limits) -> pb::Limits {
    let Limits { bandwidth, requests_per_second } = limits;
    pb::Limits {
        bandwidth: int64(bandwidth.unwrap_or_default()),
        requests_per_second: int64(requests_per_second.unwrap_or_default()),
    }
}
