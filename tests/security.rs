//! Each line of the page about security names a test or a scenario that exists.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use walkdir::WalkDir;

/// Folders with tests.
const FOLDERS: [&str; 3] = ["src", "crates", "e2e/src"];

/// Returns all code, in which tests and scenarios are defined.
fn code(root: &Path) -> String {
    let files = FOLDERS
        .iter()
        .flat_map(|folder| WalkDir::new(root.join(folder)))
        .map(Result::unwrap)
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "rs")
        });
    files
        .map(|file| fs::read_to_string(file.path()).unwrap())
        .collect()
}

/// Names in backticks in the last column of the page's tables.
fn named(page: &str) -> Vec<&str> {
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("shown by"));
    let last = rows.filter_map(|row| row.trim_end_matches('|').rsplit_once('|'));
    last.flat_map(|(_, shown_by)| shown_by.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_line_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let names = named(&page);
    assert!(names.len() >= 20, "{names:?}");
    let code = code(root);
    let is_there = |name: &str| {
        code.contains(&format!("fn {name}()"))
            || code.contains(&format!("scenario!({name}, "))
            || code.contains(&format!("scenario!(alone {name}, "))
    };
    let missing: Vec<_> = names.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let has_name = line.contains("shown by") || !named(line).is_empty();
        assert!(has_name, "no test is named: {line}");
    }
}
