//! The sampler, under paused time.

mod counting;
mod histogram;
mod scrapes;

use std::sync::Mutex;

use tidegate_engine::{
    decision::SampledStep,
    gate::reading::{GateQuery, Role},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{
        prometheus::InstantQuery,
        query_error::QueryError,
        query_result::{Data, Point, QueryResult, Samples, Series},
        sampler::{SampledGate, Sampler, SamplerInput, SamplerSettings, VersionVariables},
    },
    *,
};

const SCRAPE: SignedDuration = SignedDuration::from_secs(5);

/// Answers every query with 1 unless it is down, and notes the queries with their times.
#[derive(Clone, Default)]
struct Scripted {
    queries: Arc<Mutex<Vec<(String, Timestamp)>>>,
    down: Arc<Mutex<bool>>,
    /// Seconds between two samples of each series, where they can be learned.
    spacing: Arc<Mutex<Option<f64>>>,
    /// True if nothing is new since the last reading.
    old: Arc<Mutex<bool>>,
    /// True if no query has a result.
    empty: Arc<Mutex<bool>>,
}

impl InstantQuery for Scripted {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        self.queries
            .lock()
            .expect("queries")
            .push((query.to_owned(), at));
        if *self.down.lock().expect("a state") {
            return Err(QueryError::Server {
                status: 503,
                message: None,
            });
        }
        let value = if query.contains("count((timestamp(") && *self.old.lock().expect("a state") {
            0.0
        } else {
            1.0
        };
        let spacing = *self.spacing.lock().expect("a state");
        let data = match spacing {
            _ if *self.empty.lock().expect("a state") => Data::Vector(vec![]),
            Some(_) if query.starts_with("topk") => Data::Vector(vec![Series {
                metric: [("pod".to_owned(), "a".to_owned())].into(),
                value: None,
                histogram: None,
            }]),
            Some(spacing) if query.ends_with("[11m]") => {
                let times = vec![0.0, spacing, 2.0 * spacing];
                Data::Matrix(vec![Samples {
                    times,
                    ..Samples::default()
                }])
            }
            _ => Data::Scalar(Point {
                time_seconds: 0.0,
                value,
            }),
        };
        Ok(QueryResult {
            data,
            infos: vec![],
        })
    }
}

struct Scenario {
    prometheus: Scripted,
    sampler: Sampler,
    notified: mpsc::UnboundedReceiver<()>,
}

impl Scenario {
    fn start(gates: Vec<SampledGate>, input: SamplerInput) -> Self {
        Self::start_with(Scripted::default(), gates, input)
    }

    fn start_with(prometheus: Scripted, gates: Vec<SampledGate>, input: SamplerInput) -> Self {
        Self::start_behind(SignedDuration::ZERO, prometheus, gates, input)
    }

    /// Starts a sampler whose clock is behind, as for a store that lags.
    fn start_behind(
        delay: SignedDuration,
        prometheus: Scripted,
        gates: Vec<SampledGate>,
        input: SamplerInput,
    ) -> Self {
        let (notify, notified) = mpsc::unbounded_channel();
        let started = Instant::now();
        let beginning = now().saturating_sub(delay).expect("a time");
        let settings = SamplerSettings {
            scrape_interval: SCRAPE,
            clock: Arc::new(move || beginning.saturating_add(started.elapsed()).expect("a time")),
            notify: Arc::new(move |_| {
                let _ = notify.send(());
            }),
        };
        let sampler = Sampler::start(prometheus.clone(), gates, &settings, input);
        Self {
            prometheus,
            sampler,
            notified,
        }
    }

    /// Waits for this number of further readings, and returns the times of all in seconds.
    async fn times_after(&mut self, readings: usize) -> Vec<i64> {
        for _ in 0..readings {
            self.notified.recv().await.expect("the sampler runs");
        }
        self.sampler
            .readings()
            .iter()
            .map(|reading| seconds(reading.sampled_at))
            .collect()
    }

    /// The steps that the readings are of.
    fn steps(&self) -> Vec<Option<u32>> {
        let readings = self.sampler.readings();
        readings.iter().map(|reading| reading.step).collect()
    }

    fn sample(&self, reading: usize, role: Role) -> Sample {
        let sample = self.sampler.readings()[reading].samples.get(role).cloned();
        sample.expect("a sample of the role")
    }

    fn set_down(&self, down: bool) {
        *self.prometheus.down.lock().expect("a state") = down;
    }

    fn queries(&self) -> Vec<String> {
        self.prometheus
            .queries
            .lock()
            .expect("queries")
            .iter()
            .map(|(query, _)| query.clone())
            .filter(|query| !query.starts_with("topk"))
            .collect()
    }
}

/// Seconds since the test began; the timer rounds up to milliseconds.
fn seconds(at: Timestamp) -> i64 {
    at.duration_since(now()).as_secs()
}

