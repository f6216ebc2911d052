//! What only a store with a journal can do wrong.

use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use super::file::Step;
use super::*;
use crate::store::contract;

mod crashes;
mod laws;
mod moved;
mod salvage;

/// So small that everything is full all the time.
const TINY: Bounds = Bounds {
    layer: 400,
    file: 300,
    commit: 2000,
    part: 300,
    age: Duration::from_hours(1),
    retry: Duration::from_millis(1),
};

/// A folder with a store, whose disk may be failed.
struct Disk {
    dir: tempfile::TempDir,
    fails: Arc<Mutex<Option<(Step, ErrorKind)>>>,
}

impl Disk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), fails: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store.redb")
    }

    /// From now on this step fails, or none.
    fn fail(&self, fails: Option<(Step, ErrorKind)>) {
        *self.fails.lock().unwrap() = fails;
    }

    fn watch(&self) -> Watch {
        let fails = Arc::clone(&self.fails);
        Arc::new(move |step| match *fails.lock().unwrap() {
            Some((failing, kind)) if failing == step => Err(Error::from(kind)),
            _ => Ok(()),
        })
    }

    fn open(&self, bounds: Bounds) -> JournaledStore {
        JournaledStore::open_with(&self.path(), bounds, self.watch()).unwrap()
    }

    /// The store without its thread: it flushes only where a commit has to, or when it is told.
    fn open_alone(&self, bounds: Bounds) -> JournaledStore {
        let shared = open::open(&self.path(), bounds, self.watch(), RedbStore::open).unwrap();
        JournaledStore { shared: Arc::new(shared), flusher: None }
    }
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.into(), value: value.into() }
}

