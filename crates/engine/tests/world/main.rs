//! The engine in a small simulated world.
//!
//! | module | what it holds |
//! |---|---|
//! | `deployment` | a Deployment, its ReplicaSets and its controller |
//! | `cluster` | every object that is cached, and the controllers of endpoints and routes |
//! | `shell` | what carries a decision out, with its faults and its memory |
//! | `world` | the whole: time, git, metrics, people; invariants after every write |
//! | `rollout` | builders that read aloud |
//! | `story` | what happened, one line per event, decision and effect |
//! | `histories` | random but lawful histories |
//! | `scenarios` | worlds with a plot, and their golden logs |
//! | `conditions` | what conditions say of a Rollout, by kstatus's rules |
//! | `degraded` | a stable that is not well, and its cure |
//! | `failover` | the canary stands in for a stable that is down |
//! | `taking_back` | ways out of an attempt over a stable that is dead |
//! | `leftovers` | what is left behind by force, and what is gone with a ConfigRepo |
//! | `lost` | stable's version, or the object that keeps its template, is deleted |
//! | `asked_again` | what git asks for again though it was rejected |
//! | `shares` | shares of replicas, as the invariants see them |
//! | `by_pause` | releases of a workload that people apply |
//! | `by_replicas` | releases where no route splits traffic |
//! | `without_service` | releases of a workload that nobody calls |
//! | `scaling` | the canary's size while somebody scales stable |
//! | `known_good` | what was good before, and its approvals |
//! | `watching` | readings that count, whatever is waited for |
//! | `patience` | what is waited for, and for how long |
//! | `no_data` | data that does not come, and how a person goes on without it |
//! | `refusals` | what preflight says |
//! | `admission` | a canary that the API server would deny |
//! | `attribution` | approvals where anybody can write another's name |
//! | `released_config` | config that comes and goes with its template |
//! | `restart` | `kubectl rollout restart`, at rest and in an attempt |
//! | `suspend` | a Rollout that is suspended: it goes back, and never on |
//! | `newer` | newer revisions that come faster than attempts end |
//! | `notified` | what people are told of in their chat |
//! | `observing` | releases that are observed and not governed |
//! | `purity` | that the engine stays pure |
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "tests")]

mod admission;
mod asked_again;
mod attribution;
mod by_flux;
mod by_pause;
mod by_replicas;
mod cluster;
mod conditions;
mod degraded;
mod deployment;
mod failover;
mod histories;
mod kept_config;
mod known_good;
mod leftovers;
mod lost;
mod metrics;
mod new_hash;
mod newer;
mod no_data;
mod notified;
mod observing;
mod patience;
mod provenance;
mod purity;
mod refusals;
mod regression;
mod released_config;
mod restart;
mod retention;
mod rollout;
mod scaling;
mod scenarios;
mod shares;
mod shell;
mod story;
mod suspend;
mod taking_back;
mod watching;
mod without_service;
mod world;
