use super::*;

/// A world in which all is well: all traffic on three ready pods of stable.
fn well(by: Author) -> Snapshot {
    let route = RouteSeen {
        name: "web".to_owned(),
        stable: Weight::FULL,
        canary: Weight::ZERO,
        split: false,
        epoch: None,
    };
    let rollout = RolloutSeen {
        status: Arc::default(),
        finalizer: false,
        deleting: false,
        suspended: false,
        mode: Mode::Enforce,
    };
    Snapshot {
        at: Timestamp::UNIX_EPOCH,
        by,
        what: "a write".to_owned(),
        rollout: Some(rollout),
        routes: vec![route],
        services: vec![ServiceSeen {
            name: "web".to_owned(),
            pin: None,
            epoch: None,
        }],
        workload: None,
        wanted: None,
        canary: false,
        config: None,
        canary_template: None,
        culpable: false,
        stable_ready: 3,
        canary_ready: 0,
        canary_replicas: 0,
        breach_shown: false,
        leading: true,
        outcomes: Vec::new(),
    }
}

/// Returns the rule that is violated when this follows on a world in which all was well.
fn wrong(by: Author, change: impl FnOnce(&mut Snapshot)) -> String {
    let mut history = History::default();
    history.push(well(Author::Status));
    assert_eq!(check(&history), Ok(()));
    let mut next = well(by);
    change(&mut next);
    history.push(next);
    check(&history).expect_err("a violation").rule.to_owned()
}

#[test]
fn a_rule_that_is_broken_is_named() {
    assert_eq!(
        wrong(Author::Effect, |now| now.routes[0].stable = Weight::ZERO),
        "1, weights sum to 100"
    );
    let give = |now: &mut Snapshot| {
        (now.routes[0].stable, now.routes[0].canary) = (Weight::ZERO, Weight::FULL);
    };
    assert_eq!(
        wrong(Author::Effect, give),
        "2, no weight without a ready canary"
    );
    assert_eq!(
        wrong(Author::Decision, give),
        "3, a failed attempt ends on stable"
    );
    assert_eq!(
        wrong(Author::Controllers, |now| now.stable_ready = 0),
        "11, traffic is never sent to nobody"
    );
    let canary = |now: &mut Snapshot| now.canary = true;
    assert_eq!(
        wrong(Author::Effect, canary),
        "2, the canary is kept out of the user's Services"
    );
    let pin = |now: &mut Snapshot| now.services[0].pin = Some(Pin::Version(VersionId::new("a")));
    assert_eq!(
        wrong(Author::Effect, pin),
        "14, what is held has a finalizer"
    );
    let leave = |now: &mut Snapshot| {
        pin(now);
        now.rollout = None;
    };
    assert_eq!(wrong(Author::Effect, leave), "14, nothing is left behind");
    let twice =
        |now: &mut Snapshot| now.outcomes = vec![(1, Outcome::Promoted), (1, Outcome::Aborted)];
    assert_eq!(
        wrong(Author::Controllers, twice),
        "7, one outcome per attempt"
    );
}

#[test]
fn what_other_people_do_is_not_held_against_it() {
    let mut history = History::default();
    history.push(well(Author::Status));
    history.push(Snapshot {
        stable_ready: 0,
        ..well(Author::PodFailure)
    });
    assert_eq!(check(&history), Ok(()));
}
