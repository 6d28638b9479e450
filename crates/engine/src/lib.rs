//! All of Tidegate's judgement: pure, synchronous, without a clock.
//!
//! [`decide`](decide::decide) takes one snapshot of everything that matters
//! ([`observed::Observed`]) and the time, and answers with effects, the next status, when to look
//! again, and what to tell people ([`decision::Decision`]). The shell gathers, decides and executes,
//! and makes no choice while it executes.
//!
//! ```text
//!  observed ─▶ decide ─┬─▶ interventions        requests of people
//!                      ├─▶ suspension           spec.suspend, whatever the attempt's plan says
//!                      ├─▶ idle ─▶ preflight    between attempts
//!                      ├─▶ stage ─▶ gate        in an attempt: when a stage is left
//!                      ├─▶ desired ─▶ diff      how the world should look, and the effects that lead there
//!                      └─▶ status ─▶ wording    what people read
//! ```
//!
//! The *status is the intent*: `stage` only changes the status, and effects (`diff`) follow from the
//! difference between the status and the world. So a crash at any point is nothing special: the
//! same effects are derived again.
//!
//! Terms beside those of `docs/concepts.md`:
//!
//! | term | meaning |
//! |---|---|
//! | version | pods of one template in a workload: for a Deployment a ReplicaSet, by its `pod-template-hash` |
//! | epoch | number of a term of leadership; objects that carry traffic are marked with it |
//! | confirmed | of a weight: every gateway that serves the route has accepted it |
//! | settled | of endpoints: they have been the same for `spec.settle` |
//! | reading | answers to a gate's queries at one time; *evidence* is what readings add up to in a step |
//! | shortcut | reason to skip steps: the revision was promoted before, or a person wants it promoted |
//! | stop | step that a shortcut does not skip |
//! | failover | all traffic on the canary while stable has no ready endpoint |
//! | blocked | held up by something that is not the revision's fault |
//! | unwritten | decided, and not in the persisted status yet, because only people read it |
//! | drift | a governed field that another writer has changed |

mod attempt;
mod conditions;
mod config;
mod context;
pub mod decide;
pub mod decision;
mod desired;
mod diff;
pub mod event;
mod field_conflict;
pub mod gate;
pub mod governed;
mod idle;
pub mod interventions;
pub mod invariants;
pub mod notification;
pub mod number;
pub mod observed;
mod persistence;
pub mod pin;
pub mod plan;
pub mod preflight;
mod provenance;
pub mod readiness;
pub mod records;
mod released_config;
mod retention;
pub mod revision;
pub mod route;
mod stage;
pub mod stall;
mod status;
mod suspension;
pub mod termination;
pub mod waiting;
mod wording;

pub use tidegate_api::weight;
