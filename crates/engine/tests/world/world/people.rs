//! People and other programs: what they ask for, scale, write and delete.

use tidegate_api::{
    intervention::{Action as Ask, InterventionSpec},
    rollout::{Mode, RolloutSpec},
    status::{Attempt, Stage},
};
use tidegate_engine::{observed, weight::Weight};

use crate::{deployment::Quality, rollout::template};

use super::{Rival, Rollout, WRITE_BACK_INTERVAL, World, Written};

/// Revision of the fix that somebody commits in the end.
const FIX: &str = "rev-F";

/// Number of attempts without a verdict after which somebody looks into it.
const PATIENCE: u32 = 5;

// === impl World ===

impl World {
    /// A person asks for something, of the attempt that there is or was.
    pub(crate) fn ask(&mut self, action: Ask) {
        let Some(rollout) = &self.rollout else { return };
        let attempt = rollout.status.attempt.as_ref();
        let last = rollout.status.last_outcome.as_ref();
        self.asked += 1;
        // The one that waits is promoted as the next.
        let next = u32::from(action == Ask::Promote);
        let wanted = rollout.status.wanted.as_ref();
        let spec = InterventionSpec {
            rollout: "checkout".to_owned(),
            attempt: attempt.map_or(rollout.status.attempts + next, |attempt| attempt.number),
            revision: match (attempt, last) {
                (Some(attempt), _) => Some(attempt.revision.to_string()),
                (None, _) if next == 1 => wanted.map(|wanted| wanted.revision.to_string()),
                (None, last) => last.map(|last| last.revision.to_string()),
            },
            step: (action == Ask::Approve).then(|| attempt.map_or(1, |attempt| attempt.step)),
            action,
            reason: "it was time".to_owned(),
            by: "grace".to_owned(),
        };
        let name = format!("ask-{}", self.asked);
        self.asks.push(observed::Intervention {
            uid: format!("uid-{name}"),
            name,
            spec,
            attribution: observed::Attribution::Unknown,
        });
        self.happens(
            action.as_str(),
            &format!("grace asks to {}", action.as_str()),
        );
    }

    pub(super) fn write_back(&mut self, rival: Rival) {
        self.meet("write back");
        let left = rival.left.saturating_sub(1);
        self.rival = Some(Rival {
            next: self.now + WRITE_BACK_INTERVAL,
            left,
            ..rival
        })
        .filter(|rival| rival.left > 0);
        match rival.writes {
            Written::Template => self.write_foreign_template(),
            Written::Route(percent) => self.write_foreign_route(Some(percent)),
        }
    }

    /// Someone, or an autoscaler, scales the workload.
    pub(crate) fn scale(&mut self, replicas: u32) {
        if let Some(workload) = &mut self.live.workload {
            workload.edit(|workload| workload.replicas = replicas);
            self.happens("scale", &format!("the Deployment is scaled to {replicas}"));
        }
    }

    /// Somebody suspends the Rollout, or no longer.
    pub(crate) fn suspend(&mut self, suspend: bool) {
        if let Some(rollout) = &mut self.rollout {
            rollout.spec.suspend = suspend;
            let what = if suspend {
                "the Rollout is suspended"
            } else {
                "the Rollout is no longer suspended"
            };
            self.happens("suspend", what);
        }
    }

    /// Somebody has the Rollout only observe, or enforce again.
    pub(crate) fn set_mode(&mut self, mode: Mode) {
        if let Some(rollout) = &mut self.rollout {
            rollout.spec.mode = mode;
            self.happens("mode", &format!("the mode is {mode:?}"));
            self.next_sync = Some(self.now);
        }
    }

    /// The Rollout is deleted.
    pub(crate) fn delete(&mut self, foreground: bool) {
        let now = self.now;
        let Some(rollout) = &mut self.rollout else {
            return;
        };
        rollout.deleted_at.get_or_insert(now);
        rollout.kept_by_others = foreground;
        self.vanish();
        self.happens("delete", "the Rollout is deleted");
    }

    /// Somebody takes Tidegate's finalizer off the Rollout.
    pub(crate) fn remove_finalizer(&mut self) {
        let Some(rollout) = self.rollout.as_mut().filter(|rollout| rollout.finalizer) else {
            return;
        };
        rollout.finalizer = false;
        self.vanish();
        self.happens("finalizer", "the finalizer is removed by force");
    }

