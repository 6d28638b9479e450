//! Readings and scrapes: how often there is something to read.

use super::*;

/// A Prometheus whose scrapes are this many seconds apart, whatever it was said to have.
fn scraping_every(seconds: f64) -> Scripted {
    Scripted {
        spacing: Arc::new(Mutex::new(Some(seconds))),
        ..Scripted::default()
    }
}

#[tokio::test(start_paused = true)]
async fn the_scrape_interval_is_learned_from_stable_and_not_taken_from_the_settings() {
    for (query, first) in [("sum(x)", 20), ("sum(rate(x[{{window}}]))", 64)] {
        let prometheus = scraping_every(20.0);
        let mut scenario = Scenario::start_with(prometheus, vec![gate(query)], confirmed_at(0, 1));
        assert_eq!(scenario.times_after(1).await, [first], "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn missing_samples_are_early_until_they_must_have_come() {
    for (prometheus, early) in [
        (scraping_every(5.0), [true, false, false]),
        // Not even stable has two samples.
        (Scripted::default(), [true, true, true]),
    ] {
        let gates = vec![gate("sum(x)")];
        let mut scenario = Scenario::start_with(prometheus, gates, confirmed_at(0, 1));
        scenario.times_after(3).await;
        let readings = scenario.sampler.readings();
        let found: Vec<_> = readings.iter().map(|reading| reading.early).collect();
        assert_eq!(found, early);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_is_read_at_its_end() {
    let mut input = confirmed_at(0, 1);
    input.step = Some(SampledStep {
        number: 1,
        since: at(0),
        until: at(22),
    });
    let mut scenario = Scenario::start(vec![gate("sum(x)")], input);
    assert_eq!(scenario.times_after(5).await, [5, 15, 22, 32, 42]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_new_is_not_read_again_within_a_scrape() {
    let prometheus = scraping_every(20.0);
    *prometheus.old.lock().expect("a state") = true;
    let gate = SampledGate {
        interval: SignedDuration::from_secs(1),
        ..gate("sum(x)")
    };
    let mut scenario = Scenario::start_with(prometheus, vec![gate], confirmed_at(0, 1));
    assert_eq!(scenario.times_after(3).await, [20, 40, 60]);
    *scenario.prometheus.old.lock().expect("a state") = false;
    // Where there is something new, four times a scrape.
    assert_eq!(scenario.times_after(3).await[3..], [65, 70, 75]);
}

#[tokio::test(start_paused = true)]
async fn stable_is_asked_where_the_canary_has_no_data() {
    for (query, silent) in [(r#"sum(x{t="{{track}}"})"#, true), ("sum(x)", false)] {
        let prometheus = Scripted::default();
        *prometheus.empty.lock().expect("a state") = true;
        let mut scenario = Scenario::start_with(prometheus, vec![gate(query)], confirmed_at(0, 1));
        scenario.times_after(1).await;
        assert_eq!(
            scenario.sampler.readings()[0].stable_silent,
            silent,
            "{query}"
        );
    }
}
