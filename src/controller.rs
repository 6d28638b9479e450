//! Both controllers put together: built from settings, and driven until the program shuts down.

mod settings;

use std::{net::SocketAddr, pin::pin, sync::Arc};

use futures::{
    Stream, StreamExt,
    future::{self, Either},
    stream,
};
use kube::{
    Client, Config, Resource,
    core::{DeserializeGuard, NamespaceResourceScope},
    runtime::{Controller, controller},
};
use tidegate_api::{ConfigRepo, NamespacedName, Rollout};
use tidegate_git::{Git, Transport, TransportError};
use tokio::{sync::watch as channel, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use self::settings::Settings;
use crate::{
    caches::{self, Caches},
    clock,
    counters::Counters,
    kubernetes::{
        cache::{CacheWriter, Watched},
        clients::{ClientError, Clients, WRITE_TIMEOUT},
        events::EventRecorder,
        fence::{Fence, Term},
        leadership::{self, LeaseConfig},
        schema,
        watch::{self, WatchScope},
    },
    notifications::{self, Notifier},
    records::{RecordQueue, WriterContext},
    repository::Repositories,
    requeue::{self, RequeueReceiver, RequeueSender},
    rollout::{self, memory::RolloutMemory, prometheus::Prometheuses},
    server, sync,
    sync_trigger::{SyncProgress, SyncTrigger},
};

/// Number of Rollouts that are reconciled at a time. No object ever is twice. Most of its time a reconcile
/// waits for a write: with more of them a slow API server answers none within its time.
const ROLLOUTS_AT_ONCE: u16 = 24;

/// Number of ConfigRepos that are reconciled at a time.
const CONFIG_REPOS_AT_ONCE: u16 = 16;

/// Reason for which the program cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
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
    /// The address is in use.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
    /// A task that never ends has ended. Without it the process would go on and do nothing.
    #[error("the task {0} has ended: that is a bug, please report it with the log")]
    TaskEnded(&'static str),
}

/// Runs until `shutdown`, then finishes the writes in hand and releases the lease.
pub(crate) async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), RunError> {
    let config = Config::infer().await.map_err(RunError::Kubeconfig)?;
    build(config, settings).await?.drive(shutdown).await
}

/// Both controllers and what runs beside them, ready to be driven.
struct Controllers {
    clients: Arc<Clients>,
    fence: Fence,
    watched: WatchScope,
    caches: Arc<Caches>,
    rollouts: Parts<rollout::Context, DeserializeGuard<Rollout>>,
    config_repos: Parts<sync::Context, DeserializeGuard<ConfigRepo>>,
    lease: LeaseConfig,
    term_tx: channel::Sender<Option<Term>>,
    /// What is in the way of leading on the served definitions.
    schema_tx: channel::Sender<Option<String>>,
    server: JoinHandle<()>,
}

/// Parts of one controller.
struct Parts<C, K: Watched> {
    ctx: Arc<C>,
    /// Writing end of the cache of its kind.
    writer: CacheWriter<K>,
    requeue_rx: RequeueReceiver,
}

/// Everything that both controllers use.
struct Shared {
    clients: Arc<Clients>,
    fence: Fence,
    caches: Arc<Caches>,
    repositories: Arc<Repositories>,
    counters: Counters,
    events: EventRecorder,
    records: Arc<RecordQueue>,
    requeue_tx: RequeueSender,
    repo_requeue_tx: RequeueSender,
    progress: Arc<SyncProgress>,
}

/// Sets everything up. Watches begin to fill their caches; nothing is reconciled yet.
async fn build(config: Config, settings: Settings) -> Result<Controllers, RunError> {
    let (term_tx, term_rx) = channel::channel(None);
    let fence = Fence::new(term_rx);
    let clients = Arc::new(Clients::new(config, fence.clone())?);
    let transport = Transport::new(settings.git.clone())?;
    let git = Git::new(transport, &settings.git_cache, settings.git_limits);
    let hosts = settings.git_hosts.clone();
    let repositories = Repositories::new(Arc::new(git), hosts, settings.secrets);
    let repositories = Arc::new(repositories.rendered_by(settings.rendering.clone()));
    let (caches, writers) = caches::caches();
    let caches = Arc::new(caches);
    let watched = WatchScope {
        client: clients.watching.clone(),
        namespace: settings.namespace.clone(),
        labels: None,
    };
    let (requeue_tx, requeue_rx) = requeue::channel();
    let (repo_requeue_tx, repo_requeue_rx) = requeue::channel();
    let (rollout_writer, repo_writer) =
        rollout::start_watches(&watched, &caches, &requeue_tx, writers);
    let counters = Counters::new();
    let events = EventRecorder::start(clients.writing.clone(), &settings.lease.identity);
    let records = WriterContext::new(
        repositories.clone(),
        clients.writing.clone(),
        caches.clone(),
        (requeue_tx.clone(), repo_requeue_tx.clone()),
        counters.clone(),
        events.clone(),
    );
    let shared = Shared {
        clients,
        fence,
        caches,
        repositories,
        counters,
        events,
        records: Arc::new(RecordQueue::new(records)),
        requeue_tx,
        repo_requeue_tx,
        progress: Arc::default(),
    };
    let (schema_tx, schema_rx) = channel::channel(Some(schema::UNREAD.to_owned()));
    let server = serve(settings.listen, &shared, schema_rx).await?;
    let only = settings.namespace.clone();
    let config_repos = Arc::new(sync_context(&shared, settings.nodes, only));
    let lease = settings.lease.clone();
    let rollouts = Arc::new(rollout_context(&shared, settings));
    Ok(Controllers {
        clients: shared.clients,
        fence: shared.fence,
        caches: shared.caches,
        watched,
        rollouts: Parts {
            ctx: rollouts,
            writer: rollout_writer,
            requeue_rx,
        },
        config_repos: Parts {
            ctx: config_repos,
            writer: repo_writer,
            requeue_rx: repo_requeue_rx,
        },
        lease,
        term_tx,
        schema_tx,
        server,
    })
}

