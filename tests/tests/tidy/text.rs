//! What the pages say about the tree.

use crate::{files, report, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let mut findings = Vec::new();
    for (path, text) in files(".", &[".md"]) {
        for command in text.split('`').filter(|part| part.starts_with("make ")) {
            let target = command.split_whitespace().nth(1).unwrap_or_default();
            if !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
                findings.push(format!("{path} names `{command}`"));
            }
        }
    }
    report("the Makefile has no such target:", &findings);
}

#[test]
fn every_file_that_a_page_links_exists() {
    let mut findings = Vec::new();
    for (path, text) in files(".", &[".md"]) {
        let folder = root().join(&path).parent().unwrap().to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let outside = file.is_empty() || file.contains("://");
            if !outside && !folder.join(file).exists() {
                findings.push(format!("{path} links {link}"));
            }
        }
    }
    report("broken links:", &findings);
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let page = read("ARCHITECTURE.md");
    let places = [
        "schemas/",
        "sync/",
        "broker/",
        "cloud-shadow/",
        "edge-runtime/",
        "simulators/",
        "cli/",
        "tests/",
        "docs/",
    ];
    let mut findings = Vec::new();
    let mut seen = 0;
    for name in page.split('`').filter(|part| places.iter().any(|place| part.starts_with(place))) {
        if name.contains(['*', '{', ' ', '<']) {
            continue;
        }
        seen += 1;
        if !root().join(name).exists() {
            findings.push(name.to_owned());
        }
    }
    assert!(seen > 10, "ARCHITECTURE.md names only {seen} places");
    report("ARCHITECTURE.md names places that are not there:", &findings);
}

#[test]
fn every_kept_decision_is_listed() {
    let index = read("docs/adr/README.md");
    let missing = files("docs/adr", &[".md"]).into_iter().map(|(path, _)| path);
    let missing = missing.filter(|path| !path.ends_with("README.md"));
    let missing: Vec<_> =
        missing.filter(|path| !index.contains(path.rsplit('/').next().unwrap())).collect();
    report("docs/adr/README.md does not list:", &missing);
}

#[test]
fn no_merge_is_half_done() {
    let marks = ['<', '>'].map(|mark| format!("{} ", mark.to_string().repeat(7)));
    let endings = [".rs", ".md", ".toml", ".sh", ".py", ".mjs", ".yaml", ".lock", "Makefile"];
    let mut findings = Vec::new();
    for (path, text) in files(".", &endings) {
        let is_mark = |line: &str| marks.iter().any(|mark| line.starts_with(mark));
        if text.lines().any(is_mark) {
            findings.push(path);
        }
    }
    report("marks of a conflict stand in:", &findings);
}
