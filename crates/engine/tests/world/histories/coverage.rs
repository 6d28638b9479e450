//! Meetings of stages and events: none is left to chance, and those that cannot be are listed.

use std::{collections::BTreeMap, fmt::Write as _};

use tidegate_api::{intervention::Action as Ask, rollout::Mode, status::Stage};

use super::events::{Beginning, By, Event, Plot, Point, Spec, Split, When};
use crate::{
    deployment::Quality,
    metrics::PrometheusBehavior,
    shell::{Fault, Group},
    world::Written,
};

/// Number of times that a stage met a kind of event.
pub(super) type Met = BTreeMap<(String, &'static str), u32>;

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

/// Name of the stage in which no attempt runs.
pub(crate) const AT_REST: &str = "(at rest)";

/// Every kind of event.
const KINDS: [&str; 39] = [
    "commit",
    "again",
    "canary unready",
    "stable unready",
    "version unready",
    "no room",
    "route edited",
    "set env",
    "restart",
    "admission",
    "write back",
    "denial",
    "autoscaler",
    "readings",
    "failed write",
    "crash",
    "lag",
    "abort",
    "approve",
    "pause",
    "promote",
    "resume",
    "retry",
    "delete",
    "new leader",
    "spec",
    "scale",
    "sync",
    "git",
    "gateway",
    "repo",
    "revisions",
    "service",
    "span",
    "route shared",
    "finalizer",
    "force",
    "suspend",
    "mode",
];

const NO_CANARY: &str = "there is no canary";
const NOT_NAMED: &str = "no route names the canary";
const NO_STABLE: &str = "no revision is stable yet";

/// The meetings that cannot be, each with its reason.
const CANNOT_MEET: &[(&str, &str, &str)] = &[
    ("Initial", "canary unready", NO_CANARY),
    ("Pinning", "canary unready", NO_CANARY),
    ("Unpinning", "canary unready", NO_CANARY),
    ("Initial", "version unready", NO_STABLE),
    ("Initial", "route edited", NOT_NAMED),
    ("Pinning", "route edited", NOT_NAMED),
    ("Unpinning", "route edited", NOT_NAMED),
];

/// One history for each stage and event: what chance may leave out.
pub(super) fn every_stage_meets_every_event() -> Vec<Plot> {
    let mut plots = Vec::new();
    let worlds = [
        (By::Sync, Split::Route),
        (By::Sync, Split::Replicas),
        (By::Sync, Split::Pods),
        (By::Pause, Split::Route),
        (By::Flux, Split::Route),
    ];
    for (by, split) in worlds {
        plots.extend(every_stage_with_every_event(by, split));
    }
    let with_config = every_stage_with_every_event(By::Sync, Split::Route).into_iter();
    plots.extend(with_config.map(|(beginning, events)| {
        let has_config = true;
        let beginning = Beginning {
            has_config,
            ..beginning
        };
        (beginning, events)
    }));
    plots.extend(where_names_are_left());
    plots.push(suspended_while_a_service_lags());
    plots
}

fn every_stage_with_every_event(by: By, split: Split) -> Vec<Plot> {
    let mut plots = Vec::new();
    for stage in STAGES {
        let point = match stage {
            Stage::Initial => Point::FirstDeploy(Quality::Good),
            Stage::Pinning | Stage::Starting | Stage::Stepping => Point::Releasing(Quality::Good),
            Stage::RollingBack => Point::RollingBack,
            Stage::PinningToCanary
            | Stage::UpdatingStable
            | Stage::PinningToStable
            | Stage::ShiftingToStable
            | Stage::Draining
            | Stage::RemovingCanary
            | Stage::Unpinning => Point::Promoting,
        };
        let events = each_event().into_iter();
        let beginning = point.with(by, split);
        plots.extend(events.map(|event| (beginning, vec![(When::At(stage), event), later()])));
    }
    for event in each_event() {
        let events = vec![(When::After(60_000), event), later()];
        plots.push((Point::Growing.with(by, split), events));
    }
    plots
}

/// Histories in which a route names a canary that is gone, or about to go.
fn where_names_are_left() -> Vec<Plot> {
    let mut plots = Vec::new();
    // What names the canary is gone before the canary is, unless it cannot be written.
    let denial = Event::Denial(Group::Routes, 60);
    let route = Event::Route(Some(70));
    let events = vec![
        (When::At(Stage::Draining), denial),
        (When::At(Stage::RemovingCanary), route),
        later(),
    ];
    plots.push((Point::Promoting.with(By::Sync, Split::Route), events));
    // A Rollout at rest has a canary and a split route only where another one left them.
    let unready = Event::Unready {
        canary: true,
        pods: 1,
        seconds: 20,
    };
    for event in [unready, Event::Route(Some(70))] {
        let events = vec![
            (When::After(0), Event::Replace),
            (When::After(0), event),
            later(),
        ];
        plots.push((Point::Growing.with(By::Sync, Split::Route), events));
    }
    plots
}

/// A history that chance found once: a suspension in the middle of a pinning that the watch of Services is behind, and a
/// newer template at once.
fn suspended_while_a_service_lags() -> Plot {
    let events = vec![
        (
            When::At(Stage::PinningToCanary),
            Event::Lag(Group::Services, 1_231),
        ),
        (When::At(Stage::PinningToCanary), Event::Suspend(true)),
        (When::After(0), Event::SetEnv),
    ];
    let point = Point::Releasing(Quality::Good);
    (point.with(By::Pause, Split::Route), events)
}

/// A minute later: faults come with a write, and they are gone after the last event.
fn later() -> (When, Event) {
    (When::After(60_000), Event::Sync)
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
    let unready = |canary| Event::Unready {
        canary,
        pods: 3,
        seconds: 20,
    };
    let others = vec![
        Event::Commit(2, Quality::Good),
        Event::Again,
        unready(true),
        unready(false),
        Event::LostVersion,
        Event::NoRoom(120),
        Event::Route(Some(70)),
        Event::SetEnv,
        Event::Restart,
        Event::Admission { denied: true },
        Event::WriteBack(Written::Template, 4),
        Event::WriteBack(Written::Route(40), 4),
        Event::Denial(Group::Workloads, 60),
        Event::Denial(Group::Services, 60),
        Event::Denial(Group::Routes, 60),
        Event::Autoscaler,
        Event::Readings(PrometheusBehavior::Breach, 60),
        Event::Readings(PrometheusBehavior::Down, 900),
        Event::Lag(Group::Routes, 900),
        Event::Delete { foreground: false },
        Event::Delete { foreground: true },
        Event::NewLeader,
        Event::Spec(Spec::Invalid),
        Event::Scale(5),
        Event::Scale(1),
        Event::Scale(0),
        Event::Sync,
        Event::Git { down: true },
        Event::Gateway { gone: true },
        Event::Repo { gone: true },
        Event::LostRevisions,
        Event::NewService,
        Event::Span { others: true },
        Event::SharedRoute,
        Event::Finalizer,
        Event::Replace,
        Event::Suspend(true),
        Event::Mode(Mode::Observe),
    ];
    asks.into_iter().chain(faults).chain(others).collect()
}

/// Adds the meetings of one history to those of all.
pub(super) fn add(all: &mut Met, of_one: &Met) {
    for (cell, times) in of_one {
        *all.entry(cell.clone()).or_default() += times;
    }
}

/// Returns the number of times that each stage met each kind of event.
pub(super) fn table(met: &Met) -> String {
    let names = stage_names();
    let mut text = format!("{:<16}", "");
    for name in &names {
        _ = write!(text, "{:>9}", &name[..name.len().min(8)]);
    }
    for kind in KINDS {
        _ = write!(text, "\n{kind:<16}");
        for name in &names {
            _ = write!(text, "{:>9}", times(met, name, kind));
        }
    }
    text + "\n"
}

/// Returns what is wrong with the meetings: one that never was, or one that was though it is listed as
/// one that cannot be.
pub(super) fn gaps(met: &Met) -> Vec<String> {
    let mut gaps = Vec::new();
    for name in stage_names() {
        for kind in KINDS {
            let mut listed = CANNOT_MEET.iter();
            let listed = listed.find(|(stage, event, _)| *stage == name && *event == kind);
            match (times(met, &name, kind), listed) {
                (0, None) => gaps.push(format!("no history showed {name} meeting {kind}")),
                (1.., Some((_, _, reason))) => gaps.push(format!(
                    "{name} met {kind}, which is listed as impossible: {reason}"
                )),
                (0, Some(_)) | (1.., None) => {}
            }
        }
    }
    gaps
}

fn times(met: &Met, stage: &str, kind: &'static str) -> u32 {
    let times = met.get(&(stage.to_owned(), kind));
    times.copied().unwrap_or_default()
}

fn stage_names() -> Vec<String> {
    let stages = STAGES.iter().map(|stage| format!("{stage:?}"));
    [AT_REST.to_owned()].into_iter().chain(stages).collect()
}
