//! Repositories that are larger than they may be, and what is kept of those that are gone.

use std::{fs, sync::Arc};

use jiff::SignedDuration;
use serde_json::json;
use tidegate_api::NamespacedName;
use tidegate_git::Limits;

use super::{Bench, settled_bench, shop};

fn id() -> NamespacedName {
    NamespacedName::new("shop", "shop")
}

/// Number of clones.
fn clones(bench: &Bench) -> usize {
    fs::read_dir(bench.cache()).unwrap().count()
}

#[tokio::test]
async fn a_large_file_in_the_history_is_named_with_the_remedy_and_what_is_applied_stays() {
    let bench = Bench::within(Limits {
        object_bytes: 1024 * 1024,
        ..Limits::default()
    });
    bench.release(&shop("web:1")).await;
    let before = bench.api.get("deployments/web");
    fs::write(
        bench.repository().join("video.bin"),
        vec![0; 8 * 1024 * 1024],
    )
    .unwrap();
    bench.release(&shop("web:2")).await;
    let ready = bench.ready();
    assert!(ready.starts_with("QuotaExceeded: "), "{ready}");
    for words in [
        "8 MiB",
        "limit of 1 MiB",
        "--find-object",
        "--git-max-object",
    ] {
        assert!(ready.contains(words), "{ready}");
    }
    assert_eq!(bench.api.get("deployments/web"), before);
    bench.pass(SignedDuration::from_secs(30));
    bench.reconcile().await;
    assert!(bench.ready().starts_with("QuotaExceeded: "));
    assert_eq!(bench.api.get("deployments/web"), before);
}

#[tokio::test]
async fn a_folder_with_too_many_values_is_refused_until_it_is_smaller() {
    let bench = settled_bench().await;
    let many = vec!["1"; 201_000].join(",");
    bench
        .release(&format!("{}---\nvalues: [{many}]\n", shop("web:1")))
        .await;
    let ready = bench.ready();
    assert!(
        ready.starts_with("QuotaExceeded: prod/shop.yaml:"),
        "{ready}"
    );
    assert!(ready.contains("200000 nodes"), "{ready}");
    assert!(bench.api.get("deployments/web").is_some());
    let commit = bench.release(&shop("web:1")).await;
    assert!(bench.ready().contains(&commit[..10]), "{}", bench.ready());
}

#[tokio::test]
async fn all_that_is_kept_of_a_deleted_config_repo_goes_with_it() {
    let bench = settled_bench().await;
    assert_eq!(clones(&bench), 1);
    let manifests = Arc::downgrade(&bench.context.kept_manifests(&id()).await);
    assert!(manifests.upgrade().is_some());
    bench.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
    });
    bench.reconcile().await;
    assert_eq!(clones(&bench), 0);
    assert!(manifests.upgrade().is_none(), "it is not kept in memory");
}

#[tokio::test]
async fn a_look_that_is_under_way_ends_with_its_config_repo() {
    let bench = Bench::new();
    bench.commit(&shop("web:1"));
    bench.reconcile_once().await;
    bench.context.forget(&id());
    let gone = async {
        while bench.cache().exists() && clones(&bench) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), gone)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_clone_of_another_url_goes_when_the_spec_names_a_new_one() {
    let bench = settled_bench().await;
    let other = bench.repository().with_extension("new");
    fs::rename(bench.repository(), &other).unwrap();
    bench.api.edit("configrepos/shop", |repo| {
        repo["metadata"]["generation"] = json!(2);
        repo["spec"]["url"] = json!(format!("file://{}", other.display()));
    });
    bench.reconcile().await;
    assert!(bench.ready().starts_with("Applied"), "{}", bench.ready());
    assert_eq!(clones(&bench), 1);
}