fn rows(store: &dyn Store) -> String {
    let text = |(key, value): &Pair| format!("{}={}", key.escape_ascii(), value.escape_ascii());
    store.scan(b"").unwrap().iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Everything in a folder and below it.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_journaled_store_keeps_the_contract_whatever_fits_into_memory() {
    for bounds in [BOUNDS, TINY] {
        let disk = Disk::new();
        contract::keeps_it(&mut || Box::new(disk.open(bounds)));
        let disk = Disk::new();
        contract::keeps_it(&mut || Box::new(disk.open_alone(bounds)));
    }
}

#[test]
fn a_store_of_the_form_without_a_journal_opens_and_goes_on() {
    let disk = Disk::new();
    RedbStore::open(&disk.path()).unwrap().commit(&[put("a", "1"), put("b", "1")]).unwrap();
    let store = disk.open(BOUNDS);
    assert_eq!(rows(&store), "a=1 b=1");
    store.commit(&[put("b", "2"), put("c", "2")]).unwrap();
    drop(store);
    assert_eq!(rows(&disk.open(BOUNDS)), "a=1 b=2 c=2");
}

#[test]
fn a_store_that_was_settled_is_one_file() {
    let disk = Disk::new();
    let store = disk.open(BOUNDS);
    store.commit(&[put("a", "1")]).unwrap();
    store.settle().unwrap();
    store.settle().unwrap();
    drop(store);
    std::fs::remove_dir_all(JournaledStore::journal_of(&disk.path())).unwrap();
    let store = disk.open(BOUNDS);
    assert_eq!(rows(&store), "a=1");
    store.commit(&[put("b", "1")]).unwrap();
    drop(store);
    assert_eq!(rows(&disk.open(BOUNDS)), "a=1 b=1");
}

#[test]
fn files_are_used_again_and_their_number_is_bounded() {
    let disk = Disk::new();
    let store = disk.open(TINY);
    for n in 0..300 {
        store.commit(&[put("a", &format!("{n:0100}")), put(&format!("k{}", n % 7), "v")]).unwrap();
        let count = std::fs::read_dir(JournaledStore::journal_of(&disk.path())).unwrap().count();
        assert!(count <= 8, "{count} files after {n} commits");
    }
    drop(store);
    let store = disk.open(TINY);
    assert_eq!(store.get(b"a").unwrap(), Some(format!("{:0100}", 299).into_bytes()));
    assert_eq!(store.scan(b"k").unwrap().len(), 7);
}

#[test]
fn a_commit_that_is_too_large_for_the_journal_is_in_its_place_among_the_others() {
    let disk = Disk::new();
    let store = disk.open(TINY);
    store.commit(&[put("a", "1"), put("b", "1")]).unwrap();
    store.commit(&[put("a", &"x".repeat(5000)), put("c", "2")]).unwrap();
    store.commit(&[put("c", "3")]).unwrap();
    let expected = format!("a={} b=1 c=3", "x".repeat(5000));
    assert_eq!(rows(&store), expected);
    drop(store);
    assert_eq!(rows(&disk.open(TINY)), expected);
}

#[test]
fn a_full_disk_refuses_a_commit_and_the_next_one_with_room_goes_on() {
    for step in [Step::Create, Step::Named, Step::Mark, Step::Grow, Step::Append] {
        let disk = Disk::new();
        let store = disk.open(Bounds { file: 64, ..BOUNDS });
        disk.fail(Some((step, ErrorKind::StorageFull)));
        for _ in 0..3 {
            let error = store.commit(&[put("a", "1")]).unwrap_err();
            assert!(error.is_full(), "{step:?}: {error}");
            assert_eq!(rows(&store), "");
        }
        disk.fail(None);
        store.commit(&[put("a", "2")]).unwrap();
        store.commit(&[put("b", "2")]).unwrap();
        drop(store);
        assert_eq!(rows(&disk.open(BOUNDS)), "a=2 b=2", "{step:?}");
    }
}

#[test]
fn while_the_disk_is_full_a_commit_is_refused_that_would_still_fit() {
    let disk = Disk::new();
    let store = disk.open(BOUNDS);
    store.commit(&[put("a", "1")]).unwrap();
    disk.fail(Some((Step::Grow, ErrorKind::StorageFull)));
    store.commit(&[put("b", "2")]).unwrap();
    assert!(store.commit(&[put("c", &"x".repeat(5 << 20))]).unwrap_err().is_full());
    assert!(store.commit(&[put("d", "4")]).unwrap_err().is_full());
    disk.fail(None);
    store.commit(&[put("e", "5")]).unwrap();
    drop(store);
    assert_eq!(rows(&disk.open(BOUNDS)), "a=1 b=2 e=5");
}

#[test]
fn a_sync_that_failed_is_not_believed_again_and_what_it_refused_never_comes_back() {
    for step in [Step::Append, Step::Sync, Step::Synced] {
        let disk = Disk::new();
        let store = disk.open_alone(BOUNDS);
        store.commit(&[put("a", "1")]).unwrap();
        disk.fail(Some((step, ErrorKind::Other)));
        let error = store.commit(&[put("b", "lost")]).unwrap_err();
        assert!(matches!(error, StoreError::Io { .. }), "{error:?}");
        disk.fail(None);
        let folder = JournaledStore::journal_of(&disk.path());
        assert_eq!(files(&folder).len(), 2, "{step:?}: it goes on in another file");
        let crashed = tempfile::tempdir().unwrap();
        copy(disk.dir.path(), crashed.path());
        let other = JournaledStore::open(&crashed.path().join("store.redb")).unwrap();
        assert_eq!(rows(&other), "a=1", "{step:?}");
        store.commit(&[put("c", "1")]).unwrap();
        assert_eq!(rows(&store), "a=1 c=1");
        drop(store);
        let store = disk.open_alone(BOUNDS);
        assert_eq!(rows(&store), "a=1 c=1", "{step:?}");
        store.settle().unwrap();
        assert_eq!(rows(&store), "a=1 c=1", "{step:?}");
    }
}

#[test]
fn while_the_base_takes_nothing_memory_is_bounded_reads_go_on_and_it_resumes_by_itself() {
    let disk = Disk::new();
    let store = disk.open(TINY);
    disk.fail(Some((Step::Flush, ErrorKind::StorageFull)));
    let mut written = 0;
    let error = loop {
        match store.commit(&[put(&format!("k{written:04}"), "v")]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "memory is not bounded");
    };
    assert!(error.is_full(), "{error}");
    assert!(store.shared.layers().bytes() <= 3 * TINY.layer);
    assert_eq!(store.scan(b"").unwrap().len(), written);
    assert!(store.commit(&[put("more", "v")]).unwrap_err().is_full());
    disk.fail(None);
    let began = Instant::now();
    while let Err(error) = store.commit(&[put("more", "v")]) {
        assert!(error.is_full() && began.elapsed() < Duration::from_secs(30), "{error}");
        std::thread::yield_now();
    }
    assert_eq!(store.scan(b"").unwrap().len(), written + 1);
}

#[test]
fn to_verify_a_store_changes_nothing_and_finds_what_only_the_journal_has() {
    let disk = Disk::new();
    let store = disk.open(BOUNDS);
    store.commit(&[put("a", "1")]).unwrap();
    store.settle().unwrap();
    store.commit(&[put("b", "2")]).unwrap();
    drop(store);
    let journal = JournaledStore::journal_of(&disk.path());
    let before = files(&journal);
    let verified = JournaledStore::verify(&disk.path()).unwrap();
    assert_eq!(rows(&verified), "a=1 b=2");
    drop(verified);
    assert_eq!(files(&journal), before);
}
