//! Releases of many apps at once, and a breach of all of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate_api::record::Outcome;

use super::{
    audit::{Request, Requests},
    estate::{Estate, TIDEGATE},
    process::Usage,
};
use crate::http_client;

/// Longer than a release of all takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(15);

/// Hold of each step.
const HOLD: SignedDuration = SignedDuration::from_secs(10);

/// Weights of the steps. Until the last one each canary has one pod.
const WEIGHTS: [u32; 4] = [10, 25, 50, 100];

/// An app, by namespace and name.
type App = (String, String);

/// Some durations.
struct Spread(Vec<SignedDuration>);

/// A write of a Rollout's status, or of a route, by the audit log.
struct Write<'a> {
    at: Timestamp,
    body: &'a Value,
}

/// Writes of Tidegate by app.
struct Writes<'a> {
    statuses: HashMap<App, Vec<Write<'a>>>,
    routes: HashMap<App, Vec<Write<'a>>>,
}

/// Spec of every Rollout: a gate that is read each 10 s.
pub(super) fn rollout() -> Value {
    let total =
        r#"sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}"}[{{window}}]))"#;
    let bad = r#"sum(rate(http_requests_total{namespace="{{namespace}}",pod=~"{{pods}}",code=~"5.."}[{{window}}]))"#;
    json!({
        "steps": WEIGHTS.map(|weight| json!({ "weight": weight, "hold": format!("{HOLD:#}") })),
        "gates": [{
            "name": "errors",
            "interval": "10s",
            "threshold": { "query": format!("{bad} / {total}"), "max": 0.05 },
        }],
    })
}

/// Measures it.
pub(super) async fn run(estate: &Estate) -> Result<()> {
    let apps: HashSet<_> = estate.apps().into_iter().collect();
    let began = Timestamp::now();
    estate.declare(&rollout()).await?;
    let settled = estate
        .until("every app is stable", LIMIT, &apps, |status| {
            status.stable.is_some() && status.attempt.is_none()
        })
        .await?;
    let count = apps.len();
    println!(
        "\n{count} apps are stable {} after they were declared",
        seconds(settled.duration_since(began))
    );

    good_release(estate, &apps).await?;

    release_up_to_a_step(estate, &apps, "v3", 3).await?;
    let broken = estate.exporter.break_only(&apps);
    back_to_stable(estate, &apps, 3).await?;
    println!("\nA breach of {count} at once:");
    say_reaction(estate, &apps, broken)?;

    // Half of them are cleaned up while the other half breaches.
    let half = apps.len() / 2;
    let first: HashSet<_> = apps.iter().take(half).cloned().collect();
    let second: HashSet<_> = apps.difference(&first).cloned().collect();
    estate.exporter.break_only(&HashSet::new());
    release_up_to_a_step(estate, &apps, "v4", 4).await?;
    estate.exporter.break_only(&first);
    estate
        .until(
            "the first half has lost its weight",
            LIMIT,
            &first,
            |status| {
                let attempt = status.attempt.as_ref();
                attempt.is_none_or(|attempt| attempt.ending.is_some())
            },
        )
        .await?;
    let broken = estate.exporter.break_only(&apps);
    back_to_stable(estate, &apps, 4).await?;
    let (one, other) = (first.len(), second.len());
    println!("\nA breach of {other} at once, while {one} are cleaned up:");
    say_reaction(estate, &second, broken)
}

