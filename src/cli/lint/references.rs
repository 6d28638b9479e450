//! Objects by their names, among all files: what a Rollout names and is not there, and what is there twice.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api::{
    names::GROUP,
    route::{is_without_service, routes_in},
    workload::WorkloadKind,
};

use super::{
    finding::{Check, Remark},
    object::Object,
};

/// Identity of an object among the files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// Objects of all files.
#[derive(Default)]
pub(super) struct Index {
    ids: Vec<Id>,
    /// First place of each object of ours: its namespace, or else the folder that it is in, counts.
    firsts: BTreeMap<(Id, String), String>,
    /// True if other objects may exist than those that were read.
    is_partial: bool,
}

// === impl Index ===

impl Index {
    /// Adds an object.
    pub(super) fn add(&mut self, object: &Object) {
        self.ids.extend(Id::of(object));
    }

    /// Says that something could not be read, or is put together elsewhere.
    pub(super) fn is_partial(&mut self) {
        self.is_partial = true;
    }

    /// Returns the remarks on the names in an object of ours at `place` of a file in `folder`.
    pub(super) fn check(&mut self, object: &Object, folder: &str, place: &str) -> Vec<Remark> {
        let mut remarks: Vec<_> = self.duplicate(object, folder, place).into_iter().collect();
        if object.kind() == "Rollout" && !self.is_partial && self.has_others(object) {
            remarks.extend(self.missing(object));
        }
        remarks
    }

    /// Without a namespace an object goes where its folder goes.
    fn duplicate(&mut self, object: &Object, folder: &str, place: &str) -> Option<Remark> {
        let id = Id::of(object)?;
        let folder = match id.namespace {
            Some(_) => String::new(),
            None => folder.to_owned(),
        };
        let at = (id, folder);
        if let Some(first) = self.firsts.get(&at) {
            let title = object.title();
            let message = format!("{title} is also at {first}: keep one of the two");
            let remark = Remark::new("metadata.name", Check::DuplicateObject, message);
            return Some(remark);
        }
        self.firsts.insert(at, place.to_owned());
        None
    }

    /// Returns true if objects of other groups may be in the namespace: then the files are more than Rollouts alone.
    fn has_others(&self, rollout: &Object) -> bool {
        let namespace = rollout.namespace();
        self.ids
            .iter()
            .any(|id| id.group != GROUP && id.namespace.as_deref() == namespace)
    }

    fn missing(&self, rollout: &Object) -> Vec<Remark> {
        let spec = &rollout.value["spec"];
        let mut named = Vec::new();
        if let Some((kind, name)) = workload(spec) {
            named.push((
                "spec.workload".to_owned(),
                kind.group(),
                kind.as_str(),
                name,
            ));
            let service = match spec["service"].as_str() {
                Some(service) => Some(("spec.service", service)),
                None if is_without_service(spec) => None,
                None => Some(("spec.workload.name", name)),
            };
            named
                .extend(service.map(|(field, service)| (field.to_owned(), "", "Service", service)));
        }
        let routes = routes_in(spec);
        for (index, route) in routes.iter().enumerate() {
            let field = super::places::element("spec.traffic.routes", index);
            named.push((field, route.kind.group(), route.kind.as_str(), &route.name));
        }
        let absent = named
            .into_iter()
            .filter(|(_, group, kind, name)| !self.has(rollout, group, kind, name));
        absent
            .map(|(field, _, kind, name)| {
                let message = format!(
                    "no {kind} {name} is among the files: correct the name, or lint its file, too"
                );
                Remark::new(field, Check::MissingObject, message)
            })
            .collect()
    }

    fn has(&self, rollout: &Object, group: &str, kind: &str, name: &str) -> bool {
        let namespace = rollout.namespace();
        self.ids.iter().any(|id| {
            let may_be_there = id.namespace.is_none()
                || namespace.is_none()
                || id.namespace.as_deref() == namespace;
            may_be_there && id.group == group && id.kind == kind && id.name == name
        })
    }
}

// === impl Id ===

impl Id {
    fn of(object: &Object) -> Option<Self> {
        Some(Self {
            group: object.group().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().map(str::to_owned),
            name: object.name()?.to_owned(),
        })
    }
}

/// Returns kind and name of the workload in a spec.
fn workload(spec: &Value) -> Option<(WorkloadKind, &str)> {
    let workload = &spec["workload"];
    let name = workload["name"].as_str()?;
    let kind = workload["kind"].as_str()?;
    let kind = WorkloadKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)?;
    Some((kind, name))
}
