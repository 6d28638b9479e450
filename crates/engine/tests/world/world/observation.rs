//! Observation: the process's view of the world, from its caches and its memory.

use std::collections::BTreeSet;

use tidegate_api::{
    CommitId, Revision,
    config::{ConfigCopy, ConfigKind, ReleasedConfig},
    rollout::{GitOnRollback, OnRollback},
    status::Source,
};
use tidegate_engine::{
    observed::{
        Admission, Brake, Candidate, Comparison, Identity, Intervention, Observed, Owned,
        Provenance, QueryCheck, held,
    },
    revision::Digest,
};

use super::{Reader, World};
use crate::{cluster::Commit, deployment::Deployment, shell::candidate_labels};

// === impl World ===

impl World {
    /// Returns the process's view now.
    pub(crate) fn observed(&self) -> Option<Observed> {
        let (rollout, cache) = (self.rollout.as_ref()?, &self.shell.cache);
        Some(Observed {
            identity: Identity {
                cluster: "test".to_owned(),
                namespace: "shop".to_owned(),
                name: "checkout".to_owned(),
                uid: format!("uid-{}", rollout.uid),
                generation: 1,
            },
            deleted_at: rollout.deleted_at,
            finalizer: rollout.finalizer,
            epoch: self.shell.epoch,
            spec: rollout.spec.clone(),
            status: (*rollout.status).clone(),
            unwritten_since: self.shell.memory.unwritten_since,
            conflicting_rollouts: Vec::new(),
            workload_conflict: false,
            brake: self.brake,
            workload: cache.workload.as_ref().map(|workload| {
                let seen = workload.seen(self.now);
                seen.as_it_runs(&rollout.status)
            }),
            stable: rollout
                .status
                .stable
                .as_ref()
                .map_or(Comparison::Unknown, |stable| {
                    self.compared(stable.revision.as_str())
                }),
            stable_kept: rollout
                .status
                .stable
                .as_ref()
                .is_none_or(|stable| cache.kept.contains_key(stable.revision.as_str())),
            stable_source: self.stable_source(),
            canary: cache
                .canary
                .as_ref()
                .filter(|canary| canary.going.is_none())
                .map(|canary| canary.seen(self.now)),
            canary_pods: cache.canary.as_ref().map_or(0, Deployment::pods),
            retained_pods: cache.retained.clone(),
            canary_service: cache.canary_service,
            canary_name_conflict: false,
            candidate: cache
                .wanted()
                .filter(|commit| !self.is_observing() || cache.kept.contains_key(&commit.revision))
                .map(|commit| self.candidate(commit)),
            services: cache
                .services
                .iter()
                .map(crate::cluster::Service::seen)
                .collect(),
            other_workloads: Vec::new(),
            stable_endpoints: cache.stable_endpoints.seen(),
            canary_endpoints: cache.canary_endpoints.seen(),
            unlisted_route_kinds: Vec::new(),
            routes: if self.splits_by_replicas() {
                Vec::new()
            } else {
                cache
                    .routes
                    .iter()
                    .map(crate::cluster::Route::seen)
                    .collect()
            },
            config: None,
            config_of_others: BTreeSet::new(),
            kept_config: None,
            written_config: self.written_config(),
            owned: self.owned(),
            refused: self.shell.memory.refused.clone(),
            applying: false,
            queries: self
                .shell
                .memory
                .queries
                .clone()
                .unwrap_or(QueryCheck::Unknown),
            readings: self.shell.memory.readings.clone(),
            interventions: self.asked(),
            recorded: self.shell.memory.recorded.clone(),
            default_on_rollback: OnRollback {
                git: if self.git.unread.is_some() {
                    GitOnRollback::Record
                } else {
                    GitOnRollback::Restore
                },
            },
        })
    }

    /// What a `ConfigRepo` applies is Tidegate's for good.
    fn owned(&self) -> Vec<Owned> {
        let (cache, mut owned) = (&self.shell.cache, Vec::new());
        let attempt = self.status().attempt;
        if self.brake != Brake::Pause || attempt.is_some() {
            return owned;
        }
        let mut workload = cache.workload.iter();
        if workload.any(|workload| workload.owner.is_some()) {
            owned.push(Owned::Workload);
        }
        let services = cache.services.iter();
        let services = services.filter(|service| service.owned && service.epoch.is_none());
        owned.extend(services.map(|service| Owned::Service(service.name.to_owned())));
        if self.splits_by_replicas() {
            return owned;
        }
        let routes = cache.routes.iter();
        let routes = routes.filter(|route| route.owned && route.epoch.is_none());
        owned.extend(routes.map(|route| Owned::Route(route.seen().route)));
        owned
    }

