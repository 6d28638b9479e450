//! Random but lawful histories: whatever happens, in whatever order, the invariants hold after every
//! write, and the world comes to rest once the faults are gone.
//!
//! A failure prints its story, its seed and the smallest list of events that makes it happen.
//! `cargo xtask histories --count 100000` tries many, `--count 1 --seed S` one again.

mod coverage;
mod events;
mod gates;
mod golden;

use std::{
    any::Any,
    collections::BTreeMap,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use jiff::SignedDuration;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tidegate_api::rollout::Mode;

pub(crate) use coverage::{AT_REST, STAGES};

use self::{
    coverage::Met,
    events::{Plot, When},
};
use crate::world::World;

/// Number of histories that are tried where nobody asks for more: unoptimized, each takes long.
const HISTORIES: u64 = 200;

/// The least median of decisions in a history: fewer would show little.
const DECISIONS: u32 = 50;

/// Number of histories from which on every stage is to have met every kind of event: in fewer chance leaves
/// some out.
const ENOUGH_FOR_ALL: u64 = 50_000;

/// Name of the threads that try histories: a panic there is told with its seed, once.
const THREAD: &str = "histories";

/// What the histories that were tried have shown.
#[derive(Debug, Default)]
struct Shown {
    met: Met,
    /// Number of decisions in each.
    decisions: Vec<u32>,
}

/// Histories that several threads try.
struct Trial {
    /// Those that are always tried.
    fixed: Vec<Plot>,
    /// Seeds of the others.
    seeds: Range<u64>,
    /// Index of the next one.
    next: AtomicUsize,
    /// A failure of each invariant.
    failures: Mutex<BTreeMap<String, String>>,
}

#[test]
fn the_invariants_hold_in_random_histories() {
    let first = number("TIDEGATE_SEED").unwrap_or(1);
    let count = number("TIDEGATE_HISTORIES").unwrap_or(HISTORIES);
    let shown = match shown(first, count) {
        Ok(shown) => shown,
        Err(failure) => panic!("{failure}"),
    };
    let mut decisions = shown.decisions;
    decisions.sort_unstable();
    let median = decisions.get(decisions.len() / 2).copied().unwrap_or(0);
    println!("{}", coverage::table(&shown.met));
    println!("{count} histories from seed {first}, with a median of {median} decisions");
    if count >= ENOUGH_FOR_ALL {
        let gaps = coverage::gaps(&shown.met);
        assert!(gaps.is_empty(), "{}", gaps.join("\n"));
    }
    assert!(
        count == 1 || median >= DECISIONS,
        "a median of {median} decisions shows little"
    );
}

/// Tries the histories that are always tried, and then those of the seeds. Of those that fail it tells
/// one for each invariant.
fn shown(first: u64, count: u64) -> Result<Shown, String> {
    tell_failures_once();
    let trial = Trial::new(first, count);
    let mut all = Shown::default();
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores)
            .map(|_| {
                let worker = thread::Builder::new().name(THREAD.to_owned());
                worker.spawn_scoped(scope, || trial.work()).unwrap()
            })
            .collect();
        for worker in workers {
            let shown = worker.join().unwrap();
            coverage::add(&mut all.met, &shown.met);
            all.decisions.extend(shown.decisions);
        }
    });
    let failures = trial.failures.into_inner().unwrap();
    if failures.is_empty() {
        return Ok(all);
    }
    Err(failures.into_values().collect::<Vec<_>>().join("\n\n"))
}

/// Returns the history of a seed, which can be made smaller.
fn tree(seed: u64, plots: &impl Strategy<Value = Plot>) -> impl ValueTree<Value = Plot> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    plots.new_tree(&mut runner).unwrap()
}

/// Returns the first words of a story: the invariant that does not hold.
fn rule(story: &str) -> &str {
    let end = story.find(": ").unwrap_or(story.len());
    &story[..end]
}

