//! The scrape interval, learned from the spacing of samples that are there already.
//!
//! Two small queries: which series has the most samples, and that series' samples. Nothing is
//! configured twice, and a target that is scraped more rarely than others is seen to be.

use jiff::{SignedDuration, Timestamp};

use super::{
    prometheus::InstantQuery,
    query::Query,
    query_result::{Data, Series},
};

/// Time over which samples are looked at: two of them, however rare Prometheus lets them be (5m is the
/// longest interval that does not leave gaps).
const LOOKBACK: &str = "11m";

/// Maximum number of selectors that are asked about: more than the terms of any ratio.
const MAX_SELECTORS: usize = 4;

/// Returns the time between two samples of the series that a query is about: of its selectors the
/// longest. `None` where there are no two samples, or they cannot be read.
pub(crate) async fn scrape_interval(
    source: &impl InstantQuery,
    query: &Query,
    now: Timestamp,
) -> Option<SignedDuration> {
    let asked = query.selectors.iter().take(MAX_SELECTORS);
    let spacings = asked.map(|selector| spacing(source, selector, now));
    let spacings = futures::future::join_all(spacings).await;
    spacings.into_iter().flatten().max()
}

async fn spacing(
    source: &impl InstantQuery,
    selector: &str,
    now: Timestamp,
) -> Option<SignedDuration> {
    let longest = format!("topk(1, count_over_time({selector}[{LOOKBACK}]))");
    let Ok(Data::Vector(series)) = source
        .instant(&longest, now)
        .await
        .map(|answer| answer.data)
    else {
        return None;
    };
    let one = narrowed(selector, series.first()?);
    let samples = format!("{one}[{LOOKBACK}]");
    let Ok(Data::Matrix(series)) = source
        .instant(&samples, now)
        .await
        .map(|answer| answer.data)
    else {
        return None;
    };
    let times = series
        .into_iter()
        .map(|series| series.times)
        .max_by_key(Vec::len)?;
    median_spacing(&times)
}

/// Returns the median: a scrape that was missed, or made late, changes nothing.
fn median_spacing(times: &[f64]) -> Option<SignedDuration> {
    let mut spacings: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    spacings.sort_by(f64::total_cmp);
    let median = spacings.get(spacings.len() / 2)?;
    let median = SignedDuration::try_from_secs_f64(*median).ok()?;
    if median.is_positive() {
        Some(median)
    } else {
        None
    }
}

/// Returns the selector with matchers for the labels of one of its series.
fn narrowed(selector: &str, series: &Series) -> String {
    let labels = series.metric.iter();
    let labels = labels.filter(|(name, _)| is_plain(name) && *name != "__name__");
    let matchers: Vec<_> = labels
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    let matchers = matchers.join(",");
    match selector.strip_suffix('}') {
        _ if matchers.is_empty() => selector.to_owned(),
        Some(open) => format!("{open},{matchers}}}"),
        None => format!("{selector}{{{matchers}}}"),
    }
}

fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use promql_parser::parser;

    use super::*;
    use crate::{
        query_error::QueryError,
        query_result::{Point, QueryResult, Samples},
    };

    /// Has one series of `all` that is scraped every ten seconds, once late and once not at all, and
    /// none of `bad`.
    #[derive(Default)]
    struct Slow(Mutex<Vec<String>>);

    impl InstantQuery for Slow {
        async fn instant(&self, query: &str, _: Timestamp) -> Result<QueryResult, QueryError> {
            parser::parse(query).expect("PromQL");
            self.0.lock().expect("queries").push(query.to_owned());
            let metric = [("pod".to_owned(), "a\"b".to_owned())];
            let data = if query.contains("bad") {
                Data::Vector(Vec::new())
            } else if query.starts_with("topk") {
                Data::Vector(vec![Series {
                    metric: metric.into(),
                    value: Some(Point {
                        time_seconds: 0.0,
                        value: 4.0,
                    }),
                    histogram: None,
                }])
            } else {
                let times = vec![0.0, 10.0, 20.4, 30.0, 50.0, 60.0];
                Data::Matrix(vec![Samples {
                    times,
                    ..Samples::default()
                }])
            };
            Ok(QueryResult {
                data,
                infos: Vec::new(),
            })
        }
    }

    #[tokio::test]
    async fn the_interval_is_the_median_of_one_series() {
        let source = Slow::default();
        let query = Query::parse(r#"sum(rate(bad{code="500"}[1m])) / sum(rate(all[1m]))"#);
        let query = query.expect("a query");
        let interval = scrape_interval(&source, &query, Timestamp::UNIX_EPOCH).await;
        assert_eq!(interval, Some(SignedDuration::from_secs(10)));
        let asked = source.0.lock().expect("queries");
        assert!(
            asked.iter().any(|query| query == r#"all{pod="a\"b"}[11m]"#),
            "{asked:?}"
        );
    }

    #[test]
    fn one_sample_says_nothing() {
        assert_eq!(median_spacing(&[1.0]), None);
        assert_eq!(median_spacing(&[]), None);
    }
}
