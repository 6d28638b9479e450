//! Scenarios, and running some of them side by side on one cluster.
//!
//! Each gets a namespace of its own, which goes when the scenario has passed. Owns choosing,
//! running and telling; the scenarios themselves are in [`crate::scenarios`].

use std::{
    collections::BTreeSet,
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::ValueEnum;
use futures::future::BoxFuture;
use kube::Client;
use tokio::task::{JoinError, JoinSet};

use crate::cluster::{Cluster, GatewayKind};

/// Longer than any scenario takes; one that hangs must not hang all.
const LIMIT: Duration = Duration::from_mins(30);

/// One thing that is tried.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Named for the behavior, in `snake_case`.
    pub name: &'static str,
    /// Tries it.
    pub run: fn(Context) -> BoxFuture<'static, Result<()>>,
    /// Changes the whole cluster: it runs alone, after those that don't.
    pub is_alone: bool,
    /// Gateway of the cluster that it runs on.
    pub gateway: GatewayKind,
    /// Group that it is in; most are in none.
    pub group: Option<Group>,
}

/// Scenarios that are run by themselves, since they need programs that the others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Beside another applier: Flux.
    Beside,
}

/// Registers a scenario: `scenario!(name, function)`, or `scenario!(alone name, function)` for one that
/// changes the whole cluster, or `scenario!(traefik name, function)` for one that runs on Traefik, or
/// `scenario!(beside name, function)` for one of that group.
macro_rules! scenario {
    (alone $name:ident, $run:path) => {
        Scenario {
            is_alone: true,
            ..scenario!($name, $run)
        }
    };
    (traefik $name:ident, $run:path) => {
        Scenario {
            gateway: $crate::cluster::GatewayKind::Traefik,
            ..scenario!($name, $run)
        }
    };
    (beside $name:ident, $run:path) => {
        Scenario {
            group: Some($crate::scenario::Group::Beside),
            ..scenario!($name, $run)
        }
    };
    ($name:ident, $run:path) => {
        Scenario {
            name: stringify!($name),
            run: |context| Box::pin($run(context)),
            is_alone: false,
            gateway: $crate::cluster::GatewayKind::Contour,
            group: None,
        }
    };
}
pub(crate) use scenario;

/// Cluster, namespace and folder of a scenario.
#[derive(Clone, Debug)]
pub struct Context {
    /// The cluster, which other scenarios use at the same time.
    pub cluster: Arc<Cluster>,
    /// A namespace for this scenario alone.
    pub namespace: String,
    /// An empty folder for this scenario alone; what is in it is kept if the run fails.
    pub dir: PathBuf,
    /// Makes scenarios that sample their cases try all of them.
    pub thorough: bool,
}

/// The scenarios that were asked for.
#[derive(Debug)]
pub struct Selection {
    scenarios: Vec<Scenario>,
    thorough: bool,
}

/// Result of one scenario.
struct Report {
    name: &'static str,
    took: Duration,
    result: Result<()>,
}

// === impl Scenario ===

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.group {
            Some(group) => write!(f, "  (--group {group})"),
            None => Ok(()),
        }
    }
}

// === impl Group ===

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Beside => "beside",
        })
    }
}

// === impl Context ===

impl Context {
    /// A new namespace and a new folder of these names.
    pub async fn new(cluster: &Arc<Cluster>, namespace: &str, folder: &str) -> Result<Self> {
        let dir = cluster.dir().join(folder);
        std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        cluster.namespace(namespace).await?;
        Ok(Self {
            cluster: Arc::clone(cluster),
            namespace: namespace.to_owned(),
            dir,
            thorough: false,
        })
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        self.cluster.admin_client()
    }

    /// Runs `work` in a namespace and a folder of its own, for a scenario that has several; gives
    /// what it gave.
    pub async fn apart<T, F>(&self, name: &str, work: impl FnOnce(Self) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let namespace = format!("{}-{name}", self.namespace);
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
        self.cluster.namespace(&namespace).await?;
        let answer = Box::pin(work(Self {
            namespace: namespace.clone(),
            dir,
            ..self.clone()
        }))
        .await?;
        self.cluster.delete_namespace(&namespace).await?;
        Ok(answer)
    }
}

