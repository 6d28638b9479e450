//! Rendering with the real programs, which `cargo xtask test` builds.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot prepare has failed"
)]

mod charts;
mod folder_tree;
mod overlays;
mod rejected;
mod restores;

use std::{env, fs, path::PathBuf, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_render::{
    ChartOptions, Object, RenderError, RenderSettings, Rendered, Renderer, Sources,
};

use self::folder_tree::FolderTree;

/// A repository on disk.
struct Repository(TempDir);

/// Returns a program that has to be there: from the variable that xtask sets, else from `PATH`.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = env::var_os(variable) {
        return path.into();
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is missing: run `cargo xtask test`, or set {variable} to it")
    })
}

fn settings() -> RenderSettings {
    RenderSettings {
        kustomize: program("TIDEGATE_KUSTOMIZE", "kustomize"),
        helm: program("TIDEGATE_HELM", "helm"),
        // Other tests run at the same time.
        deadline: Duration::from_mins(1),
        ..RenderSettings::default()
    }
}

fn renderer() -> Renderer {
    Renderer::new(settings())
}

/// Options of a release in the namespace `shop`.
fn options() -> ChartOptions {
    ChartOptions {
        namespace: "shop".to_owned(),
        ..ChartOptions::default()
    }
}

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  template:\n    spec:\n      containers:\n      \
         - name: app\n        image: {image} # by CI\n"
    )
}

/// Returns the image of a workload's first container.
fn image(rendered: &Rendered, name: &str) -> String {
    let object = object(rendered, "Deployment", name);
    let image = &object.value["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().unwrap().to_owned()
}

fn object<'r>(rendered: &'r Rendered, kind: &str, name: &str) -> &'r Object {
    let found = rendered.objects.iter().find(|object| {
        let key = object.key();
        key.kind == kind && key.name == name
    });
    found.unwrap_or_else(|| panic!("no {kind} {name} in {rendered:?}"))
}

fn template(rendered: &Rendered, name: &str) -> Value {
    object(rendered, "Deployment", name).value["spec"]["template"].clone()
}

// === impl Repository ===

impl Repository {
    fn of(files: &[(&str, &str)]) -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            repository.write(path, text);
        }
        repository
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn tree(&self) -> FolderTree {
        FolderTree::new(self.0.path())
    }

    fn sources(&self, folder: &str) -> Result<Sources, RenderError> {
        let sources = Sources::gather(&self.tree(), folder, &options())?;
        Ok(sources.unwrap_or_else(|| panic!("{folder} is plain")))
    }

    async fn render(&self, folder: &str) -> Result<Rendered, RenderError> {
        renderer().render(&self.sources(folder)?).await
    }

    /// Returns the words by which a folder is rejected, before or by the program.
    async fn rejection(&self, folder: &str) -> String {
        let error = self.render(folder).await.unwrap_err();
        assert!(error.is_about_content(), "{error:?}");
        let said = error.to_string();
        let here = self.0.path().display().to_string();
        assert!(
            !said.contains(&here) && !said.contains("tidegate-render-"),
            "{said}"
        );
        said
    }
}
