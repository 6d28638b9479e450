//! Sentences about a release that is still to come.

use tidegate_api::{
    Rollout,
    intervention::Action,
    rollout::{ConfigPolicy, FailoverPolicy, GitOnRollback, KnownGood, Mode, OnNewRevision},
};
use tidegate_engine::plan::{Plan, Step};

use super::{explanation::duration, surroundings::Brake};
use crate::cli::command;

pub(super) fn about(plan: &Plan) -> String {
    let traffic = if plan.splits_by_replicas() {
        "traffic is shared by replicas".to_owned()
    } else {
        let routes: Vec<_> = plan.routes.iter().map(ToString::to_string).collect();
        format!("traffic is split in {}", routes.join(", "))
    };
    let workload = &plan.workload;
    match &plan.service {
        Some(service) => format!(
            "It releases the {workload}, which callers reach by the Service {service}; {traffic}."
        ),
        None => format!(
            "It releases the {workload}, which nobody calls: it takes its work by itself, and the canary's share is \
             that of its pods."
        ),
    }
}

/// Says what is done where nothing is enforced yet.
pub(super) fn mode(mode: Mode) -> Vec<String> {
    match mode {
        Mode::Enforce => Vec::new(),
        Mode::Observe => vec![
            "Nothing in the cluster is changed: Kubernetes rolls each template out as it does without Tidegate.".to_owned(),
            "The gates are read meanwhile, of the new pods and of those before, and the status, an event and a notification say \
             what would have become of the release.".to_owned(),
            "What would be in the way of a release is said in the status, too. All of the following begins with mode: Enforce."
                .to_owned(),
        ],
    }
}

pub(super) fn adoption(plan: &Plan, policy: ConfigPolicy, brake: Brake) -> Vec<String> {
    let kind = plan.workload.kind;
    let template = match brake {
        Brake::Sync => format!(
            "A new template waits in git: the ConfigRepo leaves it out of what it applies, until a release has let it into the {kind}."
        ),
        Brake::Pause => format!(
            "A new template is applied and does not roll: Tidegate keeps the {kind} paused."
        ),
        Brake::Unknown => format!(
            "A new template does not roll out by itself: where a ConfigRepo applies the {kind} it leaves the template \
             out, and where anybody else does, Tidegate keeps the {kind} paused."
        ),
    };
    vec![
        format!("The {kind} is taken for stable as it runs; nothing restarts."),
        template,
        format!(
            "A {kind} that does not exist yet is deployed without steps, and is stable once it is ready."
        ),
        config_of(policy, brake).to_owned(),
    ]
}

/// Says what becomes of config that changes.
fn config_of(policy: ConfigPolicy, brake: Brake) -> &'static str {
    match (policy, brake) {
        (ConfigPolicy::Ignore, _) => {
            "ConfigMaps and Secrets are applied at once: config is Ignore."
        }
        (ConfigPolicy::Release, Brake::Sync) => {
            "ConfigMaps and Secrets that the template names are released with it, or alone: the canary reads copies until \
             they are promoted."
        }
        (ConfigPolicy::Release, Brake::Pause) => {
            "ConfigMaps and Secrets are live as soon as they are applied; those whose names change with their content are \
             released with the template."
        }
        (ConfigPolicy::Release, Brake::Unknown) => {
            "ConfigMaps and Secrets that the template names are released with it, or alone, where a ConfigRepo applies them \
             all; where anybody else does they are live at once."
        }
    }
}

/// Says what ends a step.
pub(super) fn until(rollout: &Rollout, step: &Step, is_implied: bool) -> String {
    if let Some(approval) = step.approval {
        let limit = match approval.timeout {
            Some(timeout) => format!(
                "; after {} without one the attempt ends Aborted",
                duration(timeout)
            ),
            None => String::new(),
        };
        return format!(
            "until an approval: {}{limit}",
            command::intervene(Action::Approve, rollout)
        );
    }
    let hold = if step.hold.is_zero() {
        "no minimum".to_owned()
    } else {
        format!("at least {}", duration(step.hold))
    };
    if is_implied {
        return format!("{hold}; added, as the steps do not end with 100%");
    }
    hold
}

