//! Fields of a kustomization: what each refers to, and what is not rendered.
//!
//! Kustomize reads the names of fields without regard to case. Here each has to be written as it is
//! documented, so that none is overlooked.

use serde_json::{Map, Value};

use crate::{
    document::{Field, Step},
    error::Problem,
};

/// Something that a kustomization refers to, or has in itself in place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The field that refers to it.
    pub(super) steps: Vec<Step>,
    pub(super) target: Target,
    pub(super) role: Role,
}

/// A target of a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Path of a file.
    File(String),
    /// Path of a folder with a kustomization.
    Folder(String),
    /// Path of one or the other.
    FileOrFolder(String),
    /// A text that could be the content of a file.
    Inline(String),
}

/// Purpose of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// A kustomization, a chart's values.
    Settings,
    /// A patch.
    Patch,
    /// Configuration of a generator, a transformer or a validator.
    Plugin,
    /// What a generator reads, and the configuration of fields.
    Data,
    /// Objects.
    Manifest,
}

/// A field that is not rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) steps: Vec<Step>,
    pub(super) problem: Problem,
}

/// References of a kustomization in the order of their fields, and its first flaw.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) references: Vec<Reference>,
    pub(super) flaw: Option<Flaw>,
}

/// All fields of a kustomization that are rendered.
const FIELDS: [&str; 30] = [
    "apiVersion",
    "kind",
    "metadata",
    "openapi",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "patchesStrategicMerge",
    "patchesJson6902",
    "patches",
    "images",
    "replacements",
    "replicas",
    "vars",
    "sortOptions",
    "resources",
    "components",
    "crds",
    "bases",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "buildMetadata",
];

const HELM_FIELDS: [&str; 3] = ["helmCharts", "helmGlobals", "helmChartInflationGenerator"];

/// Kinds of Kustomize's own plugins that are rendered, all but Helm's.
const PLUGINS: [&str; 17] = [
    "AnnotationsTransformer",
    "ConfigMapGenerator",
    "HashTransformer",
    "IAMPolicyGenerator",
    "ImageTagTransformer",
    "LabelTransformer",
    "NamespaceTransformer",
    "PatchJson6902Transformer",
    "PatchStrategicMergeTransformer",
    "PatchTransformer",
    "PrefixSuffixTransformer",
    "PrefixTransformer",
    "ReplacementTransformer",
    "ReplicaCountTransformer",
    "SecretGenerator",
    "SuffixTransformer",
    "ValueAddTransformer",
];

/// Annotations by which a plugin's configuration asks for a function.
const FUNCTIONS: [&str; 2] = ["config.kubernetes.io/function", "config.k8s.io/function"];

/// Fields of plugins and of lists in a kustomization that name files.
const PATH_FIELDS: [&str; 6] = ["path", "paths", "files", "envs", "env", "replacements"];

/// Returns the references of a kustomization.
pub(super) fn of_kustomization(value: &Map<String, Value>) -> Found {
    let mut found = Found::default();
    for field in value.keys() {
        found.check_field(field);
    }
    found.check_images(value);
    found.items(value, "resources", |path| {
        (Target::FileOrFolder(path), Role::Manifest)
    });
    found.items(value, "bases", |path| {
        (Target::Folder(path), Role::Manifest)
    });
    found.items(value, "components", |path| {
        (Target::Folder(path), Role::Manifest)
    });
    for field in ["crds", "configurations"] {
        found.items(value, field, |path| (Target::File(path), Role::Data));
    }
    if let Some(Value::Object(openapi)) = value.get("openapi") {
        found.path_in(openapi, &["openapi".into()], Role::Data);
    }
    for field in ["patches", "patchesJson6902"] {
        found.paths_of_items(value, field, Role::Patch);
    }
    found.items(value, "patchesStrategicMerge", |text| {
        (file_or_inline(text), Role::Patch)
    });
    found.paths_of_items(value, "replacements", Role::Data);
    for field in ["configMapGenerator", "secretGenerator"] {
        for (steps, item) in items_of(value, field) {
            found.generator(item, &steps);
        }
    }
    for field in ["generators", "transformers", "validators"] {
        found.items(value, field, |text| (file_or_inline(text), Role::Plugin));
    }
    found
}

