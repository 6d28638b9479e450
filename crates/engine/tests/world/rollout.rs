//! Builders that read aloud: `a_rollout().releasing(Quality::Good).at_weight(20)`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate_api::{
    intervention::Action as Ask,
    rollout::RolloutSpec,
    status::{RolloutStatus, Stage},
};
use tidegate_engine::{observed::Brake, weight::Weight};

use crate::{
    cluster::Cluster,
    deployment::{Deployment, Quality, Template},
    metrics::PrometheusBehavior,
    shell::{Fault, Group},
    world::{Applier, Reader, Rival, World, Written},
};

/// A Rollout that is about to meet its world.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each with its own name"
)]
pub(crate) struct Draft {
    spec: Value,
    runs: bool,
    is_told: bool,
    brake: Brake,
    is_by_flux: bool,
    reader: Option<Reader>,
    has_config: bool,
}

/// The longest that a scenario waits for something.
const PATIENCE: SignedDuration = SignedDuration::from_hours(3);

/// Interval at which sync applies.
pub(crate) const SYNC_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// A Rollout of `checkout`, with steps of 1 %, 20 % and 50 %, and two gates.
pub(crate) fn a_rollout() -> Draft {
    let spec = json!({
        "workload": { "kind": "Deployment", "name": "checkout" },
        "traffic": { "routes": [{ "kind": "HTTPRoute", "name": "checkout" }] },
        "steps": [
            { "weight": 1, "hold": "30s" },
            { "weight": 20, "hold": "1m" },
            { "weight": 50, "hold": "1m" },
        ],
        "gates": [
            { "name": "errors", "threshold": { "query": "errors", "max": 0.05 } },
            { "name": "p99", "breachWindow": { "query": "p99", "max": 0.8, "maxBreaches": 3, "within": "5m" } },
        ],
    });
    Draft {
        spec,
        runs: true,
        is_told: true,
        brake: Brake::Sync,
        is_by_flux: false,
        reader: None,
        has_config: false,
    }
}

/// The same where no route splits traffic, with the shares that three replicas allow.
pub(crate) fn a_rollout_by_replicas() -> Draft {
    let steps = json!([
        { "weight": 25, "hold": "30s" },
        { "weight": 40, "hold": "1m" },
        { "weight": 50, "hold": "1m" },
    ]);
    a_rollout()
        .with("traffic", json!({ "replicas": {} }))
        .with("steps", steps)
}

/// The same where nobody calls the workload: the share is that of its pods, and there is no Service.
pub(crate) fn a_rollout_without_service() -> Draft {
    let steps = json!([
        { "weight": 25, "hold": "30s" },
        { "weight": 40, "hold": "1m" },
        { "weight": 50, "hold": "1m" },
    ]);
    a_rollout()
        .with("traffic", json!({ "replicas": { "service": "None" } }))
        .with("steps", steps)
}

/// The template of this letter.
pub(crate) fn template(letter: char, quality: Quality) -> Template {
    Template {
        letter,
        quality,
        restarted: None,
    }
}

// === impl Draft ===

impl Draft {
    pub(crate) fn with(mut self, field: &str, value: Value) -> Self {
        self.spec[field] = value;
        self
    }

    /// Step `step` waits for an approval; those after it move on by one.
    pub(crate) fn with_approval_at(mut self, step: usize) -> Self {
        let steps = self.spec["steps"].as_array_mut().unwrap();
        steps.insert(step - 1, json!({ "approval": {} }));
        self
    }

    /// Nothing runs yet.
    pub(crate) fn without_a_workload(mut self) -> Self {
        self.runs = false;
        self
    }

    /// Each template comes with config of its own.
    pub(crate) fn with_config(mut self) -> Self {
        self.has_config = true;
        self
    }

    /// No `ConfigRepo` is there: people apply the workload.
    pub(crate) fn applied_by_people(mut self) -> Self {
        self.brake = Brake::Pause;
        self
    }

