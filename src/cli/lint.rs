//! `tidegate lint`: what is wrong with manifests, without a cluster.
//!
//! For the CI of a config repo: its exit code is the answer, and each finding has its file and line.
//!
//! ```text
//!  files ─▶ object ─▶ definition ─┬─▶ schema, metadata    what the API server refuses
//!                                 ├─▶ rules (CEL), weights
//!                                 └─▶ engine ─▶ queries   what Tidegate refuses, and what is perhaps not meant
//!           references                                    what is named, among all files
//!                        ─▶ finding ─▶ output
//! ```

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_api::names::GROUP;

mod definition;
mod engine;
pub(super) mod files;
mod finding;
mod kustomize;
mod metadata;
pub(super) mod object;
mod output;
mod places;
mod queries;
mod references;
pub(super) mod schema;
mod template;
#[cfg(test)]
mod tests;
mod weights;

pub use files::SourceFile;
pub use finding::{Check, Finding, Place, Severity};

use definition::Definitions;
use finding::Remark;
use object::{Object, Objects};
use references::Index;
use schema::Extent;

use crate::{cli, sync::manifest::yaml::YamlError};

/// Exit code where something could not be read.
const UNREADABLE: u8 = 2;

const TOO_LARGE: &str =
    "the file is larger than the 4 MiB that Tidegate reads, and is skipped: split it";

const HELM: &str = "this is a Helm template, not plain YAML, and is skipped: lint what `helm template` prints, with \
     `tidegate lint -`";

/// Arguments of `tidegate lint`.
#[derive(Args, Debug)]
pub struct LintArgs {
    /// Files, folders (all YAML and JSON files in them), or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Take warnings for errors: exit 1 for them, too
    #[arg(long)]
    strict: bool,
}

/// Output format.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Output {
    /// A line for each finding
    #[default]
    Text,
    /// Findings as JSON
    Json,
    /// Annotations for GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// Findings in some files.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Findings, in the order of the files.
    pub findings: Vec<Finding>,
    /// Number of the files.
    pub files: usize,
    /// Number of the objects of `tidegate.io` in them.
    pub objects: usize,
}

/// A file, as far as it could be read.
struct Read<'f> {
    file: &'f SourceFile,
    objects: Objects,
    extent: Extent,
}

/// Prints the findings; exits with 0 if there are none but warnings, 1 if there are, 2 if something could not be
/// read.
pub(super) fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let read = files::read(&args.paths);
    let report = lint(&read.files);
    match args.output {
        Output::Text => output::text::print(&report)?,
        Output::Json => cli::output::print(&output::json(&report))?,
        Output::Github => cli::output::print(&output::github::annotations(&report.findings))?,
        Output::Sarif => cli::output::print(&output::sarif::log(&report.findings))?,
    }
    for unreadable in &read.unreadable {
        eprintln!("tidegate: {unreadable}");
    }
    eprintln!("{}", report.summary());
    if !read.unreadable.is_empty() {
        return Ok(ExitCode::from(UNREADABLE));
    }
    if report.fails(args.strict) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the findings in some files.
pub fn lint(files: &[SourceFile]) -> Report {
    let definitions = Definitions::new();
    let mut report = Report {
        files: files.len(),
        ..Report::default()
    };
    let mut index = Index::default();
    let mut read = Vec::new();
    for file in files {
        match Read::of(file) {
            Ok(file) => read.push(file),
            Err(finding) => {
                index.is_partial();
                report.findings.extend(finding);
            }
        }
    }
    find_patches(&mut read);
    for file in &read {
        file.add_to(&mut index);
    }
    for file in &read {
        let findings = file.findings(&definitions, &mut index);
        report.objects += file.ours().count();
        report.findings.extend(findings);
    }
    report
        .findings
        .sort_by(|one, other| (&one.file, one.place).cmp(&(&other.file, other.place)));
    report
}

