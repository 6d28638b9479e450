//! Runs of the programs that render.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    error::{Problem, RenderError},
    helm::{self, Chart},
    kustomize,
    output::{self, Rendered},
    process::{Call, Limits, Output, RunError},
    sources::{RendererKind, Sources},
    stage::Stage,
};

/// Settings of the programs, the same for every repository.
#[derive(Clone, Debug)]
pub struct RenderSettings {
    /// The program for overlays. Defaults to `kustomize`, found in `search_path`.
    pub kustomize: PathBuf,
    /// The program for charts. Defaults to `helm`, found in `search_path`.
    pub helm: PathBuf,
    /// Folders in which programs are found. Defaults to `/usr/local/bin:/usr/bin:/bin`.
    pub search_path: OsString,
    /// Maximum duration of a run. Defaults to 30s.
    pub deadline: Duration,
    /// Maximum memory of a run, in bytes. Defaults to 512 MiB.
    pub memory_bytes: u64,
    /// Maximum size of the output, in bytes. Defaults to 32 MiB.
    pub output_bytes: usize,
}

/// Renders folders of repositories.
#[derive(Clone, Debug)]
pub struct Renderer {
    settings: RenderSettings,
    /// Place for a run: each may take as much memory as the settings allow.
    runs: Arc<Semaphore>,
    /// Number of runs that have begun.
    begun: Arc<AtomicUsize>,
}

const KUSTOMIZE: &str = "kustomize";
const HELM: &str = "helm";

/// In place of a program's words where they may repeat what is in a Secret.
const WITHHELD: &str = "its words are withheld, since they may repeat the contents of a Secret; run it on the folder to see them";

/// Number of runs at a time, of all clones of a renderer.
const RUNS: usize = 1;

/// Maximum length of a program's words in an error, in bytes.
const SAID_BYTES: usize = 2_000;

// === impl RenderSettings ===

impl Default for RenderSettings {
    fn default() -> Self {
        Self {
            kustomize: KUSTOMIZE.into(),
            helm: HELM.into(),
            search_path: "/usr/local/bin:/usr/bin:/bin".into(),
            deadline: Duration::from_secs(30),
            memory_bytes: 512 * 1024 * 1024,
            output_bytes: 32 * 1024 * 1024,
        }
    }
}

