//! Folders of a repository whose kustomizations need a file.
//!
//! A kustomization that cannot be rendered counts as far as it can be read: it may be corrected, and then it needs
//! what it names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::walk::{kustomization_in, named};
use tidegate_git::path::joined;

use crate::tree::{Entry, Tree, TreeError};

/// All kustomizations of a repository, with what they name.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    named: BTreeMap<String, Vec<String>>,
}

/// Maximum number of folders that are looked into.
const MAX_FOLDERS: usize = 20_000;

// === impl Reach ===

impl Reach {
    /// Reads all kustomizations of a repository; none if it has too many folders to look into.
    pub(crate) fn of(tree: &dyn Tree) -> Result<Option<Self>, TreeError> {
        let mut reach = Self::default();
        let mut folders = VecDeque::from([String::new()]);
        let mut looked = 0;
        while let Some(folder) = folders.pop_front() {
            let Entry::Folder(entries) = tree.entry(&folder)? else {
                continue;
            };
            looked += 1;
            if looked > MAX_FOLDERS {
                return Ok(None);
            }
            if let Ok(Some(path)) = kustomization_in(&folder, &entries)
                && let Entry::File(bytes) = tree.entry(&path)?
            {
                let mut named = named(&path, &bytes);
                named.push(path);
                reach.named.insert(folder.clone(), named);
            }
            let below = entries
                .iter()
                .filter(|entry| entry.is_folder && !entry.name.starts_with('.'));
            folders.extend(below.map(|entry| joined(&folder, &entry.name)));
        }
        Ok(Some(reach))
    }

    /// Returns the folders beside `own` that need a file, those first that no other of them needs.
    pub(crate) fn users(&self, file: &str, own: &[String]) -> Vec<String> {
        let mut users: Vec<_> = self
            .named
            .keys()
            .filter(|folder| !own.contains(folder))
            .collect();
        users.retain(|folder| self.all(folder).contains(file));
        let needed: BTreeSet<_> = users.iter().flat_map(|folder| self.below(folder)).collect();
        let mut top = users.clone();
        top.retain(|folder| !needed.contains(*folder));
        // Folders that need each other have no top.
        let top = if top.is_empty() { users } else { top };
        top.into_iter().cloned().collect()
    }

    /// Returns all files and folders that a folder needs, without itself.
    fn all(&self, folder: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for named in self.named.get(&folder).into_iter().flatten() {
                if all.insert(named.clone()) {
                    open.push(named.clone());
                }
            }
        }
        all
    }

    /// Returns the folders that a folder needs.
    fn below(&self, folder: &str) -> Vec<String> {
        let all = self.all(folder);
        all.into_iter()
            .filter(|path| path != folder && self.named.contains_key(path))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

    use super::*;
    use crate::testing::MemoryTree;

    #[test]
    fn the_folders_that_need_a_file_are_named_by_their_tops() {
        let tree = MemoryTree::of(&[
            ("base/kustomization.yaml", "resources: [app.yaml]"),
            ("base/app.yaml", ""),
            ("region/kustomization.yaml", "resources: [../base]"),
            ("prod/kustomization.yaml", "resources: [../base]"),
            ("staging/kustomization.yaml", "resources: [../region]"),
            (
                "broken/kustomization.yaml",
                "helmCharts: []\nresources: [../base/app.yaml]",
            ),
            ("other/kustomization.yaml", "resources: []"),
        ]);
        let reach = Reach::of(&tree).unwrap().unwrap();
        let own = ["prod".to_owned(), "base".to_owned()];
        assert_eq!(reach.users("base/app.yaml", &own), ["broken", "staging"]);
        assert_eq!(
            reach.users("prod/kustomization.yaml", &own),
            Vec::<String>::new()
        );
    }
}
