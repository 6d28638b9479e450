//! The YAML in the guides is what the API takes, and what other tools take has their kind.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{fs, path::Path};

use kube::{ResourceExt as _, core::TypeMeta};
use serde::de::DeserializeOwned;
use tidegate_api::{ConfigRepo, Rollout};
use tidegate_engine::plan::Plan;

#[test]
fn every_rollout_in_a_guide_is_a_plan() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides");
    let mut tried = 0;
    for guide in fs::read_dir(guides).unwrap() {
        let path = guide.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        let blocks = blocks.map(|block| block.split("```").next().unwrap());
        for block in blocks.flat_map(|block| block.split("\n---\n")) {
            let object: TypeMeta = read(&path, block);
            if !object.api_version.starts_with("tidegate.io/") {
                assert!(object.api_version.contains('/'), "{block}");
                continue;
            }
            if object.kind == "ConfigRepo" {
                let _: ConfigRepo = read(&path, block);
                continue;
            }
            let rollout: Rollout = read(&path, block);
            let plan = Plan::parse(&rollout.name_any(), &rollout.spec);
            assert!(plan.is_ok(), "{}: {plan:?}", path.display());
            tried += 1;
        }
    }
    assert!(tried >= 3, "there are guides");
}

fn read<T: DeserializeOwned>(guide: &Path, block: &str) -> T {
    serde_saphyr::from_str(block)
        .unwrap_or_else(|error| panic!("{}: {error}\n{block}", guide.display()))
}
