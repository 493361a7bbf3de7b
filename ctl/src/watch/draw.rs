//! Pure. How a run that is watched is drawn: a function of what is known, the size, and whether there is colour.

use ratatui::text::Line;
use s3sync_proto::model::{
    Counters, DestinationProgress, Location, RangeState, RunStage, RunState, RunView,
};

use super::crew::agents;
use super::layout::{Numbers, Size, short_count, speed, whole};
use super::limit::limited;
use super::lines::{Row, Section, cut_within, fit, left, width, wrap};
use super::scene::{Left, Over, Scene};
use super::strip::{glyph, strip};
use super::tone::{Palette, Tone};
use crate::render::text::{count, plain, span};
use crate::render::{class, review_lines, run_label, run_state};

/// Of what is asked of a person, at most so many lines, and in a low window.
const REVIEW_LINES: (usize, usize) = (6, 3);
/// A text that explains something is wrapped into this many lines at most.
const WRAPPED: usize = 3;

/// The screen.
pub(crate) fn draw(
    scene: &Scene,
    (wide, high): (u16, u16),
    palette: Palette,
) -> Vec<Line<'static>> {
    let window = Size { wide: usize::from(wide), high: usize::from(high) };
    let sections = vec![
        head(scene, window),
        review(&scene.view, window),
        numbers(scene, window),
        destinations(&scene.view, window),
        outlook(scene, window),
        agents(scene, window),
        failures(scene, window),
    ];
    fit(sections, footer(&scene.view, window), (window.wide, window.high), palette)
}

fn head(scene: &Scene, window: Size) -> Section {
    let view = &scene.view;
    let run = &view.run;
    let short = Row::new(run_label(&run.name), Tone::Strong)
        .and("  ", Tone::Plain)
        .and(run_state(run.state), state_tone(run.state));
    let mut long = short.clone();
    if run.state == RunState::Running {
        long = long.and(format!(", {}", stage(view)), Tone::Plain);
    }
    let ends = match &scene.gone {
        Some((since, _)) => {
            let gone = format!("no server since {}", span(since.as_secs()));
            let tried = format!("{gone}, trying again");
            [tried.clone(), tried, gone].map(|text| (text, Tone::Bad))
        }
        None => {
            let end = run.ended.unwrap_or(view.time);
            let clock = span(end.since(run.started.unwrap_or(run.created)).as_secs());
            [clock.clone(), clock.clone(), clock].map(|text| (text, Tone::Plain))
        }
    };
    let first = [long, short.clone(), short].into_iter().zip(ends);
    let first = first.map(|(first, (end, tone))| window.between(first, &end, tone));
    let mut head = vec![window.fitting(first)];
    if !window.is_low() {
        head.push(Row::new(way(view, window.wide), Tone::Dim));
    }
    if let Some((_, why)) = &scene.gone {
        let lines = wrap(&plain(why), window.wide, WRAPPED);
        head.extend(lines.into_iter().map(|line| Row::new(line, Tone::Dim)));
    }
    if !run.reason.is_empty() {
        let lines = wrap(&plain(&run.reason), window.wide, WRAPPED);
        head.extend(lines.into_iter().map(|line| Row::new(line, Tone::Warning)));
    }
    Section { head, ..Section::default() }
}

/// From where to where.
fn way(view: &RunView, wide: usize) -> String {
    let from = place(&view.source);
    let to = match view.run.destinations.as_slice() {
        [one] => place(&one.location),
        many => format!("{} destinations", many.len()),
    };
    // What is cut out is cut out of both, as far as one does not need less than half.
    let room = wide.saturating_sub(3);
    let first = room.saturating_sub(width(&to)).max(room / 2);
    let from = cut_within(&from, first);
    let to = cut_within(&to, room.saturating_sub(width(&from)));
    format!("{from} → {to}")
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
fn review(view: &RunView, window: Size) -> Section {
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
        let lines = lines.iter().flat_map(|line| wrap(line, window.wide, 2));
        let most = if window.is_low() { REVIEW_LINES.1 } else { REVIEW_LINES.0 };
        head.extend(lines.take(most).map(|line| Row::new(line, Tone::Plain)));
    }
    head.extend(labelled("next", &next, Tone::Strong, window));
    Section { head, ..Section::default() }
}

