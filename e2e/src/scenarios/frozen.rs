//! Tidegate is frozen between an intent and its effect, and a second one takes over: thawed, the
//! late effect fails, and the release goes on as if nothing had happened.

use anyhow::{Context as _, Result, ensure};
use futures::{TryStreamExt as _, stream};
use tidegate_api::names;
use tokio::sync::oneshot;

use super::whole_release::{Kind, release, shop};
use crate::{
    fault_proxy::{Fault, RequestKind, RequestRecord, Trigger, Verdict, WriteInHand},
    process::ProcessGroup,
    scenario::{Context, Scenario, scenario},
    testbed::{CANARY, LIMIT, Testbed, backends},
};

/// Scenarios of this file.
pub(super) const SCENARIOS: &[Scenario] = &[scenario!(frozen_before_an_effect, run)];

/// An effect, recognised by its request.
type Effect = fn(&RequestRecord) -> bool;

/// Effects before which Tidegate is frozen.
const EFFECTS: [(&str, Effect); 4] = [
    ("raise", raises_the_weight),
    ("canary", scales_the_canary),
    ("pin", pins_to_the_canary),
    ("template", writes_the_template),
];

/// Tries it at each of them.
async fn run(context: Context) -> Result<()> {
    let each = stream::iter(EFFECTS.map(Ok::<_, anyhow::Error>));
    each.try_for_each_concurrent(None, |(name, effect)| {
        let context = context.clone();
        async move {
            context
                .apart(name, |context| frozen(context, effect))
                .await
                .context(name)
        }
    })
    .await
}

async fn frozen(context: Context, effect: Effect) -> Result<()> {
    let mut bed = Testbed::open(context, &shop()).await?;
    let first = bed.tidegate()?.group();
    let (reached, held) = oneshot::channel();
    let (let_go, release_it) = oneshot::channel::<()>();
    let hook = move |write: WriteInHand| async move {
        let _nobody_waits = reached.send(first.freeze().map(|()| write));
        let _nobody_lets_go = release_it.await;
        Verdict::GoOn
    };
    bed.proxy.plan(
        Trigger::next(move |request| request.kind == RequestKind::Write && effect(request)),
        Fault::before(hook),
    );
    let overtaken = async {
        let write = held
            .await
            .context("the hook is gone")?
            .context("Tidegate cannot be frozen")?;
        let second = bed.spawn_tidegate("tidegate-second").await?;
        overtake(&bed, first, &write, effect, let_go).await?;
        Ok::<_, anyhow::Error>(second)
    };
    let (_second, ()) = tokio::try_join!(overtaken, release(&bed, Kind::Good))?;
    Ok(())
}

/// Waits until the second has written what the first was about to, and lets the first go on.
async fn overtake(
    bed: &Testbed,
    first: ProcessGroup,
    held: &WriteInHand,
    effect: Effect,
    let_go: oneshot::Sender<()>,
) -> Result<()> {
    let log = bed.proxy.log();
    // What sync applies may change nothing, and then refuses nobody.
    let changes = |request: &RequestRecord| {
        request.field_manager.as_deref() == Some(names::FIELD_MANAGER) || effect(request)
    };
    let later = |request: &RequestRecord| {
        request.seq > held.seq
            && request.kind == RequestKind::Write
            && request.path == held.path
            && changes(request)
            && done(request)
    };
    let written = tokio::time::timeout(LIMIT, log.wait_for(later)).await;
    written.with_context(|| format!("the second did not write {}", held.path))?;
    first.thaw().context("Tidegate cannot be thawed")?;
    ensure!(let_go.send(()).is_ok(), "the hook is gone");
    let late = tokio::time::timeout(LIMIT, log.wait_for(|request| request.seq == held.seq)).await;
    let late = late.context("the late effect had no answer")?;
    // A JSON patch whose test fails is a 422.
    ensure!(
        matches!(late.status, Some(409 | 422)),
        "the late effect was answered with {:?}",
        late.status
    );
    Ok(())
}

fn done(request: &RequestRecord) -> bool {
    request.status.is_some_and(|status| status < 300)
}

fn raises_the_weight(request: &RequestRecord) -> bool {
    request.path.ends_with("/httproutes/shop")
        && canary_weight(request).is_some_and(|weight| weight == 50)
}

fn canary_weight(request: &RequestRecord) -> Option<u64> {
    let patch = request.json()?;
    backends(&patch)?
        .iter()
        .find(|backend| backend["name"] == CANARY)?["weight"]
        .as_u64()
}

/// One that is there already: it is made with a single pod.
fn scales_the_canary(request: &RequestRecord) -> bool {
    let patch = request.json().unwrap_or_default();
    request.path.ends_with("/deployments/shop-canary")
        && patch["spec"]["replicas"].as_u64() > Some(1)
}

fn pins_to_the_canary(request: &RequestRecord) -> bool {
    let patch = request.json().unwrap_or_default();
    request.path.ends_with("/services/shop")
        && patch["spec"]["selector"][names::TRACK_LABEL] == names::TRACK_CANARY
}

fn writes_the_template(request: &RequestRecord) -> bool {
    let patch = request.json().unwrap_or_default();
    let mut operations = patch.as_array().into_iter().flatten();
    request.path.ends_with("/deployments/shop")
        && operations
            .any(|operation| operation["op"] == "replace" && operation["path"] == "/spec/template")
}
