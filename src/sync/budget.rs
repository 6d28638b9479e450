//! Budget of memory for the manifests of all ConfigRepos: one tenant must not have the process killed for
//! all.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidegate_api::NamespacedName;

/// Nodes of the manifests that are kept, by ConfigRepo.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    nodes: Mutex<HashMap<NamespacedName, usize>>,
}

/// The manifests of all ConfigRepos would be more than is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the folder has {nodes} values and keys of YAML, and with it those of all ConfigRepos would be more than {limit}"
)]
pub(super) struct BudgetExceeded {
    nodes: usize,
    limit: usize,
}

/// Nodes up to which a ConfigRepo is read whatever others have: a few dozen apps.
const ALWAYS: usize = 10_000;

// === impl Budget ===

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            nodes: Mutex::default(),
        }
    }

    /// Takes the nodes of a ConfigRepo's new head in place of those of its last one.
    pub(super) fn take(&self, repo: &NamespacedName, nodes: usize) -> Result<(), BudgetExceeded> {
        let mut all = self.lock();
        let others: usize = all
            .iter()
            .filter(|(name, _)| *name != repo)
            .map(|(_, nodes)| nodes)
            .sum();
        if nodes > ALWAYS && others + nodes > self.limit {
            let limit = self.limit;
            return Err(BudgetExceeded { nodes, limit });
        }
        all.insert(repo.clone(), nodes);
        Ok(())
    }

    /// Forgets a ConfigRepo that is gone.
    pub(super) fn forget(&self, repo: &NamespacedName) {
        self.lock().remove(repo);
    }

    /// Forgets all of them.
    pub(super) fn forget_all(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NamespacedName, usize>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_one_is_refused_and_a_small_one_gets_in() {
        let budget = Budget::new(100_000);
        let name = |name: &str| NamespacedName::new("shop", name);
        assert_eq!(budget.take(&name("a"), 60_000), Ok(()));
        assert!(budget.take(&name("b"), 60_000).is_err());
        assert_eq!(
            budget.take(&name("a"), 90_000),
            Ok(()),
            "in place of its own"
        );
        assert_eq!(budget.take(&name("c"), 10_000), Ok(()));
        assert_eq!(budget.take(&name("d"), 10_000), Ok(()));
        budget.forget(&name("a"));
        assert_eq!(budget.take(&name("b"), 60_000), Ok(()));
    }
}
