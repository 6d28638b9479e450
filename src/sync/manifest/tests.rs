//! Parsing of files, and the sentences with which manifests are rejected.

use serde_json::json;
use tidegate_api::workload::WorkloadKind;

use super::*;

fn read(files: &[(&str, &str)]) -> Result<Vec<Manifest>, InvalidManifest> {
    parse_all(files).map(|parsed| parsed.manifests)
}

fn parse_all(files: &[(&str, &str)]) -> Result<Parsed, InvalidManifest> {
    parse(
        files.iter().map(|(path, text)| (*path, text.as_bytes())),
        &Namespaces::only("shop"),
    )
}

/// The sentence with which a file is refused.
fn refusal(text: &str) -> String {
    read(&[("prod/a.yaml", text)])
        .expect_err("refused")
        .to_string()
}

#[test]
fn objects_of_several_files_documents_and_lists_know_their_places() {
    let one = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n---\n---\napiVersion: v1\nkind: Service\nmetadata: {name: b, namespace: shop}\n";
    let two = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: c}\n- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n";
    let manifests = read(&[
        ("a.yaml", one),
        ("b.yml", two),
        ("empty.yaml", "# nothing\n"),
    ])
    .expect("objects");
    let seen: Vec<_> = manifests
        .iter()
        .map(|manifest| format!("{manifest:?} {}", manifest.place.document))
        .collect();
    assert_eq!(
        seen,
        [
            "ConfigMap/a (a.yaml:1) 1",
            "Service/b (a.yaml:7) 2",
            "Secret/c (b.yml:4) 1",
            "Deployment/d (b.yml:7) 1"
        ]
    );
    assert!(
        manifests
            .iter()
            .all(|manifest| manifest.object["metadata"]["namespace"] == "shop")
    );
}

#[test]
fn refusals_name_file_line_and_what_to_write() {
    let sentences: Vec<_> = [
        "a: 1\na: 2\n",
        "\n\n- 1\n",
        "replicas: 3\n",
        "apiVersion: v1\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: ConfigMap\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: a-}\n",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: all}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: bank}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, resourceVersion: '1'}\n",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n",
        "apiVersion: v1\nkind: List\nitems: {}\n",
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n",
    ]
    .into_iter()
    .map(refusal)
    .collect();
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn files_of_other_tools_are_called_by_their_names() {
    let refusals = [
        (
            "shop/Kustomization",
            "resources: [app.yaml]\n",
            "this is a kustomization",
        ),
        (
            "shop/kustomization.yml",
            "images: []\n",
            "this is a kustomization",
        ),
        ("shop/Chart.yaml", "name: shop\n", "this is a Helm chart"),
        (
            "shop/app.yaml",
            "kind: Deployment\nreplicas: {{ .Values.replicas }}\n  {{- toYaml . }}\n",
            "this looks like a Helm template",
        ),
        (
            "shop/secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nsops: {mac: ENC}\n",
            "encrypted by SOPS",
        ),
    ];
    for (path, text, words) in refusals {
        let error = read(&[(path, text)]).expect_err("refused").to_string();
        assert!(error.starts_with(path) && error.contains(words), "{error}");
    }
}

#[test]
fn json_is_applied_where_it_is_for_kubernetes_and_passed_over_where_it_is_not() {
    let files = [
        (
            "a.json",
            r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}"#,
        ),
        ("renovate.json", r#"{"extends": ["config:base"]}"#),
        ("list.JSON", "[1, 2]"),
    ];
    let Parsed {
        manifests, skipped, ..
    } = parse_all(&files).expect("objects");
    assert_eq!(format!("{manifests:?}"), "[ConfigMap/a (a.json:1)]");
    assert_eq!(skipped, ["renovate.json", "list.JSON"]);
}

#[test]
fn what_kubectl_prints_is_read_as_kubectl_reads_it() {
    let list = "apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a, namespace: '', generation: 3, \
                creationTimestamp: null}\n";
    let manifests = read(&[("a.yaml", list)]).expect("objects");
    assert_eq!(
        manifests[0].object,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"},
        })
    );
}

