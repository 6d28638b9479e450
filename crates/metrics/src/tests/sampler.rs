//! The sampler, under paused time.

use std::sync::Mutex;

use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{
        answer::{Answer, Data, Point},
        prometheus::InstantQuery,
        query_error::QueryError,
        sampler::{GateQuery, Sampler, SamplerInput, SamplerSettings},
    },
    *,
};

const SCRAPE: SignedDuration = SignedDuration::from_secs(5);

/// Answers every query with 1 unless it is down, and remembers the queries with their times.
#[derive(Clone, Default)]
struct Scripted {
    asked: Arc<Mutex<Vec<(String, Timestamp)>>>,
    down: Arc<Mutex<bool>>,
}

impl InstantQuery for Scripted {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<Answer, QueryError> {
        self.asked
            .lock()
            .expect("queries")
            .push((query.to_owned(), at));
        if *self.down.lock().expect("a state") {
            return Err(QueryError::Server {
                status: 503,
                message: None,
            });
        }
        Ok(Answer {
            data: Data::Scalar(Point {
                time_seconds: 0.0,
                value: 1.0,
            }),
            infos: vec![],
        })
    }
}

struct Caches {
    prometheus: Scripted,
    sampler: Sampler,
    woken: mpsc::UnboundedReceiver<()>,
}

impl Caches {
    fn start(gates: Vec<GateQuery>, input: SamplerInput) -> Self {
        let (notify, woken) = mpsc::unbounded_channel();
        let started = Instant::now();
        let settings = SamplerSettings {
            scrape_interval: SCRAPE,
            clock: Arc::new(move || now().saturating_add(started.elapsed()).expect("a time")),
            notify: Arc::new(move |_| {
                let _ = notify.send(());
            }),
        };
        let prometheus = Scripted::default();
        let sampler = Sampler::start(prometheus.clone(), gates, &settings, input);
        Self {
            prometheus,
            sampler,
            woken,
        }
    }

    /// Waits until this many more readings were taken, and gives the times of all, in seconds.
    async fn times_after(&mut self, readings: usize) -> Vec<i64> {
        for _ in 0..readings {
            self.woken.recv().await.expect("the sampler runs");
        }
        self.sampler
            .readings()
            .iter()
            .map(|reading| seconds(reading.at))
            .collect()
    }

    fn set_down(&self, down: bool) {
        *self.prometheus.down.lock().expect("a state") = down;
    }

    fn queries(&self) -> Vec<String> {
        self.prometheus
            .asked
            .lock()
            .expect("queries")
            .iter()
            .map(|(query, _)| query.clone())
            .collect()
    }
}

/// Seconds since the test began; the timer rounds up to milliseconds.
fn seconds(at: Timestamp) -> i64 {
    at.duration_since(now()).as_secs()
}

fn gate(query: &str) -> GateQuery {
    GateQuery {
        name: "errors".into(),
        query: query.into(),
        requests: None,
        interval: SignedDuration::from_secs(10),
        warmup: SignedDuration::ZERO,
        max_sample_age: SignedDuration::from_mins(2),
        window: SignedDuration::from_secs(30),
    }
}

fn confirmed_at(second: i64, step: u32) -> SamplerInput {
    let window_start = Timestamp::from_second(NOW + second).expect("a time");
    SamplerInput {
        variables: canary(),
        window_start: Some(window_start),
        step,
    }
}

