//! Git's templates as `ControllerRevision`s: what waits there becomes a Rollout's candidate.
//!
//! They are written in Tidegate's own name and owned by nobody: a foreground deletion of the
//! Rollout must not take a template away that an attempt may still need.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Map, Value, json};
use tidegate_api::{
    CommitId, Revision,
    config::{ConfigCopy, ConfigRef},
    names,
    status::RolloutStatus,
};
use tidegate_engine::revision;

use super::{
    cluster::Cluster,
    config::NamedConfig,
    failure::{ApplyError, Failure},
    manifest::Key,
};

/// The commit that asked for a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its id.
    pub(crate) commit: CommitId,
    /// Author of the commit, `Name <address>`.
    pub(crate) author: String,
    /// False if an earlier commit may have asked for it first.
    pub(crate) is_exact: bool,
}

/// A template that git wants.
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a str,
    pub(super) rollout: &'a str,
    pub(super) template: &'a Value,
    /// Name of the template, with its config.
    pub(super) revision: &'a Revision,
    pub(super) origin: Option<&'a Origin>,
    pub(super) path: &'a str,
    /// The `ConfigRepo`, as a reference within the namespace.
    pub(super) config_repo: String,
    /// True if the template is applied without a release.
    pub(super) first_deploy: bool,
    /// Config that it names and that is part of its revision.
    pub(super) config: Option<&'a NamedConfig>,
    /// Copies of what of that has changed; `None` where nothing has.
    pub(super) copies: Option<Vec<ConfigCopy>>,
}

/// The newest revision of a Rollout.
#[derive(Debug)]
enum Newest<'a> {
    /// It is known.
    Known(&'a ControllerRevision),
    /// It is to be applied.
    Wanted(Value),
}

/// The revisions of one Rollout.
pub(super) struct Revisions<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    known: Vec<ControllerRevision>,
}

// === impl Revisions ===

impl<'a> Revisions<'a> {
    /// Those that the namespace has for a Rollout.
    pub(super) async fn of(
        cluster: &'a Cluster,
        namespace: &'a str,
        rollout: &str,
    ) -> Result<Self, ApplyError> {
        let api: Api<ControllerRevision> = Api::namespaced(cluster.reads.clone(), namespace);
        let labelled = ListParams::default().labels(&format!("{}={rollout}", names::ROLLOUT_LABEL));
        let known = api
            .list(&labelled)
            .await
            .map_err(|error| failed(namespace, rollout, error))?;
        Ok(Self {
            cluster,
            namespace,
            known: known.items,
        })
    }

    /// The template of a revision.
    pub(super) fn template(&self, revision: &Revision) -> Option<Value> {
        self.known
            .iter()
            .filter_map(|known| Some(&known.data.as_ref()?.0))
            .find(|data| revision::of_kept(data) == *revision)
            .and_then(|data| data.get("template"))
            .cloned()
    }

    /// Digest of an object of config as a revision has it.
    pub(super) fn digest(&self, revision: &Revision, object: &ConfigRef) -> Option<String> {
        let data = self
            .known
            .iter()
            .filter_map(|known| Some(&known.data.as_ref()?.0));
        let data = data.filter(|data| revision::of_kept(data) == *revision);
        let mut digests = data.map(|data| &data["objects"][object.to_string()]);
        digests.find_map(|digest| digest.as_str().map(str::to_owned))
    }

    /// Returns true if the workload was created by a first deploy of a Rollout that was created at
    /// `rollout_since`. Revisions of an earlier Rollout of the same name do not count.
    pub(super) fn has_first_deploy(&self, rollout_since: Option<Timestamp>) -> bool {
        self.known.iter().any(|known| {
            let since = known.creation_timestamp().map(|time| time.0);
            is_first_deploy_of(known)
                && since
                    .zip(rollout_since)
                    .is_none_or(|(since, rollout)| since >= rollout)
        })
    }

    /// Writes a template that git wants, unless it is the newest already.
    pub(super) async fn want(&self, wanted: &Wanted<'_>) -> Result<ControllerRevision, ApplyError> {
        let object = match wanted.object(&self.known) {
            Newest::Known(known) => return Ok(known.clone()),
            Newest::Wanted(object) => object,
        };
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let api: Api<ControllerRevision> =
            Api::namespaced(self.cluster.writes.clone(), self.namespace);
        let params = PatchParams::apply(names::FIELD_MANAGER)
            .force()
            .validation_strict();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .map_err(|error| failed(self.namespace, &name, error))
    }
}

fn is_first_deploy_of(revision: &ControllerRevision) -> bool {
    revision
        .annotations()
        .get(names::FIRST_DEPLOY_ANNOTATION)
        .is_some_and(|is| is == "true")
}

fn failed(namespace: &str, name: &str, error: kube::Error) -> ApplyError {
    let key = Key::namespaced("apps/v1", "ControllerRevision", namespace, name);
    let failure = Failure::of_own(error, &key);
    ApplyError::at(None, &key, failure)
}

/// Returns true if a template is applied without a release: nothing has been ready yet, and the
/// workload does not exist or was created by a first deploy.
pub(super) fn is_first_deploy(
    status: Option<&RolloutStatus>,
    workload_is_there: bool,
    came_by_first_deploy: bool,
) -> bool {
    let has_stable = status.is_some_and(|status| status.stable.is_some());
    !has_stable && (!workload_is_there || came_by_first_deploy)
}

// === impl Wanted ===

