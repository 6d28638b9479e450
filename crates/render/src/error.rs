//! Errors of rendering. Each says where in the repository its cause is, and what to write instead.
//!
//! No value of a file is repeated but paths: a URL may contain a password, an object may be a Secret.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::tree::TreeError;

/// A place in the repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, or the folder, from the root of the repository.
    pub file: String,
    /// The line, from 1, if it is known.
    pub line: Option<usize>,
}

/// A folder that could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// Something in the repository is not rendered.
    #[error("{place}: {problem}")]
    Rejected {
        /// Place of the problem.
        place: Place,
        /// The problem, with its remedy.
        problem: Problem,
    },
    /// The program rejects what the repository says.
    #[error("{place}: {program} cannot render this: {said}")]
    Failed {
        /// The place that the program names, or the nearest to it.
        place: Place,
        /// Name of the program.
        program: &'static str,
        /// Its words.
        said: String,
    },
    /// The program did not finish in time, and was killed.
    #[error("{folder}: {program} did not finish within {}s; render less in one folder", .deadline.as_secs_f64())]
    TooSlow {
        /// The folder that was to be rendered.
        folder: String,
        /// Name of the program.
        program: &'static str,
        /// The limit.
        deadline: Duration,
    },
    /// The program needed more memory than it may take.
    #[error("{folder}: {program} needs more than {} MiB of memory; render less in one folder", .limit / MIB)]
    OutOfMemory {
        /// The folder that was to be rendered.
        folder: String,
        /// Name of the program.
        program: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The program wrote more than is read. It was killed.
    #[error("{folder}: {program} writes more than {} MiB; render less in one folder", .limit / MIB)]
    TooMuch {
        /// The folder that was to be rendered.
        folder: String,
        /// Name of the program.
        program: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The program is not there.
    #[error("`{}` is not installed: use the image, or an image that has it", .program.display())]
    NoProgram {
        /// The program as the settings name it.
        program: PathBuf,
    },
    /// The program could not be started, or its private folder not be written.
    #[error("cannot run {program}")]
    Run {
        /// Name of the program.
        program: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be read, though it may be there.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A reason for which something in the repository is not rendered, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error(
        "`{field}` names another server: nothing is fetched; copy its files into the repository and name their path"
    )]
    Remote { field: String },
    #[error("`{field}`: `{path}` is an absolute path; name it from the folder of this file")]
    Absolute { field: String, path: String },
    #[error("`{field}`: `{path}` leads out of the repository; move what it names into it")]
    Outside { field: String, path: String },
    #[error("`{field}`: `{path}` has a backslash; separate folders by `/`")]
    Backslash { field: String, path: String },
    #[error("`{field}`: there is no `{path}`; correct the path, or commit what it names")]
    Missing { field: String, path: String },
    #[error("`{field}`: `{path}` is a folder; name a file")]
    NotAFile { field: String, path: String },
    #[error("`{field}`: `{path}` is a file; name a folder that has a kustomization")]
    NotAFolder { field: String, path: String },
    #[error(
        "`{field}`: the folder `{path}` has no kustomization; name its files, or commit a kustomization.yaml there"
    )]
    NoKustomization { field: String, path: String },
    #[error("the folder has more than one kustomization: {}; keep one", .names.join(", "))]
    TwoKustomizations { names: Vec<String> },
    #[error("is a symbolic link, which is not followed; commit the file itself")]
    Symlink,
    #[error("is in a submodule, which is not read; copy its files into the repository")]
    Submodule,
    #[error("is a Git LFS pointer; commit the file itself")]
    LfsPointer,
    #[error("is no plain file; commit a file")]
    Special,
    #[error("is larger than the limit of {limit} bytes")]
    FileTooLarge { limit: u64 },
    #[error("the files that it needs exceed the limit of {limit} bytes in total")]
    TooLarge { limit: u64 },
    #[error("it needs more than {limit} files")]
    TooMany { limit: usize },
    #[error("`{field}`: the folder `{path}` leads back here; remove one of the references")]
    Cycle { field: String, path: String },
    #[error("folders refer to each other more than {limit} deep")]
    TooDeep { limit: usize },
    #[error("{reason}")]
    Yaml { reason: String },
    #[error("has {count} documents; a kustomization is one")]
    Documents { count: usize },
    #[error("is no mapping of fields")]
    NotAMapping,
    #[error("`{field}` is no field of a kustomization; {}", known_field(*.instead))]
    UnknownField {
        field: String,
        instead: Option<&'static str>,
    },
    #[error("`{field}` is read as a number or a boolean; put it in quotes")]
    NotText { field: String },
    #[error(
        "`{field}`: charts are not inflated by Kustomize; commit the output of `helm template`, or give the chart a folder and a ConfigRepo of its own"
    )]
    Helm { field: String },
    #[error(
        "`{field}` runs a program (a plugin of the kind `{kind}`), which is not done; use Kustomize's own fields"
    )]
    Plugin { field: String, kind: String },
    #[error("`{field}` runs a function, which is not done; use Kustomize's own fields")]
    Function { field: String },
    #[error("is used both to configure Kustomize and as content; use a copy for one of them")]
    TwoUses,
    #[error(
        "`{field}`: `{path}` is a folder, and its configuration could be changed on the way; name the files in it"
    )]
    PluginFolder { field: String, path: String },
    #[error(
        "the dependency `{name}` is not in the folder `charts/`: nothing is fetched; run `helm dependency build` and commit `charts/`"
    )]
    Dependency { name: String },
    #[error(
        "is a library chart, which renders to nothing; name the folder of a chart that uses it"
    )]
    Library,
    #[error(
        "`{keyword}` leads to another file or server, which is not read; put the definitions into this file"
    )]
    SchemaReference { keyword: &'static str },
    #[error(
        "is rendered to something else each time: a template uses a random value, a certificate or the time; set it in the values instead"
    )]
    Unsteady,
    #[error("the values file `{path}` is not in the repository; correct its path, or commit it")]
    NoValues { path: String },
    #[error(
        "is not the folder of a chart, which files of values are for; let spec.path name one that has a Chart.yaml, or remove spec.chart"
    )]
    NoChart,
}

