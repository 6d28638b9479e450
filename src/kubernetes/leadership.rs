//! Leadership by a Lease: one process writes, the others keep their caches warm.
//!
//! A lease is no fence: a process that was frozen may wake up after another one leads. So a leader
//! stops writing well before its lease ends ([`Term::until`]), and each new leader has a greater
//! epoch, with which it annotates everything that an attempt touches. No leader writes an object that bears
//! a greater epoch than its own. The epoch is the Lease's count of transitions, and never less than what
//! attempts bear already: a Lease that was deleted counts from the beginning, and its holder would take
//! running attempts for those of a newer leader, and leave them alone for ever.

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
    /// Identity of this process: the pod's. A container that is restarted has that of the one before it.
    pub(crate) identity: String,
    /// Lease duration: time a standby waits before it takes over.
    pub(crate) duration: Duration,
}

/// Lease as far as this process knows it.
#[derive(Default)]
struct Known {
    /// The Lease as this process wrote it last: renewing it takes one request.
    held: Option<Lease>,
    /// Number of transitions in the Lease when this process wrote it last.
    epoch: Option<i32>,
    /// The Lease as another holder left it.
    seen: Option<ObservedLease>,
}

/// Lease as it was last observed. It expires if it is unchanged for its duration.
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
    let mut known = Known::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ending.cancelled() => break,
        }
        let asked = clock::monotonic();
        match try_to_lead(&leases, &config, min_epoch(), &mut known).await {
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
            // If errors persist, the term ends by itself.
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
    known: &mut Known,
) -> Result<Option<u64>, kube::Error> {
    let min_epoch = i32::try_from(min_epoch).unwrap_or(i32::MAX);
    if let Some(held) = &known.held {
        let spec = held.spec.clone().unwrap_or_default();
        let transitions = spec.lease_transitions.unwrap_or_default();
        if transitions >= min_epoch
            && let Some(epoch) = renew(leases, config, held.clone(), transitions, known).await?
        {
            return Ok(Some(epoch));
        }
    }
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
        let created = leases.create(&PostParams::default(), &fresh).await;
        return known.claimed(created);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let is_ours = holder == config.identity;
    let next = if is_ours && known.epoch == Some(transitions) && transitions >= min_epoch {
        transitions
    } else if is_ours || holder.is_empty() || is_expired(&lease, &spec, &mut known.seen) {
        // Our identity in an epoch that we don't know is that of the container before us.
        transitions.max(min_epoch).saturating_add(1)
    } else {
        return Ok(None);
    };
    renew(leases, config, lease, next, known).await
}

/// Writes the Lease in our name over the one that is given, and no other.
async fn renew(
    leases: &Api<Lease>,
    config: &LeaseConfig,
    lease: Lease,
    transitions: i32,
    known: &mut Known,
) -> Result<Option<u64>, kube::Error> {
    let spec = lease.spec.clone().unwrap_or_default();
    let renewed = Lease {
        spec: Some(claim_spec(config, spec, transitions)),
        ..lease
    };
    let written = leases
        .replace(&config.lease, &PostParams::default(), &renewed)
        .await;
    known.claimed(written)
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

// === impl Known ===

impl Known {
    /// Keeps a Lease that was written, and returns its epoch; none where it was changed concurrently, or
    /// is gone. A write that timed out may have succeeded, and does not mean that another process leads.
    fn claimed(&mut self, result: Result<Lease, kube::Error>) -> Result<Option<u64>, kube::Error> {
        match result {
            Ok(lease) => {
                let spec = lease.spec.as_ref();
                let transitions = spec
                    .and_then(|spec| spec.lease_transitions)
                    .unwrap_or_default();
                self.epoch = Some(transitions);
                self.held = Some(lease);
                Ok(Some(transitions.max(0).unsigned_abs().into()))
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.held = None;
                Ok(None)
            }
            Err(error) => Err(error),
        }
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