/// Returns the references of the configuration of a plugin.
pub(super) fn of_plugin(value: &Value) -> Found {
    let mut found = Found::default();
    let Value::Object(config) = value else {
        found.reject(Vec::new(), Problem::NotAMapping);
        return found;
    };
    let kind = config
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let annotations = value.pointer("/metadata/annotations");
    let asks_for_function = FUNCTIONS
        .iter()
        .any(|name| annotations.is_some_and(|annotations| annotations.get(name).is_some()));
    if asks_for_function {
        let field = "metadata.annotations".to_owned();
        found.reject(
            vec!["metadata".into(), "annotations".into()],
            Problem::Function { field },
        );
    }
    if kind == "HelmChartInflationGenerator" {
        let field = "kind".to_owned();
        found.reject(vec!["kind".into()], Problem::Helm { field });
    }
    if config.get("apiVersion").and_then(Value::as_str) != Some("builtin")
        || !PLUGINS.contains(&kind)
    {
        let (field, kind) = ("kind".to_owned(), kind.to_owned());
        found.reject(vec!["kind".into()], Problem::Plugin { field, kind });
    }
    found.path_in(config, &[], Role::Patch);
    found.items(config, "paths", |text| (Target::File(text), Role::Patch));
    found.paths_of_items(config, "replacements", Role::Data);
    found.generator(value, &[]);
    found
}

/// Returns the file of a generator's entry, which may begin with a key and `=`.
pub(super) fn file_of_entry(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(_, path)| path)
}

/// Tells the path of a file from a text in its place.
fn file_or_inline(text: String) -> Target {
    if text.contains('\n') || text.contains(": ") || text.trim_start().starts_with('{') {
        Target::Inline(text)
    } else {
        Target::File(text)
    }
}

/// Returns the elements of a list, with their steps.
fn items_of<'v>(value: &'v Map<String, Value>, field: &str) -> Vec<(Vec<Step>, &'v Value)> {
    let items = value.get(field).and_then(Value::as_array);
    let items = items.map(Vec::as_slice).unwrap_or_default().iter();
    items
        .enumerate()
        .map(|(index, item)| (vec![field.into(), index.into()], item))
        .collect()
}

/// Folds a name as Go's JSON does to compare names of fields.
fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            // LATIN SMALL LETTER LONG S and KELVIN SIGN.
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Returns the known name that a name would be taken for.
fn meant(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = folded(name);
    known.iter().copied().find(|known| folded(known) == name)
}

// === impl Found ===

impl Found {
    fn reject(&mut self, steps: Vec<Step>, problem: Problem) {
        self.flaw.get_or_insert(Flaw { steps, problem });
    }

    fn refer(&mut self, steps: Vec<Step>, target: Target, role: Role) {
        self.references.push(Reference {
            steps,
            target,
            role,
        });
    }

    /// Rejects a field that is not known, or not rendered.
    fn check_field(&mut self, name: &str) {
        let field = name.to_owned();
        if meant(name, &HELM_FIELDS).is_some() {
            self.reject(vec![name.into()], Problem::Helm { field });
        } else if !FIELDS.contains(&name) {
            let instead = meant(name, &FIELDS);
            self.reject(vec![name.into()], Problem::UnknownField { field, instead });
        }
    }

    /// Rejects names and tags that YAML takes for numbers, which Kustomize does without a line.
    fn check_images(&mut self, value: &Map<String, Value>) {
        for (steps, item) in items_of(value, "images") {
            for name in ["name", "newName", "newTag", "digest", "tagSuffix"] {
                if item
                    .get(name)
                    .is_some_and(|value| value.is_number() || value.is_boolean())
                {
                    let steps = [steps.as_slice(), &[name.into()]].concat();
                    let field = Field(&steps).to_string();
                    self.reject(steps, Problem::NotText { field });
                }
            }
        }
    }

    /// Refers to the texts of a list.
    fn items(
        &mut self,
        value: &Map<String, Value>,
        field: &str,
        target: impl Fn(String) -> (Target, Role),
    ) {
        for (steps, item) in items_of(value, field) {
            if let Value::String(text) = item {
                let (target, role) = target(text.clone());
                self.refer(steps, target, role);
            }
        }
    }

    /// Refers to the `path` of each element of a list.
    fn paths_of_items(&mut self, value: &Map<String, Value>, field: &str, role: Role) {
        for (steps, item) in items_of(value, field) {
            if let Value::Object(item) = item {
                self.path_in(item, &steps, role);
            }
        }
    }

    /// Refers to the `path` of a mapping.
    fn path_in(&mut self, value: &Map<String, Value>, steps: &[Step], role: Role) {
        self.check_spelling(value, steps);
        match value.get("path") {
            Some(Value::String(path)) if !path.is_empty() => {
                let steps = [steps, &["path".into()]].concat();
                self.refer(steps, Target::File(path.clone()), role);
            }
            Some(_) | None => {}
        }
    }