    /// The Rollout is deleted without its finalizer, and created again.
    pub(crate) fn replace(&mut self, spec: RolloutSpec) {
        self.meet("force");
        let last = self.rollout.take().map_or(0, |rollout| rollout.uid);
        self.shell.memory = crate::shell::Memory::default();
        self.asks.clear();
        self.git.outcomes.clear();
        self.happens("gone", "the Rollout is deleted without its finalizer");
        self.rollout = Some(Rollout {
            uid: last + 1,
            ..Rollout::new(spec)
        });
        self.happens("create", "the Rollout is created again");
    }

    /// A Rollout that is being deleted and that nobody keeps is gone.
    pub(crate) fn vanish(&mut self) {
        let gone = |rollout: &Rollout| {
            rollout.deleted_at.is_some() && !rollout.finalizer && !rollout.kept_by_others
        };
        if self.rollout.as_ref().is_some_and(gone) {
            self.rollout = None;
            // The garbage collector sees to what it owns.
            self.live.retained.clear();
            self.shell.memory = crate::shell::Memory::default();
        }
    }

    /// Returns true if neither a ReplicaSet nor a `ControllerRevision` has stable's template.
    fn is_stable_lost(&self) -> bool {
        let Some(stable) = self.status().stable else {
            return false;
        };
        let mut sets = self
            .live
            .workload
            .iter()
            .flat_map(|workload| &workload.sets);
        !sets.any(|set| set.template.is_of(&stable.pod_template_hash))
            && !self.live.kept.contains_key(stable.revision.as_str())
    }

    /// Returns true if nothing goes on before somebody scales the workload up.
    pub(super) fn waits_to_be_scaled_up(&self) -> bool {
        self.live.is_switched_off() && matches!(self.stage(), None | Some(Stage::Initial))
    }

    /// Returns true if the head was tried again and again over a stable that is down, without a verdict, and
    /// no fix was committed yet, which the status asks for.
    pub(super) fn is_fix_wanted(&self) -> bool {
        let status = self.status();
        let head = self.live.commits.last();
        let tries = status.backoff.map_or(0, |backoff| backoff.tries);
        tries >= PATIENCE
            && status.attempt.is_none()
            && head.is_some_and(|head| head.revision != FIX)
    }

    /// Returns true if what an earlier Rollout has left waits for a workload that never gets ready: only a deletion
    /// does not wait for it for ever.
    pub(super) fn is_left_over_for_good(&self) -> bool {
        let status = self.status();
        let is_left = status.message.starts_with("putting right");
        let is_there = self
            .rollout
            .as_ref()
            .is_some_and(|rollout| rollout.deleted_at.is_none());
        is_left && is_there && self.next_change().is_none()
    }

    /// Somebody commits a fix.
    pub(super) fn commit_fix(&mut self) {
        self.commit(FIX, template('F', Quality::Good), "commit");
    }

    /// Does what only people can do for it to go on.
    pub(super) fn awaits_person(&self) -> Option<Ask> {
        let rollout = self
            .rollout
            .as_ref()
            .filter(|_| self.asks.is_empty() && self.shell.alive)?;
        let attempt = rollout.status.attempt.as_ref()?;
        if attempt.ending.is_some() {
            return self.ends_a_wait_for_stable(attempt);
        }
        if attempt.stage.is_past_steps() {
            return None;
        }
        // Stable's template is nowhere, and the status names the ways out.
        let is_lost = self.is_stable_lost() && attempt.failover().is_some();
        if is_lost && attempt.shortcut.is_none() {
            return Some(Ask::Promote);
        }
        let waits = rollout.status.phase == tidegate_api::status::Phase::AwaitingApproval;
        if attempt.paused {
            Some(Ask::Resume)
        } else {
            waits.then_some(Ask::Approve)
        }
    }

    /// Nobody but a canary that failed serves, and stable's pods will not get ready: the status names an
    /// Abort as a way out.
    fn ends_a_wait_for_stable(&self, attempt: &Attempt) -> Option<Ask> {
        let is_way_back = attempt.stage == Stage::RollingBack && attempt.weight > Weight::ZERO;
        (is_way_back && self.next_change().is_none()).then_some(Ask::Abort)
    }
}
