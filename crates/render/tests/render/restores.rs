//! The places that set templates, found with the real programs.

use tidegate_render::{Edit, Found, NotFound, Tip, Wanted};

use super::*;

/// A good commit and the tip, with a folder that is rendered from both.
struct History {
    good: Repository,
    tip: Repository,
    folder: &'static str,
    options: ChartOptions,
}

const BASE: &[(&str, &str)] = &[("base/kustomization.yaml", "resources: [app.yaml]\n")];

// === impl History ===

impl History {
    fn of(folder: &'static str, files: &[(&str, &str)]) -> Self {
        let repository = || {
            let repository = Repository::of(BASE);
            repository.write("base/app.yaml", &deployment("app:1"));
            for (path, text) in files {
                repository.write(path, text);
            }
            repository
        };
        Self {
            good: repository(),
            tip: repository(),
            folder,
            options: options(),
        }
    }

    /// Changes a file at the tip.
    fn then(self, path: &str, text: &str) -> Self {
        self.tip.write(path, text);
        self
    }

    fn sources(&self, repository: &Repository) -> Sources {
        Sources::gather(&repository.tree(), self.folder, &self.options)
            .unwrap()
            .unwrap()
    }

    async fn wanted(&self, name: &str) -> Wanted {
        let before = renderer().render(&self.sources(&self.good)).await.unwrap();
        let now = renderer().render(&self.sources(&self.tip)).await.unwrap();
        Wanted {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            is_in_default_namespace: true,
            name: name.to_owned(),
            rejected: template(&now, name),
            good: template(&before, name),
        }
    }

    async fn find_for(&self, wanted: &Wanted) -> Found {
        let (good, now) = (self.sources(&self.good), self.sources(&self.tip));
        let rendered = async |sources| renderer().render(sources).await.unwrap();
        let (before, after) = (rendered(&good).await, rendered(&now).await);
        let tip = Tip::gather(&self.tip.tree(), now, &self.options, &good).unwrap();
        let renderer = renderer();
        let found = renderer.find((&tip, &after), (&good, &before), wanted);
        found.await.unwrap()
    }

    async fn find(&self, name: &str) -> Found {
        self.find_for(&self.wanted(name).await).await
    }

    /// Applies the edits that are found, which have to restore the template; returns the files that they change.
    async fn restored(&self, name: &str) -> Vec<(String, String)> {
        let wanted = self.wanted(name).await;
        let Found::Edits(mut edits) = self.find_for(&wanted).await else {
            panic!("{}", self.find_for(&wanted).await);
        };
        edits.sort_by_key(|edit| std::cmp::Reverse(edit.range.start));
        let mut files: Vec<(String, String)> = Vec::new();
        for Edit {
            file,
            range,
            replacement,
        } in edits
        {
            let mut text = fs::read_to_string(self.tip.path(&file)).unwrap();
            text.replace_range(range, &replacement);
            self.tip.write(&file, &text);
            files.retain(|(known, _)| *known != file);
            files.push((file, text));
        }
        let after = renderer().render(&self.sources(&self.tip)).await.unwrap();
        assert_eq!(template(&after, name), wanted.good);
        files.sort();
        files
    }
}

fn one(file: &str, text: &str) -> Vec<(String, String)> {
    vec![(file.to_owned(), text.to_owned())]
}

#[tokio::test]
async fn the_images_of_the_overlay_are_restored_and_every_other_byte_stays() {
    let overlay = |tag: &str, note: &str| {
        format!(
            "# prod\r\nresources: [../base]\r\nimages:\r\n  - name: app   # ours\r\n    newTag: {tag} # {note}\r\nnamePrefix: prod-\r\n"
        )
    };
    let history = History::of(
        "prod",
        &[("prod/kustomization.yaml", &overlay("\"1.10\"", "run 7"))],
    )
    .then("prod/kustomization.yaml", &overlay("'2.0'", "run 8"));
    let restored = history.restored("prod-web").await;
    assert_eq!(
        restored,
        one("prod/kustomization.yaml", &overlay("'1.10'", "run 8"))
    );
}

#[tokio::test]
async fn a_digest_is_restored_and_a_name_too() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let overlay = |name: &str, digit: &str| {
        format!(
            "resources: [../base]\nimages: [{{name: app, newName: {name}, digest: {}}}]\n",
            digest(digit)
        )
    };
    let history = History::of(
        "prod",
        &[("prod/kustomization.yaml", &overlay("one/app", "1"))],
    )
    .then("prod/kustomization.yaml", &overlay("two/app", "2"));
    assert_eq!(
        history.restored("web").await,
        one("prod/kustomization.yaml", &overlay("one/app", "1"))
    );
}