    /// No `ConfigRepo` is there: an applier has the workload as its own git says.
    pub(crate) fn applied_by_flux(mut self) -> Self {
        self.is_by_flux = true;
        self.applied_by_people()
    }

    /// A repository is read for the commits of what others apply.
    pub(crate) fn read_by(mut self, reader: Reader) -> Self {
        self.reader = Some(reader);
        self
    }

    /// Nobody will read its story, unless it is told.
    pub(crate) fn told(mut self, is_told: bool) -> Self {
        self.is_told = is_told;
        self
    }

    pub(crate) fn spec(&self) -> RolloutSpec {
        serde_json::from_value(self.spec.clone()).unwrap()
    }

    /// The world with the Rollout in it; a running workload runs template A.
    pub(crate) fn begins(&self) -> World {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut live = Cluster::new(start);
        if self.spec().is_without_service() {
            live.is_uncalled = true;
            live.services.clear();
        }
        live.config = self.has_config.then_some('A');
        if self.runs {
            live.workload = Some(Deployment::new("checkout", template('A', Quality::Good), 3));
            while live.control(start).is_some() {}
        }
        let mut world = World::new(start, self.spec(), live);
        world.brake = self.brake;
        world.reader = self.reader;
        if self.is_by_flux {
            world.applier = Some(Applier {
                wants: template('A', Quality::Good),
                next: None,
            });
        }
        world.story.is_told = self.is_told;
        world.run_for(SignedDuration::from_secs(5));
        world
    }

    /// The world in which git says what runs, and it is adopted.
    pub(crate) fn at_rest(&self) -> World {
        let mut world = self.begins();
        world.commit("rev-A", template('A', Quality::Good), "commit");
        world.run_for(SignedDuration::from_secs(60));
        world
    }

    /// The world in which template B has just been committed.
    pub(crate) fn releasing(&self, quality: Quality) -> World {
        let mut world = self.at_rest();
        world.commit("rev-B", template('B', quality), "commit");
        world
    }
}

// === impl World ===

impl World {
    pub(crate) fn at_weight(self, percent: u32) -> Self {
        let weight = Weight::from_hundredths(percent * 100);
        self.when(&format!("the weight {weight}"), |world| {
            world.share() == weight
                && (world.splits_by_replicas() || world.live.routes[0].accepted)
                && world.samples_a_step()
        })
    }

    /// Returns true if the step's weight is confirmed and its gates are read.
    fn samples_a_step(&self) -> bool {
        let sampling = self.shell.memory.sampling;
        sampling.is_some_and(|sampling| sampling.step.is_some())
    }

    pub(crate) fn at_stage(self, stage: Stage) -> Self {
        self.when(&format!("{stage:?}"), |world| world.stage() == Some(stage))
    }

