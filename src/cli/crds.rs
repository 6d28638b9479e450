//! `tidegate crds`: the custom resource definitions, as YAML for the API server, as Markdown for
//! readers and as JSON schemas for editors.
//!
//! What is printed comes from `tidegate-api` alone. The committed copies are compared by
//! `tests/generated.rs`.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;
use tidegate_api::{ConfigRepo, Intervention, Rollout};

mod commands;
pub mod editor;
mod reasons;
pub mod reference;

/// The first line of each generated YAML file.
const YAML_HEAD: &str = "# Generated from crates/api by `cargo xtask codegen`: do not edit.\n";

/// Contents by file name.
pub type Files = BTreeMap<String, String>;

/// Arguments of `tidegate crds`.
#[derive(Args, Debug)]
pub struct CrdsArgs {
    /// Directory to write one file per definition to, instead of printing
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print the reference of every field and command as Markdown, instead of YAML
    #[arg(long)]
    reference: bool,
    /// JSON schemas for editors, instead of YAML
    #[arg(long, conflicts_with = "reference")]
    schemas: bool,
}

/// Prints or writes the definitions.
pub(super) fn run(args: &CrdsArgs) -> anyhow::Result<()> {
    let (files, separator) = if args.reference {
        (reference::files(), "\n")
    } else if args.schemas {
        (editor::files(), "")
    } else {
        (yaml_files(), "---\n")
    };
    match &args.dir {
        Some(folder) => {
            write(folder, &files).with_context(|| format!("cannot write {}", folder.display()))
        }
        None => print(&files, separator).context("cannot write to standard output"),
    }
}

/// The definitions of all our kinds.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [Rollout::crd(), ConfigRepo::crd(), Intervention::crd()]
        .map(described)
        .map(unwrapped)
}

/// The definition with each paragraph of its descriptions on one line, as Kubernetes has its own:
/// `kubectl explain` breaks the lines itself.
fn unwrapped(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is JSON");
    unwrap_descriptions(&mut value);
    serde_json::from_value(value).expect("a definition stays one")
}

fn unwrap_descriptions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(text) if name == "description" => *text = one_line_each(text),
                    _ => unwrap_descriptions(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unwrap_descriptions),
        _ => {}
    }
}

/// Joins the lines of each paragraph.
fn one_line_each(text: &str) -> String {
    let paragraphs: Vec<_> = text
        .split("\n\n")
        .map(|paragraph| paragraph.lines().collect::<Vec<_>>().join(" "))
        .collect();
    paragraphs.join("\n\n")
}

/// The definition with what its spec says of itself at the top, where `kubectl explain KIND` looks.
fn described(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let schemas = crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut());
    for root in schemas.filter_map(|schema| schema.open_api_v3_schema.as_mut()) {
        let spec = root
            .properties
            .as_ref()
            .and_then(|fields| fields.get("spec"));
        root.description = spec.and_then(|spec| spec.description.clone());
    }
    crd
}

/// The definitions as YAML, by file name: `rollouts.tidegate.io.yaml`, …
pub fn yaml_files() -> Files {
    definitions()
        .iter()
        .map(|crd| {
            let name = crd.metadata.name.as_deref().unwrap_or_default();
            (format!("{name}.yaml"), YAML_HEAD.to_owned() + &yaml(crd))
        })
        .collect()
}

fn yaml(crd: &CustomResourceDefinition) -> String {
    let mut options = serde_saphyr::SerializerOptions::default();
    // One form for every text: what a description happens to contain does not change its layout.
    options.prefer_block_scalars = false;
    serde_saphyr::to_string_with_options(crd, options)
        .expect("a definition has only what YAML can say")
}

fn write(folder: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, content) in files {
        fs::write(folder.join(name), content)?;
    }
    Ok(())
}

fn print(files: &Files, separator: &str) -> io::Result<()> {
    let contents: Vec<&str> = files.values().map(String::as_str).collect();
    io::stdout().write_all(contents.join(separator).as_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_yaml_says_exactly_what_the_definition_says() {
        for crd in definitions() {
            let read: CustomResourceDefinition = serde_saphyr::from_str(&yaml(&crd)).unwrap();
            assert_eq!(read, crd);
        }
    }
}
