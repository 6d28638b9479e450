//! Trials: files with edits in them, rendered, and the edits without which the template is not restored.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Edit, Tip, Wanted, edit};
use crate::{
    error::RenderError,
    output::{ObjectKey, Rendered},
    renderer::Renderer,
    sources::Sources,
};

/// Trials for one workload.
pub(super) struct Trial<'a> {
    renderer: &'a Renderer,
    tip: &'a Tip,
    wanted: &'a Wanted,
    /// Number of times that something was rendered.
    count: usize,
}

/// Result of trying edits.
pub(super) enum Tried {
    /// Each of these edits is needed, and together they give this.
    Needed(Vec<Edit>, Rendered),
    /// All edits together do not restore the template.
    Insufficient,
    /// Which are needed takes longer to find out than is tried.
    TooMany,
}

/// Maximum number of times that something is rendered: far more than two changes among hundreds need.
const MAX_COUNT: usize = 64;

// === impl Trial ===

impl<'a> Trial<'a> {
    pub(super) fn new(renderer: &'a Renderer, tip: &'a Tip, wanted: &'a Wanted) -> Self {
        Self {
            renderer,
            tip,
            wanted,
            count: 0,
        }
    }

    /// Finds the edits that are needed. The last ones are left out first.
    pub(super) async fn smallest(&mut self, edits: Vec<Edit>) -> Result<Tried, RenderError> {
        if edits.is_empty() {
            return Ok(Tried::Insufficient);
        }
        let Some(mut best) = self.restored(&edits).await? else {
            return Ok(Tried::Insufficient);
        };
        let mut needed = edits;
        let mut size = needed.len().div_ceil(2);
        loop {
            let mut end = needed.len();
            while end > 0 && needed.len() > 1 {
                let start = end.saturating_sub(size);
                let fewer = [&needed[..start], &needed[end..]].concat();
                if !fewer.is_empty() {
                    if self.count == MAX_COUNT {
                        return Ok(Tried::TooMany);
                    }
                    if let Some(rendered) = self.restored(&fewer).await? {
                        (needed, best) = (fewer, rendered);
                    }
                }
                end = start;
            }
            if size == 1 {
                return Ok(Tried::Needed(needed, best));
            }
            size /= 2;
        }
    }

    /// Renders the tip with edits; none if it does not have the good template then.
    async fn restored(&mut self, edits: &[Edit]) -> Result<Option<Rendered>, RenderError> {
        self.count += 1;
        let Some(files) = edit::applied_to(&self.tip.files, edits) else {
            return Ok(None);
        };
        let folder = &self.tip.sources.folder;
        let gathered = Sources::gather(&files, folder, &self.tip.options);
        let Some(sources) = content_or_error(gathered)?.flatten() else {
            return Ok(None);
        };
        let rendered = content_or_error(self.renderer.render(&sources).await)?;
        Ok(rendered.filter(|rendered| self.wanted.template(rendered) == Some(&self.wanted.good)))
    }
}

/// Returns none for an error that the edits have caused.
fn content_or_error<T>(result: Result<T, RenderError>) -> Result<Option<T>, RenderError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_final() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the objects that edits change in a way that is not wanted.
///
/// An object may become what it was at the good commit, as the ConfigMap of a generator does that the template names. A
/// pod template may not: it may have been released in the meantime.
pub(super) fn entangled(
    now: &Rendered,
    before: &Rendered,
    after: &Rendered,
    wanted: &Wanted,
) -> Vec<ObjectKey> {
    let (now, before, after) = (by_key(now), by_key(before), by_key(after));
    let keys: BTreeSet<_> = now.keys().chain(after.keys()).collect();
    let changed = keys
        .into_iter()
        .filter(|key| now.get(key) != after.get(key));
    let unwanted = changed.filter(|key| {
        let is_workload = wanted.is(key);
        let has_pods = [now.get(key), after.get(key)]
            .into_iter()
            .flatten()
            .any(|value| has_pods(value));
        !is_workload && (has_pods || before.get(key) != after.get(key))
    });
    unwanted.cloned().collect()
}

fn by_key(rendered: &Rendered) -> BTreeMap<ObjectKey, &Value> {
    rendered
        .objects
        .iter()
        .map(|object| (object.key(), &object.value))
        .collect()
}

/// Returns true for an object that makes pods.
fn has_pods(object: &Value) -> bool {
    [
        "/spec/template/spec",
        "/spec/jobTemplate",
        "/spec/containers",
    ]
    .iter()
    .any(|pointer| object.pointer(pointer).is_some())
}
