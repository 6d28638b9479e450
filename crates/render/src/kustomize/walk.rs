//! All files that a kustomization needs, found by reading it and whatever it refers to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use tidegate_git::{FolderEntry, path::joined};

use super::{
    NAMES,
    fields::{self, Flaw, Found, Reference, Role, Target},
    reference::resolve,
};
use crate::{
    document::{self, Document, Field, Malformed, Step, line_at},
    error::{Place, Problem, RenderError},
    sources::{Reader, RendererKind, Sources, refusal},
    tree::{Entry, Tree, folder_of},
};

/// Maximum depth of folders that refer to each other.
const MAX_DEPTH: usize = 32;

/// Prefix of the names of files that stand for texts within a kustomization.
const INLINE: &str = "tidegate-inline";

/// A walk from one kustomization to all that it needs.
struct Walk<'t> {
    reader: Reader<'t>,
    beside: BTreeMap<String, Vec<u8>>,
    /// Folders that are being walked, the one that is rendered first.
    open: Vec<String>,
    /// Folders that have been walked or are.
    folders: Vec<String>,
    /// Files that are read as they are.
    plain: BTreeSet<String>,
    reaches_out: bool,
}

/// A kustomization's file.
struct Kustomization {
    folder: String,
    path: String,
    document: Document,
    /// What the program reads in its place.
    staged: Map<String, Value>,
    distance: usize,
}

/// Reads everything that the kustomization in a folder needs.
pub(crate) fn gather(tree: &dyn Tree, folder: &str) -> Result<Sources, RenderError> {
    let mut walk = Walk {
        reader: Reader::new(tree),
        beside: BTreeMap::new(),
        open: Vec::new(),
        folders: Vec::new(),
        plain: BTreeSet::new(),
        reaches_out: false,
    };
    let kustomization = walk.folder(folder, 0)?;
    walk.check_uses()?;
    let shows_origins = walk.show_origins(&kustomization);
    Ok(Sources {
        folder: folder.to_owned(),
        renderer: RendererKind::Kustomize {
            kustomization,
            reaches_out: walk.reaches_out,
            shows_origins,
            folders: walk.folders,
        },
        files: walk.reader.files,
        beside: walk.beside,
    })
}

/// Returns the path of the kustomization among the entries of a folder.
pub(super) fn kustomization_in(
    folder: &str,
    entries: &[FolderEntry],
) -> Result<Option<String>, RenderError> {
    let there = NAMES
        .iter()
        .filter(|known| entries.iter().any(|entry| entry.name == **known));
    let there: Vec<String> = there.map(|name| (*name).to_owned()).collect();
    match there.as_slice() {
        [] => Ok(None),
        [name] => Ok(Some(joined(folder, name))),
        _ => Err(Place::of(folder).rejected(Problem::TwoKustomizations { names: there })),
    }
}

/// Returns the only document of a kustomization.
pub(super) fn read(path: &str, bytes: &[u8]) -> Result<Document, RenderError> {
    let documents = document::documents(bytes).map_err(|error| malformed(path, error))?;
    let count = documents.len();
    let Ok([document]) = <[Document; 1]>::try_from(documents) else {
        return Err(Place::of(path).rejected(Problem::Documents { count }));
    };
    if !document.value.is_object() {
        return Err(Place::at(path, document.line).rejected(Problem::NotAMapping));
    }
    Ok(document)
}

fn malformed(path: &str, Malformed { line, reason }: Malformed) -> RenderError {
    Place::at(path, line).rejected(Problem::Yaml { reason })
}

// === impl Walk ===