async fn serve(
    address: SocketAddr,
    shared: &Shared,
    schema: channel::Receiver<Option<String>>,
) -> Result<JoinHandle<()>, RunError> {
    let caches = shared.caches.clone();
    let (counters, records, fence) = (
        shared.counters.clone(),
        shared.records.clone(),
        shared.fence.clone(),
    );
    let served = server::serve(
        address,
        move || not_ready(schema.borrow().clone(), &caches),
        move || counters.exposition(fence.epoch().is_ok(), records.pending()),
    );
    served
        .await
        .map_err(|source| RunError::Listen { address, source })
}

/// Returns what is in the way of being ready.
fn not_ready(schema: Option<String>, caches: &Caches) -> Option<String> {
    match schema {
        None if !caches.is_filled() => Some("caches are not synced yet".to_owned()),
        schema => schema,
    }
}

fn sync_context(shared: &Shared, nodes: usize, namespace: Option<String>) -> sync::Context {
    let looks = sync::LookSettings {
        repositories: shared.repositories.clone(),
        requeue_tx: shared.repo_requeue_tx.clone(),
        namespace,
        nodes,
    };
    sync::Context::new(
        &shared.clients,
        looks,
        shared.caches.clone(),
        shared.records.clone(),
        shared.progress.clone(),
        shared.fence.clone(),
        shared.events.clone(),
    )
}

fn rollout_context(shared: &Shared, settings: Settings) -> rollout::Context {
    let caches = shared.caches.clone();
    let prometheuses = Prometheuses::new(
        settings.prometheus,
        settings.metrics_hosts,
        settings.secrets,
        settings.metrics_namespace_label,
        shared.clients.writing.clone(),
    );
    let memory = RolloutMemory::new(
        &prometheuses,
        settings.scrape_interval,
        &shared.requeue_tx,
        &shared.counters,
    );
    rollout::Context {
        cluster: settings.cluster,
        sync: SyncTrigger::new(
            shared.progress.clone(),
            shared.repo_requeue_tx.clone(),
            caches.clone(),
        ),
        caches,
        memory,
        clients: shared.clients.clone(),
        fence: shared.fence.clone(),
        records: shared.records.clone(),
        prometheuses,
        counters: shared.counters.clone(),
        events: shared.events.clone(),
        notifier: Notifier::new(
            settings.notifications,
            settings.secrets,
            shared.clients.writing.clone(),
            shared.counters.clone(),
            shared.events.clone(),
        ),
        requeue_tx: shared.requeue_tx.clone(),
        started: clock::monotonic(),
    }
}

// === impl Controllers ===

