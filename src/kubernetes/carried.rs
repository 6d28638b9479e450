//! Labels and annotations that an object takes over from the one that it stands beside, so that monitors
//! find it and policies admit it.

use std::collections::BTreeMap;

use kube::api::ObjectMeta;

/// Prefixes of the annotations that are taken over: they tell scrapers and data planes how to reach the
/// pods. Any other may be the mark of an applier, or an instruction (to make a DNS record, a load
/// balancer, a mirror) that is meant once.
const ANNOTATION_PREFIXES: [&str; 11] = [
    "prometheus.io/",
    "projectcontour.io/",
    "traefik.ingress.kubernetes.io/",
    "gateway.envoyproxy.io/",
    "konghq.com/",
    "nginx.org/",
    "haproxy.org/",
    "networking.istio.io/",
    "config.linkerd.io/",
    "service.cilium.io/",
    "service.kubernetes.io/topology-",
];

/// Prefix of the labels that describe an app: monitors find Services by them (most ServiceMonitors of
/// Helm charts by `app.kubernetes.io/instance`). Labels of other domains are instructions to their
/// controllers, or the marks of an applier.
const LABEL_PREFIX: &str = "app.kubernetes.io/";

/// Label by which appliers know what they manage.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Returns the labels of an object that stands beside stable's: what it takes over, and what is added.
pub(crate) fn labels(
    stable: &ObjectMeta,
    added: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut labels = taken_over(stable.labels.as_ref(), |key| {
        key.starts_with(LABEL_PREFIX) && key != MANAGED_BY_LABEL
    });
    labels.extend(added.clone());
    labels
}

/// Returns the annotations of such an object.
pub(crate) fn annotations(
    stable: &ObjectMeta,
    added: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut annotations = taken_over(stable.annotations.as_ref(), |key| {
        ANNOTATION_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix))
    });
    annotations.extend(added.clone());
    annotations
}

/// Entries without a domain, and those of the domains that are known.
fn taken_over(
    entries: Option<&BTreeMap<String, String>>,
    is_known: impl Fn(&str) -> bool,
) -> BTreeMap<String, String> {
    let mut taken = entries.cloned().unwrap_or_default();
    taken.retain(|key, _| !key.contains('/') || is_known(key));
    taken
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_marks_of_appliers_and_instructions_stay_behind() {
        let stable: ObjectMeta = serde_json::from_value(json!({
            "labels": {
                "team": "web",
                "app.kubernetes.io/instance": "shop",
                "app.kubernetes.io/managed-by": "Helm",
                "kustomize.toolkit.fluxcd.io/name": "apps",
                "mirror.linkerd.io/exported": "true",
            },
            "annotations": {
                "owner": "web@example.com",
                "prometheus.io/scrape": "true",
                "meta.helm.sh/release-name": "shop",
                "external-dns.alpha.kubernetes.io/hostname": "shop.example.com",
            },
        }))
        .expect("metadata");
        let added = BTreeMap::from([("example.com/cost-center".to_owned(), "42".to_owned())]);
        assert_eq!(
            json!(labels(&stable, &added)),
            json!({
                "team": "web",
                "app.kubernetes.io/instance": "shop",
                "example.com/cost-center": "42",
            })
        );
        assert_eq!(
            json!(annotations(&stable, &added)),
            json!({
                "owner": "web@example.com",
                "prometheus.io/scrape": "true",
                "example.com/cost-center": "42",
            })
        );
    }
}
