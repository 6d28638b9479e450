#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn target() -> ObjectKey {
    ObjectKey {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "checkout".into(),
    }
}

fn template(text: &str) -> Template<'_> {
    yaml::find_template(text, &target(), "shop")
        .unwrap_or_else(|error| panic!("{error}: {text}"))
        .unwrap_or_else(|| panic!("no template in {text}"))
}

fn put_back(tip: &str, good: &str) -> Result<String, SpliceError> {
    splice(&template(tip), &template(good))
}

/// A Deployment whose template stands between comments that must stay.
const GOOD: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: checkout
spec:
  replicas: 2
  template:  # of the pods
    metadata:
      labels: {app: checkout}
    spec:
      containers:
      # the app itself
      - name: app
        image: \"app:1\"  # pinned
        args:
        - |
          one
            two

          three
      # no more containers
  strategy: {}
";

fn bad() -> String {
    GOOD.replace("app:1", "app:2")
        .replace("            two\n\n", "")
        .replace("# of the pods", "# of our pods")
}

#[test]
fn only_the_template_changes() {
    let tip = format!("# head\n{}  # tail\n---\n# another\na:   1\n...\n", bad())
        .replace("replicas: 2", "replicas:   5 # scaled");
    let expected = format!("# head\n{GOOD}  # tail\n---\n# another\na:   1\n...\n")
        .replace("replicas: 2", "replicas:   5 # scaled");
    assert_eq!(put_back(&tip, GOOD).unwrap(), expected);
}

#[test]
fn line_endings_are_those_of_the_file() {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    assert_eq!(put_back(&crlf(&bad()), GOOD).unwrap(), crlf(GOOD));
    assert_eq!(put_back(&bad(), &crlf(GOOD)).unwrap(), GOOD);
    assert_eq!(put_back(&crlf(&bad()), &crlf(GOOD)).unwrap(), crlf(GOOD));
}

#[test]
fn the_right_document_of_many_is_changed() {
    let other = bad().replace("name: checkout", "name: other");
    let elsewhere = bad().replace("name: checkout", "name: checkout\n  namespace: other");
    let tip = format!("---\n{other}---\n{}---\n{elsewhere}", bad());
    let expected = format!("---\n{other}---\n{GOOD}---\n{elsewhere}");
    assert_eq!(put_back(&tip, GOOD).unwrap(), expected);
    let named = GOOD.replace("name: checkout", "name: checkout\n  namespace: shop");
    assert_eq!(put_back(&tip, &named).unwrap(), expected);
}

/// `text` as the only item of a `List`, deeper by `indent`.
fn as_item(text: &str, indent: usize) -> String {
    let mut list = String::from("apiVersion: v1\nkind: List\nitems:\n- {kind: Other}\n");
    for (line, text) in text.lines().enumerate() {
        let prefix = if line == 0 {
            "-".to_owned() + &" ".repeat(indent - 1)
        } else {
            " ".repeat(indent)
        };
        if text.is_empty() {
            list.push('\n');
        } else {
            list = list + &prefix + text + "\n";
        }
    }
    list + "# end\n"
}

#[test]
fn an_item_of_a_list_is_changed_and_moved_to_its_depth() {
    assert_eq!(
        put_back(&as_item(&bad(), 4), GOOD).unwrap(),
        as_item(GOOD, 4)
    );
    assert_eq!(put_back(&bad(), &as_item(GOOD, 4)).unwrap(), GOOD);
    assert_eq!(
        put_back(&as_item(&bad(), 2), &as_item(GOOD, 6)).unwrap(),
        as_item(GOOD, 2)
    );
}

#[test]
fn a_template_at_the_end_of_a_file_without_a_line_break() {
    let end = |text: &str| text.replace("      # no more containers\n  strategy: {}\n", "");
    let (good, tip) = (end(GOOD), end(&bad()));
    // The text block needs its last line break to read the same.
    assert_eq!(put_back(tip.trim_end(), &good).unwrap(), good);
    let plain = |text: &str| end(text).split("        args:").next().unwrap().to_owned();
    assert_eq!(
        put_back(plain(&tip).trim_end(), &plain(GOOD)).unwrap(),
        plain(GOOD).trim_end()
    );
}

#[test]
fn kept_blank_lines_of_a_text_block_are_content() {
    let keep = GOOD
        .replace("- |", "- |+")
        .replace("      # no more containers\n", "\n\n");
    assert_eq!(put_back(&bad(), &keep).unwrap(), keep);
    assert_eq!(put_back(&keep, GOOD).unwrap(), GOOD);
}