impl Wanted<'_> {
    /// The object to apply, unless this template, asked for by this commit, is the newest.
    fn object<'k>(&self, known: &'k [ControllerRevision]) -> Newest<'k> {
        let name = self.revision.object_name(self.rollout);
        let commit = self.origin.map(|origin| origin.commit.as_str());
        let greatest = known.iter().map(|one| one.revision).max().unwrap_or(0);
        let same = known.iter().find(|one| one.name_any() == name);
        let newest = same.filter(|one| {
            let asked = one
                .annotations()
                .get(names::CONFIG_COMMIT_ANNOTATION)
                .map(String::as_str);
            // Where the history was too long to be searched, the one that is known asked first.
            let is_bound = self.origin.is_some_and(|origin| !origin.is_exact);
            one.revision == greatest
                && (asked == commit || is_bound && asked.is_some())
                && (!self.first_deploy || is_first_deploy_of(one))
        });
        if let Some(newest) = newest
            && newest.annotations().get(names::CONFIG_COPIES_ANNOTATION) == self.copies().as_ref()
        {
            return Newest::Known(newest);
        }
        let mut metadata = json!({
            "name": name,
            "namespace": self.namespace,
            "labels": {names::ROLLOUT_LABEL: self.rollout},
            "annotations": self.annotations(),
        });
        if let Some(version) = same.and_then(ResourceExt::resource_version) {
            metadata["resourceVersion"] = json!(version);
        }
        Newest::Wanted(json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": metadata,
            "data": revision::kept(
                self.template,
                self.config.map(|config| (config.digest.as_str(), config.digests())),
            ),
            // Other copies of it are no other order.
            "revision": newest.map_or(greatest + 1, |newest| newest.revision),
        }))
    }

    /// The copies, as an annotation has them.
    fn copies(&self) -> Option<String> {
        let copies = self.copies.as_ref()?;
        serde_json::to_string(copies).ok()
    }

    fn annotations(&self) -> Map<String, Value> {
        let first_deploy = if self.first_deploy {
            Some("true")
        } else {
            None
        };
        // A restore looks for the template alone.
        let written_as = self.config.map(|_| revision::of(self.template));
        let copies = self.copies();
        let all = [
            (
                names::CONFIG_COMMIT_ANNOTATION,
                self.origin.map(|origin| origin.commit.as_str()),
            ),
            (
                names::CONFIG_AUTHOR_ANNOTATION,
                self.origin.map(|origin| origin.author.as_str()),
            ),
            (names::CONFIG_PATH_ANNOTATION, Some(self.path)),
            (names::CONFIG_REPO_ANNOTATION, Some(&*self.config_repo)),
            (names::FIRST_DEPLOY_ANNOTATION, first_deploy),
            (
                names::WRITTEN_AS_ANNOTATION,
                written_as.as_ref().map(Revision::as_str),
            ),
            (names::CONFIG_COPIES_ANNOTATION, copies.as_deref()),
        ];
        all.into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), json!(value?))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(template: &'a Value, revision: &'a Revision, origin: &'a Origin) -> Wanted<'a> {
        Wanted {
            namespace: "shop",
            rollout: "web",
            template,
            revision,
            origin: Some(origin),
            path: "web.yaml",
            config_repo: "shop".into(),
            first_deploy: false,
            config: None,
            copies: None,
        }
    }

    fn origin(commit: &str) -> Origin {
        Origin {
            commit: CommitId::named(commit),
            author: "Ada <ada@example.com>".into(),
            is_exact: true,
        }
    }

    fn known(object: Value) -> ControllerRevision {
        serde_json::from_value(object).expect("a ControllerRevision")
    }

    #[test]
    fn a_template_is_written_once_per_commit_that_asks_for_it() {
        let (one, two) = (json!({"a": 1}), json!({"a": 2}));
        let object = |template: &Value, commit: &str, known: &[ControllerRevision]| {
            let (revision, origin) = (revision::of(template), origin(commit));
            match wanted(template, &revision, &origin).object(known) {
                Newest::Known(_) => None,
                Newest::Wanted(object) => Some(object),
            }
        };
        let first = object(&one, "c1", &[]).expect("new");
        assert_eq!(first["revision"], 1);
        assert_eq!(
            first["metadata"]["annotations"]["tidegate.io/config-commit"],
            "c1"
        );
        assert_eq!(first["metadata"].get("ownerReferences"), None);
        let first = known(first);
        assert_eq!(object(&one, "c1", std::slice::from_ref(&first)), None);
        let second = object(&two, "c2", std::slice::from_ref(&first)).expect("another template");
        assert_eq!(second["revision"], 2);
        let both = [first, known(second)];
        assert_eq!(object(&two, "c2", &both), None);
        let back = object(&one, "c3", &both).expect("asked for again");
        assert_eq!(back["revision"], 3);
        let again = object(&two, "c4", &both).expect("another commit asks");
        assert_eq!(again["revision"], 3);
    }

    #[test]
    fn only_what_was_never_ready_goes_straight_in() {
        let stable = json!({"stable": {"revision": "a", "podTemplateHash": "1", "since": "2026-01-01T00:00:00Z"}});
        let stable: RolloutStatus = serde_json::from_value(stable).expect("a status");
        assert!(is_first_deploy(None, false, false));
        assert!(is_first_deploy(None, true, true));
        assert!(!is_first_deploy(None, true, false));
        assert!(!is_first_deploy(Some(&stable), false, true));
    }
}