const MIB: u64 = 1024 * 1024;

// === impl Place ===

impl Place {
    /// A file as a whole.
    pub(crate) fn of(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
        }
    }

    /// A line of a file.
    pub(crate) fn at(file: impl Into<String>, line: usize) -> Self {
        Self {
            file: file.into(),
            line: Some(line),
        }
    }

    /// This place, where something is wrong.
    pub(crate) fn rejected(self, problem: Problem) -> RenderError {
        RenderError::Rejected {
            place: self,
            problem,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line } = self;
        let file = if file.is_empty() { "." } else { file };
        match line {
            Some(line) => write!(f, "{file}:{line}"),
            None => f.write_str(file),
        }
    }
}

// === impl RenderError ===

impl RenderError {
    /// Returns true if the commit cannot be rendered, and another can.
    pub fn is_about_content(&self) -> bool {
        match self {
            Self::Rejected { .. }
            | Self::Failed { .. }
            | Self::TooSlow { .. }
            | Self::OutOfMemory { .. }
            | Self::TooMuch { .. } => true,
            Self::NoProgram { .. } | Self::Run { .. } | Self::Tree(_) => false,
        }
    }

    /// Returns true if the commit cannot be rendered at any time.
    pub fn is_final(&self) -> bool {
        self.is_about_content() && !self.is_transient()
    }

    /// Returns true if it may go away without a change in git. A machine that is loaded is slow, too.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::TooSlow { .. } | Self::Run { .. } | Self::Tree(_) => true,
            Self::Rejected { .. }
            | Self::Failed { .. }
            | Self::OutOfMemory { .. }
            | Self::TooMuch { .. }
            | Self::NoProgram { .. } => false,
        }
    }
}

fn known_field(instead: Option<&str>) -> String {
    match instead {
        Some(instead) => format!("write `{instead}`"),
        None => "remove it, or see Kustomize's reference for its name".to_owned(),
    }
}
