//! How a source file looks: its size, its first line, what it may not hold.

use crate::{files, report};

const LINES: usize = 500;

#[test]
fn files_are_small_rooms() {
    let all = files(".", &[".rs", ".go", ".py", ".js", ".ts", ".sh"]);
    let long = all.iter().filter(|(_, text)| text.lines().count() > LINES);
    let long = long.map(|(path, text)| format!("{path} has {} lines", text.lines().count()));
    report("no file has more than 500 lines:", &long.collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = files(".", &[".rs"]);
    let silent =
        all.iter().filter(|(_, text)| !text.starts_with("//!") && !text.starts_with("#!["));
    report(
        "these files do not open with `//!`:",
        &silent.map(|(path, _)| path.clone()).collect::<Vec<_>>(),
    );
}

#[test]
fn modules_have_one_style() {
    let all = files(".", &[".rs"]);
    let old: Vec<_> = all.into_iter().map(|(p, _)| p).filter(|p| p.ends_with("/mod.rs")).collect();
    report("foo.rs + foo/, never mod.rs:", &old);
}

#[test]
fn nothing_is_left_open() {
    let marks = [
        "TO".to_owned() + "DO",
        "FIX".to_owned() + "ME",
        "to".to_owned() + "do!(",
        "un".to_owned() + "implemented!(",
        "#[ig".to_owned() + "nore",
    ];
    let mut findings = Vec::new();
    for (path, text) in files(".", &[".rs", ".sh", ".md", ".toml", ".yaml", "Makefile"]) {
        for (at, line) in text.lines().enumerate() {
            // A test that another one starts as a process of its own, to kill it.
            if line.contains(concat!("#[ig", "nore = \"it is the ")) {
                continue;
            }
            if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                findings.push(format!("{path}:{} holds {mark}", at + 1));
            }
        }
    }
    report("issues hold open work, the tree does not:", &findings);
}

#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let mut findings = Vec::new();
    for (path, text) in files(".", &[".rs"]) {
        let is_test = path.starts_with("tests/") || path.contains("/tests/");
        // A benchmark paces its load.
        let may_sleep = path.ends_with("/eventually.rs") || path.contains("/benches/");
        if !is_test || may_sleep {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            if line.contains(concat!("thread::", "sleep(")) {
                findings.push(format!("{path}:{} sleeps", at + 1));
            }
        }
    }
    report("use an `eventually` helper with a deadline:", &findings);
}
