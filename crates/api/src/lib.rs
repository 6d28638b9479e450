//! Tidegate's API: its custom resources, and the records that it writes to git.
//!
//! Nothing here decides or acts. A gate or a router is a struct of optional fields with a rule
//! "exactly one of", because that is what a structural schema can say; `tidegate-engine` parses it
//! into enums that cannot be wrong.
//!
//! | module | what it holds |
//! |---|---|
//! | [`rollout`] | `Rollout`: what to release, in which steps, behind which gates |
//! | [`gate`] | the gates of a Rollout |
//! | [`route`] | routes: the objects in which traffic is split |
//! | [`status`] | `Rollout`'s status: stable, the attempt that runs, what is owed to git |
//! | [`config_repo`] | `ConfigRepo`: the git repository that a namespace is reconciled from |
//! | [`intervention`] | `Intervention`: what a person asked for |
//! | [`notification`] | destinations that are told of releases, and the document that is sent |
//! | [`record`] | the JSON files on the branch for records |
//! | [`condition`] | conditions, as every Kubernetes object has them |
//! | [`reason`] | the catalogue of condition types and reasons |
//! | [`burstiness`] | how much more than by chance bad requests come together |
//! | [`duration`] | durations as people write them: `90s`, `1h30m` |
//! | [`weight`] | the canary's share of traffic: `10`, `0.5%` |
//! | [`workload`] | the kinds of workload, and the versions of one |
//! | [`revision`] | names of pod templates and of commits |
//! | [`names`] | labels, annotations, field managers and finalizers |
//! | [`NamespacedName`] | the name of an object together with its namespace |

pub mod burstiness;
pub mod condition;
pub mod config;
pub mod config_repo;
pub mod duration;
pub mod gate;
pub mod intervention;
pub mod names;
mod namespaced_name;
pub mod notification;
pub mod reason;
pub mod record;
pub mod revision;
pub mod rollout;
pub mod route;
mod stage;
pub mod status;
pub mod weight;
pub mod workload;

pub use condition::Condition;
pub use config_repo::ConfigRepo;
pub use duration::Duration;
pub use intervention::Intervention;
pub use namespaced_name::NamespacedName;
pub use revision::{CommitId, Revision};
pub use rollout::Rollout;
pub use weight::Weight;
