//! Jobs run once per spec.

use jiff::SignedDuration;
use serde_json::json;

use super::{Bench, shop};

fn with_job(image: &str, annotations: &str) -> String {
    let job = format!(
        "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: migrate, annotations: {{{annotations}}}}}\n\
         spec: {{template: {{spec: {{containers: [{{name: migrate, image: {image}}}]}}}}}}\n"
    );
    format!("{}{job}", shop("web:1"))
}

fn image(bench: &Bench) -> serde_json::Value {
    bench.api.get("jobs/migrate").unwrap()["spec"]["template"]["spec"]["containers"][0]["image"]
        .take()
}

#[tokio::test]
async fn a_job_that_has_run_and_is_gone_is_not_made_again() {
    let bench = Bench::new();
    bench.release(&with_job("migrate:1", "")).await;
    assert_eq!(image(&bench), "migrate:1");
    bench.api.delete("jobs/migrate");
    bench.context.forget_all();
    bench.pass(SignedDuration::from_hours(1));
    bench.reconcile().await;
    assert_eq!(bench.api.get("jobs/migrate"), None, "after a restart");
    bench.release(&with_job("migrate:1", "a: b")).await;
    assert_eq!(bench.api.get("jobs/migrate"), None, "another annotation");
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    bench.release(&with_job("migrate:2", "")).await;
    assert_eq!(image(&bench), "migrate:2");
}

#[tokio::test]
async fn a_changed_job_is_told_what_to_do_and_is_replaced_where_it_says_so() {
    let immutable = "spec.template: Invalid value: core.PodTemplateSpec{…}: field is immutable";
    let bench = Bench::new();
    bench.release(&with_job("migrate:1", "")).await;
    bench.api.fail("PATCH jobs/migrate", 422, immutable);
    bench.release(&with_job("migrate:2", "")).await;
    let ready = bench.ready();
    assert!(
        ready.contains("Job/migrate: the template of a Job cannot be changed: give the changed Job another name"),
        "{ready}"
    );
    assert!(!ready.contains("PodTemplateSpec"), "{ready}");
    assert_eq!(image(&bench), "migrate:1");

    bench.api.fail("PATCH jobs/migrate", 422, immutable);
    bench.requests();
    bench
        .release(&with_job("migrate:2", "tidegate.io/replace: Allowed"))
        .await;
    let account = " as system:serviceaccount:shop:deployer";
    let writes = bench.writes();
    assert!(
        writes.contains(&format!("DELETE jobs/migrate{account}")),
        "{writes:?}"
    );
    assert_eq!(image(&bench), "migrate:2");
    assert!(bench.ready().starts_with("Applied: "), "{}", bench.ready());
    let jobs = bench.api.get("configrepos/shop").unwrap()["status"]["jobs"].take();
    assert_eq!(jobs[0]["name"], json!("migrate"));
}

#[tokio::test]
async fn a_job_is_not_replaced_for_another_refusal() {
    let bench = Bench::new();
    let allowed = "tidegate.io/replace: Allowed";
    bench.release(&with_job("migrate:1", allowed)).await;
    bench.api.fail("PATCH jobs/migrate", 422, "no such field");
    bench.release(&with_job("migrate:2", allowed)).await;
    assert_eq!(image(&bench), "migrate:1");
    assert!(bench.ready().contains("no such field"), "{}", bench.ready());
}
