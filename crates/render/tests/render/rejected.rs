//! What is not rendered, and the words that say where and why.

use std::{fmt::Write as _, os::unix::fs::symlink, time::Duration};

use super::*;

/// A repository whose `prod/kustomization.yaml` is this text, beside a base.
fn overlay(text: &str) -> Repository {
    Repository::of(&[
        ("base/app.yaml", &deployment("app:1")),
        ("base/kustomization.yaml", "resources: [app.yaml]"),
        ("prod/kustomization.yaml", text),
        ("prod/notes.txt", "a: 1\n"),
    ])
}

async fn rejects(text: &str, words: &[&str]) {
    let said = overlay(text).rejection("prod").await;
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

#[tokio::test]
async fn whatever_is_on_another_server_is_rejected_with_its_line() {
    let remote = "names another server";
    for (text, place) in [
        (
            "resources:\n- ../base\n- https://example.com/app.yaml",
            "prod/kustomization.yaml:3: `resources[1]`",
        ),
        (
            "resources: ['github.com/a/b//c?ref=v1']",
            ":1: `resources[0]`",
        ),
        ("resources: ['git@github.com:a/b.git']", "`resources[0]`"),
        ("bases: ['ssh://git@example.com/a/b']", "`bases[0]`"),
        ("components: ['https://example.com/a']", "`components[0]`"),
        ("crds: ['http://example.com/a']", "`crds[0]`"),
        (
            "openapi: {path: 'https://example.com/schema.json'}",
            "`openapi.path`",
        ),
        (
            "patches: [{path: 'https://example.com/p.yaml'}]",
            "`patches[0].path`",
        ),
        (
            "patchesStrategicMerge: ['https://example.com/p.yaml']",
            "`patchesStrategicMerge[0]`",
        ),
        (
            "configMapGenerator: [{name: a, files: ['k=https://example.com/p']}]",
            "`configMapGenerator[0].files[0]`",
        ),
        (
            "secretGenerator: [{name: a, envs: ['https://example.com/p']}]",
            "`secretGenerator[0].envs[0]`",
        ),
        (
            "replacements: [{path: 'https://example.com/p'}]",
            "`replacements[0].path`",
        ),
        (
            "transformers: ['https://example.com/p']",
            "`transformers[0]`",
        ),
        (
            "resources: [&far 'https://u:hunter2@example.com/app.yaml', *far]",
            "`resources[0]`",
        ),
    ] {
        rejects(text, &[place, remote, "copy its files"]).await;
        let said = overlay(text).rejection("prod").await;
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn files_of_the_machine_are_out_of_reach() {
    for (text, words) in [
        ("resources: [/etc/passwd]", "is an absolute path"),
        (
            "configMapGenerator: [{name: a, files: [/etc/passwd]}]",
            "is an absolute path",
        ),
        (
            "configMapGenerator: [{name: a, files: [x=../../../etc/passwd]}]",
            "leads out of the repository",
        ),
        (
            "configMapGenerator: [{name: a, Files: [/etc/passwd]}]",
            "write `files`",
        ),
        ("Resources: [/etc/passwd]", "write `resources`"),
        ("resources: ['..\\base']", "separate folders by `/`"),
        (
            "patchesStrategicMerge: ['a: /../../../../../../../etc/passwd']",
            "Failed",
        ),
        (
            "transformers: ['{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: /etc/passwd}']",
            "is an absolute path",
        ),
        (
            "generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: x}, FILES: [/etc/passwd]}']",
            "write `files`",
        ),
    ] {
        let repository = overlay(text);
        let error = repository.render("prod").await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains(words), "{text}: {said}");
        assert!(!said.contains("root:"), "{said}");
    }
}

#[tokio::test]
async fn programs_are_not_run() {
    rejects(
        "helmCharts: [{name: redis}]",
        &[":1: `helmCharts`", "helm template"],
    )
    .await;
    rejects(
        "helmChartInflationGenerator: [{chartName: redis}]",
        &["charts are not inflated"],
    )
    .await;
    rejects(
        "transformers:\n- |\n  apiVersion: v1\n  kind: Custom\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        exec: {path: /bin/true}\n",
        &["prod/kustomization.yaml:", "runs a function"],
    )
    .await;
    rejects(
        "generators: ['{apiVersion: example.com/v1, kind: Chart, metadata: {name: x}}']",
        &["a plugin of the kind `Chart`"],
    )
    .await;
    rejects("transformers: [../base]", &["name the files in it"]).await;
}

#[tokio::test]
async fn what_is_not_there_is_named_with_its_line() {
    rejects(
        "# x\nresources:\n- ../bsae",
        &["prod/kustomization.yaml:3: `resources[0]`: there is no `../bsae`"],
    )
    .await;
    rejects("resources: [..]", &["the folder `..` has no kustomization"]).await;
    rejects("components: [notes.txt]", &["is a file; name a folder"]).await;
    rejects("patches: [{path: ../base}]", &["is a folder; name a file"]).await;
    rejects("namePreffix: x", &[":1: `namePreffix` is no field"]).await;
    rejects(
        "images:\n- name: app\n  newTag: 1.10",
        &[":3: `images[0].newTag`", "put it in quotes"],
    )
    .await;
    rejects(
        "resources: [\n",
        &["prod/kustomization.yaml:1: this is not YAML"],
    )
    .await;
    rejects("a: 1\na: 2", &[":2: the key `a` is there twice"]).await;
    rejects("resources: []\n---\nresources: []\n", &["has 2 documents"]).await;
    rejects("- a\n", &["is no mapping"]).await;
    rejects(
        "configMapGenerator: [{name: a, files: [kustomization.yaml]}]",
        &["prod/kustomization.yaml: is used both"],
    )
    .await;
    let repository = overlay("resources: [../base]");
    repository.write("prod/kustomization.yml", "resources: []");
    let said = repository.rejection("prod").await;
    assert!(said.contains("more than one kustomization"), "{said}");
}

#[tokio::test]
async fn cycles_end() {
    let repository = Repository::of(&[
        ("a/kustomization.yaml", "resources: [../b]"),
        ("b/kustomization.yaml", "resources: [../c]"),
        ("c/kustomization.yaml", "components: [../a]"),
    ]);
    let said = repository.rejection("a").await;
    assert!(
        said.contains("c/kustomization.yaml:1: `components[0]`: the folder `../a` leads back here"),
        "{said}"
    );
    for index in 0..40 {
        let next = format!("resources: [../d{}]", index + 1);
        repository.write(&format!("d{index}/kustomization.yaml"), &next);
    }
    repository.write("d40/kustomization.yaml", "resources: []");
    let said = repository.rejection("d0").await;
    assert!(said.contains("more than 32 deep"), "{said}");
}

#[tokio::test]
async fn only_plain_files_are_read() {
    let repository =
        overlay("resources: [../base]\nconfigMapGenerator: [{name: a, files: [thing]}]");
    let thing = repository.path("prod/thing");
    symlink("/etc/passwd", &thing).unwrap();
    let said = repository.rejection("prod").await;
    assert!(said.contains("prod/thing: is a symbolic link"), "{said}");
    fs::remove_file(&thing).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &thing, rustix::fs::Mode::RWXU).unwrap();
    let said = repository.rejection("prod").await;
    assert!(said.contains("prod/thing: is no plain file"), "{said}");
    fs::remove_file(&thing).unwrap();
    fs::write(&thing, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let said = repository.rejection("prod").await;
    assert!(said.contains("is a Git LFS pointer"), "{said}");
    fs::write(&thing, vec![b'x'; 5 * 1024 * 1024]).unwrap();
    let said = repository.rejection("prod").await;
    assert!(said.contains("larger than the limit"), "{said}");

    fs::rename(repository.path("base"), repository.path("real")).unwrap();
    symlink("real", repository.path("base")).unwrap();
    let said = repository.rejection("prod").await;
    assert!(said.contains("base: is a symbolic link"), "{said}");
}

#[tokio::test]
async fn errors_of_the_program_have_a_place() {
    let patch =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: wbe\nspec: {replicas: 2}\n";
    let repository = overlay("resources: [../base]\npatches: [{path: patch.yaml}]");
    repository.write("prod/patch.yaml", &format!("# wrong name\n{patch}"));
    let said = repository.rejection("prod").await;
    assert!(
        said.starts_with("prod/patch.yaml:2: kustomize cannot render this: "),
        "{said}"
    );

    let repository = overlay("resources: [../base]");
    repository.write(
        "base/app.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web\n  x: }}\n",
    );
    let said = repository.rejection("prod").await;
    assert!(said.starts_with("base/app.yaml:"), "{said}");

    rejects(
        "resources: [../base, ../base]",
        &["prod/kustomization.yaml", "kustomize cannot render"],
    )
    .await;
}

#[tokio::test]
async fn a_run_ends_at_its_limits() {
    let big = "x".repeat(200_000);
    let mut objects = String::new();
    for index in 0..50 {
        objects += "---\napiVersion: v1\nkind: Service\n";
        writeln!(objects, "metadata: {{name: s{index}}}").unwrap();
    }
    let bomb = Repository::of(&[
        ("s.yaml", &objects),
        (
            "kustomization.yaml",
            &format!("resources: [s.yaml]\ncommonAnnotations: {{big: {big}}}\n"),
        ),
    ]);
    let sources = bomb.sources("").unwrap();
    let settings = RenderSettings {
        output_bytes: 1024 * 1024,
        ..settings()
    };
    let error = Renderer::new(settings.clone())
        .render(&sources)
        .await
        .unwrap_err();
    assert!(matches!(error, RenderError::TooMuch { .. }), "{error:?}");
    let settings = RenderSettings {
        memory_bytes: 48 * 1024 * 1024,
        ..settings
    };
    let error = Renderer::new(settings.clone())
        .render(&sources)
        .await
        .unwrap_err();
    assert!(
        matches!(error, RenderError::OutOfMemory { .. }),
        "{error:?}"
    );
    let settings = RenderSettings {
        deadline: Duration::from_millis(1),
        ..settings
    };
    let error = Renderer::new(settings).render(&sources).await.unwrap_err();
    assert!(matches!(error, RenderError::TooSlow { .. }), "{error:?}");
    assert!(error.is_transient() && error.is_about_content());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_no_fault_of_the_repository() {
    let sources = overlay("resources: [../base]").sources("prod").unwrap();
    let settings = RenderSettings {
        search_path: "/nonexistent".into(),
        ..RenderSettings::default()
    };
    let error = Renderer::new(settings).render(&sources).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`kustomize` is not installed: use the image, or an image that has it"
    );
    assert!(!error.is_about_content());
}
