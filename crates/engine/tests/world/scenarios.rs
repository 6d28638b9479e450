//! Worlds with a plot, and their golden logs.

use serde_json::json;
use tidegate_api::{
    Condition,
    condition::ConditionStatus,
    intervention::Action as Ask,
    reason::ConditionType,
    record::{Record, RestoreResult},
    status::{Phase, Stage},
};
use tidegate_engine::weight::Weight;

use crate::{
    deployment::Quality,
    histories::STAGES,
    metrics::PrometheusBehavior,
    rollout::{Draft, a_rollout, template},
    shell::{Fault, Group},
    world::World,
};

/// The golden log, and how it ended.
fn golden(name: &str, world: &World, outcomes: &str, runs: char) {
    assert_eq!(world.outcomes(), outcomes, "{}", world.story);
    assert_eq!(world.runs(), runs, "{}", world.story);
    insta::assert_snapshot!(name, world.story);
}

/// Steps that are quick to read.
fn a_short_rollout() -> Draft {
    a_rollout().with("steps", json!([{ "weight": 20, "hold": "1m" }]))
}

#[test]
fn a_good_release_is_promoted_step_by_step() {
    let world = a_rollout().releasing(Quality::Good).until_rest();
    golden("good", &world, "1 Promoted", 'B');
}

/// Three until the canary starts (what is wanted, the attempt, the pins); of each of four steps its weight,
/// its confirmation and that its gates pass, and of two that the canary grows; eight of the promotion.
#[test]
fn a_status_is_written_for_what_is_intended_and_not_for_each_word() {
    let world = a_rollout().releasing(Quality::Good).until_rest();
    let story = world.story.to_string();
    let release = story.split("commit-2 asks").nth(1).unwrap();
    let writes = release.matches("  status    ").count();
    assert_eq!(writes, 3 + 4 * 3 + 2 + 8, "{story}");
}

#[test]
fn a_release_that_breaches_at_20_percent_goes_back_in_the_same_turn() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_breach("errors")
        .until_rest();
    golden("bad", &world, "1 RolledBack", 'A');
}

#[test]
fn a_slow_release_passes_three_bad_readings_and_goes_back_at_the_fourth() {
    let world = a_short_rollout().releasing(Quality::Slow).until_rest();
    golden("slow", &world, "1 RolledBack", 'A');
}

#[test]
fn three_bad_readings_are_borne() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_readings(PrometheusBehavior::Slow, 40)
        .until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_step_with_an_approval_waits_for_it() {
    let world = a_short_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .after(600);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let world = world.with_ask(Ask::Approve).until_rest();
    golden("approval", &world, "1 Promoted", 'B');
}

#[test]
fn an_abort_at_50_percent_takes_traffic_back() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_weight(50)
        .with_ask(Ask::Abort)
        .until_rest();
    golden("abort", &world, "1 Aborted", 'A');
}

#[test]
fn a_pause_stays_in_its_step_and_a_resume_goes_on() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_ask(Ask::Pause)
        .after(600);
    assert_eq!(world.stage(), Some(Stage::Stepping), "{}", world.story);
    let world = world.with_ask(Ask::Resume).until_rest();
    golden("pause", &world, "1 Promoted", 'B');
}

#[test]
fn a_promotion_that_was_asked_for_skips_stays_and_approvals() {
    let world = a_rollout()
        .with_approval_at(2)
        .releasing(Quality::Good)
        .at_weight(1)
        .with_ask(Ask::Promote)
        .until_rest();
    golden("promote", &world, "1 Promoted", 'B');
}

#[test]
fn a_newer_revision_supersedes() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_commit('C', Quality::Good)
        .until_rest();
    golden("supersede", &world, "1 Superseded, 2 Promoted", 'C');
}

#[test]
fn a_newer_revision_waits_once_the_template_is_in() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.with_commit('C', Quality::Good).until_rest();
    assert_eq!(
        world.outcomes(),
        "1 Promoted, 2 Promoted",
        "{}",
        world.story
    );
    assert_eq!(world.runs(), 'C', "{}", world.story);
}

