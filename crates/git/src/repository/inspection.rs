//! Inspection of what was fetched: the size of each object is known before any is read. Reading one takes
//! those in memory, too, that it is stored as a difference to, so that no large one may be near.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use gix::objs::Kind;

use crate::{
    limits::{NODE_BYTES, QuotaError},
    store::{self, StoreError, read_error},
};

/// Packs that were inspected, by their names, which are digests of their content.
pub(super) type Inspected = HashSet<OsString>;

/// Inspects the packs of a clone that were not yet, by the headers of their objects. Returns the object
/// that is too large, if there is one.
pub(super) fn inspect(
    dir: &Path,
    url: &str,
    inspected: &mut Inspected,
    object_bytes: u64,
) -> Result<Option<QuotaError>, StoreError> {
    let packs = packs(dir).map_err(StoreError::open)?;
    inspected.retain(|known| packs.iter().any(|(name, _)| name == known));
    let store = store::open(dir)?;
    for (name, path) in packs {
        if inspected.contains(&name) {
            continue;
        }
        let index = gix::odb::pack::index::File::at(&path, store.object_hash());
        let index = index.map_err(StoreError::open)?;
        for entry in index.iter() {
            let header = store
                .find_header(entry.oid)
                .map_err(read_error("object", entry.oid))?;
            let limit = match header.kind() {
                Kind::Blob => object_bytes,
                Kind::Tree | Kind::Commit | Kind::Tag => NODE_BYTES.min(object_bytes),
            };
            if header.size() > limit {
                return Ok(Some(QuotaError::Object {
                    url: url.to_owned(),
                    kind: header.kind().to_string(),
                    id: entry.oid,
                    size: header.size(),
                    limit,
                }));
            }
        }
        inspected.insert(name);
    }
    Ok(None)
}

/// Returns the indices of the packs in a clone.
fn packs(dir: &Path) -> io::Result<Vec<(OsString, PathBuf)>> {
    let mut packs = Vec::new();
    let entries = match fs::read_dir(dir.join("objects/pack")) {
        Ok(entries) => entries,
        // What is missing for that is found when it is read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(packs),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "idx")
            && let Some(name) = path.file_name()
        {
            packs.push((name.to_owned(), path));
        }
    }
    Ok(packs)
}
