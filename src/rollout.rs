//! The controller: watches, observe, decide, execute; leadership.
//!
//! ```text
//!  watches ─▶ world ─▶ observe ─▶ (engine: decide) ─▶ execute ─▶ API server
//!     └──────wakes──────▶ reconcile ◀──wakes── samplers, records
//! ```
//!
//! Everything that may take long runs beside it and wakes the Rollout when there is news: a
//! reconcile never awaits Prometheus, git, a stay or a settle.

mod caches;
mod context;
mod counters;
mod events;
mod execute;
mod leadership;
mod leftovers;
mod observe;
mod prometheus;
mod query_checks;
mod reconcile;
mod records;
mod repos;
mod samplers;
mod surroundings;
#[cfg(test)]
mod testing;
mod variables;
mod watches;
mod write_errors;

use std::{net::SocketAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::{self, Either},
    stream,
};
use jiff::SignedDuration;
use kube::{
    Config,
    runtime::{Controller, controller},
};
use tidegate_git::{Git, Transport, TransportError, TransportSettings};
use tidegate_metrics::prometheus::Prometheus;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use self::{
    context::Context,
    counters::Counters,
    leadership::Candidacy,
    observe::Memory,
    prometheus::Prometheuses,
    query_checks::QueryChecks,
    records::{Desk, Records},
    samplers::Samplers,
    watches::Scope,
    write_errors::WriteErrors,
};
use crate::{
    clock,
    kubernetes::{
        clients::{ClientError, Clients, WRITE_TIMEOUT},
        fence::Fence,
    },
    server,
};

/// How many Rollouts are reconciled at a time. One Rollout never is twice.
const CONCURRENCY: u16 = 16;

