//! Rendering for Tidegate: Kustomize overlays and Helm charts of a config repository, and the places that set a template.
//!
//! Nothing here knows of Kubernetes beyond the shape of an object. The programs `kustomize` and `helm` render; what they
//! may read is found, checked and copied for them before they run, so that no commit can have them read a file of
//! the machine, ask a server or start a program.
//!
//! # The map
//!
//! ```text
//!   Tree ──▶ Sources::gather ──▶ Renderer::render ──▶ Rendered
//!               (checked)         stage, process        objects and their origins
//!
//!   Tip, good Sources ──▶ Renderer::find ──▶ Found: edits, or why there are none
//! ```
//!
//! | module | what it owns |
//! |---|---|
//! | `tree` | entries of a repository, on disk or of a commit |
//! | `document` | YAML documents with the lines of their fields |
//! | `sources` | all files that a folder needs |
//! | `kustomize`, `helm` | what is read, rejected and said about each |
//! | `stage` | the private folder of a run |
//! | `process` | a run, with its limits and walls |
//! | `renderer` | runs of the programs, and what they say |
//! | `output` | objects and where they are from |
//! | `restore` | the smallest edit that restores a template |
//! | `snapshot` | files in memory, with edits in them |
//! | `error` | errors, each with its place |

mod document;
mod error;
mod helm;
mod kustomize;
mod output;
mod process;
mod renderer;
mod restore;
mod snapshot;
mod sources;
mod stage;
#[cfg(test)]
mod testing;
mod tree;

pub use error::{Place, Problem, RenderError};
pub use helm::{CHART, ChartOptions};
pub use kustomize::NAMES as KUSTOMIZATIONS;
pub use output::{Object, ObjectKey, Rendered};
pub use renderer::{RenderSettings, Renderer};
pub use restore::{Found, NotFound, Tip, Wanted};
pub use sources::Sources;
pub use tidegate_git::Edit;
pub use tree::{Entry, Tree, TreeError};