impl Walk<'_> {
    /// Walks the kustomization of a folder; returns its path.
    fn folder(&mut self, folder: &str, distance: usize) -> Result<String, RenderError> {
        let entry = self.reader.tree.entry(folder)?;
        if let Some(problem) = refusal(&entry) {
            return Err(Place::of(folder).rejected(problem));
        }
        let path = match entry {
            Entry::Folder(entries) => kustomization_in(folder, &entries)?,
            _ => None,
        };
        let path = path.unwrap_or_else(|| joined(folder, NAMES[0]));
        if self.folders.iter().any(|known| known == folder) {
            return Ok(path);
        }
        self.folders.push(folder.to_owned());
        self.open.push(folder.to_owned());
        let bytes = self.read_file(&path, &Place::of(&*path), || NAMES[0].to_owned())?;
        let document = read(&path, &bytes)?;
        let staged = document.value.as_object().cloned().unwrap_or_default();
        self.reader.keep(&path, bytes, distance, Role::Settings)?;
        let mut kustomization = Kustomization {
            folder: folder.to_owned(),
            path,
            document,
            staged,
            distance,
        };
        self.references(&mut kustomization)?;
        let Kustomization { path, staged, .. } = kustomization;
        self.stage(&path, Value::Object(staged).to_string());
        self.open.pop();
        Ok(path)
    }

    fn references(&mut self, kustomization: &mut Kustomization) -> Result<(), RenderError> {
        let Found { references, flaw } = fields::of_kustomization(&kustomization.staged);
        if let Some(Flaw { steps, problem }) = flaw {
            return Err(self.place(kustomization, &steps).rejected(problem));
        }
        for reference in &references {
            self.follow(kustomization, reference)?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        kustomization: &mut Kustomization,
        reference: &Reference,
    ) -> Result<(), RenderError> {
        let Reference {
            steps,
            target,
            role,
        } = reference;
        let path = match target {
            Target::Inline(text) => return self.inline(kustomization, reference, text),
            Target::File(path) | Target::Folder(path) | Target::FileOrFolder(path) => path,
        };
        let here = self.place(kustomization, steps);
        let field = || Field(steps).to_string();
        let resolved = resolve(&kustomization.folder, path, field)
            .map_err(|problem| here.clone().rejected(problem))?;
        let entry = self.reader.tree.entry(&resolved)?;
        if let Some(problem) = misnamed(reference, &entry, path) {
            return Err(here.rejected(problem));
        }
        if let Entry::Folder(entries) = &entry {
            if kustomization_in(&resolved, entries)?.is_none() {
                let (field, path) = (field(), path.clone());
                return Err(here.rejected(Problem::NoKustomization { field, path }));
            }
            return self.nested(kustomization, &resolved, &here, field(), path.clone());
        }
        let bytes = file_in(entry, &resolved, &here, || (field(), path.clone()))?;
        self.file(kustomization, &resolved, bytes, *role)
    }

    fn nested(
        &mut self,
        kustomization: &Kustomization,
        folder: &str,
        here: &Place,
        field: String,
        path: String,
    ) -> Result<(), RenderError> {
        if self.open.iter().any(|open| open == folder) {
            return Err(here.clone().rejected(Problem::Cycle { field, path }));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(here.clone().rejected(Problem::TooDeep { limit: MAX_DEPTH }));
        }
        self.folder(folder, kustomization.distance + 1).map(drop)
    }

    fn file(
        &mut self,
        kustomization: &Kustomization,
        path: &str,
        bytes: Vec<u8>,
        role: Role,
    ) -> Result<(), RenderError> {
        let Kustomization {
            folder, distance, ..
        } = kustomization;
        self.reaches_out |= !folder.is_empty() && !path.starts_with(&format!("{folder}/"));
        self.reader.keep(path, bytes, *distance, role)?;
        if role == Role::Plugin {
            let bytes = self.reader.files[path].bytes.clone();
            let config = self.plugin(kustomization, path, &bytes, 0)?;
            self.stage(path, config);
        } else {
            self.plain.insert(path.to_owned());
        }
        Ok(())
    }

    /// Writes the text of a patch or a plugin's configuration that stands in the kustomization into a file beside it:
    /// as what it stands there the program decides by trying.
    fn inline(
        &mut self,
        kustomization: &mut Kustomization,
        reference: &Reference,
        text: &str,
    ) -> Result<(), RenderError> {
        let Reference { steps, role, .. } = reference;
        let text = match role {
            Role::Plugin => {
                let line = self.place(kustomization, steps).line.unwrap_or(1);
                let path = kustomization.path.clone();
                self.plugin(kustomization, &path, text.as_bytes(), line)?
            }
            Role::Settings | Role::Patch | Role::Data | Role::Manifest => text.to_owned(),
        };
        let name = format!("{INLINE}-{}.yaml", self.beside.len());
        self.beside
            .insert(joined(&kustomization.folder, &name), text.into_bytes());
        if let [Step::Key(field), Step::Index(index)] = steps.as_slice() {
            kustomization.staged[field][*index] = Value::String(name);
        }
        Ok(())
    }

    /// Checks the configuration of plugins; returns it as it was understood.
    ///
    /// `above` is the line at which the text stands in a file of its own.
    fn plugin(
        &mut self,
        kustomization: &Kustomization,
        path: &str,
        text: &[u8],
        above: usize,
    ) -> Result<String, RenderError> {
        let documents = document::documents(text).map_err(|mut error| {
            error.line += above;
            malformed(path, error)
        })?;
        let mut staged = String::new();
        for document in documents {
            let line = |steps: &[Step]| line_at(text, document.start_of(steps)) + above;
            let Found { references, flaw } = fields::of_plugin(&document.value);
            if let Some(Flaw { steps, problem }) = flaw {
                return Err(Place::at(path, line(&steps)).rejected(problem));
            }
            for Reference {
                steps,
                target,
                role,
            } in references
            {
                let (Target::File(named)
                | Target::Folder(named)
                | Target::FileOrFolder(named)
                | Target::Inline(named)) = target;
                let here = Place::at(path, line(&steps));
                let field = || Field(&steps).to_string();
                // The paths of a plugin are those of the kustomization, wherever its configuration lies.
                let resolved = resolve(&kustomization.folder, &named, field)
                    .map_err(|problem| here.clone().rejected(problem))?;
                let bytes = self.read_file(&resolved, &here, field)?;
                self.file(kustomization, &resolved, bytes, role)?;
            }
            staged.push_str(&document.value.to_string());
            staged.push_str("\n---\n");
        }
        Ok(staged)
    }

    fn read_file(
        &self,
        path: &str,
        here: &Place,
        field: impl Fn() -> String,
    ) -> Result<Vec<u8>, RenderError> {
        let entry = self.reader.tree.entry(path)?;
        file_in(entry, path, here, || (field(), path.to_owned()))
    }

    /// Rejects files that would be read both as they are and as they were understood.
    fn check_uses(&self) -> Result<(), RenderError> {
        let staged = |path: &&String| {
            let file = self.reader.files.get(*path);
            file.is_some_and(|file| file.staged.is_some())
        };
        match self.plain.iter().find(staged) {
            Some(path) => Err(Place::of(&**path).rejected(Problem::TwoUses)),
            None => Ok(()),
        }
    }

    /// Returns the place of a field in a kustomization.
    fn place(&self, kustomization: &Kustomization, steps: &[Step]) -> Place {
        let Kustomization { path, document, .. } = kustomization;
        let bytes = self
            .reader
            .files
            .get(path)
            .map(|file| file.bytes.as_slice());
        let line = line_at(bytes.unwrap_or_default(), document.start_of(steps));
        Place::at(path.as_str(), line)
    }

    fn stage(&mut self, path: &str, text: String) {
        if let Some(file) = self.reader.files.get_mut(path) {
            file.staged = Some(text.into_bytes());
        }
    }

    /// Has the program say of each object which file it is from; returns true if it is asked to anyway.
    fn show_origins(&mut self, path: &str) -> bool {
        const ORIGINS: &str = "originAnnotations";
        let staged = self
            .reader
            .files
            .get_mut(path)
            .and_then(|file| file.staged.as_mut());
        let Some(staged) = staged else {
            return false;
        };
        let Ok(mut value) = serde_json::from_slice::<Value>(staged) else {
            return false;
        };
        match value.get_mut("buildMetadata").and_then(Value::as_array_mut) {
            Some(metadata) if metadata.iter().any(|one| one == ORIGINS) => return true,
            Some(metadata) => metadata.push(ORIGINS.into()),
            None => value["buildMetadata"] = json!([ORIGINS]),
        }
        *staged = value.to_string().into_bytes();
        false
    }
}