/// Finds the files that a kustomization takes for patches.
fn find_patches(read: &mut [Read<'_>]) {
    let mut patches = BTreeSet::new();
    for file in read
        .iter()
        .filter(|file| kustomize::is_kustomization(&file.file.path))
    {
        for object in &file.objects.objects {
            patches.extend(kustomize::patches(&file.file.path, &object.value));
        }
    }
    for file in read {
        if patches.contains(&file.file.path) {
            file.extent = Extent::Part;
        }
    }
}

/// Returns the finding for a file that is not plain YAML. One that has nothing of ours may be of another tool.
fn not_yaml(file: &SourceFile, error: &YamlError) -> Option<Finding> {
    let text = String::from_utf8_lossy(&file.bytes);
    let names_us = text.contains(GROUP);
    let (line, check, message) = match template::first_action(&text) {
        Some(line) if names_us => (line, Check::Skipped, HELM.to_owned()),
        None if names_us => (error.line, Check::InvalidYaml, error.reason.clone()),
        None if !file.is_json() => {
            let reason = &error.reason;
            let message = format!(
                "{reason}; the file is skipped, and a ConfigRepo that has it in its path is refused"
            );
            (error.line, Check::Skipped, message)
        }
        Some(_) | None => return None,
    };
    let remark = Remark::new("", check, message);
    Some(finding(file, Place::line(line), None, remark))
}

fn finding(file: &SourceFile, place: Place, object: Option<&Object>, remark: Remark) -> Finding {
    let Remark {
        field,
        check,
        message,
    } = remark;
    Finding {
        file: file.path.clone(),
        place,
        object: object.map(Object::title),
        field: if field.is_empty() { None } else { Some(field) },
        check,
        severity: check.severity(),
        message,
    }
}

// === impl Report ===

impl Report {
    /// Returns true if the findings are a failure.
    fn fails(&self, strict: bool) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| strict || finding.severity == Severity::Error)
    }

    fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Describes the findings in a line.
    fn summary(&self) -> String {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        format!(
            "{} of {GROUP} in {}: {}, {}",
            counted(self.objects, "object"),
            counted(self.files, "file"),
            counted(errors, "error"),
            counted(warnings, "warning"),
        )
    }
}

fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

// === impl Read ===

impl<'f> Read<'f> {
    /// Reads a file; without objects, fails with what there is to say of it.
    fn of(file: &'f SourceFile) -> Result<Self, Option<Finding>> {
        if file.is_too_large() {
            let remark = Remark::new("", Check::Skipped, TOO_LARGE);
            return Err(Some(finding(file, Place::line(1), None, remark)));
        }
        let objects = Objects::read(&file.bytes).map_err(|error| not_yaml(file, &error))?;
        Ok(Self {
            file,
            objects,
            extent: Extent::Whole,
        })
    }

    /// The objects of our group.
    fn ours(&self) -> impl Iterator<Item = &Object> {
        let objects = self.objects.objects.iter();
        objects.filter(|object| object.group() == GROUP)
    }

    fn add_to(&self, index: &mut Index) {
        if kustomize::is_kustomization(&self.file.path) {
            index.is_partial();
        }
        if self.extent == Extent::Whole {
            for object in &self.objects.objects {
                index.add(object);
            }
        }
    }

    fn findings(&self, definitions: &Definitions, index: &mut Index) -> Vec<Finding> {
        let (folder, _) = self.file.path.rsplit_once('/').unwrap_or_default();
        let mut findings = Vec::new();
        for object in self.ours() {
            let mut remarks = definitions.check(&object.value, self.extent);
            if self.extent == Extent::Whole {
                let place = self
                    .objects
                    .place(object, &Remark::new("", Check::DuplicateObject, ""));
                let place = format!("{}:{}", self.file.path, place.line);
                remarks.extend(index.check(object, folder, &place));
            }
            findings.extend(remarks.into_iter().map(|remark| {
                finding(
                    self.file,
                    self.objects.place(object, &remark),
                    Some(object),
                    remark,
                )
            }));
        }
        findings
    }
}
