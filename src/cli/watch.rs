//! `tidegate watch`: one Rollout, live.
//!
//! In a terminal a screen that is drawn anew at each change and each second; elsewhere a line for
//! each change. Both are made from the Rollout's status alone.

use std::{
    io::{self, IsTerminal as _},
    pin::pin,
};

use anyhow::Context as _;
use clap::Args;
use futures::{Stream, StreamExt as _};
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use tidegate_api::Rollout;

use super::connection::{Target, answer};

mod plain;
mod screen;
mod story;

/// Which Rollout is watched.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The Rollout
    name: String,
    #[command(flatten)]
    target: Target,
    /// A line for each change, also in a terminal
    #[arg(long)]
    plain: bool,
}

/// Watches until a person ends it or the Rollout is gone.
pub(super) async fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let (client, namespace) = args.target.connect().await?;
    let api: Api<Rollout> = Api::namespaced(client, &namespace);
    // A wrong name or a missing right is said at once; a watch would wait for it.
    api.get(&args.name).await.map_err(answer)?;
    let mut changes = pin!(changes(api, &args.name));
    if args.plain || !io::stdout().is_terminal() {
        plain::follow(&mut changes, &mut io::stdout()).await
    } else {
        screen::follow(&mut changes).await
    }
}

/// The Rollout at each change; `None` where it is gone. A watch that breaks is taken up again.
fn changes(api: Api<Rollout>, name: &str) -> impl Stream<Item = Option<Rollout>> + use<> {
    watcher::watch_object(api, name).default_backoff().filter_map(|change| std::future::ready(change.ok()))
}

/// The Rollout at its next change; an error where it is gone.
async fn next(changes: &mut (impl Stream<Item = Option<Rollout>> + Unpin)) -> anyhow::Result<Rollout> {
    let change = changes.next().await.flatten();
    change.context("the Rollout is gone")
}
