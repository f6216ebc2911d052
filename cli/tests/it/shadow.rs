//! `gnomon shadow`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::run::{gnomon, seen};

#[test]
fn a_shadow_is_set_read_and_deleted() {
    let cloud = Cloud::start();
    let set = ["shadow", "set", "site-1", "device/p1", "mode=auto", "limits.max=80"];
    insta::assert_snapshot!(seen(&cloud.url, &set), @r"
    exit: 0
    --- stdout
    device/p1 on site-1: created v1
    --- stderr
    ");
    let replace = ["shadow", "set", "site-1", "device/p1", "-p", r#"{"a":1}"#, "--replace"];
    insta::assert_snapshot!(seen(&cloud.url, &replace), @r"
    exit: 0
    --- stdout
    device/p1 on site-1: desired v2
    --- stderr
    ");
    insta::assert_snapshot!(seen(&cloud.url, &["shadow", "get", "site-1", "device/p1"]), @r#"
    exit: 0
    --- stdout
    {
      "delta": null,
      "desired": {
        "document": {
          "a": 1
        },
        "version": 2
      },
      "key": "device/p1",
      "node": "site-1",
      "reported": null,
      "version": 2
    }
    --- stderr
    "#);
    insta::assert_snapshot!(seen(&cloud.url, &["shadow", "delete", "site-1", "device/p1"]), @r"
    exit: 0
    --- stdout
    device/p1 on site-1: desired deleted
    --- stderr
    ");
    insta::assert_snapshot!(seen(&cloud.url, &["shadow", "get", "site-1", "device/p1"]), @r"
    exit: 3
    --- stdout
    --- stderr
    error: site-1 has no shadow device/p1
    hint: see `gnomon get shadows --node NODE`
    ");
}

#[test]
fn a_version_that_is_not_the_current_one_is_a_conflict() {
    let cloud = Cloud::start();
    let set = ["shadow", "set", "site-1", "device/p1", "a=1", "--if-version", "0"];
    assert!(seen(&cloud.url, &set).starts_with("exit: 0"));
    insta::assert_snapshot!(seen(&cloud.url, &set), @r"
    exit: 4
    --- stdout
    --- stderr
    error: the desired half of device/p1 is at version 1
    hint: read it again with `gnomon shadow get NODE KEY` and repeat with its version
    ");
    let later = ["shadow", "set", "site-1", "device/p1", "a=2", "--if-version", "1"];
    assert!(seen(&cloud.url, &later).starts_with("exit: 0"));
}

#[test]
fn input_that_cannot_be_used_is_refused_before_the_cloud_is_asked() {
    let nobody = "http://127.0.0.1:1";
    let set = |what: &[&str]| seen(nobody, &[&["shadow", "set", "site-1", "node"], what].concat());
    insta::assert_snapshot!(set(&["-p", "{\"a\":1,\"a\":2}"]), @r#"
    exit: 5
    --- stdout
    --- stderr
    error: the patch is not the JSON that is needed: malformed JSON: the key "a" occurs twice at line 1 column 10
    "#);
    insta::assert_snapshot!(set(&["-p", "[1]"]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: the patch must be a JSON object
    ");
    insta::assert_snapshot!(set(&[]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: say what to set: FIELD.PATH=VALUE, --patch JSON or --file FILE
    ");
    insta::assert_snapshot!(set(&["a"]), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: "a" is not of the form FIELD.PATH=VALUE
    "#);
    for (node, key) in [("site_1", "node"), ("site-1", "app/..")] {
        let text = seen(nobody, &["shadow", "get", node, key]);
        assert!(text.starts_with("exit: 2\n"), "{text}");
    }
}

#[test]
fn a_watch_prints_lines_and_connects_again() {
    let cloud = Cloud::start();
    cloud.with(|content| {
        content.desired.insert("device/p1".to_owned(), (1, json!({"a": 1})));
    });
    let mut child = gnomon(&cloud.url, &["shadow", "watch", "site-1", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut data = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&data.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["desired"]["document"], json!({"a": 1}));
    assert_eq!(talk.next().unwrap().unwrap(), "watch: the cloud closed the stream");
    assert_eq!(talk.next().unwrap().unwrap(), "watch: trying again in 1 s");
    cloud.with(|content| {
        content.desired.insert("device/p1".to_owned(), (2, json!({"a": 2})));
    });
    assert_eq!(talk.next().unwrap().unwrap(), "watch: connected again");
    // The unchanged would not be printed again, so this line is the change.
    let second: Value = serde_json::from_str(&data.next().unwrap().unwrap()).unwrap();
    assert_eq!(second["desired"]["version"], 2);
    child.kill().unwrap();
    child.wait().unwrap();
}
