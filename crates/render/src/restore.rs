//! The place that set a template: the smallest edit after which rendering gives the last good one again.
//!
//! Rendering has no inverse, so the place is not computed. What was changed between the good commit and the tip is
//! taken apart into edits; those that are needed are found by rendering without the others, the ones farthest from
//! the overlay being left out first. What is left is tried before it is an answer: it has to give exactly the good
//! template, and no other pod template may change.
//!
//! ```text
//!   find ──▶ images, difference ──▶ edits ──▶ trial (renders the edited files) ──▶ reach ──▶ Found
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | `edit` | edits of a file |
//! | `images` | edits of the `images` of kustomizations, tried first |
//! | `difference` | edits that turn a file at the tip into what it was |
//! | `trial` | renders edited files, and finds the edits that are needed |

mod difference;
mod edit;
mod images;
mod trial;

use std::fmt;

use serde_json::Value;
use tidegate_git::Edit;

use self::trial::{Trial, Tried};
use crate::{
    error::RenderError,
    helm::ChartOptions,
    kustomize::Reach,
    output::{ObjectKey, Rendered},
    renderer::Renderer,
    snapshot::Snapshot,
    sources::{RendererKind, Sources},
    tree::{Entry, Tree},
};

/// A folder at the tip of the branch, with what is needed to edit it.
pub struct Tip {
    sources: Sources,
    /// The files of the folder, and those that the good commit's folder needs.
    files: Snapshot,
    /// None if the repository has too many folders to look into.
    reach: Option<Reach>,
    options: ChartOptions,
}

/// A workload whose template is to be restored.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// True if objects that name no namespace are in this one.
    pub is_in_default_namespace: bool,
    /// Its name as rendered.
    pub name: String,
    /// The template that was rejected.
    pub rejected: Value,
    /// The template that is wanted back.
    pub good: Value,
}

/// Result of the search for the place of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These edits, all of files at the tip, restore the template and change no other. They do not overlap.
    Edits(Vec<Edit>),
    /// The template was set in a file that other folders are rendered from, too.
    Shared {
        /// The file.
        file: String,
        /// The folders that need it.
        used_by: Vec<String>,
    },
    /// Restoring the template would change other objects, too.
    Entangled {
        /// The file that would be edited.
        file: String,
        /// The other objects.
        objects: Vec<ObjectKey>,
    },
    /// Nothing can be edited.
    NotFound(NotFound),
}

/// Reason for which nothing can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The workload was removed or renamed.
    #[error("the workload is no longer in the folder")]
    NoWorkload,
    /// The template was changed concurrently.
    #[error("the template at the tip is no longer the rejected one")]
    TemplateChanged,
    /// The good commit is not rendered to the good template: a program or the settings have changed.
    #[error("the good commit is no longer rendered to the template that was good")]
    GoodChanged,
    /// The chart itself set the template, and not its files of values.
    #[error(
        "the chart itself set the template, and other releases may be rendered from it with values of their own"
    )]
    SharedChart,
    /// There is nothing to restore.
    #[error("the good commit has the same template")]
    SameTemplate,
    /// No edit of the files at the tip gives the good template.
    #[error(
        "no edit of the files at the tip restores the template: files that it needs were moved or deleted"
    )]
    NoPlace,
    /// It cannot be told which folders are rendered from a file.
    #[error(
        "the repository has too many folders to tell which of them are rendered from the same file"
    )]
    TooManyFolders,
    /// More was changed since than is tried.
    #[error("too much was changed since the good commit to tell which of it set the template")]
    TooManyChanges,
}

// === impl Tip ===

impl Tip {
    /// Reads what is needed beside a folder at the tip: files that the good commit's folder needs, and what else is
    /// rendered.
    pub fn gather(
        tree: &dyn Tree,
        sources: Sources,
        options: &ChartOptions,
        good: &Sources,
    ) -> Result<Self, RenderError> {
        let mut files = Snapshot::default();
        for (path, file) in &sources.files {
            files.0.insert(path.clone(), file.bytes.clone());
        }
        for path in good.files() {
            if !files.0.contains_key(path)
                && let Entry::File(bytes) = tree.entry(path)?
            {
                files.0.insert(path.to_owned(), bytes);
            }
        }
        Ok(Self {
            sources,
            files,
            reach: Reach::of(tree)?,
            options: options.clone(),
        })
    }

