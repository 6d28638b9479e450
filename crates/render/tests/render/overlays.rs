//! Overlays that are rendered.

use super::*;

/// A base, a component and an overlay with everything that overlays are used for.
fn shop() -> Repository {
    Repository::of(&[
        ("base/deployment.yaml", &deployment("app")),
        (
            "base/more.yaml",
            "# two\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: \
             facts}\ndata: {host: db.example.com}\n",
        ),
        (
            "base/kustomization.yaml",
            "resources:\n- deployment.yaml\n- more.yaml\nconfigMapGenerator:\n- name: settings\n  files: [app.properties]\n",
        ),
        ("base/app.properties", "a=b\n"),
        (
            "components/debug/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- path: env.yaml\n",
        ),
        (
            "components/debug/env.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      \
             - {name: app, env: [{name: DEBUG, value: \"1\"}, {name: HOST, value: x}], envFrom: [{configMapRef: {name: settings}}]}\n",
        ),
        ("shared/extra.env", "FROM=elsewhere\n"),
        (
            "overlays/prod/kustomization.yaml",
            "namePrefix: prod-\nnameSuffix: -eu\nresources: [../../base]\ncomponents: [../../components/debug]\nimages:\n\
             - name: app\n  newName: registry.example.com/app\n  digest: sha256:1111111111111111111111111111111111111111111111111111111111111111\n\
             patches:\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /spec/replicas\n      value: 3\n\
             patchesStrategicMerge:\n- |-\n  apiVersion: v1\n  kind: Service\n  metadata: {name: web}\n  spec: {clusterIP: None}\n\
             replacements:\n- path: host.yaml\nconfigMapGenerator:\n- name: extra\n  envs: [../../shared/extra.env]\n\
             transformers:\n- |-\n  apiVersion: builtin\n  kind: AnnotationsTransformer\n  metadata: {name: notes}\n  \
             annotations: {team: shop}\n  fieldSpecs: [{path: metadata/annotations, create: true}]\n",
        ),
        (
            "overlays/prod/host.yaml",
            "source: {kind: ConfigMap, name: facts, fieldPath: data.host}\ntargets:\n- select: {kind: Deployment}\n  \
             fieldPaths: ['spec.template.spec.containers.[name=app].env.[name=HOST].value']\n",
        ),
    ])
}

#[tokio::test]
async fn everything_that_overlays_are_used_for_is_rendered() {
    let shop = shop();
    let rendered = shop.render("overlays/prod").await.unwrap();
    let web = &object(&rendered, "Deployment", "prod-web-eu").value;
    assert_eq!(web["spec"]["replicas"], 3);
    let digest = "1".repeat(64);
    assert_eq!(
        image(&rendered, "prod-web-eu"),
        format!("registry.example.com/app@sha256:{digest}")
    );
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["env"][1]["value"], "db.example.com");
    let settings = container["envFrom"][0]["configMapRef"]["name"]
        .as_str()
        .unwrap();
    assert!(settings.starts_with("prod-settings-eu-"), "{settings}");
    assert_eq!(
        object(&rendered, "ConfigMap", settings).value["data"]["app.properties"],
        "a=b\n"
    );
    let service = object(&rendered, "Service", "prod-web-eu");
    assert_eq!(service.value["spec"]["clusterIP"], "None");
    assert_eq!(
        service.value["metadata"]["annotations"],
        serde_json::json!({"team": "shop"})
    );
}

/// Returns the objects as the program prints them from the repository itself, as somebody at a terminal has it.
fn built_by_hand(repository: &Repository, folder: &str) -> Vec<Value> {
    let output = std::process::Command::new(settings().kustomize)
        .args(["build", "--load-restrictor=LoadRestrictionsNone"])
        .arg(repository.path(folder))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = text.split("\n---\n");
    documents
        .map(|document| tidegate_git::yaml::from_str(document).unwrap())
        .collect()
}

#[tokio::test]
async fn the_output_is_that_of_the_program_on_the_repository_itself() {
    let shop = shop();
    shop.write(
        "overlays/fifo/kustomization.yaml",
        "sortOptions: {order: fifo}\nresources: [../prod]\ngeneratorOptions: {labels: {a: \"yes\"}}\n\
         configMapGenerator: [{name: one, literals: [on=off, x=0644]}]\ncommonAnnotations: {since: \"2024-01-01\"}\n",
    );
    for folder in ["base", "overlays/prod", "overlays/fifo"] {
        let rendered = shop.render(folder).await.unwrap();
        let values: Vec<_> = rendered
            .objects
            .into_iter()
            .map(|object| object.value)
            .collect();
        assert_eq!(values, built_by_hand(&shop, folder), "{folder}");
    }
}

#[tokio::test]
async fn objects_say_which_line_of_which_file_they_are_from() {
    let rendered = shop().render("overlays/prod").await.unwrap();
    let from = |kind, name| object(&rendered, kind, name).origin.to_string();
    assert_eq!(from("Deployment", "prod-web-eu"), "base/deployment.yaml:1");
    assert_eq!(from("Service", "prod-web-eu"), "base/more.yaml:3");
    assert_eq!(from("ConfigMap", "prod-facts-eu"), "base/more.yaml:7");
    let generated = rendered
        .objects
        .iter()
        .find(|object| object.key().name.contains("extra"))
        .unwrap();
    assert_eq!(
        generated.origin.to_string(),
        "overlays/prod/kustomization.yaml"
    );
}