// === impl Selection ===

impl Selection {
    /// Those of the group that a filter names, or, where it is no scenario's name, those whose names contain
    /// it; without filters all of the group. A filter that finds nothing is a mistake of whoever wrote it.
    pub fn new(all: Vec<Scenario>, group: Option<Group>, filters: &[String]) -> Result<Self> {
        let (mut all, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|each| each.group == group);
        let mut wanted = BTreeSet::new();
        for filter in filters {
            let is_name = all.iter().any(|scenario| scenario.name == filter);
            let found: Vec<_> = all
                .iter()
                .map(|scenario| scenario.name)
                .filter(|name| name == filter || !is_name && name.contains(filter.as_str()))
                .collect();
            ensure!(!found.is_empty(), "{}", not_found(filter, &others));
            wanted.extend(found);
        }
        all.retain(|scenario| filters.is_empty() || wanted.contains(scenario.name));
        Ok(Self {
            scenarios: all,
            thorough: false,
        })
    }

    /// Those that run on a gateway; `None` where there are none.
    pub fn on(&self, gateway: GatewayKind) -> Option<Self> {
        let scenarios = self.scenarios.iter().copied();
        let scenarios: Vec<_> = scenarios.filter(|each| each.gateway == gateway).collect();
        (!scenarios.is_empty()).then_some(Self {
            scenarios,
            thorough: self.thorough,
        })
    }

    /// Makes scenarios that sample their cases try all of them.
    #[must_use]
    pub fn thorough(self, thorough: bool) -> Self {
        Self { thorough, ..self }
    }
}

/// Says where a filter would have found something, if anywhere.
fn not_found(filter: &str, others: &[Scenario]) -> String {
    match others.iter().find(|each| each.name.contains(filter)) {
        Some(Scenario { name, group, .. }) => {
            let group = match group {
                Some(group) => format!(" --group {group}"),
                None => String::new(),
            };
            format!("`{name}` is run by `cargo xtask e2e{group} {filter}`")
        }
        None => format!("no scenario's name contains `{filter}`"),
    }
}

/// Runs them, `jobs` at a time, and prints how each went. The answer is how many passed, and how many failed.
pub async fn run(selection: &Selection, cluster: &Arc<Cluster>, jobs: usize) -> Result<(u32, u32)> {
    let (alone, together): (Vec<_>, Vec<_>) =
        selection.scenarios.iter().partition(|each| each.is_alone);
    let (mut passed, mut failed) = (0, 0);
    for (scenarios, jobs) in [(together, jobs), (alone, 1)] {
        let (well, badly) = run_some(&scenarios, selection.thorough, cluster, jobs).await?;
        passed += well;
        failed += badly;
    }
    Ok((passed, failed))
}

/// Runs these side by side. The answer is how many passed, and how many failed.
async fn run_some(
    scenarios: &[&Scenario],
    thorough: bool,
    cluster: &Arc<Cluster>,
    jobs: usize,
) -> Result<(u32, u32)> {
    let mut waiting = scenarios.iter();
    let mut running = JoinSet::new();
    let (mut passed, mut failed) = (0, 0);
    loop {
        while running.len() < jobs.max(1)
            && let Some(scenario) = waiting.next()
        {
            running.spawn(run_one(**scenario, Arc::clone(cluster), thorough));
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        let report = ended.context("a scenario could not be awaited")?;
        report.print();
        if report.result.is_ok() {
            passed += 1;
            continue;
        }
        failed += 1;
        // Then whatever else failed is not the scenarios' fault.
        if let Some(dead) = cluster.dead_parts() {
            println!("{dead}");
        }
    }
    Ok((passed, failed))
}

/// Runs one, in a task of its own so that a panic is its failure and nobody else's.
async fn run_one(scenario: Scenario, cluster: Arc<Cluster>, thorough: bool) -> Report {
    let started = Instant::now();
    let attempt = tokio::spawn(attempt(scenario, cluster, thorough));
    // Whoever stops waiting for us stops the scenario too.
    let abort = AbortOnDrop(attempt.abort_handle());
    let result = match tokio::time::timeout(LIMIT, attempt).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(panic_message(error)),
        Err(_) => Err(anyhow!("it was still running after {LIMIT:?}")),
    };
    drop(abort);
    Report {
        name: scenario.name,
        took: started.elapsed(),
        result,
    }
}

