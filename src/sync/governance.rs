//! Objects that a Rollout governs, all in its own namespace. Rollouts in the repository count as well as those
//! in the cluster, so that a commit that adds a Rollout together with a new template is masked
//! already, and one that removes the Rollout is masked until it is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};
use tidegate_api::{
    NamespacedName, Revision, Rollout,
    config_repo::GovernedWorkload,
    rollout::{ConfigPolicy, RolloutSpec},
    route::{RouteKind, RouteRef, is_without_service, routes_in},
    status::RolloutStatus,
    workload::{WorkloadKind, WorkloadRef},
};
use tidegate_engine::{pin, revision};

use super::{
    config::{self, NamedConfig, RepoConfig, SharedConfig},
    manifest::{Key, Manifest, workloads},
    plan::ConfigReader,
};
use crate::sync_trigger::status_hash;

/// The Rollouts that count.
#[derive(Debug, Default)]
pub(crate) struct Governance {
    governors: BTreeMap<NamespacedName, Governor>,
    /// Workloads that no Rollout governs any more, and whose template waits for a commit.
    held: BTreeSet<Key>,
    /// Config of the repository's workloads.
    config: RepoConfig,
}

/// A Rollout and what it governs: the objects of which some fields are its own, and not git's. A spec that
/// changes in the middle of an attempt adds to it and takes nothing away until the attempt is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Governor {
    /// The namespace of the Rollout and of all that it governs.
    pub(crate) namespace: String,
    /// The Rollout's name.
    pub(crate) name: String,
    /// True if the Rollout is in the repository.
    pub(crate) declared: bool,
    /// True if the Rollout is in the cluster.
    pub(crate) live: bool,
    /// Workloads that it releases.
    pub(crate) workloads: BTreeSet<WorkloadRef>,
    /// The Services that it names; others are found by their selectors.
    pub(crate) services: BTreeSet<String>,
    /// Routes that it splits.
    pub(crate) routes: Vec<RouteRef>,
    /// What the repository wants of its workload, where it has that.
    pub(crate) wanted: Option<WantedWorkload>,
    /// True if a change of config is applied at once.
    ignores_config: bool,
    /// The status, where it was last seen. Whoever is about to write asks for a fresh one.
    pub(crate) status: Option<RolloutStatus>,
}

/// What a repository wants of a workload that a Rollout governs.
#[derive(Clone, Debug)]
pub(crate) struct WantedWorkload {
    /// The workload.
    pub(crate) key: Key,
    /// The revision that its template is, with its config.
    pub(crate) revision: Revision,
    /// Config that is released with it.
    pub(crate) config: Option<NamedConfig>,
}

// === impl Governance ===

impl Governance {
    /// Collects the objects that the Rollouts of the repository and of the cluster govern. One that only observes
    /// governs nothing; where its mode changes, it does until both have the new one.
    pub(crate) fn new(manifests: &[Manifest], live: &[Arc<Rollout>]) -> Self {
        let specs = manifests.iter().filter_map(|manifest| {
            let rollout = manifest.key.rollout()?;
            Some((rollout, &manifest.object["spec"]))
        });
        let specs: Vec<_> = specs.collect();
        let enforced = live.iter().filter(|rollout| !rollout.only_observes());
        let enforced = enforced.map(|rollout| NamespacedName::of(&**rollout));
        let declared = specs.iter().filter(|(_, spec)| spec["mode"] != "Observe");
        let declared = declared.map(|(rollout, _)| rollout.clone());
        let governing: BTreeSet<_> = enforced.chain(declared).collect();
        let mut governance = Self::default();
        for rollout in live {
            let id = NamespacedName::of(&**rollout);
            if governing.contains(&id) {
                governance.governor(id).add_live(rollout);
            }
        }
        for (id, spec) in specs {
            if governing.contains(&id) {
                governance.governor(id).add_spec(spec);
            }
        }
        let declared = workloads(manifests);
        governance.config = RepoConfig::of(manifests);
        for governor in governance.governors.values_mut() {
            governor.add_selecting_services(manifests, &declared);
            governor.want(&declared, &governance.config);
        }
        governance
    }

    /// Holds the templates of workloads that a Rollout has governed, as the status has them: one that is
    /// deleted right now is held, too.
    pub(crate) fn with_governed(mut self, governed: &[GovernedWorkload]) -> Self {
        let workloads = governed.iter().map(|known| Key::from(&known.object));
        let held = workloads.filter(|workload| self.of_workload(workload).is_none());
        self.held = held.collect();
        self
    }

    /// Returns true if the template of a workload waits for a commit, because its Rollout is gone, or only observes.
    pub(crate) fn is_held(&self, workload: &Key) -> bool {
        self.held.contains(workload)
    }

