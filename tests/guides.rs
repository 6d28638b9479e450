//! The YAML in the guides is what the API takes.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use kube::ResourceExt as _;
use tidegate_api::Rollout;
use tidegate_engine::plan::Plan;

#[test]
fn every_rollout_in_a_guide_is_a_plan() {
    let guides = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides");
    let mut tried = 0;
    for guide in fs::read_dir(guides).unwrap() {
        let path = guide.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("```yaml\n").skip(1);
        for block in blocks.map(|block| block.split("```").next().unwrap()) {
            let read = serde_saphyr::from_str::<Rollout>(block);
            let rollout =
                read.unwrap_or_else(|error| panic!("{}: {error}\n{block}", path.display()));
            let plan = Plan::parse(&rollout.name_any(), &rollout.spec);
            assert!(plan.is_ok(), "{}: {plan:?}", path.display());
            tried += 1;
        }
    }
    assert!(tried >= 3, "there are guides");
}
