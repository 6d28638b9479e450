//! The generated schemas: each field says what it means, and each rule what to write instead.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use tidegate::cli::crds::definitions;

/// Calls `look` for a schema and everything in it, each with its path.
fn walk(path: &str, schema: &JSONSchemaProps, look: &mut impl FnMut(&str, &JSONSchemaProps)) {
    look(path, schema);
    for (name, field) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), field, look);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        walk(&format!("{path}[]"), item, look);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), value, look);
    }
}

fn root(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    schema.open_api_v3_schema.as_ref().unwrap()
}

/// The paths of all schemas of all kinds for which `is_wrong` holds.
fn wrong(is_wrong: impl Fn(&str, &JSONSchemaProps) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for crd in definitions() {
        walk(&crd.spec.names.kind, root(&crd), &mut |path, schema| {
            if is_wrong(path, schema) {
                found.push(path.to_owned());
            }
        });
    }
    found
}

#[test]
fn every_field_says_what_it_means() {
    let silent = wrong(|path, schema| {
        // The API server describes these itself; an item is described by its list or map.
        let is_field = path.contains('.') && !path.ends_with("[]") && !path.ends_with("{}");
        is_field && schema.description.as_deref().unwrap_or_default().is_empty()
    });
    assert!(silent.is_empty(), "without a description: {silent:#?}");
}

#[test]
fn every_rule_has_a_message() {
    let silent = wrong(|_, schema| {
        let rules = schema
            .x_kubernetes_validations
            .as_deref()
            .unwrap_or_default();
        rules
            .iter()
            .any(|rule| rule.message.as_deref().unwrap_or_default().is_empty())
    });
    assert!(silent.is_empty(), "a rule without a message: {silent:#?}");
}

#[test]
fn the_rules_of_the_types_are_in_the_schemas() {
    let mut messages = Vec::new();
    for crd in definitions() {
        walk("", root(&crd), &mut |_, schema| {
            for rule in schema.x_kubernetes_validations.iter().flatten() {
                messages.extend(rule.message.clone());
            }
        });
    }
    for expected in [
        "a gate is exactly one of ",
        "no step sends traffic to the canary: give at least one step a weight above 0",
        "an Intervention cannot be changed: make a new one",
    ] {
        assert!(
            messages.iter().any(|message| message.starts_with(expected)),
            "{expected:?} is not among {messages:#?}"
        );
    }
}

#[test]
fn every_text_and_list_of_a_spec_has_a_limit() {
    // The API server bounds what a CEL rule may cost by these, and an object by its size.
    let unbounded = wrong(|path, schema| {
        let in_rules_reach = path.contains(".spec") && !path.contains(".status");
        let is_list = schema.type_.as_deref() == Some("array");
        in_rules_reach && is_list && schema.max_items.is_none()
    });
    assert!(unbounded.is_empty(), "without a limit: {unbounded:#?}");
}

#[test]
fn every_reference_to_an_object_is_checked_as_a_name() {
    const REFERENCES: [&str; 5] = [
        "name",
        "sectionName",
        "serviceAccountName",
        "service",
        "rollout",
    ];
    let mut seen = 0;
    let unchecked = wrong(|path, schema| {
        let field = path.rsplit('.').next().unwrap_or_default();
        // A word out of a list refers to nothing.
        let is_text = schema.type_.as_deref() == Some("string") && schema.enum_.is_none();
        if !path.contains(".spec.") || !is_text || !REFERENCES.contains(&field) {
            return false;
        }
        schema.pattern.is_none() || schema.max_length.is_none()
    });
    for crd in definitions() {
        walk("", root(&crd), &mut |path, _| {
            seen += usize::from(path.starts_with(".spec.") && path.ends_with("ecretRef.name"));
        });
    }
    assert!(unchecked.is_empty(), "any text is taken for {unchecked:#?}");
    assert_eq!(seen, 3, "the Secrets of git, metrics and notifications");
}

#[test]
fn every_kind_answers_what_it_does_and_since_when() {
    for crd in definitions() {
        let version = &crd.spec.versions[0];
        let columns = version
            .additional_printer_columns
            .as_deref()
            .unwrap_or_default();
        let dates = columns.iter().filter(|column| column.type_ == "date");
        assert_eq!(dates.count(), 1, "{}", crd.spec.names.kind);
        assert!(columns.iter().any(|column| column.name == "Message"));
        assert_eq!(
            crd.spec.names.categories.as_deref(),
            Some(&["tidegate".to_owned()][..])
        );
        assert!(version.subresources.as_ref().unwrap().status.is_some());
    }
}

