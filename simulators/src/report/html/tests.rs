//! The page of a fixed report.

use std::path::Path;

use super::*;

fn report() -> Report {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/html/report.json");
    Report::read(&at).unwrap()
}

#[test]
fn the_page_of_a_fixed_report_is_this() {
    insta::assert_snapshot!(page(&report()));
}

#[test]
fn the_page_needs_nothing_but_itself() {
    let page = page(&report());
    for outside in ["src=", "href=", "url(", "<script", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let addresses = page.matches("http").count();
    let names = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
    assert_eq!(addresses, names, "only the name of SVG");
}

#[test]
fn what_others_say_cannot_break_out_of_the_page() {
    let mut report = report();
    report.reasons.insert("<script>alert(1)</script>".to_owned(), 1);
    report.troubles.push("\"><img>".to_owned());
    let page = page(&report);
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>"));
    assert!(!page.contains("<img>"));
}

#[test]
fn a_run_that_was_stopped_at_once_has_a_page_too() {
    let page = page(&Report { ended: "stopped".to_owned(), ..Report::default() });
    assert!(page.contains("not complete") && page.contains("stopped"));
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
}
