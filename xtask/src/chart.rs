//! `cargo xtask chart`: the Helm chart, linted and rendered by Helm itself.
//!
//! Owns the cases, each a file of values. The objects that come out are read by the harness, which
//! knows the kinds of the API server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{cache::Cache, shell, test, tools};

const CHART: &str = "charts/tidegate";

/// Folder of the cases, beside the chart so that no release ships them.
const CASES: &str = "charts/cases";

/// Prefix of the cases that the chart has to reject.
const REJECTED: &str = "rejected-";

/// Kubernetes that the chart is rendered for: the one of the end-to-end tests.
const KUBERNETES_VERSION: &str = "1.35.4";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    test::no_arguments("chart", arguments)?;
    let helm = Helm(tools::helm(&Cache::open()?)?);
    let folder = shell::built_programs()?.join("chart");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut rendered = Vec::new();
    for case in cases()? {
        let name = case.file_stem().unwrap_or_default().to_string_lossy();
        if name.starts_with(REJECTED) {
            helm.rejects(&case)?;
            continue;
        }
        helm.lint(&case)?;
        let file = folder.join(format!("{name}.yaml"));
        helm.render(&case, &file)?;
        rendered.push(file);
    }
    shell::run(
        shell::cargo()
            .args(["run", "--quiet", "--package", "tidegate-e2e", "--"])
            .arg("check-manifests")
            .args(&rendered),
    )
}

/// The files of the cases, in the order of their names.
fn cases() -> Result<Vec<PathBuf>> {
    let folder = shell::workspace().join(CASES);
    let unreadable = format!("{} cannot be read", folder.display());
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).context(unreadable.clone())? {
        cases.push(entry.context(unreadable.clone())?.path());
    }
    cases.sort();
    Ok(cases)
}

struct Helm(PathBuf);

// === impl Helm ===

impl Helm {
    fn lint(&self, values: &Path) -> Result<()> {
        shell::run(
            self.command()
                .args(["lint", "--strict", "--quiet", CHART, "--values"])
                .arg(values)
                .args(["--kube-version", KUBERNETES_VERSION]),
        )
    }

    fn render(&self, values: &Path, file: &Path) -> Result<()> {
        let manifests = shell::output_of(&mut self.template(values))?;
        fs::write(file, manifests).with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Fails where Helm takes these values; the first line of the file is a comment that says which
    /// words have to stand in the error.
    fn rejects(&self, values: &Path) -> Result<()> {
        let text = fs::read_to_string(values)
            .with_context(|| format!("{} cannot be read", values.display()))?;
        let wanted = text.lines().next().unwrap_or_default();
        let wanted = wanted.trim_start_matches("# ");
        match shell::output_of(&mut self.template(values)) {
            Ok(_) => bail!("Helm takes {}", values.display()),
            Err(error) if error.to_string().contains(wanted) => Ok(()),
            Err(error) => Err(error).context(format!("the error does not say `{wanted}`")),
        }
    }

    fn template(&self, values: &Path) -> Command {
        let mut command = self.command();
        command
            .args(["template", "tidegate", CHART, "--namespace", "tidegate"])
            .args(["--kube-version", KUBERNETES_VERSION])
            .arg("--values")
            .arg(values);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.current_dir(shell::workspace());
        command
    }
}