impl RenderSettings {
    /// Returns the path of a program.
    fn find(&self, program: &Path) -> Result<PathBuf, RenderError> {
        let found = if program.components().count() > 1 {
            Some(program.to_owned()).filter(|path| is_program(path))
        } else {
            let mut paths =
                std::env::split_paths(&self.search_path).map(|folder| folder.join(program));
            paths.find(|path| is_program(path))
        };
        found.ok_or_else(|| RenderError::NoProgram {
            program: program.to_owned(),
        })
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

// === impl Renderer ===

impl Default for Renderer {
    fn default() -> Self {
        Self::new(RenderSettings::default())
    }
}

impl Renderer {
    /// A renderer with these settings.
    pub fn new(settings: RenderSettings) -> Self {
        Self {
            settings,
            runs: Arc::new(Semaphore::new(RUNS)),
            begun: Arc::default(),
        }
    }

    /// Returns the number of runs that have begun, those of all clones together.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    /// Renders a folder.
    ///
    /// Fails if the program rejects it, takes more than it may, or is not there.
    pub async fn render(&self, sources: &Sources) -> Result<Rendered, RenderError> {
        let (name, program) = match &sources.renderer {
            RendererKind::Kustomize { .. } => (KUSTOMIZE, &self.settings.kustomize),
            RendererKind::Helm(_) => (HELM, &self.settings.helm),
        };
        let program = self.settings.find(program)?;
        let text = self.run(sources, name, &program).await?;
        if let RendererKind::Helm(_) = sources.renderer {
            // A template that makes something up would be another release at every look.
            if self.run(sources, name, &program).await? != text {
                return Err(sources.place().rejected(Problem::Unsteady));
            }
        }
        output::read(&text, sources)
    }

    async fn run(
        &self,
        sources: &Sources,
        name: &'static str,
        program: &Path,
    ) -> Result<String, RenderError> {
        let failed = |source| RenderError::Run {
            program: name,
            source,
        };
        let _place = self.runs.acquire().await.expect("it is never closed");
        self.begun.fetch_add(1, Ordering::Relaxed);
        let stage = Stage::write(sources).map_err(failed)?;
        let call = Call {
            program,
            args: arguments(sources, &stage),
            folder: stage.path(),
            within: stage.tree(),
            has_home: matches!(sources.renderer, RendererKind::Helm(_)),
            limits: Limits {
                deadline: self.settings.deadline,
                memory_bytes: self.settings.memory_bytes,
                output_bytes: self.settings.output_bytes,
            },
        };
        let output = call
            .run()
            .await
            .map_err(|error| self.ended(error, sources, name))?;
        if output.is_out_of_memory() {
            return Err(RenderError::OutOfMemory {
                folder: sources.folder.clone(),
                program: name,
                limit: self.settings.memory_bytes,
            });
        }
        if !output.status.success() {
            return Err(said(&output, sources, &stage, name));
        }
        String::from_utf8(output.stdout).map_err(|error| failed(io::Error::other(error)))
    }

    fn ended(&self, error: RunError, sources: &Sources, program: &'static str) -> RenderError {
        let folder = sources.folder.clone();
        match error {
            RunError::Io(source) => RenderError::Run { program, source },
            RunError::TooSlow => RenderError::TooSlow {
                folder,
                program,
                deadline: self.settings.deadline,
            },
            RunError::TooMuch => RenderError::TooMuch {
                folder,
                program,
                limit: self.settings.output_bytes as u64,
            },
        }
    }
}

fn arguments(sources: &Sources, stage: &Stage) -> Vec<OsString> {
    let folder = stage.tree().join(&sources.folder);
    match &sources.renderer {
        RendererKind::Kustomize { reaches_out, .. } => {
            let restrictor = if *reaches_out {
                "--load-restrictor=LoadRestrictionsNone"
            } else {
                "--load-restrictor=LoadRestrictionsRootOnly"
            };
            vec![
                "build".into(),
                restrictor.into(),
                "--".into(),
                folder.into(),
            ]
        }
        RendererKind::Helm(chart) => chart_arguments(chart, stage, folder),
    }
}

fn chart_arguments(chart: &Chart, stage: &Stage, folder: PathBuf) -> Vec<OsString> {
    let Chart { name, options } = chart;
    let mut arguments: Vec<OsString> = vec![
        "template".into(),
        "--include-crds".into(),
        "--no-hooks".into(),
        "--skip-tests".into(),
        format!("--namespace={}", options.namespace).into(),
    ];
    if let Some(version) = &options.kube_version {
        arguments.push(format!("--kube-version={version}").into());
    }
    for index in 0..options.values.len() {
        let mut argument = OsString::from("--values=");
        argument.push(stage.values_file(index));
        arguments.push(argument);
    }
    let release = options.release.as_ref().unwrap_or(name);
    arguments.extend(["--".into(), release.into(), folder.into()]);
    arguments
}

/// Makes an error of a program's words.
fn said(output: &Output, sources: &Sources, stage: &Stage, program: &'static str) -> RenderError {
    let said = stage.without_paths(&output.stderr);
    let said = if sources.may_hold_secrets() {
        WITHHELD
    } else {
        said.trim()
    };
    let place = match &sources.renderer {
        RendererKind::Kustomize { folders, .. } => kustomize::said::place(said, sources, folders),
        RendererKind::Helm(chart) => helm::said::place(said, sources, &chart.name),
    };
    RenderError::Failed {
        place,
        program,
        said: shortened(said),
    }
}

/// Returns a program's words as one line that is not too long, without the word that says that it is an error.
fn shortened(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    // Advice on flags that nobody who reads it can set.
    let lines = lines.filter(|line| !line.starts_with("Use --debug"));
    let mut said = lines.collect::<Vec<_>>().join(" ");
    if let Some(rest) = said.strip_prefix("Error: ") {
        said = rest.to_owned();
    }
    if said.is_empty() {
        return "it ended without a word".to_owned();
    }
    if said.len() > SAID_BYTES {
        let end = said.floor_char_boundary(SAID_BYTES);
        said.truncate(end);
        said.push('…');
    }
    said
}
