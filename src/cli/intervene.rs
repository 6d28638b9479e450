//! Interventions: `tidegate approve` and a command for each other action.
//!
//! Each creates an `Intervention` for one attempt and waits for the controller's answer. The engine
//! decides about it; here is only found out which attempt is meant.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{
    ArgMatches, Args, Command, FromArgMatches, Subcommand,
    error::{Error, ErrorKind},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    runtime::wait::await_condition,
};
use tidegate_api::{
    Duration, Intervention, Revision, Rollout,
    intervention::{Action, InterventionSpec, InterventionState, InterventionStatus},
    names,
};

use super::connection::{Target, answered};
use crate::kubernetes::caller;

/// Arguments of all interventions.
#[derive(Args, Clone, Debug)]
pub struct InterveneArgs {
    /// Name of the Rollout
    name: String,
    /// Reason for the intervention; it is part of the record in git
    #[arg(short, long)]
    reason: String,
    /// Maximum wait for the controller's answer
    #[arg(long, default_value = "30s")]
    timeout: Duration,
    #[command(flatten)]
    target: Target,
}

/// Command for an action that needs no other arguments than [`InterveneArgs`].
#[derive(Clone, Debug)]
pub struct Intervene {
    action: Action,
    args: InterveneArgs,
}

/// Arguments of `tidegate approve`.
#[derive(Args, Clone, Debug)]
pub struct ApproveArgs {
    /// Number of the step to approve, from 1 (default: the current step)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50))]
    step: Option<u32>,
    #[command(flatten)]
    common: InterveneArgs,
}

/// Attempt with its revision, and for an approval the step, that are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Meant {
    attempt: u32,
    revision: Revision,
    step: Option<u32>,
}

/// Approves a step.
pub(super) async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let (client, namespace) = args.common.target.connect().await?;
    ask(client, &namespace, Action::Approve, args.step, &args.common).await
}

/// Requests any other action.
pub(super) async fn run(intervene: &Intervene) -> anyhow::Result<ExitCode> {
    let Intervene { action, args } = intervene;
    let (client, namespace) = args.target.connect().await?;
    ask(client, &namespace, *action, None, args).await
}

/// Returns the help text of an action's command.
pub(super) fn about(action: Action) -> &'static str {
    match action {
        Action::Approve => "Approve the step that a release waits in",
        Action::Promote => {
            "Skip remaining holds, approvals and waits for data (breaches still roll back)"
        }
        Action::Pause => "Pause a release at its current step (gates are still evaluated)",
        Action::Resume => "Resume a paused release",
        Action::Abort => "Abort the release and shift traffic back to stable",
        Action::Retry => "Retry a rejected revision that git still asks for",
    }
}

/// Creates the Intervention, waits for the answer and prints it.
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
        revision: Some(meant.revision.to_string()),
        step: meant.step,
        action,
        reason: args.reason.clone(),
        by: username(client.clone()).await?,
    };
    let interventions: Api<Intervention> = Api::namespaced(client, namespace);
    let created =
        answered(interventions.create(&PostParams::default(), &intervention(&rollout, spec)))
            .await?;
    let status = settled(interventions, &created.name_any(), args.timeout).await?;
    Ok(report(action, &args.name, &status))
}

/// Finds the attempt that is meant, and the step of it.
fn meant(rollout: &Rollout, action: Action, step: Option<u32>) -> anyhow::Result<Meant> {
    let name = rollout.name_any();
    let status = rollout.status.clone().unwrap_or_default();
    if action == Action::Retry {
        let Some(last) = status.last_outcome else {
            bail!("nothing to retry: no attempt of {name} has ended yet");
        };
        return Ok(Meant {
            attempt: last.attempt,
            revision: last.revision,
            step: None,
        });
    }
    if action == Action::Promote
        && status.attempt.is_none()
        && let Some(wanted) = &status.wanted
        && status
            .stable
            .as_ref()
            .is_some_and(|stable| stable.revision != wanted.revision)
    {
        // One that waits: for data, or for a person after attempts without a finding.
        return Ok(Meant {
            attempt: status.attempts + 1,
            revision: wanted.revision.clone(),
            step: None,
        });
    }
    let Some(attempt) = status.attempt else {
        bail!(
            "nothing to {}: {name} has no running attempt (phase {:?})",
            action.as_str(),
            status.phase
        );
    };
    let step = match (action, step) {
        (Action::Approve, None) if attempt.step == 0 => {
            bail!("nothing to approve yet: {name} has not reached its first step")
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

/// Returns the object to create. The Rollout owns it, so that it is deleted with the Rollout.
pub(super) fn intervention(rollout: &Rollout, spec: InterventionSpec) -> Intervention {
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

/// Returns the name under which the API server knows the caller.
pub(super) async fn username(client: Client) -> anyhow::Result<String> {
    answered(caller::username(client))
        .await
        .and_then(|name| name.context("it says no name"))
        .context("the API server does not say who you are")
}

/// Waits for the controller's answer to the Intervention.
async fn settled(
    api: Api<Intervention>,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<InterventionStatus> {
    let answered = await_condition(api, name, is_answered);
    let answered = tokio::time::timeout(timeout.as_std(), answered)
        .await
        .ok()
        .with_context(|| {
            format!(
                "no answer from the controller within {timeout}: \
                 check `kubectl get intervention {name}`"
            )
        })?
        .with_context(|| format!("created Intervention {name}, but cannot watch it"))?;
    answered
        .and_then(|object| object.status)
        .with_context(|| format!("Intervention {name} was deleted before it was answered"))
}

fn is_answered(object: Option<&Intervention>) -> bool {
    object.is_some_and(|object| object.status.is_some())
}

/// Prints the answer; the exit code is a failure if it was rejected.
fn report(action: Action, name: &str, status: &InterventionStatus) -> ExitCode {
    let action = action.as_str();
    let message = &status.message;
    match status.state {
        InterventionState::Accepted => {
            println!("{name}: {action} accepted: {message}");
            ExitCode::SUCCESS
        }
        InterventionState::Rejected => {
            eprintln!("{name}: {action} rejected: {message}");
            ExitCode::FAILURE
        }
    }
}

// === impl Intervene ===

impl Intervene {
    /// Returns the actions that need no arguments of their own.
    fn actions() -> impl Iterator<Item = Action> {
        let all = Action::ALL.into_iter();
        all.filter(|action| *action != Action::Approve)
    }

    fn find(name: &str) -> Option<Action> {
        Self::actions().find(|action| action.as_str() == name)
    }
}

impl Subcommand for Intervene {
    fn augment_subcommands(command: Command) -> Command {
        Self::actions().fold(command, |command, action| {
            let subcommand = Command::new(action.as_str());
            let subcommand = InterveneArgs::augment_args(subcommand);
            command.subcommand(subcommand.about(about(action)))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::find(name).is_some()
    }
}

impl FromArgMatches for Intervene {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (name, matches) = matches
            .subcommand()
            .ok_or_else(|| Error::new(ErrorKind::MissingSubcommand))?;
        let action = Self::find(name).ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))?;
        Ok(Self {
            action,
            args: InterveneArgs::from_arg_matches(matches)?,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
