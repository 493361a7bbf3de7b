//! Any valid value of the domain types, for property tests, and one of each for examples.

use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use s3sync_proto::model::{
    Ack, Agent, AgentEndpoint, AgentState, AllowRule, Assignment, AuditCall, AuditEntry,
    AuditOutcome, BucketFacts, CompareMode, DeleteMode, DeletePolicy, DeleteReview, DeleteShare,
    DeleteWork, Destination, DestinationProgress, Encryption, Endpoint, EndpointSpec, EtagKind,
    ExtraKey, Extras, Failure, FailureClass, Filter, FromAgent, Held, Hello, Job, JobSpec, Key,
    KeyRange, Lease, Limits, Location, MAX_DESTINATIONS, MAX_KEY_BYTES, MAX_OPENED_WITH, MAX_PARTS,
    Name, Outcome, OverlapPolicy, Run, RunName, RunState, Schedule, SplitProposal, State,
    Suspicion, Timestamp, Timing, ToAgent, Trigger, Upload, UploadIntent, UploadPlan, Verb,
    Verdict, Warning, Welcome, Work, WorkError, WorkReport,
};

mod ask;
mod events;
mod job;
mod setup;
mod view;

use ask::{answer, question};
pub(crate) use ask::{difference, endpoint_probe, explanation, job_plan};
pub(crate) use events::queue;
use events::{batch, watch};
pub(crate) use job::job;
use job::{compare, destination, filter, location};
pub(crate) use setup::queue_check;
use view::usage;
pub(crate) use view::{counters, run_report, run_view};

/// Counts that the wire can hold.
const COUNTS: std::ops::RangeInclusive<u64> = 0..=i64::MAX as u64;
const SMALL: std::ops::RangeInclusive<u32> = 0..=i32::MAX as u32;

/// A valid name.
pub(crate) fn named(text: &str) -> Name {
    text.parse().unwrap()
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9-]{0,62}".prop_map(|text| named(&text))
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![vec(any::<u8>(), 0..40), vec(any::<u8>(), MAX_KEY_BYTES)].prop_map(Key::from)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

/// Times between the years 1 and 9999, to the microsecond.
fn time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800_000_000i64..=253_402_300_799_999_999).prop_map(Timestamp::from_micros)
}

fn duration() -> impl Strategy<Value = Duration> {
    (1u64..=315_576_000_000 - 1, 0u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n))
}

fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

fn positive() -> impl Strategy<Value = Option<u64>> {
    of(1..=i64::MAX as u64)
}

fn run_name() -> impl Strategy<Value = RunName> {
    (name(), 1..=u64::MAX).prop_map(|(job, number)| RunName { job, number })
}

fn etags() -> impl Strategy<Value = Option<EtagKind>> {
    prop_oneof![Just(None), Just(Some(EtagKind::Md5)), Just(Some(EtagKind::Opaque))]
}

pub(crate) fn endpoint_spec() -> impl Strategy<Value = EndpointSpec> {
    let url = of("https?://[a-z]{1,9}(\\.[a-z]{2,5})?(:[1-9][0-9]{1,3})?/?");
    ("[a-zA-Z0-9_-]{1,20}", url, any::<bool>(), etags(), positive()).prop_map(
        |(region, url, path_style, etags, max_object_size)| EndpointSpec {
            region,
            url,
            path_style,
            etags,
            max_object_size,
        },
    )
}

pub(crate) fn facts() -> impl Strategy<Value = BucketFacts> {
    let learned = || of(any::<bool>());
    let learned = proptest::array::uniform7(learned());
    (name(), "\\PC{1,12}", learned, etags(), any::<bool>(), time()).prop_map(
        |(endpoint, bucket, learned_of, etags, unordered_listing, learned)| {
            let [conditional_writes, tags, trailers, checksums, conditional_copies, single, batch] =
                learned_of;
            BucketFacts {
                endpoint,
                bucket,
                conditional_writes,
                etags,
                tags,
                trailers,
                unordered_listing,
                checksums,
                conditional_copies,
                conditional_deletes: single,
                batch_deletes: batch,
                learned,
            }
        },
    )
}

pub(crate) fn endpoint() -> impl Strategy<Value = Endpoint> {
    (name(), endpoint_spec(), vec(facts(), 0..3), text(), time(), time()).prop_map(
        |(name, spec, buckets, etag, created, updated)| Endpoint {
            name,
            spec,
            buckets,
            etag,
            created,
            updated,
        },
    )
}

