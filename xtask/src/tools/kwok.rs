//! kwok, which makes fake pods.

use std::path::PathBuf;

use anyhow::Result;

use super::go;
use crate::cache::Cache;

const PROGRAM: go::Program = go::Program {
    name: "kwok",
    module: "sigs.k8s.io/kwok",
    version: "v0.8.0",
    package: "cmd/kwok",
    tags: "",
    packages: 400,
    takes: "1 min",
};

/// The files of the module that say how a Node, and a pod that is bound to it, becomes ready and goes.
const STAGES: [(&str, &str); 3] = [
    (
        "kustomize/stage/node/fast/node-initialize.yaml",
        "node.yaml",
    ),
    ("kustomize/stage/pod/fast/pod-ready.yaml", "pod-ready.yaml"),
    (
        "kustomize/stage/pod/fast/pod-delete.yaml",
        "pod-delete.yaml",
    ),
];

/// Builds kwok where it is missing.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let folder = PROGRAM.install(cache, |folder| {
        let module = go::module(cache, PROGRAM.module, PROGRAM.version, folder)?;
        go::copy(&module, &STAGES, &folder.join("stages"))
    })?;
    Ok(vec![
        ("TIDEGATE_E2E_KWOK", folder.join("kwok")),
        ("TIDEGATE_E2E_KWOK_STAGES", folder.join("stages")),
    ])
}
