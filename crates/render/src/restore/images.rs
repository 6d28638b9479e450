//! Edits of the `images` of kustomizations, for templates that differ in nothing but images.
//!
//! This is what most releases change. Such an edit is found even where files have been moved since the good commit.

use serde_json::Value;

use super::{Edit, Tip, Wanted};
use crate::{
    document::{self, Document, Step},
    kustomize::{self, Role},
    sources::SourceFile,
};
use tidegate_git::yaml;

/// An image, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Image {
    name: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Lists of containers in a template.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Returns the edits that put the good images into kustomizations, the nearest to the overlay first; none if the
/// templates differ in more than images.
pub(super) fn edits(tip: &Tip, wanted: &Wanted) -> Vec<Edit> {
    let Some(images) = differing(wanted) else {
        return Vec::new();
    };
    let mut files: Vec<_> = tip
        .sources
        .files
        .iter()
        .filter(|(path, file)| is_kustomization(path, file))
        .collect();
    files.sort_by_key(|(path, file)| (file.distance, *path));
    let mut edits = Vec::new();
    for (path, SourceFile { bytes, .. }) in files {
        for document in document::documents(bytes).unwrap_or_default() {
            edits.extend(of_document(path, bytes, &document, &images));
        }
    }
    edits
}

fn is_kustomization(path: &str, file: &SourceFile) -> bool {
    file.role == Role::Settings
        && kustomize::NAMES.contains(&path.rsplit('/').next().unwrap_or(path))
}

/// Returns the images that differ, as they are and as they were; none if something else differs, too.
fn differing(wanted: &Wanted) -> Option<Vec<(Image, Image)>> {
    let (mut rejected, mut good) = (wanted.rejected.clone(), wanted.good.clone());
    let (now, before) = (take_images(&mut rejected), take_images(&mut good));
    if rejected != good || now.len() != before.len() {
        return None;
    }
    let pairs = now.into_iter().zip(before);
    let differing = pairs.filter(|(now, before)| now != before);
    Some(
        differing
            .map(|(now, before)| (Image::parse(&now), Image::parse(&before)))
            .collect(),
    )
}

fn take_images(template: &mut Value) -> Vec<String> {
    let mut images = Vec::new();
    for list in CONTAINERS {
        let containers = template
            .pointer_mut(&format!("/spec/{list}"))
            .and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            if let Some(image) = container.get_mut("image") {
                images.extend(image.take().as_str().map(str::to_owned));
            }
        }
    }
    images
}

fn of_document(
    path: &str,
    bytes: &[u8],
    document: &Document,
    images: &[(Image, Image)],
) -> Vec<Edit> {
    let entries = document.value.get("images").and_then(Value::as_array);
    let mut edits = Vec::new();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        for field in ["newName", "newTag", "digest"] {
            let Some(there) = entry.get(field).and_then(Value::as_str) else {
                continue;
            };
            let good = images.iter().find_map(|(now, before)| {
                let (now, before) = (now.part(field)?, before.part(field)?);
                (now == there && now != before).then_some(before)
            });
            let steps: [Step; 3] = ["images".into(), index.into(), field.into()];
            if let (Some(good), Some(range)) = (good, document.range_of(&steps)) {
                let replacement = written_like(&bytes[range.clone()], good);
                edits.push(Edit {
                    file: path.to_owned(),
                    range,
                    replacement,
                });
            }
        }
    }
    edits
}

/// Writes a text with the quotes that another has.
fn written_like(other: &[u8], text: &str) -> String {
    let is_text = yaml::from_str(text).is_ok_and(|value| value == text);
    match other.first() {
        Some(b'\'') => format!("'{text}'"),
        Some(b'"') => format!("\"{text}\""),
        _ if is_text => text.to_owned(),
        _ => format!("\"{text}\""),
    }
}

// === impl Image ===

impl Image {
    fn parse(image: &str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (image, None),
        };
        // A colon before a slash is that of a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            Some(_) | None => (rest, None),
        };
        Self {
            name: name.to_owned(),
            tag,
            digest,
        }
    }

    /// Returns the part that a field of `images` sets.
    fn part(&self, field: &str) -> Option<&str> {
        match field {
            "newName" => Some(&self.name),
            "newTag" => self.tag.as_deref(),
            _ => self.digest.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_taken_apart() {
        let image = Image::parse("registry.example.com:5000/a/app:1.2@sha256:ab");
        assert_eq!(
            image.part("newName"),
            Some("registry.example.com:5000/a/app")
        );
        assert_eq!(image.part("newTag"), Some("1.2"));
        assert_eq!(image.part("digest"), Some("sha256:ab"));
        assert_eq!(Image::parse("h:5000/app").part("newTag"), None);
    }

    #[test]
    fn a_tag_keeps_its_quotes_and_gets_those_that_it_needs() {
        assert_eq!(written_like(b"\"2\"", "1"), "\"1\"");
        assert_eq!(written_like(b"'2'", "1"), "'1'");
        assert_eq!(written_like(b"v2", "v1"), "v1");
        assert_eq!(written_like(b"v2", "1.10"), "\"1.10\"");
    }
}
