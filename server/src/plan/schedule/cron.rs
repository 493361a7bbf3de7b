//! Pure. Cron expressions in time zones: `croner` finds the times, `jiff` knows the zones.
//!
//! A time that the clock skips in spring is moved past the gap, and one that comes twice in autumn counts once, unless
//! the expression names every hour or minute: that is what `croner` does and what people expect of cron.

use std::cmp::Ordering;

use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};
use s3sync_proto::model::Timestamp;

/// An expression in a time zone, ready to be asked.
pub(super) struct Expression {
    cron: Cron,
    zone: TimeZone,
}

/// What is wrong with an expression or its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Expression(String),
    Zone(String),
}

impl Expression {
    pub(super) fn new(expression: &str, timezone: &str) -> Result<Self, Problem> {
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron =
            parser.parse(expression).map_err(|error| Problem::Expression(error.to_string()))?;
        let zone = TimeZone::get(timezone).map_err(|_| Problem::Zone(timezone.to_owned()))?;
        Ok(Self { cron, zone })
    }

    /// The first time after this one; `None` when there is none.
    pub(super) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_next_occurrence(&self.zoned(time)?, false).ok()?;
        Some(Timestamp::from_micros(found.0.timestamp().as_microsecond()))
    }

    /// The last time at or before this one.
    pub(super) fn before(&self, time: Timestamp) -> Option<Timestamp> {
        let found = self.cron.find_previous_occurrence(&self.zoned(time)?, true).ok()?;
        Some(Timestamp::from_micros(found.0.timestamp().as_microsecond()))
    }

    fn zoned(&self, time: Timestamp) -> Option<Wall> {
        let time = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
        Some(Wall(time.to_zoned_datetime(self.zone.clone())))
    }
}

/// The wall clock of a zone, as `croner` asks for it.
#[derive(Clone, Debug)]
struct Wall(ZonedDateTime);

/// A part of a date or time as `croner` counts it; none is negative.
fn part(number: i8) -> u32 {
    u32::from(number.unsigned_abs())
}

/// A part of a date or time as `jiff` counts it; all fit.
fn small(number: u32) -> Result<i8, CronError> {
    i8::try_from(number).map_err(|_| CronError::InvalidDate)
}

fn to_jiff(civil: CivilDateTime) -> Result<DateTime, CronError> {
    let year = i16::try_from(civil.year()).map_err(|_| CronError::InvalidDate)?;
    let (month, day) = (small(civil.month())?, small(civil.day())?);
    let (hour, minute, second) =
        (small(civil.hour())?, small(civil.minute())?, small(civil.second())?);
    DateTime::new(year, month, day, hour, minute, second, 0).map_err(|_| CronError::InvalidDate)
}

impl CronDateTime for Wall {
    fn to_civil(&self) -> CivilDateTime {
        let now = self.0.datetime();
        let date =
            CivilDate::from_ymd_opt(i32::from(now.year()), part(now.month()), part(now.day()));
        let time =
            CivilTime::from_hms_opt(part(now.hour()), part(now.minute()), part(now.second()));
        let valid = "a date and time of jiff is one";
        CivilDateTime::new(date.expect(valid), time.expect(valid))
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(part(self.0.weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(to_jiff(civil)?);
        let time = |zoned: Result<ZonedDateTime, jiff::Error>| {
            zoned.map(Wall).map_err(|_| CronError::InvalidTime)
        };
        Ok(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => {
                Resolution::Single(time(ambiguous.unambiguous())?)
            }
            AmbiguousOffset::Fold { .. } => {
                Resolution::Ambiguous(time(ambiguous.clone().earlier())?, time(ambiguous.later())?)
            }
            AmbiguousOffset::Gap { .. } => Resolution::Gap,
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Wall)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}
