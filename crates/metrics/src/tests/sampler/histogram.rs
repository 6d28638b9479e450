//! Counting the slow requests of a histogram, of a canary whose buckets are those of stable, or others.

use tidegate_engine::gate::{counts::Counts, histogram, reading::Reading};

use super::{
    counting::{counter, input, readings_of},
    *,
};

/// Has a histogram of both versions that is scraped every 5 s and grows steadily. Of ten requests of the canary in a
/// second two are slow, of a hundred of stable three.
#[derive(Clone)]
struct Durations {
    /// Bound of the canary's bucket; `None` where it has a native histogram instead.
    canary: Option<&'static str>,
}

impl InstantQuery for Durations {
    async fn instant(&self, query: &str, at: Timestamp) -> Result<QueryResult, QueryError> {
        let is_of_canary = query.contains("canary-5d4f8c7b9") && !query.contains("stable");
        let data = if query.starts_with('{') {
            let of = |pod, le, fast, all| [bucket(pod, le, fast, at), bucket(pod, "+Inf", all, at)];
            let canary = self.canary.map(|le| of("canary-5d4f8c7b9", le, 8, 10));
            let stable = of("stable", "0.25", 97, 100);
            Data::Matrix(canary.into_iter().flatten().chain(stable).collect())
        } else if query.starts_with("count by (le)") && is_of_canary {
            let bounds = self.canary.into_iter().flat_map(|le| [le, "+Inf"]);
            Data::Vector(bounds.map(|le| one(&[("le", le)])).collect())
        } else if query.contains("histogram_count") && is_of_canary {
            Data::Vector(vec![one(&[])])
        } else if query.starts_with("sum(") {
            Data::Matrix(vec![])
        } else {
            Data::Vector(vec![])
        };
        Ok(QueryResult {
            data,
            infos: vec![],
        })
    }
}

fn one(labels: &[(&str, &str)]) -> Series {
    let metric = labels.iter();
    let metric = metric.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Series {
        metric: metric.collect(),
        value: Some(Point {
            time_seconds: 0.0,
            value: 1.0,
        }),
        histogram: None,
    }
}

/// A bucket that counts so many requests in each second.
fn bucket(pod: &str, le: &str, each: i64, until: Timestamp) -> Samples {
    let times = (NOW - 60..=until.as_second()).filter(|time| time % 5 == 0);
    let labels = [
        ("__name__", "x_seconds_bucket"),
        ("pod", &*format!("checkout-{pod}-abcde")),
        ("le", le),
    ];
    counter(labels, times, each, NOW - 60)
}

async fn read(canary: Option<&'static str>) -> Reading {
    let bound = "250ms".parse().expect("a duration");
    let (good, total) =
        histogram::queries(r#"x_seconds{pod=~"{{pods}}"}"#, bound).expect("a histogram");
    let gate = SampledGate {
        queries: vec![good, total],
        ..gate("")
    };
    let readings = readings_of(&Durations { canary }, gate, input(-30), 1).await;
    readings.into_iter().next().expect("a reading")
}

fn of_canary(reading: &Reading) -> Sample {
    let sample = reading.samples.get(Role::Canary);
    sample.cloned().expect("a sample")
}

#[tokio::test(start_paused = true)]
async fn slow_requests_are_counted_as_bad_ones() {
    let reading = read(Some("0.250")).await;
    let canary: Counts = reading
        .samples
        .intervals
        .iter()
        .map(|interval| interval.canary)
        .sum();
    let stable = reading
        .samples
        .intervals
        .iter()
        .filter_map(|interval| interval.stable);
    let stable: Counts = stable.sum();
    assert!(canary.requests > 0.0, "{reading:?}");
    assert_eq!((canary.ratio(), stable.ratio()), (Some(0.2), Some(0.03)));
    assert!(reading.samples.get(Role::Canary).and_then(reason).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_canary_with_other_buckets_than_stable_is_an_error_that_names_them() {
    let reading = read(Some("0.3")).await;
    assert_eq!(reading.samples.intervals, []);
    let sample = of_canary(&reading);
    assert_eq!(reason(&sample), Some(ErrorReason::InvalidQuery));
    assert_eq!(
        message(sample),
        "x_seconds of the canary has no bucket of 250ms (le=\"0.25\"), and between two boundaries nobody can count: write \
         slowerThan: 300ms, or give both versions this bucket"
    );
}

#[tokio::test(start_paused = true)]
async fn a_canary_with_a_native_histogram_is_an_error_and_not_no_data() {
    let reading = read(None).await;
    let sample = of_canary(&reading);
    assert_eq!(reason(&sample), Some(ErrorReason::InvalidQuery));
    let said = message(sample);
    assert!(
        said.starts_with("x_seconds of the canary is a native histogram"),
        "{said}"
    );
}
