#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use k8s_openapi::api::core::v1::Container;
use serde_json::json;

use super::{
    container::{Image, RunningContainer, name_and_tag},
    status::{self, Transitions},
    *,
};

fn container(image: &str) -> Container {
    serde_json::from_value(json!({ "name": "app", "image": image })).unwrap()
}

#[test]
fn images_are_told_by_their_names() {
    for (image, kind) in [
        ("tidegate.dev/demo-app:v1", Image::DemoApp),
        ("tidegate.dev/demo-app@sha256:00", Image::DemoApp),
        ("tidegate.dev/broken:v2", Image::Broken),
        ("tidegate.dev/idle", Image::Idle),
        ("registry:5000/anything", Image::Idle),
    ] {
        assert_eq!(Image::of(&container(image)), kind, "{image}");
    }
}

#[test]
fn a_tag_is_not_a_port() {
    assert_eq!(name_and_tag("a/b:v1"), ("a/b", Some("v1")));
    assert_eq!(name_and_tag("a/b:v1@sha256:00"), ("a/b", Some("v1")));
    assert_eq!(name_and_tag("host:5000/b"), ("host:5000/b", None));
}

#[test]
fn a_broken_container_keeps_its_pod_unready() {
    let address = "10.244.1.0".parse().unwrap();
    let spec = NodeAgentSpec::new("/bin/true", "/tmp");
    let broken = RunningContainer::new(container("tidegate.dev/broken:v1"));
    let idle = RunningContainer::new(container("tidegate.dev/idle:v1"));
    assert!(!broken.ready && idle.ready);
    let transitions = Transitions::new(jiff::Timestamp::UNIX_EPOCH);
    let patch = status::patch(
        &Pod::default(),
        &spec,
        address,
        &[&broken, &idle],
        &transitions,
    );
    let status = &patch["status"];
    assert_eq!(status["podIP"], "10.244.1.0");
    assert_eq!(status["containerStatuses"][0]["ready"], false);
    assert_eq!(status["containerStatuses"][1]["ready"], true);
    let conditions = status["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["status"], "False");
    assert_eq!(ready["lastTransitionTime"], "1970-01-01T00:00:00Z");
}
