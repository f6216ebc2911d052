//! The contract, damage of every kind, a full disk, and death by SIGKILL.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::super::contract;
use super::*;

fn config(dir: &Path) -> SledConfig {
    SledConfig { dir: dir.join("store"), min_free_bytes: 0, ballast_bytes: 4096 }
}

fn entries(store: &mut SledStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    store.scan(b"", &mut |key, value| found.push((key.to_vec(), value.to_vec()))).unwrap();
    found
}

/// A store with 50 keys over 300 commits, closed.
fn filled() -> (TempDir, SledConfig) {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut store = SledStore::new(config.clone());
    for round in 0..300u32 {
        let key = format!("key-{}", round % 50).into_bytes();
        let value = vec![u8::try_from(round % 256).unwrap(); 700];
        store.commit(&[(key, Some(value))]).unwrap();
    }
    (dir, config)
}

fn aside(config: &SledConfig) -> usize {
    let names = fs::read_dir(&config.dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("bad-")).count()
}

#[test]
fn sled_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let mut places = 0;
    contract::check(&mut || {
        places += 1;
        let config = config(&dir.path().join(places.to_string()));
        Box::new(move || Box::new(SledStore::new(config.clone())) as Box<dyn Store>)
    });
}

#[test]
fn a_lock_that_somebody_has_is_told_from_damage() {
    let (_dir, config) = filled();
    let mut first = SledStore::new(config.clone());
    first.ensure_open().unwrap();
    let second = Config::new().path(Place::new(&config.dir).engine());
    assert!(is_locked(&second.open().unwrap_err()));
    let refused = SledStore::new(config.clone()).ensure_open();
    assert!(matches!(refused, Err(StoreError::Io { .. })), "{refused:?}");
    assert_eq!(aside(&config), 0);
}

#[test]
fn a_reopened_store_is_the_same_one() {
    let (_dir, config) = filled();
    let mut first = SledStore::new(config.clone());
    let before = entries(&mut first);
    let store = first.open.as_ref().unwrap().head.store;
    drop(first);
    let mut second = SledStore::new(config);
    assert_eq!(entries(&mut second), before);
    assert_eq!(second.open.as_ref().unwrap().head.store, store);
}

#[test]
fn a_torn_snapshot_does_not_block_the_start() {
    let (_dir, config) = filled();
    let snapshot = config.dir.join("db.v1").join("snap.00000000FFFFFFFF.generating");
    fs::write(snapshot, "torn").unwrap();
    let mut store = SledStore::new(config.clone());
    assert_eq!(entries(&mut store).len(), 50);
    assert_eq!(aside(&config), 0);
}

#[test]
fn a_rotten_snapshot_is_thrown_away_and_the_log_replayed() {
    let (_dir, config) = filled();
    drop(SledStore::new(config.clone()).ensure_open());
    let engine = config.dir.join("db.v1");
    let mut rotten = 0;
    for file in fs::read_dir(engine).unwrap().map(|entry| entry.unwrap().path()) {
        if file.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            let mut bytes = fs::read(&file).unwrap();
            for byte in &mut bytes {
                *byte ^= 0xff;
            }
            fs::write(&file, bytes).unwrap();
            rotten += 1;
        }
    }
    assert!(rotten > 0, "the engine wrote no snapshot: the test tests nothing");
    let mut store = SledStore::new(config.clone());
    assert_eq!(entries(&mut store).len(), 50);
    assert_eq!(aside(&config), 0);
}

/// The entries after the first `commits` commits of [`filled`].
fn state_after(commits: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = BTreeMap::new();
    for round in 0..commits {
        let value = vec![u8::try_from(round % 256).unwrap(); 700];
        state.insert(format!("key-{}", round % 50).into_bytes(), value);
    }
    state.into_iter().collect()
}

/// A damaged store comes back as it was after one of its commits, and says so if it was not the
/// last, or is moved aside for an empty one; never a panic, never a mixture. Says whether it came
/// back whole.
fn survives(config: &SledConfig) -> bool {
    let mut store = SledStore::new(config.clone());
    let found = entries(&mut store);
    let known = (0..=300).any(|commits| state_after(commits) == found);
    assert!(known, "{} entries came back that never were together", found.len());
    if aside(config) > 0 {
        assert_eq!(found, []);
    } else {
        assert_eq!(store.went_back().unwrap(), found != state_after(300));
    }
    store.commit(&[(b"new".to_vec(), Some(b"value".to_vec()))]).unwrap();
    assert_eq!(store.get(b"new").unwrap().as_deref(), Some(b"value".as_slice()));
    assert!(!store.went_back().unwrap());
    found == state_after(300)
}

fn copy(from: &SledConfig) -> (TempDir, SledConfig) {
    let dir = tempfile::tempdir().unwrap();
    let to = config(dir.path());
    fs::create_dir_all(to.dir.join("db.v1")).unwrap();
    for entry in fs::read_dir(from.dir.join("db.v1")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.dir.join("db.v1").join(entry.file_name())).unwrap();
        }
    }
    (dir, to)
}

#[test]
fn truncated_files_are_noticed_and_replaced_by_a_fresh_store() {
    let (_dir, original) = filled();
    let mut replaced = 0;
    for percent in [1, 2, 5, 20, 30, 40, 60, 90] {
        let (_dir, damaged) = copy(&original);
        let file = OpenOptions::new().write(true).open(damaged.dir.join("db.v1/db")).unwrap();
        file.set_len(file.metadata().unwrap().len() * percent / 100).unwrap();
        replaced += usize::from(!survives(&damaged));
    }
    assert!(replaced > 0, "no truncation had an effect: the test tests nothing");
}

