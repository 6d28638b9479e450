//! A sample of the mistakes that cargo-mutants would make in the engine.
//!
//! cargo-mutants only lists them: the tests of the world are another program than it would choose, and the
//! copy is built once.

use std::process::Command;

use anyhow::{Result, ensure};

use super::Mutant;
use crate::{cache::Cache, shell, tools::cargo_mutants};

/// The invariants: they are part of the net, and nothing holds them but what they find.
const NET: [&str; 2] = [
    "crates/engine/src/invariants.rs",
    "crates/engine/src/invariants/**",
];

/// Returns so many mistakes, which the seed chooses, but for the first ones.
pub(super) fn mutants(count: usize, seed: u64, skip: usize) -> Result<Vec<Mutant>> {
    let program = cargo_mutants(&Cache::open()?)?;
    let mut list = Command::new(program);
    list.current_dir(shell::workspace())
        .args(["mutants", "--list", "--diff", "--colors", "never"])
        .args(["--package", "tidegate-engine"])
        .args(NET.map(|files| format!("--exclude={files}")));
    let mut mutants = parse(&shell::output_of(&mut list)?);
    ensure!(!mutants.is_empty(), "cargo-mutants lists no mistake");
    shuffle(&mut mutants, seed);
    mutants.truncate(count);
    Ok(mutants.split_off(skip.min(mutants.len())))
}

/// Reads a list in which each mistake is a diff whose second line, in place of a file's name, says what it
/// does.
fn parse(list: &str) -> Vec<Mutant> {
    let mut mutants: Vec<Mutant> = Vec::new();
    let mut file = "";
    for line in list.lines() {
        if let Some(name) = line.strip_prefix("--- ") {
            file = name;
        } else if let Some(what) = line.strip_prefix("+++ ") {
            mutants.push(Mutant {
                name: format!("{file}: {what}"),
                patch: format!("--- a/{file}\n+++ b/{file}\n"),
            });
        } else if let Some(mutant) = mutants.last_mut()
            && line.starts_with(['@', ' ', '+', '-'])
        {
            mutant.patch.push_str(line);
            mutant.patch.push('\n');
        }
    }
    mutants
}

/// Shuffles, always alike for the same seed (Fisher and Yates, with `SplitMix64`).
fn shuffle(mutants: &mut [Mutant], seed: u64) {
    let mut state = seed;
    for end in (1..mutants.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let below = u64::try_from(end + 1).unwrap_or(u64::MAX);
        let chosen = usize::try_from(mixed % below).unwrap_or(end);
        mutants.swap(end, chosen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
src/a.rs:1:5: replace one -> u32 with 0
--- src/a.rs
+++ replace one -> u32 with 0
@@ -1,3 +1,3 @@
 fn one() -> u32 {
-    1
+    0 /* ~ changed by cargo-mutants ~ */
 }
src/b.rs:2:1: replace two with ()
--- src/b.rs
+++ replace two with ()
@@ -1,1 +1,1 @@
-fn two() { three() }
+fn two() { () }
";

    #[test]
    fn a_list_is_read_as_patches() {
        let mutants = parse(LIST);
        let names: Vec<_> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "src/a.rs: replace one -> u32 with 0",
                "src/b.rs: replace two with ()"
            ]
        );
        assert!(
            mutants[0]
                .patch
                .starts_with("--- a/src/a.rs\n+++ b/src/a.rs\n@@ -1,3")
        );
        assert!(mutants[0].patch.ends_with(" }\n"), "{}", mutants[0].patch);
    }

    #[test]
    fn a_seed_always_chooses_alike() {
        let names = |seed| {
            let mut mutants: Vec<_> = ('a'..='z')
                .map(|letter| Mutant {
                    name: letter.to_string(),
                    patch: String::new(),
                })
                .collect();
            shuffle(&mut mutants, seed);
            mutants
                .iter()
                .map(|mutant| mutant.name.clone())
                .collect::<String>()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
        assert_eq!(names(1).len(), 26);
    }
}
