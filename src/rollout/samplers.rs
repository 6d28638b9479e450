//! The samplers: one for each attempt that has gates, told what to read as the attempt goes on.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::SignedDuration;
use tidegate_engine::{
    decision::Sampling, gate::Reading, observed::Observed, plan::Plan, revision::short,
};
use tidegate_metrics::{
    sampler::{GateQuery, Sampler, SamplerInput, SamplerSettings},
    template::Variables,
};

use super::{
    context::{self, Wakes},
    counters::Counters,
    prometheus::Prometheuses,
};
use crate::clock;

/// The samplers, by namespace and Rollout.
pub(crate) struct Samplers {
    prometheuses: Prometheuses,
    scrape_interval: SignedDuration,
    wakes: Wakes,
    counters: Counters,
    running: Mutex<HashMap<(String, String), Running>>,
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
        wakes: Wakes,
        counters: Counters,
    ) -> Self {
        Self {
            prometheuses,
            scrape_interval,
            wakes,
            counters,
            running: Mutex::default(),
        }
    }

    /// The readings of a Rollout's attempt that are kept, oldest first.
    pub(crate) fn readings(&self, namespace: &str, name: &str) -> Vec<Reading> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = running.get(&(namespace.to_owned(), name.to_owned()));
        running
            .map(|running| running.sampler.readings())
            .unwrap_or_default()
    }

    /// Ends the sampler of a Rollout that others decide about now.
    pub(crate) fn end(&self, namespace: &str, name: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Starts, tells or ends the sampler of a Rollout, as was decided.
    pub(crate) fn follow(&self, seen: &Observed, plan: Option<&Plan>, sampling: Option<Sampling>) {
        let key = (seen.identity.namespace.clone(), seen.identity.name.clone());
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
            variables: variables(seen, plan),
            window_start: Some(sampling.since),
            step: sampling.step,
        };
        if let Some(running) = running
            .get(&key)
            .filter(|running| running.attempt == sampling.attempt)
        {
            running.sampler.tell(input);
        } else {
            let sampler = self.start(&key, plan, input);
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
        (namespace, name): &(String, String),
        plan: &Plan,
        input: SamplerInput,
    ) -> Sampler {
        let (wakes, counters) = (self.wakes.clone(), self.counters.clone());
        let prometheus = self.prometheuses.of(namespace, plan.metrics.as_ref());
        let (namespace, name) = (namespace.clone(), name.clone());
        let settings = SamplerSettings {
            scrape_interval: self.scrape_interval,
            clock: Arc::new(clock::now),
            notify: Arc::new(move |reading| {
                counters.read(reading);
                context::wake(&wakes, &namespace, &name);
            }),
        };
        let gates = plan.gates.iter().map(GateQuery::from).collect();
        Sampler::start(prometheus, gates, &settings, input)
    }
}

/// What a query's placeholders stand for: the candidate's pods are those of the canary, and of the
/// workload once the template is in.
fn variables(seen: &Observed, plan: &Plan) -> Variables {
    let attempt = seen.status.attempt.as_ref();
    let sets = |name: &str, workload: Option<&tidegate_engine::observed::Workload>| {
        let current = workload.and_then(|workload| workload.current());
        current.map(|version| format!("{name}-{}", version.id))
    };
    let stable_template_updated = attempt.is_some_and(|attempt| attempt.stable_template_updated);
    let verified = seen.canary.as_ref().map(|canary| canary.template);
    let promoted = seen
        .workload
        .as_ref()
        .filter(|workload| stable_template_updated && Some(workload.template) == verified);
    let replica_sets = [
        sets(&plan.canary, seen.canary.as_ref()),
        sets(&plan.workload.name, promoted),
    ];
    Variables {
        namespace: seen.identity.namespace.clone(),
        name: plan.workload.name.clone(),
        service: plan.service.clone(),
        track: tidegate_api::names::TRACK_CANARY.to_owned(),
        revision: attempt
            .map(|attempt| short(&attempt.revision).to_owned())
            .unwrap_or_default(),
        replica_sets: replica_sets.into_iter().flatten().collect(),
    }
}
