//! Counting requests of both versions, by a sampler that goes on, and by one that begins again.
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use tidegate_engine::gate::{counts::CountInterval, reading::Reading};

use super::*;

/// Has counters of both versions that are scraped every 5 s and grow steadily, from 600 s before the test on.
/// The canary has ten requests in a second, one of them bad; stable a hundred, and one bad one.
#[derive(Clone, Default)]
struct Shop {
    asked: Arc<Mutex<Vec<(String, Timestamp)>>>,
    down: Arc<Mutex<bool>>,
}

const BAD: &str = r#"x_total{pod=~"{{pods}}",code="500"}"#;
const TOTAL: &str = r#"x_total{pod=~"{{pods}}"}"#;

impl InstantQuery for Shop {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
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
        let range = query.strip_prefix('{').and_then(|_| {
            let (_, range) = query.rsplit_once('[')?;
            range.strip_suffix("ms]")?.parse::<i64>().ok()
        });
        let data = match range {
            Some(range) => Data::Matrix(
                [("canary-5d4f8c7b9", 10), ("stable", 100)]
                    .into_iter()
                    .flat_map(|(pod, each)| counters(pod, each, at, range / 1000))
                    .collect(),
            ),
            None if query.starts_with("topk") || query.starts_with("sum by") => {
                Data::Vector(vec![])
            }
            None if query.starts_with("sum(") => Data::Matrix(vec![]),
            None => Data::Scalar(Point {
                time_seconds: 0.0,
                value: 1.0,
            }),
        };
        Ok(QueryResult {
            data,
            infos: vec![],
        })
    }
}

fn counters(pod: &str, each: i64, until: Timestamp, range: i64) -> Vec<Samples> {
    let until = until.as_second();
    let times = (NOW - 600..=until).filter(|time| time % 5 == 0 && *time > until - range);
    let times: Vec<_> = times.collect();
    let pod = format!("checkout-{pod}-abcde");
    let series = [("200", each - 1), ("500", 1)].map(|(code, each)| {
        let labels = [("__name__", "x_total"), ("pod", &*pod), ("code", code)];
        counter(labels, times.iter().copied(), each, NOW - 600)
    });
    series.to_vec()
}

/// A counter with these labels, which grows by so much in each second from 0 on.
pub(super) fn counter(
    labels: [(&str, &str); 3],
    times: impl Iterator<Item = i64>,
    each: i64,
    since: i64,
) -> Samples {
    #[expect(clippy::cast_precision_loss, reason = "numbers of a test")]
    let values = times.map(|time| Point {
        time_seconds: time as f64,
        value: ((time - since) * each) as f64,
    });
    Samples {
        metric: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        values: values.collect(),
        times: vec![],
    }
}

fn counting_gate(counted_until: Option<i64>) -> SampledGate {
    SampledGate {
        queries: vec![query_of(Role::Bad, BAD), query_of(Role::Total, TOTAL)],
        counted_until: counted_until.map(at),
        ..gate("")
    }
}

pub(super) fn input(since: i64) -> SamplerInput {
    SamplerInput {
        variables: VersionVariables {
            canary: canary(),
            stable: Variables {
                pod_name_prefixes: vec!["checkout-stable".into()],
                ..canary()
            },
        },
        ..confirmed_at(since, 1)
    }
}

/// Readings of a sampler of the gate, so many of them, with what was counted.
async fn intervals_after(
    shop: &Shop,
    gate: SampledGate,
    input: SamplerInput,
    readings: usize,
) -> (Vec<CountInterval>, Vec<Reading>) {
    let readings = readings_of(shop, gate, input, readings).await;
    let intervals = readings
        .iter()
        .flat_map(|reading| &reading.samples.intervals);
    (intervals.copied().collect(), readings)
}

