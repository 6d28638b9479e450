//! Paths in a repository: from its root, with `/` between their parts, and without `.` and `..`.

/// Joins a folder and a name in it.
pub fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Resolves a path that stands in a folder; none if it leads out of the repository.
pub fn resolved(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_in_the_tree_or_has_no_place() {
        let at = |path| resolved("overlays/prod", path);
        assert_eq!(at("../../base").as_deref(), Some("base"));
        assert_eq!(at("./a//b/").as_deref(), Some("overlays/prod/a/b"));
        assert_eq!(at("../..").as_deref(), Some(""));
        assert_eq!(at("../../../base"), None);
        assert_eq!(at("../../../overlays/prod/x"), None);
    }
}
