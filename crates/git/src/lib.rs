//! Everything about git: reading a config repository, asking its history, and writing facts and
//! restores back. Nothing here knows Kubernetes; credentials come in as values.
//!
//! ```text
//!   caller ──▶ Git ──▶ Repository ──┬─ fetch, facts, restore ──▶ transport (the git program)
//!                                   └─ files, asked_by ────────▶ store (gix, in blocking tasks)
//! ```
//!
//! [`transport`] talks to servers, [`store`] to the objects of a bare clone in the cache folder.
//! [`repository`] joins them; [`tree`] and [`history`] only read; [`facts`] and [`restore`] write
//! commits and push them, never by force.

pub mod commit;
pub mod facts;
pub mod failure;
pub mod history;
mod push;
pub mod remote;
pub mod repository;
pub mod restore;
pub mod secret;
pub mod store;
pub mod transport;
pub mod tree;
pub mod yaml;

#[cfg(test)]
mod testing;

pub use commit::{Commit, CommitId, Person, Signature, Trailers};
pub use facts::{Contradiction, Fact, FactResults, FactsError, Written};
pub use failure::TransportError;
pub use remote::{Credentials, Protocol, Remote, RemoteError};
pub use repository::{FetchError, Git, Repository};
pub use restore::{ObjectKey, RestoreError, RestoreRequest, Restored, SkipReason, Source};
pub use secret::Secret;
pub use store::StoreError;
pub use transport::{Transport, TransportSettings};
pub use tree::{File, TreeError, TreeLimits};