async fn attempt(scenario: Scenario, cluster: Arc<Cluster>, thorough: bool) -> Result<()> {
    let namespace = scenario.name.replace('_', "-");
    let context = Context::new(&cluster, &namespace, scenario.name).await?;
    (scenario.run)(Context {
        thorough,
        ..context
    })
    .await?;
    cluster.delete_namespace(&namespace).await
}

fn panic_message(error: JoinError) -> anyhow::Error {
    let Ok(payload) = error.try_into_panic() else {
        return anyhow!("it was stopped");
    };
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    anyhow!("it panicked: {}", text.unwrap_or("without a message"))
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Report ===

impl Report {
    fn print(&self) {
        let (name, took) = (self.name, self.took.as_secs_f64());
        match &self.result {
            Ok(()) => println!("ok    {name} ({took:.1} s)"),
            Err(error) => println!("FAIL  {name} ({took:.1} s)\n      {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> Scenario {
        Scenario {
            name,
            run: |_| Box::pin(async { Ok(()) }),
            is_alone: false,
            gateway: GatewayKind::Contour,
            group: None,
        }
    }

    fn beside(name: &'static str) -> Scenario {
        Scenario {
            group: Some(Group::Beside),
            ..named(name)
        }
    }

    #[test]
    fn a_filter_takes_the_names_that_contain_it() {
        let all = vec![named("good_release"), named("bad_release"), named("adopts")];
        let selection = Selection::new(all, None, &["release".to_owned()]).expect("two match");
        let names: Vec<_> = selection.scenarios.iter().map(|s| s.name).collect();
        assert_eq!(names, ["good_release", "bad_release"]);
    }

    #[test]
    fn a_filter_that_is_a_name_takes_that_one_alone() {
        let all = vec![
            named("killed_in_a_bad_release"),
            named("bad_release"),
            named("adopts"),
        ];
        let filters = ["bad_release".to_owned(), "adopt".to_owned()];
        let selection = Selection::new(all, None, &filters).expect("two match");
        let names: Vec<_> = selection.scenarios.iter().map(|s| s.name).collect();
        assert_eq!(names, ["bad_release", "adopts"]);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_refused() {
        let error = Selection::new(vec![named("adopts")], None, &["typo".to_owned()])
            .expect_err("no match");
        assert_eq!(error.to_string(), "no scenario's name contains `typo`");
    }

    #[test]
    fn a_group_is_run_by_itself() {
        let all = || vec![named("good_release"), beside("by_flux")];
        for (group, wanted) in [(None, "good_release"), (Some(Group::Beside), "by_flux")] {
            let selection = Selection::new(all(), group, &[]).expect("one is left");
            let names: Vec<_> = selection.scenarios.iter().map(|s| s.name).collect();
            assert_eq!(names, [wanted]);
        }
    }

    #[test]
    fn a_name_of_another_group_is_answered_with_the_command_that_runs_it() {
        let all = || vec![named("good_release"), beside("by_flux")];
        let error = |group, filter: &str| {
            let selection = Selection::new(all(), group, &[filter.to_owned()]);
            selection.expect_err("no match").to_string()
        };
        assert_eq!(
            error(None, "by_flux"),
            "`by_flux` is run by `cargo xtask e2e --group beside by_flux`"
        );
        assert_eq!(
            error(Some(Group::Beside), "good"),
            "`good_release` is run by `cargo xtask e2e good`"
        );
    }
}
