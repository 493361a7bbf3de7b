//! What the server counts, and how it is read: what is durable is looked up when somebody reads, the rest is counted as it
//! happens. Every name is listed in docs/metrics.md, which a test holds against this file.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use s3sync_proto::model::Counters;
use s3sync_telemetry::Program;
use s3sync_telemetry::http::Pages;
use s3sync_telemetry::metrics::{Metrics, SECONDS, none};
use tokio::sync::Mutex as TurnMutex;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{DestinationFigures, Figures, RangeState, Store};

/// The program, as its traces and metrics name it.
pub(crate) const PROGRAM: Program =
    Program { name: "s3sync-server", version: env!("CARGO_PKG_VERSION") };

/// How often figures are looked up for metrics that are sent. Who reads them gets fresh ones.
const REFRESH: Duration = Duration::from_secs(10);

/// Bounds of the histogram of changes in a group; a group has at most 64.
const GROUP: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// States in which a run ends; each is told from the start, so that the first one is seen as an increase.
const ENDS: &[&str] = &["succeeded", "finished_with_failures", "incomplete", "failed", "cancelled"];

/// Counts what is committed.
#[derive(Clone, Debug)]
pub struct CommitMetrics {
    duration: Histogram<f64>,
    changes: Histogram<u64>,
}

/// The figures that were looked up last, and when in microseconds since 1970.
type Latest = Arc<Mutex<Option<(Figures, i64)>>>;

/// What is read under `/metrics`, and whether the server can work.
pub(crate) struct ServerPages {
    metrics: Arc<Metrics>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    latest: Latest,
    /// One look at a time: whoever comes meanwhile waits for the next.
    turn: TurnMutex<()>,
}

// === impl CommitMetrics ===

impl CommitMetrics {
    /// Makes the instruments.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        Self {
            duration: meter
                .f64_histogram("s3sync.store.commit.duration")
                .with_unit("s")
                .with_description(
                    "Time from the first change of a group to its answer, fsync included",
                )
                .with_boundaries(SECONDS.to_vec())
                .build(),
            changes: meter
                .u64_histogram("s3sync.store.commit.changes")
                .with_description("Changes that shared one transaction")
                .with_boundaries(GROUP.to_vec())
                .build(),
        }
    }

    /// Counts nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::new(&none())
    }

    /// A group was committed, or was not.
    pub(crate) fn committed(&self, took: Duration, changes: usize) {
        self.duration.record(took.as_secs_f64(), &[]);
        self.changes.record(changes as u64, &[]);
    }
}

// === impl ServerPages ===

