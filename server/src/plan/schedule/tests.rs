//! Nominal times over years, through changes of clocks, downtimes and restarts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use s3sync_proto::model::OverlapPolicy;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(expression: &str, timezone: &str) -> Timing {
    Timing::Cron { expression: expression.into(), timezone: timezone.into() }
}

fn schedule(timing: Option<Timing>) -> Schedule {
    Schedule { timing, at_start: true, jitter: Duration::ZERO, overlap: OverlapPolicy::Skip }
}

fn times(timing: &Timing, from: &str, count: usize) -> Vec<String> {
    let first = next_after(timing, at(from), at(from)).unwrap();
    upcoming(timing, first, count).iter().map(ToString::to_string).collect()
}

#[test]
fn intervals_count_from_their_anchor() {
    let every = Timing::Every(6 * HOUR);
    let anchor = at("2026-01-01T01:00:00Z");
    let next = |now| next_after(&every, anchor, at(now)).unwrap();
    assert_eq!(next("2026-01-01T01:00:00Z"), at("2026-01-01T07:00:00Z"));
    assert_eq!(next("2026-01-01T06:59:59Z"), at("2026-01-01T07:00:00Z"));
    assert_eq!(next("2026-01-01T07:00:00Z"), at("2026-01-01T13:00:00Z"));
}

#[test]
fn a_cron_expression_is_read_in_its_zone() {
    let daily = cron("0 3 * * *", "Asia/Shanghai");
    assert_eq!(
        times(&daily, "2026-01-01T00:00:00Z", 2),
        ["2026-01-01T19:00:00Z", "2026-01-02T19:00:00Z"]
    );
    let weekdays = cron("30 9 * * 1-5", "UTC");
    assert_eq!(
        times(&weekdays, "2026-01-02T10:00:00Z", 2),
        ["2026-01-05T09:30:00Z", "2026-01-06T09:30:00Z"]
    );
}

#[test]
fn a_time_that_the_clock_skips_is_moved_and_one_that_comes_twice_counts_once() {
    // In Berlin the clock goes from 2:00 to 3:00 on 29 March 2026, and from 3:00 back to 2:00 on 25 October.
    let daily = cron("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        times(&daily, "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        times(&daily, "2026-10-24T00:00:00Z", 3),
        ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // Each hour is each hour, also when it is named twice.
    let hourly = cron("0 * * * *", "Europe/Berlin");
    assert_eq!(
        times(&hourly, "2026-10-24T23:30:00Z", 3),
        ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]
    );
}

#[test]
fn after_a_downtime_one_run_makes_up_for_all() {
    for timing in [Timing::Every(HOUR), cron("0 * * * *", "UTC")] {
        let next = at("2026-01-01T01:00:00Z");
        let one = |now| passed(&timing, at("2026-01-01T00:00:00Z"), next, at(now));
        let due = one("2026-01-01T01:00:00Z");
        assert_eq!((due.latest, due.count), (next, 1));
        assert_eq!(due.next, Some(at("2026-01-01T02:00:00Z")));
        let late = one("2026-01-01T05:30:00Z");
        assert_eq!((late.latest, late.count), (at("2026-01-01T05:00:00Z"), 5));
        assert_eq!(late.next, Some(at("2026-01-01T06:00:00Z")));
    }
}

#[test]
fn a_start_of_the_server_runs_what_is_not_fresh() {
    let now = at("2026-01-01T12:00:00Z");
    let due = |timing: Option<Timing>, finished: Option<&str>| {
        due_at_start(&schedule(timing), finished.map(at), now)
    };
    let every = || Some(Timing::Every(6 * HOUR));
    assert!(due(every(), None));
    assert!(due(every(), Some("2026-01-01T06:00:00Z")), "a whole interval ago");
    assert!(!due(every(), Some("2026-01-01T06:00:01Z")));
    let daily = || Some(cron("0 3 * * *", "UTC"));
    assert!(due(daily(), Some("2026-01-01T02:59:59Z")), "before the last nominal time");
    assert!(!due(daily(), Some("2026-01-01T03:00:00Z")));
    assert!(!due(None, None), "without times only a creation starts it");
    let never = Schedule { at_start: false, ..schedule(every()) };
    assert!(!due_at_start(&never, None, now));
}

#[test]
fn a_wrong_schedule_says_what_is_wrong() {
    let says = |expression: &str, zone: &str| {
        let found = problems(&schedule(Some(cron(expression, zone))));
        found.iter().map(|one| format!("{}: {}", one.field, one.description)).collect::<String>()
    };
    assert_eq!(says("0 3 * * *", "Asia/Shanghai"), "");
    assert!(says("0 3 * *", "UTC").contains("schedule.cron"));
    assert!(says("61 3 * * *", "UTC").contains("is not a cron expression"));
    assert!(says("0 3 30 2 *", "UTC").contains("never comes"), "{}", says("0 3 30 2 *", "UTC"));
    assert!(says("0 3 * * *", "Mars/Olympus").contains("schedule.timezone"));
}

#[test]
fn jitter_is_drawn_once_and_stays_within_its_bound() {
    let some = Schedule { jitter: HOUR, ..schedule(None) };
    let draw = |n: i64| jitter(&some, "media", Timestamp::from_micros(n * 1_000_000));
    let drawn: BTreeSet<_> = (0..200).map(draw).collect();
    assert!(drawn.len() > 190, "only {} of 200 differ", drawn.len());
    assert!(drawn.iter().all(|one| *one <= HOUR));
    assert_eq!(draw(7), draw(7));
    assert_eq!(jitter(&schedule(None), "media", Timestamp::default()), Duration::ZERO);
}

fn timing() -> impl Strategy<Value = Timing> {
    prop_oneof![
        (1..100_u64).prop_map(|hours| Timing::Every(HOUR * u32::try_from(hours).unwrap())),
        (0..60_u32, 0..24_u32).prop_map(|(m, h)| cron(&format!("{m} {h} * * *"), "Europe/Berlin")),
        (0..60_u32, 1..12_u32)
            .prop_map(|(m, n)| cron(&format!("{m} */{n} * * *"), "America/New_York")),
        (0..24_u32, 0..7_u32).prop_map(|(h, d)| cron(&format!("0 {h} * * {d}"), "Asia/Shanghai")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// Three years, looked at irregularly, with downtimes: each nominal time starts a run or is counted, once.
    #[test]
    fn each_nominal_time_fires_once_or_is_counted(
        timing in timing(),
        gaps in prop::collection::vec(prop_oneof![8 => 1..48_u64, 1 => 48..2_000_u64], 60..120),
    ) {
        let anchor = at("2025-01-01T00:17:00Z");
        let mut now = anchor;
        let mut next = next_after(&timing, anchor, anchor);
        let (mut fired, mut skipped, mut last) = (0, 0, None);
        for gap in gaps {
            now = now.plus(HOUR * u32::try_from(gap).unwrap());
            let Some(due) = next.filter(|next| *next <= now) else { continue };
            let seen = passed(&timing, anchor, due, now);
            prop_assert!(seen.latest <= now && seen.latest >= due);
            prop_assert!(last.is_none_or(|last| seen.latest > last), "none fires twice");
            prop_assert!(seen.next.is_some_and(|next| next > now));
            last = Some(seen.latest);
            fired += 1;
            skipped += seen.count - 1;
            next = seen.next;
        }
        let mut all = 0;
        let mut time = next_after(&timing, anchor, anchor);
        while let Some(one) = time.filter(|one| *one <= now) {
            all += 1;
            time = next_after(&timing, anchor, one);
        }
        prop_assert_eq!(fired + skipped, all);
    }
}
