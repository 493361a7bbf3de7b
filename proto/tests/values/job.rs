//! Any valid job.

use s3sync_proto::model::LastRun;

use super::events::following;
use super::*;

pub(super) fn location() -> impl Strategy<Value = Location> {
    (name(), "[a-zA-Z0-9_][a-zA-Z0-9_-]{2,62}", "\\PC{0,20}")
        .prop_map(|(endpoint, bucket, prefix)| Location { endpoint, bucket, prefix })
}

pub(super) fn destination() -> impl Strategy<Value = Destination> {
    let encryption = prop_oneof![
        Just(Encryption { algorithm: "AES256".to_owned(), kms_key_id: None }),
        (prop_oneof![Just("aws:kms"), Just("aws:kms:dsse")], of("[a-z]{1,9}")).prop_map(
            |(algorithm, kms_key_id)| Encryption { algorithm: algorithm.to_owned(), kms_key_id }
        ),
    ];
    (location(), of("[A-Z][A-Z0-9_]{0,20}"), labels(), of(encryption)).prop_map(
        |(location, storage_class, agent_labels, encryption)| Destination {
            location,
            storage_class,
            agent_labels,
            encryption,
        },
    )
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    let globs = || vec("[a-zé/*?. ]{1,9}(\\{a,b\\}|\\[a-f\\])?", 0..3);
    let sizes = (COUNTS, positive()).prop_map(|(a, b)| match b {
        Some(b) => (a.min(b), Some(a.max(b).max(1))),
        None => (a, None),
    });
    let times = (of(time()), of(time())).prop_map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) if a == b => (Some(a), None),
        (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
        other => other,
    });
    (globs(), globs(), sizes, times).prop_map(|(include, exclude, sizes, times)| Filter {
        include,
        exclude,
        min_size: sizes.0,
        max_size: sizes.1,
        modified_after: times.0,
        modified_before: times.1,
    })
}

pub(super) fn compare() -> impl Strategy<Value = CompareMode> {
    prop_oneof![
        Just(CompareMode::Default),
        Just(CompareMode::Size),
        Just(CompareMode::Etag),
        Just(CompareMode::Checksum),
        Just(CompareMode::Full)
    ]
}

fn deletes() -> impl Strategy<Value = DeletePolicy> {
    let mode = prop_oneof![Just(DeleteMode::Keep), Just(DeleteMode::Mirror)];
    (mode, of(0.0..=100.0), of(COUNTS), of(COUNTS), any::<bool>()).prop_map(
        |(mode, max_percent, max_count, max_per_hour, unconditional)| DeletePolicy {
            mode,
            max_percent,
            max_count,
            max_per_hour,
            unconditional,
        },
    )
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let cron = ("[0-9]{1,2} [*] [*] [*] [0-6]", "[A-Z][a-z]{1,9}/[A-Z][a-z_]{1,9}")
        .prop_map(|(expression, timezone)| Timing::Cron { expression, timezone });
    let timing = of(prop_oneof![duration().prop_map(Timing::Every), cron]);
    let overlap = prop_oneof![Just(OverlapPolicy::Skip), Just(OverlapPolicy::QueueOne)];
    let jitter = prop_oneof![Just(Duration::ZERO), duration()];
    (timing, any::<bool>(), jitter, overlap).prop_map(|(timing, at_start, jitter, overlap)| {
        // A schedule that starts nothing is refused.
        Schedule { at_start: at_start || timing.is_none(), timing, jitter, overlap }
    })
}

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    (positive(), positive())
        .prop_map(|(bandwidth, requests_per_second)| Limits { bandwidth, requests_per_second })
}

fn job_spec() -> impl Strategy<Value = JobSpec> {
    let destinations = vec(destination(), 1..=MAX_DESTINATIONS);
    let what = (location(), destinations, filter(), compare(), deletes());
    (what, of(schedule()), of(name()), limits(), any::<bool>()).prop_map(
        |((source, destinations, filter, compare, deletes), schedule, events, limits, paused)| {
            JobSpec {
                source,
                destinations,
                filter,
                compare,
                deletes,
                schedule,
                events,
                limits,
                paused,
            }
        },
    )
}

pub(crate) fn job() -> impl Strategy<Value = Job> {
    let warning = (text(), text()).prop_map(|(field, description)| Warning { field, description });
    let next = vec(time(), 0..3);
    let state = proptest::sample::select(vec![RunState::Pending, RunState::Succeeded]);
    let last = (run_name(), state, time(), of(time()))
        .prop_map(|(name, state, created, ended)| LastRun { name, state, created, ended });
    let head = (name(), text(), text(), COUNTS, (time(), next), time());
    (head, job_spec(), of(run_name()), vec(warning, 0..3), (of(following()), of(last))).prop_map(
        |(
            (name, uid, etag, generation, (created, next_starts), updated),
            spec,
            latest_run,
            warnings,
            (following, last),
        )| Job {
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
        },
    )
}