fn numbers(scene: &Scene, window: Size) -> Section {
    let totals = scene.view.run.totals();
    let mut head =
        vec![Row::new(window.heads(), Tone::Dim), counters("all", &totals, Tone::Strong, window)];
    if let Some(rates) = scene.rates() {
        let numbers = Numbers {
            listed: rates.listed,
            in_step: rates.in_step,
            copied: rates.copied,
            failed: rates.failed,
            bytes: whole(rates.bytes),
        };
        head.push(window.numbers("a second", &numbers, speed, (Tone::Plain, Tone::Plain)));
    }
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
        head.extend(labelled("also", &also.join(", "), Tone::Dim, window));
    }
    Section { head, ..Section::default() }
}

fn counters(label: &str, counters: &Counters, tone: Tone, window: Size) -> Row {
    let numbers = Numbers {
        listed: counters.listed,
        in_step: counters.in_step,
        copied: counters.copied,
        failed: counters.not_in_step(),
        bytes: counters.copied_bytes,
    };
    let bad = if numbers.failed > 0 { Tone::Bad } else { tone };
    window.numbers(label, &numbers, short_count, (tone, bad))
}

/// Each destination's numbers and ranges; in a low window of several only the ranges, beside their names.
fn destinations(view: &RunView, window: Size) -> Section {
    let labels = window.labels();
    let several = view.run.destinations.len() > 1;
    let beside = several && window.is_low();
    let mut units = Vec::new();
    for (index, destination) in view.run.destinations.iter().enumerate() {
        let DestinationProgress { location, counters: done, .. } = destination;
        let name = cut_within(&place(location), labels - 1);
        let mut rows = Vec::new();
        if several && !beside {
            rows.push(counters(&name, done, Tone::Plain, window));
        }
        let before = if beside { left(&name, labels) } else { "  ".to_owned() };
        let room = window.wide.saturating_sub(width(&before));
        let cells = view.strips.get(index).map(|one| strip(&one.states, room)).unwrap_or_default();
        if !cells.is_empty() {
            let row =
                cells.into_iter().fold(Row::new(before, Tone::Plain), |row, (glyph, tone)| {
                    row.and(glyph.to_string(), tone)
                });
            rows.push(row);
        }
        if !rows.is_empty() {
            units.push(rows);
        }
    }
    let foot = if window.is_low() { Vec::new() } else { legend(view, window) };
    Section { units, more: "destinations", foot, spare: 2, ..Section::default() }
}

/// What the glyphs of the strips mean, with how many ranges stand so; on two lines where one is too short.
fn legend(view: &RunView, window: Size) -> Vec<Row> {
    let states = || view.strips.iter().flat_map(|strip| &strip.states);
    let all = states().count();
    if all == 0 {
        return Vec::new();
    }
    let mut rows = vec![Row::new(format!("  {} ranges", count(all as u64)), Tone::Dim)];
    for (state, what) in [
        (RangeState::Done, "done"),
        (RangeState::Held, "at work"),
        (RangeState::GivenUp, "given up"),
        (RangeState::PutOff, "put off"),
        (RangeState::Waiting, "waiting"),
    ] {
        let number = states().filter(|one| **one == state).count();
        if number == 0 {
            continue;
        }
        let (sign, tone) = glyph(state);
        let what = format!(" {} {what}", count(number as u64));
        let before = rows.last().map(Row::width).unwrap_or_default();
        if before + 3 + width(&what) > window.wide {
            rows.push(Row::default());
        }
        let row = rows.pop().unwrap_or_default();
        let row = row.and("  ", Tone::Dim).and(sign.to_string(), tone).and(what, Tone::Dim);
        rows.push(row);
    }
    rows
}