fn query_of(role: Role, text: &str) -> GateQuery {
    GateQuery::new(role, text)
}

fn variables() -> VersionVariables {
    VersionVariables {
        canary: canary(),
        stable: Variables {
            track: "stable".into(),
            ..canary()
        },
    }
}

fn gate(query: &str) -> SampledGate {
    SampledGate {
        name: "errors".into(),
        queries: vec![query_of(Role::Canary, query)],
        interval: SignedDuration::from_secs(10),
        warmup: SignedDuration::ZERO,
        max_sample_age: SignedDuration::from_mins(2),
        counted_until: None,
        window: SignedDuration::from_secs(30),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).expect("a time")
}

/// Traffic since second 0, and this step since `second`.
fn step_since(second: i64, number: u32) -> SamplerInput {
    let since = at(second);
    SamplerInput {
        traffic_since: Some(at(0)),
        step: Some(SampledStep {
            number,
            since,
            until: since,
        }),
        ..without_traffic()
    }
}

/// The first traffic, confirmed at once.
fn confirmed_at(second: i64, number: u32) -> SamplerInput {
    SamplerInput {
        traffic_since: Some(at(second)),
        ..step_since(second, number)
    }
}

/// Traffic since second 0, while the next weight is not there yet.
fn between_steps() -> SamplerInput {
    SamplerInput {
        traffic_since: Some(at(0)),
        ..without_traffic()
    }
}