#[test]
fn a_rejected_revision_is_tried_again_when_a_person_asks_or_it_is_committed_again() {
    let recorded = a_short_rollout().with("onRollback", json!({ "git": "Record" }));
    let world = recorded
        .releasing(Quality::Erroring)
        .until_rest()
        .after(3600);
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let world = world
        .with_ask(Ask::Retry)
        .until_rest()
        .with_ask(Ask::Retry)
        .until_rest();
    assert_eq!(
        world.outcomes(),
        "1 RolledBack, 2 RolledBack, 3 RolledBack",
        "{}",
        world.story
    );
    let world = world.with_commit('B', Quality::Erroring).until_rest();
    golden(
        "rejected",
        &world,
        "1 RolledBack, 2 RolledBack, 3 RolledBack, 4 RolledBack",
        'A',
    );
}

#[test]
fn a_restore_takes_the_good_template_from_where_it_was() {
    let mut world = a_short_rollout().at_rest();
    world.file = "moved/checkout.yaml";
    let world = world.with_commit('B', Quality::Erroring).until_rest();
    let [order] = world.git.orders.as_slice() else {
        panic!("{:?}", world.git.orders)
    };
    assert_eq!(
        (order.good_commit.as_str(), order.good_path.as_deref()),
        ("commit-1", Some("checkout.yaml"))
    );
    assert_eq!(order.path, "moved/checkout.yaml");
}

#[test]
fn an_inconclusive_attempt_rejects_nothing_and_is_tried_again() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_readings(PrometheusBehavior::Down, 1500)
        .until_rest();
    golden("inconclusive", &world, "1 Aborted, 2 Promoted", 'B');
}

#[test]
fn no_attempt_begins_while_its_gates_cannot_be_read() {
    let world = a_short_rollout()
        .at_rest()
        .with_readings(PrometheusBehavior::Down, 1500)
        .with_commit('B', Quality::Good)
        .after(1400);
    assert_eq!(
        world.rollout.as_ref().unwrap().status.attempts,
        0,
        "{}",
        world.story
    );
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_stable_that_was_not_scraped_yet_is_waited_for_and_one_that_never_is_stalls() {
    let stalled = |world: &World| world.rollout.as_ref().unwrap().status.phase == Phase::Stalled;
    let world = a_short_rollout()
        .at_rest()
        .with_readings(PrometheusBehavior::Empty, 1500)
        .with_commit('B', Quality::Good)
        .after(30);
    assert!(!stalled(&world), "{}", world.story);
    let world = world.after(60);
    assert!(stalled(&world), "{}", world.story);
    assert_eq!(world.until_rest().outcomes(), "1 Promoted");
}

#[test]
fn what_was_good_before_is_not_held_up_by_a_query() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .until_rest()
        .with_readings(PrometheusBehavior::Empty, 1500);
    let world = world
        .with_commit('A', Quality::Good)
        .at_stage(Stage::Pinning)
        .until_rest();
    assert_eq!(
        world.outcomes(),
        "1 Promoted, 2 Promoted",
        "{}",
        world.story
    );
}

#[test]
fn a_revision_that_was_good_before_is_released_without_the_steps() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .until_rest()
        .with_commit('A', Quality::Good)
        .until_rest();
    golden("known_good", &world, "1 Promoted, 2 Promoted", 'A');
}

#[test]
fn a_first_deploy_goes_straight_in() {
    let world = a_rollout()
        .without_a_workload()
        .begins()
        .with_commit('A', Quality::Good)
        .until_rest();
    golden("first_deploy", &world, "1 Promoted", 'A');
}

#[test]
fn a_first_deploy_that_fails_is_mended_by_the_next_commit() {
    let world = a_rollout()
        .without_a_workload()
        .begins()
        .with_commit('A', Quality::Broken)
        .until_rest();
    let world = world
        .after(7200)
        .with_commit('B', Quality::Good)
        .until_rest();
    golden("first_deploy_failed", &world, "1 Failed, 2 Promoted", 'B');
}

