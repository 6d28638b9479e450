//! What is built from Go modules: the control plane, Contour and Prometheus.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::{Cache, fingerprint},
    progress::step,
    shell::{find_program, output_of, workspace},
};

const CONTOUR_MODULE: &str = "github.com/projectcontour/contour";
const CONTOUR_VERSION: &str = "v1.33.8";
/// The files of the module that hold the CRDs which this Contour wants: Gateway API's
/// experimental ones (it watches `TCPRoute`s) and its own.
const CONTOUR_CRDS: [(&str, &str); 2] = [
    ("examples/gateway/00-crds.yaml", "gateway-api.yaml"),
    ("examples/contour/01-crds.yaml", "contour.yaml"),
];

const PROMETHEUS_MODULE: &str = "github.com/prometheus/prometheus";
/// Prometheus 3.16, as its Go module counts.
const PROMETHEUS_VERSION: &str = "v0.316.0";
/// Of the ways to find targets only Kubernetes': the others are most of the build.
const PROMETHEUS_TAGS: &str = "remove_all_sd,enable_kubernetes_sd";

const KUBERNETES_VERSION: &str = "v1.35.4";
/// The sources that say what the control plane's program is.
const CONTROL_PLANE_SOURCES: [&str; 3] = ["main.go", "go.mod", "go.sum"];

/// The control plane: the answer is its program.
pub(super) fn control_plane(cache: &Cache) -> Result<PathBuf> {
    let sources = workspace().join("e2e/cluster");
    // kubectl refuses a server that cannot say its version.
    let flags =
        format!("-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}");
    let mut contents = vec![flags.clone().into_bytes()];
    for name in CONTROL_PLANE_SOURCES {
        let path = sources.join(name);
        let content =
            fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        contents.push(content);
    }
    let hash = fingerprint(contents.iter().map(Vec::as_slice));
    let key = format!("kubernetes-{KUBERNETES_VERSION}-{hash}");
    let entry = cache.entry(&key, |folder, log| {
        step(
            &format!("building etcd and Kubernetes {KUBERNETES_VERSION} (6 min on two cores)"),
            log,
            go()?
                .current_dir(&sources)
                .args(["build", "-trimpath", &flags, "-o"])
                .arg(folder.join("cluster"))
                .arg("."),
        )
    })?;
    Ok(entry.join("cluster"))
}

/// Contour: the answer is a folder with its program and its CRDs.
pub(super) fn contour(cache: &Cache) -> Result<PathBuf> {
    cache.entry(&format!("contour-{CONTOUR_VERSION}"), |folder, log| {
        let module = format!("{CONTOUR_MODULE}@{CONTOUR_VERSION}");
        step(
            &format!("building Contour {CONTOUR_VERSION} (3 min on two cores)"),
            log,
            go()?
                .env("GOBIN", folder)
                .args(["install", "-trimpath", "-ldflags=-s -w"])
                .arg(format!("{CONTOUR_MODULE}/cmd/contour@{CONTOUR_VERSION}")),
        )?;
        let source = output_of(
            go()?
                .current_dir(folder)
                .args(["list", "-m", "-f", "{{.Dir}}", &module]),
        )?;
        copy_crds(Path::new(&source), &folder.join("crds"))
    })
}

fn copy_crds(module: &Path, folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for (source, name) in CONTOUR_CRDS {
        let source = module.join(source);
        // Read and written, since the module cache's files are read-only and a copy would be too.
        fs::read(&source)
            .and_then(|content| fs::write(folder.join(name), content))
            .with_context(|| format!("{} cannot be copied", source.display()))?;
    }
    Ok(())
}

/// Prometheus: the answer is its program.
pub(super) fn prometheus(cache: &Cache) -> Result<PathBuf> {
    let key = format!("prometheus-{PROMETHEUS_VERSION}");
    let entry = cache.entry(&key, |folder, log| {
        step(
            &format!("building Prometheus {PROMETHEUS_VERSION} (3 min on two cores)"),
            log,
            go()?
                .env("GOBIN", folder)
                .args(["install", "-trimpath", "-ldflags=-s -w", "-tags"])
                .arg(PROMETHEUS_TAGS)
                .arg(format!(
                    "{PROMETHEUS_MODULE}/cmd/prometheus@{PROMETHEUS_VERSION}"
                )),
        )
    })?;
    Ok(entry.join("prometheus"))
}

/// The Go command, building programs that need no C library.
fn go() -> Result<Command> {
    if find_program("go").is_none() {
        bail!("Go 1.26 or newer is missing: see https://go.dev/doc/install");
    }
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").env_remove("GOBIN");
    Ok(command)
}