    pub(crate) fn when(mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Self {
        if !self.run_until(PATIENCE, holds) {
            self.fail(&format!("it never came to {what}"));
        }
        self
    }

    pub(crate) fn after(mut self, seconds: i64) -> Self {
        self.run_for(SignedDuration::from_secs(seconds));
        self
    }

    /// Prometheus behaves like this for a number of seconds.
    pub(crate) fn with_readings(mut self, behavior: PrometheusBehavior, seconds: i64) -> Self {
        self.metrics.behavior = behavior;
        self.metrics.until = Some(self.now + SignedDuration::from_secs(seconds));
        self.happens(
            "readings",
            &format!("the gates read {behavior:?} for {seconds} s"),
        );
        self
    }

    /// The gate is breached.
    pub(crate) fn with_breach(self, gate: &str) -> Self {
        let behavior = if gate == "errors" {
            PrometheusBehavior::Breach
        } else {
            PrometheusBehavior::Slow
        };
        self.with_readings(behavior, 3600)
    }

    /// The gates are read at once.
    pub(crate) fn read_now(mut self) -> Self {
        self.shell.memory.next_sample = Some(self.now);
        self
    }

    pub(crate) fn with_commit(mut self, letter: char, quality: Quality) -> Self {
        self.commit(
            &format!("rev-{letter}"),
            template(letter, quality),
            "commit",
        );
        self
    }

    pub(crate) fn with_ask(mut self, action: Ask) -> Self {
        self.ask(action);
        self
    }

    pub(crate) fn with_suspend(mut self, suspend: bool) -> Self {
        self.suspend(suspend);
        self
    }

    pub(crate) fn with_deletion(mut self, foreground: bool) -> Self {
        self.delete(foreground);
        self
    }

    /// Pods of the canary or of the workload stop being ready, for so long.
    pub(crate) fn with_unready(mut self, canary: bool, pods: usize, seconds: i64) -> Self {
        let (now, until) = (self.now, self.now + SignedDuration::from_secs(seconds));
        let struck = if canary {
            &mut self.live.canary
        } else {
            &mut self.live.workload
        };
        if let Some(deployment) = struck {
            deployment.strike(now, until, pods);
            let what = format!(
                "{pods} pods of {} are unready for {seconds} s",
                deployment.name
            );
            self.happens(
                if canary {
                    "canary unready"
                } else {
                    "stable unready"
                },
                &what,
            );
        }
        self
    }

    /// Somebody deletes what runs stable's version of the workload, as `kubectl delete replicaset` does.
    pub(crate) fn with_lost_version(mut self) -> Self {
        let stable = self.status().stable.clone();
        if let (Some(stable), Some(workload)) = (stable, &mut self.live.workload) {
            workload.lose(&stable.pod_template_hash);
            self.happens("version unready", "stable's ReplicaSet is deleted");
        }
        self
    }

    /// Somebody deletes every `ControllerRevision`, and sync has not looked yet.
    pub(crate) fn with_lost_revisions(mut self) -> Self {
        self.live.kept.clear();
        self.live.commits.clear();
        self.happens("revisions", "the ControllerRevisions are deleted");
        self
    }

    /// Somebody takes the finalizer off and deletes the Rollout, and it is created again.
    pub(crate) fn with_forced_deletion(mut self, draft: &Draft) -> Self {
        self.replace(draft.spec());
        self
    }

    /// The status of the Rollout.
    pub(crate) fn status(&self) -> RolloutStatus {
        let rollout = self.rollout.as_ref();
        rollout
            .map(|rollout| (*rollout.status).clone())
            .unwrap_or_default()
    }

    /// The canary's share in the route, or of the Service's callers.
    pub(crate) fn share(&self) -> Weight {
        if self.is_without_service() {
            return self.work_share();
        }
        if self.splits_by_replicas() {
            return self.shares_seen()[0].canary;
        }
        self.live.routes[0].canary.unwrap_or_default()
    }

    /// New pods find no room, for so long.
    pub(crate) fn with_no_room(mut self, seconds: i64) -> Self {
        self.live.no_room_until = Some(self.now + SignedDuration::from_secs(seconds));
        self.happens("no room", &format!("new pods find no room for {seconds} s"));
        self
    }

    /// An autoscaler scales the workload from now on.
    pub(crate) fn with_autoscaler(mut self) -> Self {
        if let Some(workload) = &mut self.live.workload {
            workload.autoscaled = true;
        }
        self.happens("autoscaler", "an autoscaler scales the Deployment");
        self
    }

    pub(crate) fn with_scale(mut self, replicas: u32) -> Self {
        self.scale(replicas);
        self
    }

    /// Someone writes the workload's template.
    pub(crate) fn with_foreign_template(mut self) -> Self {
        self.write_foreign_template();
        self
    }

    pub(crate) fn write_foreign_template(&mut self) {
        if let Some(workload) = &mut self.live.workload {
            workload.edit(|workload| {
                (workload.template, workload.manager) =
                    (template('X', Quality::Good), "kubectl-set");
            });
            self.next_sync = Some(self.now + SYNC_INTERVAL);
            self.happens("set env", "kubectl set env on the Deployment checkout");
        }
    }

    /// Someone restarts the workload, as `kubectl rollout restart` does.
    pub(crate) fn with_restart(mut self) -> Self {
        // kubectl refuses it where the workload is paused.
        let workload = self.live.workload.as_mut();
        if let Some(workload) = workload.filter(|workload| workload.held.is_none()) {
            workload.edit(|workload| {
                let times = workload.template.restarted.unwrap_or_default();
                workload.template.restarted = Some(times + 1);
                workload.manager = "kubectl-rollout";
            });
            self.next_sync = Some(self.now + SYNC_INTERVAL);
            self.happens(
                "restart",
                "kubectl rollout restart of the Deployment checkout",
            );
        }
        self
    }

    /// Someone writes the route: another share for the canary, or none.
    pub(crate) fn with_foreign_route(mut self, percent: Option<u32>) -> Self {
        self.write_foreign_route(percent);
        self
    }

    pub(crate) fn write_foreign_route(&mut self, percent: Option<u32>) {
        let now = self.now;
        let route = &mut self.live.routes[0];
        if route.canary.is_some() {
            let weight = percent.map(|percent| Weight::from_hundredths(percent * 100));
            let epoch = route.epoch;
            route.write(weight, epoch, "kubectl-edit", now);
            self.happens(
                "route edited",
                &format!("the route is edited: {weight:?} to the canary"),
            );
        }
    }

    /// Another writer writes the same so many times.
    pub(crate) fn with_rival(mut self, writes: Written, left: u32) -> Self {
        self.rival = Some(Rival {
            writes,
            next: self.now,
            left,
        });
        self
    }

    /// The API server denies writes of a group of objects, for so long.
    pub(crate) fn with_denial(mut self, group: Group, seconds: i64) -> Self {
        self.shell.denied = Some((group, self.now + SignedDuration::from_secs(seconds)));
        let what = format!("writes of {group:?} are denied for {seconds} s");
        self.happens("denial", &what);
        self
    }

    pub(crate) fn with_fault(mut self, after: u32, fault: Fault) -> Self {
        self.shell.fault = Some((after, fault));
        self
    }

    pub(crate) fn with_lag(mut self, group: Group, millis: i64) -> Self {
        let until = self.now + SignedDuration::from_millis(millis);
        self.shell.lagging.insert(group, until);
        self
    }

    /// Another replica takes over.
    pub(crate) fn with_new_leader(mut self) -> Self {
        let epoch = self.shell.epoch + 1;
        self.shell.restart(epoch, &self.live);
        self.happens("new leader", "another replica is the leader now");
        self
    }

    /// Tidegate is killed now, and runs again after that many seconds.
    pub(crate) fn with_tidegate_down(mut self, seconds: i64) -> Self {
        self.shell.alive = false;
        self.shell.requeue_at = Some(self.now + SignedDuration::from_secs(seconds));
        self
    }

    pub(crate) fn until_rest(mut self) -> Self {
        self.come_to_rest();
        self
    }

    /// Until the deleted Rollout is gone.
    pub(crate) fn until_gone(self) -> Self {
        self.when("the end of the Rollout", |world| world.rollout.is_none())
    }

    /// Returns the outcomes of all attempts, as git has them.
    pub(crate) fn outcomes(&self) -> String {
        let words = self
            .git
            .outcomes
            .iter()
            .map(|(attempt, outcome)| format!("{attempt} {outcome}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// The letter of the template that the workload has. One that is held may run another.
    pub(crate) fn runs(&self) -> char {
        self.live.workload.as_ref().unwrap().template.letter
    }

    /// Letters of the templates that have pods, each once.
    pub(crate) fn running(&self) -> String {
        let workload = self.live.workload.iter();
        let sets = workload.flat_map(|workload| &workload.sets);
        let with_pods = sets.filter(|set| !set.pods.is_empty());
        with_pods.map(|set| set.template.letter).collect()
    }
}
