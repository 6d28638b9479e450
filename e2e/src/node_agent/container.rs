//! A container as a process: which image is what, and what its process is told.

use std::{net::IpAddr, path::Path};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use kube::ResourceExt as _;

use crate::process::{ChildProcess, ProcessError, ProcessSpec};

/// Port of a container that declares none: Envoy has 8080 of every address.
const PORT: i32 = 9898;

/// Program that runs under an image's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// `tidegate.dev/demo-app`: the demo app; its tag is the version that it says it is.
    DemoApp,
    /// `tidegate.dev/broken`: nothing, and it never becomes ready.
    Broken,
    /// `tidegate.dev/crashing`: nothing, and it is reported to crash again and again.
    Crashing,
    /// `tidegate.dev/missing`: nothing, and it is reported to be missing in its registry.
    Missing,
    /// `tidegate.dev/idle` and any other: nothing, and that is running and ready.
    Idle,
}

/// A container that the agent has started.
#[derive(Debug)]
pub(super) struct RunningContainer {
    pub(super) container: Container,
    pub(super) image: Image,
    pub(super) process: Option<ChildProcess>,
    pub(super) started_at: Timestamp,
    pub(super) restarts: i32,
    pub(super) ready: bool,
}

// === impl Image ===

impl Image {
    pub(super) fn of(container: &Container) -> Self {
        match name_and_tag(image(container)).0 {
            "tidegate.dev/demo-app" => Self::DemoApp,
            "tidegate.dev/broken" => Self::Broken,
            "tidegate.dev/crashing" => Self::Crashing,
            "tidegate.dev/missing" => Self::Missing,
            _ => Self::Idle,
        }
    }
}

// === impl RunningContainer ===

impl RunningContainer {
    /// The container, with nothing running yet.
    pub(super) fn new(container: Container) -> Self {
        let image = Image::of(&container);
        Self {
            image,
            container,
            process: None,
            started_at: Timestamp::now(),
            restarts: 0,
            ready: image == Image::Idle,
        }
    }

    /// Starts what the image stands for.
    pub(super) fn start(
        &mut self,
        pod: &Pod,
        address: IpAddr,
        program: &Path,
        log_dir: &Path,
    ) -> Result<(), ProcessError> {
        self.started_at = Timestamp::now();
        if self.image == Image::DemoApp {
            let spec = process(&self.container, pod, address, program, log_dir);
            self.process = Some(spec.spawn()?);
        }
        Ok(())
    }

    /// The URL that tells whether it is ready, of what can be asked.
    pub(super) fn readiness_url(&self, address: IpAddr) -> Option<String> {
        if self.image != Image::DemoApp {
            return None;
        }
        let path = self
            .container
            .readiness_probe
            .as_ref()
            .and_then(|probe| probe.http_get.as_ref()?.path.as_deref())
            .unwrap_or("/readyz");
        Some(format!("http://{address}:{}{path}", port(&self.container)))
    }
}

fn process(
    container: &Container,
    pod: &Pod,
    address: IpAddr,
    program: &Path,
    log_dir: &Path,
) -> ProcessSpec {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let log = log_dir.join(format!("{namespace}_{name}_{}.log", container.name));
    let mut spec = ProcessSpec::new(
        format!("{namespace}/{name}/{}", container.name),
        program,
        log,
    )
    .arg("demo-app")
    .clean_env()
    .leash()
    .env("EXIT_WITH_STDIN", "1")
    .env("POD_NAME", &name)
    .env("NAMESPACE", &namespace);
    if let Some(tag) = name_and_tag(image(container)).1 {
        spec = spec.env("VERSION", tag);
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value(variable, pod, address) {
            spec = spec.env(&variable.name, value);
        } else {
            tracing::warn!(
                pod = name,
                variable = variable.name,
                "cannot be resolved here"
            );
        }
    }
    spec.env("BIND", format!("{address}:{}", port(container)))
}

fn value(variable: &EnvVar, pod: &Pod, address: IpAddr) -> Option<String> {
    let Some(source) = &variable.value_from else {
        return Some(variable.value.clone().unwrap_or_default());
    };
    match source.field_ref.as_ref()?.field_path.as_str() {
        "metadata.name" => Some(pod.name_any()),
        "metadata.namespace" => pod.namespace(),
        "metadata.uid" => pod.uid(),
        "spec.nodeName" => pod.spec.as_ref()?.node_name.clone(),
        "status.podIP" => Some(address.to_string()),
        path => field_of_map(path, pod),
    }
}

/// `metadata.labels['KEY']` and `metadata.annotations['KEY']`.
fn field_of_map(path: &str, pod: &Pod) -> Option<String> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    let map = match map {
        "metadata.labels" => pod.labels(),
        "metadata.annotations" => pod.annotations(),
        _ => return None,
    };
    Some(map.get(key).cloned().unwrap_or_default())
}

fn port(container: &Container) -> i32 {
    let ports = container.ports.as_deref().unwrap_or_default();
    ports.first().map_or(PORT, |port| port.container_port)
}

pub(super) fn image(container: &Container) -> &str {
    container.image.as_deref().unwrap_or_default()
}

/// `name:tag@digest` as its name and its tag. (A colon before a slash is a registry's port.)
pub(super) fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}