impl ServerPages {
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let latest = Latest::default();
        observe(metrics.meter(), &latest);
        Arc::new(Self { metrics, store, clock, latest, turn: TurnMutex::new(()) })
    }

    /// Keeps figures fresh while metrics are sent.
    pub(crate) async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) {
        if !self.metrics.are_sent() {
            return;
        }
        while !shutdown.is_cancelled() {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Sends the last figures, for at most so long. The store may be closed: it can be read.
    pub(crate) async fn finish(&self, within: Duration) {
        if !self.metrics.are_sent() {
            return;
        }
        self.look().await;
        self.metrics.stop(within).await;
    }

    async fn look(&self) {
        let _turn = self.turn.lock().await;
        let found = match self.store.figures().await {
            Ok(figures) => Some((figures, self.clock.now().as_micros())),
            Err(error) => {
                // Old figures would be taken for new ones.
                tracing::warn!(%error, "figures for metrics were not looked up");
                None
            }
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}

#[async_trait]
impl Pages for ServerPages {
    async fn ready(&self) -> Result<(), String> {
        self.store.ping().await.map_err(|error| {
            tracing::warn!(%error, "not ready");
            "the database cannot be written".to_owned()
        })
    }

    async fn metrics(&self) -> Vec<u8> {
        self.look().await;
        self.metrics.text()
    }
}

/// What is told of one thing: a value and its labels.
type Told<T> = Vec<(T, Vec<KeyValue>)>;

/// A number that is looked up.
struct Looked<T> {
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    tell: fn(&Figures, i64) -> Told<T>,
}

/// Those that only grow.
const COUNTERS: &[Looked<u64>] = &[
    Looked {
        name: "s3sync.objects",
        unit: "",
        help: "Keys of the source that runs have settled, by what became of them",
        tell: |figures, _| by_destination(figures, results),
    },
    Looked {
        name: "s3sync.copied",
        unit: "By",
        help: "Bytes of the objects that were copied",
        tell: |figures, _| of_destination(figures, |one| one.counters.copied_bytes),
    },
    Looked {
        name: "s3sync.copies",
        unit: "",
        help: "Objects that were copied, by the way their bytes went",
        tell: |figures, _| by_destination(figures, ways),
    },
    Looked {
        name: "s3sync.deletes",
        unit: "",
        help: "Keys of the destination that were to be deleted, by what became of them",
        tell: |figures, _| {
            by_destination(figures, |counters| {
                let results =
                    [("deleted", counters.deleted), ("not_deleted", counters.not_deleted)];
                results.into_iter().map(|(name, count)| ("result", name, count)).collect()
            })
        },
    },
    Looked {
        name: "s3sync.job.requests",
        unit: "",
        help: "Requests to S3 that were made for runs, by what they cost",
        tell: |figures, _| by_destination(figures, requests),
    },
    Looked {
        name: "s3sync.assignments.lost",
        unit: "",
        help: "Assignments whose holder died",
        tell: |figures, _| of_destination(figures, |one| one.lost),
    },
    Looked {
        name: "s3sync.runs.ended",
        unit: "",
        help: "Runs that have ended, by how",
        tell: |figures, _| {
            let mut all = Vec::new();
            for job in &figures.jobs {
                for state in ENDS {
                    let runs = job.ended.get(*state).copied().unwrap_or_default();
                    all.push((
                        runs,
                        vec![label("job_name", &job.job), KeyValue::new("state", *state)],
                    ));
                }
            }
            all
        },
    },
    Looked {
        name: "s3sync.queue.messages.received",
        unit: "",
        help: "Messages that were received from a queue",
        tell: |figures, _| {
            let queues = figures.queues.iter();
            queues.map(|one| (one.messages, vec![label("queue", &one.queue)])).collect()
        },
    },
    Looked {
        name: "s3sync.queue.events",
        unit: "",
        help: "Events that came from a queue, by what they were",
        tell: |figures, _| {
            let mut all = Vec::new();
            for queue in &figures.queues {
                for (kind, count) in queue.events {
                    all.push((
                        count,
                        vec![KeyValue::new("kind", kind), label("queue", &queue.queue)],
                    ));
                }
            }
            all
        },
    },
];

/// Those that come and go.
const LEVELS: &[Looked<i64>] = &[
    Looked {
        name: "s3sync.ranges",
        unit: "",
        help: "Ranges of runs that go on, by what became of them",
        tell: |figures, _| {
            let mut all = Vec::new();
            for one in &figures.destinations {
                for state in RangeState::ALL {
                    let count = one.ranges.get(&state).copied().unwrap_or_default();
                    let [destination, job] = of(one);
                    let state = KeyValue::new("state", state.name());
                    all.push((level(count), vec![destination, job, state]));
                }
            }
            all
        },
    },
    Looked {
        name: "s3sync.dirty.keys",
        unit: "",
        help: "Keys that events told of and that wait to be looked at",
        tell: |figures, _| {
            let followed = figures.destinations.iter();
            let followed = followed.filter_map(|one| Some((level(one.dirty?), of(one).into())));
            followed.collect()
        },
    },
    Looked {
        name: "s3sync.runs.active",
        unit: "",
        help: "Runs that have not ended, by where they stand",
        tell: |figures, _| {
            let mut all = Vec::new();
            for job in &figures.jobs {
                for (state, count) in &job.active {
                    let state = KeyValue::new("state", state.clone());
                    all.push((level(*count), vec![label("job_name", &job.job), state]));
                }
            }
            all
        },
    },
    Looked {
        name: "s3sync.queue.messages",
        unit: "",
        help: "Messages in a queue when it was looked at last, by whether they were received; SQS's approximations",
        tell: |figures, _| {
            let mut all = Vec::new();
            for queue in figures.queues.iter().filter(|queue| queue.state.is_known()) {
                let counts =
                    [("waiting", queue.state.waiting), ("in_flight", queue.state.in_flight)];
                for (state, count) in counts {
                    let labels = vec![label("queue", &queue.queue), KeyValue::new("state", state)];
                    all.push((level(count), labels));
                }
            }
            all
        },
    },
    Looked {
        name: "s3sync.queue.watched",
        unit: "",
        help: "1 while an agent receives from the queue",
        tell: |figures, _| {
            let queues = figures.queues.iter();
            queues.map(|one| (i64::from(one.received), vec![label("queue", &one.queue)])).collect()
        },
    },
    Looked {
        name: "s3sync.sessions",
        unit: "",
        help: "Agents that are connected, or were a moment ago",
        tell: |figures, _| vec![(level(figures.sessions), Vec::new())],
    },
    Looked {
        name: "s3sync.sessions.capacity",
        unit: "",
        help: "Assignments that all agents could hold together",
        tell: |figures, _| vec![(level(figures.capacity), Vec::new())],
    },
    Looked {
        name: "s3sync.sessions.credits",
        unit: "",
        help: "Assignments that agents would take now, beyond those they hold",
        tell: |figures, _| vec![(level(figures.credits), Vec::new())],
    },
    Looked {
        name: "s3sync.store.size",
        unit: "By",
        help: "Size of the database, and of its log that is not merged into it yet",
        tell: |figures, _| {
            let sizes = [("database", figures.database_bytes), ("log", figures.log_bytes)];
            sizes
                .into_iter()
                .map(|(file, bytes)| (level(bytes), vec![KeyValue::new("file", file)]))
                .collect()
        },
    },
];

/// Those that are times.
const TIMES: &[Looked<f64>] = &[Looked {
    name: "s3sync.lag",
    unit: "s",
    help: "Age of the newest state of the source that the destination is known to have reached",
    tell: |figures, now| {
        let destinations = figures.destinations.iter();
        destinations.map(|one| (lag(now, one.in_step.as_micros()), of(one).into())).collect()
    },
}];

#[expect(clippy::cast_precision_loss, reason = "microseconds of a century are exact enough")]
fn lag(now: i64, in_step: i64) -> f64 {
    now.saturating_sub(in_step).max(0) as f64 / 1e6
}

/// Levels and times are sums, not gauges: of a sum the library forgets what is not told any more, of a gauge it does not,
/// and a deleted job would stay for ever.
fn observe(meter: &Meter, latest: &Latest) {
    for Looked { name, unit, help, tell } in COUNTERS {
        let latest = Arc::clone(latest);
        let builder = meter.u64_observable_counter(*name).with_unit(*unit).with_description(*help);
        builder
            .with_callback(move |observer| {
                each(&latest, *tell, |value, labels| observer.observe(value, labels));
            })
            .build();
    }
    for Looked { name, unit, help, tell } in LEVELS {
        let latest = Arc::clone(latest);
        let builder = meter.i64_observable_up_down_counter(*name);
        let builder = builder.with_unit(*unit).with_description(*help);
        builder
            .with_callback(move |observer| {
                each(&latest, *tell, |value, labels| observer.observe(value, labels));
            })
            .build();
    }
    for Looked { name, unit, help, tell } in TIMES {
        let latest = Arc::clone(latest);
        let builder = meter.f64_observable_up_down_counter(*name);
        let builder = builder.with_unit(*unit).with_description(*help);
        builder
            .with_callback(move |observer| {
                each(&latest, *tell, |value, labels| observer.observe(value, labels));
            })
            .build();
    }
}

fn each<T>(
    latest: &Latest,
    tell: fn(&Figures, i64) -> Told<T>,
    mut told: impl FnMut(T, &[KeyValue]),
) {
    let latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((figures, now)) = &*latest else { return };
    for (value, labels) in tell(figures, *now) {
        told(value, &labels);
    }
}

fn level(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn label(key: &'static str, value: &impl ToString) -> KeyValue {
    KeyValue::new(key, value.to_string())
}

/// In the order of their names, as the library keeps them.
fn of(one: &DestinationFigures) -> [KeyValue; 2] {
    [KeyValue::new("destination", one.place.clone()), label("job_name", &one.job)]
}

fn of_destination(figures: &Figures, value: fn(&DestinationFigures) -> u64) -> Told<u64> {
    figures.destinations.iter().map(|one| (value(one), of(one).into())).collect()
}

/// A label, its value, and the count of it.
type Part = (&'static str, &'static str, u64);

fn by_destination(figures: &Figures, parts: fn(&Counters) -> Vec<Part>) -> Told<u64> {
    let mut all = Vec::new();
    for one in &figures.destinations {
        for (key, value, count) in parts(&one.counters) {
            let [destination, job] = of(one);
            all.push((count, vec![destination, job, KeyValue::new(key, value)]));
        }
    }
    all
}

/// Each key once: together they are the keys that were listed.
fn results(counters: &Counters) -> Vec<Part> {
    let Counters { in_step, copied, failed, vanished, archived, .. } = *counters;
    let parts = [
        ("in_step", in_step),
        ("copied", copied),
        ("failed", failed),
        ("vanished", vanished),
        ("archived", archived),
    ];
    parts.into_iter().map(|(name, count)| ("result", name, count)).collect()
}

fn ways(counters: &Counters) -> Vec<Part> {
    let inside = counters.copied_server_side;
    let through = counters.copied.saturating_sub(inside);
    vec![("way", "server_side", inside), ("way", "streamed", through)]
}

fn requests(counters: &Counters) -> Vec<Part> {
    let Counters { list_requests, read_requests, write_requests, .. } = *counters;
    let kinds = [("list", list_requests), ("read", read_requests), ("write", write_requests)];
    kinds.into_iter().map(|(name, count)| ("kind", name, count)).collect()
}

#[cfg(test)]
mod tests;
