//! What docs/security.md says is shown by a test is.

use crate::{files, report, root};

/// The names in the last column of the page's tables.
fn named(page: &str) -> Vec<&str> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.filter(|name| name.matches('_').count() > 2).collect()
}

#[test]
fn every_claim_of_the_security_page_names_tests_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let names = named(&page);
    assert!(names.len() > 30, "the page's form has changed");
    let sources = files("", &[".rs"]);
    let is_there = |name: &str| {
        let head = format!("fn {name}(");
        sources.iter().any(|(_, text)| text.contains(&head))
    };
    let missing: Vec<_> =
        names.into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect();
    report("docs/security.md names tests that are not there:", &missing);
}
