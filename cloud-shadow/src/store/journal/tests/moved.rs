//! A store's file and a journal that are not those that were in use together.

use super::*;

/// A store of which the base has some commits, and only the journal the others.
fn used() -> Disk {
    let disk = Disk::new();
    let store = disk.open_alone(BOUNDS);
    for n in 0..3 {
        store.commit(&[put("a", &n.to_string())]).unwrap();
        if n == 1 {
            store.shared.flush().unwrap();
        }
    }
    disk
}

fn refused(disk: &Disk, reason: &str) {
    let before = files(disk.dir.path());
    let error = JournaledStore::open(&disk.path()).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }), "{error:?}");
    let said = error.to_string();
    for word in [reason, "store.redb", "store.journal", "gnomon-cloud restore"] {
        assert!(said.contains(word), "{said:?} has no {word:?}");
    }
    assert_eq!(files(disk.dir.path()).len(), before.len(), "nothing is made");
}

#[test]
fn a_store_without_its_journal_is_refused() {
    let disk = used();
    std::fs::remove_dir_all(JournaledStore::journal_of(&disk.path())).unwrap();
    refused(&disk, "the journal is missing");
}

#[test]
fn a_journal_without_its_store_is_refused_and_no_store_is_made() {
    let disk = used();
    let aside = disk.dir.path().join("aside");
    std::fs::rename(disk.path(), &aside).unwrap();
    refused(&disk, "the store's file is missing");
    std::fs::write(disk.path(), b"").unwrap();
    refused(&disk, "the store's file is missing");
    std::fs::rename(&aside, disk.path()).unwrap();
    assert_eq!(rows(&disk.open(BOUNDS)), "a=2");
}

#[test]
fn a_journal_of_another_store_is_refused() {
    let (disk, other) = (used(), used());
    std::fs::copy(other.path(), disk.path()).unwrap();
    refused(&disk, "belongs to another store");
    std::fs::remove_file(disk.path()).unwrap();
    RedbStore::open(&disk.path()).unwrap().commit(&[put("b", "1")]).unwrap();
    refused(&disk, "belongs to another store");
}

#[test]
fn an_older_copy_of_either_is_refused() {
    let disk = used();
    let old = tempfile::tempdir().unwrap();
    copy(disk.dir.path(), old.path());
    let store = disk.open_alone(Bounds { file: 1, ..BOUNDS });
    for n in 3..9 {
        store.commit(&[put("a", &n.to_string())]).unwrap();
        store.shared.flush().unwrap();
    }
    store.commit(&[put("a", "9")]).unwrap();
    drop(store);
    let now = tempfile::tempdir().unwrap();
    copy(disk.dir.path(), now.path());
    std::fs::copy(old.path().join("store.redb"), disk.path()).unwrap();
    refused(&disk, "older than the journal");
    std::fs::copy(now.path().join("store.redb"), disk.path()).unwrap();
    let journal = JournaledStore::journal_of(&disk.path());
    std::fs::remove_dir_all(&journal).unwrap();
    copy(&old.path().join("store.journal"), &journal);
    refused(&disk, "the journal is older");
}

#[test]
fn a_file_that_is_missing_in_the_middle_is_refused() {
    let disk = Disk::new();
    let store = disk.open_alone(Bounds { file: 1, ..BOUNDS });
    for n in 0..4 {
        store.commit(&[put("a", &n.to_string())]).unwrap();
    }
    drop(store);
    let (third, _) = files(&JournaledStore::journal_of(&disk.path())).remove(2);
    std::fs::remove_file(third).unwrap();
    refused(&disk, "in the middle of the journal");
}

#[test]
fn what_a_first_commit_has_left_behind_is_no_journal() {
    let disk = Disk::new();
    RedbStore::open(&disk.path()).unwrap().commit(&[put("a", "1")]).unwrap();
    let store = disk.open_alone(BOUNDS);
    disk.fail(Some((Step::Mark, ErrorKind::Other)));
    store.commit(&[put("b", "1")]).unwrap_err();
    disk.fail(None);
    drop(store);
    assert_eq!(files(&JournaledStore::journal_of(&disk.path())).len(), 1);
    let store = disk.open_alone(BOUNDS);
    store.commit(&[put("c", "1")]).unwrap();
    drop(store);
    assert_eq!(rows(&disk.open(BOUNDS)), "a=1 c=1");
}

#[test]
fn a_journal_file_that_was_removed_takes_nothing_more() {
    let disk = used();
    let store = disk.open(BOUNDS);
    let (path, _) = files(&JournaledStore::journal_of(&disk.path())).pop().unwrap();
    std::fs::remove_file(path).unwrap();
    let error = store.commit(&[put("a", "9")]).unwrap_err();
    assert!(matches!(error, StoreError::Gone { .. }), "{error:?}");
    assert_eq!(rows(&store), "a=2");
}
