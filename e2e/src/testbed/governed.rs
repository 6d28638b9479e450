//! What the workload, the Service and the route of a shop have been while Flux looks after all three: what
//! Tidegate writes in an attempt stays until Tidegate takes it off.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{ResourceExt as _, api::DynamicObject};
use serde_json::{Value, json};
use tidegate_api::names;

use super::{CANARY, History, IGNORE, SSA, Testbed, backends, is_paused};

/// Longer than a reconcile of Flux takes, and shorter than its interval. One that had read the object before it was
/// told to pass it by may still undo the first write of an attempt.
const RECONCILE: Duration = Duration::from_secs(2);

/// Everything that the three have been.
#[derive(Debug)]
pub struct Governed {
    workload: History<Deployment>,
    service: History<Service>,
    route: History<DynamicObject>,
}

/// One state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// True where it has what Tidegate writes in an attempt: a pin, or the canary's weight.
    is_written: bool,
    /// True where an attempt has it, whatever it says.
    is_in_attempt: bool,
    /// What it tells Flux.
    ssa: Option<String>,
}

// === impl Testbed ===

impl Testbed {
    /// Begins to watch them.
    pub fn watch_governed(&self) -> Result<Governed> {
        Ok(Governed {
            workload: self.history_of_shops(),
            service: self.history_of_shops(),
            route: self.history_of(&self.route_types())?,
        })
    }
}

// === impl Governed ===

impl Governed {
    /// In each of so many attempts Service and route had their pin and their weights from the first write to the
    /// last, and just as long the annotation by which Flux passes them by; the route has another value of it at
    /// other times. The workload has it whenever its pods may roll.
    pub fn stayed(&self, attempts: usize, route_has: Option<&str>) -> Result<()> {
        stayed("Service", &read(&self.service, pin), attempts, None)?;
        stayed("route", &read(&self.route, weights), attempts, route_has)?;
        for (at, workload) in self.workload.states().iter() {
            let ssa = workload.annotations().get(SSA).map(String::as_str);
            ensure!(
                is_paused(workload) || ssa == Some(IGNORE),
                "at {at} the Deployment was free to roll, and told Flux {ssa:?}"
            );
        }
        Ok(())
    }
}

fn read<K>(history: &History<K>, state: fn(&K) -> State) -> Vec<(Timestamp, State)> {
    let states = history.states();
    let states = states.iter().map(|(at, object)| (*at, state(object)));
    states.collect()
}

fn stayed(
    what: &str,
    states: &[(Timestamp, State)],
    attempts: usize,
    at_rest: Option<&str>,
) -> Result<()> {
    for (at, state) in states {
        let ssa = state.ssa.as_deref();
        ensure!(
            !state.is_written || ssa == Some(IGNORE),
            "at {at} the {what} had what an attempt writes, and told Flux {ssa:?}"
        );
        ensure!(
            state.is_in_attempt || ssa == at_rest,
            "at {at} the {what} told Flux {ssa:?} in no attempt"
        );
    }
    let begun = begun(states);
    ensure!(
        begun.len() == attempts,
        "in {attempts} attempts the {what} got what they write at {begun:?}"
    );
    let last = states.last().map(|(_, state)| state.is_in_attempt);
    ensure!(last == Some(false), "the {what} is left in an attempt");
    Ok(())
}

/// Times at which an object got what an attempt writes, without those at which it only got it back from a reconcile
/// that had been under way.
fn begun(states: &[(Timestamp, State)]) -> Vec<Timestamp> {
    let mut begun: Vec<Timestamp> = Vec::new();
    for pair in states.windows(2) {
        let ((_, before), (at, after)) = (&pair[0], &pair[1]);
        let is_again = begun.last().is_some_and(|last| *at < *last + RECONCILE);
        if !before.is_written && after.is_written && !is_again {
            begun.push(*at);
        }
    }
    begun
}

fn pin(service: &Service) -> State {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let mut keys = selector.into_iter().flatten().map(|(key, _)| key.as_str());
    State {
        is_written: keys.any(|key| key != "app"),
        is_in_attempt: service.annotations().contains_key(names::EPOCH_ANNOTATION),
        ssa: service.annotations().get(SSA).cloned(),
    }
}

fn weights(route: &DynamicObject) -> State {
    let written = json!({ "spec": route.data["spec"] });
    let mut backends = backends(&written).into_iter().flatten();
    State {
        is_written: backends.any(|backend: &Value| backend["name"] == CANARY),
        is_in_attempt: route.annotations().contains_key(names::EPOCH_ANNOTATION),
        ssa: route.annotations().get(SSA).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(second: u64, is_written: bool, ssa: Option<&str>) -> (Timestamp, State) {
        let state = State {
            is_written,
            is_in_attempt: ssa.is_some(),
            ssa: ssa.map(str::to_owned),
        };
        (Timestamp::UNIX_EPOCH + Duration::from_secs(second), state)
    }

    fn rest(second: u64) -> (Timestamp, State) {
        state(second, false, None)
    }

    fn pinned(second: u64) -> (Timestamp, State) {
        state(second, true, Some(IGNORE))
    }

    fn undone(second: u64) -> (Timestamp, State) {
        state(second, false, Some(IGNORE))
    }

    #[test]
    fn a_pin_that_comes_once_has_stayed() {
        let states = [rest(0), pinned(1), pinned(9), rest(10)];
        stayed("Service", &states, 1, None).expect("it stayed");
    }

    #[test]
    fn a_reconcile_that_was_under_way_may_undo_the_first_write() {
        let states = [rest(0), pinned(1), undone(2), pinned(2), rest(10)];
        stayed("Service", &states, 1, None).expect("it stayed");
    }

    #[test]
    fn a_pin_that_comes_again_was_undone() {
        let states = [rest(0), pinned(1), undone(3), pinned(4), rest(10)];
        let error = stayed("Service", &states, 1, None).expect_err("it did not stay");
        let told = "in 1 attempts the Service got what they write at [1970-01-01T00:00:01Z, 1970-01-01T00:00:04Z]";
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn a_pin_that_flux_may_undo_is_told() {
        let states = [rest(0), state(1, true, None), rest(2)];
        let error = stayed("Service", &states, 1, None).expect_err("it may be undone");
        assert!(error.to_string().contains("told Flux None"));
    }
}
