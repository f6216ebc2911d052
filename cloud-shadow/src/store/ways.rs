//! The ways out for whoever stands before a store that cannot be used, in the order in which to try
//! them. Only says them; each leaves what is there as it is.

use std::path::Path;

use super::JournaledStore;

/// Where rows cannot be read although the store is whole.
pub const WAY_BACK: &str = "put back a backup with `gnomon-cloud restore FILE --data DIR \
                            --replace`; `gnomon-cloud check --data DIR` says what else is damaged";

/// Out of a damaged file of a store: its base, or a file of its journal.
pub(super) fn of_damaged(file: &Path) -> String {
    let folder = file.parent().unwrap_or(Path::new(""));
    if folder.extension().is_some_and(|extension| extension == JournaledStore::JOURNAL) {
        return of_store(folder);
    }
    let data = quoted(folder);
    format!(
        "put back a backup with `gnomon-cloud restore FILE --data {data} --replace`; see with \
         `gnomon-cloud check --data {data}` what can be read; `--salvage` is no way out here, \
         because it needs a whole store.redb"
    )
}

/// Out of a journal that is damaged, or does not belong to the store's file. Given is its folder.
pub(super) fn of_store(journal: &Path) -> String {
    let data = quoted(journal.parent().unwrap_or(Path::new("")));
    format!(
        "put back a backup with `gnomon-cloud restore FILE --data {data} --replace`; see with \
         `gnomon-cloud check --data {data}` how much can be saved without one; save that with \
         `gnomon-cloud check --data {data} --salvage NEW`, and start the cloud with `--data NEW`"
    )
}

/// A folder as a shell takes it.
fn quoted(folder: &Path) -> String {
    let text = folder.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.as_str() {
        "" => ".".to_owned(),
        plain if plain.chars().all(is_plain) => text,
        _ => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_are_commands_for_the_folder_at_hand() {
        let said = of_damaged(Path::new("/var/lib/g/store.journal/000000000000000a"));
        let ways = [
            "gnomon-cloud restore FILE --data /var/lib/g --replace`",
            "gnomon-cloud check --data /var/lib/g`",
            "gnomon-cloud check --data /var/lib/g --salvage NEW`",
        ];
        let places: Vec<_> = ways.iter().map(|way| said.find(way).expect(way)).collect();
        assert!(places.is_sorted(), "{said}");
        let said = of_damaged(Path::new("store.redb"));
        assert!(said.contains("check --data .`") && !said.contains("--salvage NEW"), "{said}");
        let said = of_damaged(Path::new("/a b's/store.redb"));
        assert!(said.contains(r"--data '/a b'\''s' --replace"), "{said}");
    }
}