pub(crate) fn audit_entry() -> impl Strategy<Value = AuditEntry> {
    let call = (text(), text(), text(), text(), text()).prop_map(
        |(caller, peer, method, resource, request)| AuditCall {
            caller,
            peer,
            method,
            resource,
            request,
        },
    );
    let outcome = prop_oneof![
        Just(AuditOutcome::Unknown),
        Just(AuditOutcome::Done),
        text().prop_map(AuditOutcome::Refused),
    ];
    (any::<u64>(), time(), call, outcome, of(time())).prop_map(
        |(number, created, call, outcome, ended)| AuditEntry {
            number,
            created,
            call,
            outcome,
            ended,
        },
    )
}

pub(crate) fn run() -> impl Strategy<Value = Run> {
    let state = proptest::sample::select(vec![
        RunState::Pending,
        RunState::Running,
        RunState::Paused,
        RunState::AwaitingApproval,
        RunState::Cancelling,
        RunState::Succeeded,
        RunState::FinishedWithFailures,
        RunState::Incomplete,
        RunState::Failed,
        RunState::Cancelled,
    ]);
    let trigger = proptest::sample::select(vec![
        Trigger::Manual,
        Trigger::Schedule,
        Trigger::Start,
        Trigger::Events,
        Trigger::Retry,
        Trigger::Plan,
    ]);
    let progress = (location(), counters(), SMALL, SMALL, SMALL).prop_map(
        |(location, counters, open_ranges, leased_ranges, done_ranges)| DestinationProgress {
            location,
            counters,
            open_ranges,
            leased_ranges,
            done_ranges,
        },
    );
    let share = (SMALL, [COUNTS, COUNTS, COUNTS], text(), vec(key(), 0..3)).prop_map(
        |(destination, [extra, listed, deleted], reason, samples)| DeleteShare {
            destination,
            extra,
            listed,
            deleted,
            reason,
            samples,
        },
    );
    let deletes = of((text(), vec(share, 0..3))
        .prop_map(|(etag, destinations)| DeleteReview { etag, destinations }));
    let head = (run_name(), state, text(), trigger, COUNTS);
    let times = (time(), of(time()), of(time()), of(time()));
    (head, vec(progress, 0..4), times, text(), deletes).prop_map(
        |(head, destinations, (created, started, ended, nominal), traceparent, deletes)| {
            let (name, state, reason, trigger, job_generation) = head;
            Run {
                name,
                state,
                reason,
                trigger,
                job_generation,
                destinations,
                created,
                started,
                ended,
                traceparent,
                nominal,
                deletes,
            }
        },
    )
}

fn class() -> impl Strategy<Value = FailureClass> {
    proptest::sample::select(vec![
        FailureClass::Throttled,
        FailureClass::Transient,
        FailureClass::Changed,
        FailureClass::Permanent,
        FailureClass::Archived,
        FailureClass::Poison,
    ])
}

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    (key(), SMALL, class(), [text(), text(), text()], SMALL, time(), time()).prop_map(
        |(key, destination, class, [code, message, s3_request_id], attempts, first, last)| {
            Failure { key, destination, class, code, message, s3_request_id, attempts, first, last }
        },
    )
}

fn agent_endpoint() -> impl Strategy<Value = AgentEndpoint> {
    let verb = proptest::sample::select(vec![Verb::List, Verb::Read, Verb::Write, Verb::Delete]);
    let rule = (of("\\PC{1,9}"), text(), vec(verb, 0..4))
        .prop_map(|(bucket, prefix, verbs)| AllowRule { bucket, prefix, verbs });
    (name(), text(), vec(rule, 0..3), text()).prop_map(
        |(endpoint, credential_kind, allow, credential_fingerprint)| AgentEndpoint {
            endpoint,
            credential_kind,
            allow,
            credential_fingerprint,
        },
    )
}