    fn candidate(&self, commit: &Commit) -> Candidate {
        Candidate {
            revision: Revision::named(&commit.revision),
            sequence: commit.sequence,
            source: self.source(commit),
            provenance: if self.reader == Some(Reader::Silent) {
                Provenance::Sought {
                    config_repos: vec!["shop".to_owned()],
                }
            } else {
                Provenance::Settled
            },
            first_deploy: commit.first_deploy,
            images: vec![format!("shop/checkout:{}", commit.template.letter)],
            pod_labels: candidate_labels(),
            comparison: if self.brake == Brake::Pause {
                let (status, seen) = (self.status(), self.shell.cache.workload.as_ref());
                let seen = seen.map(|workload| workload.seen(self.now));
                let revision = Revision::named(&commit.revision);
                held::comparison(&revision, status.stable.as_ref(), seen.as_ref())
            } else {
                self.compared(&commit.revision)
            },
            admission: self.admitted(&commit.revision),
            config: self.released_config(commit),
        }
    }

    /// Config of a revision, where that differs from what stable's pods read.
    fn released_config(&self, commit: &Commit) -> Option<ReleasedConfig> {
        let letter = commit.template.letter;
        self.shell.cache.config.filter(|config| *config != letter)?;
        let copy = ConfigCopy {
            kind: ConfigKind::ConfigMap,
            name: "checkout".to_owned(),
            copy: format!("checkout-canary-{letter}"),
        };
        Some(ReleasedConfig {
            digest: letter.to_string(),
            copies: vec![copy],
        })
    }

    fn written_config(&self) -> Option<Revision> {
        let attempt = self.status().attempt?;
        let (number, revision) = self.shell.memory.written_config.clone()?;
        Some(revision).filter(|_| number == attempt.number)
    }

    /// What only a `ConfigRepo` tells: one that applies, or one that is read.
    fn source(&self, commit: &Commit) -> Source {
        let is_synced = self.brake == Brake::Sync;
        if !is_synced && self.reader.is_none() {
            return Source::default();
        }
        let config_repo = Some("shop".to_owned());
        if self.reader == Some(Reader::Silent) {
            return Source {
                config_repo,
                ..Source::default()
            };
        }
        let (id, written_as) = if is_synced {
            (commit.id.clone(), None)
        } else {
            let written_as = Revision::named(format!("written-{}", commit.template.letter));
            (format!("commit-{}", commit.sequence), Some(written_as))
        };
        Source {
            config_repo,
            commit: Some(CommitId::named(id)),
            author: Some("Ada <ada@example.com>".to_owned()),
            path: Some(self.file.to_owned()),
            written_as,
        }
    }

    /// Source of stable's revision, where another tool applied it.
    fn stable_source(&self) -> Option<Source> {
        let stable = self.status().stable?;
        let mut commits = self.live.commits.iter().rev();
        let commit = commits.find(|commit| commit.revision == stable.revision.as_str())?;
        if self.brake == Brake::Sync {
            None
        } else {
            Some(self.source(commit))
        }
    }

    fn asked(&self) -> Vec<Intervention> {
        let with_answer = |ask: &Intervention| Intervention {
            attribution: self.attribution.clone(),
            ..ask.clone()
        };
        self.asks.iter().map(with_answer).collect()
    }

    fn admitted(&self, revision: &str) -> Admission {
        match &self.shell.memory.admitted {
            Some((of, answer)) if of == revision => answer.clone(),
            Some(_) | None => Admission::Unknown,
        }
    }

    fn compared(&self, revision: &str) -> Comparison {
        let live = self
            .shell
            .cache
            .workload
            .as_ref()
            .map(|workload| workload.template.digest());
        let known = |(of, digest, _): &&(String, Digest, Comparison)| {
            *of == revision && Some(*digest) == live
        };
        let comparison = self
            .shell
            .memory
            .compared
            .iter()
            .find(known)
            .map(|(_, _, comparison)| comparison.clone());
        comparison.unwrap_or(Comparison::Unknown)
    }
}