fn without_traffic() -> SamplerInput {
    SamplerInput {
        variables: variables(),
        traffic_since: None,
        alone: false,
        step: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_read_at_its_interval_once_a_scrape_was_made() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(3).await, [5, 15, 25]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lags_is_read_as_of_when_it_had_everything() {
    let started = Instant::now();
    let mut scenario = Scenario::start_behind(
        SignedDuration::from_secs(30),
        Scripted::default(),
        vec![gate("sum(x)")],
        confirmed_at(0, 1),
    );
    assert_eq!(scenario.times_after(1).await, [5]);
    assert_eq!(started.elapsed().as_secs(), 35);
    assert_eq!(scenario.times_after(2).await, [5, 15, 25]);
    assert_eq!(started.elapsed().as_secs(), 55);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_without_traffic() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], without_traffic());
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(scenario.sampler.readings().is_empty());
    scenario.sampler.update(confirmed_at(1000, 1));
    assert_eq!(scenario.times_after(1).await, [1005]);
    scenario.sampler.update(without_traffic());
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(scenario.sampler.readings().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_reads_at_once_what_was_confirmed_long_ago() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], confirmed_at(-600, 1));
    assert_eq!(scenario.times_after(1).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_query_never_looks_back_to_before_the_confirmation() {
    let mut scenario = Scenario::start(vec![gate("sum(rate(x[1m]))")], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(1).await, [65]);
}

#[tokio::test(start_paused = true)]
async fn the_window_grows_from_two_scrapes_to_its_limit() {
    let mut scenario = Scenario::start(vec![gate("sum(rate(x[{{window}}]))")], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(4).await, [16, 26, 36, 46]);
    let queries = scenario.queries();
    let values: Vec<_> = queries
        .iter()
        .filter(|query| query.starts_with("sum"))
        .collect();
    assert_eq!(
        values,
        [
            "sum(rate(x[11s]))",
            "sum(rate(x[21s]))",
            "sum(rate(x[30s]))",
            "sum(rate(x[30s]))"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_reading_comes_after_the_warmup() {
    let warmup = SignedDuration::from_secs(42);
    let mut scenario = Scenario::start(
        vec![SampledGate {
            warmup,
            ..gate("sum(x)")
        }],
        confirmed_at(0, 1),
    );
    assert_eq!(scenario.times_after(1).await, [42]);
}

#[tokio::test(start_paused = true)]
async fn errors_are_reported_and_space_the_readings_out() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    scenario.set_down(true);
    assert_eq!(
        scenario.times_after(7).await,
        [5, 15, 35, 75, 155, 235, 315]
    );
    assert_eq!(
        reason(&scenario.sample(6, Role::Canary)),
        Some(ErrorReason::Server)
    );
    scenario.set_down(false);
    assert_eq!(scenario.times_after(3).await[7..], [395, 405, 415]);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_gets_traffic_again_starts_anew() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    scenario.set_down(true);
    scenario.times_after(4).await;
    scenario.set_down(false);
    scenario.sampler.update(confirmed_at(75, 2));
    assert_eq!(scenario.times_after(2).await[4..], [80, 90]);
    assert_eq!(scenario.steps(), [1, 1, 1, 1, 2, 2].map(Some));
}

#[tokio::test(start_paused = true)]
async fn readings_go_on_between_steps_and_name_none() {
    let mut scenario = Scenario::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    scenario.times_after(2).await;
    scenario.sampler.update(between_steps());
    assert_eq!(scenario.times_after(2).await, [5, 15, 25, 35]);
    assert_eq!(scenario.steps(), [Some(1), Some(1), None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_too_young_is_read_with_what_came_before_and_then_alone() {
    let mut scenario = Scenario::start(vec![gate("sum(rate(x[{{window}}]))")], confirmed_at(0, 1));
    scenario.times_after(4).await;
    scenario.sampler.update(step_since(47, 2));
    // Every 10 s, and as soon as a window holds two scrapes.
    assert_eq!(scenario.times_after(4).await[4..], [56, 63, 73, 83]);
    assert_eq!(scenario.steps()[4..], [None, Some(2), Some(2), Some(2)]);
    let queries = scenario.queries();
    let windows: Vec<_> = queries
        .iter()
        .filter(|query| query.starts_with("sum"))
        .collect();
    assert_eq!(
        windows[4..],
        [
            "sum(rate(x[30s]))",
            "sum(rate(x[11s]))",
            "sum(rate(x[21s]))",
            "sum(rate(x[30s]))"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_between_steps_reads_at_once() {
    let input = SamplerInput {
        traffic_since: Some(at(-600)),
        ..between_steps()
    };
    let mut scenario = Scenario::start(vec![gate("sum(x)")], input);
    assert_eq!(scenario.times_after(1).await, [0]);
    assert_eq!(scenario.steps(), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_warmup_begins_with_every_weight() {
    let gate = SampledGate {
        warmup: SignedDuration::from_secs(30),
        ..gate("sum(x)")
    };
    let mut scenario = Scenario::start(vec![gate], confirmed_at(0, 1));
    scenario.times_after(2).await;
    scenario.sampler.update(step_since(43, 2));
    assert_eq!(scenario.times_after(2).await, [30, 40, 73, 83]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_read_at_the_same_time() {
    let mut gate = gate("sum(x)");
    gate.queries.push(query_of(
        Role::Requests,
        r#"sum(increase(r{pod=~"{{pods}}"}[{{window}}]))"#,
    ));
    let mut scenario = Scenario::start(vec![gate], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(1).await, [16]);
    assert_eq!(
        scenario.sample(0, Role::Requests),
        Sample::Value { value: 1.0 }
    );
    let times: Vec<_> = scenario
        .prometheus
        .queries
        .lock()
        .expect("queries")
        .iter()
        .filter(|(query, _)| !query.starts_with("topk"))
        .map(|(_, at)| *at)
        .collect();
    assert!(
        times.len() == 4 && times.iter().all(|at| *at == times[0]),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn each_role_is_asked_about_its_version() {
    let mut gate = gate("sum(x{t=\"{{track}}\"})");
    let stable = query_of(Role::Stable, &gate.queries[0].text);
    gate.queries.push(stable);
    let mut scenario = Scenario::start(vec![gate], confirmed_at(0, 1));
    scenario.times_after(1).await;
    let queries = scenario.queries();
    for query in [r#"sum(x{t="canary"})"#, r#"sum(x{t="stable"})"#] {
        assert!(queries.iter().any(|asked| asked == query), "{queries:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_without_queries_is_read_at_its_interval() {
    let gate = SampledGate {
        queries: vec![],
        ..gate("")
    };
    let mut scenario = Scenario::start(vec![gate], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(2).await, [5, 15]);
    assert!(scenario.queries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn gates_do_not_wait_for_each_other() {
    let slow = SampledGate {
        name: "slow".into(),
        interval: SignedDuration::from_secs(25),
        ..gate("sum(y)")
    };
    let mut scenario = Scenario::start(vec![gate("sum(x)"), slow], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(5).await, [5, 5, 15, 25, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_cannot_be_sent_is_an_error_of_the_gate() {
    let mut scenario = Scenario::start(vec![gate("sum(x{pod=~\"{{pod}}\"})")], confirmed_at(0, 1));
    scenario.times_after(1).await;
    assert_eq!(
        reason(&scenario.sample(0, Role::Canary)),
        Some(ErrorReason::InvalidQuery)
    );
    assert!(scenario.queries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn old_readings_make_room() {
    let interval = SignedDuration::from_secs(1);
    let mut scenario = Scenario::start(
        vec![SampledGate {
            interval,
            ..gate("sum(x)")
        }],
        confirmed_at(0, 1),
    );
    let times = scenario.times_after(1003).await;
    assert_eq!((times.len(), times[0]), (1000, 8));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_it() {
    let Scenario {
        prometheus,
        sampler,
        mut notified,
    } = Scenario::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    notified.recv().await.expect("a reading");
    drop(sampler);
    assert_eq!(notified.recv().await, None);
    let queries = prometheus.queries.lock().expect("queries");
    let readings = queries.iter().filter(|(query, _)| query.starts_with("sum"));
    assert_eq!(readings.count(), 1);
}