#[test]
fn a_first_deploy_that_is_scaled_to_zero_waits_to_be_scaled_up() {
    let world = a_rollout()
        .without_a_workload()
        .begins()
        .with_commit('A', Quality::Good)
        .with_scale(0)
        .after(7200);
    assert_eq!(world.stage(), Some(Stage::Initial), "{}", world.story);
    assert_eq!(world.outcomes(), "", "nothing has run: {}", world.story);
    assert_eq!(
        world.status().message,
        "waiting for Deployment checkout to be scaled up: it has 0 replicas"
    );
    assert_eq!(world.with_scale(3).until_rest().outcomes(), "1 Promoted");
}

#[test]
fn adopting_what_equals_git_moves_nothing() {
    let world = a_rollout().at_rest().until_rest();
    golden("adopt_equal", &world, "", 'A');
}

#[test]
fn adopting_what_differs_from_git_makes_git_the_first_candidate() {
    let world = a_short_rollout()
        .begins()
        .with_commit('B', Quality::Good)
        .until_rest();
    golden("adopt_different", &world, "1 Promoted", 'B');
}

#[test]
fn what_was_adopted_can_be_put_back() {
    let world = a_short_rollout()
        .begins()
        .with_commit('B', Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = world.with_ask(Ask::Abort).until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
    assert_eq!(world.runs(), 'A', "{}", world.story);
}

#[test]
fn a_rollback_to_what_no_commit_holds_says_that_a_person_must_put_it_back() {
    let world = a_short_rollout()
        .begins()
        .with_commit('B', Quality::Erroring)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let restore = world.git.facts.values().find_map(|record| match record {
        Record::Outcome(outcome) => outcome.restore.clone(),
        Record::Started(_) => None,
    });
    let Some(RestoreResult::Refused { why }) = restore else {
        panic!("{restore:?}")
    };
    assert!(
        why.starts_with("no commit holds the stable template"),
        "{why}"
    );
}

#[test]
fn a_deletion_leaves_all_traffic_on_stable_whatever_the_stage() {
    for (stage, foreground) in STAGES
        .into_iter()
        .flat_map(|stage| [(stage, false), (stage, true)])
    {
        let world = match stage {
            Stage::Initial => a_rollout()
                .without_a_workload()
                .begins()
                .with_commit('A', Quality::Good),
            Stage::RollingBack => a_short_rollout().releasing(Quality::Erroring),
            Stage::Pinning
            | Stage::Starting
            | Stage::Stepping
            | Stage::PinningToCanary
            | Stage::UpdatingStable
            | Stage::PinningToStable
            | Stage::ShiftingToStable
            | Stage::Draining
            | Stage::RemovingCanary
            | Stage::Unpinning => a_short_rollout().releasing(Quality::Good),
        };
        let world = world.at_stage(stage).with_deletion(foreground).until_rest();
        assert!(
            world.live.routes.iter().all(|route| route.canary.is_none()),
            "{}",
            world.story
        );
        assert!(
            world.live.canary.is_none() && world.live.stable_endpoints.ready() == 3,
            "{}",
            world.story
        );
        assert!(world.rollout.is_none() || foreground, "{}", world.story);
    }
}

#[test]
fn a_deletion_at_20_percent_waits_for_traffic_and_not_for_git() {
    let mut world = a_short_rollout().releasing(Quality::Good).at_weight(20);
    world.git.down = true;
    let mut world = world.with_deletion(false).until_gone();
    world.git.down = false;
    let world = world.after(60);
    golden("delete", &world, "1 Aborted", 'A');
}

#[test]
fn git_being_down_at_rest_loses_no_record() {
    let mut world = a_short_rollout().releasing(Quality::Good).at_weight(20);
    world.git.down = true;
    let mut world = world
        .with_ask(Ask::Abort)
        .after(600)
        .with_deletion(false)
        .until_gone();
    world.git.down = false;
    assert_eq!(world.after(60).outcomes(), "1 Aborted");
}

#[test]
fn a_canary_that_becomes_unready_gets_nothing_and_begins_its_step_again() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .after(30)
        .with_unready(true, 3, 40)
        .until_rest();
    golden("canary_unready", &world, "1 Promoted", 'B');
}