#[test]
fn every_default_is_said_in_the_description() {
    let silent = wrong(|path, schema| {
        // Nobody sets a field of a status.
        let is_set_by_people = !path.contains(".status");
        let said = match schema.default.as_ref().map(|default| &default.0) {
            // The fields of an object say theirs.
            None | Some(serde_json::Value::Object(_) | serde_json::Value::Array(_)) => {
                return false;
            }
            Some(serde_json::Value::String(text)) if text.is_empty() => "the ".to_owned(),
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let description = schema
            .description
            .as_deref()
            .unwrap_or_default()
            .replace('`', "");
        is_set_by_people && !description.contains(&format!("Defaults to {said}"))
    });
    assert!(silent.is_empty(), "a default that is not said: {silent:#?}");
}

/// Meaning of each optional field of a spec that is left blank: never less safety than was asked
/// for. The API server drops the blank, or CEL takes it for absent.
const BLANKS: &[(&str, &str)] = &[
    (
        "ConfigRepo.spec.chart",
        "the chart's own values; templates are released in steps whatever they are",
    ),
    (
        "ConfigRepo.spec.chart.kubeVersion",
        "the version that Helm was built for",
    ),
    ("ConfigRepo.spec.chart.releaseName", "the chart's name"),
    ("ConfigRepo.spec.interval", "30s"),
    ("ConfigRepo.spec.onRollback", "git is left as it is"),
    (
        "ConfigRepo.spec.path",
        "the whole repository: only what the account may do",
    ),
    ("ConfigRepo.spec.records", "the default branch"),
    ("ConfigRepo.spec.records.branch", "the default branch"),
    ("ConfigRepo.spec.records.skipCI", "true"),
    (
        "ConfigRepo.spec.secretRef",
        "no credentials: the git server decides",
    ),
    ("ConfigRepo.spec.sync", "refused by a rule"),
    (
        "ConfigRepo.spec.sync.acknowledge",
        "nothing is acknowledged: what waits is kept",
    ),
    (
        "ConfigRepo.spec.sync.maxPrune",
        "a tenth of the applied objects, and at least 3",
    ),
    ("ConfigRepo.spec.sync.pruneDelay", "10m"),
    (
        "ConfigRepo.spec.sync.targetNamespace",
        "the ConfigRepo's own namespace; what was elsewhere has left git, and its removal waits as ever",
    ),
    (
        "Intervention.spec.by",
        "nobody: denied by the chart's policy",
    ),
    (
        "Intervention.spec.revision",
        "refused by a rule where it matters",
    ),
    (
        "Intervention.spec.step",
        "refused by a rule where it matters",
    ),
    ("Rollout.spec.allowParallel", "false"),
    ("Rollout.spec.blockedTimeout", "1h"),
    ("Rollout.spec.canary", "nothing beside what is taken over"),
    ("Rollout.spec.canary.keepFailed", "0s: nothing is kept"),
    (
        "Rollout.spec.canary.metadata",
        "nothing beside what is taken over",
    ),
    ("Rollout.spec.canary.metadata.annotations", "none"),
    ("Rollout.spec.canary.metadata.labels", "none"),
    (
        "Rollout.spec.config",
        "Release: what the template names is tried by the canary first",
    ),
    (
        "Rollout.spec.failover",
        "WhenStableIsDown: callers are served while stable is down",
    ),
    (
        "Rollout.spec.gates[].breachWindow",
        "refused by a rule: a gate is exactly one kind",
    ),
    (
        "Rollout.spec.gates[].breachWindow.max",
        "refused by a rule where min is absent",
    ),
    (
        "Rollout.spec.gates[].breachWindow.min",
        "refused by a rule where max is absent",
    ),
    (
        "Rollout.spec.gates[].breachWindow.ofLast",
        "refused by a rule: exactly one of two",
    ),
    (
        "Rollout.spec.gates[].breachWindow.within",
        "refused by a rule: exactly one of two",
    ),
    (
        "Rollout.spec.gates[].compare",
        "it is of another kind: exactly one is required",
    ),
    (
        "Rollout.spec.gates[].compare.minDifference",
        "0: the ratio alone counts",
    ),
    ("Rollout.spec.gates[].compare.minRequests", "500"),
    ("Rollout.spec.gates[].errorTimeout", "10m"),
    ("Rollout.spec.gates[].interval", "15s"),
    ("Rollout.spec.gates[].maxSampleAge", "2m"),
    (
        "Rollout.spec.gates[].minRequests",
        "20 where requests is given",
    ),
    ("Rollout.spec.gates[].minRequestsTimeout", "1h"),
    ("Rollout.spec.gates[].mode", "Enforce"),
    ("Rollout.spec.gates[].noDataTimeout", "10m"),
    (
        "Rollout.spec.gates[].onError",
        "Wait: no data never promotes",
    ),
    (
        "Rollout.spec.gates[].onNoData",
        "Wait: no data never promotes",
    ),
    (
        "Rollout.spec.gates[].regression",
        "refused by a rule: a gate is exactly one kind",
    ),
    (
        "Rollout.spec.gates[].regression.bad",
        "refused by a rule where good and histogram are absent",
    ),
    (
        "Rollout.spec.gates[].regression.burstiness",
        "Auto: measured",
    ),
    ("Rollout.spec.gates[].regression.falseAlarmRate", "0.01"),
    (
        "Rollout.spec.gates[].regression.good",
        "refused by a rule where bad and histogram are absent",
    ),
    (
        "Rollout.spec.gates[].regression.histogram",
        "refused by a rule where bad and good are absent",
    ),
    (
        "Rollout.spec.gates[].regression.maxBadRatio",
        "what stable has, with a margin",
    ),
    ("Rollout.spec.gates[].regression.minBad", "5"),
    (
        "Rollout.spec.gates[].regression.minRequests",
        "500: with fewer nothing passes",
    ),
    (
        "Rollout.spec.gates[].regression.slowerThan",
        "refused by a rule beside a histogram",
    ),
    ("Rollout.spec.gates[].regression.tolerateRatio", "1.25"),
    (
        "Rollout.spec.gates[].regression.total",
        "refused by a rule beside bad or good",
    ),
    (
        "Rollout.spec.gates[].requests",
        "refused by a rule with minRequests; alone the value counts by itself",
    ),
    (
        "Rollout.spec.gates[].threshold",
        "refused by a rule: a gate is exactly one kind",
    ),
    (
        "Rollout.spec.gates[].threshold.max",
        "refused by a rule where min is absent",
    ),
    (
        "Rollout.spec.gates[].threshold.min",
        "refused by a rule where max is absent",
    ),
    ("Rollout.spec.gates[].warmup", "0s: read sooner"),
    ("Rollout.spec.gates[].window", "5m"),
    ("Rollout.spec.knownGood", "Fast: a revert is the safe side"),
    (
        "Rollout.spec.metrics",
        "the operator's Prometheus: no data never promotes",
    ),
    (
        "Rollout.spec.metrics.headersFrom",
        "no headers: the store decides",
    ),
    (
        "Rollout.spec.metrics.ingestDelay",
        "0s: a store that lags has no data, and no data never promotes",
    ),
    (
        "Rollout.spec.metrics.secretRef",
        "no credentials: no data never promotes",
    ),
    (
        "Rollout.spec.metrics.url",
        "the operator's Prometheus: no data never promotes",
    ),
    (
        "Rollout.spec.mode",
        "Enforce: nothing goes in that was not verified",
    ),
    ("Rollout.spec.notifications", "only the operator is told"),
    ("Rollout.spec.notifications[].format", "Json"),
    ("Rollout.spec.onNewRevision", "Supersede"),
    ("Rollout.spec.onRollback", "as the ConfigRepo says"),
    ("Rollout.spec.progressDeadline", "10m"),
    ("Rollout.spec.revisionHistoryLimit", "10"),
    (
        "Rollout.spec.service",
        "the workload's name: refused by preflight where there is none",
    ),
    ("Rollout.spec.settle", "2s"),
    (
        "Rollout.spec.steps[].approval",
        "refused by a rule: a step is exactly one kind",
    ),
    ("Rollout.spec.steps[].approval.timeout", "no limit"),
    (
        "Rollout.spec.steps[].hold",
        "refused by a rule with a weight above 0",
    ),
    (
        "Rollout.spec.steps[].replicas",
        "the weight's share of stable's replicas",
    ),
    (
        "Rollout.spec.steps[].weight",
        "refused by a rule: a step is exactly one kind",
    ),
    ("Rollout.spec.suspend", "false"),
    (
        "Rollout.spec.traffic.replicas",
        "refused by a rule: exactly one of its members",
    ),
    (
        "Rollout.spec.traffic.replicas.service",
        "Required: one that is missing is said",
    ),
    (
        "Rollout.spec.traffic.routes",
        "refused by a rule: exactly one of its members",
    ),
    (
        "Rollout.spec.traffic.routes[].group",
        "the group of the kind",
    ),
    (
        "Rollout.spec.traffic.routes[].sectionName",
        "all rules that name the Service",
    ),
    ("Rollout.spec.workload.group", "apps"),
];

/// Collects the paths of the optional fields of `schema`.
fn optional_fields(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
    let required = schema.required.as_deref().unwrap_or_default();
    for name in schema.properties.iter().flatten().map(|(name, _)| name) {
        if path.contains(".spec") && !required.contains(name) {
            found.push(format!("{path}.{name}"));
        }
    }
}

#[test]
fn every_blank_is_refused_or_means_the_safe_side() {
    let mut found = Vec::new();
    for crd in definitions() {
        walk(&crd.spec.names.kind, root(&crd), &mut |path, schema| {
            if !path.contains(".status") {
                optional_fields(path, schema, &mut found);
            }
        });
    }
    found.sort();
    let listed: Vec<_> = BLANKS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(
        found, listed,
        "think about a blank, then list its meaning here"
    );
}

#[test]
fn the_longest_name_in_the_schema_is_the_engines() {
    let limit = format!(
        "self.metadata.name.size() <= {}",
        tidegate_api::names::MAX_ROLLOUT_NAME
    );
    let crds = definitions();
    let rollout = crds
        .iter()
        .find(|crd| crd.spec.names.kind == "Rollout")
        .unwrap();
    let rules = root(rollout)
        .x_kubernetes_validations
        .as_deref()
        .unwrap_or_default();
    assert!(rules.iter().any(|rule| rule.rule == limit), "{rules:#?}");
}