/// Returns the problem of a reference that names a file in place of a folder, or the other way round.
fn misnamed(reference: &Reference, entry: &Entry, path: &str) -> Option<Problem> {
    let (field, path) = (Field(&reference.steps).to_string(), path.to_owned());
    match (&reference.target, entry) {
        (Target::File(_), Entry::Folder(_)) if reference.role == Role::Plugin => {
            Some(Problem::PluginFolder { field, path })
        }
        (Target::File(_), Entry::Folder(_)) => Some(Problem::NotAFile { field, path }),
        (Target::Folder(_), Entry::File(_)) => Some(Problem::NotAFolder { field, path }),
        _ => None,
    }
}

/// Returns the content of an entry that has to be a file.
///
/// `named` says the field and the path by which it is named.
fn file_in(
    entry: Entry,
    path: &str,
    here: &Place,
    named: impl Fn() -> (String, String),
) -> Result<Vec<u8>, RenderError> {
    if let Some(problem) = refusal(&entry) {
        return Err(Place::of(path).rejected(problem));
    }
    let (field, path) = named();
    match entry {
        Entry::File(bytes) => Ok(bytes),
        Entry::Folder(_) => Err(here.clone().rejected(Problem::NotAFile { field, path })),
        _ => Err(here.clone().rejected(Problem::Missing { field, path })),
    }
}

/// Returns the files and the folders that a kustomization names, as far as they can be told.
pub(super) fn named(path: &str, bytes: &[u8]) -> Vec<String> {
    let Ok(document) = read(path, bytes) else {
        return Vec::new();
    };
    let folder = folder_of(path);
    let references = match &document.value {
        Value::Object(value) => fields::of_kustomization(value).references,
        _ => Vec::new(),
    };
    let mut named = Vec::new();
    for Reference { target, .. } in references {
        match target {
            Target::File(path) | Target::Folder(path) | Target::FileOrFolder(path) => {
                named.extend(resolve(folder, &path, String::new).ok());
            }
            Target::Inline(_) => {}
        }
    }
    named
}
