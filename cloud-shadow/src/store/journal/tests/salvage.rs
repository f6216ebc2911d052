//! What is whole up to the damage is saved, the rest is counted, and nothing of the old is changed.

use super::super::frame::HEAD;
use super::*;

/// A store with ten commits in its journal, which is damaged at a byte of its only file.
fn damaged_at(find: impl Fn(&[u8]) -> usize) -> Disk {
    let disk = Disk::new();
    let store = disk.open_alone(BOUNDS);
    store.commit(&[put("base", "1")]).unwrap();
    store.settle().unwrap();
    for n in 0..10 {
        store.commit(&[put(&format!("k{n}"), "v"), put("last", &n.to_string())]).unwrap();
    }
    drop(store);
    let journal = JournaledStore::journal_of(&disk.path());
    let (path, mut bytes) = files(&journal).pop().unwrap();
    let at = find(&bytes);
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
    assert!(JournaledStore::open(&disk.path()).is_err());
    disk
}

/// Where in a file the n-th frame begins.
fn frame(bytes: &[u8], n: usize) -> usize {
    let starts = (HEAD..bytes.len()).filter(|at| bytes[*at..].starts_with(b"GJf1"));
    starts.take(n + 1).last().unwrap()
}

#[test]
fn what_is_whole_up_to_the_damage_is_saved_and_the_old_store_is_as_it_was() {
    let disk = damaged_at(|bytes| frame(bytes, 5) + 25);
    let (before, into) = (files(disk.dir.path()), tempfile::tempdir().unwrap());
    let path = into.path().join("store.redb");
    let saved = JournaledStore::salvage(&disk.path(), &path).unwrap();
    assert_eq!(files(disk.dir.path()), before);
    assert_eq!(JournaledStore::outlook(&disk.path()).unwrap(), saved);
    let (file, what) = saved.damage.clone().unwrap();
    assert!(file.starts_with(JournaledStore::journal_of(&disk.path())), "{what}");
    let total = saved.commits + saved.lost_commits;
    assert!(saved.commits >= 4 && saved.lost_commits >= 5 && total >= 10, "{saved:?}");
    assert!(saved.lost_bytes > 100, "{saved:?}");
    let store = JournaledStore::open(&path).unwrap();
    let last: u64 = 10 - saved.lost_commits - 1;
    assert_eq!(store.get(b"last").unwrap(), Some(last.to_string().into_bytes()));
    assert_eq!(store.get(b"base").unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.scan(b"k").unwrap().len() as u64, last + 1);
    store.commit(&[put("more", "1")]).unwrap();
    drop(store);
    assert_eq!(JournaledStore::open(&path).unwrap().get(b"more").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn with_the_head_of_the_journal_damaged_the_base_is_saved() {
    let disk = damaged_at(|_| 20);
    let into = tempfile::tempdir().unwrap();
    let path = into.path().join("store.redb");
    let saved = JournaledStore::salvage(&disk.path(), &path).unwrap();
    assert!(saved.commits == 0 && saved.lost_commits >= 10, "{saved:?}");
    assert_eq!(JournaledStore::outlook(&disk.path()).unwrap(), saved);
    assert_eq!(rows(&JournaledStore::open(&path).unwrap()), "base=1");
}

#[test]
fn of_a_whole_store_nothing_is_lost() {
    let disk = Disk::new();
    let store = disk.open_alone(TINY);
    for n in 0..20 {
        store.commit(&[put(&format!("k{n:02}"), "v")]).unwrap();
    }
    let all = rows(&store);
    drop(store);
    let into = tempfile::tempdir().unwrap();
    let path = into.path().join("store.redb");
    let saved = JournaledStore::salvage(&disk.path(), &path).unwrap();
    assert_eq!((saved.damage, saved.lost_commits, saved.lost_bytes), (None, 0, 0));
    assert_eq!(rows(&JournaledStore::open(&path).unwrap()), all);
}

#[test]
fn without_its_journal_the_base_is_saved_and_the_loss_is_said() {
    let disk = damaged_at(|bytes| frame(bytes, 5) + 25);
    std::fs::remove_dir_all(JournaledStore::journal_of(&disk.path())).unwrap();
    let into = tempfile::tempdir().unwrap();
    let path = into.path().join("store.redb");
    let saved = JournaledStore::salvage(&disk.path(), &path).unwrap();
    assert!(saved.damage.unwrap().1.contains("missing"));
    assert_eq!(rows(&JournaledStore::open(&path).unwrap()), "base=1");
}