#[test]
fn flipped_bits_are_noticed_and_never_yield_a_mixture() {
    let (_dir, original) = filled();
    let mut replaced = 0;
    for live in 250..256usize {
        let (_dir, damaged) = copy(&original);
        let path = damaged.dir.join("db.v1/db");
        let bytes = fs::read(&path).unwrap();
        let value = [u8::try_from(live).unwrap(); 64];
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        let mut at = 0;
        while let Some(next) = bytes[at..].windows(64).position(|window| window == value) {
            at += next;
            file.seek(SeekFrom::Start(at as u64)).unwrap();
            file.write_all(&[bytes[at] ^ 0x10]).unwrap();
            at += 64;
        }
        assert!(at > 0, "the value {live} is not in the file");
        replaced += usize::from(!survives(&damaged));
    }
    assert!(replaced > 0, "no flipped bit had an effect: the test tests nothing");
}

#[test]
fn entries_that_vanish_silently_are_noticed() {
    let (_dir, config) = filled();
    let db = Config::new().path(config.dir.join("db.v1")).open().unwrap();
    db.remove(chunk::first_key(b"key-7")).unwrap().unwrap();
    db.flush().unwrap();
    drop(db);
    let mut store = SledStore::new(config.clone());
    assert_eq!(entries(&mut store), []);
    assert_eq!(aside(&config), 1);
}

#[test]
fn too_little_space_refuses_changes_nothing_and_ends_by_itself() {
    let (_dir, config) = filled();
    let mut store = SledStore::new(config);
    let before = entries(&mut store);
    store.config.min_free_bytes = u64::MAX;
    let error = store.commit(&[(b"key-1".to_vec(), Some(vec![0; 10]))]).unwrap_err();
    assert!(error.is_full());
    assert_eq!(entries(&mut store), before);
    store.config.min_free_bytes = 0;
    store.commit(&[(b"key-1".to_vec(), Some(vec![0; 10]))]).unwrap();
    assert_eq!(store.get(b"key-1").unwrap(), Some(vec![0; 10]));
}

#[test]
fn a_disk_that_really_fills_up_loses_nothing_and_works_again_with_space() {
    let disk = std::env::var_os("GNOMON_TEST_SMALL_DISK").expect(
        "GNOMON_TEST_SMALL_DISK must name a directory on a file system of its own of at most \
         64 MiB; `make test` mounts one",
    );
    let dir = tempfile::tempdir_in(disk).unwrap();
    let config = SledConfig { ballast_bytes: 4 << 20, ..config(dir.path()) };
    let mut store = SledStore::new(config.clone());
    let mut kept = 0u32;
    let full = loop {
        let key = kept.to_be_bytes().to_vec();
        match store.commit(&[(key, Some(vec![7; 60_000]))]) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 2000, "the disk is too large for this test");
    };
    assert!(full.is_full(), "{full}");
    let found = entries(&mut SledStore::new(config.clone())).len();
    assert!(found >= kept as usize, "{found} of {kept} are left");
    drop(store);
    fs::remove_file(config.dir.join("ballast")).ok();
    let mut store = SledStore::new(config);
    assert!(entries(&mut store).len() >= kept as usize);
    store.commit(&[(b"small".to_vec(), Some(vec![1]))]).unwrap();
}

const CHILD_DIR: &str = "GNOMON_TEST_CRASH_DIR";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut reached = 0u64;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sled::tests::crash_child", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = reached;
        let target = reached + 20 + round * 37;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse().unwrap();
            }
            if acknowledged >= target {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = lines.map_while(Result::ok);
        let last = rest.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok()).last();
        acknowledged = last.unwrap_or(acknowledged);
        assert!(acknowledged >= target, "the child ended early at {acknowledged}");
        reached = check_crash_state(dir.path(), acknowledged);
    }
    assert_eq!(aside(&config(dir.path())), 0, "a kill alone must not damage the store");
}

/// Commit `n` writes `n` under every key of its group: all keys must agree with the counter.
fn check_crash_state(dir: &Path, acknowledged: u64) -> u64 {
    let mut store = SledStore::new(config(dir));
    let number = |bytes: Vec<u8>| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let counter = store.get(b"counter").unwrap().map_or(0, number);
    assert!(counter >= acknowledged, "commit {acknowledged} was acknowledged, {counter} is left");
    for (key, value) in entries(&mut store) {
        if let Some(index) = key.strip_prefix(b"group-") {
            let index = u64::from(index[0] - b'0');
            let expected = counter - (counter + 10 - index) % 10;
            assert_eq!(number(value), expected, "group {index} at counter {counter}");
        }
    }
    counter
}

/// The child process of the test above; does nothing otherwise.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let mut store = SledStore::new(config(Path::new(&dir)));
    let start =
        store.get(b"counter").unwrap().map_or(0, |n| u64::from_be_bytes(n.try_into().unwrap()));
    let mut out = io::stdout().lock();
    for number in start + 1..start + 100_000 {
        let bytes = number.to_be_bytes().to_vec();
        let group = format!("group-{}", number % 10).into_bytes();
        let value = [bytes.clone(), vec![9; 6000]].concat();
        store.commit(&[(b"counter".to_vec(), Some(bytes)), (group, Some(value))]).unwrap();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}
