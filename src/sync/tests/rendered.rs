//! Repositories whose folder a program renders.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tidegate_api::names;
use tidegate_engine::revision;

use super::{Bench, reading, template};

const OVERLAY: &str = "
resources: [../base]
images: [{name: web, newTag: 'TAG'}]
";

const BASE: &str = "resources: [shop.yaml]\n";

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";

/// Commits an overlay that sets the tag of the image.
fn commit_overlay(bench: &Bench, tag: &str) -> String {
    let base = super::shop("web:0");
    bench.commit_files(&[
        ("base/shop.yaml", &base),
        ("base/kustomization.yaml", BASE),
        ("prod/kustomization.yaml", &OVERLAY.replace("TAG", tag)),
    ])
}

fn image_of(template: &Value) -> &Value {
    &template["spec"]["containers"][0]["image"]
}

#[tokio::test]
async fn an_overlay_is_applied_as_it_is_rendered() {
    let bench = Bench::new();
    commit_overlay(&bench, "1");
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    let applied = bench.applied("deployments/web").unwrap();
    assert_eq!(image_of(&applied["spec"]["template"]), "web:1");
    super::make_stable(&bench, "web:1");
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;

    let second = commit_overlay(&bench, "2");
    bench.commit_files(&[("README.md", "nothing of the overlay")]);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    let kept = bench.api.list("controllerrevisions");
    let newest = kept
        .iter()
        .max_by_key(|kept| kept["revision"].as_i64())
        .unwrap();
    assert_eq!(image_of(&newest["data"]["template"]), "web:2");
    let annotations = &newest["metadata"]["annotations"];
    assert_eq!(
        annotations[names::CONFIG_COMMIT_ANNOTATION],
        second.as_str()
    );
    assert_eq!(annotations[names::CONFIG_PATH_ANNOTATION], "base/shop.yaml");
    let live = bench.api.get("deployments/web").unwrap();
    assert_eq!(image_of(&live["spec"]["template"]), "web:1", "it is held");
}

#[tokio::test]
async fn a_chart_is_applied_as_it_is_rendered() {
    let bench = Bench::new();
    let shop = super::shop("{{ .Values.image }}");
    bench.commit_files(&[
        ("prod/Chart.yaml", CHART),
        ("prod/values.yaml", "image: web:1\n"),
        ("prod/templates/shop.yaml", &shop),
    ]);
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    let applied = bench.applied("deployments/web").unwrap();
    assert_eq!(image_of(&applied["spec"]["template"]), "web:1");
}

#[tokio::test]
async fn a_chart_may_have_its_values_elsewhere_in_the_repository() {
    let bench = Bench::new();
    bench.api.edit("configrepos/shop", |repo| {
        repo["spec"]["chart"] = json!({"valuesFiles": ["env/prod.yaml"], "releaseName": "live"});
    });
    bench.commit_files(&[
        ("prod/Chart.yaml", CHART),
        ("prod/values.yaml", "image: web:1\n"),
        (
            "prod/templates/shop.yaml",
            &super::shop("{{ .Values.image }}")
                .replace("color: blue", "color: {{ .Release.Name }}"),
        ),
        ("env/prod.yaml", "image: web:2\n"),
    ]);
    bench.reconcile().await;
    let applied = bench.applied("deployments/web").unwrap();
    assert_eq!(image_of(&applied["spec"]["template"]), "web:2");
    let settings = bench.applied("configmaps/settings").unwrap();
    assert_eq!(settings["data"]["color"], "live");

    // Elsewhere than in a chart they have no meaning.
    bench.git(&["rm", "--quiet", "-r", "prod"]);
    bench.release(&super::shop("web:3")).await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("Invalid: prod: is not the folder of a chart"),
        "{ready}"
    );
}

#[tokio::test]
async fn an_overlay_that_is_wrong_is_said_with_its_line_and_nothing_is_touched() {
    let bench = Bench::new();
    commit_overlay(&bench, "1");
    bench.reconcile().await;
    bench.requests();
    bench.commit_files(&[(
        "prod/kustomization.yaml",
        "resources:\n- ../base\n- https://example.com/more.yaml\n",
    )]);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    let ready = bench.ready();
    assert!(
        ready
            .starts_with("Invalid: prod/kustomization.yaml:3: `resources[1]` names another server"),
        "{ready}"
    );
    assert_eq!(bench.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn what_others_render_and_apply_is_found_in_the_overlay() {
    let bench = reading::bench();
    commit_overlay(&bench, "1");
    let second = commit_overlay(&bench, "2");
    commit_overlay(&bench, "3");
    let (behind, newest) = (
        reading::applied(&bench, "web:2", 1),
        reading::applied(&bench, "web:3", 2),
    );
    let third = bench.commit_files(&[("README.md", "nothing of the overlay")]);
    bench.reconcile().await;
    assert_eq!(
        reading::commit_of(&bench, &behind),
        second.as_str(),
        "{}",
        bench.ready()
    );
    let found = reading::commit_of(&bench, &newest);
    assert!(found.is_string() && found != third.as_str(), "{found}");
    let written_as = reading::annotation(&bench, &newest, names::WRITTEN_AS_ANNOTATION);
    assert_eq!(written_as, revision::of(&template("web:3")).as_str());
}

#[tokio::test]
async fn what_was_searched_in_vain_is_looked_for_in_new_commits_alone() {
    let bench = reading::bench();
    for tag in ["1", "2", "3", "4"] {
        commit_overlay(&bench, tag);
    }
    let kept = reading::applied(&bench, "web:by-hand", 1);
    bench.reconcile().await;
    assert!(bench.ready().starts_with("CommitUnknown: "));
    assert!(bench.renders() >= 4, "all four were rendered");
    let before = bench.renders();
    for tag in ["5", "by-hand", "6"] {
        commit_overlay(&bench, tag);
    }
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(
        reading::commit_of(&bench, &kept).is_string(),
        "{}",
        bench.ready()
    );
    let kept = reading::applied(&bench, "web:by-hand-again", 2);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(reading::commit_of(&bench, &kept), Value::Null);
    let settled = bench.renders();
    assert!(settled > before + 3, "one that is new is looked for in all");
    commit_overlay(&bench, "7");
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert_eq!(bench.renders(), settled + 1, "{}", bench.ready());
}

#[tokio::test]
async fn a_commit_that_cannot_be_rendered_asks_for_nothing() {
    let bench = Bench::new();
    commit_overlay(&bench, "1");
    bench.reconcile().await;
    super::make_stable(&bench, "web:1");
    let second = commit_overlay(&bench, "2");
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    let revisions = |bench: &Bench| {
        let kept = bench.api.list("controllerrevisions").into_iter();
        kept.map(|kept| kept["revision"].as_i64()).max()
    };
    let before = revisions(&bench);
    bench.commit_files(&[("prod/kustomization.yaml", "resources: [../none]\n")]);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Invalid: "), "{}", bench.ready());
    commit_overlay(&bench, "2");
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    assert_eq!(revisions(&bench), before, "{second} has asked for it");
}
