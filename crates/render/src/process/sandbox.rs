//! The walls of a run: files that it may see, and no network.
//!
//! Landlock restricts the thread that asks for it, and what that thread starts. It needs no privilege, so that it also
//! works where a pod may not make namespaces. What a kernel cannot do is left out: the walls that do not depend on
//! it are the checks before the run.

use std::{
    io,
    path::{Path, PathBuf},
};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, Scope,
};

/// What a program may see.
pub(super) struct Sandbox {
    pub(super) program: PathBuf,
    /// Folder that it may read and write.
    pub(super) folder: PathBuf,
}

/// The newest version of Landlock whose restrictions are asked for.
const NEWEST: ABI = ABI::V6;

/// Folders of programs and libraries, for programs that are not linked statically.
const SYSTEM: [&str; 5] = ["/usr", "/bin", "/lib", "/lib64", "/nix/store"];

// === impl Sandbox ===

impl Sandbox {
    /// Restricts the thread that calls it, for the rest of its life.
    pub(super) fn enter(&self) -> io::Result<()> {
        let read = AccessFs::from_read(NEWEST);
        let all = AccessFs::from_all(NEWEST);
        let ruleset = Ruleset::default()
            .handle_access(all)
            .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .and_then(Ruleset::create)
            .map_err(io::Error::other)?;
        let mut ruleset = beneath(ruleset, &self.folder, all)?;
        for path in SYSTEM.iter().map(Path::new).chain([self.program.as_path()]) {
            ruleset = beneath(ruleset, path, read)?;
        }
        ruleset = beneath(
            ruleset,
            Path::new("/dev/null"),
            AccessFs::ReadFile | AccessFs::WriteFile,
        )?;
        ruleset.restrict_self().map_err(io::Error::other)?;
        Ok(())
    }
}

/// Allows access beneath a path, if there is one.
fn beneath(
    ruleset: RulesetCreated,
    path: &Path,
    access: impl Into<landlock::BitFlags<AccessFs>>,
) -> io::Result<RulesetCreated> {
    let Ok(opened) = PathFd::new(path) else {
        return Ok(ruleset);
    };
    let access = access.into();
    // Landlock takes no rights of folders for a file.
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    };
    ruleset
        .add_rule(PathBeneath::new(opened, access))
        .map_err(io::Error::other)
}
