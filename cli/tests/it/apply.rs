//! `gnomon apply`.

use std::path::Path;

use serde_json::json;

use crate::cloud::Cloud;
use crate::run::{seen, seen_in};

const COMPOSE: &str = "\
name: hello
services:
  web:
    image: hello:${TAG:-1}
    environment: { A: one }
";

fn folder(compose: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("compose.yaml"), compose).unwrap();
    folder
}

fn apply(folder: &Path, cloud: &Cloud, more: &[&str]) -> String {
    let args = [&["apply", "-f", "compose.yaml", "--node", "site-1"], more].concat();
    seen_in(folder, &cloud.url, &args)
}

#[test]
fn an_app_is_created_then_unchanged_then_changed() {
    let cloud = Cloud::start();
    let folder = folder(COMPOSE);
    insta::assert_snapshot!(apply(folder.path(), &cloud, &[]), @r"
    exit: 0
    --- stdout
    app/hello on site-1: created (v1, 1 service)
    --- stderr
    ");
    insta::assert_snapshot!(apply(folder.path(), &cloud, &[]), @r"
    exit: 0
    --- stdout
    app/hello on site-1: unchanged (v1)
    --- stderr
    ");
    let changed = COMPOSE.replace("one", "two").replace(":-1", ":-2");
    std::fs::write(folder.path().join("compose.yaml"), changed).unwrap();
    insta::assert_snapshot!(apply(folder.path(), &cloud, &[]), @r#"
    exit: 0
    --- stdout
    app/hello on site-1: changed (v1 -> v2)
      ~ services.web.environment.A: "one" -> "two"
      ~ services.web.image: "hello:1" -> "hello:2"
    --- stderr
    "#);
}

#[test]
fn nothing_is_written_while_one_node_is_unknown() {
    let cloud = Cloud::start();
    let text = apply(folder(COMPOSE).path(), &cloud, &["--node", "site-9"]);
    insta::assert_snapshot!(text, @r"
    exit: 3
    --- stdout
    --- stderr
    error: there is no node site-9
    hint: see `gnomon get nodes`, or create it with `gnomon node create NAME`
    ");
    assert!(cloud.with(|content| content.desired.is_empty()));
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let nobody = Cloud::start();
    let bad = folder("name: hello\nservices:\n  web: { image: a, privileged: true }\n");
    insta::assert_snapshot!(apply(bad.path(), &nobody, &[]), @r"
    exit: 5
    --- stdout
    --- stderr
    error: compose.yaml:3:20: services.web.privileged is not supported
    ");
    let unnamed = folder("services:\n  web: { image: a }\n");
    insta::assert_snapshot!(apply(unnamed.path(), &nobody, &[]), @r"
    exit: 2
    --- stdout
    --- stderr
    error: compose.yaml does not name its app: write `name:` into it or give --app NAME
    ");
    insta::assert_snapshot!(seen(&nobody.url, &["apply", "-f", "none.yaml", "-n", "site-1"]), @r"
    exit: 1
    --- stdout
    --- stderr
    error: cannot read none.yaml: No such file or directory (os error 2)
    ");
}

#[test]
fn a_file_outside_the_folder_is_not_read() {
    let cloud = Cloud::start();
    let folder = folder(
        "name: a\nservices:\n  w: { image: a, configs: [c] }\nconfigs: { c: { file: ./c } }\n",
    );
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("c")).unwrap();
    let text = apply(folder.path(), &cloud, &[]);
    assert!(text.starts_with("exit: 5\n"), "{text}");
    assert!(text.contains("leads out of the folder"), "{text}");
}

#[test]
fn waiting_ends_when_the_site_reports_the_version() {
    let cloud = Cloud::start();
    let folder = folder(COMPOSE);
    cloud.with(|content| {
        let status = json!({"desired_version": 1, "state": "running", "good": true});
        content.reported.insert("app/hello".to_owned(), status);
    });
    insta::assert_snapshot!(apply(folder.path(), &cloud, &["--wait"]), @r"
    exit: 0
    --- stdout
    app/hello on site-1: created (v1, 1 service)
    --- stderr
    app/hello on site-1: running, and good
    ");
}

#[test]
fn waiting_fails_when_the_site_goes_back_to_the_revision_before() {
    let cloud = Cloud::start();
    let folder = folder(COMPOSE);
    cloud.with(|content| {
        let status = json!({"desired_version": 1, "state": "failed", "good": true,
            "rolled_back_from": "1".repeat(32), "reason": "rolled back from 111111111111: it fell"});
        content.reported.insert("app/hello".to_owned(), status);
    });
    insta::assert_snapshot!(apply(folder.path(), &cloud, &["--wait"]), @r"
    exit: 1
    --- stdout
    app/hello on site-1: created (v1, 1 service)
    --- stderr
    error: app/hello on site-1: rolled back from 111111111111: it fell
    ");
}

#[test]
fn waiting_too_long_says_what_was_last_seen() {
    let cloud = Cloud::start();
    let folder = folder(COMPOSE);
    cloud.with(|content| {
        let status = json!({"desired_version": 1, "state": "failed", "reason": "no such image"});
        content.reported.insert("app/hello".to_owned(), status);
    });
    let text = apply(folder.path(), &cloud, &["--wait", "--timeout", "2s"]);
    insta::assert_snapshot!(text, @r"
    exit: 7
    --- stdout
    app/hello on site-1: created (v1, 1 service)
    --- stderr
    app/hello on site-1: failed: no such image
    error: app/hello does not run everywhere after 2 s; it stays desired and sites that come back will run it:
      site-1: v1 wanted, failed: no such image seen
    ");
}
