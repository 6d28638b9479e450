//! Events of a history, and its beginnings.

use super::coverage::STAGES;
use crate::{
    cluster::Service,
    deployment::Quality,
    histories::gates::{self, Gates},
    metrics::PrometheusBehavior,
    rollout::{
        SYNC_INTERVAL, a_rollout, a_rollout_by_replicas, a_rollout_without_service, template,
    },
    shell::{Fault, Group},
    world::{World, Written},
};
use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::Index,
};
use tidegate_api::{intervention::Action as Ask, rollout::Mode, status::Stage};

/// A history: its beginning, and its events with their times.
pub(super) type Plot = (Beginning, Vec<(When, Event)>);

/// Time of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum When {
    After(i64),
    At(Stage),
}

#[derive(Clone, Debug)]
pub(super) enum Event {
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
    Restart,
    /// The canary of a next attempt would be denied, or no longer.
    Admission {
        denied: bool,
    },
    WriteBack(Written, u32),
    Denial(Group, i64),
    Autoscaler,
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
    Gateway {
        gone: bool,
    },
    /// The `ConfigRepo` vanishes, or comes back.
    Repo {
        gone: bool,
    },
    LostRevisions,
    /// Another Service of the workload's pods comes.
    NewService,
    /// A Service selects the pods of another workload, too, or no longer.
    Span {
        others: bool,
    },
    /// Whoever else is in the route writes its own part.
    SharedRoute,
    /// The finalizer is removed by force.
    Finalizer,
    /// The Rollout is deleted without its finalizer, and created again.
    Replace,
    /// The Rollout is suspended, or no longer.
    Suspend(bool),
    /// The Rollout only observes, or enforces again.
    Mode(Mode),
}

/// Spec, as a user may write it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spec {
    Invalid,
    OtherSteps,
    /// A pod of a canary that fails from then on is retained for half an hour.
    KeepFailed,
}

/// Beginning of a history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beginning {
    pub(super) by: By,
    pub(super) split: Split,
    pub(super) gates: Gates,
    pub(super) point: Point,
    /// True if each template comes with config of its own.
    pub(super) has_config: bool,
}

/// Who applies the workload.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// A `ConfigRepo`.
    Sync,
    /// People: a pause is the brake.
    Pause,
    /// An applier that writes its own state again and again, and can be told to pass an object by.
    Flux,
}

/// What splits traffic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Split {
    Route,
    Replicas,
    /// Nothing: nobody calls the workload.
    Pods,
}

/// Point at which a history begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    Adopted,
    AdoptedDifferent,
    FirstDeploy(Quality),
    Approval,
    Releasing(Quality),
    /// The canary has traffic and no room for the pods of its next step.
    Growing,
    Promoting,
    RollingBack,
}

// === impl Point ===

impl Point {
    pub(super) fn with(self, by: By, split: Split) -> Beginning {
        Beginning {
            by,
            split,
            gates: Gates::Limits,
            point: self,
            has_config: false,
        }
    }
}

pub(super) fn begin(beginning: Beginning, is_told: bool) -> World {
    let (draft, second) = match beginning.split {
        Split::Route => (a_rollout(), 20),
        Split::Replicas => (a_rollout_by_replicas(), 40),
        Split::Pods => (a_rollout_without_service(), 40),
    };
    // Without callers no canary is waited for before its first step, and nothing is pinned to it.
    let (first, promoting) = match beginning.split {
        Split::Route | Split::Replicas => (Stage::Starting, Stage::PinningToCanary),
        Split::Pods => (Stage::Stepping, Stage::UpdatingStable),
    };
    let draft = match beginning.by {
        By::Sync if beginning.has_config => draft.with_config(),
        By::Sync => draft,
        By::Pause => draft.applied_by_people(),
        By::Flux => draft.applied_by_flux(),
    };
    let draft = beginning.gates.of(draft).told(is_told);
    match beginning.point {
        Point::Adopted => draft.at_rest(),
        Point::AdoptedDifferent => draft.begins().with_commit('B', Quality::Good),
        Point::FirstDeploy(quality) => draft
            .without_a_workload()
            .begins()
            .with_commit('A', quality),
        Point::Approval => draft.with_approval_at(3).releasing(Quality::Good),
        Point::Releasing(quality) => draft.releasing(quality),
        Point::Growing => draft
            .releasing(Quality::Good)
            .at_weight(second)
            .with_no_room(900)
            .when("the step of 50 %", |world| world.current_step() == Some(3)),
        Point::Promoting => {
            let world = draft.releasing(Quality::Good).at_stage(first);
            world.with_ask(Ask::Promote).at_stage(promoting)
        }
        Point::RollingBack => {
            let world = draft.releasing(Quality::Good).at_stage(Stage::Stepping);
            world.with_ask(Ask::Abort).at_stage(Stage::RollingBack)
        }
    }
}