impl Controllers {
    /// Runs both controllers until `shutdown`, or until a task beside them ends.
    async fn drive(self, shutdown: CancellationToken) -> Result<(), RunError> {
        // The lease is released after the last write, not at the signal.
        let release = CancellationToken::new();
        let span = tracing::info_span!(
            "leadership",
            namespace = self.lease.namespace,
            name = self.lease.lease
        );
        let election = elect(
            self.clients.lease.clone(),
            self.caches.clone(),
            self.lease,
            (self.term_tx, self.schema_tx),
            release.clone(),
        );
        let mut election = tokio::spawn(election.instrument(span));
        let Parts {
            ctx,
            writer,
            requeue_rx,
        } = self.rollouts;
        let (relieved_tx, relieved_rx) = requeue::channel();
        let lane = rollout::urgent::run(ctx.clone(), requeue_rx, relieved_tx);
        let mut lane = tokio::spawn(lane.instrument(tracing::info_span!("urgent")));
        let stop = shutdown.clone();
        let rollouts = controller(&self.watched, writer, relieved_rx, ROLLOUTS_AT_ONCE)
            .reconcile_all_on(relists(&self.fence, &self.caches))
            .graceful_shutdown_on(shutdown.clone().cancelled_owned())
            .run(rollout::reconcile, rollout::after_error, ctx.clone());
        let Parts {
            ctx: repos,
            writer,
            requeue_rx,
        } = self.config_repos;
        let config_repos = controller(&self.watched, writer, requeue_rx, CONFIG_REPOS_AT_ONCE)
            .reconcile_all_on(relists(&self.fence, &self.caches))
            .graceful_shutdown_on(shutdown.cancelled_owned())
            .run(sync::reconcile, sync::after_error, repos.clone());
        let rollouts = rollouts
            .filter_map(|result| future::ready(deleted(result)))
            .for_each(|gone| {
                let ctx = &ctx;
                async move { rollout::collect(ctx, &gone).await }
            });
        let config_repos = config_repos
            .filter_map(|result| future::ready(deleted(result)))
            .for_each(|gone| {
                repos.forget(&gone);
                future::ready(())
            });
        let mut work = pin!(finish(rollouts, config_repos));
        let ended = tokio::select! {
            () = &mut work => None,
            _ = &mut election => Some("election"),
            _ = &mut lane => Some("urgent lane"),
        };
        if let Some(task) = ended {
            tracing::error!(task, "a task has ended, shutting down");
            stop.cancel();
            work.await;
        }
        lane.abort();
        release.cancel();
        if ended != Some("election") && election.await.is_err() {
            tracing::warn!("the election has panicked; the lease will expire");
        }
        // The next leader does not wait for it.
        ctx.notifier.drain(notifications::GRACE).await;
        self.server.abort();
        ended.map_or(Ok(()), |task| Err(RunError::TaskEnded(task)))
    }
}

/// Competes for leadership once the served definitions have every field that is written, and the
/// caches are synced: to a leader with empty caches everything would seem deleted.
async fn elect(
    client: Client,
    caches: Arc<Caches>,
    lease: LeaseConfig,
    (term_tx, schema_tx): (
        channel::Sender<Option<Term>>,
        channel::Sender<Option<String>>,
    ),
    release: CancellationToken,
) {
    let prepared = async {
        schema::wait_until_current(&client, &schema_tx).await;
        caches.filled().await;
    };
    tokio::select! {
        () = prepared => {}
        () = release.cancelled() => return,
    }
    tracing::info!("caches synced");
    leadership::run_election(
        client,
        lease,
        move || caches.greatest_epoch(),
        term_tx,
        release,
    )
    .await;
}

/// Controller of one kind that is fed by its own watch and by requeues.
fn controller<K>(
    watched: &WatchScope,
    writer: CacheWriter<K>,
    requeue_rx: RequeueReceiver,
    at_once: u16,
) -> Controller<K>
where
    K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let store = writer.store();
    Controller::for_stream(watch::stream(watched, writer).map(Ok), store)
        .with_config(controller::Config::default().concurrency(at_once))
        .reconcile_on(requeue::references(requeue_rx))
}

/// Yields when everything is to be reconciled: leadership begins, or a watch has been restarted and
/// changes may have been missed.
fn relists(fence: &Fence, caches: &Caches) -> impl Stream<Item = ()> + Send + use<> {
    stream::select(leadership::became_leader(fence.changes()), caches.relists())
}

/// Returns the object that was requeued and does not exist, if that is what came of a reconcile.
fn deleted<T, E, Q>(result: Result<T, controller::Error<E, Q>>) -> Option<NamespacedName>
where
    E: std::error::Error + 'static,
    Q: std::error::Error + 'static,
{
    match result {
        Err(controller::Error::ObjectNotFound(gone)) => Some(NamespacedName::new(
            gone.namespace.unwrap_or_default(),
            gone.name,
        )),
        Ok(_) | Err(_) => None,
    }
}

/// Waits for what both controllers have in hand, sync for the time of a write: then the lease goes on.
async fn finish(rollouts: impl Future<Output = ()>, repos: impl Future<Output = ()>) {
    match future::select(pin!(rollouts), pin!(repos)).await {
        Either::Left(((), repos)) => {
            if tokio::time::timeout(WRITE_TIMEOUT, repos).await.is_err() {
                tracing::warn!("sync abandoned at shutdown");
            }
        }
        Either::Right(((), rollouts)) => rollouts.await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kubernetes::testing::Script;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_has_never_led_ends_when_it_is_told() {
        let (caches, _unfilled) = caches::caches();
        let lease = LeaseConfig {
            namespace: "tidegate".to_owned(),
            lease: "leader".to_owned(),
            identity: "one".to_owned(),
            duration: Duration::from_secs(15),
        };
        let senders = (channel::channel(None).0, channel::channel(None).0);
        let release = CancellationToken::new();
        release.cancel();
        let script = Script::default();
        elect(script.client(), Arc::new(caches), lease, senders, release).await;
        assert!(script.writes().is_empty());
    }

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
