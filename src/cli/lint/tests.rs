//! Files as people have them, and what is said of each.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod regressions;

use serde_json::Value;

use super::{output::text::tests::plain, *};

/// A Rollout that nothing is wrong with, with these lines in place of its steps.
fn with_steps(steps: &str) -> String {
    format!(
        "apiVersion: tidegate.io/v1alpha1
kind: Rollout
metadata: {{ name: checkout, namespace: shop }}
spec:
  workload: {{ kind: Deployment, name: checkout }}
  traffic:
    routes:
    - {{ kind: HTTPRoute, name: checkout }}
{steps}
  gates:
  - name: errors
    threshold:
      query: sum(rate(x_total{{pod=~\"{{{{pods}}}}\"}}[{{{{window}}}}]))
      max: 0.01
"
    )
}

fn good() -> String {
    with_steps("  steps:\n  - { weight: 10, hold: 5m }")
}

fn file(path: &str, bytes: impl AsRef<[u8]>) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        bytes: bytes.as_ref().to_vec(),
    }
}

fn said(path: &str, bytes: impl AsRef<[u8]>) -> String {
    plain(&lint(&[file(path, bytes)]).findings)
}

fn said_of_all(files: &[(&str, &str)]) -> String {
    let files: Vec<_> = files.iter().map(|(path, text)| file(path, text)).collect();
    plain(&lint(&files).findings)
}

#[test]
fn nothing_is_said_of_what_is_right() {
    assert_eq!(said("a.yaml", good()), "");
    let all = include_str!("../../../crds/rollouts.tidegate.io.yaml");
    assert_eq!(
        said("crd.yaml", all),
        "",
        "a definition is no object of ours"
    );
}

#[test]
fn a_field_that_does_not_exist_is_found_with_the_one_that_is_meant() {
    let text = with_steps("  steps:\n  - { wieght: 10, hold: 5m }\n  stesp: []\n  sillyField: 1");
    insta::assert_snapshot!(said("a.yaml", text), @r"
    a.yaml:10:7: error: Rollout/checkout spec.steps[0].wieght: the field `wieght` does not exist: did you mean `weight`? [unknown-field]
    a.yaml:11:3: error: Rollout/checkout spec.stesp: the field `stesp` does not exist: did you mean `steps`? [unknown-field]
    a.yaml:12:3: error: Rollout/checkout spec.sillyField: the field `sillyField` does not exist: the fields here are allowParallel, blockedTimeout, canary, config, failover, gates, knownGood, metrics, mode, notifications, onNewRevision, onRollback, progressDeadline, revisionHistoryLimit, service, settle, steps, suspend, traffic, workload [unknown-field]
    ");
}

#[test]
fn a_value_of_the_wrong_type_or_beyond_its_limits_is_found() {
    let text = with_steps(
        "  steps:\n  - { weight: 10, hold: 300 }\n  - { weight: 0.5, hold: 5 minutes }\n  - { weight: 120, hold: 1m, replicas: 0 }\n  \
         settle: [2s]\n  revisionHistoryLimit: 51\n  knownGood: fast\n  failover: Sometimes\n  allowParallel: \"yes\"",
    );
    insta::assert_snapshot!(said("a.yaml", text), @r#"
    a.yaml:10:19: error: Rollout/checkout spec.steps[0].hold: this is a number: write a duration, like 90s, 5m or 1h30m [wrong-type]
    a.yaml:11:7: error: Rollout/checkout spec.steps[1].weight: this is a number with a fraction: write a percentage, like 10, or "0.5%" with at most two decimals [wrong-type]
    a.yaml:11:20: error: Rollout/checkout spec.steps[1].hold: this is not a duration: write it like 90s, 5m or 1h30m [invalid-value]
    a.yaml:12:7: error: Rollout/checkout spec.steps[2].weight: 120 is above the maximum of 100 [invalid-value]
    a.yaml:12:30: error: Rollout/checkout spec.steps[2].replicas: 0 is below the minimum of 1 [invalid-value]
    a.yaml:13:3: error: Rollout/checkout spec.settle: this is a list: write a duration, like 90s, 5m or 1h30m [wrong-type]
    a.yaml:14:3: error: Rollout/checkout spec.revisionHistoryLimit: 51 is above the maximum of 50 [invalid-value]
    a.yaml:15:3: error: Rollout/checkout spec.knownGood: `fast` is not a word for this field: did you mean `Fast`? [invalid-value]
    a.yaml:16:3: error: Rollout/checkout spec.failover: `Sometimes` is not a word for this field: write `WhenStableIsDown` or `Never` [invalid-value]
    a.yaml:17:3: error: Rollout/checkout spec.allowParallel: this is a text: write true or false, without quotes [wrong-type]
    "#);
}

#[test]
fn what_is_missing_is_found() {
    let text = "apiVersion: tidegate.io/v1alpha1\nkind: Rollout\nmetadata: {}\nspec:\n  steps: []\n  gates:\n  - threshold: { max: 1 }\n";
    insta::assert_snapshot!(said("a.yaml", text), @r"
    a.yaml:3:1: error: Rollout metadata: the object has no name: write metadata: {name: NAME} [missing-field]
    a.yaml:4:1: error: Rollout spec: the field `traffic` is missing: write it (Split of traffic between stable and the canary: by routes, or by shares of replicas) [missing-field]
    a.yaml:4:1: error: Rollout spec: the field `workload` is missing: write it (Workload that is released) [missing-field]
    a.yaml:5:3: error: Rollout spec.steps: 0 entries: at least 1 are needed [invalid-value]
    a.yaml:7:5: error: Rollout spec.gates[0].threshold: the field `query` is missing: write it (PromQL query that returns one number) [missing-field]
    a.yaml:7:5: error: Rollout spec.gates[0]: the field `name` is missing: write it (Name of the gate, unique within the Rollout) [missing-field]
    ");
}

#[test]
fn the_rules_of_the_definition_are_seen() {
    let steps = "  steps:\n  - approval: {}\n  - { weight: 10 }\n  - { weight: 20, hold: 1m, approval: {} }";
    let rollout = with_steps(steps).replace(
        "name: checkout, namespace",
        &format!("name: {}, namespace", "x".repeat(41)),
    );
    let repo = "apiVersion: tidegate.io/v1alpha1\nkind: ConfigRepo\nmetadata: { name: shop }\nspec:\n  url: https://user:secret@git/x\n  ref: { branch: tidegate/records }\n  sync: { serviceAccountName: default }\n";
    let intervention = "apiVersion: tidegate.io/v1alpha1\nkind: Intervention\nmetadata: { generateName: a- }\nspec: { rollout: checkout, attempt: 1, action: Approve, reason: why }\n";
    insta::assert_snapshot!(said("a.yaml", format!("{rollout}---\n{repo}---\n{intervention}")), @r"
    a.yaml:1:1: error: Rollout/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: the Rollout's name has more than 40 characters, and no room is left for the names of the canary's pods: give it a shorter one [broken-rule]
    a.yaml:4:1: error: Rollout/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx spec: the first step is an approval, and there is nothing to approve yet: begin with a weight, like {weight: 0} [broken-rule]
    a.yaml:11:5: error: Rollout/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx spec.steps[1]: this has a weight above 0 and no hold: write hold: 5m, or hold: 0s for no minimum [broken-rule]
    a.yaml:12:5: error: Rollout/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx spec.steps[2]: a step is exactly one of weight and approval: write {weight: 10, hold: 5m} or {approval: {}} [broken-rule]
    a.yaml:12:5: error: Rollout/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx spec.steps[2]: hold and replicas belong to a step with a weight: an approval keeps those of the step before it [broken-rule]
    a.yaml:22:1: error: ConfigRepo/shop spec: the rights of the ServiceAccount default are those of every pod that names none: create another and name it in sync.serviceAccountName [broken-rule]
    a.yaml:22:1: error: ConfigRepo/shop spec: url is https://HOST/PATH or ssh://USER@HOST/PATH: a password, a token or a key goes into the Secret of secretRef [broken-rule]
    a.yaml:22:1: error: ConfigRepo/shop spec: records cannot be written to the branch that is applied: name another one in records: {branch: NAME} [broken-rule]
    a.yaml:30:1: error: Intervention spec: Approve, Promote and Retry name the revision that they are meant for: write revision: REVISION, as the Rollout's status has it [broken-rule]
    a.yaml:30:1: error: Intervention spec: Approve names the step that it approves, and no other action names one [broken-rule]
    ");
}

#[test]
fn the_rules_about_weights_are_seen() {
    let steps = "  steps:\n  - { weight: 0 }\n  - { weight: \"0.5%\" }";
    let none = with_steps("  steps:\n  - { weight: \"0.00%\" }");
    let shares =
        with_steps("  steps:\n  - { weight: 60, hold: 1m }\n  - { weight: 100, hold: 1m }")
            .replace(
                "traffic:\n    routes:\n    - { kind: HTTPRoute, name: checkout }",
                "traffic: { replicas: {} }",
            );
    let all = [
        ("a.yaml", &*with_steps(steps)),
        ("b/b.yaml", &none),
        ("c/c.yaml", &shares),
    ];
    let all: Vec<_> = all.iter().map(|(path, text)| said(path, text)).collect();
    insta::assert_snapshot!(all.concat(), @r"
    a.yaml:11:5: error: Rollout/checkout spec.steps[1]: this has a weight above 0 and no hold: write hold: 5m, or hold: 0s for no minimum [broken-rule]
    b/b.yaml:9:3: error: Rollout/checkout spec.steps: no step sends traffic to the canary: give at least one step a weight above 0 [broken-rule]
    c/c.yaml:8:5: error: Rollout/checkout spec.steps[0]: this has the weight 60%, and shares of replicas make weights of 0 to 50, and 100: write one of these, or split traffic by routes [broken-rule]
    ");
}

#[test]
fn a_workload_that_nobody_calls_needs_no_service_and_no_step_of_100() {
    let worker = |steps: &str, more: &str| {
        let with_steps = with_steps(&format!("  steps:\n{steps}"));
        with_steps.replace(
            "traffic:\n    routes:\n    - { kind: HTTPRoute, name: checkout }",
            &format!("traffic: {{ replicas: {{ service: None }} }}{more}"),
        )
    };
    let good = worker("  - { weight: 25, hold: 1m }", "");
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: checkout, namespace: shop }\n";
    assert_eq!(
        said_of_all(&[("a.yaml", &good), ("b.yaml", deployment)]),
        ""
    );
    let all = said("a.yaml", worker("  - { weight: 100, hold: 1m }", ""))
        + &said(
            "b.yaml",
            worker("  - { weight: 25, hold: 1m }\n  - { weight: 0 }", ""),
        )
        + &said(
            "c.yaml",
            worker("  - { weight: 25, hold: 1m }", "\n  service: checkout"),
        );
    for remedy in [
        "so write 50 at most",
        "end with a weight above 0",
        "leave one of them out",
    ] {
        assert!(all.contains(remedy), "{remedy:?} is not in\n{all}");
    }
    let misspelled = good.replace("service: None", "service: Nobody");
    assert!(said("d.yaml", misspelled).contains("error"));
}

#[test]
fn what_only_tidegate_refuses_is_found() {
    let rollout = good().replace(
        "gates:",
        "canary: { metadata: { labels: { tidegate.io/track: x } } }\n  gates:",
    );
    let short = good().replace(
        "  - name: errors\n",
        "  - name: errors\n    interval: 100ms\n",
    );
    let repo = "apiVersion: tidegate.io/v1alpha1\nkind: ConfigRepo\nmetadata: { name: shop }\nspec:\n  url: ssh://git@git.example.com/shop/config.git\n  ref: { branch: 'a..b' }\n  path: ../other\n  sync: { serviceAccountName: deployer }\n";
    insta::assert_snapshot!(said("a.yaml", format!("{rollout}---\n{}---\n{repo}", short.replace("namespace: shop", "namespace: other"))), @r#"
    a.yaml:11:13: error: Rollout/checkout spec.canary.metadata: this sets "tidegate.io/track", which is Tidegate's own: leave it out [refused]
    a.yaml:29:5: error: Rollout/checkout spec.gates[0]: interval must be at least 500ms [broken-rule]
    a.yaml:39:3: error: ConfigRepo/shop spec.url: a repository over ssh needs a key: name a Secret with identity and known_hosts in spec.secretRef [refused]
    a.yaml:40:10: error: ConfigRepo/shop spec.ref.branch: invalid branch name: `a..b` [refused]
    a.yaml:41:3: error: ConfigRepo/shop spec.path: invalid path `../other`: it must stay inside the repository; use no `..` and no leading `/` [refused]
    "#);
}

#[test]
fn queries_that_cannot_be_sent_are_found() {
    let text = good().replace(
        "sum(rate(x_total{pod=~\"{{pods}}\"}[{{window}}]))",
        "sum(rate(x_total{pod=~\"{{pods}}\"}[{{window}}])",
    );
    let text = text.replace(
        "      max: 0.01\n",
        "      max: 0.01\n    requests: sum(x{pod=\"{{pod}}\"})\n",
    );
    insta::assert_snapshot!(said("a.yaml", text), @r"
    a.yaml:14:7: error: Rollout/checkout spec.gates[0].threshold.query: the query is not PromQL: unclosed left parenthesis [invalid-query]
    a.yaml:16:5: error: Rollout/checkout spec.gates[0].requests: the query uses {{pod}}, which is unknown: use {{namespace}}, {{name}}, {{service}}, {{track}}, {{revision}}, {{pods}}, {{window}} [invalid-query]
    ");
}

#[test]
fn what_is_perhaps_not_meant_is_a_warning() {
    let ratio = good().replace(
        "sum(rate(x_total{pod=~\"{{pods}}\"}[{{window}}]))",
        "sum(rate(x_total{pod=~\"{{pods}}\",code=~\"5..\"}[30s])) / sum(rate(x_total{pod=~\"{{pods}}\"}[30s]))",
    );
    let without = "apiVersion: tidegate.io/v1alpha1\nkind: Rollout\nmetadata: { name: cart, namespace: shop }\nspec:\n  workload: { kind: Deployment, name: cart }\n  traffic: { replicas: {} }\n  steps: [{ weight: 50, hold: 1m }]\n  gates: []\n";
    let report = lint(&[file("a.yaml", format!("{ratio}---\n{without}"))]);
    insta::assert_snapshot!(plain(&report.findings), @r"
    a.yaml:14:7: warning: Rollout/checkout spec.gates[0].threshold.query: the query looks back 30s, in which there are seldom the 3 scrapes that a rate needs: write a range of at least 45s, or {{window}} [short-range]
    a.yaml:14:7: warning: Rollout/checkout spec.gates[0].threshold.query: the query is a part of all requests, and one failure of one request would roll back: give the gate requests, a query for their number [single-failure]
    a.yaml:24:3: warning: Rollout/cart spec.gates: there are no gates, so nothing but readiness and your approval holds a bad revision back: write one, like a threshold for errors [no-gates]
    ");
    assert!(!report.fails(false) && report.fails(true));
}

#[test]
fn what_a_rollout_names_is_looked_for_where_other_objects_are() {
    let deployment =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: checkuot, namespace: shop }\n";
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: checkout }\n";
    assert_eq!(said_of_all(&[("a.yaml", &good())]), "");
    insta::assert_snapshot!(said_of_all(&[("a.yaml", &good()), ("b.yaml", deployment), ("c.yaml", service)]), @r"
    a.yaml:5:3: warning: Rollout/checkout spec.workload: no Deployment checkout is among the files: correct the name, or lint its file, too [missing-object]
    a.yaml:8:7: warning: Rollout/checkout spec.traffic.routes[0]: no HTTPRoute checkout is among the files: correct the name, or lint its file, too [missing-object]
    ");
    let template = ("t.yaml", "{{- if .x }}\nkind: Deployment\n{{- end }}\n");
    let with_template = said_of_all(&[("a.yaml", &good()), ("b.yaml", deployment), template]);
    assert!(!with_template.contains("missing-object"), "{with_template}");
    let elsewhere = deployment.replace("shop", "other");
    assert_eq!(
        said_of_all(&[("a.yaml", &good()), ("b.yaml", &elsewhere)]),
        ""
    );
}

#[test]
fn an_object_that_is_there_twice_is_found() {
    insta::assert_snapshot!(said_of_all(&[("a/x.yaml", &good()), ("b/y.yaml", &good())]), @r"b/y.yaml:3:13: warning: Rollout/checkout metadata.name: Rollout/checkout is also at a/x.yaml:1: keep one of the two [duplicate-object]");
    let anywhere = good().replace(", namespace: shop", "");
    assert_eq!(
        said_of_all(&[("a/x.yaml", &anywhere), ("b/y.yaml", &anywhere)]),
        ""
    );
    let beside = said_of_all(&[("a/x.yaml", &anywhere), ("a/y.yaml", &anywhere)]);
    assert!(beside.contains("[duplicate-object]"), "{beside}");
}

#[test]
fn a_kind_or_version_that_does_not_exist_is_found() {
    let kinds = good().replace("kind: Rollout", "kind: Rolout");
    let versions = good().replace("v1alpha1", "v1beta1");
    let other = good().replace("kind: Rollout", "kind: Pipeline");
    insta::assert_snapshot!(said("a.yaml", format!("{kinds}---\n{versions}---\n{other}")), @r"
    a.yaml:2:1: error: Rolout/checkout kind: the kind `Rolout` does not exist: did you mean `Rollout`? [unknown-kind]
    a.yaml:17:1: error: Rollout/checkout apiVersion: tidegate.io/v1beta1 has no Rollout: write apiVersion: tidegate.io/v1alpha1 [unknown-kind]
    a.yaml:34:1: error: Pipeline/checkout kind: the kind `Pipeline` does not exist: tidegate.io has Rollout, ConfigRepo, Intervention [unknown-kind]
    ");
}

#[test]
fn lists_anchors_and_several_documents_keep_their_places() {
    let item = good().replace('\n', "\n  ");
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n",
        item.trim_end()
    );
    assert_eq!(said("a.yaml", &list), "");
    let wrong = list.replace("hold: 5m", "hold: 5min");
    let anchors = with_steps(
        "  steps:\n  - &s { weight: 10, hold: 5min }\n  - *s\n  - { <<: *s, weight: 20 }",
    );
    insta::assert_snapshot!(said("a.yaml", format!("# nothing\n---\n---\n{wrong}---\n\n{anchors}---\n")), @r"
    a.yaml:16:21: error: Rollout/checkout spec.steps[0].hold: this is not a duration: write it like 90s, 5m or 1h30m [invalid-value]
    a.yaml:26:13: warning: Rollout/checkout metadata.name: Rollout/checkout is also at a.yaml:7: keep one of the two [duplicate-object]
    a.yaml:33:22: error: Rollout/checkout spec.steps[0].hold: this is not a duration: write it like 90s, 5m or 1h30m [invalid-value]
    a.yaml:34:5: error: Rollout/checkout spec.steps[1].hold: this is not a duration: write it like 90s, 5m or 1h30m [invalid-value]
    a.yaml:35:5: error: Rollout/checkout spec.steps[2].hold: this is not a duration: write it like 90s, 5m or 1h30m [invalid-value]
    ");
}

#[test]
fn a_list_of_one_kind_gives_its_elements_the_kind() {
    let item = good().replace('\n', "\n  ");
    let item = item.split_once("metadata").unwrap().1;
    let list = "apiVersion: tidegate.io/v1alpha1\nkind: RolloutList\nitems:\n- metadata";
    assert_eq!(said("a.yaml", format!("{list}{}\n", item.trim_end())), "");
    let wrong = item.replace("hold: 5m", "hodl: 5m");
    let said = said("a.yaml", format!("{list}{}\n", wrong.trim_end()));
    assert!(
        said.contains("Rollout/checkout spec.steps[0].hodl"),
        "{said}"
    );
}

#[test]
fn bytes_of_other_systems_are_read() {
    let windows = format!("\u{feff}{}", good().replace('\n', "\r\n"));
    assert_eq!(said("a.yaml", &windows), "");
    let wrong = windows.replace("weight", "wieght");
    assert!(
        said("a.yaml", wrong).starts_with("a.yaml:10:"),
        "the line is the editor's"
    );
    assert_eq!(said("a.yaml", ""), "");
    assert_eq!(said("a.yaml", "---\n# nothing\n---\n"), "");
}

#[test]
fn what_is_not_yaml_is_said_with_its_line() {
    let tabs = good().replace("  steps:", "\tsteps:");
    let twice = good().replace("  gates:", "  settle: 1s\n  settle: 2s\n  gates:");
    let mut not_utf8 = good().into_bytes();
    not_utf8.extend(b"# \xff\n");
    let bomb = format!("{}x: [{}]\n", good(), "1,".repeat(300_000));
    let all = [
        said("tabs.yaml", tabs),
        said("twice.yaml", twice),
        said("latin1.yaml", not_utf8),
        said("bomb.yaml", bomb),
    ];
    insta::assert_snapshot!(all.concat(), @r"
    tabs.yaml:9:1: error: this is not YAML: tabs disallowed within this context (block indentation) [invalid-yaml]
    twice.yaml:12:1: error: the key `settle` is there twice in one mapping: keep one [invalid-yaml]
    latin1.yaml:16:1: error: the file is not UTF-8 text [invalid-yaml]
    bomb.yaml:16:1: error: the file is larger or more deeply nested than Tidegate reads (depth 64, 200000 nodes, 1024 documents, 1000 aliases, 8 MiB with its aliases): split it, or write aliases out [invalid-yaml]
    ");
}

#[test]
fn a_file_of_another_tool_is_skipped_with_a_warning() {
    let helm = good().replace("name: checkout,", "name: {{ .Values.name }},");
    let huge = good() + &"# long\n".repeat(700_000);
    let all = [
        said("templates/rollout.yaml", helm),
        said("huge.yaml", huge),
        said("mkdocs.yml", "a: [1\nb: 2\n"),
        said("tsconfig.json", "{ // a comment\n \"a\": 1 }"),
    ];
    insta::assert_snapshot!(all.concat(), @r"
    templates/rollout.yaml:3:1: warning: this is a Helm template, not plain YAML, and is skipped: lint what `helm template` prints, with `tidegate lint -` [skipped]
    huge.yaml:1:1: warning: the file is larger than the 4 MiB that Tidegate reads, and is skipped: split it [skipped]
    mkdocs.yml:2:1: warning: this is not YAML: illegal placement of ':' indicator; the file is skipped, and a ConfigRepo that has it in its path is refused [skipped]
    ");
}

#[test]
fn a_patch_of_kustomize_is_linted_as_far_as_it_goes() {
    let kustomization = "resources: [../base]\npatches:\n- path: patch.yaml\n";
    let patch = "apiVersion: tidegate.io/v1alpha1\nkind: Rollout\nmetadata: { name: checkout }\nspec:\n  $patch: merge\n  steps: [{ weight: 5, hodl: 1m }]\n";
    insta::assert_snapshot!(said_of_all(&[("o/kustomization.yaml", kustomization), ("o/patch.yaml", patch)]), @r"o/patch.yaml:6:24: error: Rollout/checkout spec.steps[0].hodl: the field `hodl` does not exist: did you mean `hold`? [unknown-field]");
    let alone = said("o/patch.yaml", patch);
    assert!(alone.contains("`workload` is missing"), "{alone}");
}

#[test]
fn no_finding_repeats_a_credential() {
    let text = good().replace(
        "gates:",
        "metrics: { url: 'https://ada:hunter2@prometheus' }\n  gates:",
    );
    let said = said("a.yaml", text);
    assert!(
        said.contains("spec.metrics.url") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn programs_read_the_findings_too() {
    let text = good().replace("hold: 5m", "hodl: 5m");
    let report = lint(&[file("prod/a b.yaml", text)]);
    let json: Value = serde_json::from_str(&output::json(&report)).unwrap();
    insta::assert_json_snapshot!(json["findings"][0], @r#"
    {
      "check": "unknown-field",
      "column": 19,
      "field": "spec.steps[0].hodl",
      "file": "prod/a b.yaml",
      "line": 10,
      "message": "the field `hodl` does not exist: did you mean `hold`?",
      "object": "Rollout/checkout",
      "severity": "error"
    }
    "#);
    insta::assert_snapshot!(output::github::annotations(&report.findings), @r"::error file=prod/a b.yaml,line=10,col=19,title=unknown-field::Rollout/checkout spec.steps[0].hodl: the field `hodl` does not exist: did you mean `hold`?");
    let sarif: Value = serde_json::from_str(&output::sarif::log(&report.findings)).unwrap();
    insta::assert_json_snapshot!(sarif["runs"][0]["results"][0], @r#"
    {
      "level": "error",
      "locations": [
        {
          "physicalLocation": {
            "artifactLocation": {
              "uri": "prod/a%20b.yaml"
            },
            "region": {
              "startColumn": 19,
              "startLine": 10
            }
          }
        }
      ],
      "message": {
        "text": "Rollout/checkout spec.steps[0].hodl: the field `hodl` does not exist: did you mean `hold`?"
      },
      "ruleId": "unknown-field",
      "ruleIndex": 2
    }
    "#);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"]
        .as_array()
        .unwrap();
    for result in sarif["runs"][0]["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    assert_eq!(
        report.summary(),
        "1 object of tidegate.io in 1 file: 1 error, 0 warnings"
    );
}

#[test]
fn folders_are_read_with_the_kustomizations_beside_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("shop/a.yaml", &good());
    write("shop/b.YML", "a: 1\n");
    write("shop/readme.md", "no");
    write("shop/.git/c.yaml", "no");
    write("shop/kustomization.yaml", "resources: [a.yaml]\n");
    let names = |paths: &[PathBuf]| {
        let read = files::read(paths);
        let names = read
            .files
            .iter()
            .map(|file| file.path.rsplit_once('/').unwrap().1.to_owned());
        (names.collect::<Vec<_>>(), read.unreadable.len())
    };
    let root = folder.path().to_owned();
    assert_eq!(
        names(std::slice::from_ref(&root)),
        (
            vec![
                "a.yaml".to_owned(),
                "b.YML".to_owned(),
                "kustomization.yaml".to_owned()
            ],
            0
        )
    );
    assert_eq!(
        names(&[root.join("shop/a.yaml")]).0,
        ["a.yaml", "kustomization.yaml"]
    );
    assert_eq!(names(&[root.join("nowhere.yaml")]), (vec![], 1));
}
