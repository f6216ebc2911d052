//! The wrong variants of the protocol fit the sources: one that no longer applies proves nothing,
//! and `make mutants` is too slow to find that out at every change.

use crate::{files, report, root};

/// The lines that a patch expects next to each other, hunk by hunk.
fn expected(patch: &str) -> Vec<Vec<&str>> {
    let mut hunks: Vec<Vec<&str>> = Vec::new();
    for line in patch.lines() {
        match (line.strip_prefix([' ', '-']), hunks.last_mut()) {
            _ if line.starts_with("@@ ") => hunks.push(Vec::new()),
            (Some(old), Some(hunk)) => hunk.push(old),
            _ => {}
        }
    }
    hunks
}

/// Why a patch does not apply, if it does not.
fn misfit(path: &str, patch: &str) -> Option<String> {
    let target = patch.lines().find_map(|line| line.strip_prefix("--- a/"));
    let Some(target) = target else { return Some(format!("{path} names no file")) };
    let text = std::fs::read_to_string(root().join(target)).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let hunks = expected(patch);
    let is_there = |hunk: &Vec<&str>| lines.windows(hunk.len()).any(|window| window == hunk);
    let fits = !hunks.is_empty() && hunks.iter().all(|hunk| !hunk.is_empty() && is_there(hunk));
    (!fits).then(|| format!("{path} does not fit {target}"))
}

#[test]
fn every_wrong_variant_still_applies() {
    let all = files("simulators/mutants", &[".patch"]);
    let misfits: Vec<_> = all.iter().filter_map(|(path, patch)| misfit(path, patch)).collect();
    report("make these patches anew:", &misfits);
    let hunk = "--- a/sync/src/lib.rs\n+++ b/sync/src/lib.rs\n@@ -1 +1 @@\n-no such line\n+x\n";
    assert!(misfit("made-up.patch", hunk).is_some(), "the check finds one that does not fit");
}
