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

/// Which Lease, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct Candidacy {
    pub(crate) namespace: String,
    pub(crate) lease: String,
    /// This process, unlike any other.
    pub(crate) identity: String,
    /// How long after a leader was last heard of another one may lead.
    pub(crate) duration: Duration,
}

/// What was last seen of the Lease: as long as it does not change, its holder is silent.
struct Sighting {
    version: String,
    since: Instant,
}

/// Stands for leadership until cancelled, and then gives the lease back. `borne` is the greatest
/// epoch that an attempt bears.
pub(crate) async fn stand(
    client: Client,
    candidacy: Candidacy,
    borne: impl Fn() -> u64 + Send,
    term: watch::Sender<Option<Term>>,
    ending: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client, &candidacy.namespace);
    let mut ticks = tokio::time::interval(candidacy.duration / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = ending.cancelled() => break,
        }
        let asked = clock::monotonic();
        match try_to_lead(&leases, &candidacy, borne(), &mut seen).await {
            Ok(Some(epoch)) => {
                let until = asked + candidacy.duration * 2 / 3;
                let before = term.send_replace(Some(Term { epoch, until }));
                if before.is_none_or(|before| before.epoch != epoch) {
                    tracing::info!(epoch, identity = %candidacy.identity, "leading");
                }
            }
            Ok(None) => {
                if term.send_replace(None).is_some() {
                    tracing::warn!("another process leads now");
                }
            }
            // The term ends by itself where this goes on.
            Err(error) => tracing::warn!(%error, "cannot reach the Lease"),
        }
    }
    if term.send_replace(None).is_some() {
        give_back(&leases, &candidacy).await;
    }
}

/// Each time that this process begins to lead, or leads again after its term had run out.
pub(crate) fn beginnings(terms: watch::Receiver<Option<Term>>) -> impl Stream<Item = ()> + Send {
    let mut before: Option<Term> = None;
    WatchStream::from_changes(terms).filter_map(move |term| {
        let goes_on = before.zip(term).is_some_and(|(before, term)| {
            before.epoch == term.epoch && clock::monotonic() < before.until
        });
        before = term;
        std::future::ready((term.is_some() && !goes_on).then_some(()))
    })
}

/// Renews or takes the Lease, and answers with the epoch while it is ours.
async fn try_to_lead(
    leases: &Api<Lease>,
    candidacy: &Candidacy,
    borne: u64,
    seen: &mut Option<Sighting>,
) -> Result<Option<u64>, kube::Error> {
    let borne = i32::try_from(borne).unwrap_or(i32::MAX);
    let Some(lease) = leases.get_opt(&candidacy.lease).await? else {
        let fresh = Lease {
            metadata: ObjectMeta {
                name: Some(candidacy.lease.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(ours(
                candidacy,
                LeaseSpec::default(),
                borne.saturating_add(1),
            )),
        };
        return won(leases.create(&PostParams::default(), &fresh).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let transitions = spec.lease_transitions.unwrap_or_default();
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let next = if holder == candidacy.identity && transitions >= borne {
        transitions
    } else if holder == candidacy.identity || holder.is_empty() || silent(&lease, &spec, seen) {
        transitions.max(borne).saturating_add(1)
    } else {
        return Ok(None);
    };
    let renewed = Lease {
        spec: Some(ours(candidacy, spec, next)),
        ..lease
    };
    won(leases
        .replace(&candidacy.lease, &PostParams::default(), &renewed)
        .await)
}

/// Whether the holder has not been heard of for as long as it said, by this machine's own clock:
/// clocks of different machines are never compared.
fn silent(lease: &Lease, spec: &LeaseSpec, seen: &mut Option<Sighting>) -> bool {
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
        Some(sighting) if sighting.version == version => {
            now.duration_since(sighting.since) >= duration
        }
        Some(_) | None => {
            *seen = Some(Sighting {
                version,
                since: now,
            });
            false
        }
    }
}

fn ours(candidacy: &Candidacy, spec: LeaseSpec, transitions: i32) -> LeaseSpec {
    let now = MicroTime(clock::now());
    let taken = spec.holder_identity.as_deref() != Some(&candidacy.identity);
    LeaseSpec {
        holder_identity: Some(candidacy.identity.clone()),
        lease_duration_seconds: Some(
            candidacy
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

/// The epoch of a Lease that was written; none where another process was faster.
fn won(result: Result<Lease, kube::Error>) -> Result<Option<u64>, kube::Error> {
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
async fn give_back(leases: &Api<Lease>, candidacy: &Candidacy) {
    let given = async {
        let mut lease = leases.get(&candidacy.lease).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&candidacy.identity) {
            spec.holder_identity = None;
            leases
                .replace(&candidacy.lease, &PostParams::default(), &lease)
                .await?;
        }
        Ok::<_, kube::Error>(())
    };
    match given.await {
        Ok(()) => tracing::info!("gave the lease back"),
        Err(error) => tracing::warn!(%error, "could not give the lease back; it will run out"),
    }
}

#[cfg(test)]
mod tests;