fn unconfirmed() -> SamplerInput {
    SamplerInput {
        variables: canary(),
        window_start: None,
        step: 1,
    }
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_read_at_its_interval_once_a_scrape_was_made() {
    let mut caches = Caches::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    assert_eq!(caches.times_after(3).await, [5, 15, 25]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_before_the_weight_is_confirmed() {
    let mut caches = Caches::start(vec![gate("sum(x)")], unconfirmed());
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert!(caches.sampler.readings().is_empty());
    caches.sampler.tell(confirmed_at(1000, 1));
    assert_eq!(caches.times_after(1).await, [1005]);
    caches.sampler.tell(unconfirmed());
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(caches.sampler.readings().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_restart_reads_at_once_what_was_confirmed_long_ago() {
    let mut caches = Caches::start(vec![gate("sum(x)")], confirmed_at(-600, 1));
    assert_eq!(caches.times_after(1).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_query_never_looks_back_to_before_the_confirmation() {
    let mut caches = Caches::start(vec![gate("sum(rate(x[1m]))")], confirmed_at(0, 1));
    assert_eq!(caches.times_after(1).await, [65]);
}

#[tokio::test(start_paused = true)]
async fn the_window_grows_from_two_scrapes_to_its_limit() {
    let mut caches = Caches::start(vec![gate("sum(rate(x[{{window}}]))")], confirmed_at(0, 1));
    assert_eq!(caches.times_after(4).await, [15, 25, 35, 45]);
    let queries = caches.queries();
    let values: Vec<_> = queries
        .iter()
        .filter(|query| query.starts_with("sum"))
        .collect();
    assert_eq!(
        values,
        [
            "sum(rate(x[10s]))",
            "sum(rate(x[20s]))",
            "sum(rate(x[30s]))",
            "sum(rate(x[30s]))"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_warm_up_is_waited_for() {
    let warmup = SignedDuration::from_secs(42);
    let mut caches = Caches::start(
        vec![GateQuery {
            warmup,
            ..gate("sum(x)")
        }],
        confirmed_at(0, 1),
    );
    assert_eq!(caches.times_after(1).await, [42]);
}

#[tokio::test(start_paused = true)]
async fn errors_are_reported_and_space_the_readings_out() {
    let mut caches = Caches::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    caches.set_down(true);
    assert_eq!(caches.times_after(7).await, [5, 15, 35, 75, 155, 235, 315]);
    assert_eq!(
        reason(&caches.sampler.readings()[6].sample),
        Some(ErrorReason::Server)
    );
    caches.set_down(false);
    assert_eq!(caches.times_after(3).await[7..], [395, 405, 415]);
}

#[tokio::test(start_paused = true)]
async fn a_new_step_starts_from_anew() {
    let mut caches = Caches::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    caches.set_down(true);
    caches.times_after(4).await;
    caches.set_down(false);
    caches.sampler.tell(confirmed_at(75, 2));
    assert_eq!(caches.times_after(2).await[4..], [80, 90]);
    let steps: Vec<_> = caches
        .sampler
        .readings()
        .iter()
        .map(|reading| reading.step)
        .collect();
    assert_eq!(steps, [1, 1, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_read_at_the_same_time() {
    let requests = Some(r#"sum(increase(r{pod=~"{{pods}}"}[{{window}}]))"#.into());
    let mut caches = Caches::start(
        vec![GateQuery {
            requests,
            ..gate("sum(x)")
        }],
        confirmed_at(0, 1),
    );
    assert_eq!(caches.times_after(1).await, [15]);
    assert_eq!(
        caches.sampler.readings()[0].requests,
        Some(Sample::Value { value: 1.0 })
    );
    let times: Vec<_> = caches
        .prometheus
        .asked
        .lock()
        .expect("queries")
        .iter()
        .map(|(_, at)| *at)
        .collect();
    assert!(
        times.len() == 4 && times.iter().all(|at| *at == times[0]),
        "{times:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn gates_do_not_wait_for_each_other() {
    let slow = GateQuery {
        name: "slow".into(),
        interval: SignedDuration::from_secs(25),
        ..gate("sum(y)")
    };
    let mut caches = Caches::start(vec![gate("sum(x)"), slow], confirmed_at(0, 1));
    assert_eq!(caches.times_after(5).await, [5, 5, 15, 25, 30]);
}

#[tokio::test(start_paused = true)]
async fn a_query_that_cannot_be_asked_is_an_error_of_the_gate() {
    let mut caches = Caches::start(vec![gate("sum(x{pod=~\"{{pod}}\"})")], confirmed_at(0, 1));
    caches.times_after(1).await;
    assert_eq!(
        reason(&caches.sampler.readings()[0].sample),
        Some(ErrorReason::InvalidQuery)
    );
    assert!(caches.queries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn old_readings_make_room() {
    let interval = SignedDuration::from_secs(1);
    let mut caches = Caches::start(
        vec![GateQuery {
            interval,
            ..gate("sum(x)")
        }],
        confirmed_at(0, 1),
    );
    let times = caches.times_after(1003).await;
    assert_eq!((times.len(), times[0]), (1000, 8));
}

#[tokio::test(start_paused = true)]
async fn dropping_it_ends_it() {
    let Caches {
        prometheus,
        sampler,
        mut woken,
    } = Caches::start(vec![gate("sum(x)")], confirmed_at(0, 1));
    woken.recv().await.expect("a reading");
    drop(sampler);
    assert_eq!(woken.recv().await, None);
    assert_eq!(prometheus.asked.lock().expect("queries").len(), 2);
}