/// Tells a failure with the smallest list of events that has it, too: those without which it doesn't
/// come are left.
fn told(which: &str, failure: &str, (beginning, mut events): Plot) -> String {
    let mut index = 0;
    while index < events.len() {
        let mut fewer = events.clone();
        fewer.remove(index);
        match live_safely(&(beginning, fewer.clone()), false) {
            Err(shorter) if rule(&shorter) == rule(failure) => events = fewer,
            Ok(_) | Err(_) => index += 1,
        }
    }
    let plot = (beginning, events);
    let story = live_safely(&plot, true).err();
    let story = story.as_deref().unwrap_or("it holds once it is told");
    format!(
        "{which}: {story}\nbeginning: {beginning:?}\nevents: {:?}",
        plot.1
    )
}

/// Lives a history; a world that fails is a story, in full where it is told.
fn live_safely((beginning, events): &Plot, is_told: bool) -> Result<World, String> {
    let lived = catch_unwind(AssertUnwindSafe(|| live(*beginning, events, is_told)));
    lived.map_err(|panic| in_words(panic.as_ref()))
}

fn in_words(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
    words.unwrap_or("a panic without words").to_owned()
}

fn live(beginning: events::Beginning, events: &[(When, events::Event)], is_told: bool) -> World {
    go_on(events::begin(beginning, is_told), events)
}

/// Goes on from the beginning of a history to its end.
fn go_on(mut world: World, events: &[(When, events::Event)]) -> World {
    for (when, event) in events {
        match when {
            When::After(millis) => world.run_for(SignedDuration::from_millis(*millis)),
            When::At(stage) => {
                world.run_until(SignedDuration::from_mins(10), |world| {
                    world.stage() == Some(*stage)
                });
            }
        }
        world = events::apply(world, event);
    }
    // Faults are gone from here on.
    if let Some(rollout) = &mut world.rollout {
        rollout.spec.suspend = false;
        if rollout.spec.mode == Mode::Observe {
            world.set_mode(Mode::Enforce);
        }
    }
    world.git.down = false;
    world.shell.fault = None;
    world.shell.denied = None;
    world.rival = None;
    world.denies_canary = None;
    for service in &mut world.live.services {
        service.spans = false;
    }
    if world.is_without_service() {
        world.live.services.clear();
    }
    world.create_repo();
    world.live.gateway_gone = false;
    world.metrics.until = Some(world.now);
    world.version += 1;
    world.until_rest()
}

// === impl Trial ===

impl Trial {
    fn new(first: u64, count: u64) -> Self {
        Self {
            fixed: coverage::every_stage_meets_every_event(),
            seeds: first..first + count,
            next: AtomicUsize::new(0),
            failures: Mutex::default(),
        }
    }

    /// Tries one after the other, until none is left.
    fn work(&self) -> Shown {
        let mut shown = Shown::default();
        let plots = events::plots();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if let Some(plot) = self.fixed.get(index) {
                if let Some(world) = self.lived("always tried", plot) {
                    coverage::add(&mut shown.met, &world.met);
                }
                continue;
            }
            let Some(seed) = self.seeds.clone().nth(index - self.fixed.len()) else {
                return shown;
            };
            let plot = tree(seed, &plots).current();
            if let Some(world) = self.lived(&format!("seed {seed}"), &plot) {
                coverage::add(&mut shown.met, &world.met);
                shown.decisions.push(world.decisions);
            }
        }
    }

    /// Lives a history; one that fails is told, unless one of the same invariant is.
    fn lived(&self, which: &str, plot: &Plot) -> Option<World> {
        match live_safely(plot, false) {
            Ok(world) => Some(world),
            Err(story) => {
                let mut failures = self.failures.lock().unwrap();
                failures
                    .entry(rule(&story).to_owned())
                    .or_insert_with(|| told(which, &story, plot.clone()));
                None
            }
        }
    }
}

/// Panics of histories are told by the test, with their seeds.
fn tell_failures_once() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if thread::current().name() != Some(THREAD) {
            others(panic);
        }
    }));
}

fn number(variable: &str) -> Option<u64> {
    text(variable)?.parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which histories are tried, or told, is for the caller to say"
)]
fn text(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}
