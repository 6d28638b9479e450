//! Links from one Markdown file of the repository to another, and to a heading in it.
//!
//! Reads inline links, as this repository writes them; addresses of other places are not asked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::shell::output_of;

/// Returns a line for each link of a committed Markdown file that leads nowhere.
pub(super) fn dead(root: &Path) -> Result<Vec<String>> {
    let listed = output_of(
        Command::new("git")
            .current_dir(root)
            .args(["ls-files", "*.md"]),
    )?;
    let mut texts = BTreeMap::new();
    for name in listed.lines() {
        let path = root.join(name);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        texts.insert(PathBuf::from(name), text);
    }
    let mut dead = Vec::new();
    for (file, text) in &texts {
        for target in targets(text) {
            if !leads_somewhere(root, &texts, file, &target) {
                dead.push(format!("{}: {target}", file.display()));
            }
        }
    }
    Ok(dead)
}

fn leads_somewhere(
    root: &Path,
    texts: &BTreeMap<PathBuf, String>,
    file: &Path,
    target: &str,
) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.to_owned()
    } else {
        normal(&file.parent().unwrap_or_else(|| Path::new("")).join(path))
    };
    if heading.is_empty() {
        return root.join(path).exists();
    }
    texts
        .get(&path)
        .is_some_and(|text| headings(text).any(|anchor| anchor == heading))
}

/// Resolves `..` without asking the file system.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Targets of the inline links of a text, without those in code.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let prose: Vec<&str> = prose(text).collect();
    let prose = without_code(&prose.join("\n"));
    for piece in prose.split("](").skip(1) {
        if let Some((target, _)) = piece.split_once(')') {
            // A title may stand behind the target.
            targets.extend(target.split_whitespace().next().map(str::to_owned));
        }
    }
    targets
}

/// Lines of a text outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// A text without the code between backticks.
fn without_code(text: &str) -> String {
    text.split('`').step_by(2).collect()
}

/// Anchors of the headings of a text, as repository hosts make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
}

fn anchor(heading: &str) -> String {
    let mut anchor = String::new();
    for letter in heading.chars() {
        match letter {
            ' ' => anchor.push('-'),
            '-' | '_' => anchor.push(letter),
            letter if letter.is_alphanumeric() => anchor.extend(letter.to_lowercase()),
            _ => {}
        }
    }
    anchor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        files
            .iter()
            .map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn targets_are_those_of_inline_links_outside_of_code() {
        let text = "See [one](a.md), [two](b.md#part \"title\") and `[three](c.md)`.\n```\n[four](d.md)\n```\n";
        assert_eq!(targets(text), ["a.md", "b.md#part"]);
    }

    #[test]
    fn a_heading_is_found_by_its_anchor() {
        let texts = texts(&[
            ("README.md", ""),
            ("docs/a.md", "# `spec.steps[]`: a step\n"),
        ]);
        let root = Path::new("/nowhere");
        let found = leads_somewhere(
            root,
            &texts,
            Path::new("README.md"),
            "docs/a.md#specsteps-a-step",
        );
        assert!(found);
        let found = leads_somewhere(root, &texts, Path::new("docs/a.md"), "../README.md#see-it");
        assert!(!found);
    }

    #[test]
    fn addresses_elsewhere_are_not_asked() {
        let nowhere = Path::new("/nowhere");
        let file = Path::new("README.md");
        assert!(leads_somewhere(
            nowhere,
            &BTreeMap::new(),
            file,
            "https://example.com/a"
        ));
        assert!(!leads_somewhere(
            nowhere,
            &BTreeMap::new(),
            file,
            "missing.md"
        ));
    }
}