#[tokio::test]
async fn of_two_entries_for_one_image_the_one_that_sets_it_is_restored() {
    let overlay = |first: &str, second: &str| {
        format!(
            "resources: [../base]\nimages:\n- name: app\n  newTag: {first}\n- name: app\n  newTag: {second}\n"
        )
    };
    let history = History::of("prod", &[("prod/kustomization.yaml", &overlay("v1", "v1"))])
        .then("prod/kustomization.yaml", &overlay("v2", "v2"));
    let Found::Edits(edits) = history.find("web").await else {
        panic!("not found");
    };
    assert_eq!(edits.len(), 1, "{edits:?}");
    history.restored("web").await;
}

#[tokio::test]
async fn the_images_of_a_component_and_of_an_anchor_are_found() {
    let component = |tag: &str| {
        format!(
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages: [{{name: app, newTag: {tag}}}]\n"
        )
    };
    let overlay = (
        "prod/kustomization.yaml",
        "resources: [../base]\ncomponents: [../release]\n",
    );
    let history = History::of(
        "prod",
        &[overlay, ("release/kustomization.yaml", &component("v1"))],
    )
    .then("release/kustomization.yaml", &component("v2"));
    assert_eq!(
        history.restored("web").await,
        one("release/kustomization.yaml", &component("v1"))
    );

    let anchored = |tag: &str| {
        format!(
            "resources: [../base]\nlabels: [{{pairs: {{version: &v {tag}}}}}]\nimages: [{{name: app, newTag: *v}}]\n"
        )
    };
    let history = History::of("prod", &[("prod/kustomization.yaml", &anchored("v1"))])
        .then("prod/kustomization.yaml", &anchored("v2"));
    let restored = history.restored("web").await;
    let expected = anchored("v2").replace("*v", "v1");
    assert_eq!(restored, one("prod/kustomization.yaml", &expected));
}

#[tokio::test]
async fn only_the_change_that_set_the_template_goes_out_of_many() {
    let patch = |level: &str, replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas} # by hand\n  template:\n    spec:\n      containers:\n      - name: app\n        env:\n        - name: LEVEL\n          value: {level}\n"
        )
    };
    let overlay = |tag: &str, team: &str| {
        format!(
            "resources: [../base]\npatches: [{{path: patch.yaml}}]\nimages: [{{name: app, newTag: {tag}}}]\ncommonAnnotations: {{unused: x}}\nconfigMapGenerator: [{{name: other, literals: [team={team}]}}]\n"
        )
    };
    let history = History::of(
        "prod",
        &[
            ("prod/kustomization.yaml", &overlay("v1", "a")),
            ("prod/patch.yaml", &patch("info", 2)),
        ],
    )
    .then("prod/kustomization.yaml", &overlay("v2", "b"))
    .then("prod/patch.yaml", &patch("debug", 9));
    let restored = history.restored("web").await;
    assert_eq!(
        restored,
        [
            ("prod/kustomization.yaml".to_owned(), overlay("v1", "b")),
            ("prod/patch.yaml".to_owned(), patch("info", 9)),
        ]
    );
}

#[tokio::test]
async fn json_patches_in_the_kustomization_are_restored() {
    let overlay = |image: &str, target: &str| {
        format!(
            "resources: [../base]\npatches:\n- target: {{kind: Deployment, name: {target}}}\n  patch: |-\n    # the image\n    - op: replace\n      path: /spec/template/spec/containers/0/image\n      value: {image}\n    - op: add\n      path: /spec/replicas\n      value: 2\n"
        )
    };
    let history = History::of(
        "prod",
        &[("prod/kustomization.yaml", &overlay("app:5", "web"))],
    )
    .then("prod/kustomization.yaml", &overlay("app:6", "web"));
    assert_eq!(
        history.restored("web").await,
        one("prod/kustomization.yaml", &overlay("app:5", "web"))
    );
}

#[tokio::test]
async fn a_patch_that_was_added_is_no_longer_named() {
    let plain = "resources: [../base]\n";
    let patched = "resources: [../base]\npatches:\n- path: env.yaml\n";
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: app, env: [{name: A, value: b}]}]}}}\n";
    let history = History::of("prod", &[("prod/kustomization.yaml", plain)])
        .then("prod/kustomization.yaml", patched)
        .then("prod/env.yaml", patch);
    assert_eq!(
        history.restored("web").await,
        one("prod/kustomization.yaml", plain)
    );

    let history = History::of(
        "prod",
        &[
            ("prod/kustomization.yaml", patched),
            ("prod/env.yaml", patch),
        ],
    )
    .then("prod/kustomization.yaml", plain);
    assert_eq!(
        history.restored("web").await,
        one("prod/kustomization.yaml", patched)
    );
}

#[tokio::test]
async fn a_generators_file_and_its_hash_are_restored_together() {
    let history = History::of(
        "prod",
        &[
            ("prod/kustomization.yaml", "resources: [../base]\npatches: [{path: from.yaml}]\nconfigMapGenerator: [{name: settings, files: [app.properties], literals: [x=1]}]\n"),
            ("prod/from.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: app, envFrom: [{configMapRef: {name: settings}}]}]}}}\n"),
            ("prod/app.properties", "# limits\na=1\nb=1\n"),
        ],
    )
    .then("prod/app.properties", "# limits\na=2\nb=1\n");
    assert_eq!(
        history.restored("web").await,
        one("prod/app.properties", "# limits\na=1\nb=1\n")
    );
}

