//! Stable's requests in the hour before an attempt, for what chance is and what may be expected.

use jiff::{SignedDuration, Timestamp};
use tidegate_engine::gate::{
    counts::{Counts, Version},
    dispersion::History,
    reading::Role,
};

use super::{
    counter_query::CounterQuery,
    prometheus::InstantQuery,
    query_error::QueryError,
    query_result::{Data, QueryResult},
    quotient::once_per_pod,
};

/// Time that is looked back.
const LOOKBACK: SignedDuration = SignedDuration::from_hours(1);

/// Shortest interval of which requests are counted.
const INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// Number of scrapes that an interval has.
const SCRAPES: i32 = 4;

/// Reads stable's requests of the hour before this time.
pub(crate) async fn history(
    source: &impl InstantQuery,
    query: &CounterQuery,
    scrapes: SignedDuration,
    before: Timestamp,
) -> Result<History, QueryError> {
    let part = if query.counts_good() {
        Role::Good
    } else {
        Role::Bad
    };
    let [part, total] = [part, Role::Total].map(|role| Asked::of(query, role, scrapes));
    let (part_over_time, total_over_time, part_of_pods, total_of_pods) = tokio::join!(
        source.instant(&part.over_time, before),
        source.instant(&total.over_time, before),
        source.instant(&part.of_pods, before),
        source.instant(&total.of_pods, before)
    );
    let good = query.counts_good();
    let over_time = merged(
        &numbers(&total_over_time?),
        &numbers(&part_over_time?),
        good,
    );
    let of_pods = merged(&numbers(&total_of_pods?), &numbers(&part_of_pods?), good);
    Ok(History::of(&over_time, &of_pods))
}

/// What is asked of one of stable's counters.
struct Asked {
    over_time: String,
    of_pods: String,
}

// === impl Asked ===

impl Asked {
    fn of(query: &CounterQuery, role: Role, scrapes: SignedDuration) -> Self {
        let selector = query.selector(Version::Stable, role).unwrap_or_default();
        let interval = INTERVAL.max(scrapes * SCRAPES).as_millis();
        let lookback = LOOKBACK.as_millis();
        let increase = |range| {
            let increase = format!("increase({selector}[{range}ms])");
            if query.is_by_pod() {
                once_per_pod(&increase)
            } else {
                increase
            }
        };
        Self {
            over_time: format!("sum({})[{lookback}ms:{interval}ms]", increase(interval)),
            of_pods: format!("sum by (pod) ({})", increase(lookback)),
        }
    }
}

/// Returns the numbers of an answer, each with the time or the pod that it is of.
fn numbers(answer: &QueryResult) -> Vec<(String, f64)> {
    match &answer.data {
        Data::Matrix(series) => {
            let points = series.iter().flat_map(|series| &series.values);
            points
                .map(|point| (point.time_seconds.to_string(), point.value))
                .collect()
        }
        Data::Vector(series) => {
            let pods = series.iter().filter_map(|series| {
                let pod = series.metric.get("pod").cloned().unwrap_or_default();
                Some((pod, series.value?.value))
            });
            pods.collect()
        }
        Data::Scalar(_) | Data::String(_) => Vec::new(),
    }
}

/// Returns the counts of each time or pod that has requests. Bad ones without a series are none.
fn merged(total: &[(String, f64)], part: &[(String, f64)], part_is_good: bool) -> Vec<Counts> {
    let part: std::collections::BTreeMap<_, _> =
        part.iter().map(|(of, number)| (of, number)).collect();
    let counts = total.iter().map(|(of, requests)| {
        let part = part.get(of).map_or(0.0, |number| **number);
        Counts {
            requests: *requests,
            bad: if part_is_good { requests - part } else { part },
        }
    });
    // An increase is an estimate, and of all requests it may be a little less than of the good ones.
    let counts = counts.map(|counts| Counts {
        bad: counts.bad.max(0.0),
        ..counts
    });
    counts.collect()
}
