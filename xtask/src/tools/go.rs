//! The Go command, and what it builds and downloads for several parts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    cache::Cache,
    progress::{Meter, metered_step, step},
    shell::{find_program, output_of},
};

/// A program that `go install` builds from a module.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) module: &'static str,
    pub(super) version: &'static str,
    /// The folder of the program in the module.
    pub(super) package: &'static str,
    /// Build tags, by commas.
    pub(super) tags: &'static str,
    /// Number of packages that are compiled from cold.
    pub(super) packages: usize,
    /// Duration from cold, for a reader.
    pub(super) takes: &'static str,
}

/// Flags of the compiler: no debug information and no inlining, by which it takes a third less time.
///
/// These programs wait for the network most of their time.
pub(super) const COMPILER_FLAGS: &str = "-gcflags=all=-dwarf=false -l";

/// The Go command, building programs that need no C library.
pub(super) fn go() -> Result<Command> {
    if find_program("go").is_none() {
        bail!("Go 1.26 or newer is missing: see https://go.dev/doc/install");
    }
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").env_remove("GOBIN");
    Ok(command)
}

/// Meter of a `go` command with `-v`, which prints each package that it compiles.
pub(super) fn packages(total: usize) -> Meter {
    Meter {
        units: "packages",
        total,
        mark: "",
    }
}

/// Folder of a module in Go's module cache, into which it is downloaded where it is missing.
pub(super) fn module(
    cache: &Cache,
    module: &str,
    version: &str,
    scratch: &Path,
) -> Result<PathBuf> {
    let versioned = format!("{module}@{version}");
    step(
        &format!("downloading {versioned}"),
        &cache.log("go-mod-download"),
        go()?
            .current_dir(scratch)
            .args(["mod", "download", &versioned]),
    )?;
    let folder = output_of(
        go()?
            .current_dir(scratch)
            .args(["list", "-m", "-f", "{{.Dir}}", &versioned]),
    )?;
    Ok(folder.into())
}

/// Copies files of a module into a folder, which is made where it is missing.
pub(super) fn copy(module: &Path, files: &[(&str, &str)], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for (source, name) in files {
        let source = module.join(source);
        // Read and written, since the module cache's files are read-only and a copy would be too.
        fs::read(&source)
            .and_then(|content| fs::write(folder.join(name), content))
            .with_context(|| format!("{} cannot be copied", source.display()))?;
    }
    Ok(())
}

/// Copies those files of a module's folder that are `wanted` by their names into a folder, which is made
/// where it is missing.
pub(super) fn copy_those(from: &Path, wanted: impl Fn(&str) -> bool, folder: &Path) -> Result<()> {
    let unreadable = format!("{} cannot be read", from.display());
    let mut names = Vec::new();
    for entry in from.read_dir().context(unreadable.clone())? {
        let name = entry.context(unreadable.clone())?.file_name();
        names.extend(name.into_string().ok());
    }
    names.retain(|name| wanted(name));
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), name.as_str()))
        .collect();
    copy(from, &files, folder)
}

// === impl Program ===

impl Program {
    /// Builds the program where it is missing; returns its folder.
    ///
    /// `more` puts into the folder what else belongs there.
    pub(super) fn install(
        &self,
        cache: &Cache,
        more: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let Self {
            name,
            module,
            version,
            package,
            ..
        } = self;
        let key = format!("{}-{version}", name.to_lowercase());
        cache.entry(&key, |folder, log| {
            metered_step(
                &format!("building {name} {version} ({} on two cores)", self.takes),
                log,
                packages(self.packages),
                go()?
                    .env("GOBIN", folder)
                    .args([
                        "install",
                        "-v",
                        "-trimpath",
                        COMPILER_FLAGS,
                        "-ldflags=-s -w",
                    ])
                    .args(["-tags", self.tags])
                    .arg(format!("{module}/{package}@{version}")),
            )?;
            more(folder)
        })
    }
}
