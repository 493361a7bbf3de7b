//! Pure. When a job starts by itself. A schedule has nominal times; each starts a run once or is counted as skipped,
//! whatever restarts in between.

mod cron;

use std::time::Duration;

use s3sync_proto::model::{Schedule, Timestamp, Timing, Violation};
use sha2::{Digest as _, Sha256};

use cron::{Expression, Problem};

/// Nominal times that have passed are counted up to here; a job that starts every minute passes as many in ten weeks.
const MAX_COUNTED: u64 = 100_000;

/// What became of nominal times, the earliest of which is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The last of them: the one that starts a run. After a downtime one run makes up for all that were missed.
    pub latest: Timestamp,
    /// How many there are, the latest included.
    pub count: u64,
    /// The first that is still to come.
    pub next: Option<Timestamp>,
}

/// The first nominal time after a moment. `anchor` is what `every` counts from.
#[must_use]
pub fn next_after(timing: &Timing, anchor: Timestamp, time: Timestamp) -> Option<Timestamp> {
    match timing {
        Timing::Every(every) => {
            let steps = time.since(anchor).as_micros() / every.as_micros().max(1);
            later(anchor, *every, steps + 1)
        }
        Timing::Cron { expression, timezone } => {
            Expression::new(expression, timezone).ok()?.after(time)
        }
    }
}

/// What follows when `next` is due: see [`Passed`].
#[must_use]
pub fn passed(timing: &Timing, anchor: Timestamp, next: Timestamp, now: Timestamp) -> Passed {
    match timing {
        Timing::Every(every) => {
            let steps = now.since(next).as_micros() / every.as_micros().max(1);
            let latest = later(next, *every, steps).unwrap_or(next);
            let count = u64::try_from(steps + 1).unwrap_or(u64::MAX);
            Passed { latest, count, next: next_after(timing, anchor, latest) }
        }
        Timing::Cron { expression, timezone } => match Expression::new(expression, timezone) {
            Ok(expression) => cron_passed(&expression, next, now),
            Err(_) => Passed { latest: next, count: 1, next: None },
        },
    }
}

fn cron_passed(expression: &Expression, next: Timestamp, now: Timestamp) -> Passed {
    let latest = expression.before(now).map_or(next, |latest| latest.max(next));
    let (mut count, mut time) = (1, next);
    while time < latest && count < MAX_COUNTED {
        let Some(following) = expression.after(time) else { break };
        time = following;
        count += 1;
    }
    Passed { latest, count, next: expression.after(latest.max(now)) }
}

fn later(time: Timestamp, every: Duration, steps: u128) -> Option<Timestamp> {
    let micros = every.as_micros().checked_mul(steps)?;
    let micros = i64::try_from(micros).ok()?;
    time.as_micros().checked_add(micros).map(Timestamp::from_micros)
}

/// How long a start is put off: the same for a job and a nominal time however often it is asked, so that a restart does
/// not draw again.
#[must_use]
pub fn jitter(schedule: &Schedule, job: &str, nominal: Timestamp) -> Duration {
    let most = u64::try_from(schedule.jitter.as_micros()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    let digest = Sha256::digest(format!("{job} {}", nominal.as_micros()));
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Duration::from_micros(u64::from_be_bytes(first) % most.saturating_add(1))
}

/// Whether a full run is due because the server starts: unless one finished within the interval, or, of a cron
/// expression, since its last nominal time. Without either a run is due only when the job is created.
#[must_use]
pub fn due_at_start(schedule: &Schedule, finished: Option<Timestamp>, now: Timestamp) -> bool {
    let since = match &schedule.timing {
        _ if !schedule.at_start => return false,
        None => return false,
        Some(Timing::Every(every)) => {
            return finished.is_none_or(|finished| now.since(finished) >= *every);
        }
        Some(Timing::Cron { expression, timezone }) => {
            Expression::new(expression, timezone).ok().and_then(|cron| cron.before(now))
        }
    };
    finished.is_none_or(|finished| since.is_some_and(|since| finished < since))
}

/// The next nominal times after a moment, at most `count`.
#[must_use]
pub fn upcoming(timing: &Timing, next: Timestamp, count: usize) -> Vec<Timestamp> {
    let following = |time: &Timestamp| next_after(timing, next, *time);
    std::iter::successors(Some(next), following).take(count).collect()
}

/// What is wrong with a schedule beyond its form: an expression that is none, a zone nobody knows, a time that never
/// comes.
#[must_use]
pub fn problems(schedule: &Schedule) -> Vec<Violation> {
    let Some(Timing::Cron { expression, timezone }) = &schedule.timing else { return Vec::new() };
    let problem = match Expression::new(expression, timezone) {
        // Any moment does: what comes at all comes again within eight years of it.
        Ok(cron) if cron.after(Timestamp::from_micros(0)).is_some() => return Vec::new(),
        Ok(_) => ("schedule.cron", format!("{expression:?} names a time that never comes")),
        Err(Problem::Expression(text)) => (
            "schedule.cron",
            format!(
                "{expression:?} is not a cron expression: {text}; write five fields, such as 0 3 * * *"
            ),
        ),
        Err(Problem::Zone(zone)) => (
            "schedule.timezone",
            format!("{zone:?} is not a time zone; use a name such as Asia/Shanghai"),
        ),
    };
    vec![Violation::new(problem.0, problem.1)]
}

#[cfg(test)]
mod tests;