#[test]
fn the_same_object_in_two_files_is_refused_with_both_places() {
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    let error =
        read(&[("a.yaml", object), ("b.yaml", &format!("---\n{object}"))]).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "b.yaml:2: ConfigMap/a is also at a.yaml:1: keep one of the two"
    );
}

#[test]
fn a_manifest_shows_nothing_of_its_content() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: hunter2}\n";
    let manifests = read(&[("a.yaml", secret)]).expect("objects");
    assert_eq!(format!("{manifests:?}"), "[Secret/a (a.yaml:1)]");
}

#[test]
fn a_template_is_found_wherever_it_stands_in_the_file() {
    let [web, other] =
        ["web", "other"].map(|name| WorkloadRef::new(WorkloadKind::Deployment, name));
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {a: 1e3}}}";
    for text in [
        format!("a: 1\n---\n{deployment}\n"),
        format!("apiVersion: v1\nkind: List\nitems: [{deployment}]\n"),
    ] {
        assert_eq!(
            template_in(text.as_bytes(), &web, "shop", "shop"),
            Some(json!({"a": 1000}))
        );
        assert_eq!(template_in(text.as_bytes(), &other, "shop", "shop"), None);
    }
    assert_eq!(template_in(b"a: [", &web, "shop", "shop"), None);
}

#[test]
fn a_template_is_read_as_restore_reads_it() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  template:\n    spec:\n      terminationGracePeriodSeconds: 1e3\n      priority: 1.0\n      hostNetwork: no\n      volumes:\n      - secret: { secretName: key, defaultMode: 0644 }\n";
    let by_sync = template_in(
        text.as_bytes(),
        &WorkloadRef::new(WorkloadKind::Deployment, "web"),
        "shop",
        "shop",
    )
    .expect("a template");
    assert_eq!(by_sync["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
    assert_eq!(by_sync["spec"]["terminationGracePeriodSeconds"], 1000);
    assert_eq!(by_sync["spec"]["priority"], 1);
    let by_restore = tidegate_git::yaml::from_str(text).expect("YAML");
    assert_eq!(by_sync, by_restore["spec"]["template"]);
}

#[test]
fn keys_compare_without_their_version() {
    let key = |api_version: &str| Key::namespaced(api_version, "Deployment", "shop", "web");
    assert!(key("apps/v1").is_same_object(&key("apps/v1beta1")));
    assert!(!key("apps/v1").is_same_object(&key("other/v1")));
    assert_eq!((key("v1").group(), key("v1").version()), ("", "v1"));
    assert_eq!(
        (key("apps/v1").group(), key("apps/v1").version()),
        ("apps", "v1")
    );
}

#[test]
fn files_that_are_small_are_refused_where_together_they_are_too_much() {
    let values = vec!["1"; 150_000].join(",");
    let file = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\nvalues: [{values}]\n")
    };
    let (a, b, c) = (file("a"), file("b"), file("c"));
    let two = parse_all(&[("a.yaml", &a), ("b.yaml", &b)]).expect("objects");
    assert_eq!(two.size.objects, 2);
    assert!(two.size.nodes > 300_000);
    let error = read(&[("a.yaml", &a), ("b.yaml", &b), ("c.yaml", &c)]).expect_err("refused");
    assert!(error.is_too_much);
    let said = error.to_string();
    assert!(
        said.starts_with("c.yaml:1: up to here the folder has 4500"),
        "{said}"
    );
    assert!(said.contains("another ConfigRepo"), "{said}");
}

/// A thousand objects, with names from this number on.
fn config_maps(from: usize) -> String {
    let maps = (from..from + 1_000)
        .map(|at| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{at}}}\n---\n"));
    maps.collect::<Vec<_>>().concat()
}

#[test]
fn more_objects_than_a_status_can_name_are_refused() {
    let files: Vec<_> = (0..6).map(|at| config_maps(at * 1_000)).collect();
    let names = ["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"];
    let files: Vec<_> = names
        .into_iter()
        .zip(files.iter().map(String::as_str))
        .collect();
    let error = read(&files).expect_err("refused");
    assert!(error.is_too_much);
    assert!(error.to_string().starts_with("f.yaml:1: "), "{error}");
}
