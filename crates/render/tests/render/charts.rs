//! Charts.

use super::*;

const CHART: &str = "apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '1'\n";

const TEMPLATE: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}\n  namespace: {{ .Release.Namespace }}\nspec:\n  \
    template:\n    spec:\n      containers:\n      - name: app\n        image: {{ .Values.image.repository }}:{{ .Values.image.tag }}\n";

fn chart() -> Repository {
    Repository::of(&[
        ("charts/shop/Chart.yaml", CHART),
        (
            "charts/shop/values.yaml",
            "image:\n  repository: app\n  tag: \"1\" # by CI\n",
        ),
        ("charts/shop/templates/web.yaml", TEMPLATE),
        (
            "charts/shop/templates/job.yaml",
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: pre-install}\n",
        ),
        (
            "charts/shop/crds/thing.yaml",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\n",
        ),
        ("values/prod,eu.yaml", "image: {tag: \"2\"}\n"),
    ])
}

#[tokio::test]
async fn a_chart_is_rendered_with_its_values() {
    let rendered = chart().render("charts/shop").await.unwrap();
    assert_eq!(image(&rendered, "web"), "app:1");
    let web = object(&rendered, "Deployment", "web");
    assert_eq!(web.value["metadata"]["namespace"], "shop");
    assert_eq!(web.origin.to_string(), "charts/shop/templates/web.yaml");
    object(&rendered, "CustomResourceDefinition", "things.example.com");
    assert_eq!(rendered.objects.len(), 2, "no hooks: {rendered:?}");
}

#[tokio::test]
async fn the_callers_values_win_and_the_release_may_have_another_name() {
    let chart = chart();
    let options = ChartOptions {
        release: Some("live".to_owned()),
        values: vec!["values/prod,eu.yaml".to_owned()],
        kube_version: Some("1.35.4".to_owned()),
        ..options()
    };
    let sources = Sources::gather(&chart.tree(), "charts/shop", &options)
        .unwrap()
        .unwrap();
    let rendered = renderer().render(&sources).await.unwrap();
    assert_eq!(image(&rendered, "live"), "app:2");
    let none = ChartOptions {
        values: vec!["values/none.yaml".to_owned()],
        ..options
    };
    let error = Sources::gather(&chart.tree(), "charts/shop", &none)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("is not in the repository"),
        "{error}"
    );
}

#[tokio::test]
async fn errors_of_a_chart_have_their_place() {
    let chart = chart();
    chart.write(
        "charts/shop/templates/web.yaml",
        "# one\nx: {{ .Values.none.such }}\n",
    );
    let said = chart.rejection("charts/shop").await;
    assert!(
        said.starts_with("charts/shop/templates/web.yaml:2: helm cannot render this: "),
        "{said}"
    );
    chart.write("charts/shop/templates/web.yaml", "a: 1\n b: 2\n");
    let said = chart.rejection("charts/shop").await;
    assert!(
        said.starts_with("charts/shop/templates/web.yaml: helm cannot"),
        "{said}"
    );
    chart.write("charts/shop/templates/web.yaml", "");
    chart.write("charts/shop/values.yaml", "a: [\n");
    let said = chart.rejection("charts/shop").await;
    assert!(said.contains("values.yaml"), "{said}");
}

#[tokio::test]
async fn nothing_is_fetched_and_nothing_is_made_up() {
    let chart = chart();
    let needs = "dependencies:\n- name: redis\n  version: 1.x.x\n  repository: https://charts.example.com\n";
    chart.write("charts/shop/Chart.yaml", &format!("{CHART}{needs}"));
    let said = chart.rejection("charts/shop").await;
    assert!(
        said.starts_with("charts/shop/Chart.yaml:6: the dependency `redis`"),
        "{said}"
    );
    chart.write(
        "charts/shop/charts/redis/Chart.yaml",
        &CHART.replace("web", "redis").replace("0.1.0", "1.0.0"),
    );
    chart.write(
        "charts/shop/charts/redis/templates/s.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: redis}\n",
    );
    let rendered = chart.render("charts/shop").await.unwrap();
    let origin = object(&rendered, "Service", "redis").origin.to_string();
    assert_eq!(origin, "charts/shop/charts/redis/templates/s.yaml");

    chart.write("charts/shop/templates/r.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: r}\ndata: {p: {{ randAlphaNum 20 | b64enc }} }\n");
    let said = chart.rejection("charts/shop").await;
    assert!(said.contains("something else each time"), "{said}");
    chart.write("charts/shop/templates/r.yaml", "{{ lookup \"v1\" \"Secret\" \"shop\" \"r\" | toJson }}\n{{ getHostByName \"example.com\" }}\n{{ .Files.Get \"/etc/passwd\" }}{{ .Files.Get \"../../values/prod,eu.yaml\" }}");
    let said = format!("{:?}", chart.render("charts/shop").await);
    assert!(!said.contains("root:"), "{said}");

    chart.write("charts/shop/Chart.yaml", &format!("{CHART}type: library\n"));
    let said = chart.rejection("charts/shop").await;
    assert!(said.contains("Chart.yaml:5: is a library chart"), "{said}");
    chart.write("charts/shop/Chart.yaml", CHART);
    chart.write(
        "charts/shop/values.schema.json",
        r#"{"properties": {"image": {"$ref": "file:///etc/passwd"}}}"#,
    );
    let said = chart.rejection("charts/shop").await;
    assert!(
        said.contains("charts/shop/values.schema.json: `$ref` leads to another file"),
        "{said}"
    );
    std::os::unix::fs::symlink("/etc", chart.path("charts/shop/files")).unwrap();
    let said = chart.rejection("charts/shop").await;
    assert!(
        said.contains("charts/shop/files: is a symbolic link"),
        "{said}"
    );
}