    /// Returns true for a file of a chart whose release has values of its own: other releases may be rendered from it.
    fn is_of_shared_chart(&self, file: &str) -> bool {
        match &self.sources.renderer {
            RendererKind::Kustomize { .. } => false,
            RendererKind::Helm(chart) => {
                let values = &chart.options.values;
                !values.is_empty() && values.iter().all(|path| path != file)
            }
        }
    }

    /// Returns the other folders that are rendered from a file; none if that cannot be told.
    fn users(&self, file: &str) -> Option<Vec<String>> {
        let own = match &self.sources.renderer {
            RendererKind::Kustomize { folders, .. } => folders.as_slice(),
            RendererKind::Helm(_) => &[],
        };
        let reach = self.reach.as_ref()?;
        Some(reach.users(file, own))
    }
}

// === impl Renderer ===

impl Renderer {
    /// Finds the edits of the tip that restore the good template of a workload. Both come with what they are
    /// rendered to.
    pub async fn find(
        &self,
        (tip, now): (&Tip, &Rendered),
        (good, before): (&Sources, &Rendered),
        wanted: &Wanted,
    ) -> Result<Found, RenderError> {
        if let Some(reason) = wanted.obstacle(now, before) {
            return Ok(Found::NotFound(reason));
        }
        let mut trial = Trial::new(self, tip, wanted);
        for edits in [images::edits(tip, wanted), difference::edits(tip, good)] {
            match trial.smallest(edits).await? {
                Tried::Needed(edits, rendered) => {
                    let objects = trial::entangled(now, before, &rendered, wanted);
                    return Ok(judged(tip, edits, objects));
                }
                Tried::TooMany => return Ok(Found::NotFound(NotFound::TooManyChanges)),
                Tried::Insufficient => {}
            }
        }
        Ok(Found::NotFound(NotFound::NoPlace))
    }
}

/// Judges edits that restore the template by what else they would change: other folders, and `objects` of this one.
fn judged(tip: &Tip, edits: Vec<Edit>, objects: Vec<ObjectKey>) -> Found {
    for Edit { file, .. } in &edits {
        if tip.is_of_shared_chart(file) {
            return Found::NotFound(NotFound::SharedChart);
        }
        let Some(used_by) = tip.users(file) else {
            return Found::NotFound(NotFound::TooManyFolders);
        };
        if !used_by.is_empty() {
            return Found::Shared {
                file: file.clone(),
                used_by,
            };
        }
    }
    match edits.first() {
        Some(Edit { file, .. }) if !objects.is_empty() => Found::Entangled {
            file: file.clone(),
            objects,
        },
        Some(_) | None => Found::Edits(edits),
    }
}

// === impl Wanted ===

impl Wanted {
    /// Returns the template of the workload among rendered objects.
    fn template<'r>(&self, rendered: &'r Rendered) -> Option<&'r Value> {
        let objects = rendered
            .objects
            .iter()
            .map(|object| (object.key(), &object.value));
        let mut there = objects.filter(|(key, _)| self.is(key));
        there.find_map(|(_, value)| value.pointer("/spec/template"))
    }

    /// Returns true if this is the workload.
    fn is(&self, key: &ObjectKey) -> bool {
        let is_there = key.namespace == self.namespace
            || key.namespace.is_empty() && self.is_in_default_namespace;
        is_there && key.kind == self.kind && key.name == self.name
    }

    /// Returns the reason for which there is nothing to restore.
    fn obstacle(&self, now: &Rendered, before: &Rendered) -> Option<NotFound> {
        let Some(template) = self.template(now) else {
            return Some(NotFound::NoWorkload);
        };
        if *template != self.rejected {
            return Some(NotFound::TemplateChanged);
        }
        if self.template(before) != Some(&self.good) {
            return Some(NotFound::GoodChanged);
        }
        (self.good == self.rejected).then_some(NotFound::SameTemplate)
    }
}

// === impl Found ===

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edits(edits) => {
                let files: Vec<_> = edits.iter().map(|edit| edit.file.as_str()).collect();
                write!(f, "restored in {}", files.join(", "))
            }
            Self::Shared { file, used_by } => write!(
                f,
                "`{file}` set the template, and {} rendered from it, too: {}",
                if used_by.len() == 1 {
                    "another folder is"
                } else {
                    "other folders are"
                },
                used_by.join(", ")
            ),
            Self::Entangled { file, objects } => {
                let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "restoring the template in `{file}` would change other objects, too: {}",
                    objects.join(", ")
                )
            }
            Self::NotFound(reason) => reason.fmt(f),
        }
    }
}
