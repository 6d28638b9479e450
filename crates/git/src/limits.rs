//! Limits of what repositories may take of the disk and of the memory, which all tenants share.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use crate::commit::ObjectId;

/// Limits of repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum size of one clone on disk, history included. Defaults to 512 MiB: far above
    /// repositories of manifests, and a quarter of the cache.
    pub clone_bytes: u64,
    /// Maximum size of all clones together. Defaults to 2 GiB.
    pub cache_bytes: u64,
    /// Maximum size of one object of the history, unpacked. Defaults to 64 MiB: reading a small
    /// file may take the large one in memory that it is stored as a difference to.
    pub object_bytes: u64,
}

/// A repository that exceeds a limit. It is not fetched again before its branch moves, or an hour has
/// passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The clone would be larger than a clone may be.
    #[error(
        "{url}: the repository with its history is larger than the limit of {} on disk",
        Bytes(*.limit)
    )]
    Repository {
        /// The URL.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The clones of all repositories fill the cache.
    #[error(
        "{url}: no room for the repository: the clones of all repositories together would take more than {}",
        Bytes(*.limit)
    )]
    Cache {
        /// The URL.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The history has an object that is too large to be near.
    #[error(
        "{url}: {kind} {id} in the history has {}, more than the limit of {}",
        Bytes(*.size),
        Bytes(*.limit)
    )]
    Object {
        /// The URL.
        url: String,
        /// Kind of the object: `blob`, `tree`, `commit` or `tag`.
        kind: String,
        /// Name of the object.
        id: ObjectId,
        /// Its size, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// git would have taken more memory than it may.
    #[error(
        "{url}: git needs more than {} of memory for the repository: it has too many or too large objects",
        Bytes(*.limit)
    )]
    Memory {
        /// The URL.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// A number of bytes, as people write it.
pub(crate) struct Bytes(pub(crate) u64);

/// Maximum memory of one git process. Its own caches are held to 16 MiB; the rest is a table of the
/// objects, 100 to 200 bytes for each.
pub(crate) const PROCESS_BYTES: u64 = 256 * 1024 * 1024;

/// Maximum size of a commit, a tree or a tag: a folder of 400,000 files.
pub(crate) const NODE_BYTES: u64 = 16 * 1024 * 1024;

/// Size of files that git neither compares with others nor has in memory whole.
pub(crate) const STREAMED_BYTES: u64 = 4 * 1024 * 1024;

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            clone_bytes: 512 * 1024 * 1024,
            cache_bytes: 2 * 1024 * 1024 * 1024,
            object_bytes: 64 * 1024 * 1024,
        }
    }
}

// === impl QuotaError ===

impl QuotaError {
    /// Time for which a branch that has not moved is not fetched again: each time costs the server a
    /// transfer. What other repositories take may be gone sooner, and where the server does not say if the
    /// branch has moved, it may have.
    pub(crate) fn pause(&self, tells_moves: bool) -> Duration {
        match self {
            Self::Repository { .. } | Self::Object { .. } | Self::Memory { .. } if tells_moves => {
                Duration::from_hours(1)
            }
            Self::Repository { .. }
            | Self::Object { .. }
            | Self::Memory { .. }
            | Self::Cache { .. } => Duration::from_mins(5),
        }
    }
}

// === impl Bytes ===

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let Some((unit, name)) = units.into_iter().find(|(unit, _)| self.0 >= *unit) else {
            return write!(f, "{} bytes", self.0);
        };
        let (whole, tenths) = (self.0 / unit, self.0 % unit * 10 / unit);
        if tenths == 0 {
            write!(f, "{whole} {name}")
        } else {
            write!(f, "{whole}.{tenths} {name}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_people_write_them() {
        let said = |bytes| Bytes(bytes).to_string();
        assert_eq!(said(9), "9 bytes");
        assert_eq!(said(512 * 1024 * 1024), "512 MiB");
        assert_eq!(said(2_684_354_560), "2.5 GiB");
    }
}
