//! Leadership by a Lease: one process writes, the others keep their caches warm.
//!
//! A lease is no fence: a process that was frozen may wake up after another one leads. So a leader
//! stops writing well before its lease ends ([`Term::until`]), and each new leader has a greater
//! epoch, which it leaves in everything that an attempt touches. The epoch is the Lease's count of
//! transitions, and never less than what attempts bear already: a Lease that was deleted counts from
//! the beginning, and nobody would dare to touch what a "newer" leader has begun.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::{clock, kubernetes::fence::Term};

/// Lease to compete for, and the identity to hold it by.
#[derive(Clone, Debug)]
pub(crate) struct LeaseConfig {
    pub(crate) namespace: String,
    pub(crate) lease: String,
    /// Identity of this process, unique among all.
    pub(crate) identity: String,
    /// Lease duration: time a standby waits before it takes over.
    pub(crate) duration: Duration,
}

/// Lease as it was last observed: its term runs as long as it does not change.
struct ObservedLease {
    version: String,
    since: Instant,
}

/// Competes for the lease until cancelled, and then releases it. `min_epoch` is the greatest epoch
/// that an attempt bears.
pub(crate) async fn run_election(
    client: Client,
    config: LeaseConfig,
    min_epoch: impl Fn() -> u64 + Send,
    term: watch::Sender<Option<Term>>,
    ending: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client, &config.namespace);
    let mut ticks = tokio::time::interval(config.duration / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ending.cancelled() => break,
        }
        let asked = clock::monotonic();
        match try_to_lead(&leases, &config, min_epoch(), &mut seen).await {
            Ok(Some(epoch)) => {
                let until = asked + config.duration * 2 / 3;
                let before = term.send_replace(Some(Term { epoch, until }));
                if before.is_none_or(|before| before.epoch != epoch) {
                    tracing::info!(epoch, identity = %config.identity, "became leader");
                }
            }
            Ok(None) => {
                if term.send_replace(None).is_some() {
                    tracing::warn!("lost leadership");
                }
            }
            // The term ends by itself where this goes on.
            Err(error) => tracing::warn!(%error, "cannot reach the Lease, retrying"),
        }
    }
    if term.send_replace(None).is_some() {
        release(&leases, &config).await;
    }
}

/// Yields each time that this process becomes the leader, also after its own term had expired.
pub(crate) fn became_leader(terms: watch::Receiver<Option<Term>>) -> impl Stream<Item = ()> + Send {
    let mut before: Option<Term> = None;
    WatchStream::from_changes(terms).filter_map(move |term| {
        let goes_on = before.zip(term).is_some_and(|(before, term)| {
            before.epoch == term.epoch && clock::monotonic() < before.until
        });
        before = term;
        std::future::ready((term.is_some() && !goes_on).then_some(()))
    })
}

/// Renews or acquires the Lease, and returns the epoch while this process holds it.
async fn try_to_lead(
    leases: &Api<Lease>,
    config: &LeaseConfig,
    min_epoch: u64,
    seen: &mut Option<ObservedLease>,
) -> Result<Option<u64>, kube::Error> {
    let min_epoch = i32::try_from(min_epoch).unwrap_or(i32::MAX);
    let Some(lease) = leases.get_opt(&config.lease).await? else {
        let fresh = Lease {
            metadata: ObjectMeta {
                name: Some(config.lease.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(claim_spec(
                config,
                LeaseSpec::default(),
                min_epoch.saturating_add(1),
            )),
        };
        return claim_result(leases.create(&PostParams::default(), &fresh).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let next = if holder == config.identity && transitions >= min_epoch {
        transitions
    } else if holder == config.identity || holder.is_empty() || is_expired(&lease, &spec, seen) {
        transitions.max(min_epoch).saturating_add(1)
    } else {
        return Ok(None);
    };
    let renewed = Lease {
        spec: Some(claim_spec(config, spec, next)),
        ..lease
    };
    claim_result(
        leases
            .replace(&config.lease, &PostParams::default(), &renewed)
            .await,
    )
}

/// Returns true if the holder has not renewed for the duration that it declared, by this machine's
/// own clock: clocks of different machines are never compared.
fn is_expired(lease: &Lease, spec: &LeaseSpec, seen: &mut Option<ObservedLease>) -> bool {
    let version = lease.resource_version().unwrap_or_default();
    let now = clock::monotonic();
    let duration = Duration::from_secs(
        spec.lease_duration_seconds
            .unwrap_or_default()
            .max(1)
            .unsigned_abs()
            .into(),
    );
    match seen {
        Some(observed) if observed.version == version => {
            now.duration_since(observed.since) >= duration
        }
        Some(_) | None => {
            *seen = Some(ObservedLease {
                version,
                since: now,
            });
            false
        }
    }
}

fn claim_spec(config: &LeaseConfig, spec: LeaseSpec, transitions: i32) -> LeaseSpec {
    let now = MicroTime(clock::now());
    let taken = spec.holder_identity.as_deref() != Some(&config.identity);
    LeaseSpec {
        holder_identity: Some(config.identity.clone()),
        lease_duration_seconds: Some(
            config
                .duration
                .as_secs()
                .max(1)
                .try_into()
                .unwrap_or(i32::MAX),
        ),
        acquire_time: if taken {
            Some(now.clone())
        } else {
            spec.acquire_time
        },
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..spec
    }
}

/// Epoch of a Lease that was written; none where it was changed concurrently.
fn claim_result(result: Result<Lease, kube::Error>) -> Result<Option<u64>, kube::Error> {
    match result {
        Ok(lease) => {
            let transitions = lease
                .spec
                .and_then(|spec| spec.lease_transitions)
                .unwrap_or_default();
            Ok(Some(transitions.max(0).unsigned_abs().into()))
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lets another process lead at once.
async fn release(leases: &Api<Lease>, config: &LeaseConfig) {
    let given = async {
        let mut lease = leases.get(&config.lease).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&config.identity) {
            spec.holder_identity = None;
            leases
                .replace(&config.lease, &PostParams::default(), &lease)
                .await?;
        }
        Ok::<_, kube::Error>(())
    };
    match given.await {
        Ok(()) => tracing::info!("released lease"),
        Err(error) => tracing::warn!(%error, "cannot release lease; it will expire"),
    }
}

#[cfg(test)]
mod tests;