pub(crate) fn agent() -> impl Strategy<Value = Agent> {
    let state = prop_oneof![
        Just(AgentState::Online),
        Just(AgentState::Draining),
        Just(AgentState::Offline)
    ];
    let head = (name(), state, labels(), vec(agent_endpoint(), 0..3), text());
    (head, SMALL, SMALL, time(), time(), vec(text(), 0..3)).prop_map(
        |(head, held, capacity, last_seen, connected, features)| {
            let (name, state, labels, endpoints, version) = head;
            Agent {
                name,
                state,
                labels,
                endpoints,
                version,
                held,
                capacity,
                last_seen,
                connected,
                features,
            }
        },
    )
}

fn held() -> impl Strategy<Value = Held> {
    any::<(u64, u64)>().prop_map(|(id, epoch)| Held { id, epoch })
}

fn hello() -> impl Strategy<Value = Hello> {
    let protocol =
        (1..=i32::MAX as u32, 1..=i32::MAX as u32).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let head = (protocol, vec(text(), 0..3), name(), "\\PC{1,12}", text());
    (head, labels(), vec(agent_endpoint(), 0..3), vec(held(), 0..4), SMALL, time()).prop_map(
        |(head, labels, endpoints, held, capacity, now)| {
            let (protocol, features, agent, instance_id, version) = head;
            Hello {
                protocol,
                features,
                agent,
                instance_id,
                version,
                labels,
                endpoints,
                held,
                capacity,
                now,
            }
        },
    )
}

fn work_error() -> impl Strategy<Value = WorkError> {
    (class(), text(), text()).prop_map(|(class, code, message)| WorkError { class, code, message })
}

fn report() -> impl Strategy<Value = WorkReport> {
    let outcome = prop_oneof![
        Just(Outcome::Checkpoint),
        Just(Outcome::Completed),
        Just(Outcome::Yielded),
        work_error().prop_map(Outcome::Errored)
    ];
    let head = (any::<u64>(), held(), outcome, of(key()), of(key()));
    let extras = (ascending(), vec(key(), 0..3), extra_keys(0), usage())
        .prop_map(|(deleting, samples, gone, usage)| Extras { deleting, samples, gone, usage });
    (head, counters(), vec(failure(), 0..4), extras).prop_map(
        |(head, counters, failures, extras)| {
            let (sequence, held, outcome, previous_cursor, cursor) = head;
            WorkReport {
                sequence,
                held,
                outcome,
                previous_cursor,
                cursor,
                counters,
                failures,
                extras,
            }
        },
    )
}

fn ascending() -> impl Strategy<Value = Vec<Key>> {
    btree_set(key(), 0..4).prop_map(|keys| keys.into_iter().collect())
}

/// Keys, each with the object that only the destination has.
fn extra_keys(least: usize) -> impl Strategy<Value = Vec<ExtraKey>> {
    let object = "[a-f0-9/]{0,12}";
    btree_map(key(), object, least..4)
        .prop_map(|keys| keys.into_iter().map(|(key, object)| ExtraKey { key, object }).collect())
}

pub(crate) fn from_agent() -> impl Strategy<Value = FromAgent> {
    let state = (any::<u64>(), SMALL, vec(held(), 0..4), any::<bool>(), any::<u64>()).prop_map(
        |(sequence, capacity, held, draining, last_lease)| State {
            sequence,
            capacity,
            held,
            draining,
            last_lease,
        },
    );
    let split = (any::<u64>(), held(), key(), of(key()))
        .prop_map(|(sequence, held, at, until)| SplitProposal { sequence, held, at, until });
    let begun = of(("\\PC{1,12}", of(upload_plan())));
    let upload = (any::<u64>(), held(), key(), begun).prop_map(|(sequence, held, key, begun)| {
        let (upload_id, plan) = begun.unzip();
        UploadIntent { sequence, held, key, upload_id, plan: plan.flatten() }
    });
    prop_oneof![
        hello().prop_map(FromAgent::Hello),
        state.prop_map(FromAgent::State),
        report().prop_map(FromAgent::Report),
        (held(), work_error()).prop_map(|(held, error)| FromAgent::Refusal { held, error }),
        split.prop_map(FromAgent::SplitProposal),
        (held(), text()).prop_map(|(held, reason)| FromAgent::SplitDecline { held, reason }),
        upload.prop_map(FromAgent::UploadIntent),
        (any::<u64>(), held(), key()).prop_map(|(sequence, held, key)| {
            FromAgent::Suspicion(Suspicion { sequence, held, key })
        }),
        (any::<u64>(), facts()).prop_map(|(sequence, facts)| FromAgent::Facts { sequence, facts }),
        Just(FromAgent::Goodbye),
        (any::<u64>(), answer()).prop_map(|(id, answer)| FromAgent::Answer { id, answer }),
        batch().prop_map(FromAgent::Events),
        any::<u64>().prop_map(FromAgent::SharesApplied),
    ]
}

