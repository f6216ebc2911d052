//! The wrong variants of the protocol fit the sources: one that no longer applies proves nothing,
//! and `make mutants` is too slow to find that out at every change.

use crate::{files, report, root};

/// What a hunk of a patch expects: a file, and lines that stand next to each other in it.
type Hunk<'a> = (&'a str, Vec<&'a str>);

fn hunks(patch: &str) -> Vec<Hunk<'_>> {
    let (mut file, mut hunks): (_, Vec<Hunk<'_>>) = ("", Vec::new());
    for line in patch.lines() {
        if let Some(next) = line.strip_prefix("--- a/") {
            file = next;
        } else if line.starts_with("@@ ") {
            hunks.push((file, Vec::new()));
        } else if let (Some(old), Some((of, lines))) =
            (line.strip_prefix([' ', '-']), hunks.last_mut())
            && *of == file
        {
            lines.push(old);
        }
    }
    hunks
}

/// Why a patch does not apply, if it does not.
fn misfit(at: &str, patch: &str) -> Option<String> {
    let hunks = hunks(patch);
    if hunks.is_empty() {
        return Some(format!("{at} changes nothing"));
    }
    let wrong = hunks.into_iter().find(|(file, wanted)| {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        wanted.is_empty() || !lines.windows(wanted.len()).any(|window| window == wanted.as_slice())
    });
    wrong.map(|(file, _)| format!("{at} does not fit {file}"))
}

#[test]
fn every_wrong_variant_still_applies() {
    let all = files("simulators/mutants", &[".patch"]);
    let misfits: Vec<_> = all.iter().filter_map(|(path, patch)| misfit(path, patch)).collect();
    report("make these patches anew:", &misfits);
    let hunk = "--- a/sync/src/lib.rs\n+++ b/sync/src/lib.rs\n@@ -1 +1 @@\n-no such line\n+x\n";
    assert!(misfit("made-up.patch", hunk).is_some(), "the check finds one that does not fit");
}
