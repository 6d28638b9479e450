//! `tidegate watch`: one Rollout, live.
//!
//! In a terminal a screen that is redrawn at each change and each second; elsewhere a line for
//! each change. Both are made from the Rollout's status alone.

use std::{
    io::{self, IsTerminal as _},
    pin::pin,
};

use clap::Args;
use kube::Api;
use tidegate_api::Rollout;

use super::connection::{Target, answered};

pub(super) mod changes;
mod plain;
mod screen;
mod text;

/// Arguments of `tidegate watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Name of the Rollout
    name: String,
    #[command(flatten)]
    target: Target,
    /// Print a line for each change, also in a terminal
    #[arg(long)]
    plain: bool,
}

/// Watches until it is interrupted, the Rollout is deleted or watching it is forbidden.
pub(super) async fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let (client, namespace) = args.target.connect().await?;
    let api: Api<Rollout> = Api::namespaced(client, &namespace);
    // A wrong name is said as the API server says it; a watch would only find nothing.
    answered(api.get(&args.name)).await?;
    let mut changes = pin!(changes::changes(api, &namespace, &args.name));
    if args.plain || !io::stdout().is_terminal() {
        plain::follow(&mut changes, &mut io::stdout(), &mut io::stderr()).await
    } else {
        screen::follow(&mut changes).await
    }
}
