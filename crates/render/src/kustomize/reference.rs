//! Paths as kustomizations write them: what is no path in the repository is told from what is.

use tidegate_git::path::resolved;

use crate::error::Problem;

/// Hosts that Kustomize takes for remotes even without a scheme.
const BARE_HOSTS: [&str; 2] = ["github.com/", "www.github.com/"];

/// Resolves the path in `field` of a file in `folder`.
///
/// Kustomize asks of each path if it is a remote before it looks for a file, so that what looks like one is not
/// rendered even if such a file is there.
pub(super) fn resolve(
    folder: &str,
    path: &str,
    field: impl Fn() -> String,
) -> Result<String, Problem> {
    let written = || path.to_owned();
    if is_remote(path) {
        return Err(Problem::Remote { field: field() });
    }
    if path.contains('\\') {
        return Err(Problem::Backslash {
            field: field(),
            path: written(),
        });
    }
    if path.starts_with('/') {
        return Err(Problem::Absolute {
            field: field(),
            path: written(),
        });
    }
    let outside = || Problem::Outside {
        field: field(),
        path: written(),
    };
    if path.contains('\0') {
        return Err(outside());
    }
    resolved(folder, path).ok_or_else(outside)
}

/// Returns true for a URL, for `git@host:path`, and for all else that Kustomize might take for a remote.
fn is_remote(path: &str) -> bool {
    // `C:\` is no remote, and said to be a backslash.
    let drive = path.get(1..3) == Some(":\\");
    let lower = path.to_ascii_lowercase();
    let bare = BARE_HOSTS.iter().any(|host| lower.starts_with(host));
    let first = path.split('/').next().unwrap_or_default();
    bare || first.contains('@') || path.contains('?') || path.contains(':') && !drive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Result<String, Problem> {
        resolve("overlays/prod", path, || "resources[0]".to_owned())
    }

    #[test]
    fn what_is_no_path_in_the_repository_is_named_for_what_it_is() {
        assert_eq!(at("../../base"), Ok("base".to_owned()));
        for remote in [
            "https://example.com/a.yaml",
            "HTTPS://example.com/a.yaml",
            "git@github.com:a/b.git",
            "git@example.com/a/b",
            "ssh://git@example.com/a/b",
            "git::https://example.com/a",
            "gh:a/b",
            "github.com/a/b//c",
            "GitHub.com/a/b",
            "example.com/a/b.git?ref=v1",
            "file:///etc/passwd",
        ] {
            assert!(
                matches!(at(remote), Err(Problem::Remote { .. })),
                "{remote}"
            );
        }
        for windows in ["..\\base", "C:\\base"] {
            assert!(
                matches!(at(windows), Err(Problem::Backslash { .. })),
                "{windows}"
            );
        }
        assert!(matches!(at("/etc/passwd"), Err(Problem::Absolute { .. })));
        assert!(matches!(at("../../../x"), Err(Problem::Outside { .. })));
        assert!(matches!(at("a\0b"), Err(Problem::Outside { .. })));
    }
}