fn lease() -> impl Strategy<Value = Lease> {
    (any::<u64>(), duration(), duration(), vec(held(), 0..4)).prop_map(
        |(sequence, write_window, heartbeat_interval, confirmed)| Lease {
            sequence,
            write_window,
            heartbeat_interval,
            confirmed,
        },
    )
}

fn upload_plan() -> impl Strategy<Value = UploadPlan> {
    ("\\PC{1,12}", 1..1_u64 << 40, 1..=MAX_PARTS, text()).prop_map(
        |(source_etag, size, parts, opened_with)| UploadPlan {
            source_etag,
            size,
            part_size: size.div_ceil(parts),
            opened_with: opened_with.chars().take(MAX_OPENED_WITH / 4).collect(),
        },
    )
}

pub(crate) fn assignment() -> impl Strategy<Value = Assignment> {
    let begun = of(("\\PC{1,12}", of(upload_plan())));
    let upload = (key(), begun, time()).prop_map(|(key, begun, intent)| {
        let (upload_id, plan) = begun.unzip();
        Upload { key, upload_id, intent, plan: plan.flatten() }
    });
    let range = (of(key()), of(key()), of(key())).prop_map(|(after, until, cursor)| Work::Range {
        range: KeyRange { after, until },
        cursor,
    });
    let delete = (of(key()), of(key()), of(key()), any::<[bool; 2]>(), ascending()).prop_map(
        |(after, until, cursor, [count_only, unconditional], deleting)| {
            let range = KeyRange { after, until };
            Work::Delete(DeleteWork { range, cursor, count_only, unconditional, deleting })
        },
    );
    let delete_keys = (extra_keys(1), any::<bool>())
        .prop_map(|(keys, unconditional)| Work::DeleteKeys { keys, unconditional });
    let places = (location(), destination(), endpoint_spec(), endpoint_spec(), facts(), facts());
    let rules = (
        compare(),
        filter(),
        vec(upload, 0..3),
        (text(), vec(text(), 0..3), any::<bool>()),
        prop_oneof![range, delete, delete_keys, Just(Work::Reap)],
    );
    (held(), run_name(), places, rules).prop_map(|(held, run, places, rules)| {
        let (source, destination, source_endpoint, destination_endpoint, source_facts, facts) =
            places;
        let (compare, filter, uploads, (traceparent, trace_links, careful), work) = rules;
        Assignment {
            held,
            run,
            source,
            destination,
            source_endpoint,
            destination_endpoint,
            source_facts,
            destination_facts: facts,
            compare,
            filter,
            uploads,
            traceparent,
            trace_links,
            careful: careful && matches!(work, Work::Range { .. } | Work::Delete(_)),
            work,
        }
    })
}

pub(crate) fn to_agent() -> impl Strategy<Value = ToAgent> {
    let welcome = (SMALL, vec(text(), 0..3), text(), text(), lease()).prop_map(
        |(protocol, features, session, incarnation, lease)| Welcome {
            protocol,
            features,
            session,
            incarnation,
            lease,
        },
    );
    let verdict = prop_oneof![Just(Verdict::Applied), Just(Verdict::Stale)];
    prop_oneof![
        welcome.prop_map(ToAgent::Welcome),
        lease().prop_map(ToAgent::Lease),
        assignment().prop_map(|assignment| ToAgent::Assignment(Box::new(assignment))).boxed(),
        (held(), text()).prop_map(|(held, reason)| ToAgent::Revocation { held, reason }),
        (any::<u64>(), verdict)
            .prop_map(|(sequence, verdict)| ToAgent::Ack(Ack { sequence, verdict })),
        held().prop_map(ToAgent::SplitRequest),
        duration().prop_map(ToAgent::Redirect),
        question().prop_map(ToAgent::Question),
        any::<u64>().prop_map(ToAgent::Withdrawal),
        watch().prop_map(|watch| ToAgent::Watch(Box::new(watch))),
        ask::shares(),
    ]
}
