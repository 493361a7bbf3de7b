//! Pure. How a run that is watched is drawn: a function of what is known, the size, and whether there is colour.

use ratatui::text::Line;
use s3sync_proto::model::{
    Activity, Counters, DestinationProgress, HeldRange, Location, RangeState, RunAgent, RunStage,
    RunState, RunView,
};

use super::limit::limited;
use super::lines::{Row, Section, cut_within, fit, left, right, width};
use super::scene::{Left, Over, Rates, Scene};
use super::strip::{glyph, strip};
use super::tone::{Palette, Tone};
use crate::render::text::{count, plain, size, span};
use crate::render::{class, review_lines, run_label, run_state};

/// Columns of numbers: what they are called, and how wide they are.
const COLUMNS: [(&str, usize); 5] =
    [("listed", 13), ("in step", 13), ("copied", 12), ("failed", 9), ("bytes", 11)];
/// Places are shown this wide at most.
const WIDEST_PLACE: usize = 60;
/// From this width on agents are shown with what they do and where they are.
const WIDE: usize = 100;
/// Of what is asked of a person, at most so many lines.
const REVIEW_LINES: usize = 6;

/// The screen.
pub(crate) fn draw(
    scene: &Scene,
    (wide, high): (u16, u16),
    palette: Palette,
) -> Vec<Line<'static>> {
    let (wide, high) = (usize::from(wide), usize::from(high));
    let sections = vec![
        head(scene, wide),
        review(&scene.view),
        numbers(scene, wide),
        destinations(&scene.view, wide),
        outlook(scene),
        agents(scene, wide),
        failures(scene),
    ];
    fit(sections, footer(&scene.view), (wide, high), palette)
}

fn head(scene: &Scene, wide: usize) -> Section {
    let view = &scene.view;
    let run = &view.run;
    let mut first = Row::new(run_label(&run.name), Tone::Strong)
        .and("  ", Tone::Plain)
        .and(run_state(run.state), state_tone(run.state));
    if run.state == RunState::Running {
        first = first.and(format!(", {}", stage(view)), Tone::Plain);
    }
    let clock = match &scene.gone {
        Some((since, _)) => format!("no server since {}, trying again", span(since.as_secs())),
        None => {
            let end = run.ended.unwrap_or(view.time);
            span(end.since(run.started.unwrap_or(run.created)).as_secs())
        }
    };
    let tone = if scene.gone.is_some() { Tone::Bad } else { Tone::Plain };
    let gap = wide.saturating_sub(first.width() + width(&clock)).max(2);
    let first = first.and(" ".repeat(gap), Tone::Plain).and(clock, tone);
    let to = match run.destinations.as_slice() {
        [one] => place(&one.location),
        many => format!("{} destinations", many.len()),
    };
    let way = format!("{} → {to}", place(&view.source));
    let mut head = vec![first, Row::new(way, Tone::Dim)];
    if let Some((_, why)) = &scene.gone {
        head.push(Row::new(plain(why), Tone::Dim));
    }
    if !run.reason.is_empty() {
        head.push(Row::new(plain(&run.reason), Tone::Warning));
    }
    Section { head, ..Section::default() }
}

fn stage(view: &RunView) -> &'static str {
    match view.stage {
        RunStage::Scan => "lists and copies",
        RunStage::Approval => "waits for an approval",
        RunStage::Delete => "deletes",
        RunStage::Recount => "counts anew what to delete",
        RunStage::Keys => "looks at named keys",
    }
}

fn state_tone(state: RunState) -> Tone {
    match state {
        RunState::Pending | RunState::Cancelled => Tone::Strong,
        RunState::Running => Tone::Work,
        RunState::Paused | RunState::AwaitingApproval | RunState::Cancelling => Tone::Warning,
        RunState::Succeeded => Tone::Good,
        RunState::FinishedWithFailures | RunState::Incomplete | RunState::Failed => Tone::Bad,
    }
}

/// What is asked of a person.
fn review(view: &RunView) -> Section {
    let label = run_label(&view.run.name);
    let next = match view.run.state {
        RunState::AwaitingApproval => {
            format!("s3syncctl run approve {label}, or run cancel {label}")
        }
        RunState::Paused => format!("s3syncctl run resume {label}, or run cancel {label}"),
        RunState::Pending
        | RunState::Running
        | RunState::Cancelling
        | RunState::Succeeded
        | RunState::FinishedWithFailures
        | RunState::Incomplete
        | RunState::Failed
        | RunState::Cancelled => return Section::default(),
    };
    let mut head = Vec::new();
    if let Some(review) = &view.run.deletes {
        let lines = review_lines(&view.run, review);
        head.extend(lines.into_iter().take(REVIEW_LINES).map(|line| Row::new(line, Tone::Plain)));
    }
    head.push(Row::new("next  ", Tone::Dim).and(next, Tone::Strong));
    Section { head, ..Section::default() }
}

/// Width of what stands before the numbers.
fn label_width(wide: usize) -> usize {
    let numbers: usize = COLUMNS.iter().map(|(_, wide)| wide).sum();
    wide.saturating_sub(numbers).clamp(8, WIDEST_PLACE)
}

