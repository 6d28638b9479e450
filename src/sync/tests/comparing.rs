//! Comparison of what is applied with what is there.

use jiff::SignedDuration;
use serde_json::json;

use super::{Bench, settled_bench, shop};

/// Requests of each reconcile in ten minutes.
async fn ten_minutes(bench: &Bench) -> Vec<Vec<String>> {
    let mut requests = Vec::new();
    for _ in 0..20 {
        bench.pass(SignedDuration::from_secs(30));
        bench.reconcile().await;
        requests.push(bench.requests());
    }
    requests
}

#[tokio::test]
async fn what_nobody_has_changed_is_not_applied_again_and_each_object_is_looked_at_at_its_own_time()
{
    let bench = settled_bench().await;
    let maps = (0..20)
        .map(|map| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map-{map}}}\n"))
        .collect::<Vec<_>>()
        .concat();
    bench.release(&format!("{}{maps}", shop("web:1"))).await;
    bench.requests();
    for _ in 0..2 {
        let requests = ten_minutes(&bench).await;
        let all = requests.concat();
        assert_eq!(all.len(), 21, "watches show all but ConfigMaps: {all:?}");
        assert!(
            all.iter()
                .all(|request| request.starts_with("GET configmaps/"))
        );
        let most = requests.iter().map(Vec::len).max();
        assert!(most < Some(7), "they are spread: {requests:?}");
    }
}

#[tokio::test]
async fn what_somebody_has_changed_is_corrected_though_a_watch_shows_it() {
    let bench = settled_bench().await;
    bench.api.edit("services/web", |service| {
        service["spec"]["ports"][0]["port"] = json!(81);
    });
    let requests = ten_minutes(&bench).await.concat();
    let writes: Vec<_> = requests
        .iter()
        .filter(|request| request.starts_with("PATCH"))
        .collect();
    assert!(
        writes.len() == 1 && writes[0].starts_with("PATCH services/web "),
        "{requests:?}"
    );
    let service = bench.api.get("services/web").unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 80);
}

#[tokio::test]
async fn a_change_of_the_spec_applies_nothing_that_is_applied() {
    let bench = settled_bench().await;
    bench.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2);
        repo["spec"]["interval"] = json!("1m");
    });
    bench.reconcile().await;
    assert_eq!(bench.requests(), Vec::<String>::new());
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
    let status = bench.api.get("configrepos/shop").unwrap()["status"].take();
    assert_eq!(status["observedGeneration"], 2);
}

#[tokio::test]
async fn another_account_has_to_show_its_rights() {
    let bench = settled_bench().await;
    bench.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2);
        repo["spec"]["sync"]["serviceAccountName"] = json!("other");
    });
    bench.reconcile().await;
    let writes = bench.writes();
    let account = "as system:serviceaccount:shop:other";
    assert!(
        writes
            .iter()
            .any(|write| write.starts_with("PATCH configmaps/") && write.ends_with(account)),
        "{writes:?}"
    );
}
