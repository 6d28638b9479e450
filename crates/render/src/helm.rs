//! Charts: what one needs of the repository, and what the program is told and says.
//!
//! A chart is rendered with its own `values.yaml`, and with the files of values that the caller names, of which the
//! later win. The release has the chart's name unless the caller names another. Hooks and tests are left out: they
//! are for a release that Helm itself installs. CRDs of `crds/` are part of the output.

pub(crate) mod said;
mod schema;

use serde_json::Value;
use tidegate_git::{
    FolderEntry,
    path::{joined, resolved},
};

use crate::{
    document,
    error::{Place, Problem, RenderError},
    kustomize::Role,
    sources::{Reader, RendererKind, Sources, refusal},
    tree::{Entry, Tree},
};

/// Name of the file that makes a folder a chart.
pub const CHART: &str = "Chart.yaml";

/// Maximum depth of folders in a chart.
const MAX_DEPTH: usize = 32;

/// Settings of a release that are not in the chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChartOptions {
    /// Name of the release. Defaults to the chart's name.
    pub release: Option<String>,
    /// Namespace of the release.
    pub namespace: String,
    /// Files of values from the root of the repository, of which the later win over the earlier and over the chart's.
    pub values: Vec<String>,
    /// Version of Kubernetes that the chart is told. Defaults to the one that Helm was built for.
    pub kube_version: Option<String>,
}

/// A chart that is to be rendered.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    /// Name in `Chart.yaml`, by which the program calls it.
    pub(crate) name: String,
    pub(crate) options: ChartOptions,
}

/// Reads a chart and its values.
pub(crate) fn gather(
    tree: &dyn Tree,
    folder: &str,
    options: &ChartOptions,
) -> Result<Sources, RenderError> {
    let mut reader = Reader::new(tree);
    let mut options = options.clone();
    let count = options.values.len();
    for (index, path) in options.values.iter_mut().enumerate() {
        let file = values(tree, path)?;
        *path = file.0;
        reader.keep(path, file.1, count - index - 1, Role::Settings)?;
    }
    read_folder(&mut reader, folder, count, 0)?;
    check_schemas(&reader)?;
    let name = check(&reader, folder)?;
    Ok(Sources {
        folder: folder.to_owned(),
        renderer: RendererKind::Helm(Chart { name, options }),
        files: reader.files,
        beside: std::collections::BTreeMap::new(),
    })
}

/// Returns the path and the content of a file of values.
fn values(tree: &dyn Tree, path: &str) -> Result<(String, Vec<u8>), RenderError> {
    let missing = || {
        let path = path.to_owned();
        Place::of(&*path).rejected(Problem::NoValues { path })
    };
    let resolved = resolved("", path).ok_or_else(missing)?;
    let entry = tree.entry(&resolved)?;
    if let Some(problem) = refusal(&entry) {
        return Err(Place::of(resolved).rejected(problem));
    }
    match entry {
        Entry::File(bytes) => Ok((resolved, bytes)),
        _ => Err(missing()),
    }
}

/// Reads all files of a chart, those nearest to what sets a template first in their order.
fn read_folder(
    reader: &mut Reader<'_>,
    folder: &str,
    distance: usize,
    depth: usize,
) -> Result<(), RenderError> {
    if depth > MAX_DEPTH {
        return Err(Place::of(folder).rejected(Problem::TooDeep { limit: MAX_DEPTH }));
    }
    let Entry::Folder(entries) = reader.tree.entry(folder)? else {
        return Ok(());
    };
    for FolderEntry { name, .. } in entries {
        let path = joined(folder, &name);
        let entry = reader.tree.entry(&path)?;
        if let Some(problem) = refusal(&entry) {
            return Err(Place::of(path).rejected(problem));
        }
        match entry {
            Entry::File(bytes) => {
                let (further, role) = match name.as_str() {
                    "values.yaml" => (0, Role::Settings),
                    CHART => (1, Role::Settings),
                    _ => (2, Role::Manifest),
                };
                reader.keep(&path, bytes, distance + further, role)?;
            }
            Entry::Folder(_) => read_folder(reader, &path, distance + 3, depth + 1)?,
            _ => {}
        }
    }
    Ok(())
}

/// Rejects schemas of values that lead out of themselves.
fn check_schemas(reader: &Reader<'_>) -> Result<(), RenderError> {
    for (path, file) in &reader.files {
        let is_schema = path.rsplit('/').next() == Some(schema::SCHEMA);
        if is_schema && let Some(keyword) = schema::reference_outside(&file.bytes) {
            return Err(Place::of(&**path).rejected(Problem::SchemaReference { keyword }));
        }
    }
    Ok(())
}

/// Checks that a chart can be rendered from what is there; returns its name.
fn check(reader: &Reader<'_>, folder: &str) -> Result<String, RenderError> {
    let path = joined(folder, CHART);
    let bytes = reader.files.get(&path).map(|file| file.bytes.as_slice());
    let bytes = bytes.unwrap_or_default();
    let documents = document::documents(bytes).map_err(|error| {
        Place::at(&*path, error.line).rejected(Problem::Yaml {
            reason: error.reason,
        })
    })?;
    let Some(chart) = documents.first() else {
        return Err(Place::of(path).rejected(Problem::NotAMapping));
    };
    let here = |steps: &[document::Step]| {
        Place::at(&*path, document::line_at(bytes, chart.start_of(steps)))
    };
    if chart.value.get("type").and_then(Value::as_str) == Some("library") {
        return Err(here(&["type".into()]).rejected(Problem::Library));
    }
    let dependencies = chart.value.get("dependencies").and_then(Value::as_array);
    for (index, dependency) in dependencies.into_iter().flatten().enumerate() {
        let name = dependency
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !is_there(reader, folder, name) {
            let name = name.to_owned();
            let steps = ["dependencies".into(), index.into()];
            return Err(here(&steps).rejected(Problem::Dependency { name }));
        }
    }
    let name = chart.value.get("name").and_then(Value::as_str);
    Ok(name.unwrap_or_default().to_owned())
}

/// Returns true if a dependency is in the folder `charts/`, as a folder or an archive.
fn is_there(reader: &Reader<'_>, folder: &str, name: &str) -> bool {
    let charts = joined(folder, "charts/");
    reader.files.keys().any(|path| {
        let there = path
            .strip_prefix(&charts)
            .and_then(|path| path.strip_prefix(name));
        there.is_some_and(|rest| {
            rest.starts_with('/') || rest.starts_with('-') && rest.strip_suffix(".tgz").is_some()
        })
    })
}