fn numbers(scene: &Scene, wide: usize) -> Section {
    let labels = label_width(wide);
    let heads: String = COLUMNS.iter().map(|(head, wide)| right(head, *wide)).collect();
    let totals = scene.view.run.totals();
    let mut head = vec![
        Row::new(left("", labels) + &heads, Tone::Dim),
        counters("all", &totals, labels, Tone::Strong),
    ];
    head.extend(scene.rates().map(|rates| speeds(&rates, labels)));
    let also: Vec<_> = [
        (totals.copied_server_side, "copied inside S3"),
        (totals.vanished, "vanished"),
        (totals.archived, "archived"),
        (totals.extra, "extra"),
        (totals.deleted, "deleted"),
        (totals.not_deleted, "not deleted"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", short_count(number, 12)))
    .collect();
    if !also.is_empty() {
        head.push(Row::new(format!("also  {}", also.join(", ")), Tone::Dim));
    }
    Section { head, ..Section::default() }
}

fn counters(label: &str, counters: &Counters, labels: usize, tone: Tone) -> Row {
    let failed = counters.not_in_step();
    let cell = |number: u64, column: usize| {
        let wide = COLUMNS[column].1;
        right(&short_count(number, wide - 1), wide)
    };
    let good = [counters.listed, counters.in_step, counters.copied];
    let good: String = good.iter().enumerate().map(|(at, number)| cell(*number, at)).collect();
    let bad = if failed > 0 { Tone::Bad } else { tone };
    Row::new(left(label, labels), tone)
        .and(good, tone)
        .and(cell(failed, 3), bad)
        .and(right(&size(counters.copied_bytes), COLUMNS[4].1), tone)
}

fn speeds(rates: &Rates, labels: usize) -> Row {
    let numbers = [rates.listed, rates.in_step, rates.copied, rates.failed];
    let mut text = left("a second", labels);
    for (number, (_, wide)) in numbers.iter().zip(COLUMNS) {
        text.push_str(&right(&speed(*number), wide));
    }
    text.push_str(&right(&size(whole(rates.bytes)), COLUMNS[4].1));
    Row::new(text, Tone::Plain)
}

/// Each destination's numbers and ranges.
fn destinations(view: &RunView, wide: usize) -> Section {
    let labels = label_width(wide);
    let several = view.run.destinations.len() > 1;
    let mut units = Vec::new();
    for (index, destination) in view.run.destinations.iter().enumerate() {
        let DestinationProgress { location, counters: done, .. } = destination;
        let mut rows = Vec::new();
        if several {
            rows.push(counters(
                &cut_within(&place(location), labels - 1),
                done,
                labels,
                Tone::Plain,
            ));
        }
        let cells = view.strips.get(index).map(|one| strip(&one.states, wide.saturating_sub(2)));
        let cells = cells.unwrap_or_default();
        if !cells.is_empty() {
            let row = cells.into_iter().fold(Row::new("  ", Tone::Plain), |row, (glyph, tone)| {
                row.and(glyph.to_string(), tone)
            });
            rows.push(row);
        }
        if !rows.is_empty() {
            units.push(rows);
        }
    }
    let foot = legend(view).into_iter().collect();
    Section { units, more: "destinations", foot, ..Section::default() }
}

/// What the glyphs of the strips mean, with how many ranges stand so.
fn legend(view: &RunView) -> Option<Row> {
    let states = || view.strips.iter().flat_map(|strip| &strip.states);
    let all = states().count();
    if all == 0 {
        return None;
    }
    let mut row = Row::new(format!("  {} ranges", count(all as u64)), Tone::Dim);
    for (state, what) in [
        (RangeState::Done, "done"),
        (RangeState::Held, "at work"),
        (RangeState::GivenUp, "given up"),
        (RangeState::PutOff, "put off"),
        (RangeState::Waiting, "waiting"),
    ] {
        let number = states().filter(|one| **one == state).count();
        if number > 0 {
            let (sign, tone) = glyph(state);
            row = row.and("  ", Tone::Dim).and(sign.to_string(), tone);
            row = row.and(format!(" {} {what}", count(number as u64)), Tone::Dim);
        }
    }
    Some(row)
}

/// How long it will still take, and what keeps it from being faster.
fn outlook(scene: &Scene) -> Section {
    let run = &scene.view.run;
    if run.state.is_terminal() {
        return Section::default();
    }
    let time = match scene.left() {
        Left::Unknown(why) => Row::new("unknown", Tone::Strong).and(format!(": {why}"), Tone::Dim),
        Left::About { time, keys, over } => {
            let by = scene.view.expected_by.as_ref();
            let by = by.map_or_else(String::new, |run| format!(" (counted by {})", run_label(run)));
            let speed = match over {
                Over::Run => "rate so far",
                Over::Last(_) => "present rate",
            };
            Row::new(format!("about {}", span(time.as_secs())), Tone::Strong)
                .and(format!(" for {} keys{by} at the {speed}", count(keys)), Tone::Dim)
        }
    };
    let mut head = vec![labelled("left", time)];
    if let Some((text, tone)) = limited(&scene.view, &scene.since()) {
        head.push(labelled("limit", Row::new(text, tone)));
    }
    Section { head, ..Section::default() }
}

fn labelled(label: &str, row: Row) -> Row {
    row.after(left(label, 9), Tone::Dim)
}

fn agents(scene: &Scene, wide: usize) -> Section {
    let view = &scene.view;
    let widest = view.agents.iter().map(|agent| width(agent.agent.as_str())).max().unwrap_or(0);
    let names = widest.clamp(4, (wide / 4).max(4));
    let units = view.agents.iter().map(|agent| vec![self::agent(agent, scene, (names, wide))]);
    let mut section = Section { units: units.collect(), more: "agents", ..Section::default() };
    if view.more_agents > 0 {
        let text = format!("  and {} more agents are at work", count(view.more_agents.into()));
        section.foot.push(Row::new(text, Tone::Dim));
    }
    section
}

fn agent(agent: &RunAgent, scene: &Scene, (names, wide): (usize, usize)) -> Row {
    let holds = format!("{} of {}", agent.held, agent.capacity);
    let mut row = Row::new(left(agent.agent.as_str(), names), Tone::Strong)
        .and(format!("  {} ranges", right(&holds, 8)), Tone::Plain);
    if agent.draining {
        row = row.and("  leaves", Tone::Warning);
    }
    if let Some(lately) = scene.lately(&agent.agent) {
        let seconds = lately.time.as_secs_f64();
        row = row.and(rates_of(&lately, seconds), Tone::Plain);
        if wide < WIDE {
            return row;
        }
    } else if let Err(silence) = &agent.activity
        && !silence.is_empty()
    {
        row = row.and(format!("  {}", plain(silence)), Tone::Warning);
    }
    let mine = scene.view.held.iter().filter(|held| held.agent == agent.agent);
    match mine.min_by_key(|held| held.since) {
        Some(held) => row.and(format!("  {}", at(held)), Tone::Dim),
        None => row,
    }
}

/// What an agent does in a second.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn rates_of(lately: &Activity, seconds: f64) -> String {
    let rate = |number: u64| number as f64 / seconds;
    let in_flight: u32 = lately.loads.iter().map(|load| load.in_flight).sum();
    format!(
        "{} keys/s{} obj/s{}/s{} in flight",
        right(&speed(rate(lately.listed)), 8),
        right(&speed(rate(lately.copied)), 8),
        right(&size(whole(rate(lately.moved_bytes))), 11),
        right(&count(in_flight.into()), 5),
    )
}

/// Where a range stands.
fn at(held: &HeldRange) -> String {
    match (&held.cursor, &held.range.after) {
        (Some(cursor), _) => format!("at {cursor}"),
        (None, Some(after)) => format!("after {after}"),
        (None, None) => "at the beginning".to_owned(),
    }
}

fn failures(scene: &Scene) -> Section {
    let units = scene.failures.iter().map(|group| {
        let sample = &group.sample;
        let kind = format!("{} {}", class(sample.class), plain(&sample.code));
        let what = Row::new(format!("{} ", count(group.size)), Tone::Bad)
            .and(kind.trim_end().to_owned(), Tone::Bad)
            .and(format!("  {}", sample.key), Tone::Plain)
            .and(format!("  {}", plain(&sample.message)), Tone::Dim);
        let advice = crate::cmd::advice(sample.class);
        vec![what, Row::new(format!("  {advice}"), Tone::Dim)]
    });
    Section { units: units.collect(), more: "kinds of failures", ..Section::default() }
}

fn footer(view: &RunView) -> Row {
    let label = run_label(&view.run.name);
    if view.run.state.is_terminal() {
        return Row::new("it has ended", Tone::Dim);
    }
    Row::new("q", Tone::Strong)
        .and(" leaves, and ", Tone::Dim)
        .and(label.clone(), Tone::Dim)
        .and(format!(" goes on; come back with: s3syncctl run watch {label}"), Tone::Dim)
}

fn place(location: &Location) -> String {
    let Location { endpoint, bucket, prefix } = location;
    plain(&format!("{endpoint}:{bucket}/{prefix}"))
}

/// A count with separators, or when that is too wide, in thousands, millions and so on.
#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn short_count(number: u64, wide: usize) -> String {
    let whole = count(number);
    if whole.len() <= wide {
        return whole;
    }
    let mut value = number as f64;
    for unit in ["k", "M", "G", "T", "P"] {
        value /= 1000.0;
        let text = format!("{value:.2}{unit}");
        if value < 999.995 {
            return text;
        }
    }
    format!("{value:.0}P")
}

/// How many a second; below ten with a digit more.
fn speed(number: f64) -> String {
    if number > 0.0 && number < 9.95 {
        format!("{number:.1}")
    } else {
        short_count(whole(number), 11)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are not negative, and far below 2^52"
)]
fn whole(number: f64) -> u64 {
    number.round() as u64
}
