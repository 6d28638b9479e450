//! The chart's templates without Helm, for what has to be exactly as they say.

use anyhow::Result;
use serde_json::Value;

/// Returns the objects of a template. Lines of the template language are left out.
pub(super) fn objects(template: &str) -> Result<Vec<Value>> {
    let plain: Vec<_> = template
        .lines()
        .filter(|line| !line.contains("{{"))
        .collect();
    let plain = plain.join("\n");
    let objects = plain.split("\n---");
    Ok(objects
        .map(serde_saphyr::from_str)
        .collect::<Result<_, _>>()?)
}