pub(super) fn apply(world: World, event: &Event) -> World {
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
        Event::Restart => world.with_restart(),
        Event::Admission { denied } => {
            let mut world = world;
            let (why, what) = if *denied {
                (Some("exceeded quota".to_owned()), "canaries are denied")
            } else {
                (None, "canaries are admitted")
            };
            world.denies_canary = why;
            world.happens("admission", what);
            world
        }
        Event::WriteBack(writes, times) => world.with_rival(*writes, *times),
        Event::Denial(group, seconds) => world.with_denial(*group, *seconds),
        Event::Autoscaler => world.with_autoscaler(),
        Event::Readings(behavior, seconds) => world.with_readings(*behavior, *seconds),
        Event::Fault(after, fault) => world.with_fault(*after, *fault),
        Event::Lag(group, millis) => {
            let mut world = world.with_lag(*group, *millis);
            world.happens("lag", &format!("{group:?} are seen {millis} ms late"));
            world
        }
        Event::Ask(ask) => world.with_ask(*ask),
        Event::Delete { foreground } => world.with_deletion(*foreground),
        Event::NewLeader => world.with_new_leader(),
        Event::Spec(spec) => edit_spec(world, *spec),
        Event::Scale(replicas) => world.with_scale(*replicas),
        Event::Sync => {
            let mut world = world;
            world.happens("sync", "sync applies");
            world.sync();
            world
        }
        Event::Git { down } => with(world, |world| {
            world.git.down = *down;
            world.happens("git", if *down { "git is down" } else { "git is up" });
        }),
        Event::Gateway { gone } => with(world, |world| set_gateway(world, *gone)),
        Event::Repo { gone: true } => with(world, World::delete_repo),
        Event::Repo { gone: false } => with(world, World::create_repo),
        Event::LostRevisions => with(world, lose_revisions),
        Event::NewService => with(world, add_service),
        Event::Span { others } => with(world, |world| set_span(world, *others)),
        Event::SharedRoute => with(world, |world| {
            let now = world.now;
            world.live.routes[0].write_elsewhere(now);
            world.happens("route shared", "somebody writes another part of the route");
        }),
        Event::Finalizer => with(world, World::remove_finalizer),
        Event::Suspend(suspend) => world.with_suspend(*suspend),
        Event::Mode(mode) => with(world, |world| world.set_mode(*mode)),
        Event::Replace => with(world, |world| {
            if let Some(rollout) = &world.rollout {
                let spec = rollout.spec.clone();
                world.replace(spec);
            }
        }),
    }
}

fn with(mut world: World, change: impl FnOnce(&mut World)) -> World {
    change(&mut world);
    world
}

/// Somebody deletes every `ControllerRevision`; sync brings git's back.
fn lose_revisions(world: &mut World) {
    world.live.kept.clear();
    world.next_sync = Some(world.now + SYNC_INTERVAL);
    world.happens("revisions", "the ControllerRevisions are deleted");
}

fn set_gateway(world: &mut World, gone: bool) {
    world.live.gateway_gone = gone;
    let what = if gone {
        "the gateway is gone"
    } else {
        "the gateway is back"
    };
    world.happens("gateway", what);
}

fn set_span(world: &mut World, others: bool) {
    if let Some(service) = world.live.services.get_mut(1) {
        service.spans = others;
    }
    let what = if others {
        "the Service checkout-internal selects other pods, too"
    } else {
        "the Service checkout-internal selects no other pods"
    };
    world.happens("span", what);
}

fn add_service(world: &mut World) {
    let name = "checkout-new";
    if world
        .live
        .services
        .iter()
        .all(|service| service.name != name)
    {
        world.live.services.push(Service::new(name));
    }
    world.happens("service", "another Service selects the pods");
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
    let draft = || {
        if world.is_without_service() {
            a_rollout_without_service()
        } else {
            a_rollout()
        }
    };
    // So few pods make no lesser share.
    let least = if world.is_without_service() { 30 } else { 7 };
    let (invalid, other_steps, keep_failed) = (draft(), draft(), draft());
    if let Some(rollout) = &mut world.rollout {
        rollout.spec = match spec {
            Spec::Invalid => invalid.with("steps", serde_json::json!([])).spec(),
            Spec::OtherSteps => other_steps
                .with(
                    "steps",
                    serde_json::json!([{"weight": least, "hold": "20s"}]),
                )
                .spec(),
            Spec::KeepFailed => keep_failed
                .with("canary", serde_json::json!({ "keepFailed": "30m" }))
                .spec(),
        };
        world.happens("spec", &format!("the spec is edited: {spec:?}"));
    }
    world
}

/// Returns histories as chance would have them.
pub(super) fn plots() -> impl Strategy<Value = Plot> {
    let plots = (
        beginning(),
        vec((when(), event()), 1..9),
        is_uncalled(),
        gates::any(),
        proptest::bool::weighted(0.25),
        modes(),
    );
    plots.prop_map(
        |(beginning, mut events, is_uncalled, gates, has_config, modes)| {
            for (place, when, mode) in modes {
                events.insert(place.index(events.len() + 1), (when, Event::Mode(mode)));
            }
            let split = if is_uncalled {
                Split::Pods
            } else {
                beginning.split
            };
            let beginning = Beginning {
                split,
                gates,
                has_config,
                ..beginning
            };
            (beginning, events)
        },
    )
}