    /// Workloads that may read an object of config, and whose Rollouts release it: the one that names it in git, or, where
    /// nobody does, each of the namespace, since what is stable may name it yet. What several name is applied at once.
    pub(crate) fn readers_of(&self, key: &Key) -> Vec<ConfigReader<'_>> {
        if config::ref_of(key).is_none() || self.config.is_shared(key) {
            return Vec::new();
        }
        if let Some(workload) = self.config.reader(key) {
            let governor = self.of_workload(workload);
            let is_read = match governor {
                Some(governor) => governor.config().is_some(),
                None => self.is_held(workload),
            };
            let reader = ConfigReader {
                governor,
                workload,
                is_named: true,
            };
            return if is_read { vec![reader] } else { Vec::new() };
        }
        let beside = self.beside(key).filter(|one| !one.ignores_config);
        let beside = beside.filter_map(|governor| {
            Some(ConfigReader {
                governor: Some(governor),
                workload: &governor.wanted.as_ref()?.key,
                is_named: false,
            })
        });
        let held = self.held.iter().map(|workload| ConfigReader {
            governor: None,
            workload,
            is_named: false,
        });
        let held = held.filter(|reader| reader.workload.namespace == key.namespace);
        beside.chain(held).collect()
    }

    /// Config of a workload, whatever its Rollout says of it.
    pub(super) fn config_of(&self, workload: &Key) -> Option<NamedConfig> {
        self.config.of_workload(workload)
    }

    /// What a Rollout's workload reads and others, too, so that it is applied at once.
    pub(super) fn shared_config(&self) -> Vec<SharedConfig> {
        let shared = self.config.shared().iter();
        let is_governed = |shared: &&SharedConfig| {
            let mut readers = shared.readers.iter();
            readers.any(|reader| {
                let governor = self.of_workload(reader);
                governor.is_some_and(|governor| !governor.ignores_config)
            })
        };
        shared.filter(is_governed).cloned().collect()
    }

    /// A Rollout of the cluster.
    pub(crate) fn live_rollout(&self, rollout: &NamespacedName) -> Option<&Governor> {
        self.governors.get(rollout).filter(|governor| governor.live)
    }

    /// All of them.
    pub(crate) fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.governors.values()
    }

    /// Rollout that governs a workload. Where several claim it, one that has begun already goes
    /// first; preflight refuses the others.
    pub(crate) fn of_workload(&self, key: &Key) -> Option<&Governor> {
        let workload = key.workload()?;
        self.first(key, |governor| governor.workloads.contains(&workload))
    }

    /// The Rollout that governs a Service, as far as its name or its selector in git tells.
    pub(crate) fn of_service(&self, key: &Key) -> Option<&Governor> {
        self.first(key, |governor| governor.services.contains(&key.name))
    }

    /// Rollouts that split an object, if it is a route, each with its reference to it.
    pub(crate) fn of_route(&self, key: &Key) -> Vec<(&Governor, &RouteRef)> {
        let Some(kind) = RouteKind::of(key.group(), &key.kind) else {
            return Vec::new();
        };
        self.beside(key)
            .filter_map(|governor| Some((governor, governor.route(kind, &key.name)?)))
            .collect()
    }

    /// The Rollouts of an object's namespace.
    pub(crate) fn beside(&self, key: &Key) -> impl Iterator<Item = &Governor> {
        let namespace = key.namespace.clone();
        self.governors()
            .filter(move |governor| namespace.as_ref() == Some(&governor.namespace))
    }

    fn first(&self, key: &Key, governs: impl Fn(&Governor) -> bool) -> Option<&Governor> {
        self.beside(key)
            .filter(|governor| governs(governor))
            .max_by_key(|governor| {
                (
                    governor.has_attempt(),
                    governor.has_stable(),
                    std::cmp::Reverse(&governor.name),
                )
            })
    }

    fn governor(&mut self, rollout: NamespacedName) -> &mut Governor {
        let NamespacedName { namespace, name } = rollout.clone();
        self.governors.entry(rollout).or_insert_with(|| Governor {
            namespace,
            name,
            ..Governor::default()
        })
    }
}

// === impl Governor ===

impl Governor {
    /// Returns the Rollout's name with its namespace.
    pub(crate) fn id(&self) -> NamespacedName {
        NamespacedName::new(&self.namespace, &self.name)
    }