#[tokio::test]
async fn the_files_that_the_output_depends_on_are_known() {
    let sources = shop().sources("overlays/prod").unwrap();
    let files: Vec<_> = sources.files().collect();
    assert_eq!(
        files,
        [
            "base/app.properties",
            "base/deployment.yaml",
            "base/kustomization.yaml",
            "base/more.yaml",
            "components/debug/env.yaml",
            "components/debug/kustomization.yaml",
            "overlays/prod/host.yaml",
            "overlays/prod/kustomization.yaml",
            "shared/extra.env",
        ]
    );
}

#[tokio::test]
async fn overlays_are_nested_and_may_be_written_in_any_way() {
    let repository = Repository::of(&[
        ("base/app.yaml", &deployment("app:1")),
        ("base/Kustomization", "resources: [app.yaml]"),
        (
            "region/kustomization.yml",
            "\u{feff}resources:\r\n- ../base\r\nnamePrefix: eu-\r\n",
        ),
        (
            "stage/kustomization.yaml",
            "{\"resources\": [\"../region\"], \"namePrefix\": \"live-\"}",
        ),
        (
            "prod/kustomization.yaml",
            "# anchors and merge keys\nresources: [../stage/]\nlabels:\n- pairs: &pairs {team: shop}\n- pairs: {<<: *pairs, tier: web}\n",
        ),
    ]);
    let rendered = repository.render("prod").await.unwrap();
    let labels = &object(&rendered, "Deployment", "live-eu-web").value["metadata"]["labels"];
    assert_eq!(labels, &serde_json::json!({"team": "shop", "tier": "web"}));
}

#[tokio::test]
async fn origins_are_left_where_the_repository_asks_for_them() {
    let repository = Repository::of(&[
        ("a/app.yaml", &deployment("app:1")),
        (
            "a/kustomization.yaml",
            "resources: [app.yaml]\nbuildMetadata: [originAnnotations]\n",
        ),
        ("b/app.yaml", &deployment("app:1")),
        (
            "b/kustomization.yaml",
            "resources: [app.yaml]\nbuildMetadata: [managedByLabel]\n",
        ),
    ]);
    let a = repository.render("a").await.unwrap();
    let b = repository.render("b").await.unwrap();
    let metadata =
        |rendered: &Rendered| object(rendered, "Deployment", "web").value["metadata"].clone();
    assert_eq!(
        metadata(&a)["annotations"]["config.kubernetes.io/origin"],
        "path: app.yaml\n"
    );
    assert_eq!(metadata(&b).get("annotations"), None);
    assert!(metadata(&b)["labels"]["app.kubernetes.io/managed-by"].is_string());
    assert_eq!(a.objects[0].origin.to_string(), "a/app.yaml:1");
}

#[tokio::test]
async fn a_thousand_objects_are_rendered() {
    let mut text = String::new();
    for index in 0..1_000 {
        let one = deployment("app:1").replace("name: web", &format!("name: web-{index}"));
        text += "---\n";
        text += &one;
    }
    let repository = Repository::of(&[
        ("base/app.yaml", &text),
        ("base/kustomization.yaml", "resources: [app.yaml]"),
        (
            "prod/kustomization.yaml",
            "resources: [../base]\nimages: [{name: app, newTag: '2'}]",
        ),
    ]);
    let rendered = repository.render("prod").await.unwrap();
    assert_eq!(rendered.objects.len(), 1_000);
    assert_eq!(image(&rendered, "web-999"), "app:2");
    let line = object(&rendered, "Deployment", "web-999").origin.line;
    assert_eq!(line, Some(999 * 11 + 2));
}

#[tokio::test]
async fn a_folder_without_kustomization_or_chart_is_plain() {
    let repository = Repository::of(&[("plain/app.yaml", &deployment("app:1"))]);
    for folder in ["plain", "nowhere", "plain/app.yaml", "../.."] {
        let sources = Sources::gather(&repository.tree(), folder, &options()).unwrap();
        assert!(sources.is_none(), "{folder}");
    }
}

#[tokio::test]
async fn secrets_are_not_printed() {
    let repository = Repository::of(&[(
        "kustomization.yaml",
        "secretGenerator: [{name: key, literals: [password=hunter2]}]",
    )]);
    let rendered = repository.render("").await.unwrap();
    assert_eq!(
        rendered.objects[0].value["data"]["password"],
        "aHVudGVyMg=="
    );
    assert!(!format!("{rendered:?}").contains("aHVudGVyMg"));
}

#[tokio::test]
async fn nothing_of_the_run_is_in_the_output() {
    let repository = Repository::of(&[
        (
            "kustomization.yaml",
            "configMapGenerator: [{name: a, envs: [names.env]}]",
        ),
        ("names.env", "HOME\nTMPDIR\nPWD\nUSER\n"),
    ]);
    let rendered = repository.render("").await.unwrap();
    let data = rendered.objects[0].value["data"].as_object().unwrap();
    assert_eq!(data.len(), 4);
    for (name, value) in data {
        assert_eq!(value, "", "{name}");
    }
}
