//! What a dead agent had sent arrives when its place is taken, and the change that it carries was undone.

use std::time::Duration;

use tokio::time::sleep;

use super::{AGENTS, World, end_in_peace};
use crate::worker::tests::history::simulated;

/// A small history without any trouble but this; how many commits arrived after their sender was gone.
async fn one_turn_about(seed: u64) -> u64 {
    fastrand::seed(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut world = World::new(&mut rng);
    world.server.start();
    for fake in world.buckets.values() {
        fake.far_away(&mut rng);
    }
    (0..12).for_each(|_| drop(world.change(&mut rng)));
    for agent in AGENTS {
        world.start_agent(agent);
    }
    // The source is what the destinations are, and deletes by events need no person.
    world.scan();
    sleep(Duration::from_secs(120)).await;
    world.turn_about(&mut rng).await;
    end_in_peace(&mut world, seed).await;
    world.buckets.values().map(|fake| fake.with(|contents| contents.came_late)).sum()
}

#[test]
fn what_a_dead_agent_sent_before_a_change_was_undone_does_not_stay() {
    let mut came_late = 0;
    for seed in 0..20 {
        simulated(async { came_late += one_turn_about(seed).await });
    }
    assert!(came_late > 0, "no commit arrived late");
}
