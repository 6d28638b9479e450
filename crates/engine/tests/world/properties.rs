//! Random but lawful worlds: whatever happens, in whatever order, the invariants hold after every
//! write, and the world comes to rest once the faults are gone.
//!
//! A failure prints its story, its seed and the smallest list of events that makes it happen. For
//! another seed: `TIDEGATE_SEED=7 TIDEGATE_WORLDS=5000 cargo test -p tidegate-engine properties`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use jiff::SignedDuration;
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use tidegate_api::{intervention::Action as Ask, status::Stage};

use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    rollout::{a_rollout, template},
    shell::{Fault, Group},
    world::World,
};

/// Number of worlds that are tried.
const WORLDS: u32 = 200;

/// Number of times that a stage met a kind of event.
type Met = BTreeMap<(String, &'static str), u32>;

/// Time of an event.
#[derive(Clone, Copy, Debug)]
enum When {
    After(i64),
    At(Stage),
}

#[derive(Clone, Debug)]
enum Event {
    Commit(u8, Quality),
    Again,
    Unready {
        canary: bool,
        pods: usize,
        seconds: i64,
    },
    LostVersion,
    NoRoom(i64),
    Route(Option<u32>),
    SetEnv,
    Readings(PrometheusBehavior, i64),
    Fault(u32, Fault),
    Lag(Group, i64),
    Ask(Ask),
    Delete {
        foreground: bool,
    },
    NewLeader,
    Spec(Spec),
    Scale(u32),
    Sync,
    Git {
        down: bool,
    },
}

/// Spec, as a user may write it.
#[derive(Clone, Copy, Debug)]
enum Spec {
    Invalid,
    OtherSteps,
}

/// Beginning of a world.
#[derive(Clone, Copy, Debug)]
enum Beginning {
    Adopted,
    AdoptedDifferent,
    FirstDeploy(Quality),
    Approval,
    UpdatingStable(Quality),
    /// The canary has traffic and no room for the pods of its next step.
    Growing,
    Promoting,
    RollingBack,
}

#[test]
fn the_invariants_hold_in_random_worlds() {
    let seed = number("TIDEGATE_SEED").unwrap_or(1);
    let cases = number("TIDEGATE_WORLDS").map_or(WORLDS, |worlds| u32::try_from(worlds).unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 3000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let met = RefCell::new(every_stage_meets_every_event());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = runner.run(
        &(beginning(), vec((when(), event()), 1..9)),
        |(beginning, events)| {
            let lived =
                catch_unwind(AssertUnwindSafe(|| live(beginning, &events))).map_err(|panic| {
                    let story = panic.downcast_ref::<String>().cloned();
                    TestCaseError::fail(story.unwrap_or_else(|| "a panic without words".to_owned()))
                })?;
            let mut met = met.borrow_mut();
            lived
                .met
                .iter()
                .for_each(|(cell, times)| *met.entry(cell.clone()).or_default() += times);
            Ok(())
        },
    );
    std::panic::set_hook(hook);
    if let Err(TestError::Fail(story, (beginning, events))) = result {
        panic!("seed {seed}: {story}\nbeginning: {beginning:?}\nevents: {events:#?}");
    }
    let met = met.into_inner();
    println!("{}", table(&met));
    covers(&met);
}

/// One world for each stage and event: what chance may leave out.
fn every_stage_meets_every_event() -> Met {
    let mut met = Met::new();
    for (stage, event) in STAGES
        .into_iter()
        .flat_map(|stage| each_event().into_iter().map(move |event| (stage, event)))
    {
        let beginning = match stage {
            Stage::Initial => Beginning::FirstDeploy(Quality::Good),
            Stage::Pinning | Stage::Starting | Stage::Stepping => {
                Beginning::UpdatingStable(Quality::Good)
            }
            Stage::RollingBack => Beginning::RollingBack,
            Stage::PinningToCanary
            | Stage::UpdatingStable
            | Stage::PinningToStable
            | Stage::ShiftingToStable
            | Stage::Draining
            | Stage::RemovingCanary
            | Stage::Unpinning => Beginning::Promoting,
        };
        let lived = live(beginning, &[(When::At(stage), event)]);
        lived
            .met
            .iter()
            .for_each(|(cell, times)| *met.entry(cell.clone()).or_default() += times);
    }
    for event in each_event() {
        let later = (When::After(60_000), Event::Sync);
        live(Beginning::Growing, &[(When::After(60_000), event), later]);
    }
    met
}

/// One event of each kind.
fn each_event() -> Vec<Event> {
    let asks = Ask::ALL.map(Event::Ask);
    let faults = [
        Fault::Refused,
        Fault::Swallowed,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ];
    let faults = (0..3).flat_map(|after| faults.map(|fault| Event::Fault(after, fault)));
    let others = vec![
        Event::Commit(2, Quality::Good),
        Event::Again,
        Event::Unready {
            canary: true,
            pods: 3,
            seconds: 20,
        },
        Event::Unready {
            canary: false,
            pods: 3,
            seconds: 20,
        },
        Event::LostVersion,
        Event::NoRoom(120),
        Event::Route(Some(70)),
        Event::SetEnv,
        Event::Readings(PrometheusBehavior::Breach, 60),
        Event::Readings(PrometheusBehavior::Down, 900),
        Event::Delete { foreground: false },
        Event::Delete { foreground: true },
        Event::NewLeader,
        Event::Spec(Spec::Invalid),
        Event::Scale(5),
        Event::Scale(1),
        Event::Scale(0),
    ];
    asks.into_iter().chain(faults).chain(others).collect()
}

fn live(beginning: Beginning, events: &[(When, Event)]) -> World {
    let mut world = begin(beginning);
    for (when, event) in events {
        match when {
            When::After(millis) => world.run_for(SignedDuration::from_millis(*millis)),
            When::At(stage) => {
                world.run_until(SignedDuration::from_mins(10), |world| {
                    world.stage() == Some(*stage)
                });
            }
        }
        world = apply(world, event);
    }
    // Faults are gone from here on.
    world.git.down = false;
    world.shell.fault = None;
    world.metrics.until = Some(world.now);
    world.version += 1;
    world.until_rest()
}

fn begin(beginning: Beginning) -> World {
    match beginning {
        Beginning::Adopted => a_rollout().at_rest(),
        Beginning::AdoptedDifferent => a_rollout().begins().with_commit('B', Quality::Good),
        Beginning::FirstDeploy(quality) => a_rollout()
            .without_a_workload()
            .begins()
            .with_commit('A', quality),
        Beginning::Approval => a_rollout().with_approval_at(3).releasing(Quality::Good),
        Beginning::UpdatingStable(quality) => a_rollout().releasing(quality),
        Beginning::Growing => a_rollout()
            .releasing(Quality::Good)
            .at_weight(20)
            .with_no_room(900)
            .when("the step of 50 %", |world| world.current_step() == Some(3)),
        Beginning::Promoting => {
            let world = a_rollout()
                .releasing(Quality::Good)
                .at_stage(Stage::Starting);
            world
                .with_ask(Ask::Promote)
                .at_stage(Stage::PinningToCanary)
        }
        Beginning::RollingBack => {
            let world = a_rollout()
                .releasing(Quality::Good)
                .at_stage(Stage::Stepping);
            world.with_ask(Ask::Abort).at_stage(Stage::RollingBack)
        }
    }
}

fn apply(world: World, event: &Event) -> World {
    match event {
        Event::Commit(letter, quality) => {
            let letter = char::from(b'A' + letter);
            // A letter stands for one content, and A for what runs in the beginning.
            let known = world
                .live
                .commits
                .iter()
                .find(|commit| commit.template.letter == letter);
            let first = if letter == 'A' {
                Quality::Good
            } else {
                *quality
            };
            let quality = known.map_or(first, |commit| commit.template.quality);
            world.with_commit(letter, quality)
        }
        Event::Again => again(world),
        Event::Unready {
            canary,
            pods,
            seconds,
        } => world.with_unready(*canary, *pods, *seconds),
        Event::LostVersion => world.with_lost_version(),
        Event::NoRoom(seconds) => world.with_no_room(*seconds),
        Event::Route(percent) => world.with_foreign_route(*percent),
        Event::SetEnv => world.with_foreign_template(),
        Event::Readings(behavior, seconds) => world.with_readings(*behavior, *seconds),
        Event::Fault(after, fault) => {
            let mut world = world.with_fault(*after, *fault);
            world.happens(
                fault_word(*fault),
                &format!("{fault:?} at write {after} from here"),
            );
            world
        }
        Event::Lag(group, millis) => world.with_lag(*group, *millis),
        Event::Ask(ask) => world.with_ask(*ask),
        Event::Delete { foreground } => world.with_deletion(*foreground),
        Event::NewLeader => world.with_new_leader(),
        Event::Spec(spec) => edit_spec(world, *spec),
        Event::Scale(replicas) => world.with_scale(*replicas),
        Event::Sync => {
            let mut world = world;
            world.sync();
            world
        }
        Event::Git { down } => {
            let mut world = world;
            world.git.down = *down;
            world.happens("git", if *down { "git is down" } else { "git is up" });
            world
        }
    }
}

/// Commits the head's revision again, after a revert if need be.
fn again(mut world: World) -> World {
    if let Some(head) = world.live.commits.last().cloned() {
        world.commit(
            &head.revision,
            template(head.template.letter, head.template.quality),
            "again",
        );
    }
    world
}

fn edit_spec(mut world: World, spec: Spec) -> World {
    if let Some(rollout) = &mut world.rollout {
        rollout.spec = match spec {
            Spec::Invalid => a_rollout().with("steps", serde_json::json!([])).spec(),
            Spec::OtherSteps => a_rollout()
                .with("steps", serde_json::json!([{"weight": 7, "hold": "20s"}]))
                .spec(),
        };
        world.happens("spec", &format!("the spec is edited: {spec:?}"));
    }
    world
}

fn beginning() -> impl Strategy<Value = Beginning> {
    prop_oneof![
        1 => Just(Beginning::Adopted),
        1 => Just(Beginning::AdoptedDifferent),
        1 => quality().prop_map(Beginning::FirstDeploy),
        1 => Just(Beginning::Approval),
        4 => quality().prop_map(Beginning::UpdatingStable),
        3 => Just(Beginning::Growing),
        4 => Just(Beginning::Promoting),
        2 => Just(Beginning::RollingBack),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..5_u8, quality()).prop_map(|(letter, quality)| Event::Commit(letter, quality)),
        1 => Just(Event::Again),
        3 => (any::<bool>(), 1..4_usize, 1..90_i64)
            .prop_map(|(canary, pods, seconds)| Event::Unready { canary, pods, seconds }),
        1 => Just(Event::LostVersion),
        2 => (10..900_i64).prop_map(Event::NoRoom),
        2 => proptest::option::of(0..=100_u32).prop_map(Event::Route),
        2 => Just(Event::SetEnv),
        3 => (behavior(), 1..2000_i64).prop_map(|(behavior, seconds)| Event::Readings(behavior, seconds)),
        6 => (0..12_u32, fault()).prop_map(|(after, fault)| Event::Fault(after, fault)),
        3 => (group(), 50..1500_i64).prop_map(|(group, millis)| Event::Lag(group, millis)),
        4 => ask().prop_map(Event::Ask),
        1 => any::<bool>().prop_map(|foreground| Event::Delete { foreground }),
        2 => Just(Event::NewLeader),
        1 => prop_oneof![Just(Spec::Invalid), Just(Spec::OtherSteps)].prop_map(Event::Spec),
        1 => (0..5_u32).prop_map(Event::Scale),
        1 => Just(Event::Sync),
        1 => any::<bool>().prop_map(|down| Event::Git { down }),
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![1 => Just(When::After(0)), 2 => millis().prop_map(When::After), 4 => stage().prop_map(When::At)]
}

fn millis() -> impl Strategy<Value = i64> {
    prop_oneof![
        Just(0),
        1..400_i64,
        400..3_000_i64,
        3_000..60_000_i64,
        60_000..400_000_i64
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    proptest::sample::select(STAGES.to_vec())
}

fn quality() -> impl Strategy<Value = Quality> {
    prop_oneof![
        4 => Just(Quality::Good),
        1 => Just(Quality::Erroring),
        1 => Just(Quality::Slow),
        1 => Just(Quality::Broken),
    ]
}

fn behavior() -> impl Strategy<Value = PrometheusBehavior> {
    proptest::sample::select(vec![
        PrometheusBehavior::Down,
        PrometheusBehavior::Empty,
        PrometheusBehavior::Breach,
        PrometheusBehavior::Slow,
    ])
}

fn fault() -> impl Strategy<Value = Fault> {
    proptest::sample::select(vec![
        Fault::Refused,
        Fault::Swallowed,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ])
}

fn group() -> impl Strategy<Value = Group> {
    let all = vec![
        Group::Workloads,
        Group::Services,
        Group::Routes,
        Group::Endpoints,
        Group::Revisions,
    ];
    proptest::sample::select(all)
}

fn ask() -> impl Strategy<Value = Ask> {
    // A promotion twice as often as the others: it changes the most.
    let all = Ask::ALL.into_iter().chain([Ask::Promote]);
    proptest::sample::select(all.collect::<Vec<_>>())
}

/// Every stage that an attempt can be in.
pub(crate) const STAGES: [Stage; 12] = [
    Stage::Initial,
    Stage::Pinning,
    Stage::Starting,
    Stage::Stepping,
    Stage::PinningToCanary,
    Stage::UpdatingStable,
    Stage::PinningToStable,
    Stage::ShiftingToStable,
    Stage::RollingBack,
    Stage::Draining,
    Stage::RemovingCanary,
    Stage::Unpinning,
];

fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::Refused | Fault::Swallowed => "failed write",
        Fault::CrashBefore | Fault::CrashAfter => "crash",
    }
}

/// Returns the number of times that a stage met an event.
fn table(met: &Met) -> String {
    let events: BTreeSet<_> = met.keys().map(|(_, event)| *event).collect();
    let names = STAGES.iter().map(|stage| format!("{stage:?}"));
    let names: Vec<_> = ["(at rest)".to_owned()].into_iter().chain(names).collect();
    let mut text = format!("{:<16}", "");
    for name in &names {
        _ = write!(text, "{:>9}", &name[..name.len().min(8)]);
    }
    for event in events {
        _ = write!(text, "\n{event:<16}");
        for name in &names {
            let cell = met
                .iter()
                .find(|((stage, kind), _)| stage == name && *kind == event);
            _ = write!(text, "{:>9}", cell.map_or(0, |(_, times)| *times));
        }
    }
    text + "\n"
}

/// The meetings that a test run must not miss.
fn covers(met: &Met) {
    let events = [
        "commit",
        "again",
        "crash",
        "failed write",
        "abort",
        "promote",
        "pause",
        "retry",
        "set env",
    ];
    let more = [
        "new leader",
        "stable unready",
        "delete",
        "readings",
        "scale",
        "spec",
    ];
    for (stage, event) in STAGES
        .iter()
        .flat_map(|stage| events.iter().chain(&more).map(move |event| (stage, event)))
    {
        let cell = met
            .iter()
            .find(|((at, kind), _)| *at == format!("{stage:?}") && kind == event);
        assert!(
            cell.is_some(),
            "no world showed {stage:?} meeting {event}\n{}",
            table(met)
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "which worlds are tried is for the caller to say"
)]
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
