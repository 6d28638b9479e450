//! `tidegate approve`, `promote`, `pause`, `resume`, `abort` and `retry`: what a person asks for.
//!
//! Each makes an `Intervention` for one attempt and waits for the controller's answer. Whether it is
//! done is the engine's to say; here is only found out which attempt a person means.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    runtime::wait::await_condition,
};
use tidegate_api::{
    Duration, Intervention, Rollout,
    intervention::{Action, InterventionSpec, InterventionState, InterventionStatus},
    names,
};

use super::connection::{Target, answered};

/// What all interventions are told.
#[derive(Args, Clone, Debug)]
pub struct InterveneArgs {
    /// The Rollout
    name: String,
    /// Why; it goes into the record in git
    #[arg(short, long)]
    reason: String,
    /// How long the controller's answer is waited for
    #[arg(long, default_value = "30s")]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// What an approval is told.
#[derive(Args, Clone, Debug)]
pub struct ApproveArgs {
    /// The step that is approved, counted from 1; the one that the release is in where it is not
    /// said
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    step: Option<u32>,
    #[command(flatten)]
    common: InterveneArgs,
}

/// The attempt with its revision, and for an approval the step, that a person means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meant {
    attempt: u32,
    revision: String,
    step: Option<u32>,
}

/// Approves a step.
pub(super) async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let (client, namespace) = args.common.target.connect().await?;
    ask(client, &namespace, Action::Approve, args.step, &args.common).await
}

/// Asks for anything else.
pub(super) async fn run(action: Action, args: &InterveneArgs) -> anyhow::Result<ExitCode> {
    let (client, namespace) = args.target.connect().await?;
    ask(client, &namespace, action, None, args).await
}

/// Makes the Intervention, waits for the answer and prints it.
async fn ask(
    client: Client,
    namespace: &str,
    action: Action,
    step: Option<u32>,
    args: &InterveneArgs,
) -> anyhow::Result<ExitCode> {
    let rollouts: Api<Rollout> = Api::namespaced(client.clone(), namespace);
    let rollout = answered(rollouts.get(&args.name)).await?;
    let meant = meant(&rollout, action, step)?;
    let spec = InterventionSpec {
        rollout: args.name.clone(),
        attempt: meant.attempt,
        revision: Some(meant.revision),
        step: meant.step,
        action,
        reason: args.reason.clone(),
        by: caller(client.clone()).await?,
    };
    let interventions: Api<Intervention> = Api::namespaced(client, namespace);
    let made =
        answered(interventions.create(&PostParams::default(), &intervention(&rollout, spec)))
            .await?;
    let status = settled(interventions, &made.name_any(), args.timeout).await?;
    Ok(report(action, &args.name, &status))
}

/// Which attempt is meant, and which step of it.
fn meant(rollout: &Rollout, action: Action, step: Option<u32>) -> anyhow::Result<Meant> {
    let name = rollout.name_any();
    let status = rollout.status.clone().unwrap_or_default();
    if action == Action::Retry {
        let Some(last) = status.last_outcome else {
            bail!("there is nothing to retry: no attempt of {name} has ended yet");
        };
        return Ok(Meant {
            attempt: last.attempt,
            revision: last.revision,
            step: None,
        });
    }
    let Some(attempt) = status.attempt else {
        bail!(
            "there is nothing to {}: {name} is not releasing anything (it is {:?})",
            action.as_str(),
            status.phase
        );
    };
    let step = match (action, step) {
        (Action::Approve, None) if attempt.step == 0 => {
            bail!("there is nothing to approve yet: {name} has not reached its first step")
        }
        (Action::Approve, None) => Some(attempt.step),
        (_, step) => step,
    };
    Ok(Meant {
        attempt: attempt.number,
        revision: attempt.revision,
        step,
    })
}

/// The object to be made. The Rollout owns it, so that it goes with the Rollout.
fn intervention(rollout: &Rollout, spec: InterventionSpec) -> Intervention {
    let metadata = ObjectMeta {
        generate_name: Some(format!("{}-{}-", spec.rollout, spec.action.as_str())),
        labels: Some([(names::ROLLOUT_LABEL.to_owned(), spec.rollout.clone())].into()),
        owner_references: rollout.owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Intervention {
        metadata,
        spec,
        status: None,
    }
}

/// The name under which the API server knows the caller.
async fn caller(client: Client) -> anyhow::Result<String> {
    let api: Api<SelfSubjectReview> = Api::all(client);
    let review = answered(api.create(&PostParams::default(), &SelfSubjectReview::default()))
        .await
        .context("the API server does not say who you are")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .context("the API server does not say who you are")
}

/// What became of the Intervention, once the controller has said it.
async fn settled(
    api: Api<Intervention>,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<InterventionStatus> {
    let has_answer =
        |object: Option<&Intervention>| object.is_some_and(|object| object.status.is_some());
    let answered = await_condition(api, name, has_answer);
    let answered = tokio::time::timeout(timeout.as_std(), answered)
        .await
        .ok()
        .with_context(|| {
            format!(
                "the controller has not answered within {timeout}; \
                 `kubectl get intervention {name}` shows when it has"
            )
        })?
        .with_context(|| format!("the intervention {name} is made but cannot be watched"))?;
    answered
        .and_then(|object| object.status)
        .with_context(|| format!("the intervention {name} was deleted before it was answered"))
}

/// Prints the answer; the exit code says whether it was taken.
fn report(action: Action, name: &str, status: &InterventionStatus) -> ExitCode {
    let action = action.as_str();
    let message = &status.message;
    match status.state {
        InterventionState::Accepted => {
            println!("{name}: {action} was taken: {message}");
            ExitCode::SUCCESS
        }
        InterventionState::Rejected => {
            eprintln!("{name}: {action} was refused: {message}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests;
