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

fn template_in(text: &str) -> LocatedTemplate<'_> {
    template::find(text, &target(), "shop")
        .unwrap_or_else(|error| panic!("{error}: {text}"))
        .unwrap_or_else(|| panic!("no template in {text}"))
}

fn spliced(tip: &str, good: &str) -> Result<String, SpliceError> {
    splice(&template_in(tip), &template_in(good))
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
    assert_eq!(spliced(&tip, GOOD).unwrap(), expected);
}

#[test]
fn line_endings_are_those_of_the_file() {
    fn crlf(text: &str) -> String {
        text.replace('\n', "\r\n")
    }
    assert_eq!(spliced(&crlf(&bad()), GOOD).unwrap(), crlf(GOOD));
    assert_eq!(spliced(&bad(), &crlf(GOOD)).unwrap(), GOOD);
    assert_eq!(spliced(&crlf(&bad()), &crlf(GOOD)).unwrap(), crlf(GOOD));
}

#[test]
fn the_right_document_of_many_is_changed() {
    let other = bad().replace("name: checkout", "name: other");
    let elsewhere = bad().replace("name: checkout", "name: checkout\n  namespace: other");
    let tip = format!("---\n{other}---\n{}---\n{elsewhere}", bad());
    let expected = format!("---\n{other}---\n{GOOD}---\n{elsewhere}");
    assert_eq!(spliced(&tip, GOOD).unwrap(), expected);
    let named = GOOD.replace("name: checkout", "name: checkout\n  namespace: shop");
    assert_eq!(spliced(&tip, &named).unwrap(), expected);
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
        spliced(&as_item(&bad(), 4), GOOD).unwrap(),
        as_item(GOOD, 4)
    );
    assert_eq!(spliced(&bad(), &as_item(GOOD, 4)).unwrap(), GOOD);
    assert_eq!(
        spliced(&as_item(&bad(), 2), &as_item(GOOD, 6)).unwrap(),
        as_item(GOOD, 2)
    );
}

#[test]
fn a_template_at_the_end_of_a_file_without_a_line_break() {
    fn end(text: &str) -> String {
        text.replace("      # no more containers\n  strategy: {}\n", "")
    }
    fn plain(text: &str) -> String {
        end(text).split("        args:").next().unwrap().to_owned()
    }
    let (good, tip) = (end(GOOD), end(&bad()));
    // The block scalar needs its last line break to be read the same.
    assert_eq!(spliced(tip.trim_end(), &good).unwrap(), good);
    assert_eq!(
        spliced(plain(&tip).trim_end(), &plain(GOOD)).unwrap(),
        plain(GOOD).trim_end()
    );
}

#[test]
fn kept_blank_lines_of_a_block_scalar_are_content() {
    let keep = GOOD
        .replace("- |", "- |+")
        .replace("      # no more containers\n", "\n\n");
    assert_eq!(spliced(&bad(), &keep).unwrap(), keep);
    assert_eq!(spliced(&keep, GOOD).unwrap(), GOOD);
}

#[test]
fn a_line_of_blanks_at_the_end_of_a_block_scalar_is_content() {
    let good = GOOD.replace("          three\n", "          three\n             \n");
    assert_eq!(spliced(&bad(), &good).unwrap(), good);
    assert_eq!(spliced(&good, GOOD).unwrap(), GOOD);
}

#[test]
fn braces_stay_braces() {
    let json = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout"},
        "spec": {"template": {"spec": {"image": "app:2"}}, "replicas": 3},
    });
    let pretty = serde_json::to_string_pretty(&json).unwrap() + "\n";
    let new = spliced(&pretty, GOOD).unwrap();
    assert!(new.contains("\"replicas\": 3"));
    assert_eq!(template_in(&new).value(), template_in(GOOD).value());

    let good = pretty.replace("app:2", "app:1");
    assert_eq!(spliced(&pretty, &good).unwrap(), good);
    let new = spliced(GOOD, &good).unwrap();
    assert_eq!(template_in(&new).value(), template_in(&good).value());
    assert!(new.ends_with("  strategy: {}\n"));
}

#[test]
fn an_anchor_that_is_only_in_the_good_file_is_expanded() {
    let good = GOOD
        .replace(
            "replicas: 2",
            "replicas: 2\n  selector: &labels {app: checkout}",
        )
        .replace("labels: {app: checkout}", "labels: *labels");
    let new = spliced(&bad(), &good).unwrap();
    assert_eq!(template_in(&new).value(), template_in(&good).value());
    assert!(!new.contains('*'));
}

#[test]
fn an_anchor_that_the_rest_of_the_file_needs_is_kept() {
    let tip = bad()
        .replace("labels: {app", "labels: &labels {app")
        .replace("strategy: {}", "strategy: *labels");
    assert_eq!(spliced(&tip, GOOD), Err(SpliceError::NotFaithful));
}

#[test]
fn files_that_cannot_be_edited_are_rejected() {
    let twice = format!("{}---\n{}", bad(), bad());
    assert!(matches!(
        template::find(&twice, &target(), "shop"),
        Err(super::super::YamlError::ObjectTwice)
    ));
    let duplicate = bad().replace("  replicas: 2\n", "  replicas: 2\n  replicas: 3\n");
    assert!(template::find(&duplicate, &target(), "shop").is_err());
    let deep = format!("a: {}", "[".repeat(5000));
    assert!(template::find(&deep, &target(), "shop").is_err());
    assert!(template::find("a: [", &target(), "shop").is_err());
    for none in [
        "",
        "# only a comment\n",
        "a: 1\n",
        "- 1\n",
        &bad().replace("template:", "other:"),
    ] {
        assert!(template::find(none, &target(), "shop").unwrap().is_none());
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

/// The text before a template at this depth, the template, and the text after it.
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
    (
        line_break::with(&head, line_break),
        line_break::with(&block, line_break),
        line_break::with(&tail, line_break),
    )
}

fn line_break_for(crlf: bool) -> &'static str {
    if crlf { "\r\n" } else { "\n" }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_template_is_spliced_and_nothing_else_changes(
        good in any_template(),
        bad in any_template(),
        steps in (1usize..6, 1usize..6),
        crlf in any::<(bool, bool)>(),
    ) {
        let (head, block, tail) = around(&bad, steps.0, line_break_for(crlf.0));
        let tip = format!("{head}{block}{tail}");
        let (good_head, good_block, good_tail) = around(&good, steps.1, line_break_for(crlf.1));
        let good_text = format!("{good_head}{good_block}{good_tail}");
        let new = spliced(&tip, &good_text).unwrap();
        prop_assert!(new.starts_with(&head));
        prop_assert!(new.ends_with(&tail));
        let read = template_in(&new);
        let wanted = template_in(&good_text);
        prop_assert_eq!(read.value(), wanted.value());
    }
}
