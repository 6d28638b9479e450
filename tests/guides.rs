//! The YAML in the documentation is what the API takes, and what other tools take has their kind; the example of a
//! notification is one.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate::cli::lint::{self, Check, SourceFile};
use tidegate_api::notification::Notification;

/// Beginning of the version of our objects.
const OURS: &str = "apiVersion: tidegate.io/";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and all pages of the documentation.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The blocks of YAML in a page, each with its lines at the lines of the page.
fn blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for (start, _) in page.match_indices("```yaml\n") {
        let (before, after) = page.split_at(start + "```yaml\n".len());
        let block = after.split("```").next().unwrap();
        blocks.push("\n".repeat(before.lines().count()) + block);
    }
    blocks
}

#[test]
fn every_object_in_the_documentation_passes_lint() {
    let mut tried = 0;
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        for block in blocks(&page)
            .into_iter()
            .filter(|block| block.contains(OURS))
        {
            let file = SourceFile {
                path: name.clone(),
                bytes: block.into_bytes(),
            };
            let report = lint::lint(&[file]);
            // A guide that is about something else leaves the gates to the reader.
            let findings = report.findings.iter();
            let findings: Vec<_> = findings
                .filter(|finding| finding.check != Check::NoGates)
                .collect();
            assert!(findings.is_empty(), "{findings:#?}");
            tried += report.objects;
        }
    }
    assert!(tried >= 8, "only {tried}");
}

#[test]
fn every_object_in_a_guide_names_its_version() {
    for path in pages() {
        if path
            .parent()
            .is_none_or(|folder| !folder.ends_with("guides"))
        {
            continue;
        }
        for block in blocks(&fs::read_to_string(&path).unwrap()) {
            for document in block.split("\n---\n") {
                let versions = document
                    .lines()
                    .filter(|line| line.starts_with("apiVersion: "));
                let versions: Vec<_> = versions.collect();
                let is_named = |version: &str| version.contains('/') || version.ends_with(": v1");
                assert!(versions.len() == 1 && is_named(versions[0]), "{document}");
            }
        }
    }
}

#[test]
fn the_notification_in_the_guide_is_what_a_receiver_gets() {
    let text = fs::read_to_string(root().join("docs/guides/notifications.md")).unwrap();
    let example = text.split("```json\n").nth(1).unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let notification: Notification = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(&notification).unwrap(), example);
}