#[test]
fn a_canary_that_somebody_changes_verifies_nothing() {
    for stage in [
        Stage::Stepping,
        Stage::PinningToCanary,
        Stage::UpdatingStable,
    ] {
        let mut world = a_short_rollout()
            .releasing(Quality::Good)
            .at_weight(20)
            .after(1)
            .at_stage(stage);
        let canary = world.live.canary.as_mut().unwrap();
        canary.edit(|canary| {
            (canary.template, canary.manager) = (template('X', Quality::Good), "kubectl-set");
        });
        world.happens("set env", "kubectl set env on the canary");
        let world = world.until_rest();
        assert_eq!(
            (world.outcomes().as_str(), world.runs()),
            ("1 Aborted, 2 Promoted", 'B'),
            "{}",
            world.story
        );
        let told = "the template of Deployment checkout-canary was modified by kubectl-set";
        assert!(world.story.to_string().contains(told), "{}", world.story);
    }
}

#[test]
fn a_canary_that_cannot_bear_its_traffic_is_not_tried_without_end() {
    let lost = |world: World| {
        world
            .at_weight(20)
            .after(10)
            .with_unready(true, 3, 20)
            .after(5)
    };
    let world = lost(lost(a_short_rollout().releasing(Quality::Good)));
    assert_eq!(lost(world).until_rest().outcomes(), "1 RolledBack");
}

#[test]
fn a_node_may_be_drained_under_a_canary_in_each_step() {
    let lost = |world: World, weight| {
        world
            .at_weight(weight)
            .after(10)
            .with_unready(true, 3, 20)
            .after(5)
    };
    let world = lost(lost(a_rollout().releasing(Quality::Good), 1), 1);
    assert_eq!(
        lost(lost(world, 20), 20).until_rest().outcomes(),
        "1 Promoted"
    );
}

#[test]
fn a_step_does_not_pass_by_what_was_read_before_tidegate_was_down() {
    let long = a_rollout().with("steps", json!([{ "weight": 20, "hold": "30m" }]));
    let world = long
        .releasing(Quality::Good)
        .at_weight(20)
        .after(120)
        .with_tidegate_down(2400)
        .with_readings(PrometheusBehavior::Breach, 7200)
        .until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
    let steps = world.git.facts.values().filter_map(|record| match record {
        Record::Outcome(outcome) => Some(outcome.steps.len()),
        Record::Started(_) => None,
    });
    assert_eq!(steps.collect::<Vec<_>>(), [1], "{}", world.story);
}

#[test]
fn a_workload_that_is_switched_off_is_released_when_it_is_on_again() {
    let world = a_short_rollout()
        .at_rest()
        .with_scale(0)
        .with_commit('B', Quality::Good)
        .after(600);
    assert_eq!(
        world.rollout.as_ref().unwrap().status.attempts,
        0,
        "{}",
        world.story
    );
    assert_eq!(world.with_scale(2).until_rest().outcomes(), "1 Promoted");
}

#[test]
fn a_workload_that_is_switched_off_keeps_no_attempt_alive() {
    for stage in [
        Stage::Stepping,
        Stage::PinningToCanary,
        Stage::UpdatingStable,
        Stage::PinningToStable,
    ] {
        let world = a_short_rollout()
            .releasing(Quality::Good)
            .at_stage(stage)
            .with_scale(0)
            .after(5);
        let world = world.with_ask(Ask::Abort).until_rest();
        assert!(
            !world.outcomes().is_empty() && world.live.canary.is_none(),
            "{stage:?}: {}",
            world.story
        );
    }
}

