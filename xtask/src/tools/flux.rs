//! Flux: the controller that fetches what git holds, and the one that applies it.
//!
//! `go install` takes no module whose go.mod has a `replace`. So each is built from a small module of ours: its
//! own go.mod, without the `replace` that points into its folder, which requires the controller.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::go;
use crate::{cache::Cache, progress::metered_step, shell::output_of};

/// The newest whose modules are all served, and which Go 1.26 builds.
const VERSION: &str = "v1.9.6";

/// Part of the name of a CRD's file.
const CRD: &str = ".toolkit.fluxcd.io_";

/// A controller, which is the program of a module.
struct Controller {
    name: &'static str,
    module: &'static str,
    /// What its go.mod has to say beside, as `-replace` of `go mod edit` takes it.
    replace: &'static [&'static str],
    /// Number of packages that are downloaded and compiled from cold, source-controller first.
    packages: usize,
    /// Duration from cold, for a reader.
    takes: &'static str,
}

const SOURCE: Controller = Controller {
    name: "source-controller",
    module: "github.com/fluxcd/source-controller",
    // Not every module proxy has the version that its go.mod names.
    replace: &["github.com/fluxcd/pkg/artifact=github.com/fluxcd/pkg/artifact@v0.18.0"],
    packages: 2400,
    takes: "7 min",
};

const KUSTOMIZE: Controller = Controller {
    name: "kustomize-controller",
    module: "github.com/fluxcd/kustomize-controller",
    replace: &[],
    packages: 1200,
    takes: "4 min",
};

/// Builds both where they are missing.
pub(super) fn variables(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let flux = cache.entry(&format!("flux-{VERSION}"), |folder, _log| {
        for controller in [SOURCE, KUSTOMIZE] {
            controller.build(cache, folder)?;
        }
        Ok(())
    })?;
    Ok(vec![
        ("TIDEGATE_E2E_SOURCE_CONTROLLER", flux.join(SOURCE.name)),
        (
            "TIDEGATE_E2E_KUSTOMIZE_CONTROLLER",
            flux.join(KUSTOMIZE.name),
        ),
        ("TIDEGATE_E2E_FLUX_CRDS", flux.join("crds")),
    ])
}

// === impl Controller ===

impl Controller {
    /// Puts the program into a folder, and its CRDs into the folder `crds` there.
    fn build(&self, cache: &Cache, folder: &Path) -> Result<()> {
        let Self {
            name,
            module,
            packages,
            takes,
            ..
        } = self;
        let build = folder.join("build");
        fs::create_dir(&build).with_context(|| format!("{} cannot be made", build.display()))?;
        let source = go::module(cache, module, VERSION, &build)?;
        self.write_module(&source, &build)?;
        metered_step(
            &format!("building {name} {VERSION} ({takes} on two cores)"),
            &cache.log(name),
            go::packages(*packages),
            go::go()?
                .current_dir(&build)
                // It completes the go.sum by what the other go.mod needs.
                .args(["build", "-mod=mod", "-v", "-trimpath"])
                .args([go::COMPILER_FLAGS, "-ldflags=-s -w", "-o"])
                .arg(folder.join(name))
                .arg(module),
        )?;
        let crds = source.join("config/crd/bases");
        go::copy_those(&crds, |name| name.contains(CRD), &folder.join("crds"))?;
        fs::remove_dir_all(&build).with_context(|| format!("{} cannot be removed", build.display()))
    }

    /// Writes the go.mod and the go.sum of the module that it is built from.
    fn write_module(&self, source: &Path, build: &Path) -> Result<()> {
        let Self {
            module, replace, ..
        } = self;
        go::copy(source, &[("go.mod", "go.mod"), ("go.sum", "go.sum")], build)?;
        let edit = ["mod", "edit", "-module=flux"];
        output_of(
            go::go()?
                .current_dir(build)
                .args(edit)
                .arg(format!("-dropreplace={module}/api"))
                .arg(format!("-require={module}@{VERSION}"))
                .args(replace.iter().map(|replace| format!("-replace={replace}"))),
        )?;
        Ok(())
    }
}