#[tokio::test]
async fn a_base_is_restored_unless_another_folder_is_rendered_from_it() {
    let history = History::of(
        "prod",
        &[("prod/kustomization.yaml", "resources: [../base]\n")],
    )
    .then("base/app.yaml", &deployment("app:2"));
    assert_eq!(
        history.find("web").await.to_string(),
        "restored in base/app.yaml"
    );
    history
        .tip
        .write("staging/kustomization.yaml", "resources: [../base]\n");
    let found = history.find("web").await;
    assert_eq!(
        found.to_string(),
        "`base/app.yaml` set the template, and another folder is rendered from it, too: staging"
    );
}

#[tokio::test]
async fn another_workload_with_the_same_image_is_not_taken_along() {
    let both = format!(
        "{}---\n{}",
        deployment("app"),
        deployment("app").replace("name: web", "name: worker")
    );
    let overlay =
        |tag: &str| format!("resources: [both.yaml]\nimages: [{{name: app, newTag: {tag}}}]\n");
    let history = History::of(
        "prod",
        &[
            ("prod/kustomization.yaml", &overlay("v1")),
            ("prod/both.yaml", &both),
        ],
    )
    .then("prod/kustomization.yaml", &overlay("v2"));
    assert_eq!(
        history.find("web").await.to_string(),
        "restoring the template in `prod/kustomization.yaml` would change other objects, too: Deployment worker"
    );
}

#[tokio::test]
async fn what_cannot_be_restored_says_why() {
    let overlay = ("prod/kustomization.yaml", "resources: [../base]\n");
    let history = History::of("prod", &[overlay]).then("base/app.yaml", &deployment("app:2"));
    let wanted = history.wanted("web").await;
    let not_found = |reason| Found::NotFound(reason);

    let other = Wanted {
        name: "api".to_owned(),
        ..wanted.clone()
    };
    assert_eq!(
        history.find_for(&other).await,
        not_found(NotFound::NoWorkload)
    );
    let other = Wanted {
        rejected: Value::Null,
        ..wanted.clone()
    };
    assert_eq!(
        history.find_for(&other).await,
        not_found(NotFound::TemplateChanged)
    );
    let other = Wanted {
        good: Value::Null,
        ..wanted.clone()
    };
    assert_eq!(
        history.find_for(&other).await,
        not_found(NotFound::GoodChanged)
    );

    let history = history
        .then("base/moved.yaml", &deployment("app:2"))
        .then("base/kustomization.yaml", "resources: [moved.yaml]\n");
    fs::remove_file(history.tip.path("base/app.yaml")).unwrap();
    assert_eq!(history.find("web").await, not_found(NotFound::NoPlace));
}

#[tokio::test]
async fn the_values_that_set_the_image_of_a_chart_are_restored() {
    let chart = "apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '1'\n";
    let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    metadata:\n      labels: {version: {{ .Chart.AppVersion | quote }} }\n    spec:\n      containers:\n      - name: app\n        image: app:{{ .Values.image.tag }}\n";
    let values = |tag: &str| format!("# defaults\nimage:\n  tag: {tag} # by CI\nreplicas: 1\n");
    let mut history = History::of(
        "chart",
        &[
            ("chart/Chart.yaml", chart),
            ("chart/values.yaml", &values("v1")),
            ("chart/templates/web.yaml", template),
            ("prod.yaml", "image: {tag: p1} # prod\n"),
        ],
    )
    .then("chart/values.yaml", &values("v2"));
    assert_eq!(
        history.restored("web").await,
        one("chart/values.yaml", &values("v1"))
    );

    history.options.values = vec!["prod.yaml".to_owned()];
    let history = history
        .then("chart/values.yaml", &values("v2"))
        .then("prod.yaml", "image: {tag: p2} # prod\n");
    assert_eq!(
        history.restored("web").await,
        one("prod.yaml", "image: {tag: p1} # prod\n")
    );

    let mut history = history
        .then("chart/Chart.yaml", &chart.replace("'1'", "'2'"))
        .then(
            "chart/templates/web.yaml",
            &template
                .replace("app:{{", "evil/app:{{")
                .replace("name: web", "name:  web"),
        );
    let found = history.find("web").await;
    assert_eq!(found, Found::NotFound(NotFound::SharedChart));

    history.options.values = Vec::new();
    let restored = history.restored("web").await;
    let text = template.replace("name: web", "name:  web");
    assert_eq!(
        restored,
        [
            one("chart/Chart.yaml", chart),
            one("chart/templates/web.yaml", &text),
            one("chart/values.yaml", &values("v1"))
        ]
        .concat()
    );
}
