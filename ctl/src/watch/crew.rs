//! Pure. A line for each agent of a run that is watched.

use s3sync_proto::model::{Activity, HeldRange, RunAgent};

use super::layout::{Size, speed, whole};
use super::lines::{Row, Section, cut_within, left, right, width};
use super::scene::Scene;
use super::tone::Tone;
use crate::render::text::{count, plain, size};

/// Below this width only what an agent moves is shown of what it does.
const WITH_KEYS: usize = 56;

/// The agents, those that hold most first.
pub(crate) fn agents(scene: &Scene, window: Size) -> Section {
    let view = &scene.view;
    let widest = view.agents.iter().map(|agent| width(agent.agent.as_str())).max().unwrap_or(0);
    let most = if window.is_narrow() { window.wide / 5 } else { window.wide / 4 };
    let names = widest.clamp(4, most.max(4));
    let units = view.agents.iter().map(|one| vec![agent(one, scene, names, window)]);
    let mut section =
        Section { units: units.collect(), more: "agents", spare: 3, ..Section::default() };
    if view.more_agents > 0 {
        let text = format!("  and {} more agents are at work", count(view.more_agents.into()));
        section.foot.push(Row::new(text, Tone::Dim));
    }
    section
}

fn agent(agent: &RunAgent, scene: &Scene, names: usize, window: Size) -> Row {
    let holds = if window.is_narrow() {
        right(&format!("{}/{}", agent.held, agent.capacity), 5)
    } else {
        format!("  {} ranges", right(&format!("{} of {}", agent.held, agent.capacity), 8))
    };
    let mut row = Row::new(left(&cut_within(agent.agent.as_str(), names), names), Tone::Strong)
        .and(holds, Tone::Plain);
    if agent.draining {
        row = row.and("  leaves", Tone::Warning);
    }
    if let Some(lately) = scene.lately(&agent.agent) {
        let seconds = lately.time.as_secs_f64();
        row = row.and(rates_of(&lately, seconds, window), Tone::Plain);
        if !window.is_wide() {
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
fn rates_of(lately: &Activity, seconds: f64, window: Size) -> String {
    let rate = |number: u64| number as f64 / seconds;
    let keys = |wide| right(&speed(rate(lately.listed), wide - 1), wide);
    let objects = |wide| right(&speed(rate(lately.copied), wide - 1), wide);
    let bytes = size(whole(rate(lately.moved_bytes)));
    if !window.is_narrow() {
        let in_flight: u32 = lately.loads.iter().map(|load| load.in_flight).sum();
        return format!(
            "{} keys/s{} obj/s{}/s{} in flight",
            keys(8),
            objects(8),
            right(&bytes, 11),
            right(&count(in_flight.into()), 5),
        );
    }
    let bytes = right(&bytes, 11);
    if window.wide < WITH_KEYS {
        return format!("{} obj/s{bytes}/s", objects(7));
    }
    format!("{} keys/s{} obj/s{bytes}/s", keys(8), objects(8))
}

/// Where a range stands.
fn at(held: &HeldRange) -> String {
    match (&held.cursor, &held.range.after) {
        (Some(cursor), _) => format!("at {cursor}"),
        (None, Some(after)) => format!("after {after}"),
        (None, None) => "at the beginning".to_owned(),
    }
}
