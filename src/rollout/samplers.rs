//! The samplers: one for each attempt, or release that is observed, that has gates, told what to read as it goes on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::SignedDuration;
use tidegate_api::{NamespacedName, status::ObservedRelease};
use tidegate_engine::{
    decision::{Sampled, Sampling},
    gate::reading::Reading,
    observed::Observed,
    plan::Plan,
};
use tidegate_metrics::sampler::{
    SampledGate, Sampler, SamplerInput, SamplerSettings, VersionVariables,
};

use super::{prometheus::Prometheuses, variables};
use crate::{clock, counters::Counters, requeue::RequeueSender};

/// The samplers, by Rollout.
pub(crate) struct Samplers {
    prometheuses: Prometheuses,
    scrape_interval: SignedDuration,
    requeue_tx: RequeueSender,
    counters: Counters,
    running: Mutex<HashMap<NamespacedName, Running>>,
}

/// The sampler of a release.
struct Running {
    of: Sampled,
    sampler: Sampler,
}

// === impl Samplers ===

impl Samplers {
    pub(crate) fn new(
        prometheuses: Prometheuses,
        scrape_interval: SignedDuration,
        requeue_tx: RequeueSender,
        counters: Counters,
    ) -> Self {
        Self {
            prometheuses,
            scrape_interval,
            requeue_tx,
            counters,
            running: Mutex::default(),
        }
    }

    /// The readings of a Rollout's attempt that are kept, oldest first.
    pub(crate) fn readings(&self, rollout: &NamespacedName) -> Vec<Reading> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.get(rollout);
        running
            .map(|running| running.sampler.readings())
            .unwrap_or_default()
    }

    /// Ends the sampler of a Rollout that others decide about now.
    pub(crate) fn end(&self, rollout: &NamespacedName) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(rollout);
    }

    /// Starts, tells or ends the sampler of a Rollout, as was decided.
    pub(crate) fn follow(&self, seen: &Observed, plan: Option<&Plan>, sampling: Option<Sampling>) {
        let key = NamespacedName::new(&seen.identity.namespace, &seen.identity.name);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((plan, sampling)) = plan
            .zip(sampling)
            .filter(|(plan, _)| !plan.gates.is_empty())
        else {
            if seen.status.attempt.is_none() {
                running.remove(&key);
            }
            return;
        };
        let namespace = &seen.identity.namespace;
        let input = SamplerInput {
            variables: VersionVariables {
                canary: match observed_release(seen) {
                    Some(release) => variables::of_observed(seen, plan, release),
                    None => variables::of_canary(seen, plan),
                },
                stable: variables::of_stable(namespace, plan, Some(&seen.status)),
            },
            traffic_since: Some(sampling.since),
            alone: sampling.alone,
            step: sampling.step,
        };
        if let Some(running) = running
            .get(&key)
            .filter(|running| running.of == sampling.of)
        {
            running.sampler.update(input);
        } else {
            let sampler = self.start(&key, seen, plan, input);
            running.insert(
                key,
                Running {
                    of: sampling.of,
                    sampler,
                },
            );
        }
    }

    fn start(
        &self,
        rollout: &NamespacedName,
        seen: &Observed,
        plan: &Plan,
        input: SamplerInput,
    ) -> Sampler {
        let (requeue_tx, counters) = (self.requeue_tx.clone(), self.counters.clone());
        let prometheus = self
            .prometheuses
            .of(&rollout.namespace, plan.metrics.as_ref());
        let requeued = rollout.clone();
        // A store that lags is read as of when it had everything.
        let delay = plan.ingest_delay();
        let settings = SamplerSettings {
            scrape_interval: self.scrape_interval,
            clock: Arc::new(move || clock::before(delay)),
            notify: Arc::new(move |reading| {
                counters.read(reading);
                requeue_tx.requeue(requeued.clone());
            }),
        };
        // What an earlier sampler has counted is in the status as far as it is evidence.
        let attempt = seen.status.attempt.iter();
        let attempt = attempt.flat_map(|attempt| &attempt.gates);
        let observed = observed_release(seen).into_iter();
        let observed = observed.flat_map(|release| &release.gates);
        let statuses: Vec<_> = attempt.chain(observed).collect();
        let gates = plan.gates.iter().map(|gate| {
            let status = statuses.iter().find(|status| status.name == gate.name);
            SampledGate::new(
                gate,
                status.and_then(|status| status.evidence.evaluated_at()),
            )
        });
        let gates = gates.collect();
        let span = tracing::info_span!("sampler", rollout.namespace, rollout.name);
        span.in_scope(|| Sampler::start(prometheus, gates, &settings, input))
    }
}

/// Returns the release that is observed.
fn observed_release(seen: &Observed) -> Option<&ObservedRelease> {
    seen.status.observation.as_ref()?.release.as_deref()
}
