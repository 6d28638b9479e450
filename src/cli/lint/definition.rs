//! Our kinds, with the schema and the rules by which the API server takes them.
//!
//! Not seen here: rules that compare with the object as it was (`oldSelf`), the policy of the chart for
//! Interventions, and whatever else a cluster has its own policies for.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps,
};
use kube_cel::{CompiledSchema, ErrorKind, Validator, compile_schema};
use serde_json::{Value, json};
use tidegate_api::names::GROUP;

use super::{
    engine,
    finding::{Check, Remark},
    metadata,
    schema::{self, Extent, closest},
};
use crate::cli::crds::definitions;

/// Definitions of all our kinds.
pub(super) struct Definitions {
    kinds: Vec<Definition>,
    validator: Validator,
}

/// Definition of a kind.
struct Definition {
    kind: String,
    api_version: String,
    schema: JSONSchemaProps,
    rules: CompiledSchema,
}

// === impl Definitions ===

impl Definitions {
    pub(super) fn new() -> Self {
        Self {
            kinds: definitions().iter().flat_map(of_versions).collect(),
            validator: Validator::new(),
        }
    }

    /// Returns all that the API server and Tidegate refuse in an object of our group, and what is perhaps not
    /// meant.
    pub(super) fn check(&self, object: &Value, extent: Extent) -> Vec<Remark> {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let kind = object["kind"].as_str().unwrap_or_default();
        let definition = self
            .kinds
            .iter()
            .find(|known| known.kind == kind && known.api_version == version);
        let Some(definition) = definition else {
            return vec![self.unknown(kind, version)];
        };
        let mut object = object.clone();
        schema::without_blanks(&mut object);
        let mut remarks = schema::validate(&definition.schema, &object, extent);
        if extent == Extent::Part {
            return remarks;
        }
        remarks.extend(metadata::nameless(&object));
        if remarks.is_empty() {
            remarks = self.broken_rules(definition, &object);
            remarks.extend(engine::broken_rules(kind, &object));
        }
        let is_refused = !remarks.is_empty();
        remarks.extend(engine::check(kind, &object, is_refused));
        remarks
    }

    /// Returns the rules of the definition that do not hold. One that cannot be evaluated here is left to the API
    /// server.
    fn broken_rules(&self, definition: &Definition, object: &Value) -> Vec<Remark> {
        let broken = self
            .validator
            .validate_compiled(&definition.rules, object, None);
        let broken = broken.err().into_iter().flatten();
        broken
            .filter(|broken| broken.kind == ErrorKind::ValidationFailure)
            .map(|broken| Remark::new(broken.field_path, Check::BrokenRule, broken.message))
            .collect()
    }

    fn unknown(&self, kind: &str, version: &str) -> Remark {
        if let Some(known) = self.kinds.iter().find(|known| known.kind == kind) {
            let message = format!(
                "{version} has no {kind}: write apiVersion: {}",
                known.api_version
            );
            return Remark::new("apiVersion", Check::UnknownKind, message);
        }
        let kinds = self.kinds.iter().map(|known| known.kind.as_str());
        let known: Vec<_> = kinds.clone().collect();
        let remedy = match closest(kind, kinds) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("{GROUP} has {}", known.join(", ")),
        };
        let message = format!("the kind `{kind}` does not exist: {remedy}");
        Remark::new("kind", Check::UnknownKind, message)
    }
}

/// Returns the definitions of a kind's versions.
fn of_versions(crd: &CustomResourceDefinition) -> Vec<Definition> {
    let versions = crd.spec.versions.iter().filter_map(|version| {
        let root = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        let rules = serde_json::to_value(root).expect("a schema is JSON");
        Some(Definition {
            kind: crd.spec.names.kind.clone(),
            api_version: format!("{}/{}", crd.spec.group, version.name),
            schema: with_metadata(root.clone()),
            rules: compile_schema(&rules),
        })
    });
    versions.collect()
}

/// The schema with that of the metadata, which every API server has, and with any status: a file's has no effect.
fn with_metadata(mut schema: JSONSchemaProps) -> JSONSchemaProps {
    let fields = schema.properties.get_or_insert_default();
    let any = json!({ "x-kubernetes-preserve-unknown-fields": true });
    let any: JSONSchemaProps = serde_json::from_value(any).expect("a schema");
    fields.insert("status".to_owned(), any);
    fields.insert("metadata".to_owned(), metadata::schema());
    for name in ["apiVersion", "kind"] {
        fields.entry(name.to_owned()).or_default();
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::lint::weights;

    #[test]
    fn every_rule_of_a_definition_can_be_evaluated() {
        for definition in Definitions::new().kinds {
            let errors = definition.rules.compilation_errors();
            assert!(errors.is_empty(), "{}: {errors:?}", definition.kind);
        }
    }

    /// Kinds of failure of the rules that an object breaks, each with the rule.
    fn failures(kind: &str, object: &Value) -> Vec<(ErrorKind, String)> {
        let definitions = Definitions::new();
        let mut kinds = definitions.kinds.iter();
        let definition = kinds.find(|definition| definition.kind == kind);
        let rules = &definition.expect("a kind").rules;
        let broken = definitions.validator.validate_compiled(rules, object, None);
        let broken = broken.err().into_iter().flatten();
        broken.map(|broken| (broken.kind, broken.rule)).collect()
    }

    #[test]
    fn a_rule_that_the_library_cannot_evaluate_is_one_that_is_checked_beside_it() {
        let rollout = json!({ "metadata": { "name": "x".repeat(41) }, "spec": {
            "workload": { "kind": "Deployment", "name": "x" },
            "traffic": { "replicas": {}, "routes": [{ "group": "x", "kind": "HTTPRoute", "name": "x" }] },
            "steps": [{ "approval": {}, "hold": "1m" }, { "weight": 10 }, { "weight": "60%", "replicas": 3 }],
            "canary": { "keepFailed": "25h" }, "metrics": { "ingestDelay": "11m", "secretRef": { "name": "x" } },
            "gates": [
                { "name": "a", "threshold": { "query": "x", "min": 2.0, "max": 1.0 }, "minRequests": 3, "interval": "1ms" },
                { "name": "b", "breachWindow": { "query": "x", "maxBreaches": 3, "ofLast": 3, "within": "1m" } },
                { "name": "c" },
            ],
        } });
        let failures = failures("Rollout", &rollout);
        let (seen, unseen): (Vec<_>, Vec<_>) = failures
            .into_iter()
            .partition(|(kind, _)| *kind == ErrorKind::ValidationFailure);
        assert!(seen.len() >= 12, "{seen:#?}");
        for (_, rule) in unseen {
            assert!(rule.contains(weights::UNKNOWN), "{rule}");
        }
    }
}