/// How long it will still take, and what keeps it from being faster.
fn outlook(scene: &Scene, window: Size) -> Section {
    let run = &scene.view.run;
    if run.state.is_terminal() {
        return Section::default();
    }
    let label = || Row::new(left("left", label_width(window)), Tone::Dim);
    let time = match scene.left() {
        Left::Unknown(why) => {
            vec![label().and("unknown", Tone::Strong).and(format!(": {why}"), Tone::Dim)]
        }
        Left::About { time, keys, over } => {
            let by = scene.view.expected_by.as_ref();
            let by = by.map_or_else(String::new, |run| format!(" (counted by {})", run_label(run)));
            let speed = match over {
                Over::Run => "rate so far",
                Over::Last(_) => "present rate",
            };
            let keys = count(keys);
            let about = label().and(format!("about {}", span(time.as_secs())), Tone::Strong);
            let ways = [
                format!(" for {keys} keys{by} at the {speed}"),
                format!(" for {keys} keys{by}"),
                format!(" for {keys} keys"),
                String::new(),
            ];
            ways.map(|text| about.clone().and(text, Tone::Dim)).to_vec()
        }
    };
    let mut head = vec![window.fitting(time)];
    if let Some((text, tone)) = limited(&scene.view, &scene.since()) {
        head.extend(labelled("limit", &text, tone, window));
    }
    Section { head, spare: 1, ..Section::default() }
}

/// How wide a label before a text is.
fn label_width(window: Size) -> usize {
    if window.is_narrow() { 6 } else { 9 }
}

/// A text behind a label, wrapped.
fn labelled(label: &str, text: &str, tone: Tone, window: Size) -> Vec<Row> {
    let label = left(label, label_width(window));
    let room = window.wide.saturating_sub(width(&label)).max(1);
    // In a low window only what somebody is to type is worth a second line.
    let most = if window.is_low() && tone != Tone::Strong { 1 } else { 2 };
    let lines = wrap(text, room, most).into_iter().enumerate();
    lines
        .map(|(index, line)| {
            let before = if index == 0 { label.clone() } else { " ".repeat(width(&label)) };
            Row::new(before, Tone::Dim).and(line, tone)
        })
        .collect()
}

fn failures(scene: &Scene, window: Size) -> Section {
    let units = scene.failures.iter().map(|group| {
        let sample = &group.sample;
        let kind = format!("{} {}", class(sample.class), plain(&sample.code));
        let what = Row::new(format!("{} ", count(group.size)), Tone::Bad)
            .and(kind.trim_end().to_owned(), Tone::Bad)
            .and(format!("  {}", sample.key), Tone::Plain)
            .and(format!("  {}", plain(&sample.message)), Tone::Dim);
        let mut unit = vec![what];
        if !window.is_low() {
            let advice = crate::cmd::advice(sample.class);
            let lines = wrap(advice, window.wide.saturating_sub(2).max(1), 2);
            unit.extend(lines.iter().map(|line| Row::new(format!("  {line}"), Tone::Dim)));
        }
        unit
    });
    Section { units: units.collect(), more: "kinds of failures", ..Section::default() }
}

fn footer(view: &RunView, window: Size) -> Row {
    let label = run_label(&view.run.name);
    if view.run.state.is_terminal() {
        return Row::new("it has ended", Tone::Dim);
    }
    let again = format!("s3syncctl run watch {label}");
    let ways = [
        format!(" leaves, and {label} goes on; come back with: {again}"),
        format!(" leaves; come back with: {again}"),
        " leaves, and the run goes on".to_owned(),
    ];
    window.fitting(ways.map(|text| Row::new("q", Tone::Strong).and(text, Tone::Dim)))
}

fn place(location: &Location) -> String {
    let Location { endpoint, bucket, prefix } = location;
    plain(&format!("{endpoint}:{bucket}/{prefix}"))
}