    /// Returns the revision that the repository wants of one of its workloads, and the config that is released with it.
    pub(crate) fn wants<'a>(
        &'a self,
        workload: &'a Manifest,
    ) -> Option<(&'a Revision, Option<&'a NamedConfig>)> {
        match &self.wanted {
            Some(wanted) if wanted.key == workload.key => {
                Some((&wanted.revision, wanted.config.as_ref()))
            }
            Some(_) | None => Some((workload.revision.as_ref()?, None)),
        }
    }

    /// The revision that the repository wants.
    pub(crate) fn wanted_revision(&self) -> Option<&Revision> {
        self.wanted.as_ref().map(|wanted| &wanted.revision)
    }

    /// Config that is released with it.
    pub(crate) fn config(&self) -> Option<&NamedConfig> {
        self.wanted.as_ref()?.config.as_ref()
    }

    /// Returns true if an attempt is running.
    pub(crate) fn has_attempt(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|status| status.attempt.is_some())
    }

    /// Hash over what in the status decides about governed fields.
    pub(crate) fn status_hash(&self) -> u64 {
        status_hash(self.status.as_ref())
    }

    fn route(&self, kind: RouteKind, name: &str) -> Option<&RouteRef> {
        self.routes.iter().find(|route| route.is_to(kind, name))
    }

    /// Those of its workloads that a repository has.
    fn declared_among<'a>(
        &self,
        declared: &BTreeMap<(&str, WorkloadRef), &'a Manifest>,
    ) -> Vec<&'a Manifest> {
        let workloads = self.workloads.iter();
        workloads
            .filter_map(|workload| declared.get(&(self.namespace.as_str(), workload.clone())))
            .copied()
            .collect()
    }

    /// Puts down what a repository wants.
    fn want(&mut self, declared: &BTreeMap<(&str, WorkloadRef), &Manifest>, config: &RepoConfig) {
        let workloads = self.declared_among(declared).into_iter();
        let mut wanted = workloads.filter_map(|workload| {
            let config = if self.ignores_config {
                None
            } else {
                config.of_workload(&workload.key)
            };
            let revision = match &config {
                Some(config) => revision::with_config(workload.template()?, Some(&config.digest)),
                None => workload.revision.clone()?,
            };
            Some(WantedWorkload {
                key: workload.key.clone(),
                revision,
                config,
            })
        });
        self.wanted = wanted.next();
    }

    fn has_stable(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|status| status.stable.is_some())
    }

    fn add_live(&mut self, rollout: &Rollout) {
        self.live = true;
        self.ignores_config = rollout.spec.config == ConfigPolicy::Ignore;
        self.add_plan(&rollout.spec);
        self.status.clone_from(&rollout.status);
        let attempt = rollout
            .status
            .as_ref()
            .and_then(|status| status.attempt.as_ref());
        if let Some(attempt) = attempt {
            self.add_plan(&attempt.plan);
        }
    }

    fn add_plan(&mut self, spec: &RolloutSpec) {
        self.workloads.insert(spec.workload.clone());
        self.services.extend(spec.service_name().map(str::to_owned));
        self.routes.extend(spec.routes());
    }

    /// A spec as git has it, which need not be a valid one: the objects that it names are masked all the same.
    fn add_spec(&mut self, spec: &Value) {
        self.declared = true;
        self.ignores_config = spec["config"] == "Ignore";
        let workload = text_at(spec, "/workload/name");
        if !is_without_service(spec) {
            self.services
                .extend(text_at(spec, "/service").or_else(|| workload.clone()));
        }
        self.workloads
            .extend(workload.into_iter().flat_map(|name| named(spec, &name)));
        self.routes.extend(routes_in(spec));
    }

    /// Every Service that selects the workload's pods is pinned during an attempt.
    fn add_selecting_services(
        &mut self,
        manifests: &[Manifest],
        declared: &BTreeMap<(&str, WorkloadRef), &Manifest>,
    ) {
        let labels: Vec<&Value> = self
            .declared_among(declared)
            .into_iter()
            .filter_map(|workload| workload.object.pointer("/spec/template/metadata/labels"))
            .collect();
        let namespace = self.namespace.clone();
        let is_beside = |key: &Key| key.is("", "Service") && key.is_in(&namespace);
        for service in manifests.iter().filter(|one| is_beside(&one.key)) {
            let Some(selector) = service
                .object
                .pointer("/spec/selector")
                .and_then(Value::as_object)
            else {
                continue;
            };
            if labels.iter().any(|labels| selects(selector, labels)) {
                self.services.insert(service.key.name.clone());
            }
        }
    }
}

/// Workloads of this name that a spec in git may mean: one whose kind is no kind that can be released
/// means any.
fn named(spec: &Value, name: &str) -> Vec<WorkloadRef> {
    let kind = spec.pointer("/workload/kind").and_then(Value::as_str);
    let known = WorkloadKind::ALL
        .into_iter()
        .find(|known| kind == Some(known.as_str()));
    let kinds = match known {
        Some(kind) => vec![kind],
        None => WorkloadKind::ALL.to_vec(),
    };
    kinds
        .into_iter()
        .map(|kind| WorkloadRef::new(kind, name))
        .collect()
}

fn text_at(spec: &Value, pointer: &str) -> Option<String> {
    let text = spec.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
}

fn selects(selector: &Map<String, Value>, labels: &Value) -> bool {
    let mut wanted = selector.iter();
    !selector.is_empty() && wanted.all(|(key, value)| labels.get(key) == Some(value))
}

/// Returns true if a Service's selector is pinned.
pub(super) fn is_pinned(service: &Value) -> bool {
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    selector.is_some_and(|selector| selector.keys().any(|key| pin::is_label(key)))
}

#[cfg(test)]
mod tests;
