//! etcd and the Kubernetes control plane: the program of `e2e/cluster`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::go;
use crate::{
    cache::{Cache, fingerprint},
    progress::metered_step,
    shell::workspace,
};

const KUBERNETES_VERSION: &str = "v1.35.4";

/// Files that make the program what it is.
const SOURCES: [&str; 3] = ["main.go", "go.mod", "go.sum"];

/// Number of packages that are compiled from cold.
const PACKAGES: usize = 2480;

/// Builds the control plane where it is missing; returns its program.
pub(super) fn program(cache: &Cache) -> Result<PathBuf> {
    let sources = workspace().join("e2e/cluster");
    // kubectl refuses a server that cannot say its version.
    let flags =
        format!("-ldflags=-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}");
    let mut contents = vec![
        flags.clone().into_bytes(),
        go::COMPILER_FLAGS.as_bytes().to_vec(),
    ];
    for name in SOURCES {
        let path = sources.join(name);
        let content =
            fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        contents.push(content);
    }
    let hash = fingerprint(contents.iter().map(Vec::as_slice));
    let key = format!("kubernetes-{KUBERNETES_VERSION}-{hash}");
    let entry = cache.entry(&key, |folder, log| {
        metered_step(
            &format!("building etcd and Kubernetes {KUBERNETES_VERSION} (6 min on two cores)"),
            log,
            go::packages(PACKAGES),
            go::go()?
                .current_dir(&sources)
                .args(["build", "-v", "-trimpath", go::COMPILER_FLAGS, &flags, "-o"])
                .arg(folder.join("cluster"))
                .arg("."),
        )
    })?;
    Ok(entry.join("cluster"))
}