#[test]
fn a_line_of_blanks_at_the_end_of_a_text_block_is_content() {
    let good = GOOD.replace("          three\n", "          three\n             \n");
    assert_eq!(put_back(&bad(), &good).unwrap(), good);
    assert_eq!(put_back(&good, GOOD).unwrap(), GOOD);
}

#[test]
fn braces_stay_braces() {
    let json = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"},
        "spec": {"template": {"spec": {"image": "app:2"}}, "replicas": 3},
    });
    let pretty = serde_json::to_string_pretty(&json).unwrap() + "\n";
    let new = put_back(&pretty, GOOD).unwrap();
    assert!(new.contains("\"replicas\": 3"));
    assert_eq!(template(&new).value(), template(GOOD).value());

    let good = pretty.replace("app:2", "app:1");
    assert_eq!(put_back(&pretty, &good).unwrap(), good);
    let new = put_back(GOOD, &good).unwrap();
    assert_eq!(template(&new).value(), template(&good).value());
    assert!(new.ends_with("  strategy: {}\n"));
}

#[test]
fn an_anchor_that_is_only_in_the_good_file_is_written_out() {
    let good = GOOD
        .replace(
            "replicas: 2",
            "replicas: 2\n  selector: &labels {app: checkout}",
        )
        .replace("labels: {app: checkout}", "labels: *labels");
    let new = put_back(&bad(), &good).unwrap();
    assert_eq!(template(&new).value(), template(&good).value());
    assert!(!new.contains('*'));
}

#[test]
fn an_anchor_that_the_rest_of_the_file_needs_is_not_taken_away() {
    let tip = bad()
        .replace("labels: {app", "labels: &labels {app")
        .replace("strategy: {}", "strategy: *labels");
    assert_eq!(put_back(&tip, GOOD), Err(SpliceError::NotFaithful));
}

#[test]
fn what_cannot_be_edited_is_said() {
    let twice = format!("{}---\n{}", bad(), bad());
    assert!(matches!(
        yaml::find_template(&twice, &target(), "shop"),
        Err(yaml::YamlError::ObjectTwice)
    ));
    let duplicate = bad().replace("  replicas: 2\n", "  replicas: 2\n  replicas: 3\n");
    assert!(yaml::find_template(&duplicate, &target(), "shop").is_err());
    let deep = format!("a: {}", "[".repeat(5000));
    assert!(yaml::find_template(&deep, &target(), "shop").is_err());
    assert!(yaml::find_template("a: [", &target(), "shop").is_err());
    for none in [
        "",
        "# only a comment\n",
        "a: 1\n",
        "- 1\n",
        &bad().replace("template:", "other:"),
    ] {
        assert!(
            yaml::find_template(none, &target(), "shop")
                .unwrap()
                .is_none()
        );
    }
}

/// Values as pod templates hold them.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
        "[ -~\n#:é]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

fn any_template() -> impl Strategy<Value = Value> {
    any_value().prop_map(|value| json!({ "spec": value }))
}

/// A file with this template at this depth, and what stands before and after it.
fn around(template: &Value, step: usize, line_break: &str) -> (String, String, String) {
    let pad = " ".repeat(step);
    let head = format!(
        "# é\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n{pad}name: checkout\nspec:\n{pad}"
    );
    let yaml = serde_saphyr::to_string(template).unwrap();
    let block = reindented(
        &format!("template:\n{}", yaml.trim_end_matches('\n')),
        0,
        2 * step,
    );
    let tail = format!("\n# tail\n{pad}replicas: 1 # é\n---\nx: |\n  y\n");
    let fix = |text: String| with_line_breaks(&text, line_break);
    (fix(head), fix(block), fix(tail))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_template_is_put_back_and_nothing_else(
        good in any_template(),
        bad in any_template(),
        steps in (1usize..6, 1usize..6),
        crlf in any::<(bool, bool)>(),
    ) {
        let line_break = |crlf| if crlf { "\r\n" } else { "\n" };
        let (head, block, tail) = around(&bad, steps.0, line_break(crlf.0));
        let tip = format!("{head}{block}{tail}");
        let (good_head, good_block, good_tail) = around(&good, steps.1, line_break(crlf.1));
        let good_text = format!("{good_head}{good_block}{good_tail}");
        let new = put_back(&tip, &good_text).unwrap();
        prop_assert!(new.starts_with(&head));
        prop_assert!(new.ends_with(&tail));
        let read = template(&new);
        let wanted = template(&good_text);
        prop_assert_eq!(read.value(), wanted.value());
    }
}
