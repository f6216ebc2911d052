//! What the programs wrote: kept for whoever looks for a reason, and the lines that ask for a person
//! counted by kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::NODES;

/// The logs of a campaign: the name to keep each under, and where it is.
fn all(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for part in NODES.iter().chain(&["cloud"]) {
        for entry in fs::read_dir(folder.join(part)).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == "log") {
                let name = entry.file_name().to_string_lossy().into_owned();
                found.push((format!("{part}-{name}"), path));
            }
        }
    }
    found
}

/// Copies them.
pub(crate) fn keep(folder: &Path, into: &Path) {
    for (name, path) in all(folder) {
        let _copied = fs::copy(path, into.join(name));
    }
}

/// The lines of Gnomon's programs at ERROR, without what differs from one to the next.
pub(crate) fn errors(folder: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let ours = all(folder).into_iter().filter(|(name, _)| !name.contains("dockerd"));
    for (_, path) in ours {
        let text = fs::read(path).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            if let Some(kind) = kind(line, &folder.to_string_lossy()) {
                *counts.entry(kind).or_default() += 1;
            }
        }
    }
    counts
}

fn kind(line: &str, folder: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, colour)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = colour.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let (_, what) = plain.split_once(" ERROR ")?;
    let what = what.replace(folder, "");
    let mut kind = String::new();
    for character in what.trim().chars().take(200) {
        let is_digit = character.is_ascii_digit();
        if !(is_digit && kind.ends_with('#')) {
            kind.push(if is_digit { '#' } else { character });
        }
    }
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_one_kind_are_one_whatever_their_colours_and_numbers() {
        let line =
            "\u{1b}[2m2026-11-21T19:43:15Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m /tmp/x/a: os error 28";
        assert_eq!(kind(line, "/tmp/x").as_deref(), Some("/a: os error #"));
        assert_eq!(kind("2026 WARN ERRORS are rare", "/tmp/x"), None);
    }
}
