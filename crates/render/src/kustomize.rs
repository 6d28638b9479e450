//! Kustomizations: what one needs of the repository, and what the program is told and says.
//!
//! | module | what it owns |
//! |---|---|
//! | `fields` | the fields of a kustomization, and what each refers to |
//! | `reference` | paths as kustomizations write them |
//! | `walk` | all files that a kustomization needs |
//! | `reach` | which folders of a repository need a file |
//! | `said` | the program's errors, as places in the repository |

mod fields;
mod reach;
mod reference;
pub(crate) mod said;
mod walk;

use tidegate_git::FolderEntry;

pub(crate) use self::{fields::Role, reach::Reach, walk::gather};

/// Names of a kustomization's file.
pub const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Returns true if one of the entries of a folder is a kustomization.
pub(crate) fn is_kustomized(entries: &[FolderEntry]) -> bool {
    entries
        .iter()
        .any(|entry| NAMES.contains(&entry.name.as_str()))
}