async fn good_release(estate: &Estate, apps: &HashSet<App>) -> Result<()> {
    let (usage, reconciles) = (estate.usage()?, reconciles(estate).await?);
    let committed = estate.release("v2").await?;
    estate
        .until("every app is promoted", LIMIT, apps, |status| {
            let last = status.last_outcome.as_ref();
            status.attempt.is_none()
                && last.is_some_and(|last| {
                    last.attempt == 2 && last.ending.outcome == Outcome::Promoted
                })
        })
        .await?;
    let requests =
        Requests::read(&estate.cluster().audit_log(), TIDEGATE)?.between(committed, Timestamp::MAX);
    let writes = Writes::of(&requests);
    let count = apps.len();
    let each = f64::from(u32::try_from(count)?);
    let used = estate.usage()?.since(usage);
    let since_commit = |find: fn(&[Write<'_>]) -> Option<Timestamp>| {
        let found = writes.statuses.values().filter_map(|writes| find(writes));
        Spread(found.map(|at| at.duration_since(committed)).collect())
    };
    println!("\nA good release of {count} at once:");
    println!(
        "commit -> attempt begins: {} (goal 2 s)",
        since_commit(begins)
    );
    println!("commit -> stable again: {}", since_commit(ends));
    println!(
        "dwells of {} s: {} (goal 10.0 to 10.3 s)",
        HOLD.as_secs(),
        writes.dwells()
    );
    println!(
        "for each release: {:.0} requests, {:.0} reconciles, {:.0} ms of CPU, and {:.0} ms of programs that it starts",
        ratio(requests.all().len(), count),
        (self::reconciles(estate).await? - reconciles) / each,
        used.own.as_secs_f64() * 1000.0 / each,
        used.children.as_secs_f64() * 1000.0 / each,
    );
    say_memory(used);
    println!("\n{requests}");
    Ok(())
}

/// Releases all, and waits until the canary of each has the weight of the first step.
async fn release_up_to_a_step(
    estate: &Estate,
    apps: &HashSet<App>,
    version: &str,
    attempt: u32,
) -> Result<Timestamp> {
    estate.release(version).await?;
    estate
        .until("every canary has traffic", LIMIT, apps, |status| {
            let running = status.attempt.as_ref();
            running
                .is_some_and(|running| running.number == attempt && running.confirmed_at.is_some())
        })
        .await
}

async fn back_to_stable(estate: &Estate, apps: &HashSet<App>, attempt: u32) -> Result<Timestamp> {
    estate
        .until("every app is rolled back", LIMIT, apps, |status| {
            let last = status.last_outcome.as_ref();
            status.attempt.is_none()
                && last.is_some_and(|last| {
                    last.attempt == attempt && last.ending.outcome == Outcome::RolledBack
                })
        })
        .await
}

/// Prints the times to the weights 0, from the readings that breached and from when the canaries `broke`.
fn say_reaction(estate: &Estate, apps: &HashSet<App>, broke: Timestamp) -> Result<()> {
    let requests = Requests::read(&estate.cluster().audit_log(), TIDEGATE)?;
    let requests = requests.between(broke, Timestamp::MAX);
    let writes = Writes::of(&requests);
    let (mut since_reading, mut since_broken) = (Vec::new(), Vec::new());
    for app in apps {
        let (statuses, routes) = (writes.statuses.get(app), writes.routes.get(app));
        let breach = statuses.and_then(|statuses| breach(statuses));
        let zero = routes.and_then(|routes| taken_back_at(&app.1, routes));
        let (read, zero) = breach.zip(zero).context("an app was not rolled back")?;
        since_reading.push(zero.duration_since(read));
        since_broken.push(zero.duration_since(broke));
    }
    println!("reading -> weight 0: {} (goal 1 s)", Spread(since_reading));
    println!(
        "canaries broken -> weight 0: {} (a reading each 10 s; Flagger 1.44 median 16 s, max 19 s, \
         Argo Rollouts 1.10 13 and 22 s)",
        Spread(since_broken)
    );
    Ok(())
}

fn say_memory(usage: Usage) {
    let mebibytes = |bytes: u64| bytes / (1024 * 1024);
    println!(
        "resident memory: {} MiB, at most {} MiB",
        mebibytes(usage.resident_bytes),
        mebibytes(usage.peak_bytes)
    );
}

/// Number of reconciles of Rollouts so far.
async fn reconciles(estate: &Estate) -> Result<f64> {
    let url = estate.tidegate.metrics_url();
    let text = http_client::plain().get(url).send().await?.text().await?;
    let lines = text
        .lines()
        .filter(|line| line.starts_with("tidegate_reconciles_total"));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}

/// Time at which the attempt began.
fn begins(statuses: &[Write<'_>]) -> Option<Timestamp> {
    let mut begun = statuses
        .iter()
        .filter(|write| !write.body["status"]["attempt"].is_null());
    begun.next().map(|write| write.at)
}

/// Time at which no attempt ran any more.
fn ends(statuses: &[Write<'_>]) -> Option<Timestamp> {
    let after = statuses
        .iter()
        .skip_while(|write| write.body["status"]["attempt"].is_null());
    let mut ended = after.filter(|write| write.body["status"]["attempt"].is_null());
    ended.next().map(|write| write.at)
}

/// Time of the reading that breached.
fn breach(statuses: &[Write<'_>]) -> Option<Timestamp> {
    let gates = statuses
        .iter()
        .map(|write| &write.body["status"]["attempt"]["gates"][0]);
    let mut breached = gates.filter(|gate| gate["verdict"] == "Breach");
    breached.next()?["sampledAt"].as_str()?.parse().ok()
}

/// Time at which the canary lost its share.
fn taken_back_at(app: &str, routes: &[Write<'_>]) -> Option<Timestamp> {
    let mut taken = routes
        .iter()
        .filter(|write| weight(app, write.body) == Some(0));
    taken.next().map(|write| write.at)
}

/// Weight of the canary by a write of its route, where that says one.
fn weight(app: &str, body: &Value) -> Option<u64> {
    let canary = format!("{app}-canary");
    let backends = crate::testbed::backends(body)?;
    let mut named = backends
        .iter()
        .filter(|backend| backend["name"] == canary.as_str());
    named.next()?["weight"].as_u64()
}

fn seconds(duration: SignedDuration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ratio(of: usize, to: usize) -> f64 {
    of as f64 / to.max(1) as f64
}

// === impl Writes ===

impl<'a> Writes<'a> {
    fn of(requests: &'a Requests) -> Self {
        let mut writes = Self {
            statuses: HashMap::new(),
            routes: HashMap::new(),
        };
        for request in requests.all() {
            let Request {
                at,
                kind,
                namespace,
                name,
                code,
                body,
            } = request;
            let by_app = match kind.as_str() {
                "update rollouts/status" => &mut writes.statuses,
                "patch httproutes" => &mut writes.routes,
                _ => continue,
            };
            if *code < 300 {
                let app = (namespace.clone(), name.clone());
                by_app.entry(app).or_default().push(Write { at: *at, body });
            }
        }
        writes
    }

    /// Times from the confirmation of a step to the write of the next weight, but for the last step, before
    /// which the canary grows.
    fn dwells(&self) -> Spread {
        let mut dwells = Vec::new();
        for (app, routes) in &self.routes {
            let raised: BTreeMap<_, _> = routes
                .iter()
                .filter_map(|write| Some((weight(&app.1, write.body)?, write.at)))
                .collect();
            let ended = self.statuses.get(app).and_then(|statuses| {
                let mut promoting = statuses
                    .iter()
                    .filter(|write| write.body["status"]["attempt"]["stage"] == "PinningToCanary");
                promoting.next()
            });
            let steps = ended.and_then(|write| write.body["status"]["attempt"]["steps"].as_array());
            for (step, next) in steps
                .into_iter()
                .flatten()
                .zip(&WEIGHTS[1..WEIGHTS.len() - 1])
            {
                let confirmed = step["confirmedAt"]
                    .as_str()
                    .and_then(|at| at.parse::<Timestamp>().ok());
                if let Some((confirmed, next)) = confirmed.zip(raised.get(&u64::from(*next))) {
                    dwells.push(next.duration_since(confirmed));
                }
            }
        }
        Spread(dwells)
    }
}

// === impl Spread ===

impl Spread {
    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort();
        let last = sorted.len().saturating_sub(1);
        let found = sorted.get((last * percent).div_ceil(100));
        found.map_or(f64::NAN, SignedDuration::as_secs_f64)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "median {:.2} s, p99 {:.2} s, max {:.2} s of {}",
            self.at(50),
            self.at(99),
            self.at(100),
            self.0.len()
        )
    }
}
