//! Every reason that a program may read is explained to people.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, fs, path::Path};

use tidegate_api::{
    reason::{ReasonCode, StallReason},
    record::Reason,
    status::Phase,
};

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conditions-and-events.md"))
        .unwrap()
}

/// The variants of an enum, from its schema.
fn variants<T: schemars::JsonSchema>() -> BTreeSet<String> {
    let schema = schemars::schema_for!(T).to_value();
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    let words = one_of.flat_map(|one| {
        one["enum"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![one["const"].clone()])
    });
    words
        .chain(schema["enum"].as_array().cloned().unwrap_or_default())
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn every_phase_and_every_reason_is_explained() {
    let page = page();
    let words: BTreeSet<_> = variants::<Reason>()
        .union(&variants::<Phase>())
        .cloned()
        .collect();
    assert!(words.len() > 20, "the schema lists them: {words:?}");
    let missing: Vec<_> = words
        .iter()
        .filter(|word| !page.contains(&format!("`{word}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/conditions-and-events.md says nothing of {missing:?}"
    );
}

#[test]
fn every_stall_is_explained() {
    let page = page();
    for reason in StallReason::ALL {
        assert!(
            page.contains(&format!("| `{reason}` |")),
            "docs/conditions-and-events.md says nothing of {reason}"
        );
    }
}