/// How the controller runs.
pub struct Settings {
    /// The one namespace to look after, or all.
    pub namespace: Option<String>,
    /// The cluster's name in records.
    pub cluster: String,
    /// Where gates are read.
    pub prometheus: Prometheus,
    /// The hosts at which Rollouts may have gates read instead.
    pub metrics_hosts: Vec<String>,
    /// How often Prometheus scrapes workloads.
    pub scrape_interval: SignedDuration,
    /// Where health and metrics are served.
    pub listen: SocketAddr,
    /// How git is run.
    pub git: TransportSettings,
    /// Where repositories are kept between fetches.
    pub git_cache: PathBuf,
    /// The name of the Lease.
    pub lease: String,
    /// The namespace of the Lease.
    pub lease_namespace: String,
    /// How long after a leader was last heard of another one may lead.
    pub lease_duration: Duration,
    /// This process, unlike any other.
    pub identity: String,
}

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster is configured.
    #[error(
        "no cluster is configured: set KUBECONFIG, or run in a pod with a ServiceAccount ({0})"
    )]
    Kubeconfig(#[source] kube::config::InferConfigError),
    /// The clients cannot be made.
    #[error(transparent)]
    Clients(#[from] ClientError),
    /// git cannot be run.
    #[error(transparent)]
    Git(#[from] TransportError),
    /// The address is taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs until `ending`, then finishes the writes in hand and gives the lease back.
#[expect(
    clippy::too_many_lines,
    reason = "it is being split into build and drive"
)]
pub async fn run(settings: Settings, ending: CancellationToken) -> Result<(), RunError> {
    let config = Config::infer().await.map_err(RunError::Kubeconfig)?;
    let (term, terms) = watch::channel(None);
    let fence = Fence::new(terms);
    let clients = Arc::new(Clients::new(config, fence.clone())?);
    let git = Arc::new(Git::new(Transport::new(settings.git)?, &settings.git_cache));
    let (wakes, waking) = mpsc::unbounded_channel();
    let (caches, fillers) = watches::caches();
    let caches = Arc::new(caches);
    let scope = Scope {
        client: clients.watching.clone(),
        namespace: settings.namespace.clone(),
    };
    let (rollout_filler, repo_filler) = watches::start(&scope, &caches, &wakes, fillers);
    let rollout_store = rollout_filler.store();
    let repo_store = repo_filler.store();

    let filled = caches.filled();
    let counters = Counters::new();
    let events = events::Events::start(clients.writing.clone(), settings.identity.clone());
    let (repo_wakes, repos_waking) = mpsc::unbounded_channel();
    let records = Records::new(Desk::new(
        git.clone(),
        clients.writing.clone(),
        caches.clone(),
        (wakes.clone(), repo_wakes.clone()),
        counters.clone(),
        events.recorder(),
    ));
    let records = Arc::new(records);
    let exposition = {
        let (counters, records, fence) = (counters.clone(), records.clone(), fence.clone());
        move || counters.exposition(fence.epoch().is_ok(), records.pending())
    };
    let synced = caches.clone();
    let served = server::serve(settings.listen, move || synced.is_filled(), exposition).await;
    let server = served.map_err(|source| RunError::Listen {
        address: settings.listen,
        source,
    })?;

    let repos = repos::Repos::new(
        &clients,
        git,
        caches.clone(),
        records.clone(),
        fence.clone(),
        events.recorder(),
    );
    let prometheuses = Prometheuses::new(
        settings.prometheus,
        settings.metrics_hosts,
        clients.writing.clone(),
    );
    let ctx = Arc::new(Context {
        cluster: settings.cluster,
        concerns: repos.concerns(repo_wakes, caches.clone()),
        caches,
        memory: Memory::default(),
        clients: clients.clone(),
        fence: fence.clone(),
        records,
        prometheuses: prometheuses.clone(),
        refusals: WriteErrors::default(),
        query_checks: QueryChecks::new(wakes.clone()),
        samplers: Samplers::new(
            prometheuses,
            settings.scrape_interval,
            wakes.clone(),
            counters.clone(),
        ),
        counters,
        events,
        wakes,
        began: clock::monotonic(),
    });
    let candidacy = Candidacy {
        namespace: settings.lease_namespace,
        lease: settings.lease,
        identity: settings.identity,
        duration: settings.lease_duration,
    };
    // The lease is given back after the last write, not at the signal.
    let leading = CancellationToken::new();
    let standing = tokio::spawn({
        let (client, leading, caches) = (
            clients.standing.clone(),
            leading.clone(),
            ctx.caches.clone(),
        );
        async move {
            // Who leads with empty caches would take everything for gone.
            filled.await;
            tracing::info!("the caches are filled");
            leadership::stand(
                client,
                candidacy,
                move || caches.greatest_epoch(),
                term,
                leading,
            )
            .await;
        }
    });

    // Whatever has come meanwhile: while others led, or between two watches.
    let anew = || {
        stream::select(
            leadership::beginnings(fence.changes()),
            ctx.caches.relists(),
        )
    };
    let config = || controller::Config::default().concurrency(CONCURRENCY);
    let rollouts = Controller::for_stream(
        watches::stream(&scope, rollout_filler).map(Ok),
        rollout_store,
    )
    .with_config(config())
    .reconcile_on(
        UnboundedReceiverStream::new(waking)
            .map(|(namespace, name)| context::reference(&namespace, &name)),
    )
    .reconcile_all_on(anew())
    .graceful_shutdown_on(ending.clone().cancelled_owned())
    .run(reconcile::reconcile, reconcile::after_error, ctx.clone());
    let repos = Controller::for_stream(watches::stream(&scope, repo_filler).map(Ok), repo_store)
        .with_config(config())
        .reconcile_on(
            UnboundedReceiverStream::new(repos_waking)
                .map(|(namespace, name)| context::reference(&namespace, &name)),
        )
        .reconcile_all_on(anew())
        .graceful_shutdown_on(ending.cancelled_owned())
        .run(repos::reconcile, repos::after_error, Arc::new(repos));
    // A Rollout that is asked for and is not there is gone.
    let rollouts = rollouts.for_each(|result| {
        let ctx = ctx.clone();
        async move {
            if let Err(controller::Error::ObjectNotFound(gone)) = result {
                leftovers::collect(
                    &ctx,
                    gone.namespace.as_deref().unwrap_or_default(),
                    &gone.name,
                )
                .await;
            }
        }
    });
    finish(rollouts, repos.for_each(|_| std::future::ready(()))).await;
    leading.cancel();
    if standing.await.is_err() {
        tracing::warn!("the lease was not given back");
    }
    server.abort();
    Ok(())
}

/// Waits for what both controllers have in hand. A fetch may take minutes, and while it does nobody
/// decides: it is given the time of a write, and then the lease goes to one who can.
async fn finish(rollouts: impl Future<Output = ()>, repos: impl Future<Output = ()>) {
    match future::select(pin!(rollouts), pin!(repos)).await {
        Either::Left(((), repos)) => {
            if tokio::time::timeout(WRITE_TIMEOUT, repos).await.is_err() {
                tracing::warn!("git has not answered; what it was asked is left undone");
            }
        }
        Either::Right(((), rollouts)) => rollouts.await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_hangs_does_not_keep_the_lease() {
        let began = tokio::time::Instant::now();
        finish(
            tokio::time::sleep(Duration::from_secs(1)),
            future::pending(),
        )
        .await;
        assert_eq!(began.elapsed(), Duration::from_secs(1) + WRITE_TIMEOUT);
        let began = tokio::time::Instant::now();
        finish(
            tokio::time::sleep(Duration::from_secs(9)),
            future::ready(()),
        )
        .await;
        assert_eq!(
            began.elapsed(),
            Duration::from_secs(9),
            "a decision in hand is finished"
        );
    }
}
