//! The committed files that are made from the sources are what would be made now.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use tidegate::cli::crds::{Files, editor, reference, yaml_files};

/// Fails where a file of `folder` with this ending is not what `expected` says.
fn compare(folder: &str, ending: &str, expected: &Files) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut stale = Vec::new();
    for (name, content) in expected {
        if fs::read_to_string(path.join(name)).ok().as_ref() != Some(content) {
            stale.push(format!("{folder}/{name}"));
        }
    }
    for entry in fs::read_dir(&path).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(ending) && !expected.contains_key(&name) {
            stale.push(format!("{folder}/{name} (no longer generated)"));
        }
    }
    assert!(
        stale.is_empty(),
        "not what the sources say: run `cargo xtask codegen`\n  {}",
        stale.join("\n  ")
    );
}

#[test]
fn the_definitions_are_current() {
    compare("crds", ".yaml", &yaml_files());
}

#[test]
fn the_charts_definitions_are_current() {
    compare("charts/tidegate/files/crds", ".yaml", &yaml_files());
}

#[test]
fn the_schemas_for_editors_are_current() {
    compare("crds/schemas", ".json", &editor::files());
}

#[test]
fn the_reference_is_current() {
    compare("docs/reference", ".md", &reference::files());
}
