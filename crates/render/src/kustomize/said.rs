//! Kustomize's errors, as places in the repository.
//!
//! Kustomize names files in many ways and rarely a line. The innermost file that it names is taken, and where it names
//! only an object, the file that has a patch for it.

use serde_json::Value;

use tidegate_git::path::resolved;

use crate::{document, error::Place, kustomize::Role, sources::Sources};

/// Finds the place of an error.
pub(crate) fn place(said: &str, sources: &Sources, folders: &[String]) -> Place {
    if let Some(place) = patch_of(said, sources) {
        return place;
    }
    let words = said.split(|letter: char| letter.is_whitespace() || "\"'()<>,:[]".contains(letter));
    for word in words.rev() {
        if let Some(file) = file_of(word, sources, folders) {
            return Place {
                file,
                line: line_in(said),
            };
        }
    }
    sources.place()
}

/// Returns the file that a word names, from the root or from one of the folders, the deepest first.
fn file_of(word: &str, sources: &Sources, folders: &[String]) -> Option<String> {
    if !word.contains(['.', '/']) && word != "Kustomization" {
        return None;
    }
    let root = String::new();
    let from = std::iter::once(&root).chain(folders.iter().rev());
    let mut paths = from.filter_map(|folder| resolved(folder, word));
    paths.find(|path| sources.files.contains_key(path))
}

/// Returns the number after the last `line` in a text.
fn line_in(said: &str) -> Option<usize> {
    let (_, rest) = said.rsplit_once("line ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|line| *line > 0)
}

/// Finds the patch whose target is not there, of which Kustomize says `Deployment.v1.apps/web.[noNs]`.
fn patch_of(said: &str, sources: &Sources) -> Option<Place> {
    if !said.contains("patch") {
        return None;
    }
    let id = said
        .split_whitespace()
        .rev()
        .find(|word| word.contains(".[noNs]") || word.contains('/'))?;
    let (kind, name) = id
        .trim_matches(|letter| "\"':;,".contains(letter))
        .split_once('/')?;
    let kind = kind.split('.').next()?;
    let name = name.split('.').next()?;
    let patches = sources
        .files
        .iter()
        .filter(|(_, file)| file.role == Role::Patch);
    for (path, file) in patches {
        for document in document::documents(&file.bytes).unwrap_or_default() {
            if is_named(&document.value, kind, name) {
                return Some(Place::at(path.as_str(), document.line));
            }
        }
    }
    None
}

fn is_named(value: &Value, kind: &str, name: &str) -> bool {
    value.get("kind").is_some_and(|there| there == kind)
        && value
            .pointer("/metadata/name")
            .is_some_and(|there| there == name)
}
