//! The samplers: one for each attempt that has gates, told what to read as the attempt goes on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::SignedDuration;
use tidegate_api::NamespacedName;
use tidegate_engine::{decision::Sampling, gate::reading::Reading, observed::Observed, plan::Plan};
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

/// The sampler of an attempt.
struct Running {
    attempt: u32,
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
        let input = SamplerInput {
            variables: VersionVariables {
                canary: variables::of_canary(seen, plan),
                stable: variables::of_stable(
                    &seen.identity.namespace,
                    plan,
                    seen.status.stable.as_ref(),
                ),
            },
            traffic_since: Some(sampling.since),
            alone: sampling.alone,
            step: sampling.step,
        };
        if let Some(running) = running
            .get(&key)
            .filter(|running| running.attempt == sampling.attempt)
        {
            running.sampler.update(input);
        } else {
            let sampler = self.start(&key, seen, plan, input);
            running.insert(
                key,
                Running {
                    attempt: sampling.attempt,
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
        let statuses = seen.status.attempt.iter();
        let statuses: Vec<_> = statuses.flat_map(|attempt| &attempt.gates).collect();
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
