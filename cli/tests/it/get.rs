//! `gnomon get` and `gnomon node`.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::run::{gnomon, seen};

fn cloud_with_an_app() -> Cloud {
    let cloud = Cloud::start();
    cloud.with(|content| {
        content.desired.insert("app/web".to_owned(), (3, json!({"services": {}})));
        let service = json!({"state": "running", "running": 1, "replicas": 2});
        let status = json!({
            "desired_version": 2, "state": "degraded", "reason": "one copy is missing",
            "services": {"web": service},
        });
        content.reported.insert("app/web".to_owned(), status);
    });
    cloud
}

/// Ages differ from run to run.
fn without_ages(text: &str) -> String {
    let age = |word: &str| {
        word.ends_with('d') && word.len() > 3 && word.trim_end_matches('d').parse::<u64>().is_ok()
    };
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| if age(word) { "AGE" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn nodes_are_listed_for_people() {
    let cloud = cloud_with_an_app();
    insta::assert_snapshot!(without_ages(&seen(&cloud.url, &["get", "nodes"])), @r"
    exit: 0
    --- stdout
    NAME STATUS SINCE IN-SYNC SHADOWS LAST-SEEN
    site-1 online AGE no 2 AGE
    --- stderr
    ");
    insta::assert_snapshot!(without_ages(&seen(&cloud.url, &["get", "node", "-o", "wide"])), @r"
    exit: 0
    --- stdout
    NAME STATUS SINCE IN-SYNC SHADOWS LAST-SEEN BEHIND DOWN UP BATCHES LABELS
    site-1 online AGE no 2 AGE 2 12 kB 99 B 3/2 region=south
    --- stderr
    ");
}

#[test]
fn apps_and_shadows_are_listed_for_people() {
    let cloud = cloud_with_an_app();
    insta::assert_snapshot!(seen(&cloud.url, &["get", "apps"]), @r"
    exit: 0
    --- stdout
    NODE    APP  STATE     SERVICES  DESIRED  REPORTED  REASON
    site-1  web  degraded  1/2       v3       v2        one copy is missing
    --- stderr
    ");
    insta::assert_snapshot!(without_ages(&seen(&cloud.url, &["get", "shadows"])), @r"
    exit: 0
    --- stdout
    NODE KEY VERSION DESIRED REPORTED AGO
    site-1 app/web 4 v3 v1 AGE
    --- stderr
    ");
}

#[test]
fn json_is_an_array_and_keeps_what_this_build_does_not_know() {
    let cloud = cloud_with_an_app();
    let output = gnomon(&cloud.url, &["get", "nodes", "-o", "json"]).output().unwrap();
    let nodes: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(nodes[0]["down"]["probes"], 0);
    assert_eq!(nodes[0]["down"]["epoch"], "aa");
    let one = seen(&cloud.url, &["get", "shadows", "app/web", "-n", "site-1", "-o", "yaml"]);
    insta::assert_snapshot!(one, @r#"
    exit: 0
    --- stdout
    - delta: null
      desired:
        document:
          services: {}
        version: 3
      key: app/web
      node: site-1
      reported:
        document:
          desired_version: 2
          reason: "one copy is missing"
          services:
            web:
              replicas: 2
              running: 1
              state: running
          state: degraded
        updated_ms: 0
        version: 1
      version: 4
    --- stderr
    "#);
}

#[test]
fn an_unknown_name_is_not_found() {
    let cloud = cloud_with_an_app();
    insta::assert_snapshot!(seen(&cloud.url, &["get", "apps", "nope"]), @r"
    exit: 3
    --- stdout
    --- stderr
    error: there is no nope among the apps
    ");
    insta::assert_snapshot!(seen(&cloud.url, &["get", "shadows", "--node", "site-9"]), @r"
    exit: 3
    --- stdout
    --- stderr
    error: there is no node site-9
    hint: see `gnomon get nodes`, or create it with `gnomon node create NAME`
    ");
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_failure() {
    let cloud = cloud_with_an_app();
    let mut child = gnomon(&cloud.url, &["get", "nodes"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn nodes_are_created_and_get_tokens() {
    let cloud = Cloud::start();
    let create = ["node", "create", "site-2", "--label", "region=north"];
    insta::assert_snapshot!(seen(&cloud.url, &create), @r"
    exit: 0
    --- stdout
    node/site-2 created
    --- stderr
    let it join with the token of `gnomon node token site-2`
    ");
    insta::assert_snapshot!(seen(&cloud.url, &["node", "token", "site-1", "--ttl", "5m"]), @r"
    exit: 0
    --- stdout
    ticket
    --- stderr
    on the site's machine: gnomon-edge join http://CLOUD --token TOKEN --data DIR (works once)
    ");
    insta::assert_snapshot!(seen(&cloud.url, &["node", "token", "site-9"]), @r"
    exit: 3
    --- stdout
    --- stderr
    error: there is no node site-9
    hint: see `gnomon get nodes`, or create it with `gnomon node create NAME`
    ");
}