    /// Refers to the files that a generator of ConfigMaps or Secrets reads.
    fn generator(&mut self, value: &Value, steps: &[Step]) {
        let Value::Object(value) = value else {
            return;
        };
        self.check_spelling(value, steps);
        for field in ["files", "envs"] {
            for (own, item) in items_of(value, field) {
                if let Value::String(text) = item {
                    let path = if field == "files" {
                        file_of_entry(text)
                    } else {
                        text
                    };
                    let target = Target::File(path.to_owned());
                    self.refer([steps, own.as_slice()].concat(), target, Role::Data);
                }
            }
        }
        if let Some(Value::String(path)) = value.get("env") {
            let steps = [steps, &["env".into()]].concat();
            self.refer(steps, Target::File(path.clone()), Role::Data);
        }
    }

    /// Rejects a field that would be taken for one that names files.
    fn check_spelling(&mut self, value: &Map<String, Value>, steps: &[Step]) {
        for name in value.keys() {
            match meant(name, &PATH_FIELDS) {
                Some(instead) if instead != name => {
                    let steps = [steps, &[name.as_str().into()]].concat();
                    let field = Field(&steps).to_string();
                    let instead = Some(instead);
                    self.reject(steps, Problem::UnknownField { field, instead });
                }
                Some(_) | None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use serde_json::json;

    use super::*;

    fn flaw(value: &Value) -> Problem {
        of_kustomization(value.as_object().unwrap())
            .flaw
            .unwrap()
            .problem
    }

    #[test]
    fn every_field_that_names_files_is_found() {
        let value = json!({
            "resources": ["a.yaml"], "bases": ["../b"], "components": ["../c"], "crds": ["d"],
            "configurations": ["e"], "openapi": {"path": "f"}, "patches": [{"path": "g"}, {"patch": "x: y"}],
            "patchesJson6902": [{"path": "h"}], "patchesStrategicMerge": ["i", "kind: X"],
            "replacements": [{"path": "j"}, {"source": {}}],
            "configMapGenerator": [{"files": ["k", "key=l"], "envs": ["m"], "env": "n"}],
            "secretGenerator": [{"files": ["o"]}], "generators": ["p"], "transformers": ["q", "kind: X\n"],
            "validators": ["r"],
        });
        let found = of_kustomization(value.as_object().unwrap());
        assert_eq!(found.flaw, None);
        let mut paths = Vec::new();
        let mut inline = 0;
        for reference in found.references {
            match reference.target {
                Target::File(path) | Target::Folder(path) | Target::FileOrFolder(path) => {
                    paths.push(path);
                }
                Target::Inline(_) => inline += 1,
            }
        }
        paths.sort();
        let expected = "../b ../c a.yaml d e f g h i j k l m n o p q r";
        assert_eq!(paths.join(" "), expected);
        assert_eq!(inline, 2);
    }

    #[test]
    fn a_field_in_another_case_is_not_overlooked() {
        for (value, meant) in [
            (json!({"Resources": []}), "resources"),
            (json!({"re\u{17f}ources": []}), "resources"),
            (json!({"patches": [{"Path": "/etc/passwd"}]}), "path"),
            (
                json!({"configMapGenerator": [{"FILES": ["/etc/passwd"]}]}),
                "files",
            ),
            (json!({"openapi": {"PATH": "/etc/passwd"}}), "path"),
        ] {
            let problem = flaw(&value);
            assert!(
                matches!(problem, Problem::UnknownField { instead: Some(instead), .. } if instead == meant),
                "{problem:?}"
            );
        }
        assert!(matches!(
            flaw(&json!({"HelmCharts": []})),
            Problem::Helm { .. }
        ));
    }

    #[test]
    fn only_plugins_of_kustomize_are_configured() {
        let rejected = |value: Value| of_plugin(&value).flaw.map(|flaw| flaw.problem);
        let own = json!({"apiVersion": "builtin", "kind": "PatchTransformer", "path": "p.yaml"});
        assert_eq!(rejected(own.clone()), None);
        assert_eq!(of_plugin(&own).references.len(), 1);
        let helm = json!({"apiVersion": "builtin", "kind": "HelmChartInflationGenerator"});
        assert!(matches!(rejected(helm), Some(Problem::Helm { .. })));
        let other = json!({"apiVersion": "example.com/v1", "kind": "PatchTransformer"});
        assert!(matches!(rejected(other), Some(Problem::Plugin { .. })));
        let mut function = own;
        function["metadata"] =
            json!({"annotations": {"config.k8s.io/function": "exec: {path: x}"}});
        assert!(matches!(rejected(function), Some(Problem::Function { .. })));
    }
}