/// Drawn late, as the gates are last, so that a seed has the events that it had before there were these.
fn is_uncalled() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.12)
}

/// Changes of the mode, in a part of the histories, and their places among the events.
fn modes() -> impl Strategy<Value = Vec<(Index, When, Mode)>> {
    let mode = prop_oneof![2 => Just(Mode::Observe), 1 => Just(Mode::Enforce)];
    let some = vec((any::<Index>(), when(), mode), 1..4);
    prop_oneof![6 => Just(Vec::new()), 1 => some]
}

fn beginning() -> impl Strategy<Value = Beginning> {
    (by(), split(), point()).prop_map(|(by, split, point)| point.with(by, split))
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![4 => Just(By::Sync), 1 => Just(By::Pause), 1 => Just(By::Flux)]
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![3 => Just(Split::Route), 1 => Just(Split::Replicas)]
}

fn point() -> impl Strategy<Value = Point> {
    prop_oneof![
        1 => Just(Point::Adopted),
        1 => Just(Point::AdoptedDifferent),
        1 => quality().prop_map(Point::FirstDeploy),
        1 => Just(Point::Approval),
        4 => quality().prop_map(Point::Releasing),
        3 => Just(Point::Growing),
        4 => Just(Point::Promoting),
        2 => Just(Point::RollingBack),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..5_u8, quality()).prop_map(|(letter, quality)| Event::Commit(letter, quality)),
        1 => Just(Event::Again),
        3 => (any::<bool>(), 1..4_usize, 1..90_i64)
            .prop_map(|(canary, pods, seconds)| Event::Unready { canary, pods, seconds }),
        1 => Just(Event::LostVersion),
        2 => prop_oneof![3 => 10..900_i64, 1 => 900..9_000_i64].prop_map(Event::NoRoom),
        2 => proptest::option::of(0..=100_u32).prop_map(Event::Route),
        2 => Just(Event::SetEnv),
        2 => Just(Event::Restart),
        1 => any::<bool>().prop_map(|denied| Event::Admission { denied }),
        1 => (written(), 2..6_u32).prop_map(|(writes, times)| Event::WriteBack(writes, times)),
        1 => (group(), 5..1200_i64).prop_map(|(group, seconds)| Event::Denial(group, seconds)),
        1 => Just(Event::Autoscaler),
        3 => (behavior(), 1..2000_i64).prop_map(|(behavior, seconds)| Event::Readings(behavior, seconds)),
        6 => (0..12_u32, fault()).prop_map(|(after, fault)| Event::Fault(after, fault)),
        3 => (group(), 50..1500_i64).prop_map(|(group, millis)| Event::Lag(group, millis)),
        4 => ask().prop_map(Event::Ask),
        1 => any::<bool>().prop_map(|foreground| Event::Delete { foreground }),
        2 => Just(Event::NewLeader),
        1 => prop_oneof![Just(Spec::Invalid), Just(Spec::OtherSteps), Just(Spec::KeepFailed)]
            .prop_map(Event::Spec),
        1 => (0..5_u32).prop_map(Event::Scale),
        1 => Just(Event::Sync),
        1 => any::<bool>().prop_map(|down| Event::Git { down }),
        1 => any::<bool>().prop_map(|gone| Event::Gateway { gone }),
        1 => any::<bool>().prop_map(|gone| Event::Repo { gone }),
        1 => Just(Event::LostRevisions),
        1 => Just(Event::NewService),
        1 => proptest::bool::weighted(0.7).prop_map(|others| Event::Span { others }),
        2 => Just(Event::SharedRoute),
        1 => Just(Event::Finalizer),
        1 => Just(Event::Replace),
        3 => proptest::bool::weighted(0.7).prop_map(Event::Suspend),
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![1 => Just(When::After(0)), 2 => millis().prop_map(When::After), 4 => stage().prop_map(When::At)]
}

fn millis() -> impl Strategy<Value = i64> {
    prop_oneof![
        10 => Just(0),
        10 => 1..400_i64,
        10 => 400..3_000_i64,
        10 => 3_000..60_000_i64,
        10 => 60_000..400_000_i64,
        // Hours, which take as long as many other histories.
        1 => 400_000..10_000_000_i64,
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

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        Just(Written::Template),
        (0..=100_u32).prop_map(Written::Route)
    ]
}

fn behavior() -> impl Strategy<Value = PrometheusBehavior> {
    proptest::sample::select(vec![
        PrometheusBehavior::Down,
        PrometheusBehavior::Empty,
        PrometheusBehavior::Silent,
        PrometheusBehavior::Breach,
        PrometheusBehavior::Slow,
        PrometheusBehavior::Sparse,
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
