//! The rules of ARCHITECTURE.md, enforced by reading the tree. A rule that is not checked here is
//! a wish.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test harness")]

mod crates;
mod names;
mod operations;
mod security;
mod source;
mod text;
mod variants;

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file below `folder` with one of the endings, as (path from the root, text).
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "target" || name == ".git" || name == ".cache" || name == "corpus" {
            continue;
        }
        if path.is_dir() {
            let entries = path.read_dir().unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((short, text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {endings:?} below {folder:?}: the check would check nothing");
    found
}

/// Fails with all findings at once.
pub(crate) fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}", findings.join("\n  "));
}

/// Whether a file is test code: a test crate, or a module of unit tests.
pub(crate) fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("/laws.rs")
        || path.ends_with("/contract.rs")
}

/// A source file without its inline tests.
pub(crate) fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}