/// The first readings of a sampler of the gate, at least so many.
pub(super) async fn readings_of(
    source: &(impl InstantQuery + Clone + 'static),
    gate: SampledGate,
    input: SamplerInput,
    readings: usize,
) -> Vec<Reading> {
    let (notify, mut notified) = mpsc::unbounded_channel();
    let started = Instant::now();
    let settings = SamplerSettings {
        scrape_interval: SCRAPE,
        clock: Arc::new(move || now().saturating_add(started.elapsed()).expect("a time")),
        notify: Arc::new(move |_| {
            let _ = notify.send(());
        }),
    };
    let sampler = Sampler::start(source.clone(), vec![gate], &settings, input);
    for _ in 0..readings {
        notified.recv().await.expect("the sampler runs");
    }
    sampler.readings()
}

/// Seconds in which so much of the canary was counted, having had ten requests in each.
fn seconds_counted(intervals: &[CountInterval]) -> f64 {
    for pair in intervals.windows(2) {
        assert!(pair[0].to <= pair[1].from, "{pair:?}");
    }
    let requests: f64 = intervals
        .iter()
        .map(|interval| interval.canary.requests)
        .sum();
    let stable = intervals.iter().filter_map(|interval| interval.stable);
    let of_stable: f64 = stable.map(|stable| stable.requests).sum();
    assert!(
        (of_stable - requests * 10.0).abs() < 501.0,
        "{requests} {of_stable}"
    );
    requests / 10.0
}

#[tokio::test(start_paused = true)]
async fn each_reading_counts_from_where_the_last_one_ended() {
    let shop = Shop::default();
    let (intervals, readings) = intervals_after(&shop, counting_gate(None), input(0), 4).await;
    assert_eq!(readings.len(), 4);
    // The reading at 35 s knows what was scraped then.
    assert_eq!(seconds_counted(&intervals), 35.0);
    assert!(intervals.iter().all(|interval| interval.step == Some(1)));
    let ranges = shop.asked.lock().expect("queries");
    let ranges = ranges.iter().filter(|(query, _)| query.starts_with('{'));
    assert_eq!(ranges.count(), 4, "one query for both versions");
}

#[tokio::test(start_paused = true)]
async fn a_sampler_that_begins_again_counts_what_came_meanwhile_once() {
    let shop = Shop::default();
    let gate = counting_gate(Some(-240));
    let (intervals, _) = intervals_after(&shop, gate, input(-500), 1).await;
    assert_eq!(intervals.first().map(|first| first.from), Some(at(-240)));
    assert_eq!(seconds_counted(&intervals), 240.0);
    assert!(
        intervals.len() >= 20,
        "an interval is no longer than the gate's: {}",
        intervals.len()
    );
}

#[tokio::test(start_paused = true)]
async fn while_queries_fail_nothing_is_counted_and_nothing_is_lost() {
    let shop = Shop::default();
    *shop.down.lock().expect("a state") = true;
    let reading = intervals_after(&shop, counting_gate(None), input(0), 1);
    let (intervals, readings) = reading.await;
    assert_eq!(intervals, []);
    assert_eq!(
        readings[0].samples.get(Role::Canary).and_then(reason),
        Some(ErrorReason::Server)
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_has_all_traffic_is_counted_alone() {
    let shop = Shop::default();
    let alone = SamplerInput {
        alone: true,
        ..input(-100)
    };
    let (intervals, readings) = intervals_after(&shop, counting_gate(None), alone, 1).await;
    assert!(!intervals.is_empty() && intervals.iter().all(|interval| interval.stable.is_none()));
    assert_eq!(readings[0].samples.get(Role::Stable), None);
    assert!(readings[0].samples.history.is_some());
}

#[tokio::test(start_paused = true)]
async fn selectors_that_cannot_be_read_are_an_error_of_the_gate() {
    let gate = SampledGate {
        queries: vec![query_of(Role::Bad, "sum(x)"), query_of(Role::Total, TOTAL)],
        ..counting_gate(None)
    };
    let (_, readings) = intervals_after(&Shop::default(), gate, input(0), 1).await;
    assert_eq!(
        readings[0].samples.get(Role::Canary).and_then(reason),
        Some(ErrorReason::InvalidQuery)
    );
}