#[test]
fn a_canary_that_is_back_after_a_long_step_has_time_for_its_weight() {
    let long = a_rollout().with("steps", json!([{ "weight": 20, "hold": "1h" }]));
    let world = long
        .releasing(Quality::Good)
        .at_weight(20)
        .after(3000)
        .with_unready(true, 3, 40)
        .until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
}

#[test]
fn a_breach_while_stable_rolls_out_puts_the_old_template_back() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::UpdatingStable)
        .with_breach("errors")
        .read_now();
    let world = world.until_rest();
    golden("breach_while_promoting", &world, "1 RolledBack", 'A');
}

#[test]
fn traffic_stays_on_the_canary_while_stable_is_unready() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 3, 120)
        .after(5);
    let world = world.with_breach("errors").until_rest();
    golden("stable_unready", &world, "1 RolledBack", 'A');
}

#[test]
fn what_was_taken_back_before_a_crash_is_not_given_again_when_stable_is_unready() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .after(5);
    let world = world
        .with_unready(false, 3, 20)
        .after(0)
        .with_fault(0, Fault::CrashAfter)
        .with_breach("errors")
        .read_now();
    let world = world.when("a crash", |world| !world.shell.alive);
    assert_eq!(
        world.live.routes[0].canary,
        Some(Weight::ZERO),
        "{}",
        world.story
    );
    assert_eq!(world.until_rest().outcomes(), "1 RolledBack");
}

#[test]
fn one_unready_pod_of_stable_holds_nothing_back() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_unready(false, 1, 600)
        .after(5);
    let world = world.with_breach("errors").after(30);
    assert!(
        world.live.routes[0]
            .canary
            .is_none_or(|share| share.hundredths() == 0),
        "{}",
        world.story
    );
}

#[test]
fn stable_unready_at_a_breach_while_direct_callers_move_keeps_them_on_the_canary() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(100)
        .after(30)
        .with_unready(false, 3, 120);
    let world = world
        .at_stage(Stage::PinningToCanary)
        .after(1)
        .with_ask(Ask::Abort)
        .after(10);
    assert_eq!(world.live.stable_endpoints.ready(), 3, "{}", world.story);
    let world = world.until_rest();
    assert_eq!(world.outcomes(), "1 Aborted", "{}", world.story);
}

#[test]
fn a_new_leader_writes_its_epoch_before_anything_else() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_new_leader()
        .until_rest();
    golden("new_leader", &world, "1 Promoted", 'B');
}

#[test]
fn an_older_leader_does_nothing() {
    let mut world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_new_leader()
        .after(5);
    world.shell.epoch = 1;
    let wrote = world.turns_that_wrote;
    let world = world.with_breach("errors").after(120);
    assert_eq!(world.turns_that_wrote, wrote, "{}", world.story);
}

#[test]
fn set_env_on_the_stable_deployment_is_overruled_by_name() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_weight(20)
        .with_foreign_template()
        .until_rest();
    golden("set_env", &world, "1 Promoted", 'B');
}

#[test]
fn set_env_at_rest_is_overruled_before_the_next_release_begins() {
    let mut world = a_short_rollout().at_rest().with_foreign_template();
    world.next_sync = None;
    let world = world.after(1).with_commit('B', Quality::Good).until_rest();
    golden("set_env_at_rest", &world, "1 Promoted", 'B');
}

#[test]
fn an_abort_comes_too_late_once_stable_has_the_traffic() {
    let world = a_short_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Draining)
        .with_ask(Ask::Abort)
        .until_rest();
    assert_eq!(world.outcomes(), "1 Promoted", "{}", world.story);
    assert!(
        world
            .story
            .to_string()
            .contains("commit the revision that is to run instead"),
        "{}",
        world.story
    );
}

#[test]
fn an_invalid_spec_never_disables_safety() {
    let mut world = a_short_rollout().releasing(Quality::Good).at_weight(20);
    world.rollout.as_mut().unwrap().spec.steps.clear();
    let world = world.with_breach("errors").until_rest();
    assert_eq!(world.outcomes(), "1 RolledBack", "{}", world.story);
}