pub(super) fn each_step(plan: &Plan) -> Vec<String> {
    let accepted = if plan.splits_by_replicas() {
        "and the Services select them"
    } else {
        "and every gateway has accepted the weight"
    };
    let enforced: Vec<_> = plan
        .gates
        .iter()
        .filter(|gate| gate.enforced)
        .map(|gate| gate.name.as_str())
        .collect();
    let gates = if enforced.is_empty() {
        "No gate has to pass.".to_owned()
    } else {
        format!(
            "It goes on when the hold is over and each enforced gate passes with readings of this step: {}.",
            enforced.join(", ")
        )
    };
    let begins = if plan.is_without_service() {
        "A step's pods are made as it begins, and work as soon as they run; its hold begins when all of them are ready."
            .to_owned()
    } else {
        format!(
            "A step begins when the canary's pods are ready, their endpoints have been the same for {}, {accepted}.",
            duration(plan.settle)
        )
    };
    vec![begins, gates]
}

pub(super) fn promotion(plan: &Plan) -> Vec<String> {
    if plan.is_without_service() {
        return vec![
            format!(
                "The verified template is written into the {}, which rolls out by its own strategy beside the canary; gates are \
                 still read.",
                plan.workload
            ),
            "Then the canary stops working, and it and the pause of the attempt are removed."
                .to_owned(),
        ];
    }
    vec![
        format!(
            "The verified template is written into the {}, which rolls out while the canary has all traffic; gates are still \
             read.",
            plan.workload
        ),
        "Traffic goes back to the rolled-out pods, and the canary, the pins and the pause of the attempt are removed."
            .to_owned(),
    ]
}

pub(super) fn endings(rollout: &Rollout, plan: &Plan) -> Vec<String> {
    let taken_back = if plan.is_without_service() {
        "the canary's pods are taken away at once"
    } else {
        "all traffic goes to stable at once"
    };
    let mut endings = vec![
        format!(
            "A breach of an enforced gate: {taken_back}, the attempt ends RolledBack, and the revision is not tried again \
             until git has changed away from it and back, or somebody asks: {}.",
            command::intervene(Action::Retry, rollout)
        ),
        format!(
            "A canary whose pods do not become ready by their own fault within {} (without progress): RolledBack. What is \
             not its fault, such as a quota, is waited for {}, and the attempt ends Aborted and is retried later.",
            duration(plan.progress_deadline),
            duration(plan.blocked_timeout)
        ),
    ];
    endings.push(match plan.on_new_revision {
        OnNewRevision::Supersede => {
            "A newer revision: the attempt ends Superseded, and the newer one is tried.".to_owned()
        }
        OnNewRevision::Wait => "A newer revision waits until the attempt has ended.".to_owned(),
    });
    endings.push(match plan.failover {
        _ if plan.is_without_service() => {
            "While stable has no ready pod, the canary keeps its share and gets no more.".to_owned()
        }
        FailoverPolicy::WhenStableIsDown => {
            "While stable has no ready pod, all traffic goes to the canary, if its step has a weight and its approvals."
                .to_owned()
        }
        FailoverPolicy::Never => "While stable has no ready pod, traffic stays where it is.".to_owned(),
    });
    endings.push(match plan.known_good {
        KnownGood::Fast => {
            "A revision that was promoted before, as by a git revert, skips holds and gates; approvals stay.".to_owned()
        }
        KnownGood::Steps => "A revision that was promoted before goes through all steps, too.".to_owned(),
    });
    if !plan.keep_failed.is_zero() {
        let kept = duration(plan.keep_failed);
        endings.push(format!(
            "One pod of a canary that failed is retained for {kept}, without traffic."
        ));
    }
    endings
}

pub(super) fn git(rollout: &Rollout, plan: &Plan) -> Vec<String> {
    let record = "Where a ConfigRepo applies the workload, the outcome is recorded on its branch for records, with the \
        evidence."
        .to_owned();
    let change = match rollout.spec.on_rollback.map(|change| change.git) {
        Some(GitOnRollback::Record) => {
            "A rollback leaves the applied branch as it is: commit a fix or a revert.".to_owned()
        }
        Some(GitOnRollback::Restore) => format!(
            "A rollback puts the last good template of the {} back on the applied branch, if the rejected one is still there.",
            plan.workload
        ),
        None => "A rollback changes the applied branch as onRollback of the ConfigRepo says: not at all by default.".to_owned(),
    };
    vec![record, change]
}
