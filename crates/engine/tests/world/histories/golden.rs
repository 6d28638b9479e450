//! What the engine decides, down to the last field, in one history for each stage and event.
//!
//! Invariants say what must never be; this says what is. A change of the engine shows here which situations it
//! changes: no more of them than were meant, and not none. `cargo insta review` takes the new ones over;
//! `TIDEGATE_STORY="seed 17"` prints the story of one, to be compared with the one before.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use proptest::strategy::ValueTree as _;

use super::{
    coverage,
    events::{self, Beginning, Plot},
    go_on, text, tree,
};
use crate::world::World;

/// Number of random histories beside those of each stage and event.
const RANDOM: u64 = 200;

#[test]
fn what_is_decided_is_as_before() {
    let fixed = coverage::every_stage_meets_every_event().into_iter();
    let fixed = fixed.map(|plot| (name(&plot), plot));
    let plots = events::plots();
    let random = (1..=RANDOM).map(|seed| (format!("seed {seed}"), tree(seed, &plots).current()));
    let mut lines = String::new();
    for (name, plot) in fixed.chain(random) {
        let world = lived(&plot);
        if text("TIDEGATE_STORY").is_some_and(|asked| asked == name) {
            println!("{}", world.story);
        }
        let mut hasher = DefaultHasher::new();
        world.story.to_string().hash(&mut hasher);
        let (outcomes, digest) = (world.outcomes(), hasher.finish());
        let _infallible = writeln!(lines, "{name}: {outcomes}, {digest:016x}");
    }
    insta::assert_snapshot!("golden", lines);
}

/// Lives a history, and tells all of it.
fn lived((beginning, events): &Plot) -> World {
    let mut world = events::begin(*beginning, true);
    world.story.is_detailed = true;
    go_on(world, events)
}

/// The split, the point at which it begins, and the events before the last, which only lets time go on.
fn name((beginning, events): &Plot) -> String {
    let (_, events) = events.split_last().unwrap();
    let Beginning {
        by,
        split,
        point,
        has_config,
        ..
    } = beginning;
    let config = if *has_config { " with config" } else { "" };
    format!("{by:?} {split:?} {point:?}{config} {events:?}")
}