#[test]
fn another_text_for_what_runs_makes_no_attempt() {
    let mut world = a_rollout().at_rest();
    world.commit("rev-A-again", template('A', Quality::Good), "commit");
    assert_eq!(world.until_rest().outcomes(), "");
}

#[test]
fn what_cannot_be_done_is_refused_with_a_sentence() {
    let ask_all = |world: World| {
        let asks = [
            Ask::Approve,
            Ask::Resume,
            Ask::Pause,
            Ask::Pause,
            Ask::Retry,
            Ask::Promote,
            Ask::Promote,
            Ask::Abort,
            Ask::Abort,
        ];
        asks.into_iter()
            .fold(world, |world, ask| world.with_ask(ask).after(0))
    };
    let world = ask_all(a_short_rollout().at_rest());
    let world = ask_all(world.with_commit('B', Quality::Good).at_weight(20)).until_rest();
    let world = world
        .with_commit('C', Quality::Good)
        .at_stage(Stage::UpdatingStable);
    let world = [Ask::Approve, Ask::Promote, Ask::Pause]
        .into_iter()
        .fold(world, |world, ask| world.with_ask(ask).after(0));
    let story = world.until_rest().story.to_string();
    let answers: Vec<_> = story
        .lines()
        .filter_map(|line| line.split_once("ask-"))
        .map(|(_, answer)| answer)
        .collect();
    insta::assert_snapshot!(answers.join("\n"));
}

#[test]
fn who_keeps_writing_what_is_ours_is_named() {
    let contested = |world: &World| {
        let conditions = &world.rollout.as_ref().unwrap().status.conditions;
        let contested = Condition::find(conditions, ConditionType::FieldConflict).unwrap();
        (contested.status == ConditionStatus::True).then(|| contested.message.clone())
    };
    let world = a_rollout()
        .with_approval_at(3)
        .releasing(Quality::Good)
        .at_weight(20)
        .after(30);
    let world = world
        .with_foreign_route(Some(70))
        .after(20)
        .with_foreign_route(Some(70))
        .after(20);
    assert_eq!(contested(&world), None, "{}", world.story);
    let world = world.with_foreign_route(Some(70)).after(1);
    let sentence = contested(&world).unwrap_or_else(|| panic!("{}", world.story));
    assert!(
        sentence.starts_with("HTTPRoute checkout was modified by kubectl-edit 3 times in 5m"),
        "{sentence}"
    );
    let world = world.after(300);
    assert_eq!(contested(&world), None, "{}", world.story);
}

#[test]
fn endpoints_of_an_earlier_canary_are_not_those_of_this_one() {
    let world = a_rollout()
        .releasing(Quality::Good)
        .at_stage(Stage::Starting)
        .with_commit('A', Quality::Good);
    let world = world
        .at_stage(Stage::Draining)
        .when("the earlier canary's endpoint", |world| {
            world.shell.cache.canary_endpoints.ready() == 1
        });
    let world = world
        .with_lag(Group::Endpoints, 2500)
        .with_commit('B', Quality::Good)
        .until_rest();
    assert_eq!(
        world.outcomes(),
        "1 Superseded, 2 Promoted",
        "{}",
        world.story
    );
}

#[test]
fn records_that_git_does_not_take_are_bounded() {
    let mut world = a_short_rollout().at_rest();
    world.git.down = true;
    for letter in 'B'..='N' {
        world = world.with_commit(letter, Quality::Good).after(300);
    }
    let status = world.status();
    assert_eq!(status.pending_records.len(), 20, "{}", world.story);
    assert!(
        status
            .message
            .starts_with("waiting for git to take 20 records"),
        "{}",
        status.message
    );
    world.git.down = false;
    let world = world.until_rest();
    assert_eq!(world.runs(), 'N', "{}", world.story);
}
